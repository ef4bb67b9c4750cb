//! The screen of `rso status`: StatefulSets with their templates and a bar for each volume, in the width of the terminal.

use jiff::Timestamp;
use owo_colors::Style;

use super::bar::{self, Urgency};
use super::table::{Cell, Paint, columns, wrapped};
use super::view::{ClaimStatus, EventStatus, Expansion, Rule, SetStatus, TemplateStatus, ago};
use crate::api::bytes::Bytes;
use crate::api::reasons::{Note, Severity};
use crate::policy::brief;
use crate::policy::reaction::Longest;

/// The smallest and the largest width of a bar: a smaller one shows too little, a larger one shows nothing more.
const BAR_WIDTHS: (usize, usize) = (8, 30);
/// The largest width of a name; a longer one loses its middle.
const MAX_NAME_WIDTH: usize = 32;
/// Space reserved for the requested size (`→ 12Gi`) and for the state of a PVC: a bar keeps its width during an expansion.
const RESERVED: (&str, &str) = ("of 10Gi → 12Gi", "expanded 59m ago");
/// The default columns do not show an older expansion.
const RECENT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// How to draw the screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The time from which ages are computed.
    pub(crate) now: Timestamp,
    /// Cells in a line.
    pub(crate) width: usize,
    /// Whether the output has colors.
    pub(crate) paint: Paint,
    /// Which columns to show.
    pub(crate) detail: Detail,
}

/// Which columns to show for each volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Those that fit in 80 cells.
    Default,
    /// Also the inodes, the StorageClass, the age of the measurement, and the last expansion.
    Wide,
}

/// The StatefulSets one below the other, then the hints.
pub(crate) fn draw(sets: &[SetStatus], hints: &[String], layout: Layout) -> String {
    let blocks: Vec<String> = sets.iter().map(|set| draw_set(set, layout)).collect();
    let mut screen = blocks.join("\n");
    if !hints.is_empty() {
        screen.push('\n');
    }
    for hint in hints {
        screen.push_str(&layout.paint.styled(&wrapped(hint, 0, layout.width), Some(Style::new().dimmed())));
    }
    screen
}

fn draw_set(set: &SetStatus, layout: Layout) -> String {
    let bar = bar_width(set, layout);
    let name = layout.paint.styled(&format!("{}/{}", set.namespace, set.name), Some(Style::new().bold()));
    let ready = format!("{}/{} ready", set.ready_replicas, set.replicas);
    let ready = layout.paint.styled(&ready, (set.ready_replicas < set.replicas).then(|| Style::new().yellow()));
    let phase = set.phase.text().map(|text| layout.paint.styled(&format!("  {text}"), Some(Style::new().cyan())));
    let unmanaged = if set.managed { "" } else { "  not managed: no annotation or label of rso" };
    let mut text = format!("{name}  {ready}{}{unmanaged}\n", phase.unwrap_or_default());
    // One table for all templates aligns the bars of a StatefulSet.
    let rows: Vec<Vec<Cell>> =
        set.templates.iter().flat_map(|t| t.claims.iter().map(|claim| row(t, claim, bar, layout))).collect();
    let table = columns(&rows, 4, layout.paint);
    let mut lines = table.lines();
    for template in &set.templates {
        text.push_str(&headline(template, layout));
        for line in lines.by_ref().take(template.claims.len()) {
            text.push_str(line);
            text.push('\n');
        }
        template.notes.iter().for_each(|note| text.push_str(&draw_note(note, 4, layout)));
    }
    set.notes.iter().for_each(|note| text.push_str(&draw_note(note, 2, layout)));
    set.events.iter().for_each(|event| text.push_str(&draw_event(event, layout)));
    text
}

/// The width that the other columns leave for a bar, within its limits.
fn bar_width(set: &SetStatus, layout: Layout) -> usize {
    let rows = set.templates.iter().flat_map(|t| t.claims.iter().map(|claim| row(t, claim, 0, layout)));
    let mut reserved = vec![Cell::default(); if layout.detail == Detail::Wide { 9 } else { 6 }];
    reserved[4] = Cell::new(RESERVED.0);
    reserved.push(Cell::new(RESERVED.1));
    let rows: Vec<Vec<Cell>> = rows.chain(std::iter::once(reserved)).collect();
    let taken = columns(&rows, 4, Paint::Plain).lines().map(|line| line.chars().count()).max().unwrap_or(0);
    layout.width.saturating_sub(taken).clamp(BAR_WIDTHS.0, BAR_WIDTHS.1)
}

/// `data  10Gi → 12Gi  expands by 20% at 80%, reaction 0.4s (last 8)`. The reaction is on a line of its own if it does not fit.
fn headline(template: &TemplateStatus, layout: Layout) -> String {
    let rule = |rule: &Rule| {
        let most = rule.max_size.map(|size| format!(", at most {size}")).unwrap_or_default();
        format!("by {} at {}{most}", rule.increase, rule.threshold)
    };
    let expansion = match &template.expansion {
        Expansion::OnRequest => "expands on request".to_owned(),
        Expansion::Recommend(by_usage) => format!("would expand {} (recommend)", rule(by_usage)),
        Expansion::ByUsage(by_usage) => format!("expands {}", rule(by_usage)),
    };
    let wanted = template.wanted.map(|size| format!(" → {size}")).unwrap_or_default();
    let line = format!("  {}  {}{wanted}  {expansion}", template.name, template.size);
    match reaction(template) {
        None => format!("{line}\n"),
        Some(reaction) if line.chars().count() + 2 + reaction.len() <= layout.width => format!("{line}, {reaction}\n"),
        Some(reaction) => format!("{line}\n    {reaction}\n"),
    }
}

