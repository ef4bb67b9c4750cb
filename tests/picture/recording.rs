//! A recording of a terminal, as lines of text with their styles.

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) is_bold: bool,
    pub(crate) is_dim: bool,
    /// The number of an ANSI color, 0 to 7.
    pub(crate) color: Option<u8>,
}

/// Text of one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// The runs of one line, from left to right.
pub(crate) type Line = Vec<Run>;

/// The screens that the demo drew one over the other: each begins by moving the cursor up and clearing what is below.
pub(crate) fn screens(recording: &str) -> Vec<&str> {
    let is_up = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('A');
    let starts = recording.match_indices("\x1b[").filter(|(at, _)| is_up(&recording[at + 2..])).map(|(at, _)| at);
    let bounds: Vec<usize> = std::iter::once(0).chain(starts).chain([recording.len()]).collect();
    bounds.windows(2).map(|pair| &recording[pair[0]..pair[1]]).collect()
}

/// The lines of a text. A style continues on the next line, as on a terminal; what moves the cursor is left out.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut style = Style::default();
    text.lines().map(|line| runs(line.trim_end_matches('\r'), &mut style)).collect()
}

fn runs(line: &str, style: &mut Style) -> Line {
    let mut parts = line.split("\x1b[");
    let mut runs = vec![Run { text: parts.next().unwrap_or_default().to_owned(), style: *style }];
    for part in parts {
        let end =
            part.find(|c: char| c.is_ascii_alphabetic()).unwrap_or_else(|| panic!("an escape without end: {line:?}"));
        if part[end..].starts_with('m') {
            part[..end].split(';').for_each(|code| style.apply(code));
        }
        runs.push(Run { text: part[end + 1..].to_owned(), style: *style });
    }
    runs.retain(|run| !run.text.is_empty());
    runs
}

impl Style {
    fn apply(&mut self, code: &str) {
        match code.parse() {
            Err(_) | Ok(0) => *self = Self::default(),
            Ok(1) => self.is_bold = true,
            Ok(2) => self.is_dim = true,
            Ok(22) => (self.is_bold, self.is_dim) = (false, false),
            Ok(39) => self.color = None,
            Ok(color @ 30..=37) => self.color = Some(color - 30),
            Ok(other) => panic!("the style {other} is not known: add it here and to the picture"),
        }
    }
}
