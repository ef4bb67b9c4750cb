//! How does a deleted StatefulSet come back?

use std::io::{IsTerminal, stderr, stdin};

use serde_json::Value;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName};
use crate::api::reasons::{Note, Reason};
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::Connection;
use crate::cli::flags::DryRun;
use crate::cli::read::reach::Cluster;
use crate::cli::read::saved::{self, Saved};
use crate::cli::show::terminal::{ask, print, say};
use crate::cluster::client::resources::{CLAIMS, CONTROLLER_REVISIONS, PODS, STATEFUL_SETS};
use crate::cluster::client::{Address, Client, Outcome, Run, Selector};
use crate::cluster::clock;
use crate::cluster::events::{self, Subject};
use crate::recreate::confirm::{Findings, Remains, examine};
use crate::recreate::restore::{RestoreError, RestorePlan, plan};
use crate::recreate::rights;

mod words;

/// Arguments of `rso restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// Which backup; without it the newest
    #[arg(short, long, value_name = "N")]
    backup: Option<u64>,
    /// Restore without a question what no ControllerRevision confirms
    #[arg(short, long)]
    yes: bool,
    /// Restore rights that no ControllerRevision and no running Pod has, such as hostPID or another ServiceAccount
    #[arg(long)]
    allow_new_rights: bool,
    /// Keep updateStrategy and replicas of the backup, although Kubernetes then replaces or deletes running Pods
    #[arg(long)]
    replace_pods: bool,
    /// With `server`, the server checks everything and nothing is written
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    dry_run: DryRun,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let (client, set) = (&cluster.client, cluster.set(&args.set)?);
    let saved = saved::one(client, &set, args.backup).await?;
    let object = saved.statefulset()?;
    is_of(&object, &set, &saved)?;
    let live = client.get(&Address::set(&set)).await?;
    let claims = client.list(&CLAIMS, Some(&set.namespace), Selector::default()).await?.items;
    match plan(&object, live.as_ref(), &claims.iter().filter_map(size).collect())? {
        RestorePlan::Nothing => {
            print(&format!("statefulset.apps/{} is there, no different from backup {}\n", set.name, saved.number));
            Ok(Exit::Yes)
        }
        RestorePlan::Create { manifest, raised } => {
            let findings = examined(client, &set, &manifest, &claims).await?;
            raised.iter().for_each(|raised| say(&words::raised(raised)));
            Restore { args, client, set: &set, saved: &saved, wanted: &manifest, findings }.run().await
        }
    }
}

/// A backup that lies under the name of one set and holds another is not restored.
fn is_of(object: &Value, set: &SetName, saved: &Saved) -> Result<(), Failure> {
    let metadata = &object["metadata"];
    let inside = |key: &str| metadata[key].as_str().unwrap_or_default();
    if object["apiVersion"] == "apps/v1" && inside("name") == set.name && inside("namespace") == set.namespace {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "backup {}/{} is not one of StatefulSet {set}: it holds {} {}/{}",
        saved.namespace,
        saved.name,
        object["kind"].as_str().unwrap_or("an object"),
        inside("namespace"),
        inside("name"),
    ))
    .hint("`rso backup list` shows the others; --backup names one of them"))
}

async fn examined(client: &Client, set: &SetName, manifest: &Value, claims: &[Value]) -> Result<Findings, Failure> {
    let within = Some(set.namespace.as_str());
    let revisions = client.list(&CONTROLLER_REVISIONS, within, Selector::default()).await?.items;
    let pods = client.list(&PODS, within, Selector::default()).await?.items;
    Ok(examine(set, manifest, Remains { revisions: &revisions, pods: &pods, claims }))
}

/// The larger of request and capacity of a claim: a template must not be smaller than what its pods already have.
fn size(claim: &Value) -> Option<(ClaimName, Bytes)> {
    let size =
        |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).and_then(|text| text.parse::<Bytes>().ok());
    let size = size("/spec/resources/requests/storage").max(size("/status/capacity/storage"))?;
    Some((ClaimName::from(claim.pointer("/metadata/name")?.as_str()?), size))
}

/// A restore that has been planned.
struct Restore<'a> {
    args: &'a Args,
    client: &'a Client,
    set: &'a SetName,
    saved: &'a Saved,
    /// As in the backup.
    wanted: &'a Value,
    findings: Findings,
}

