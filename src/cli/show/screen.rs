//! What does a person see? Sets with their templates and a bar for every volume, in the width there is.

use jiff::Timestamp;
use owo_colors::Style;

use super::bar::{self, Mood};
use super::table::{Cell, Paint, columns, wrapped};
use super::view::{ClaimStatus, EventStatus, Growth, Rule, SetStatus, TemplateStatus, ago};
use crate::api::bytes::Bytes;
use crate::api::reasons::{Note, Severity};

/// How wide a bar may be. Below the least it says nothing; beyond the most it says nothing more.
const BAR: (usize, usize) = (8, 30);
/// A longer name is cut in its middle when lines would not fit.
const NAME: usize = 32;
/// Room that is kept for a size to grow to (`→ 12Gi`) and for what happens to a claim, so that bars keep their width while
/// it happens.
const KEPT: (&str, &str) = ("of 10Gi → 12Gi", "grew 59m ago");
/// A growth this long ago is no news.
const NEWS: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The moment that ages are told from.
    pub(crate) now: Timestamp,
    /// Cells in a line.
    pub(crate) width: usize,
    /// Whether there are colours.
    pub(crate) paint: Paint,
    /// More columns.
    pub(crate) detail: Detail,
}

/// How much is told of each volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What fits 80 columns.
    Usual,
    /// Inodes, class, age of the reading, last growth.
    Wide,
}

/// The sets one below the other, then the hints.
pub(crate) fn draw(sets: &[SetStatus], hints: &[String], look: Look) -> String {
    let pictures: Vec<String> = sets.iter().map(|set| draw_set(set, look)).collect();
    let mut screen = pictures.join("\n");
    if !hints.is_empty() {
        screen.push('\n');
    }
    for hint in hints {
        screen.push_str(&look.paint.styled(&wrapped(hint, 0, look.width), Some(Style::new().dimmed())));
    }
    screen
}

fn draw_set(set: &SetStatus, look: Look) -> String {
    let bar = bar_width(set, look);
    let name = look.paint.styled(&format!("{}/{}", set.namespace, set.name), Some(Style::new().bold()));
    let ready = format!("{}/{} ready", set.ready_replicas, set.replicas);
    let ready = look.paint.styled(&ready, (set.ready_replicas < set.replicas).then(|| Style::new().yellow()));
    let phase = set.phase.words().map(|words| look.paint.styled(&format!("  {words}"), Some(Style::new().cyan())));
    let strange = if set.managed { "" } else { "  not managed: no annotation asks for anything" };
    let mut picture = format!("{name}  {ready}{}{strange}\n", phase.unwrap_or_default());
    // One grid for all templates, so that the bars of a set stand below each other.
    let rows: Vec<Vec<Cell>> =
        set.templates.iter().flat_map(|t| t.claims.iter().map(|claim| row(t, claim, bar, look))).collect();
    let grid = columns(&rows, 4, look.paint);
    let mut lines = grid.lines();
    for template in &set.templates {
        picture.push_str(&headline(template));
        for line in lines.by_ref().take(template.claims.len()) {
            picture.push_str(line);
            picture.push('\n');
        }
        template.notes.iter().for_each(|note| picture.push_str(&draw_note(note, 4, look)));
    }
    set.notes.iter().for_each(|note| picture.push_str(&draw_note(note, 2, look)));
    set.events.iter().for_each(|event| picture.push_str(&draw_event(event, look)));
    picture
}

/// What the other columns leave, in its bounds.
fn bar_width(set: &SetStatus, look: Look) -> usize {
    let rows = set.templates.iter().flat_map(|t| t.claims.iter().map(|claim| row(t, claim, 0, look)));
    let mut kept = vec![Cell::default(); if look.detail == Detail::Wide { 9 } else { 6 }];
    kept[4] = Cell::new(KEPT.0);
    kept.push(Cell::new(KEPT.1));
    let rows: Vec<Vec<Cell>> = rows.chain(std::iter::once(kept)).collect();
    let taken = columns(&rows, 4, Paint::Bare).lines().map(|line| line.chars().count()).max().unwrap_or(0);
    look.width.saturating_sub(taken).clamp(BAR.0, BAR.1)
}

