//! `rso uninstall --check`: whether rso can be uninstalled safely, with no finalizer and no recreation left.
//!
//! Helm removes the operator's permissions without waiting for its Pods. Therefore, the chart runs this before an uninstall, with
//! `--stop`: the operator finishes the work in progress while it still has its permissions. `docs/decisions/` explains why.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api::annotations::{HOLD, KIND_LABEL};
use crate::api::names::SetName;
use crate::api::objects::{Address, CONFIG_MAPS, PODS, Resource, STATEFUL_SETS};
use crate::api::write::Write;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, OPERATOR_NAMESPACE};
use crate::cli::read::reach::Cluster;
use crate::cli::show::terminal::print;
use crate::cluster::client::{Client, Selector};
use crate::recreate::journal;
use crate::recreate::phase::Phase;

/// The interval between two checks. A recreation takes less than a second.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

const DEPLOYMENTS: Resource = Resource { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" };

/// Arguments of `rso uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = "--namespace is the operator's namespace (default: rso-system).")]
pub struct Args {
    /// Only check; to uninstall rso, use Helm
    #[arg(long, required = true)]
    check: bool,
    /// Stop this Deployment, the operator's, before the check; start it again if the check fails
    #[arg(long, value_name = "DEPLOYMENT")]
    stop: Option<String>,
    /// Maximum time to wait for the operator to finish
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Namespaces that the operator watches (default: all)
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACE,…")]
    watch_namespaces: Vec<String>,
}

/// What makes an uninstall unsafe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    /// A Pod of the operator.
    Pod(String),
    /// A recreation in progress.
    Recreate(SetName, Phase),
    /// A journal that cannot be parsed.
    Unreadable(String),
    /// A StatefulSet with the operator's finalizer.
    Finalizer(SetName),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "Pod {name} of the operator still exists"),
            Self::Recreate(set, phase) => write!(f, "StatefulSet {set} is being recreated ({})", phase.as_str()),
            Self::Unreadable(name) => write!(f, "the journal in ConfigMap {name} cannot be parsed"),
            Self::Finalizer(set) => write!(f, "StatefulSet {set} has the finalizer {HOLD}"),
        }
    }
}

/// The operator's Deployment, scaled to zero.
struct Stopped {
    scale: Address,
    replicas: Value,
    selector: String,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let (client, own) = (&cluster.client, connection.namespace.as_deref().unwrap_or(OPERATOR_NAMESPACE));
    let stopped = match &args.stop {
        Some(deployment) => stop(client, own, deployment).await?,
        None => None,
    };
    let obstacles = wait(client, own, args, stopped.as_ref()).await;
    if let (Some(stopped), false) = (&stopped, obstacles.as_ref().is_ok_and(Vec::is_empty)) {
        start(client, stopped).await?;
    }
    match obstacles? {
        obstacles if obstacles.is_empty() => {
            print("Safe to uninstall: no StatefulSet has the finalizer of rso and no recreation is in progress.\n");
            Ok(Exit::Success)
        }
        obstacles => Err(refusal(&obstacles)),
    }
}

fn refusal(obstacles: &[Obstacle]) -> Failure {
    let lines: Vec<String> = obstacles.iter().map(|obstacle| format!("\n  {obstacle}")).collect();
    Failure::negative(format!("rso cannot be uninstalled safely yet:{}", lines.concat())).hint(
        "Keep the operator running until it finishes; its log reports what it waits for. If it cannot finish, remove the \
         finalizer by hand as described in docs/guide.md, \"Troubleshooting\". `helm uninstall --no-hooks` uninstalls the \
         operator without this check.",
    )
}

