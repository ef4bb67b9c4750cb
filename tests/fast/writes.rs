//! Can the operator send exactly the writes that the chart's roles permit, and does it ask for the permission in one place?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use arbitrary::Unstructured;
use rso::api::names::SetName;
use rso::api::write::Write;
use rso::recreate::step::{Action, Step};
use rso::recreate::{next, write};
use serde_json::Value;

use crate::fuzz::properties::cluster;
use crate::{chart, fuzz, tree};

/// The operator's own namespace.
const HOME: &str = "rso-system";

/// Every kind of write of a recreation.
const ACTIONS: [&str; 17] = [
    "Create",
    "CreateBackup",
    "CreateJournal",
    "Delete",
    "DeleteBackup",
    "DeleteJournal",
    "PatchTemplates",
    "Release",
    "RestoreOwnership",
    "RestoreSpec",
    "SetFinalizers",
    "SetOwners Protect",
    "SetOwners Restore",
    "SetOwners Strip",
    "SetOwners Unprotect",
    "SetRetention",
    "UpdateJournal",
];

/// The kinds that lose their owner.
const DEPENDENTS: [&str; 3] = ["pods", "controllerrevisions.apps", "persistentvolumeclaims"];

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// In the operator's own namespace.
    Own,
    /// In a namespace that the operator watches, or in none.
    Watched,
}

/// A kind of write: place, verb, `resource.group`.
type Sent = (Place, String, String);

/// The same, as the table has it.
type Made = (Place, &'static str, &'static str);

/// The files that make writes besides `recreate/write.rs`, with what they make.
const MADE: &[(&str, &[Made])] = &[
    (
        "src/cluster/events/mod.rs",
        &[(Place::Watched, "create", "events.events.k8s.io"), (Place::Watched, "patch", "events.events.k8s.io")],
    ),
    (
        "src/cluster/lease/mod.rs",
        &[(Place::Own, "create", "leases.coordination.k8s.io"), (Place::Own, "update", "leases.coordination.k8s.io")],
    ),
    (
        "src/webhook/certificate_manager.rs",
        &[
            (Place::Own, "create", "secrets"),
            (Place::Own, "update", "secrets"),
            (Place::Watched, "patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io"),
        ],
    ),
    ("src/workload/nudge.rs", &[(Place::Watched, "patch", "pods")]),
    ("src/workload/claims.rs", &[(Place::Watched, "patch", "persistentvolumeclaims")]),
    ("src/workload/statefulset.rs", &[(Place::Watched, "patch", "statefulsets.apps")]),
];

/// The files of the operator that may send a write themselves: they say why in their module documentation.
const SENDERS: &[&str] = &["src/cluster/act.rs", "src/cluster/events/mod.rs", "src/cluster/lease/mod.rs"];

/// How a file makes a write, and the verb of it.
const MAKERS: &[(&str, &str)] = &[
    ("Write::create(", "create"),
    ("Write::update(", "update"),
    ("Write::update_if(", "update"),
    ("Write::merge(", "patch"),
    ("Write::merge_if(", "patch"),
    ("Write::json(", "patch"),
    ("Write::delete(", "delete"),
];

#[test]
fn the_roles_permit_exactly_the_writes_that_can_be_sent() {
    let mut sent: BTreeSet<Sent> = of_a_recreation().values().flatten().cloned().collect();
    for (_, writes) in MADE {
        sent.extend(writes.iter().map(|(place, verb, resource)| (*place, (*verb).into(), (*resource).into())));
    }
    for (place, verb, resource) in &sent {
        println!("{verb} {resource} ({place:?})");
    }
    let mut granted = granted();
    // A token for kubelets is a response, not an object.
    assert!(granted.remove(&(Place::Own, "create".into(), "serviceaccounts/token".into())));
    assert_eq!(sent, granted, "left: what can be sent; right: what the roles permit");
}

/// A property about writes that never occur would hold of anything.
#[test]
fn every_write_of_a_recreation_occurs_in_what_next_is_given() {
    let found: Vec<&str> = of_a_recreation().keys().copied().collect();
    assert_eq!(found, ACTIONS);
}

