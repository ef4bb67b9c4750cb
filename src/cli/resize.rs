//! How does a person ask for a larger volume?

use super::args::DryRun;
use super::{Connection, Exit, Failure};
use crate::api::bytes::Bytes;

/// Arguments of `rso resize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// Which template, by name
    #[arg(short, long, value_name = "NAME", conflicts_with = "index")]
    template: Option<String>,
    /// Which template, by its place in volumeClaimTemplates, from 0
    #[arg(short, long, value_name = "N")]
    index: Option<usize>,
    /// The wanted size, as in Kubernetes: 20Gi, 500G, 1.5Ti
    #[arg(value_name = "SIZE")]
    size: Bytes,
    /// Wait until all volumes and the template have the size
    #[arg(short, long)]
    wait: bool,
    /// Whether anything is written
    #[arg(long, value_enum, default_value_t)]
    dry_run: DryRun,
}

pub(super) async fn run(_args: &Args, _connection: &Connection) -> Result<Exit, Failure> {
    Err(Failure::no("`rso resize` is not built yet"))
}
