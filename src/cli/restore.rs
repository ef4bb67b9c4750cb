//! How does a deleted StatefulSet come back?

use std::collections::BTreeMap;

use serde_json::Value;

use super::args::DryRun;
use super::reach::Cluster;
use super::saved::{self, Saved};
use super::terminal::{print, say};
use super::{Connection, Exit, Failure};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName};
use crate::api::reasons::{Note, Reason};
use crate::cluster::client::resources::{CLAIMS, STATEFUL_SETS};
use crate::cluster::client::{Address, Client, Outcome, Run, Selector};
use crate::cluster::clock;
use crate::cluster::events::{self, Subject};
use crate::recreate::restore::{Raised, RestoreError, RestorePlan, plan};

/// Arguments of `rso restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// Which backup; without it the newest
    #[arg(short, long, value_name = "N")]
    backup: Option<u64>,
    /// With `server`, the server checks everything and nothing is written
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    dry_run: DryRun,
}

pub(super) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let (client, set) = (&cluster.client, cluster.set(&args.set)?);
    let saved = saved::one(client, &set, args.backup).await?;
    let object = saved.statefulset()?;
    let live = client.get(&Address::set(&set)).await?;
    let claims = claims(client, &set.namespace).await?;
    match plan(&object, live.as_ref(), &claims)? {
        RestorePlan::Nothing => {
            print(&format!("statefulset.apps/{} is there, no different from backup {}\n", set.name, saved.number));
            Ok(Exit::Yes)
        }
        RestorePlan::Create { manifest, raised } => {
            create(client, &set, &saved, &manifest, &raised, args.dry_run).await
        }
    }
}

/// The larger of request and capacity of each claim: a template must not be smaller than what its pods already have.
async fn claims(client: &Client, namespace: &str) -> Result<BTreeMap<ClaimName, Bytes>, Failure> {
    let claims = client.list(&CLAIMS, Some(namespace), Selector::default()).await?;
    Ok(claims.items.iter().filter_map(size).collect())
}

fn size(claim: &Value) -> Option<(ClaimName, Bytes)> {
    let size =
        |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).and_then(|text| text.parse::<Bytes>().ok());
    let size = size("/spec/resources/requests/storage").max(size("/status/capacity/storage"))?;
    Some((ClaimName::from(claim.pointer("/metadata/name")?.as_str()?), size))
}

async fn create(
    client: &Client,
    set: &SetName,
    saved: &Saved,
    manifest: &Value,
    raised: &[Raised],
    dry_run: DryRun,
) -> Result<Exit, Failure> {
    raised.iter().for_each(|raised| say(&told(raised)));
    let (run, done) = match dry_run {
        DryRun::None => (Run::Real, "restored"),
        DryRun::Server => (Run::Dry, "can be restored (server dry run)"),
    };
    let restored = match client.create(&STATEFUL_SETS, Some(&set.namespace), manifest, run).await? {
        Outcome::Done(object) => object,
        Outcome::AlreadyExists | Outcome::Conflict(_) => {
            return Err(Failure::refused(format!("StatefulSet {set} was created by somebody else at this moment"))
                .hint("`rso backup diff` shows how it differs from the backup"));
        }
        Outcome::NotFound => {
            return Err(Failure::no(format!("namespace {} does not exist", set.namespace)));
        }
    };
    print(&format!("statefulset.apps/{} {done} from backup {} of {}\n", set.name, saved.number, saved.taken_at));
    if dry_run == DryRun::None {
        record(client, set, saved, &restored).await;
        say(&format!(
            "Its pods, if they still run, are adopted as they are; `rso status {} -n {}` shows it.",
            set.name, set.namespace
        ));
    }
    Ok(Exit::Yes)
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

fn told(raised: &Raised) -> String {
    let Raised { template, from, to, claim } = raised;
    format!("template {template}: {from} in the backup, raised to {to}, which claim {claim} has")
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
    fn a_set_that_differs_is_refused_for_safety() {
        let error = RestoreError::Exists { set: SetName::new("shop", "db"), differences: vec!["spec.replicas".into()] };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.what.contains("spec.replicas"), "{failure}");
    }
}
