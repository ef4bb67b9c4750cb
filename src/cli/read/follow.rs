//! Has it come true, and what is it waiting for? Follows a resize until claims and template have the size.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::compose::{Seen, driver, state};
use super::live;
use crate::api::bytes::Bytes;
use crate::api::names::{SetName, TemplateName};
use crate::cli::failure::{Exit, Failure};
use crate::cli::show::terminal::say;
use crate::cluster::client::resources::EVENTS;
use crate::cluster::client::{Client, Selector};
use crate::cluster::clock;
use crate::cluster::sets::SetView;

/// A growth takes seconds; looking more often than this would not show more.
const PERIOD: Duration = Duration::from_secs(1);
/// When nothing at all has happened for so long, the operator may not be there.
const SILENCE: Duration = Duration::from_secs(20);
/// A set that is away for longer than any recreate takes has been deleted.
const AWAY: Duration = Duration::from_secs(60);

/// What is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) template: TemplateName,
    pub(crate) size: Bytes,
    /// Whether the template is to follow.
    pub(crate) with_template: bool,
}

/// Where things are: a line for each claim and the template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    lines: BTreeMap<String, String>,
    missing: BTreeSet<String>,
}

/// Follows it, telling every change on stderr, with the Events that explain it.
pub(crate) async fn follow(
    client: &Client,
    set: &SetName,
    goal: &Goal,
    timeout: Option<Duration>,
) -> Result<Exit, Failure> {
    let mut told = Told::new();
    let mut away: Option<Instant> = None;
    loop {
        match live::look_at(client, set).await? {
            Some((_, seen)) => {
                away = None;
                let progress = progress(&seen, goal);
                told.progress(&progress);
                told.events(client, &seen.set).await;
                if progress.missing.is_empty() {
                    told.end(&format!("done: {} of {set} is {} everywhere", goal.template, goal.size));
                    return Ok(Exit::Yes);
                }
            }
            None if away.get_or_insert_with(Instant::now).elapsed() > AWAY => return Err(live::absent(set)),
            None => told.line("template", "the set is between its old and its new object"),
        }
        told.silence();
        if timeout.is_some_and(|timeout| told.start.elapsed() >= timeout) {
            let missing: Vec<&str> = told.missing.iter().map(String::as_str).collect();
            return Err(Failure::no(format!("not done in time; still to come: {}", missing.join(", "))).hint(format!(
                "the request stands; `rso status {} -n {}` shows how it goes on",
                set.name, set.namespace
            )));
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {
                told.end("no longer waiting; the request stands");
                return Ok(Exit::No);
            }
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

fn progress(seen: &Seen, goal: &Goal) -> Progress {
    let mut progress = Progress::default();
    let Some(template) = seen.set.templates.iter().find(|template| template.name == goal.template) else {
        return progress;
    };
    let claims = seen.claims_of(template);
    let driver = driver(&claims);
    for (_, name) in seen.set.claims_of(&template.name) {
        let claim = claims.iter().find(|claim| claim.name == name);
        let (line, done) = match claim {
            None => ("missing".to_owned(), false),
            Some(claim) if !claim.is_committed(goal.size) => {
                (format!("{}, not asked to grow yet", claim.requested), false)
            }
            Some(claim) => match state(claim, &driver).words() {
                None => (format!("has {}", claim.requested), true),
                Some(words) => (format!("{words} to {}", claim.requested), false),
            },
        };
        if !done {
            progress.missing.insert(name.to_string());
        }
        progress.lines.insert(name.to_string(), line);
    }
    if goal.with_template {
        let done = template.size >= Some(goal.size) && !seen.set.marked;
        let size = template.size.unwrap_or_default();
        let line = match done {
            true => format!("has {size}"),
            false if seen.set.marked => "is being replaced; pods run on".to_owned(),
            false => format!("{size}, follows when all claims are committed"),
        };
        progress.lines.insert("template".to_owned(), line);
        if !done {
            progress.missing.insert("template".to_owned());
        }
    }
    progress
}

/// What was said already, so that nothing is said twice.
struct Told {
    start: Instant,
    changed: Instant,
    since: jiff::Timestamp,
    lines: BTreeMap<String, String>,
    events: BTreeSet<String>,
    missing: BTreeSet<String>,
    warned: bool,
    spinner: ProgressBar,
}

impl Told {
    fn new() -> Self {
        // Hides itself where stderr is no terminal.
        let spinner = ProgressBar::new_spinner();
        spinner.set_style(
            ProgressStyle::with_template("{elapsed:>5} {spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        spinner.enable_steady_tick(Duration::from_millis(120));
        Self {
            start: Instant::now(),
            changed: Instant::now(),
            // The server's clock may be a little behind this one.
            since: clock::now() - jiff::SignedDuration::from_secs(5),
            lines: BTreeMap::new(),
            events: BTreeSet::new(),
            missing: BTreeSet::new(),
            warned: false,
            spinner,
        }
    }

    fn say(&mut self, text: &str) {
        let seconds = self.start.elapsed().as_secs();
        self.spinner.suspend(|| say(&format!("{:>5}  {text}", format!("{seconds}s"))));
        self.changed = Instant::now();
    }

    fn line(&mut self, name: &str, line: &str) {
        if self.lines.get(name).is_none_or(|known| known != line) {
            self.lines.insert(name.to_owned(), line.to_owned());
            self.say(&format!("{name}  {line}"));
        }
    }

    fn progress(&mut self, progress: &Progress) {
        for (name, line) in &progress.lines {
            self.line(name, line);
        }
        self.missing.clone_from(&progress.missing);
        let missing = progress.missing.len();
        self.spinner.set_message(format!("{missing} of {} to come", progress.lines.len()));
    }

    /// Whatever anybody says about the set or its claims: the operator, the resizer, the driver. Without the right to read
    /// Events they are not told.
    async fn events(&mut self, client: &Client, set: &SetView) {
        let list = client.list(&EVENTS, Some(&set.name.namespace), Selector::default()).await;
        for event in list.map(|list| list.items).unwrap_or_default() {
            if let Some((id, text)) = news(&event, set, self.since)
                && self.events.insert(id)
            {
                self.say(&text);
            }
        }
    }

    fn silence(&mut self) {
        if !self.warned && self.changed.elapsed() > SILENCE {
            self.warned = true;
            let hint = "nothing has happened for 20 s. Is the operator running? kubectl get pods -A -l app.kubernetes.io/name=resize-statefulset-operator";
            self.spinner.suspend(|| say(hint));
        }
    }

    fn end(&mut self, text: &str) {
        self.say(text);
        self.spinner.finish_and_clear();
    }
}

/// An Event about the set or its claims that is new: its identity and what to say.
fn news(event: &Value, set: &SetView, since: jiff::Timestamp) -> Option<(String, String)> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let times = ["/series/lastObservedTime", "/eventTime", "/deprecatedLastTimestamp", "/metadata/creationTimestamp"];
    let at: jiff::Timestamp = times.into_iter().find_map(|pointer| text(pointer)?.parse().ok())?;
    let (kind, name) = (text("/regarding/kind")?, text("/regarding/name")?);
    let claims = || set.templates.iter().any(|t| set.claims_of(&t.name).any(|(_, claim)| claim.as_str() == name));
    let ours = match kind {
        "StatefulSet" => name == set.name.name,
        "PersistentVolumeClaim" => claims(),
        _ => false,
    };
    let id = format!("{} {}", text("/metadata/name")?, text("/note").unwrap_or_default());
    (ours && at >= since)
        .then(|| (id, format!("{}: {}", text("/reason").unwrap_or_default(), text("/note").unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> SetView {
        let object = json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "1"},
            "spec": {
                "serviceName": "db", "selector": {}, "template": {}, "replicas": 1,
                "volumeClaimTemplates": [
                    {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "10Gi"}}}},
                ],
            },
        });
        SetView::of(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn seen(requested: u64, capacity: u64) -> Seen {
        let object = json!({
            "metadata": {"name": "data-db-0", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {"resources": {"requests": {"storage": format!("{requested}Gi")}}},
            "status": {"phase": "Bound", "capacity": {"storage": format!("{capacity}Gi")}},
        });
        let set = set();
        let claim = crate::cluster::claims::read(&object, &set.name, &"data".into(), None).unwrap();
        Seen { set, ready: 1, claims: vec![claim], readings: BTreeMap::new(), events: vec![], blind: false }
    }

    #[test]
    fn it_is_done_when_claims_and_template_have_the_size() {
        let check = |requested, capacity, with_template, claim: &str, missing: &[&str]| {
            let goal = Goal { template: "data".into(), size: Bytes::gib(12), with_template };
            let progress = progress(&seen(requested, capacity), &goal);
            assert_eq!(progress.lines["data-db-0"], claim);
            assert_eq!(progress.missing.iter().map(String::as_str).collect::<Vec<_>>(), missing);
        };
        check(10, 10, true, "10Gi, not asked to grow yet", &["data-db-0", "template"]);
        check(12, 10, true, "growing to 12Gi", &["data-db-0", "template"]);
        check(12, 12, true, "has 12Gi", &["template"]);
        check(12, 12, false, "has 12Gi", &[]);
        check(14, 14, false, "has 14Gi", &[]);
    }

    #[test]
    fn an_event_is_news_when_it_is_new_and_about_this_set() {
        let check = |kind: &str, name: &str, at: &str, expected: bool| {
            let event = json!({
                "metadata": {"name": "e1"}, "reason": "VolumeResizeFailed", "note": "no room",
                "regarding": {"kind": kind, "name": name}, "eventTime": at,
            });
            let since = "2026-05-01T12:00:00Z".parse().unwrap();
            assert_eq!(news(&event, &set(), since).is_some(), expected, "{event}");
        };
        let (before, after) = ("2026-05-01T11:59:59.000000Z", "2026-05-01T12:00:01.000000Z");
        check("StatefulSet", "db", after, true);
        check("PersistentVolumeClaim", "data-db-0", after, true);
        check("PersistentVolumeClaim", "data-db-0", before, false);
        check("PersistentVolumeClaim", "data-other-0", after, false);
        check("Pod", "db", after, false);
    }
}