#[test]
fn no_other_file_makes_a_write() {
    let known: BTreeMap<&str, BTreeSet<&str>> = MADE
        .iter()
        .map(|(file, writes)| (*file, writes.iter().map(|(_, verb, _)| *verb).collect()))
        .chain([("src/recreate/write.rs", BTreeSet::from(["create", "update", "patch", "delete"]))])
        .collect();
    let found: BTreeMap<String, BTreeSet<&str>> =
        of_the_operator().map(|(file, text)| (file, made(&text))).filter(|(_, verbs)| !verbs.is_empty()).collect();
    let found: BTreeMap<&str, BTreeSet<&str>> =
        found.iter().map(|(file, verbs)| (file.as_str(), verbs.clone())).collect();
    assert_eq!(found, known);
}

#[test]
fn a_write_is_sent_where_the_permission_is_asked_for() {
    let of = |word: &str| -> Vec<String> {
        of_the_operator().filter(|(_, text)| text.contains(word)).map(|(file, _)| file).collect()
    };
    assert_eq!(of("leadership.permit()"), ["src/cluster/act.rs"]);
    let mut senders = of("lient.write(");
    senders.extend(of("lient(client).write("));
    senders.sort();
    assert_eq!(senders, SENDERS);
}

/// What each kind of write of a recreation sends. The inputs of `next` are given to it until all of them occurred.
fn of_a_recreation() -> &'static BTreeMap<&'static str, BTreeSet<Sent>> {
    static FOUND: OnceLock<BTreeMap<&str, BTreeSet<Sent>>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let (set, mut found) = (SetName::new("shop", "db"), BTreeMap::new());
        fuzz::each_input_of_next(|data| {
            let Ok(Some((seen, now))) = cluster::observed(&mut Unstructured::new(data)) else { return true };
            if let Step::Write(action) = next(&seen, now) {
                let sent: &mut BTreeSet<Sent> = found.entry(fuzz::word(&action)).or_default();
                if sent.is_empty() || matches!(action, Action::SetOwners { .. }) {
                    sent.insert(as_sent(&write::of(&action, &set, HOME).unwrap()));
                }
            }
            found.len() < ACTIONS.len() || DEPENDENTS.iter().any(|kind| !is_patched(&found, kind))
        });
        found
    })
}

fn is_patched(found: &BTreeMap<&str, BTreeSet<Sent>>, resource: &str) -> bool {
    found.values().flatten().any(|(_, verb, patched)| verb == "patch" && patched == resource)
}

fn as_sent(write: &Write) -> Sent {
    let place = if write.object.namespace.as_deref() == Some(HOME) { Place::Own } else { Place::Watched };
    let resource = write.object.resource;
    (place, write.verb().to_owned(), named(resource.plural, resource.group))
}

/// The writes that the rendered roles of the operator permit.
fn granted() -> BTreeSet<Sent> {
    let mut granted = BTreeSet::new();
    for document in chart::roles(&[]).split("\n---") {
        let role: Value = serde_saphyr::from_str(document).unwrap_or_default();
        let place = match (role["kind"].as_str(), role["metadata"]["name"].as_str()) {
            (Some("Role"), _) => Place::Own,
            (Some("ClusterRole"), _) => Place::Watched,
            _ => continue,
        };
        for rule in role["rules"].as_array().unwrap() {
            let words = |key: &str| -> Vec<String> { serde_json::from_value(rule[key].clone()).unwrap() };
            let (groups, verbs) = (words("apiGroups"), words("verbs"));
            let writes = verbs.iter().filter(|verb| !matches!(verb.as_str(), "get" | "list" | "watch"));
            for verb in writes {
                let resources = words("resources").into_iter();
                granted.extend(resources.map(|resource| (place, verb.clone(), named(&resource, &groups.concat()))));
            }
        }
    }
    granted
}

/// As RBAC and kubectl name it: `statefulsets.apps`.
fn named(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

fn made(text: &str) -> BTreeSet<&'static str> {
    MAKERS.iter().filter(|(maker, _)| text.contains(maker)).map(|(_, verb)| *verb).collect()
}

/// The files of the operator without their tests: not the command line, which acts with the rights of its user, and not
/// the value itself and the client.
fn of_the_operator() -> impl Iterator<Item = (String, String)> {
    let files = tree::files("src", "rs").into_iter();
    let files = files.filter(|file| !file.starts_with("src/cli/") && !file.starts_with("src/cluster/client/"));
    let files = files.filter(|file| file != "src/api/write.rs" && !file.contains("/tests"));
    files.map(|file| {
        let text = tree::read(&file);
        let own = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        (file, own)
    })
}