/// `data  10Gi → 12Gi  grows by 20% at 80%, at most 100Gi`.
fn headline(template: &TemplateStatus) -> String {
    let rule = |rule: &Rule| {
        let most = rule.max_size.map(|size| format!(", at most {size}")).unwrap_or_default();
        format!("by {} at {}{most}", rule.increase, rule.threshold)
    };
    let growth = match &template.growth {
        Growth::OnRequest => "grows on request".to_owned(),
        Growth::Recommend(how) => format!("would grow {} (recommend)", rule(how)),
        Growth::ByUsage(how) => format!("grows {}", rule(how)),
    };
    let wanted = template.wanted.map(|size| format!(" → {size}")).unwrap_or_default();
    format!("  {}  {}{wanted}  {growth}\n", template.name, template.size)
}

fn row(template: &TemplateStatus, claim: &ClaimStatus, bar: usize, look: Look) -> Vec<Cell> {
    let threshold = template.growth.threshold();
    let mut cells = vec![Cell::new(shortened(&claim.name))];
    match &claim.usage {
        Some(usage) => {
            let style = match bar::mood(usage.full, threshold) {
                Mood::Calm => Style::new().green(),
                Mood::Due => Style::new().yellow(),
                Mood::Alarm => Style::new().red(),
            };
            cells.push(Cell::new(bar::bar(usage.full, threshold, bar)).style(style));
            cells.push(Cell::new(bar::percent(usage.full)).right().style(style));
            cells.push(Cell::new(usage.used.human()).right());
        }
        None => {
            cells.push(Cell::new(bar::unknown(bar)).style(Style::new().dimmed()));
            cells.push(Cell::new("?").right());
            cells.push(Cell::new("?").right());
        }
    }
    cells.push(Cell::new(size(claim)));
    cells.push(Cell::new(claim.usage.as_ref().map_or("-", |usage| usage.source)).style(Style::new().dimmed()));
    if look.detail == Detail::Wide {
        let inodes = claim.usage.as_ref().and_then(|usage| usage.inodes_full).map(bar::percent);
        cells.push(Cell::new(inodes.map_or("-".to_owned(), |full| format!("inodes {full}"))));
        cells.push(Cell::new(
            claim.usage.as_ref().map_or("-".to_owned(), |usage| format!("read {} ago", ago(usage.at, look.now))),
        ));
        cells.push(Cell::new(claim.class.clone().unwrap_or("-".to_owned())));
    }
    cells.push(state(claim, look));
    cells
}

/// `of 10Gi`, and the size it grows to.
fn size(claim: &ClaimStatus) -> String {
    match (claim.capacity, claim.requested) {
        (None, None) => "-".to_owned(),
        (None, Some(requested)) => format!("of {} asked", short(requested)),
        (Some(capacity), Some(requested)) if requested > capacity => {
            format!("of {} → {}", short(capacity), short(requested))
        }
        (Some(capacity), _) => format!("of {}", short(capacity)),
    }
}

fn state(claim: &ClaimStatus, look: Look) -> Cell {
    let news = claim.resized_at.filter(|at| look.detail == Detail::Wide || look.now.duration_since(*at) < NEWS);
    match (claim.state.words(), news) {
        (Some(words), _) if claim.state.is_bad() => Cell::new(words).style(Style::new().red()),
        (Some(words), _) => Cell::new(words).style(Style::new().cyan()),
        (None, Some(at)) => Cell::new(format!("grew {} ago", ago(at, look.now))).style(Style::new().dimmed()),
        (None, None) => Cell::new(""),
    }
}

/// The exact size where it is short, else one that can be read.
fn short(size: Bytes) -> String {
    let exact = size.to_string();
    if exact.len() <= 6 { exact } else { size.human() }
}

/// The name whole, or without its middle.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME {
        return name.to_owned();
    }
    let head: String = name.chars().take(NAME / 2 - 1).collect();
    let tail: String = name.chars().skip(length - NAME / 2).collect();
    format!("{head}…{tail}")
}

fn draw_note(note: &Note, indent: usize, look: Look) -> String {
    let style = match note.reason.severity() {
        Severity::Normal => Style::new().cyan(),
        Severity::Warning => Style::new().yellow(),
    };
    led(&format!("{}:", note.reason), style, &note.text, indent, look)
}

fn draw_event(event: &EventStatus, look: Look) -> String {
    let style = if event.warning { Style::new().yellow() } else { Style::new().dimmed() };
    let lead = format!("{} ago {}:", ago(event.at, look.now), event.reason);
    led(&lead, style, &event.note, 2, look)
}

/// A coloured lead and a sentence, wrapped.
fn led(lead: &str, style: Style, sentence: &str, indent: usize, look: Look) -> String {
    let text = wrapped(&format!("{lead} {sentence}"), indent, look.width);
    text.replacen(lead, &look.paint.styled(lead, Some(style)), 1)
}

#[cfg(test)]
mod tests;
