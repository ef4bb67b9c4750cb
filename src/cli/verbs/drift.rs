//! `rso drift`: storage sizes that are out of date in git.
//!
//! It compares the live and the requested sizes with the last manifest of the tool that deployed the StatefulSet. `kubectl apply`
//! stores that manifest in an annotation, and Helm in its release. Other tools store none; then the size in git is unknown.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::api::annotations::REQUESTED;
use crate::api::bytes::Bytes;
use crate::api::names::{SetName, TemplateName};
use crate::api::objects::{CLAIMS, SECRETS, STATEFUL_SETS};
use crate::api::requested;
use crate::api::storage;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::{Connection, Output};
use crate::cli::read::listed::Listed;
use crate::cli::read::reach::Cluster;
use crate::cli::show::output::{print_data, yaml};
use crate::cli::show::table::{Cell, Paint, columns};
use crate::cli::show::terminal::print;
use crate::cluster::client::{Client, Selector};
use crate::workload::group::VolumeGroup;
use crate::workload::statefulset::{StatefulSetView, Template};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
/// A larger release is not read, after decompression. Helm's own limit is 1 MiB, compressed.
const MAX_RELEASE_BYTES: u64 = 64 << 20;

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "clap would print a paragraph for each value")]
enum Format {
    #[default]
    Table,
    Values,
    Yaml,
    Json,
}

/// Arguments of `rso drift`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all sizes in git are up to date; 1 a size is out of date or unknown.\n\
                        -o values prints sizes by StatefulSet and template, for the values of a chart; -o yaml prints \
                        patches of the StatefulSets.")]
pub struct Args {
    /// Check all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// A template whose size in git is out of date or unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drift {
    set: SetName,
    template: TemplateName,
    /// The size in the last manifest, if it is known.
    git: Option<Bytes>,
    should: Bytes,
}

