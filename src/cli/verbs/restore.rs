//! `rso restore`: restores a deleted StatefulSet from a backup.

use std::io::{IsTerminal, stderr, stdin};

use serde_json::Value;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName};
use crate::api::objects::{Address, CLAIMS, CONTROLLER_REVISIONS, PODS, STATEFUL_SETS};
use crate::api::reasons::{Note, Reason};
use crate::api::storage;
use crate::api::write::Write;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, DryRun};
use crate::cli::read::reach::Cluster;
use crate::cli::read::saved::{self, Saved};
use crate::cli::show::terminal::{ask, print, say};
use crate::cluster::client::{Client, Outcome, Selector};
use crate::cluster::clock;
use crate::cluster::events::{self, Subject};
use crate::recreate::confirm::{Findings, Remains, examine};
use crate::recreate::restore::{RestoreError, RestorePlan, plan};
use crate::recreate::rights;

mod words;

/// Arguments of `rso restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// StatefulSet to restore
    #[arg(value_name = "STATEFULSET")]
    set: String,
    /// Number of the backup (default: the newest)
    #[arg(short, long, value_name = "NUMBER")]
    backup: Option<u64>,
    /// Restore without asking for confirmation, even if no ControllerRevision confirms the backup
    #[arg(short, long)]
    yes: bool,
    /// Restore privileges that no ControllerRevision and no running Pod has, such as hostPID or another ServiceAccount
    #[arg(long)]
    allow_new_rights: bool,
    /// Use updateStrategy and replicas of the backup, although Kubernetes then replaces or deletes running Pods
    #[arg(long)]
    replace_pods: bool,
    /// With `server`, send server-side dry-run requests, which validate everything and write nothing
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    dry_run: DryRun,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let (client, set) = (&cluster.client, cluster.set(&args.set)?);
    let saved = saved::find(client, &set, args.backup).await?;
    let object = saved.statefulset()?;
    belongs_to(&object, &set, &saved)?;
    let live = client.get(&Address::set(&set)).await?;
    let claims = client.list(&CLAIMS, Some(&set.namespace), Selector::default()).await?.items;
    match plan(&object, live.as_ref(), &claims.iter().filter_map(size).collect())? {
        RestorePlan::Nothing => {
            print(&format!("statefulset.apps/{} exists and equals backup {}\n", set.name, saved.number));
            Ok(Exit::Success)
        }
        RestorePlan::Create { manifest, raised } => {
            let findings = findings(client, &set, &manifest, &claims).await?;
            raised.iter().for_each(|raised| say(&words::raised(raised)));
            Restore { args, client, set: &set, saved: &saved, wanted: &manifest, findings }.run().await
        }
    }
}

/// Refuses a backup with the name of one StatefulSet and the content of another.
fn belongs_to(object: &Value, set: &SetName, saved: &Saved) -> Result<(), Failure> {
    let metadata = &object["metadata"];
    let inside = |key: &str| metadata[key].as_str().unwrap_or_default();
    if object["apiVersion"] == "apps/v1" && inside("name") == set.name && inside("namespace") == set.namespace {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "backup {}/{} is not a backup of StatefulSet {set}: it contains {} {}/{}",
        saved.namespace,
        saved.name,
        object["kind"].as_str().unwrap_or("an object"),
        inside("namespace"),
        inside("name"),
    ))
    .hint(saved.list_hint()))
}

async fn findings(client: &Client, set: &SetName, manifest: &Value, claims: &[Value]) -> Result<Findings, Failure> {
    let namespace = Some(set.namespace.as_str());
    let revisions = client.list(&CONTROLLER_REVISIONS, namespace, Selector::default()).await?.items;
    let pods = client.list(&PODS, namespace, Selector::default()).await?.items;
    Ok(examine(set, manifest, Remains { revisions: &revisions, pods: &pods, claims }))
}

/// The name of a PVC with the larger of its request and its capacity: a template must not be smaller than its volumes.
fn size(claim: &Value) -> Option<(ClaimName, Bytes)> {
    let size = storage::request(claim).max(storage::capacity(claim))?;
    Some((ClaimName::from(claim.pointer("/metadata/name")?.as_str()?), size))
}

/// A restore that has been planned.
struct Restore<'a> {
    args: &'a Args,
    client: &'a Client,
    set: &'a SetName,
    saved: &'a Saved,
    /// The StatefulSet as in the backup.
    wanted: &'a Value,
    findings: Findings,
}

