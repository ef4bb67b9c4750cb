//! `rso resize`: requests a larger volume, with an annotation on the StatefulSet. It writes the annotation only if the
//! request can be fulfilled.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::annotations::RESIZE_NAME;
use crate::api::bytes::Bytes;
use crate::api::names::{SetName, TemplateName};
use crate::api::objects::Address;
use crate::api::write::Write;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, DryRun};
use crate::cli::read::compose::Snapshot;
use crate::cli::read::follow::{Goal, follow};
use crate::cli::read::live;
use crate::cli::read::reach::Cluster;
use crate::cli::show::table::{Cell, Paint, columns};
use crate::cli::show::terminal::{print, say};
use crate::cluster::client::{Client, Error, Outcome};
use crate::cluster::clock::now;
use crate::policy::claim::Claim;
use crate::workload::claims::{Rescued, expansion};
use crate::workload::snapshot::Workload;

mod plan;

use plan::{Change, Plan, Request, plan};

/// Other clients update the status of a StatefulSet all the time, so a conflict is likely and harmless: read and decide again.
const MAX_ATTEMPTS: usize = 5;

/// Arguments of `rso resize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// StatefulSet to resize
    #[arg(value_name = "STATEFULSET")]
    set: String,
    /// Requested size, as a Kubernetes quantity: 20Gi, 500G, 1.5Ti
    #[arg(value_name = "SIZE")]
    size: Bytes,
    /// Name of the template (optional if the StatefulSet has one template)
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "index")]
    template: Option<String>,
    /// Index of the template in volumeClaimTemplates, counted from 0
    #[arg(short, long, value_name = "INDEX")]
    index: Option<usize>,
    /// Wait until all volumes and the template have the size
    #[arg(short, long)]
    wait: bool,
    /// Maximum time to wait, such as 10m (default: no limit)
    #[arg(long, requires = "wait", value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// With `server`, send server-side dry-run requests, which validate everything and write nothing
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    dry_run: DryRun,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let (client, set) = (&cluster.client, cluster.set(&args.set)?);
    for _ in 0..MAX_ATTEMPTS {
        let (object, snapshot) = live::snapshot_of(client, &set).await?.ok_or_else(|| live::not_found(&set))?;
        let request = Request { template: template(args, &snapshot)?, size: args.size };
        let change = match plan(&snapshot, &request, crate::cluster::clock::now())? {
            Plan::Nothing(why) => {
                print(&format!("{why}\n"));
                return Ok(Exit::Success);
            }
            Plan::Change(change) => change,
        };
        let planned = Planned { client, set: &set, object: &object, request: &request, change: &change };
        if args.dry_run == DryRun::Server {
            return planned.validate(&snapshot.workload).await;
        }
        if planned.annotate().await? {
            planned.report("requested");
            return if args.wait { planned.wait(args.timeout).await } else { Ok(Exit::Success) };
        }
    }
    let message = format!("failed to annotate StatefulSet {set}: another client changed it {MAX_ATTEMPTS} times");
    Err(Failure::negative(message).hint("Run the command again."))
}

/// The template that the arguments select.
fn template(args: &Args, snapshot: &Snapshot) -> Result<TemplateName, Failure> {
    let names = snapshot.workload.set.template_names();
    let listed: Vec<String> = names.iter().enumerate().map(|(index, name)| format!("{index}: {name}")).collect();
    let usage =
        |message: String| Failure::usage(message).hint(format!("Templates of the StatefulSet: {}.", listed.join(", ")));
    let set = &snapshot.workload.set.name;
    match (&args.template, args.index, names.as_slice()) {
        (_, _, []) => {
            Err(Failure::negative(format!("StatefulSet {set} has no volumeClaimTemplates, so it cannot be resized")))
        }
        (Some(name), _, _) => {
            let found = names.iter().find(|known| known.as_str() == name);
            found.cloned().ok_or_else(|| usage(format!("StatefulSet {set} has no template {name:?}")))
        }
        (None, Some(index), _) => names
            .get(index)
            .cloned()
            .ok_or_else(|| usage(format!("StatefulSet {set} has no template at index {index}"))),
        (None, None, [only]) => Ok(only.clone()),
        (None, None, _) => Err(usage(format!("StatefulSet {set} has several templates; select one with --template"))),
    }
}

/// The annotation, with the UID and the resourceVersion of the object that the plan is based on.
fn annotation(set: &SetName, object: &Value, request: &Request) -> Write {
    let key = format!("{RESIZE_NAME}{}", request.template);
    let patch = json!({"metadata": {
        "uid": object["metadata"]["uid"],
        "resourceVersion": object["metadata"]["resourceVersion"],
        "annotations": { key: request.size.to_string() },
    }});
    Write::merge(Address::set(set), patch)
}

