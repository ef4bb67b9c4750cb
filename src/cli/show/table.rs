//! Text in columns. The width of a cell does not include its color.

use owo_colors::{OwoColorize, Style};

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;

/// A text in a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    text: String,
    style: Option<Style>,
    align: Align,
}

/// The alignment of a cell in its column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Align {
    #[default]
    Left,
    Right,
}

impl Cell {
    /// A cell with this text, aligned to the left.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same cell in this color, if the output has colors.
    pub(crate) fn style(self, style: Style) -> Self {
        Self { style: Some(style), ..self }
    }

    /// The same cell aligned to the right, as numbers are.
    pub(crate) fn right(self) -> Self {
        Self { align: Align::Right, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn draw(&self, width: usize, paint: Paint) -> String {
        let pad = " ".repeat(width.saturating_sub(self.width()));
        let text = paint.styled(&self.text, self.style);
        match self.align {
            Align::Left => format!("{text}{pad}"),
            Align::Right => format!("{pad}{text}"),
        }
    }
}

/// Whether the output has colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Plain text: a pipe, a file, `NO_COLOR`.
    #[default]
    Plain,
    /// ANSI colors.
    Colored,
}

impl Paint {
    /// The text in that style, if the output has colors.
    pub(crate) fn styled(self, text: &str, style: Option<Style>) -> String {
        match (self, style) {
            (Self::Colored, Some(style)) if !text.is_empty() => text.style(style).to_string(),
            (Self::Colored | Self::Plain, _) => text.to_owned(),
        }
    }
}

/// A line for each row, every column as wide as its widest cell; a line does not end with blanks.
pub(crate) fn columns(rows: &[Vec<Cell>], indent: usize, paint: Paint) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<Cell>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| cell.draw(*width, paint)).collect();
        format!("{}{}\n", " ".repeat(indent), cells.join(&" ".repeat(COLUMN_GAP)).trim_end())
    };
    rows.iter().map(line).collect()
}

/// The text on lines of at most `width` cells, each after `indent` blanks.
pub(crate) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let room = width.saturating_sub(indent).max(20);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let used = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if used == 0 => line.push_str(word),
            Some(line) if used + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec![Cell::new("a"), Cell::new("7%").right(), Cell::new("x")],
            vec![Cell::new("data-db-0"), Cell::new("100%").right(), Cell::new("")],
        ];
        assert_eq!(columns(&rows, 2, Paint::Plain), "  a            7%  x\n  data-db-0  100%\n");
    }

    #[test]
    fn a_color_does_not_change_the_width_of_a_column() {
        let rows = vec![vec![Cell::new("a").style(Style::new().red()), Cell::new("b")]];
        assert_eq!(columns(&rows, 0, Paint::Colored), "\u{1b}[31ma\u{1b}[0m  b\n");
        assert_eq!(columns(&rows, 0, Paint::Plain), "a  b\n");
    }

    #[test]
    fn a_long_sentence_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three four five six", 2, 22), "  one two three four\n  five six\n");
        assert_eq!(wrapped("", 0, 80), "\n");
    }
}
