//! `rso status`: the usage, the size, and the state of the volumes of StatefulSets.

use std::time::Duration;

use serde_json::json;

use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, OPERATOR_NAMESPACE, Output};
use crate::cli::read::compose::compose;
use crate::cli::read::live::{self, Scope};
use crate::cli::read::reach::Cluster;
use crate::cli::show::output::print_data;
use crate::cli::show::screen::{Detail, Layout, draw};
use crate::cli::show::terminal::{Screen, Terminal, is_closed, print, say};
use crate::cli::show::view::SetStatus;
use crate::cluster::client::Client;
use crate::cluster::clock;

/// A shorter interval loads the API server more than it shows the user.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// Arguments of `rso status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// StatefulSets to show (default: all that rso manages)
    #[arg(value_name = "STATEFULSET")]
    sets: Vec<String>,
    /// Show all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "sets"])]
    all_namespaces: bool,
    /// Refresh every 2 seconds until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Namespace of the operator, to show how long expansions take
    #[arg(long, value_name = "NAMESPACE", default_value = OPERATOR_NAMESPACE)]
    operator_namespace: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

/// Where the status is read from.
#[derive(Clone, Copy)]
struct Query<'a> {
    client: &'a Client,
    scope: &'a Scope,
    operator_namespace: &'a str,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    if args.watch && args.output.is_data() {
        let failure = Failure::usage("--watch does not support the output formats json and yaml");
        return Err(failure.hint("Use -o table or -o wide, or run the command without --watch."));
    }
    let cluster = Cluster::of(connection).await?;
    let scope = scope(args, &cluster)?;
    let query = Query { client: &cluster.client, scope: &scope, operator_namespace: &args.operator_namespace };
    match args.watch {
        true => watch(query, args.output).await,
        false => once(query, args.output).await,
    }
}

fn scope(args: &Args, cluster: &Cluster) -> Result<Scope, Failure> {
    match (args.sets.as_slice(), args.all_namespaces) {
        ([], true) => Ok(Scope::Managed(None)),
        ([], false) => Ok(Scope::Managed(Some(cluster.namespace.clone()))),
        (names, _) => Ok(Scope::Named(names.iter().map(|name| cluster.set(name)).collect::<Result<_, _>>()?)),
    }
}

async fn once(query: Query<'_>, output: Output) -> Result<Exit, Failure> {
    let (sets, hints) = query.read().await?;
    if output.is_data() {
        hints.iter().for_each(|hint| say(hint));
        print_data(&json!({ "sets": sets }), output);
    } else {
        print(&render(&sets, &hints, query.scope, Layout::of(Terminal::current(), output)));
    }
    Ok(Exit::Success)
}

/// Redraws until Ctrl-C, or until stdout is closed. After the first frame, a failure is shown in place of the status, because
/// it may be temporary.
async fn watch(query: Query<'_>, output: Output) -> Result<Exit, Failure> {
    let mut screen = Screen::default();
    let end = terminated();
    tokio::pin!(end);
    loop {
        let result = tokio::select! {
            () = &mut end => return Ok(Exit::Success),
            result = query.read() => result,
        };
        let terminal = Terminal::current();
        match result {
            Ok((sets, hints)) => {
                screen.draw(render(&sets, &hints, query.scope, Layout::of(terminal, output)), terminal);
            }
            Err(failure) if screen.is_empty() => return Err(failure),
            Err(failure) => screen.draw(format!("{failure}\n"), terminal),
        }
        if is_closed() {
            return Ok(Exit::Success);
        }
        tokio::select! {
            () = &mut end => return Ok(Exit::Success),
            () = tokio::time::sleep(REFRESH_INTERVAL) => {}
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn terminated() {
    let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminated {
        Ok(mut terminated) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

impl Query<'_> {
    async fn read(self) -> Result<(Vec<SetStatus>, Vec<String>), Failure> {
        let snapshots = live::snapshots(self.client, self.scope, self.operator_namespace).await?;
        let now = clock::now();
        Ok((snapshots.sets.iter().map(|snapshot| compose(snapshot, now)).collect(), snapshots.hints))
    }
}

impl Layout {
    fn of(terminal: Terminal, output: Output) -> Self {
        let detail = if output == Output::Wide { Detail::Wide } else { Detail::Default };
        Self { now: clock::now(), width: terminal.width, paint: terminal.paint, detail }
    }
}

fn render(sets: &[SetStatus], hints: &[String], scope: &Scope, layout: Layout) -> String {
    if sets.is_empty() { no_set(scope) } else { draw(sets, hints, layout) }
}

fn no_set(scope: &Scope) -> String {
    let place = match scope {
        Scope::Managed(Some(namespace)) => format!("in namespace {namespace}. To search all namespaces, pass -A."),
        Scope::Managed(None) | Scope::Named(_) => "in any namespace.".to_owned(),
    };
    format!(
        "No managed StatefulSet {place}\nTo manage one: kubectl annotate statefulset NAME \
         resize-statefulset-operator/auto-scaled=true\n"
    )
}
