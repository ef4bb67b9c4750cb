//! How does a person ask for a larger volume? By an annotation on the set, written only when it can come true.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::annotations::RESIZE_NAME;
use crate::api::bytes::Bytes;
use crate::api::names::{SetName, TemplateName};
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::Connection;
use crate::cli::flags::DryRun;
use crate::cli::read::compose::Seen;
use crate::cli::read::follow::{Goal, follow};
use crate::cli::read::live;
use crate::cli::read::reach::Cluster;
use crate::cli::show::table::{Cell, Paint, columns};
use crate::cli::show::terminal::{print, say};
use crate::cluster::client::{Address, Client, Error, Outcome, Patch, Run};

mod plan;

use plan::{Asked, Change, Plan, plan};

/// The status of a set is written all the time, so a conflict is likely and harmless: look and decide again.
const ATTEMPTS: usize = 5;

/// Arguments of `rso resize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// The wanted size, as in Kubernetes: 20Gi, 500G, 1.5Ti
    #[arg(value_name = "SIZE")]
    size: Bytes,
    /// Which template, by name; a set with a single template needs none
    #[arg(short, long, value_name = "NAME", conflicts_with = "index")]
    template: Option<String>,
    /// Which template, by its place in volumeClaimTemplates, from 0
    #[arg(short, long, value_name = "N")]
    index: Option<usize>,
    /// Wait until all volumes and the template have the size
    #[arg(short, long)]
    wait: bool,
    /// How long to wait, such as 10m; without it, for ever
    #[arg(long, requires = "wait", value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// With `server`, the server checks everything and nothing is written
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    dry_run: DryRun,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let (client, set) = (&cluster.client, cluster.set(&args.set)?);
    for _ in 0..ATTEMPTS {
        let (object, seen) = live::look_at(client, &set).await?.ok_or_else(|| live::absent(&set))?;
        let asked = Asked { template: template(args, &seen)?, size: args.size };
        let change = match plan(&seen, &asked, crate::cluster::clock::now())? {
            Plan::Nothing(why) => {
                print(&format!("{why}\n"));
                return Ok(Exit::Yes);
            }
            Plan::Change(change) => change,
        };
        if args.dry_run == DryRun::Server {
            return tried(client, &set, &object, &seen, &asked, &change).await;
        }
        match client.patch(&Address::set(&set), &intent(&object, &asked), Run::Real).await? {
            Outcome::Done(_) => {
                tell(&set, &asked, &change, "asked for");
                let goal = Goal { template: asked.template, size: change.to, with_template: change.template.is_some() };
                return if args.wait { follow(client, &set, &goal, args.timeout).await } else { Ok(Exit::Yes) };
            }
            Outcome::Conflict(_) | Outcome::AlreadyExists | Outcome::NotFound => {}
        }
    }
    Err(Failure::no(format!("StatefulSet {set} changes too often to be annotated")).hint("run the command again"))
}

/// The template that is meant.
fn template(args: &Args, seen: &Seen) -> Result<TemplateName, Failure> {
    let names = seen.set.template_names();
    let told: Vec<String> = names.iter().enumerate().map(|(index, name)| format!("{index}: {name}")).collect();
    let wrong = |what: String| Failure::usage(what).hint(format!("its templates are {}", told.join(", ")));
    let set = &seen.set.name;
    match (&args.template, args.index, names.as_slice()) {
        (_, _, []) => {
            Err(Failure::no(format!("StatefulSet {set} has no volumeClaimTemplates: there is nothing to resize")))
        }
        (Some(name), _, _) => {
            let found = names.iter().find(|known| known.as_str() == name);
            found.cloned().ok_or_else(|| wrong(format!("StatefulSet {set} has no template {name:?}")))
        }
        (None, Some(index), _) => {
            names.get(index).cloned().ok_or_else(|| wrong(format!("StatefulSet {set} has no template number {index}")))
        }
        (None, None, [only]) => Ok(only.clone()),
        (None, None, _) => Err(wrong(format!("StatefulSet {set} has several templates; say which with --template"))),
    }
}