/// `reaction 0.4s (last 8)`: the longest in the StorageClasses of the PVCs, usually one.
fn reaction(template: &TemplateStatus) -> Option<String> {
    let measured = template.claims.iter().filter_map(|claim| claim.usage.as_ref()?.reaction);
    let Longest { time, of } = measured.max_by_key(|longest| longest.time)?;
    Some(format!("reaction {} (last {of})", brief(time)))
}

fn row(template: &TemplateStatus, claim: &ClaimStatus, bar: usize, layout: Layout) -> Vec<Cell> {
    let threshold = template.expansion.threshold();
    let mut cells = vec![Cell::new(shortened(&claim.name))];
    match &claim.usage {
        Some(usage) => {
            let style = match bar::urgency(usage.full, threshold) {
                Urgency::Normal => Style::new().green(),
                Urgency::AboveThreshold => Style::new().yellow(),
                Urgency::NearlyFull => Style::new().red(),
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
    if layout.detail == Detail::Wide {
        let inodes = claim.usage.as_ref().and_then(|usage| usage.inodes_full).map(bar::percent);
        cells.push(Cell::new(inodes.map_or("-".to_owned(), |full| format!("inodes {full}"))));
        cells.push(Cell::new(
            claim.usage.as_ref().map_or("-".to_owned(), |usage| format!("read {} ago", ago(usage.at, layout.now))),
        ));
        cells.push(Cell::new(claim.class.clone().unwrap_or("-".to_owned())));
    }
    cells.push(state(claim, layout));
    cells
}

/// `of 10Gi`, and a larger size that the PVC requests.
fn size(claim: &ClaimStatus) -> String {
    match (claim.capacity, claim.requested) {
        (None, None) => "-".to_owned(),
        (None, Some(requested)) => format!("{} requested", short(requested)),
        (Some(capacity), Some(requested)) if requested > capacity => {
            format!("of {} → {}", short(capacity), short(requested))
        }
        (Some(capacity), _) => format!("of {}", short(capacity)),
    }
}

fn state(claim: &ClaimStatus, layout: Layout) -> Cell {
    let expanded_at =
        claim.resized_at.filter(|at| layout.detail == Detail::Wide || layout.now.duration_since(*at) < RECENT);
    let full_in = claim.usage.as_ref().and_then(|usage| usage.full_in).map(|left| format!("full in {}", brief(left)));
    match (claim.state.text(), expanded_at) {
        (text, _) if full_in.is_some() && !claim.state.needs_action() => {
            let parts: Vec<String> = text.map(ToOwned::to_owned).into_iter().chain(full_in).collect();
            Cell::new(parts.join(", ")).style(Style::new().yellow())
        }
        (Some(text), _) if claim.state.needs_action() => Cell::new(text).style(Style::new().red()),
        (Some(text), _) => Cell::new(text).style(Style::new().cyan()),
        (None, Some(at)) => Cell::new(format!("expanded {} ago", ago(at, layout.now))).style(Style::new().dimmed()),
        (None, None) => Cell::new(""),
    }
}

/// The exact size if that is short, else a rounded one.
fn short(size: Bytes) -> String {
    let exact = size.to_string();
    if exact.len() <= 6 { exact } else { size.human() }
}

/// The whole name, or the name without its middle.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= MAX_NAME_WIDTH {
        return name.to_owned();
    }
    let head: String = name.chars().take(MAX_NAME_WIDTH / 2 - 1).collect();
    let tail: String = name.chars().skip(length - MAX_NAME_WIDTH / 2).collect();
    format!("{head}…{tail}")
}

fn draw_note(note: &Note, indent: usize, layout: Layout) -> String {
    let style = match note.reason.severity() {
        Severity::Normal => Style::new().cyan(),
        Severity::Warning => Style::new().yellow(),
    };
    sentence(Lead { text: &format!("{}:", note.reason), style }, &note.text, indent, layout)
}

fn draw_event(event: &EventStatus, layout: Layout) -> String {
    let style = if event.warning { Style::new().yellow() } else { Style::new().dimmed() };
    let lead = format!("{} ago {}:", ago(event.at, layout.now), event.reason);
    sentence(Lead { text: &lead, style }, &event.note, 2, layout)
}

/// The first words of a sentence, in a color.
struct Lead<'a> {
    text: &'a str,
    style: Style,
}

/// A sentence after its lead, wrapped.
fn sentence(lead: Lead<'_>, rest: &str, indent: usize, layout: Layout) -> String {
    let text = wrapped(&format!("{} {rest}", lead.text), indent, layout.width);
    text.replacen(lead.text, &layout.paint.styled(lead.text, Some(lead.style)), 1)
}

#[cfg(test)]
mod tests;
