//! `rso doctor`: checks of the installation and of the cluster, each finding with what to do about it.
//!
//! The checks use the user's own permissions and change nothing: a check that this user may not perform is reported as unknown.
//! The only write is a dry run, which shows whether an apply with a larger size succeeds.

mod admission;
mod conflicts;
mod deployers;
mod findings;
mod limits;
mod permissions;
mod storage;

use serde_json::Value;

use self::findings::{Finding, Level};
use crate::api::objects::{Resource, STATEFUL_SETS};
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, OPERATOR_NAMESPACE, Output};
use crate::cli::read::reach::Cluster;
use crate::cli::show::output::print_data;
use crate::cli::show::table::{Cell, Paint, columns, wrapped};
use crate::cli::show::terminal::print;
use crate::cluster::client::{Client, Error, Selector};
use crate::workload::statefulset::StatefulSetView;

/// Arguments of `rso doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no problem found; 1 at least one problem found. Checks all namespaces unless you pass \
                  --namespace."
)]
pub struct Args {
    /// Namespace of the operator
    #[arg(long, value_name = "NAMESPACE", default_value = OPERATOR_NAMESPACE)]
    operator_namespace: String,
    /// Helm release of the operator
    #[arg(long, value_name = "RELEASE", default_value = "rso")]
    release: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

/// What every check can use.
struct Context<'a> {
    client: &'a Client,
    /// The namespace to check; `None`: all namespaces.
    namespace: Option<&'a str>,
    operator_namespace: &'a str,
    release: &'a str,
    sets: Vec<Value>,
}

impl Context<'_> {
    /// The objects of a kind; none if the cluster does not have the kind.
    async fn all(&self, resource: &'static Resource, namespace: Option<&str>) -> Result<Vec<Value>, Error> {
        match self.client.list(resource, namespace, Selector::default()).await {
            Ok(list) => Ok(list.items),
            Err(Error::Invalid { code: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The StatefulSets that rso manages.
    fn managed(&self) -> impl Iterator<Item = StatefulSetView> + '_ {
        self.sets.iter().filter_map(StatefulSetView::read).filter(StatefulSetView::is_managed)
    }
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let namespace = connection.namespace.as_deref();
    let sets = cluster.client.list(&STATEFUL_SETS, namespace, Selector::default()).await?.items;
    let context = Context {
        client: &cluster.client,
        namespace,
        operator_namespace: &args.operator_namespace,
        release: &args.release,
        sets,
    };
    let mut findings = admission::check(&context).await?;
    findings.extend(permissions::check(&context).await);
    findings.extend(storage::check(&context).await?);
    findings.extend(conflicts::check(&context).await?);
    findings.extend(limits::check(&context).await?);
    findings.extend(deployers::check(&context).await);
    findings.sort_by_key(|finding| finding.level);
    if args.output.is_data() {
        print_data(&findings.iter().map(Finding::to_json).collect(), args.output);
    } else {
        print(&render(&findings));
    }
    Ok(if findings.iter().any(|finding| finding.level == Level::Problem) { Exit::Negative } else { Exit::Success })
}

fn render(findings: &[Finding]) -> String {
    let row = |finding: &Finding| [finding.level.as_str(), &finding.about, &finding.what].map(Cell::new).to_vec();
    let table = columns(&findings.iter().map(row).collect::<Vec<_>>(), 0, Paint::Plain);
    let fix = |finding: &Finding| finding.fix.as_ref().map(|fix| wrapped(fix, 9, 100)).unwrap_or_default();
    table.lines().zip(findings).map(|(line, finding)| format!("{line}\n{}", fix(finding))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_its_fix_below() {
        let findings = [Finding::problem("webhook", "not ready", "Start it."), Finding::good("limits", "set")];
        let expected = "PROBLEM  webhook  not ready\n         Start it.\nok       limits   set\n";
        assert_eq!(render(&findings), expected);
    }
}