pub(crate) async fn run(args: &Args, connection: &Connection) -> Result<Exit, Failure> {
    let cluster = Cluster::of(connection).await?;
    let namespace = (!args.all_namespaces).then_some(cluster.namespace.as_str());
    let sets = cluster.client.list(&STATEFUL_SETS, namespace, Selector::default()).await?.items;
    let claims = cluster.client.list(&CLAIMS, namespace, Selector::default()).await?.items;
    let listed = Listed::new(claims, None);
    let mut drifts = Vec::new();
    for set in &sets {
        let applied = last_applied(&cluster.client, set).await;
        drifts.extend(drift(set, &listed, applied.as_ref()));
    }
    match args.output {
        Format::Table => print(&table(&drifts)),
        Format::Values => print(&yaml(&values(&drifts))),
        Format::Yaml => patches(&drifts).iter().for_each(|patch| print(&format!("---\n{}", yaml(patch)))),
        Format::Json => print_data(&drifts.iter().map(Drift::to_json).collect(), Output::Json),
    }
    Ok(if drifts.is_empty() { Exit::Success } else { Exit::Negative })
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

/// The last manifest of the StatefulSet.
async fn last_applied(client: &Client, set: &Value) -> Option<Value> {
    let annotations = &set["metadata"]["annotations"];
    if let Some(applied) = annotations[LAST_APPLIED].as_str() {
        return serde_json::from_str(applied).ok();
    }
    let release = annotations[RELEASE_NAME].as_str()?;
    let labels = format!("owner=helm,status=deployed,name={release}");
    let selector = Selector { labels: Some(&labels), fields: None };
    // Without the permission to list Secrets, the size in git is unknown.
    let secrets = client.list(&SECRETS, annotations[RELEASE_NAMESPACE].as_str(), selector).await.ok()?;
    secrets.items.iter().find_map(|secret| in_release(secret, text(set, "name")))
}

/// The StatefulSet in a Helm release: compressed JSON, twice encoded as base64, which contains all manifests as one YAML text.
fn in_release(secret: &Value, set: &str) -> Option<Value> {
    let compressed = STANDARD.decode(STANDARD.decode(secret["data"]["release"].as_str()?).ok()?).ok()?;
    let mut release = String::new();
    flate2::read::GzDecoder::new(compressed.as_slice()).take(MAX_RELEASE_BYTES).read_to_string(&mut release).ok()?;
    let release: Value = serde_json::from_str(&release).ok()?;
    let manifests = release["manifest"].as_str()?.split("\n---");
    let read = manifests.filter(|text| text.contains("StatefulSet")).map(serde_saphyr::from_str::<Value>);
    read.flatten().find(|object| object["kind"] == "StatefulSet" && text(object, "name") == set)
}

/// The sizes of the templates in a manifest.
fn sizes(set: &Value) -> BTreeMap<TemplateName, Bytes> {
    let templates = set["spec"]["volumeClaimTemplates"].as_array().map_or(&[][..], Vec::as_slice);
    let size = |template: &Value| Some((TemplateName::new(text(template, "name")), storage::request(template)?));
    templates.iter().filter_map(size).collect()
}

fn drift(set: &Value, listed: &Listed, applied: Option<&Value>) -> Vec<Drift> {
    let view = StatefulSetView::read(set);
    let git = applied.map(sizes);
    // A StatefulSet that rso does not manage is reported only if the size in git is known.
    let Some(view) = view.filter(|view| git.is_some() || view.is_managed()) else { return Vec::new() };
    let drift = |template: &Template| {
        let git = git.as_ref().and_then(|git| git.get(&template.name).copied());
        Some(Drift {
            set: view.name.clone(),
            template: template.name.clone(),
            git,
            should: expected(&view, template, listed)?,
        })
    };
    let mut drifts: Vec<Drift> = view.templates.iter().filter_map(drift).collect();
    drifts.retain(|drift| drift.git.is_none_or(|git| git < drift.should));
    drifts.sort_by(|one, other| one.template.cmp(&other.template));
    drifts
}

/// The largest of the live and the requested sizes of a template; `None` if its own size cannot be parsed.
fn expected(set: &StatefulSetView, template: &Template, listed: &Listed) -> Option<Bytes> {
    let running = VolumeGroup::read(listed, set, template).claims;
    let claims = running.into_iter().chain(VolumeGroup::retained(listed, set, template)).map(|claim| claim.requested);
    let requested = set.annotations.get(REQUESTED).and_then(|text| requested::largest(text, template.name.as_str()));
    template.size.map(|live| claims.chain(requested).fold(live, Bytes::max))
}

impl Drift {
    fn to_json(&self) -> Value {
        let Self { set, template, git, should } = self;
        json!({
            "namespace": set.namespace, "statefulSet": set.name, "template": template.as_str(), "git": git, "should": should,
        })
    }
}

fn table(drifts: &[Drift]) -> String {
    if drifts.is_empty() {
        return "All sizes in git are up to date.\n".to_owned();
    }
    let head = ["NAMESPACE", "STATEFULSET", "TEMPLATE", "GIT", "EXPECTED"].map(Cell::new).to_vec();
    let row = |drift: &Drift| {
        let git = drift.git.map_or_else(|| "?".to_owned(), |git| git.to_string());
        let names = [&drift.set.namespace, &drift.set.name, drift.template.as_str()].map(Cell::new);
        names.into_iter().chain([Cell::new(git).right(), Cell::new(drift.should.to_string()).right()]).collect()
    };
    columns(&std::iter::once(head).chain(drifts.iter().map(row)).collect::<Vec<Vec<Cell>>>(), 0, Paint::Plain)
}

/// `db: {data: 50Gi}`; by namespace if there are several.
fn values(drifts: &[Drift]) -> Value {
    let mut all: BTreeMap<&str, BTreeMap<&str, Map<String, Value>>> = BTreeMap::new();
    for Drift { set, template, should, .. } in drifts {
        let of_set = all.entry(&set.namespace).or_default().entry(&set.name).or_default();
        of_set.insert(template.to_string(), json!(should));
    }
    match all.len() {
        0 => json!({}),
        1 => all.into_values().map(|sets| json!(sets)).collect::<Vec<_>>().swap_remove(0),
        _ => json!(all),
    }
}

/// A patch for each StatefulSet, in the form of a manifest.
fn patches(drifts: &[Drift]) -> Vec<Value> {
    let mut patches: BTreeMap<&SetName, Vec<Value>> = BTreeMap::new();
    for drift in drifts {
        patches.entry(&drift.set).or_default().push(json!({
            "metadata": { "name": drift.template.as_str() },
            "spec": { "resources": { "requests": { "storage": drift.should } } },
        }));
    }
    let patch = |(set, templates): (&SetName, Vec<Value>)| {
        json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": { "name": set.name, "namespace": set.namespace },
            "spec": { "volumeClaimTemplates": templates },
        })
    };
    patches.into_iter().map(patch).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn set(size: &str, annotations: Value) -> Value {
        json!({
            "kind": "StatefulSet",
            "metadata": {"namespace": "shop", "name": "db", "uid": "1", "annotations": annotations},
            "spec": {"volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}},
            ]},
        })
    }

    fn claim(name: &str, size: &str) -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1"},
            "spec": {"resources": {"requests": {"storage": size}}},
        })
    }

    #[test]
    fn the_expected_size_is_the_largest_of_the_live_and_the_requested_sizes() {
        let check = |live: &str, annotations: Value, claims: &[Value], git: Option<&str>, expected: Option<&str>| {
            let applied = git.map(|size| set(size, json!({})));
            let listed = Listed::new(claims.to_vec(), None);
            let found = drift(&set(live, annotations), &listed, applied.as_ref());
            let sizes: Vec<String> = found.iter().map(|drift| drift.should.to_string()).collect();
            assert_eq!(sizes, expected.into_iter().collect::<Vec<_>>(), "{live} {git:?}");
        };
        let ours = || json!({"resize-statefulset-operator/auto-scaled": "true"});
        check("5Gi", json!({}), &[], Some("5Gi"), None);
        check("5Gi", json!({}), &[], Some("5120Mi"), None);
        check("5Gi", json!({}), &[], Some("9Gi"), None);
        check("9Gi", json!({}), &[], Some("5Gi"), Some("9Gi"));
        check("5Gi", json!({}), &[claim("data-db-1", "7Gi"), claim("data-other-0", "8Gi")], Some("5Gi"), Some("7Gi"));
        check("5Gi", json!({REQUESTED: "data=20Gi,wal=1Ti"}), &[], Some("5Gi"), Some("20Gi"));
        check("5Gi", json!({}), &[], None, None);
        check("5Gi", ours(), &[], None, Some("5Gi"));
    }

    #[test]
    fn a_statefulset_is_found_in_a_helm_release() {
        let manifest = "---\napiVersion: v1\nkind: Service\nmetadata: {name: db}\n---\napiVersion: apps/v1\nkind: StatefulSet\n\
                        metadata:\n  name: db\nspec:\n  volumeClaimTemplates:\n    - metadata: {name: data}\n      spec: \
                        {resources: {requests: {storage: 5Gi}}}\n";
        let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        compressed.write_all(json!({ "manifest": manifest }).to_string().as_bytes()).unwrap();
        let release = STANDARD.encode(STANDARD.encode(compressed.finish().unwrap()));
        let secret = json!({"data": {"release": release}});
        assert_eq!(sizes(&in_release(&secret, "db").unwrap())[&TemplateName::from("data")], Bytes::gib(5));
        assert_eq!(in_release(&secret, "other"), None);
        assert_eq!(in_release(&json!({"data": {"release": "!"}}), "db"), None);
    }

    #[test]
    fn the_output_is_a_table_values_or_patches() {
        let listed = Listed::new(Vec::new(), None);
        let drifts = drift(&set("9Gi", json!({})), &listed, Some(&set("5Gi", json!({}))));
        assert_eq!(
            table(&drifts),
            "NAMESPACE  STATEFULSET  TEMPLATE  GIT  EXPECTED\nshop       db           data      5Gi       9Gi\n"
        );
        assert_eq!(values(&drifts), json!({"db": {"data": "9Gi"}}));
        assert_eq!(
            patches(&drifts)[0]["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"],
            "9Gi"
        );
        assert_eq!(
            (table(&[]).as_str(), values(&[]), patches(&[]).len()),
            ("All sizes in git are up to date.\n", json!({}), 0)
        );
    }
}