impl Restore<'_> {
    async fn run(mut self) -> Result<Exit, Failure> {
        let backup = self.saved.number.to_string();
        words::findings(&self.findings, &backup).iter().for_each(|line| say(line));
        if !self.findings.new_rights.is_empty() && !self.args.allow_new_rights {
            return Err(words::refused(self.set, &backup, &self.findings.new_rights));
        }
        if !self.findings.below.is_empty() && !self.args.replace_pods {
            return Err(words::below(self.set, &self.findings.below));
        }
        let mut manifest = self.manifest();
        let checked = created(self.set, self.client.dry_run(&self.write(&manifest)).await?)?;
        if self.changes_template(&checked) && self.findings.runs {
            say(
                "An admission policy or webhook of the cluster changes the Pod template when the StatefulSet is created.",
            );
            self.findings.outdated.push("every Pod".to_owned());
            manifest = self.manifest();
        }
        if self.args.dry_run == DryRun::Server {
            self.report(" (server dry run)", &manifest);
            return Ok(Exit::Success);
        }
        if self.findings.needs_a_person() && !self.args.yes && !is_confirmed(self.set, &backup)? {
            return Err(Failure::negative(format!("StatefulSet {} was not restored", self.set)));
        }
        let restored = created(self.set, self.client.write(&self.write(&manifest)).await?)?;
        self.report("", &manifest);
        record(self.client, self.set, self.saved, &restored).await;
        say(&format!(
            "The StatefulSet adopts the Pods that still run. To check, run `rso status {} -n {}`.",
            self.set.name, self.set.namespace
        ));
        Ok(Exit::Success)
    }

    fn manifest(&self) -> Value {
        if self.args.replace_pods { self.wanted.clone() } else { self.findings.gentle(self.wanted) }
    }

    fn changes_template(&self, created: &Value) -> bool {
        !rights::same_template(&self.wanted["spec"]["template"], &created["spec"]["template"])
    }

    fn report(&self, suffix: &str, manifest: &Value) {
        let Saved { number, taken_at, .. } = self.saved;
        print(&format!(
            "statefulset.apps/{} restored from backup {number}, taken at {taken_at}{suffix}\n",
            self.set.name
        ));
        words::afterwards(self.set, self.wanted, manifest).iter().for_each(|line| say(line));
    }

    fn write(&self, manifest: &Value) -> Write {
        Write::create(&STATEFUL_SETS, Some(&self.set.namespace), manifest.clone())
    }
}

/// The StatefulSet that was created.
fn created(set: &SetName, outcome: Outcome<Value>) -> Result<Value, Failure> {
    match outcome {
        Outcome::Done(object) => Ok(object),
        Outcome::AlreadyExists | Outcome::Conflict(_) => Err(Failure::refused(format!(
            "another client created StatefulSet {set} in the meantime"
        ))
        .hint(format!("To compare it with the backup, run `rso backup diff {} -n {}`.", set.name, set.namespace))),
        Outcome::NotFound => Err(Failure::negative(format!("namespace {} does not exist", set.namespace))),
    }
}

/// Asks for confirmation. Without a terminal, nobody has read the findings, so the restore is refused.
fn is_confirmed(set: &SetName, backup: &str) -> Result<bool, Failure> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(words::unconfirmed(set, backup));
    }
    ask(&format!("Restore StatefulSet {set} from backup {backup}? [y/N] "));
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Records an Event. If this user may not create Events, the restore succeeds without one.
async fn record(client: &Client, set: &SetName, saved: &Saved, restored: &Value) {
    let Some(uid) = restored.pointer("/metadata/uid").and_then(Value::as_str) else { return };
    let text = format!("restored the StatefulSet from backup {} of {}", saved.number, saved.taken_at);
    let subject = Subject { address: Address::set(set), uid: uid.into() };
    let (recorder, sender) = events::recorder(client.clone(), "rso restore", || {});
    recorder.record(&subject, "Restore", &Note::new(Reason::RestoredFromBackup, saved.number, text), clock::now());
    drop(recorder);
    sender.run().await;
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Malformed(_) | RestoreError::Exists { .. } => Self::refused(error.to_string()),
            RestoreError::Deleting(_) => Self::negative(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_size_of_a_pvc_is_the_larger_of_its_request_and_its_capacity() {
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
    fn a_backup_of_another_statefulset_is_refused() {
        let check = |object: Value, expected: bool| {
            let map = json!({
                "metadata": {
                    "name": "db-backup-7", "namespace": "shop",
                    "labels": {"resize-statefulset-operator/statefulset": "db"},
                },
            });
            let saved = Saved::read(map, None).unwrap();
            assert_eq!(belongs_to(&object, &SetName::new("shop", "db"), &saved).is_ok(), expected, "{object}");
        };
        let object = |version: &str, namespace: &str, name: &str| json!({"apiVersion": version, "kind": "StatefulSet", "metadata": {"namespace": namespace, "name": name}});
        check(object("apps/v1", "shop", "db"), true);
        check(object("apps/v1", "kube-system", "db"), false);
        check(object("apps/v1", "shop", "other"), false);
        check(object("example.com/v1", "shop", "db"), false);
        check(json!({}), false);
    }

    #[test]
    fn a_statefulset_that_differs_from_the_backup_is_refused() {
        let error = RestoreError::Exists { set: SetName::new("shop", "db"), differences: vec!["spec.replicas".into()] };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains("spec.replicas"), "{failure}");
    }
}
