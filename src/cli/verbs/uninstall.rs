//! May the operator go? Only when it holds no set and has begun nothing.
//!
//! Helm takes away the operator's rights without waiting for its pods, so the chart runs this before an uninstall, with
//! `--stop`: the operator ends and finishes what it has begun while it still may. `docs/decisions/` has the rest.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api::annotations::{HOLD, KIND_LABEL};
use crate::api::names::SetName;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::Connection;
use crate::cli::read::reach::Cluster;
use crate::cli::show::terminal::print;
use crate::cluster::client::resources::{CONFIG_MAPS, PODS, STATEFUL_SETS};
use crate::cluster::client::{Address, Client, Patch, Resource, Run, Selector};
use crate::recreate::{Phase, journal};

/// The operator's namespace, as the documents install it.
const NAMESPACE: &str = "rso-system";
/// Between two looks. A recreate takes less than a second.
const PAUSE: Duration = Duration::from_millis(500);

const DEPLOYMENTS: Resource = Resource { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" };

/// Arguments of `rso uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = "--namespace is that of the operator; without it, rso-system.")]
pub struct Args {
    /// Look whether the operator may go; to remove it is up to helm
    #[arg(long, required = true)]
    check: bool,
    /// First stop this Deployment, the operator's; if the answer is no, it is started again
    #[arg(long, value_name = "DEPLOYMENT")]
    stop: Option<String>,
    /// How long to wait for what was begun
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Namespaces that the operator looks after; without it all of them
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACE,…")]
    watch_namespaces: Vec<String>,
}

/// Something that keeps the operator from going.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// One of its pods still runs.
    Pod(String),
    /// A recreate has begun and not ended.
    Recreate(SetName, Phase),
    /// A journal that cannot be read.
    Unreadable(String),
    /// A set carries the finalizer.
    Held(SetName),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "pod {name} of the operator has not ended"),
            Self::Recreate(set, phase) => write!(f, "StatefulSet {set} is being recreated ({})", phase.as_str()),
            Self::Unreadable(name) => write!(f, "the journal {name} cannot be read"),
            Self::Held(set) => write!(f, "StatefulSet {set} is held by the finalizer {HOLD}"),
        }
    }
}

/// The Deployment of the operator, stopped.
struct Stopped {
    scale: Address,
    replicas: Value,
    selector: String,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let (client, own) = (&cluster.client, connection.namespace.as_deref().unwrap_or(NAMESPACE));
    let stopped = match &args.stop {
        Some(deployment) => stop(client, own, deployment).await?,
        None => None,
    };
    let left = settled(client, own, args, stopped.as_ref()).await;
    if let (Some(stopped), false) = (&stopped, left.as_ref().is_ok_and(Vec::is_empty)) {
        start(client, stopped).await?;
    }
    match left? {
        left if left.is_empty() => {
            print("The operator may go: no StatefulSet is held, and no recreate is in flight.\n");
            Ok(Exit::Yes)
        }
        left => Err(refusal(&left)),
    }
}

fn refusal(left: &[Left]) -> Failure {
    let lines: Vec<String> = left.iter().map(|one| format!("\n  {one}")).collect();
    Failure::no(format!("the operator must not go yet:{}", lines.concat())).hint(
        "Let it finish: it must run, and its log says what it waits for. If it cannot, docs/guide.md, \"Troubleshooting\", tells \
         how to let go of a set by hand. `helm uninstall --no-hooks` removes the operator all the same",
    )
}

/// Looks until nothing is left, or the time is over.
async fn settled(client: &Client, own: &str, args: &Args, stopped: Option<&Stopped>) -> Result<Vec<Left>, Failure> {
    let over = Instant::now() + args.wait;
    loop {
        let left = look(client, own, &args.watch_namespaces, stopped).await?;
        if left.is_empty() || Instant::now() >= over {
            return Ok(left);
        }
        sleep(PAUSE).await;
    }
}

async fn look(
    client: &Client,
    own: &str,
    namespaces: &[String],
    stopped: Option<&Stopped>,
) -> Result<Vec<Left>, Failure> {
    let mut left = Vec::new();
    if let Some(stopped) = stopped {
        let selector = Selector { labels: Some(&stopped.selector), fields: None };
        let pods = client.list(&PODS, Some(own), selector).await?.items;
        left.extend(pods.iter().map(|pod| Left::Pod(name(pod))));
    }
    let labels = format!("{KIND_LABEL}={}", journal::KIND);
    let journals = client.list(&CONFIG_MAPS, Some(own), Selector { labels: Some(&labels), fields: None }).await?;
    left.extend(journals.items.iter().filter_map(unfinished));
    let places = match namespaces {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    for place in places {
        let sets = client.list(&STATEFUL_SETS, place, Selector::default()).await?;
        left.extend(sets.items.iter().filter_map(held));
    }
    Ok(left)
}

/// A recreate that has not ended. One that only waits to drop the guards of its claims has: a guard does no harm.
fn unfinished(config_map: &Value) -> Option<Left> {
    match journal::head_of(config_map) {
        None => Some(Left::Unreadable(name(config_map))),
        Some(head) => match head.phase {
            Phase::Guarded => None,
            phase @ (Phase::Prepared | Phase::Deleting | Phase::Releasing | Phase::Adopting) => {
                Some(Left::Recreate(head.set, phase))
            }
        },
    }
}

fn held(set: &Value) -> Option<Left> {
    let finalizers = set["metadata"]["finalizers"].as_array()?;
    let namespace = set["metadata"]["namespace"].as_str().unwrap_or_default();
    finalizers.iter().any(|one| one == HOLD).then(|| Left::Held(SetName::new(namespace, name(set))))
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Scales the operator to zero. `None`: it is not there.
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
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    client.patch(scale, &patch, Run::Real).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_set_with_our_finalizer_is_held() {
        let check = |finalizers: Value, expected: bool| {
            let set = json!({"metadata": {"namespace": "shop", "name": "db", "finalizers": finalizers}});
            assert_eq!(held(&set), expected.then(|| Left::Held(SetName::new("shop", "db"))), "{set}");
        };
        check(json!([HOLD]), true);
        check(json!(["orphan", HOLD]), true);
        check(json!(["orphan"]), false);
        check(json!([]), false);
        check(Value::Null, false);
    }

    #[test]
    fn a_journal_that_cannot_be_read_is_not_overlooked() {
        let journal = json!({"metadata": {"name": "rso-journal-1"}});
        assert_eq!(unfinished(&journal), Some(Left::Unreadable("rso-journal-1".into())));
    }

    #[test]
    fn the_refusal_names_each_set_and_what_to_do() {
        let set = || SetName::new("shop", "db");
        let failure = refusal(&[Left::Recreate(set(), Phase::Releasing), Left::Held(set()), Left::Pod("rso-1".into())]);
        assert_eq!(failure.exit, Exit::No);
        let told = failure.to_string();
        for words in ["shop/db is being recreated (Releasing)", "shop/db is held", "pod rso-1", "--no-hooks"] {
            assert!(told.contains(words), "{words} is missing in: {told}");
        }
    }
}
