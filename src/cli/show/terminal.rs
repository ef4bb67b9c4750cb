//! Stdout and stderr: whether they are a terminal, and how the verbs write to them.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::sync::OnceLock;

use super::table::Paint;
use crate::cli::failure::{Exit, Failure};

/// The width if nothing else sets it: that of a standard terminal.
const DEFAULT_WIDTH: usize = 80;
/// The height if nothing else sets it.
const DEFAULT_HEIGHT: usize = 24;

/// What stdout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Cells in a line.
    pub(crate) width: usize,
    /// Lines, if it is a screen.
    pub(crate) height: Option<usize>,
    /// Whether the output has colors.
    pub(crate) paint: Paint,
}

impl Terminal {
    /// Reads the current state of stdout and the environment; the user may have resized the window since the last call.
    pub(crate) fn current() -> Self {
        let screen = stdout().is_terminal();
        let size = screen.then(|| rustix::termios::tcgetwinsize(stdout()).ok()).flatten();
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).or(columns);
        let height = size.map(|size| usize::from(size.ws_row)).filter(|height| *height > 0);
        let has = |key: &str, value: fn(&str) -> bool| std::env::var(key).is_ok_and(|text| value(&text));
        let plain = has("NO_COLOR", |text| !text.is_empty()) || has("TERM", |text| text == "dumb");
        Self {
            width: width.unwrap_or(DEFAULT_WIDTH),
            height: screen.then(|| height.unwrap_or(DEFAULT_HEIGHT)),
            paint: if screen && !plain { Paint::Colored } else { Paint::Plain },
        }
    }
}

/// The first error of a write to stdout, for the exit code. Nothing is written to stdout after it.
static STDOUT_ERROR: OnceLock<std::io::Error> = OnceLock::new();

/// Writes data to stdout. A failed write does not undo what the verb did, so the verb continues; [`final_exit`] reports the
/// error at the end.
pub(crate) fn print(text: &str) {
    if STDOUT_ERROR.get().is_none()
        && let Err(error) = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush())
    {
        let _ = STDOUT_ERROR.set(error);
    }
}

/// Writes a line of progress, a hint or an error to stderr. `eprintln!` would panic where stderr is closed or full.
pub(crate) fn say(line: &str) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes a question to stderr, without a line break.
pub(crate) fn ask(question: &str) {
    let _ = stderr().write_all(question.as_bytes()).and_then(|()| stderr().flush());
}

/// Whether stdout is closed or failed. A watch ends then.
pub(crate) fn is_closed() -> bool {
    STDOUT_ERROR.get().is_some()
}

/// The exit code of a verb, or the failure to write its output. A closed pipe (`| head`) is not a failure: the reader has
/// what it needs.
///
/// # Errors
/// If the output could not be written.
pub(crate) fn final_exit(exit: Exit) -> Result<Exit, Failure> {
    let failed = STDOUT_ERROR.get().filter(|error| error.kind() != ErrorKind::BrokenPipe);
    failed.map_or(Ok(exit), |error| {
        Err(Failure::negative(format!("failed to write to stdout: {error}"))
            .hint("The output is incomplete; write it to another destination."))
    })
}

/// The alternate screen of the terminal, redrawn repeatedly; the last frame remains on the terminal after the watch.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    last: String,
}

/// Switches to the alternate screen and hides the cursor.
const ENTER_SCREEN: &str = "\x1b[?1049h\x1b[?25l";
/// Shows the cursor and switches back to the normal screen.
const LEAVE_SCREEN: &str = "\x1b[?25h\x1b[?1049l";

impl Screen {
    /// Whether nothing was drawn yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Draws the text. On a terminal it replaces the last one; elsewhere it is appended if it differs.
    pub(crate) fn draw(&mut self, text: String, terminal: Terminal) {
        match terminal.height {
            Some(height) => {
                let enter = if self.last.is_empty() { ENTER_SCREEN } else { "" };
                print(&format!("{enter}{}", frame(&text, terminal.width, height)));
            }
            None if text != self.last => print(&format!("{text}\n")),
            None => {}
        }
        self.last = text;
    }
}

impl Drop for Screen {
    /// Restores the terminal when the watch ends for any reason.
    fn drop(&mut self) {
        if Terminal::current().height.is_some() && !self.last.is_empty() {
            print(&format!("{LEAVE_SCREEN}{}", self.last));
        }
    }
}

/// The text as one write, cut to the screen: each line clears the rest of its row, so the screen does not flicker.
fn frame(text: &str, width: usize, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(1);
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    let mut frame = String::from("\x1b[H");
    for line in lines.iter().take(shown) {
        frame.push_str(&clipped(line, width));
        frame.push_str("\x1b[K\r\n");
    }
    if lines.len() > shown {
        let more = format!("… {} more lines; enlarge the window to see them", lines.len() - shown);
        frame.push_str(&clipped(&more, width));
        frame.push_str("\x1b[K\r\n");
    }
    frame.push_str("\x1b[J");
    frame
}

/// At most `width` cells of a line, with all color codes: the last color ends too.
fn clipped(line: &str, width: usize) -> String {
    let (mut cells, mut in_color_code) = (0, false);
    let kept = |c: &char| {
        in_color_code |= *c == '\x1b';
        let keep = in_color_code || cells < width;
        cells += usize::from(!in_color_code);
        in_color_code &= *c != 'm';
        keep
    };
    line.chars().filter(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_taller_than_the_screen_shows_how_many_lines_are_missing() {
        assert_eq!(frame("a\nb\n", 80, 24), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
        let cut = frame("a\nb\nc\nd\n", 80, 4);
        assert_eq!(cut, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n… 2 more lines; enlarge the window to see them\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn a_line_wider_than_the_screen_is_cut_but_its_color_ends() {
        assert_eq!(clipped("abcdef", 4), "abcd");
        assert_eq!(clipped("\x1b[31mabcdef\x1b[0m", 4), "\x1b[31mabcd\x1b[0m");
        assert_eq!(clipped("███", 2), "██");
    }
}
