//! Reports of a resize on stderr: each change once, and the Events that explain it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::api::objects::EVENTS;
use crate::cli::read::reactions::OPERATOR_PODS;
use crate::cli::show::terminal::say;
use crate::cluster::client::{Client, Selector};
use crate::cluster::clock;
use crate::workload::statefulset::StatefulSetView;

/// Without any progress for this long, the operator may not be running.
const NO_PROGRESS_WARNING: Duration = Duration::from_secs(20);
/// The API server's clock may be this much behind the local one.
const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// A line for each PVC and for the template, and which of them have not reached the goal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) lines: BTreeMap<String, String>,
    pub(super) missing: BTreeSet<String>,
}

impl Progress {
    pub(super) fn add(&mut self, name: String, line: String, is_done: bool) {
        if !is_done {
            self.missing.insert(name.clone());
        }
        self.lines.insert(name, line);
    }
}

/// Reports the progress on stderr, each line once.
pub(super) struct Reporter {
    pub(super) start: Instant,
    changed: Instant,
    since: jiff::Timestamp,
    lines: BTreeMap<String, String>,
    events: BTreeSet<String>,
    pub(super) missing: BTreeSet<String>,
    has_warned: bool,
    spinner: ProgressBar,
}

impl Reporter {
    pub(super) fn new() -> Self {
        // Hides itself if stderr is not a terminal.
        let spinner = ProgressBar::new_spinner();
        spinner.set_style(
            ProgressStyle::with_template("{elapsed:>5} {spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        spinner.enable_steady_tick(Duration::from_millis(120));
        Self {
            start: Instant::now(),
            changed: Instant::now(),
            since: clock::now() - CLOCK_SKEW,
            lines: BTreeMap::new(),
            events: BTreeSet::new(),
            missing: BTreeSet::new(),
            has_warned: false,
            spinner,
        }
    }

    fn say(&mut self, text: &str) {
        let seconds = self.start.elapsed().as_secs();
        self.spinner.suspend(|| say(&format!("{:>5}  {text}", format!("{seconds}s"))));
        self.changed = Instant::now();
    }

    pub(super) fn line(&mut self, name: &str, line: &str) {
        if self.lines.get(name).is_none_or(|known| known != line) {
            self.lines.insert(name.to_owned(), line.to_owned());
            self.say(&format!("{name}  {line}"));
        }
    }

    pub(super) fn progress(&mut self, progress: &Progress) {
        for (name, line) in &progress.lines {
            self.line(name, line);
        }
        self.missing.clone_from(&progress.missing);
        let missing = progress.missing.len();
        self.spinner.set_message(format!("waiting for {missing} of {}", progress.lines.len()));
    }

    /// Reports the new Events about the StatefulSet or its PVCs from any client: the operator, the resizer, the driver. A user
    /// without the permission to list Events sees none.
    pub(super) async fn events(&mut self, client: &Client, set: &StatefulSetView) {
        let list = client.list(&EVENTS, Some(&set.name.namespace), Selector::default()).await;
        for event in list.map(|list| list.items).unwrap_or_default() {
            if let Some((id, text)) = new_event(&event, set, self.since)
                && self.events.insert(id)
            {
                self.say(&text);
            }
        }
    }

    pub(super) fn warn_without_progress(&mut self) {
        if !self.has_warned && self.changed.elapsed() > NO_PROGRESS_WARNING {
            self.has_warned = true;
            let seconds = NO_PROGRESS_WARNING.as_secs();
            let warning = format!(
                "no progress for {seconds}s. Check that the operator is running: kubectl get pods -A -l \
                 {OPERATOR_PODS}"
            );
            self.spinner.suspend(|| say(&warning));
        }
    }

    pub(super) fn end(&mut self, text: &str) {
        self.say(text);
        self.spinner.finish_and_clear();
    }
}

/// A new Event about the StatefulSet or its PVCs: its identity and its text.
fn new_event(event: &Value, set: &StatefulSetView, since: jiff::Timestamp) -> Option<(String, String)> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let times = ["/series/lastObservedTime", "/eventTime", "/deprecatedLastTimestamp", "/metadata/creationTimestamp"];
    let at: jiff::Timestamp = times.into_iter().find_map(|pointer| text(pointer)?.parse().ok())?;
    let (kind, name) = (text("/regarding/kind")?, text("/regarding/name")?);
    let is_claim = || set.templates.iter().any(|t| set.claims_of(&t.name).any(|(_, claim)| claim.as_str() == name));
    let is_ours = match kind {
        "StatefulSet" => name == set.name.name,
        "PersistentVolumeClaim" => is_claim(),
        _ => false,
    };
    let (reason, note) = (text("/reason").unwrap_or_default(), text("/note").unwrap_or_default());
    let id = format!("{} {note}", text("/metadata/name")?);
    (is_ours && at >= since).then(|| (id, format!("{reason}: {note}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> StatefulSetView {
        let object = json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "1"},
            "spec": {
                "serviceName": "db", "selector": {}, "template": {}, "replicas": 1,
                "volumeClaimTemplates": [
                    {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "10Gi"}}}},
                ],
            },
        });
        StatefulSetView::of(&serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn an_event_is_reported_if_it_is_new_and_about_this_statefulset_or_its_pvcs() {
        let check = |kind: &str, name: &str, at: &str, expected: bool| {
            let event = json!({
                "metadata": {"name": "e1"}, "reason": "VolumeResizeFailed", "note": "no room",
                "regarding": {"kind": kind, "name": name}, "eventTime": at,
            });
            let since = "2026-05-01T12:00:00Z".parse().unwrap();
            assert_eq!(new_event(&event, &set(), since).is_some(), expected, "{event}");
        };
        let (before, after) = ("2026-05-01T11:59:59.000000Z", "2026-05-01T12:00:01.000000Z");
        check("StatefulSet", "db", after, true);
        check("PersistentVolumeClaim", "data-db-0", after, true);
        check("PersistentVolumeClaim", "data-db-0", before, false);
        check("PersistentVolumeClaim", "data-other-0", after, false);
        check("Pod", "db", after, false);
    }
}
