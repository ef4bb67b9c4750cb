//! Lines of a terminal as an SVG that looks the same with every font, on a light and on a dark page.

use std::fmt::Write;

use super::recording::{Line, Style};

/// A cell of the terminal, the size of its text, and the frame around all, in pixels.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 19.0;
const FONT: f32 = 14.0;
const MARGIN: f32 = 20.0;
/// Above the text: the bar of the window.
const BAR: f32 = 34.0;

/// It has a background of its own, so the page behind it does not matter.
const BACKGROUND: &str = "#161b22";
const FOREGROUND: &str = "#e6edf3";
/// The ANSI colors 0 to 7 on that background.
const COLORS: [&str; 8] = ["#6e7681", "#ff7b72", "#3fb950", "#e3b341", "#58a6ff", "#d2a8ff", "#39c5cf", "#e6edf3"];

/// The picture of these lines, in a window with that title.
pub(crate) fn draw(title: &str, lines: &[Line]) -> String {
    let columns = lines.iter().map(|line| line.iter().map(|run| run.text.chars().count()).sum()).max().unwrap_or(0);
    let width = columns as f32 * WIDTH + 2.0 * MARGIN;
    let height = lines.len() as f32 * HEIGHT + BAR + MARGIN;
    let title = escaped(title);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-label="{title}">
<title>{title}</title>
<style>text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;fill:{FOREGROUND};white-space:pre}}.b{{font-weight:bold}}.d{{opacity:.65}}</style>
<rect width="{width:.0}" height="{height:.0}" rx="8" fill="{BACKGROUND}"/>
<g><circle cx="20" cy="18" r="5" fill="{}"/><circle cx="38" cy="18" r="5" fill="{}"/><circle cx="56" cy="18" r="5" fill="{}"/></g>
"##,
        COLORS[1], COLORS[3], COLORS[2]
    );
    for (row, line) in lines.iter().enumerate() {
        let mut column = 0;
        for run in line {
            let cells: Vec<char> = run.text.chars().collect();
            for (start, piece) in pieces(&cells) {
                let x = MARGIN + (column + start) as f32 * WIDTH;
                let top = BAR + row as f32 * HEIGHT;
                svg.push_str(&one(piece, run.style, x, top));
            }
            column += cells.len();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Pieces of which each is drawn as one element, with the cell of its begin: words, or the same block several times. Two
/// spaces end a piece, so the columns of a table stay aligned if the font has another width.
fn pieces(cells: &[char]) -> Vec<(usize, &[char])> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < cells.len() {
        let rest = &cells[start..];
        let length = match rest[0] {
            ' ' => rest.iter().take_while(|c| **c == ' ').count(),
            block if is_block(block) => rest.iter().take_while(|c| **c == block).count(),
            _ => {
                let ends = |at: &usize| is_block(rest[*at]) || rest[*at..].starts_with(&[' ', ' ']);
                (0..rest.len()).find(ends).unwrap_or(rest.len())
            }
        };
        if rest[0] != ' ' {
            pieces.push((start, &rest[..length]));
        }
        start += length;
    }
    pieces
}

/// Characters that many fonts lack, or draw in another width: rectangles stand for them.
const fn is_block(c: char) -> bool {
    matches!(c, '█' | '░' | '│' | '─')
}

fn one(piece: &[char], style: Style, x: f32, top: f32) -> String {
    let width = piece.len() as f32 * WIDTH;
    let color = style.color.map(|color| COLORS[usize::from(color)]);
    let rect = |x: f32, y: f32, width: f32, height: f32, opacity: f32| {
        let fill = color.unwrap_or(FOREGROUND);
        format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\" opacity=\"{opacity}\"/>\n"
        )
    };
    match piece[0] {
        '█' => rect(x, top + 3.0, width, HEIGHT - 6.0, 1.0),
        '░' => rect(x, top + 3.0, width, HEIGHT - 6.0, 0.25),
        '│' => rect(x, top + 3.0, width, HEIGHT - 6.0, 0.25) + &rect(x + WIDTH / 2.0 - 1.0, top, 2.0, HEIGHT, 1.0),
        '─' => rect(x, top + HEIGHT / 2.0, width, 1.0, 0.6),
        _ => {
            let text: String = piece.iter().collect();
            let mut element = format!("<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\"", top + 14.0);
            let classes = [(style.is_bold, "b"), (style.is_dim, "d")];
            let classes: Vec<&str> = classes.iter().filter(|(has, _)| *has).map(|(_, class)| *class).collect();
            if !classes.is_empty() {
                let _ = write!(element, " class=\"{}\"", classes.join(" "));
            }
            if let Some(color) = color {
                let _ = write!(element, " style=\"fill:{color}\"");
            }
            format!("{element}>{}</text>\n", escaped(&text))
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