impl Restore<'_> {
    async fn run(mut self) -> Result<Exit, Failure> {
        let backup = self.saved.number.to_string();
        words::facts(&self.findings, &backup).iter().for_each(|line| say(line));
        if !self.findings.new_rights.is_empty() && !self.args.allow_new_rights {
            return Err(words::refused(self.set, &backup, &self.findings.new_rights));
        }
        if !self.findings.below.is_empty() && !self.args.replace_pods {
            return Err(words::below(self.set, &self.findings.below));
        }
        let mut manifest = self.manifest();
        let checked = self.create(&manifest, Run::Dry).await?;
        if self.changes_template(&checked) && self.findings.runs {
            say("a policy of the cluster changes the pod template when the StatefulSet is created");
            self.findings.outdated.push("every Pod".to_owned());
            manifest = self.manifest();
        }
        if self.args.dry_run == DryRun::Server {
            self.done("can be restored (server dry run)", &manifest);
            return Ok(Exit::Yes);
        }
        if self.findings.needs_a_person() && !self.args.yes && !agreed(self.set, &backup)? {
            return Err(Failure::no(format!("StatefulSet {} is not restored", self.set)));
        }
        let restored = self.create(&manifest, Run::Real).await?;
        self.done("restored", &manifest);
        record(self.client, self.set, self.saved, &restored).await;
        say(&format!(
            "Its pods, if they still run, are adopted as they are; `rso status {} -n {}` shows it.",
            self.set.name, self.set.namespace
        ));
        Ok(Exit::Yes)
    }

    fn manifest(&self) -> Value {
        if self.args.replace_pods { self.wanted.clone() } else { self.findings.gentle(self.wanted) }
    }

    fn changes_template(&self, answer: &Value) -> bool {
        !rights::same_template(&self.wanted["spec"]["template"], &answer["spec"]["template"])
    }

    fn done(&self, how: &str, manifest: &Value) {
        let Saved { number, taken_at, .. } = self.saved;
        print(&format!("statefulset.apps/{} {how} from backup {number} of {taken_at}\n", self.set.name));
        words::afterwards(self.set, self.wanted, manifest).iter().for_each(|line| say(line));
    }

    async fn create(&self, manifest: &Value, run: Run) -> Result<Value, Failure> {
        let set = self.set;
        match self.client.create(&STATEFUL_SETS, Some(&set.namespace), manifest, run).await? {
            Outcome::Done(object) => Ok(object),
            Outcome::AlreadyExists | Outcome::Conflict(_) => {
                Err(Failure::refused(format!("StatefulSet {set} was created by somebody else at this moment"))
                    .hint("`rso backup diff` shows how it differs from the backup"))
            }
            Outcome::NotFound => Err(Failure::no(format!("namespace {} does not exist", set.namespace))),
        }
    }
}

/// Asks at a terminal. Where there is none, nobody has read what was written.
fn agreed(set: &SetName, backup: &str) -> Result<bool, Failure> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(words::unanswered(set, backup));
    }
    ask(&format!("Restore StatefulSet {set} from backup {backup}? [y/N] "));
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// An Event, for those who were not there. A person who may not write one has restored the set all the same.
async fn record(client: &Client, set: &SetName, saved: &Saved, restored: &Value) {
    let Some(uid) = restored.pointer("/metadata/uid").and_then(Value::as_str) else { return };
    let text = format!("the set was made again from backup {} of {}", saved.number, saved.taken_at);
    let subject = Subject { address: Address::set(set), uid: uid.into() };
    let (recorder, sender) = events::recorder(client.clone(), "rso restore", || {});
    recorder.record(&subject, "Restore", &Note::new(Reason::RestoredFromBackup, text), clock::now());
    drop(recorder);
    sender.run().await;
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Malformed(_) | RestoreError::Exists { .. } => Self::refused(error.to_string()),
            RestoreError::Deleting(_) => Self::no(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_counts_with_the_larger_of_what_it_asks_for_and_has() {
        let check = |requested: &str, capacity: Option<&str>, expected: u64| {
            let mut claim = json!({
                "metadata": {"name": "data-db-0"},
                "spec": {"resources": {"requests": {"storage": requested}}},
            });
            if let Some(capacity) = capacity {
                claim["status"] = json!({"capacity": {"storage": capacity}});
            }
            assert_eq!(size(&claim), Some((ClaimName::from("data-db-0"), Bytes::gib(expected))));
        };
        check("10Gi", None, 10);
        check("10Gi", Some("12Gi"), 12);
        check("14Gi", Some("12Gi"), 14);
    }

    #[test]
    fn a_backup_of_another_set_is_refused() {
        let check = |object: Value, expected: bool| {
            let map = json!({
                "metadata": {
                    "name": "db-backup-7", "namespace": "shop",
                    "labels": {"resize-statefulset-operator/statefulset": "db"},
                },
            });
            let saved = Saved::read(map, None).unwrap();
            assert_eq!(is_of(&object, &SetName::new("shop", "db"), &saved).is_ok(), expected, "{object}");
        };
        let object = |version: &str, namespace: &str, name: &str| json!({"apiVersion": version, "kind": "StatefulSet", "metadata": {"namespace": namespace, "name": name}});
        check(object("apps/v1", "shop", "db"), true);
        check(object("apps/v1", "kube-system", "db"), false);
        check(object("apps/v1", "shop", "other"), false);
        check(object("example.com/v1", "shop", "db"), false);
        check(json!({}), false);
    }

    #[test]
    fn a_set_that_differs_is_refused_for_safety() {
        let error = RestoreError::Exists { set: SetName::new("shop", "db"), differences: vec!["spec.replicas".into()] };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.what.contains("spec.replicas"), "{failure}");
    }
}
