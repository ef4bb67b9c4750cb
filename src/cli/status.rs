//! How full are the volumes, how large are they asked to be, and what is going on?

use super::{Connection, Exit, Failure, Output};

/// Arguments of `rso status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// StatefulSets; without any, all that the operator manages
    #[arg(value_name = "SET")]
    sets: Vec<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Draw again whenever something changes, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(_args: &Args, _connection: &Connection) -> Result<Exit, Failure> {
    Err(Failure::no("`rso status` is not built yet"))
}