/// The annotation, on exactly the object that was looked at.
fn intent(object: &Value, asked: &Asked) -> Patch {
    let key = format!("{RESIZE_NAME}{}", asked.template);
    Patch::Merge(json!({"metadata": {
        "uid": object["metadata"]["uid"],
        "resourceVersion": object["metadata"]["resourceVersion"],
        "annotations": { key: asked.size.to_string() },
    }}))
}

/// Lets the server check the annotation and, as far as this person may, what the operator will do to the claims.
async fn tried(
    client: &Client,
    set: &SetName,
    object: &Value,
    seen: &Seen,
    asked: &Asked,
    change: &Change,
) -> Result<Exit, Failure> {
    if let Outcome::Conflict(words) = client.patch(&Address::set(set), &intent(object, asked), Run::Dry).await? {
        return Err(
            Failure::no(format!("StatefulSet {set} has changed meanwhile: {words}")).hint("run the command again")
        );
    }
    for (name, _, to) in &change.claims {
        let Some(claim) = seen.claims.iter().find(|claim| claim.name == *name) else { continue };
        let growth = json!({
            "metadata": {"uid": claim.uid, "resourceVersion": claim.resource_version},
            "spec": {"resources": {"requests": {"storage": to}}},
        });
        match client.patch(&Address::claim(&set.namespace, name), &Patch::Merge(growth), Run::Dry).await {
            Ok(_) => {}
            Err(Error::NotAllowed { call, .. }) => {
                say(&format!(
                    "Not tried on the claims: you lack the right `{}` on `{}`; the operator tries it.",
                    call.verb, call.resource
                ));
                break;
            }
            Err(Error::Refused { message, .. } | Error::Invalid { message, .. }) => {
                return Err(Failure::refused(format!("claim {name} cannot be {to}: {message}"))
                    .hint("nothing was written; a quota, a policy or the class stands in the way"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    tell(set, asked, change, "can be asked for (server dry run)");
    Ok(Exit::Yes)
}

/// What was asked for goes to stdout, what else to know to stderr.
fn tell(set: &SetName, asked: &Asked, change: &Change, done: &str) {
    print(&format!("statefulset.apps/{} {}={} {done}\n", set.name, asked.template, asked.size));
    print(&table(change));
    change.remarks.iter().for_each(|remark| say(remark));
}

fn table(change: &Change) -> String {
    let claims = change.claims.iter().map(|(name, from, to)| (name.to_string(), *from, *to));
    let template = change.template.map(|(from, to)| ("template".to_owned(), from, to));
    let row = |(name, from, to): (String, Bytes, Bytes)| {
        vec![Cell::new(name), Cell::new(from.to_string()).right(), Cell::new(format!("→ {to}"))]
    };
    columns(&claims.chain(template).map(row).collect::<Vec<_>>(), 2, Paint::Bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_is_written_on_the_object_that_was_looked_at() {
        let object = json!({"metadata": {"uid": "u", "resourceVersion": "7", "name": "db"}});
        let asked = Asked { template: "data".into(), size: Bytes::gib(20) };
        let expected = json!({"metadata": {
            "uid": "u",
            "resourceVersion": "7",
            "annotations": {"resize-statefulset-operator/resize.data": "20Gi"},
        }});
        assert_eq!(intent(&object, &asked), Patch::Merge(expected));
    }

    #[test]
    fn what_will_grow_stands_in_a_table() {
        let change = Change {
            to: Bytes::gib(20),
            claims: vec![("data-db-0".into(), Bytes::gib(10), Bytes::gib(20))],
            template: Some((Bytes::gib(8), Bytes::gib(20))),
            remarks: vec![],
        };
        assert_eq!(table(&change), "  data-db-0  10Gi  → 20Gi\n  template    8Gi  → 20Gi\n");
    }
}