/// A resize that has been planned.
struct Planned<'a> {
    client: &'a Client,
    set: &'a SetName,
    /// The StatefulSet that the plan is based on.
    object: &'a Value,
    request: &'a Request,
    change: &'a Change,
}

impl Planned<'_> {
    /// Writes the annotation. `false` if the object changed since it was read.
    async fn annotate(&self) -> Result<bool, Failure> {
        match self.client.write(&annotation(self.set, self.object, self.request)).await? {
            Outcome::Done(_) => Ok(true),
            Outcome::Conflict(_) | Outcome::AlreadyExists | Outcome::NotFound => Ok(false),
        }
    }

    async fn wait(&self, timeout: Option<Duration>) -> Result<Exit, Failure> {
        let (template, with_template) = (self.request.template.clone(), self.change.template.is_some());
        let goal = Goal { template, size: self.change.to, with_template };
        follow(self.client, self.set, &goal, timeout).await
    }

    /// Validates the annotation on the server and, as far as this user may, the expansion of each PVC by the operator.
    async fn validate(&self, workload: &Workload) -> Result<Exit, Failure> {
        let write = annotation(self.set, self.object, self.request);
        if let Outcome::Conflict(message) = self.client.dry_run(&write).await? {
            let message = format!("StatefulSet {} changed since it was read: {message}", self.set);
            return Err(Failure::negative(message).hint("Run the command again."));
        }
        for (name, _, to) in &self.change.claims {
            let Some(claim) = workload.claims().find(|claim| claim.name == *name) else { continue };
            match self.validate_claim(claim, *to).await {
                Ok(()) => {}
                Err(Error::NotAllowed { call, .. }) => {
                    say(&format!(
                        "The PVCs were not validated: you lack the permission to {} {}; the operator validates them.",
                        call.verb, call.resource
                    ));
                    break;
                }
                Err(Error::Refused { message, .. } | Error::Invalid { message, .. }) => {
                    return Err(Failure::refused(format!("PVC {name} cannot be expanded to {to}: {message}")).hint(
                        "Nothing was written. Check the ResourceQuotas, the admission policies, and the StorageClass.",
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.report("requested (server dry run)");
        Ok(Exit::Success)
    }

    async fn validate_claim(&self, claim: &Claim, to: Bytes) -> Result<(), Error> {
        self.client.dry_run(&expansion(&self.set.namespace, claim, to, Rescued::Unchanged, now())).await.map(drop)
    }

    /// Prints the request to stdout, and the remarks to stderr.
    fn report(&self, done: &str) {
        let Request { template, size } = self.request;
        print(&format!("statefulset.apps/{} {template}={size} {done}\n", self.set.name));
        print(&table(self.change));
        self.change.remarks.iter().for_each(|remark| say(remark));
    }
}

fn table(change: &Change) -> String {
    let claims = change.claims.iter().map(|(name, from, to)| (name.to_string(), *from, *to));
    let template = change.template.map(|(from, to)| ("template".to_owned(), from, to));
    let row = |(name, from, to): (String, Bytes, Bytes)| {
        vec![Cell::new(name), Cell::new(from.to_string()).right(), Cell::new(format!("→ {to}"))]
    };
    columns(&claims.chain(template).map(row).collect::<Vec<_>>(), 2, Paint::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_is_written_only_to_the_object_that_was_read() {
        let object = json!({"metadata": {"uid": "u", "resourceVersion": "7", "name": "db"}});
        let request = Request { template: "data".into(), size: Bytes::gib(20) };
        let expected = json!({"metadata": {
            "uid": "u",
            "resourceVersion": "7",
            "annotations": {"resize-statefulset-operator/resize.data": "20Gi"},
        }});
        assert_eq!(annotation(&SetName::new("shop", "db"), &object, &request).merge_patch(), Some(&expected));
    }

    #[test]
    fn the_table_shows_each_pvc_and_the_template_with_both_sizes() {
        let change = Change {
            to: Bytes::gib(20),
            claims: vec![("data-db-0".into(), Bytes::gib(10), Bytes::gib(20))],
            template: Some((Bytes::gib(8), Bytes::gib(20))),
            remarks: vec![],
        };
        assert_eq!(table(&change), "  data-db-0  10Gi  → 20Gi\n  template    8Gi  → 20Gi\n");
    }
}
