//! The screen of `rso explain`: for each template, the gates with their values and origins, where an expansion stops, and
//! the command that continues it.

use owo_colors::Style;
use serde::Serialize;

use super::table::{Cell, Paint, columns, wrapped};
use super::terminal::Terminal;
use crate::api::bytes::Bytes;
use crate::api::reasons::Note;
use crate::policy::gates::State;

/// The longest value or origin in a column on a terminal of 80 cells; a longer one loses its middle.
const CELL_WIDTH: usize = 27;

/// Why a StatefulSet is expanded or not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) templates: Vec<TemplateExplanation>,
    /// What is wrong with its annotations, or prevents the update of its templates.
    #[serde(serialize_with = "super::view::notes")]
    pub(crate) notes: Vec<Note>,
}

/// Why the PVCs of a template are expanded or not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateExplanation {
    pub(crate) name: String,
    /// The size in the template.
    pub(crate) size: Bytes,
    /// What rso does, in a few words.
    pub(crate) result: String,
    /// The size to which it expands the PVCs, or recommends to expand them.
    pub(crate) expands_to: Option<Bytes>,
    /// The gate at which an expansion by usage stops.
    pub(crate) stops_at: Option<&'static str>,
    pub(crate) gates: Vec<GateLine>,
    pub(crate) settings: Vec<SettingLine>,
    /// What is in progress, or why nothing is.
    #[serde(serialize_with = "super::view::notes")]
    pub(crate) notes: Vec<Note>,
    /// The command that opens the gate at which it stops.
    pub(crate) fix: Option<String>,
    /// The command that expands the PVCs regardless of their usage.
    pub(crate) resize: Option<String>,
}

/// A gate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GateLine {
    pub(crate) gate: &'static str,
    #[serde(serialize_with = "state")]
    pub(crate) state: State,
    pub(crate) value: String,
    pub(crate) from: String,
}

/// A setting.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SettingLine {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) from: String,
}

fn state<S: serde::Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

/// The text of the screen.
pub(crate) fn draw(explanation: &Explanation, terminal: Terminal) -> String {
    let screen = Screen { terminal };
    let templates = explanation.templates.iter().map(|template| screen.template(explanation, template));
    let mut text = templates.collect::<Vec<_>>().join("\n");
    for note in &explanation.notes {
        text.push_str(&wrapped(&format!("{}: {}", note.reason, note.text), 0, terminal.width));
    }
    text
}

#[derive(Clone, Copy)]
struct Screen {
    terminal: Terminal,
}

impl Screen {
    fn template(self, set: &Explanation, template: &TemplateExplanation) -> String {
        let TemplateExplanation { name, size, result, .. } = template;
        let head = self.bold(&format!("{}/{} {name}", set.namespace, set.name));
        let mut text = format!("{head}  {size}  {result}\n");
        text.push_str(&self.table(template));
        text.extend(template.stops_at.map(|gate| format!("  Stops at: {gate}\n")));
        for note in &template.notes {
            text.push_str(&wrapped(&format!("{}: {}", note.reason, note.text), 2, self.terminal.width));
        }
        for (lead, command) in [("To continue:", &template.fix), ("To expand it now:", &template.resize)] {
            // A command stays on one line, or it could not be copied.
            text.extend(command.iter().map(|command| format!("  {lead} {command}\n")));
        }
        text
    }

    /// The gates, and below them the settings that no gate shows, in the same columns.
    fn table(self, template: &TemplateExplanation) -> String {
        let head = |word| ["", word, "value", "from"].map(|word| Cell::new(word).style(Style::new().dimmed())).to_vec();
        let mut rows = vec![head("gate")];
        for line in &template.gates {
            let (mark, style) = match line.state {
                State::Open => ("✔", Style::new().green()),
                State::Closed => ("✘", Style::new().red()),
                State::NotReached => ("·", Style::new().dimmed()),
            };
            let mark = Cell::new(mark).style(style);
            rows.push(vec![mark, Cell::new(line.gate), self.cell(&line.value), self.cell(&line.from)]);
        }
        rows.push(head("setting"));
        for line in &template.settings {
            rows.push(vec![Cell::new(" "), Cell::new(line.key), self.cell(&line.value), self.cell(&line.from)]);
        }
        columns(&rows, 2, self.terminal.paint)
    }

    /// A cell that leaves room for the others.
    fn cell(self, text: &str) -> Cell {
        let most = CELL_WIDTH + self.terminal.width.saturating_sub(80) / 2;
        Cell::new(shortened(text, most))
    }

    fn bold(self, text: &str) -> String {
        self.terminal.paint.styled(text, Some(Style::new().bold()))
    }
}

/// The whole text, or the text without its middle.
fn shortened(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let tail = most / 2;
    let head: String = text.chars().take(most.saturating_sub(tail + 1)).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    format!("{head}…{tail}")
}

/// The lines of `rso explain KEY`: a name and its text each.
pub(crate) fn draw_key(title: &str, meaning: &str, lines: &[(&str, String)], terminal: Terminal) -> String {
    let screen = Screen { terminal };
    let rows: Vec<Vec<Cell>> =
        lines.iter().map(|(name, text)| vec![Cell::new(*name), Cell::new(text.as_str())]).collect();
    format!("{}\n{}{}", screen.bold(title), wrapped(meaning, 2, terminal.width), columns(&rows, 2, Paint::Plain))
}

#[cfg(test)]
mod tests;
