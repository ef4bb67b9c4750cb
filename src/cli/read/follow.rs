//! Progress of a resize, until the PVCs and the template have the size.

mod reporter;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use self::reporter::{Progress, Reporter};
use super::compose::{Snapshot, state};
use super::live;
use crate::api::bytes::Bytes;
use crate::api::names::{SetName, TemplateName};
use crate::cli::failure::{Exit, Failure};
use crate::cluster::client::Client;
use crate::policy::drivers::Drivers;

/// An expansion takes seconds, so polling more often would not show more.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A StatefulSet that is absent for longer than any recreation takes has been deleted.
const MAX_ABSENCE: Duration = Duration::from_secs(60);

/// What to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) template: TemplateName,
    pub(crate) size: Bytes,
    /// Whether the template is to have the size too.
    pub(crate) with_template: bool,
}

impl Goal {
    fn reached(&self, set: &SetName) -> String {
        let Self { template, size, with_template } = self;
        match with_template {
            true => format!("done: template {template} of StatefulSet {set} and its PVCs reached {size}"),
            false => format!("done: all PVCs of template {template} of StatefulSet {set} reached {size}"),
        }
    }
}

/// Waits for the goal. Reports each change on stderr, with the Events that explain it.
///
/// # Errors
/// If the time is over, the StatefulSet is deleted, or a request fails.
pub(crate) async fn follow(
    client: &Client,
    set: &SetName,
    goal: &Goal,
    timeout: Option<Duration>,
) -> Result<Exit, Failure> {
    let mut reporter = Reporter::new();
    let mut absent_since: Option<Instant> = None;
    loop {
        match live::snapshot_of(client, set).await? {
            Some((_, snapshot)) => {
                absent_since = None;
                let progress = progress(&snapshot, goal);
                reporter.progress(&progress);
                reporter.events(client, &snapshot.workload.set).await;
                if progress.missing.is_empty() {
                    reporter.end(&goal.reached(set));
                    return Ok(Exit::Success);
                }
            }
            None if absent_since.get_or_insert_with(Instant::now).elapsed() > MAX_ABSENCE => {
                return Err(live::not_found(set));
            }
            None => reporter.line("template", "the StatefulSet is being recreated"),
        }
        reporter.warn_without_progress();
        if timeout.is_some_and(|timeout| reporter.start.elapsed() >= timeout) {
            return Err(timed_out(set, &reporter.missing));
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {
                reporter.end("stopped waiting; the request remains active");
                return Ok(Exit::Negative);
            }
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

fn timed_out(set: &SetName, missing: &BTreeSet<String>) -> Failure {
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    Failure::negative(format!("timed out waiting for: {}", missing.join(", "))).hint(format!(
        "The request remains active. To check its progress, run `rso status {} -n {}`.",
        set.name, set.namespace
    ))
}

fn progress(snapshot: &Snapshot, goal: &Goal) -> Progress {
    let mut progress = Progress::default();
    let set = &snapshot.workload.set;
    let Some(group) = snapshot.workload.group(&goal.template) else { return progress };
    let (template, driver) = (&group.template, group.driver(&Drivers::default()));
    for (_, name) in set.claims_of(&template.name) {
        let (line, is_done) = match group.claims.iter().find(|claim| claim.name == name) {
            None => ("not found".to_owned(), false),
            Some(claim) if !claim.is_committed(goal.size) => {
                (format!("{}, expansion not requested yet", claim.requested), false)
            }
            Some(claim) => match state(claim, &driver).text() {
                None => (format!("has {}", claim.requested), true),
                Some(text) => (format!("{} requested: {text}", claim.requested), false),
            },
        };
        progress.add(name.to_string(), line, is_done);
    }
    if goal.with_template {
        let is_done = template.size >= Some(goal.size) && !set.marked;
        let size = template.size.unwrap_or_default();
        let line = match is_done {
            true => format!("has {size}"),
            false if set.marked => "recreation in progress; Pods keep running".to_owned(),
            false => format!("{size}, updated once every PVC has accepted its size"),
        };
        progress.add("template".to_owned(), line, is_done);
    }
    progress
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::workload::claims::read;
    use crate::workload::snapshot::Workload;
    use crate::workload::statefulset::StatefulSetView;

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

    fn snapshot(requested: u64, capacity: u64) -> Snapshot {
        let object = json!({
            "metadata": {"name": "data-db-0", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {"resources": {"requests": {"storage": format!("{requested}Gi")}}},
            "status": {"phase": "Bound", "capacity": {"storage": format!("{capacity}Gi")}},
        });
        let set = set();
        let claim = read(&serde_json::from_value(object).unwrap(), &set.name, &"data".into(), None).unwrap();
        let workload = Workload::of(set, vec![claim]);
        Snapshot {
            workload,
            ready: 1,
            readings: BTreeMap::new(),
            rates: BTreeMap::new(),
            reactions: BTreeMap::new(),
            events: vec![],
            usage_denied: false,
        }
    }

    #[test]
    fn the_goal_is_reached_when_the_pvcs_and_the_template_have_the_size() {
        let check = |requested, capacity, with_template, claim: &str, missing: &[&str]| {
            let goal = Goal { template: "data".into(), size: Bytes::gib(12), with_template };
            let progress = progress(&snapshot(requested, capacity), &goal);
            assert_eq!(progress.lines["data-db-0"], claim);
            assert_eq!(progress.missing.iter().map(String::as_str).collect::<Vec<_>>(), missing);
        };
        check(10, 10, true, "10Gi, expansion not requested yet", &["data-db-0", "template"]);
        check(12, 10, true, "12Gi requested: expanding", &["data-db-0", "template"]);
        check(12, 12, true, "has 12Gi", &["template"]);
        check(12, 12, false, "has 12Gi", &[]);
        check(14, 14, false, "has 14Gi", &[]);
    }
}