/// Checks until there is no obstacle, or the time is over.
async fn wait(client: &Client, own: &str, args: &Args, stopped: Option<&Stopped>) -> Result<Vec<Obstacle>, Failure> {
    let deadline = Instant::now() + args.wait;
    loop {
        let obstacles = obstacles(client, own, &args.watch_namespaces, stopped).await?;
        if obstacles.is_empty() || Instant::now() >= deadline {
            return Ok(obstacles);
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn obstacles(
    client: &Client,
    own: &str,
    namespaces: &[String],
    stopped: Option<&Stopped>,
) -> Result<Vec<Obstacle>, Failure> {
    let mut obstacles = Vec::new();
    if let Some(stopped) = stopped {
        let selector = Selector { labels: Some(&stopped.selector), fields: None };
        let pods = client.list(&PODS, Some(own), selector).await?.items;
        obstacles.extend(pods.iter().map(|pod| Obstacle::Pod(name(pod))));
    }
    let labels = format!("{KIND_LABEL}={}", journal::KIND);
    let journals = client.list(&CONFIG_MAPS, Some(own), Selector { labels: Some(&labels), fields: None }).await?;
    obstacles.extend(journals.items.iter().filter_map(recreation));
    let namespaces = match namespaces {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    for namespace in namespaces {
        let sets = client.list(&STATEFUL_SETS, namespace, Selector::default()).await?;
        obstacles.extend(sets.items.iter().filter_map(finalizer));
    }
    Ok(obstacles)
}

/// A recreation in progress. It is complete if only the protective owner references of its PVCs remain: they are harmless.
fn recreation(config_map: &Value) -> Option<Obstacle> {
    match journal::head_of(config_map) {
        None => Some(Obstacle::Unreadable(name(config_map))),
        Some(head) => match head.phase {
            Phase::Guarded => None,
            phase @ (Phase::Prepared | Phase::Deleting | Phase::Releasing | Phase::Adopting) => {
                Some(Obstacle::Recreate(head.set, phase))
            }
        },
    }
}

fn finalizer(set: &Value) -> Option<Obstacle> {
    let finalizers = set["metadata"]["finalizers"].as_array()?;
    let namespace = set["metadata"]["namespace"].as_str().unwrap_or_default();
    finalizers.iter().any(|one| one == HOLD).then(|| Obstacle::Finalizer(SetName::new(namespace, name(set))))
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Scales the operator to zero. `None`: the Deployment does not exist.
async fn stop(client: &Client, own: &str, deployment: &str) -> Result<Option<Stopped>, Failure> {
    let scale = Address { subresource: Some("scale"), ..DEPLOYMENTS.of(own, deployment) };
    let Some(object) = client.get(&scale).await? else { return Ok(None) };
    let stopped = Stopped {
        selector: object["status"]["selector"].as_str().unwrap_or_default().to_owned(),
        replicas: object["spec"]["replicas"].clone(),
        scale,
    };
    set_replicas(client, &stopped.scale, &json!(0)).await?;
    Ok(Some(stopped))
}

async fn start(client: &Client, stopped: &Stopped) -> Result<(), Failure> {
    set_replicas(client, &stopped.scale, &stopped.replicas).await
}

async fn set_replicas(client: &Client, scale: &Address, replicas: &Value) -> Result<(), Failure> {
    client.write(&Write::merge(scale.clone(), json!({"spec": {"replicas": replicas}}))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_finalizer_of_rso_is_an_obstacle() {
        let check = |finalizers: Value, expected: bool| {
            let set = json!({"metadata": {"namespace": "shop", "name": "db", "finalizers": finalizers}});
            assert_eq!(finalizer(&set), expected.then(|| Obstacle::Finalizer(SetName::new("shop", "db"))), "{set}");
        };
        check(json!([HOLD]), true);
        check(json!(["orphan", HOLD]), true);
        check(json!(["orphan"]), false);
        check(json!([]), false);
        check(Value::Null, false);
    }

    #[test]
    fn a_journal_that_cannot_be_parsed_is_an_obstacle() {
        let journal = json!({"metadata": {"name": "rso-journal-1"}});
        assert_eq!(recreation(&journal), Some(Obstacle::Unreadable("rso-journal-1".into())));
    }

    #[test]
    fn the_refusal_names_each_obstacle_and_what_to_do() {
        let set = || SetName::new("shop", "db");
        let failure = refusal(&[
            Obstacle::Recreate(set(), Phase::Releasing),
            Obstacle::Finalizer(set()),
            Obstacle::Pod("rso-1".into()),
        ]);
        assert_eq!(failure.exit, Exit::Negative);
        let text = failure.to_string();
        for words in ["shop/db is being recreated (Releasing)", "shop/db has the finalizer", "Pod rso-1", "--no-hooks"]
        {
            assert!(text.contains(words), "{words} is missing in: {text}");
        }
    }
}
