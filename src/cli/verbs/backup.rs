//! What was saved before a StatefulSet was touched?

use owo_colors::Style;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, Output};
use crate::cli::read::live;
use crate::cli::read::reach::Cluster;
use crate::cli::read::saved::{self, Saved};
use crate::cli::show::output::{print_data, yaml};
use crate::cli::show::table::{Cell, Paint, columns};
use crate::cli::show::terminal::{Terminal, print, say};
use crate::cli::show::view::ago;
use crate::cluster::client::Address;
use crate::cluster::clock;
use crate::recreate::manifest;

/// Lines around a change.
const CONTEXT: usize = 3;

/// Arguments of `rso backup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the backups, the newest of each set first
    List(List),
    /// Print the saved StatefulSet
    Show(Show),
    /// Compare the saved StatefulSet with the live one: exit code 0 when they are equal, 1 when they differ
    Diff(Which),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Of this StatefulSet only
    #[arg(value_name = "SET")]
    set: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "set"])]
    all_namespaces: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    which: Which,
    /// Form of the answer; a table is YAML here
    #[arg(short, long, value_enum, default_value_t = Output::Yaml, value_name = "FORM")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The StatefulSet
    #[arg(value_name = "SET")]
    set: String,
    /// Which backup; without it the newest
    #[arg(short, long, value_name = "N")]
    backup: Option<u64>,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    match &args.verb {
        Verb::List(args) => list(&cluster, args).await,
        Verb::Show(args) => show(&cluster, args).await,
        Verb::Diff(which) => diff(&cluster, which).await,
    }
}

async fn list(cluster: &Cluster, args: &List) -> Result<Exit, Failure> {
    let set = args.set.as_deref().map(|word| cluster.set(word)).transpose()?;
    let namespace = (!args.all_namespaces).then_some(cluster.namespace.as_str());
    let saved = saved::list(&cluster.client, namespace, set.as_ref()).await?;
    let now = clock::now();
    match args.output {
        Output::Json | Output::Yaml => print_data(&json!({ "backups": saved }), args.output),
        Output::Table | Output::Wide if saved.is_empty() => {
            let place = namespace.map_or("any namespace".to_owned(), |namespace| format!("namespace {namespace}"));
            say(&format!("No backups in {place}. One is taken before a template is rewritten."));
        }
        Output::Table | Output::Wide => print(&table(&saved, namespace.is_none(), now, Terminal::look().paint)),
    }
    Ok(Exit::Yes)
}

fn table(saved: &[Saved], everywhere: bool, now: jiff::Timestamp, paint: Paint) -> String {
    let head = ["NAMESPACE", "SET", "BACKUP", "TAKEN", "SIZES", "REASON"]
        .map(|word| Cell::new(word).style(Style::new().dimmed()));
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
    let skip = usize::from(!everywhere);
    let rows = std::iter::once(head).chain(saved.iter().map(row));
    columns(&rows.map(|row| row.into_iter().skip(skip).collect()).collect::<Vec<_>>(), 0, paint)
}

async fn show(cluster: &Cluster, args: &Show) -> Result<Exit, Failure> {
    let set = cluster.set(&args.which.set)?;
    let saved = saved::one(&cluster.client, &set, args.which.backup).await?;
    let form = if args.output == Output::Json { Output::Json } else { Output::Yaml };
    print_data(&saved.statefulset()?, form);
    Ok(Exit::Yes)
}

async fn diff(cluster: &Cluster, which: &Which) -> Result<Exit, Failure> {
    let set = cluster.set(&which.set)?;
    let saved = saved::one(&cluster.client, &set, which.backup).await?;
    let old = saved.statefulset()?;
    let new = cluster.client.get(&Address::set(&set)).await?.ok_or_else(|| live::absent(&set))?;
    let names = [format!("backup {}", saved.number), format!("live {set}")];
    let text = unified(&old, &new, &names, Terminal::look().paint);
    print(&text);
    Ok(if text.is_empty() { Exit::Yes } else { Exit::No })
}

/// What differs but for what the server owns, as `diff -u` tells it; empty when nothing does.
fn unified(old: &Value, new: &Value, [from, to]: &[String; 2], paint: Paint) -> String {
    let (old, new) = (yaml(&manifest::bare(old)), yaml(&manifest::bare(new)));
    let diff = TextDiff::from_lines(&old, &new);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
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
    fn a_changed_size_is_one_line_out_and_one_in() {
        insta::assert_snapshot!(unified(&set("10Gi", "1"), &set("12Gi", "2"), &names(), Paint::Bare));
    }

    #[test]
    fn what_only_the_server_changed_is_no_difference() {
        assert_eq!(unified(&set("10Gi", "1"), &set("10Gi", "2"), &names(), Paint::Bare), "");
    }

    #[test]
    fn backups_stand_in_a_table() {
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
        let one = table(&saved, false, now, Paint::Bare);
        insta::assert_snapshot!(one);
        assert!(table(&saved, true, now, Paint::Bare).starts_with("NAMESPACE  SET  BACKUP"));
    }
}
