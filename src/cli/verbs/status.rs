//! How full are the volumes, how large are they asked to be, and what is going on?

use std::time::Duration;

use serde_json::json;

use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, Output};
use crate::cli::read::compose::compose;
use crate::cli::read::live::{self, Scope};
use crate::cli::read::reach::Cluster;
use crate::cli::show::output::print_data;
use crate::cli::show::screen::{Detail, Look, draw};
use crate::cli::show::terminal::{Screen, Terminal, is_closed, print, say};
use crate::cli::show::view::SetStatus;
use crate::cluster::client::Client;
use crate::cluster::clock;

/// Agents tell the second; looking more often costs the API server more than it shows a person.
const PERIOD: Duration = Duration::from_secs(2);

/// Arguments of `rso status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// StatefulSets; without any, all that the operator manages
    #[arg(value_name = "SET")]
    sets: Vec<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "sets"])]
    all_namespaces: bool,
    /// Draw again every 2 seconds, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    if args.watch && args.output.is_data() {
        return Err(Failure::usage("--watch draws for people; it cannot be json or yaml"));
    }
    let cluster = Cluster::of(connection).await?;
    let scope = scope(args, &cluster)?;
    match args.watch {
        true => watch(&cluster.client, &scope, args.output).await,
        false => once(&cluster.client, &scope, args.output).await,
    }
}

fn scope(args: &Args, cluster: &Cluster) -> Result<Scope, Failure> {
    match (args.sets.as_slice(), args.all_namespaces) {
        ([], true) => Ok(Scope::Managed(None)),
        ([], false) => Ok(Scope::Managed(Some(cluster.namespace.clone()))),
        (words, _) => Ok(Scope::Named(words.iter().map(|word| cluster.set(word)).collect::<Result<_, _>>()?)),
    }
}

async fn once(client: &Client, scope: &Scope, output: Output) -> Result<Exit, Failure> {
    let (sets, hints) = seen(client, scope).await?;
    if output.is_data() {
        hints.iter().for_each(|hint| say(hint));
        print_data(&json!({ "sets": sets }), output);
    } else {
        print(&picture(&sets, &hints, scope, output, Terminal::look()));
    }
    Ok(Exit::Yes)
}

/// Until Ctrl-C, or until nobody reads. What cannot be seen for a moment is told in place of the picture; it may come back.
async fn watch(client: &Client, scope: &Scope, output: Output) -> Result<Exit, Failure> {
    let mut screen = Screen::default();
    let end = ended();
    tokio::pin!(end);
    loop {
        let looked = tokio::select! {
            () = &mut end => return Ok(Exit::Yes),
            looked = seen(client, scope) => looked,
        };
        let terminal = Terminal::look();
        match looked {
            Ok((sets, hints)) => screen.draw(picture(&sets, &hints, scope, output, terminal), terminal),
            Err(failure) if screen.is_empty() => return Err(failure),
            Err(failure) => screen.draw(format!("{failure}\n"), terminal),
        }
        if is_closed() {
            return Ok(Exit::Yes);
        }
        tokio::select! {
            () = &mut end => return Ok(Exit::Yes),
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Ctrl-C, or the one who started us is done with us.
async fn ended() {
    let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminated {
        Ok(mut terminated) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

async fn seen(client: &Client, scope: &Scope) -> Result<(Vec<SetStatus>, Vec<String>), Failure> {
    let picture = live::look(client, scope).await?;
    let now = clock::now();
    Ok((picture.sets.iter().map(|seen| compose(seen, now)).collect(), picture.hints))
}

fn picture(sets: &[SetStatus], hints: &[String], scope: &Scope, output: Output, terminal: Terminal) -> String {
    if sets.is_empty() {
        return nothing(scope);
    }
    let detail = if output == Output::Wide { Detail::Wide } else { Detail::Usual };
    draw(sets, hints, Look { now: clock::now(), width: terminal.width, paint: terminal.paint, detail })
}

fn nothing(scope: &Scope) -> String {
    let place = match scope {
        Scope::Managed(Some(namespace)) => format!("in namespace {namespace}; -A looks in all"),
        Scope::Managed(None) | Scope::Named(_) => "in any namespace".to_owned(),
    };
    format!(
        "No managed StatefulSet {place}.\nTo manage one: kubectl annotate sts NAME resize-statefulset-operator/auto-scaled=true\n"
    )
}
