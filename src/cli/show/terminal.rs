//! Who reads the answer: a person at a terminal, or a program?

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::sync::OnceLock;

use super::table::Paint;
use crate::cli::failure::{Exit, Failure};

/// The width when nobody says otherwise: what people expect of a terminal.
const USUAL_WIDTH: usize = 80;
/// The height when nobody says otherwise.
const USUAL_HEIGHT: usize = 24;

/// What stdout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Cells in a line.
    pub(crate) width: usize,
    /// Lines, when it is a screen.
    pub(crate) height: Option<usize>,
    /// Whether there are colours.
    pub(crate) paint: Paint,
}

impl Terminal {
    /// Looks at stdout and the environment now; a window may have been resized since the last look.
    pub(crate) fn look() -> Self {
        let screen = stdout().is_terminal();
        let size = screen.then(|| rustix::termios::tcgetwinsize(stdout()).ok()).flatten();
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).or(columns);
        let height = size.map(|size| usize::from(size.ws_row)).filter(|height| *height > 0);
        let unwanted = |key: &str, value: fn(&str) -> bool| std::env::var(key).is_ok_and(|text| value(&text));
        let bare = unwanted("NO_COLOR", |text| !text.is_empty()) || unwanted("TERM", |text| text == "dumb");
        Self {
            width: width.unwrap_or(USUAL_WIDTH),
            height: screen.then(|| height.unwrap_or(USUAL_HEIGHT)),
            paint: if screen && !bare { Paint::Coloured } else { Paint::Bare },
        }
    }
}

/// Why stdout takes no more: the first error, for the exit code. Nothing is written after it.
static CLOSED: OnceLock<std::io::Error> = OnceLock::new();

/// Writes data to stdout. What was done is not undone by an output that cannot be written, so the verb goes on; [`answered`]
/// reports it at the end.
pub(crate) fn print(text: &str) {
    if CLOSED.get().is_none()
        && let Err(error) = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush())
    {
        let _ = CLOSED.set(error);
    }
}

/// Writes a line of progress, a hint or an error to stderr. `eprintln!` would panic where stderr is closed or full.
pub(crate) fn say(line: &str) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes a question to stderr, and stays on its line.
pub(crate) fn ask(question: &str) {
    let _ = stderr().write_all(question.as_bytes()).and_then(|()| stderr().flush());
}

/// Whether stdout takes no more: whoever watches has nobody to draw for.
pub(crate) fn is_closed() -> bool {
    CLOSED.get().is_some()
}

/// The exit code of an answer: not yes when the answer could not be written. A reader that went away (`| head`) has read what
/// it wanted.
pub(crate) fn answered(exit: Exit) -> Result<Exit, Failure> {
    let full = CLOSED.get().filter(|error| error.kind() != ErrorKind::BrokenPipe);
    full.map_or(Ok(exit), |error| {
        Err(Failure::no(format!("failed to write the answer to stdout: {error}"))
            .hint("what was written is incomplete; write it to another place"))
    })
}

/// A screen of its own that is drawn over and over; the last picture stays behind when it ends.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    last: String,
}

/// Other screen, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Cursor, the person's own screen.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

impl Screen {
    /// Nothing was drawn yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Draws the picture. At a terminal it replaces the last one; elsewhere it is appended when it is another.
    pub(crate) fn draw(&mut self, picture: String, terminal: Terminal) {
        match terminal.height {
            Some(height) => {
                let enter = if self.last.is_empty() { ENTER } else { "" };
                print(&format!("{enter}{}", frame(&picture, terminal.width, height)));
            }
            None if picture != self.last => print(&format!("{picture}\n")),
            None => {}
        }
        self.last = picture;
    }
}

impl Drop for Screen {
    /// Whatever ends the watch, the terminal is given back as it was.
    fn drop(&mut self) {
        if Terminal::look().height.is_some() && !self.last.is_empty() {
            print(&format!("{LEAVE}{}", self.last));
        }
    }
}

/// The picture as one write, cut to the screen: each line clears what was behind it, so nothing flickers.
fn frame(picture: &str, width: usize, height: usize) -> String {
    let lines: Vec<&str> = picture.lines().collect();
    let room = height.saturating_sub(1);
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    let mut frame = String::from("\x1b[H");
    for line in lines.iter().take(shown) {
        frame.push_str(&clipped(line, width));
        frame.push_str("\x1b[K\r\n");
    }
    if lines.len() > shown {
        let more = format!("… {} more lines; a taller window shows them", lines.len() - shown);
        frame.push_str(&clipped(&more, width));
        frame.push_str("\x1b[K\r\n");
    }
    frame.push_str("\x1b[J");
    frame
}

/// At most `width` cells of a line; its colours are kept, so that the last one still ends.
fn clipped(line: &str, width: usize) -> String {
    let (mut cells, mut colour) = (0, false);
    let kept = |c: &char| {
        colour |= *c == '\x1b';
        let keep = colour || cells < width;
        cells += usize::from(!colour);
        colour &= *c != 'm';
        keep
    };
    line.chars().filter(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_taller_than_the_screen_says_what_is_missing() {
        assert_eq!(frame("a\nb\n", 80, 24), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
        let cut = frame("a\nb\nc\nd\n", 80, 4);
        assert_eq!(cut, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n… 2 more lines; a taller window shows them\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn a_line_wider_than_the_screen_is_cut_but_its_colour_ends() {
        assert_eq!(clipped("abcdef", 4), "abcd");
        assert_eq!(clipped("\x1b[31mabcdef\x1b[0m", 4), "\x1b[31mabcd\x1b[0m");
        assert_eq!(clipped("███", 2), "██");
    }
}
