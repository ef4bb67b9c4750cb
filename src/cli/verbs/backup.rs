//! `rso backup`: lists, prints, and compares the backups that rso takes before it recreates a StatefulSet.

use owo_colors::Style;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::api::objects::Address;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, Output};
use crate::cli::read::live;
use crate::cli::read::reach::Cluster;
use crate::cli::read::saved::{self, Saved};
use crate::cli::show::output::{print_data, yaml};
use crate::cli::show::table::{Cell, Paint, columns};
use crate::cli::show::terminal::{Terminal, print, say};
use crate::cli::show::view::ago;
use crate::cluster::clock;
use crate::recreate::manifest;

/// Lines of context around a change.
const CONTEXT_LINES: usize = 3;

/// Arguments of `rso backup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the backups, the newest of each StatefulSet first
    List(List),
    /// Print the saved StatefulSet
    Show(Show),
    /// Compare the saved StatefulSet with the live one; exit code 0 if they are equal, 1 if they differ
    Diff(Selection),
}

#[derive(Debug, clap::Args)]
struct List {
    /// List only the backups of this StatefulSet
    #[arg(value_name = "STATEFULSET")]
    set: Option<String>,
    /// List the backups of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "set"])]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    selection: Selection,
    /// Output format; table and wide print YAML
    #[arg(short, long, value_enum, default_value_t = Output::Yaml, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Selection {
    /// StatefulSet that was saved
    #[arg(value_name = "STATEFULSET")]
    set: String,
    /// Number of the backup (default: the newest)
    #[arg(short, long, value_name = "NUMBER")]
    backup: Option<u64>,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    match &args.verb {
        Verb::List(args) => list(&cluster, args).await,
        Verb::Show(args) => show(&cluster, args).await,
        Verb::Diff(selection) => diff(&cluster, selection).await,
    }
}

async fn list(cluster: &Cluster, args: &List) -> Result<Exit, Failure> {
    let set = args.set.as_deref().map(|name| cluster.set(name)).transpose()?;
    let namespace = (!args.all_namespaces).then_some(cluster.namespace.as_str());
    let saved = saved::list(&cluster.client, namespace, set.as_ref()).await?;
    let now = clock::now();
    match args.output {
        Output::Json | Output::Yaml => print_data(&json!({ "backups": saved }), args.output),
        Output::Table | Output::Wide if saved.is_empty() => {
            let place = namespace.map_or("any namespace".to_owned(), |namespace| format!("namespace {namespace}"));
            say(&format!("No backups in {place}. rso takes a backup before it recreates a StatefulSet."));
        }
        Output::Table | Output::Wide => print(&table(&saved, namespace.is_none(), now, Terminal::current().paint)),
    }
    Ok(Exit::Success)
}

fn table(saved: &[Saved], all_namespaces: bool, now: jiff::Timestamp, paint: Paint) -> String {
    let head = ["NAMESPACE", "STATEFULSET", "BACKUP", "TAKEN", "SIZES", "REASON"]
        .map(|title| Cell::new(title).style(Style::new().dimmed()));
    let row = |saved: &Saved| {
        let taken = saved.taken_at.parse().map_or(saved.taken_at.clone(), |at| format!("{} ago", ago(at, now)));
        [
            saved.namespace.clone(),
            saved.set.clone(),
            saved.number.to_string(),
            taken,
            saved.sizes.clone(),
            saved.reason.clone(),
        ]
        .map(Cell::new)
    };
    let skip = usize::from(!all_namespaces);
    let rows = std::iter::once(head).chain(saved.iter().map(row));
    columns(&rows.map(|row| row.into_iter().skip(skip).collect()).collect::<Vec<_>>(), 0, paint)
}

async fn show(cluster: &Cluster, args: &Show) -> Result<Exit, Failure> {
    let set = cluster.set(&args.selection.set)?;
    let saved = saved::find(&cluster.client, &set, args.selection.backup).await?;
    let output = if args.output == Output::Json { Output::Json } else { Output::Yaml };
    print_data(&saved.statefulset()?, output);
    Ok(Exit::Success)
}

async fn diff(cluster: &Cluster, selection: &Selection) -> Result<Exit, Failure> {
    let set = cluster.set(&selection.set)?;
    let saved = saved::find(&cluster.client, &set, selection.backup).await?;
    let old = saved.statefulset()?;
    let new = cluster.client.get(&Address::set(&set)).await?.ok_or_else(|| live::not_found(&set))?;
    let names = [format!("backup {}", saved.number), format!("live {set}")];
    let text = unified(&old, &new, &names, Terminal::current().paint);
    print(&text);
    Ok(if text.is_empty() { Exit::Success } else { Exit::Negative })
}

/// The differences in the form of `diff -u`, without the fields that the API server sets; empty if there are none.
fn unified(old: &Value, new: &Value, [from, to]: &[String; 2], paint: Paint) -> String {
    let (old, new) = (yaml(&manifest::bare(old)), yaml(&manifest::bare(new)));
    let diff = TextDiff::from_lines(&old, &new);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        if text.is_empty() {
            text.push_str(&paint.styled(&format!("--- {from}\n+++ {to}\n"), Some(Style::new().bold())));
        }
        text.push_str(&paint.styled(&format!("{}\n", hunk.header()), Some(Style::new().cyan())));
        for change in hunk.iter_changes() {
            let style = match change.tag() {
                ChangeTag::Delete => Some(Style::new().red()),
                ChangeTag::Insert => Some(Style::new().green()),
                ChangeTag::Equal => None,
            };
            text.push_str(&paint.styled(&format!("{}{}", change.tag(), change.value().trim_end_matches('\n')), style));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(size: &str, uid: &str) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "shop", "uid": uid, "resourceVersion": uid},
            "spec": {
                "replicas": 3,
                "volumeClaimTemplates": [
                    {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}},
                ],
            },
            "status": {"replicas": 3},
        })
    }

    fn names() -> [String; 2] {
        ["backup 7".into(), "live shop/db".into()]
    }

    #[test]
    fn a_changed_size_is_one_line_removed_and_one_added() {
        insta::assert_snapshot!(unified(&set("10Gi", "1"), &set("12Gi", "2"), &names(), Paint::Plain));
    }

    #[test]
    fn a_field_that_the_api_server_sets_is_not_a_difference() {
        assert_eq!(unified(&set("10Gi", "1"), &set("10Gi", "2"), &names(), Paint::Plain), "");
    }

    #[test]
    fn the_table_has_a_row_for_each_backup() {
        let saved = |number: u64, namespace: &str| Saved {
            name: format!("db-backup-{number}"),
            namespace: namespace.into(),
            set: "db".into(),
            number,
            taken_at: "2026-05-01T12:00:00Z".into(),
            reason: "usage of data-db-1 reached 80%".into(),
            uid: "u".into(),
            sizes: "data=10Gi,wal=5Gi".into(),
            object: Value::Null,
        };
        let now = "2026-05-01T12:03:00Z".parse().unwrap();
        let saved = [saved(12, "shop"), saved(7, "shop")];
        let one = table(&saved, false, now, Paint::Plain);
        insta::assert_snapshot!(one);
        assert!(table(&saved, true, now, Paint::Plain).starts_with("NAMESPACE  STATEFULSET  BACKUP"));
    }
}
