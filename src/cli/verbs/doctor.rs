//! Is everything in place, and does anything here hurt? Each finding with what to do about it.
//!
//! Asked with the person's own rights, and only looked at: what may not be read is said to be unknown. The one write is a
//! dry run, which tells whether an apply would really be absorbed.

mod admission;
mod deployers;
mod findings;
mod limits;
mod neighbours;
mod rights;
mod storage;

use serde_json::Value;

use self::findings::{Finding, Level};
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, Output};
use crate::cli::read::reach::Cluster;
use crate::cli::show::output::print_data;
use crate::cli::show::table::{Cell, Paint, columns, wrapped};
use crate::cli::show::terminal::print;
use crate::cluster::client::resources::STATEFUL_SETS;
use crate::cluster::client::{Client, Error, Resource, Selector};
use crate::cluster::sets::SetView;
use crate::policy::settings::concerns_us;

/// Arguments of `rso doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing that hurts, 1 something does. Looks at all namespaces unless one is given."
)]
pub struct Args {
    /// Where the operator is
    #[arg(long, value_name = "NAMESPACE", default_value = "rso-system")]
    operator_namespace: String,
    /// Name of the operator's release
    #[arg(long, value_name = "NAME", default_value = "rso")]
    release: String,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What every check has at hand.
struct Practice<'a> {
    client: &'a Client,
    /// The namespace that is looked at; `None`: all.
    namespace: Option<&'a str>,
    /// The operator's.
    own: &'a str,
    release: &'a str,
    sets: Vec<Value>,
}

impl Practice<'_> {
    /// The objects of a kind; none when the cluster does not know the kind.
    async fn all(&self, resource: &'static Resource, namespace: Option<&str>) -> Result<Vec<Value>, Error> {
        match self.client.list(resource, namespace, Selector::default()).await {
            Ok(list) => Ok(list.items),
            Err(Error::Invalid { code: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The sets that somebody has asked us to look after.
    fn managed(&self) -> impl Iterator<Item = SetView> + '_ {
        let read = |set: &Value| SetView::of(&serde_json::from_value(set.clone()).ok()?);
        self.sets.iter().filter_map(read).filter(|set| concerns_us(&set.annotations, &set.labels))
    }
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let namespace = connection.namespace.as_deref();
    let sets = cluster.client.list(&STATEFUL_SETS, namespace, Selector::default()).await?.items;
    let practice =
        Practice { client: &cluster.client, namespace, own: &args.operator_namespace, release: &args.release, sets };
    let mut findings = admission::look(&practice).await?;
    findings.extend(rights::look(&practice).await);
    findings.extend(storage::look(&practice).await?);
    findings.extend(neighbours::look(&practice).await?);
    findings.extend(limits::look(&practice).await?);
    findings.extend(deployers::look(&practice).await);
    findings.sort_by_key(|finding| finding.level);
    if args.output.is_data() {
        print_data(&findings.iter().map(Finding::to_json).collect(), args.output);
    } else {
        print(&drawn(&findings));
    }
    Ok(if findings.iter().any(|finding| finding.level == Level::Problem) { Exit::No } else { Exit::Yes })
}

fn drawn(findings: &[Finding]) -> String {
    let row = |finding: &Finding| [finding.level.as_str(), &finding.about, &finding.what].map(Cell::new).to_vec();
    let table = columns(&findings.iter().map(row).collect::<Vec<_>>(), 0, Paint::Bare);
    let fix = |finding: &Finding| finding.fix.as_ref().map(|fix| wrapped(fix, 9, 100)).unwrap_or_default();
    table.lines().zip(findings).map(|(line, finding)| format!("{line}\n{}", fix(finding))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_fix_below() {
        let told =
            drawn(&[Finding::problem("rights", "none".to_owned(), "Give some."), Finding::good("classes", "fine")]);
        assert_eq!(told, "PROBLEM  rights   none\n         Give some.\nok       classes  fine\n");
    }
}
