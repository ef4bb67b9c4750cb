//! `rso explain`: why the PVCs of a StatefulSet are expanded or not, gate by gate; or what an annotation means.

use serde_json::json;

use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, OPERATOR_NAMESPACE, Output};
use crate::cli::read::explain::explain;
use crate::cli::read::live::{self, Scope};
use crate::cli::read::reach::Cluster;
use crate::cli::show::explanation::draw;
use crate::cli::show::output::print_data;
use crate::cli::show::terminal::{Terminal, print, say};
use crate::cluster::clock;

mod key;

/// Arguments of `rso explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rso explain statefulset/db -n shop\n  rso explain max-size\n\n\
                        ✔ an open gate; ✘ a closed one; · one that is not reached. The administrator's limits are \
                        not included, because users cannot read them.")]
pub struct Args {
    /// StatefulSet to explain, or the key of an annotation. For a StatefulSet with the name of a key, use statefulset/NAME
    #[arg(value_name = "STATEFULSET|KEY")]
    subject: String,
    /// Name of the template (default: all templates)
    #[arg(short, long, value_name = "TEMPLATE")]
    template: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    if let Some(doc) = key::find(&args.subject) {
        match args.output.is_data() {
            true => print_data(&key::to_json(doc), args.output),
            false => print(&key::text(doc, Terminal::current())),
        }
        return Ok(Exit::Success);
    }
    let cluster = Cluster::of(connection).await?;
    let set = cluster.set(&args.subject)?;
    let scope = Scope::Named(vec![set.clone()]);
    let snapshots = live::snapshots(&cluster.client, &scope, OPERATOR_NAMESPACE).await;
    let snapshots = snapshots.map_err(|failure| key::suggest(failure, &args.subject))?;
    snapshots.hints.iter().for_each(|hint| say(hint));
    let now = clock::now();
    for snapshot in &snapshots.sets {
        let mut explanation = explain(snapshot, now);
        if let Some(template) = &args.template {
            explanation.templates.retain(|explained| explained.name == *template);
        }
        if explanation.templates.is_empty() {
            return Err(no_template(&set.to_string(), args.template.as_deref()));
        }
        match args.output.is_data() {
            true => print_data(&json!(explanation), args.output),
            false => print(&draw(&explanation, Terminal::current())),
        }
    }
    Ok(Exit::Success)
}

fn no_template(set: &str, template: Option<&str>) -> Failure {
    match template {
        Some(template) => Failure::usage(format!("StatefulSet {set} has no template {template}"))
            .hint("Run the command again without --template to see the names."),
        None => {
            Failure::negative(format!("StatefulSet {set} has no volumeClaimTemplates, so rso has nothing to expand"))
        }
    }
}
