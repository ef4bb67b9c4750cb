//! What was saved before a StatefulSet was touched?

use super::{Connection, Exit, Failure, Output};

/// Arguments of `rso backup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the backups, newest first
    List(List),
    /// Print the saved StatefulSet
    Show(Show),
    /// Compare the saved StatefulSet with the live one
    Diff(Diff),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Of this StatefulSet only
    #[arg(value_name = "SET")]
    set: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// Which backup; without it the newest
    #[arg(short, long, value_name = "N")]
    backup: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Diff {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// Which backup; without it the newest
    #[arg(short, long, value_name = "N")]
    backup: Option<u64>,
}

pub(super) async fn run(_args: &Args, _connection: &Connection) -> Result<Exit, Failure> {
    Err(Failure::no("`rso backup` is not built yet"))
}
