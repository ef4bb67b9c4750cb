//! How does a deleted StatefulSet come back?

use super::args::DryRun;
use super::{Connection, Exit, Failure};

/// Arguments of `rso restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// Which backup; without it the newest
    #[arg(short, long, value_name = "N")]
    backup: Option<u64>,
    /// Whether anything is written
    #[arg(long, value_enum, default_value_t)]
    dry_run: DryRun,
}

pub(super) async fn run(_args: &Args, _connection: &Connection) -> Result<Exit, Failure> {
    Err(Failure::no("`rso restore` is not built yet"))
}
