//! Other workloads that meddle with a managed StatefulSet: selectors that match its Pods, and StatefulSets that share its
//! PVCs by their names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Practice;
use super::findings::Finding;
use crate::cluster::client::resources::PODS;
use crate::cluster::client::{Error, Resource};
use crate::cluster::sets::SetView;
use crate::recreate::rivals::selects;

const REPLICA_SETS: Resource = Resource { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets" };
const DAEMON_SETS: Resource = Resource { group: "apps", version: "v1", kind: "DaemonSet", plural: "daemonsets" };
const REPLICATION_CONTROLLERS: Resource =
    Resource { group: "", version: "v1", kind: "ReplicationController", plural: "replicationcontrollers" };
const JOBS: Resource = Resource { group: "batch", version: "v1", kind: "Job", plural: "jobs" };

type Labels = BTreeMap<String, String>;

pub(super) async fn look(practice: &Practice<'_>) -> Result<Vec<Finding>, Error> {
    let managed: BTreeSet<(String, String)> =
        practice.managed().map(|set| (set.name.namespace, set.name.name)).collect();
    let mut findings = shared_claims(&practice.sets, &managed);
    if !managed.is_empty() {
        findings.extend(overlaps(practice, &managed).await?);
    }
    if findings.is_empty() {
        findings.push(Finding::good("neighbours", "no other workload selects the Pods of a managed StatefulSet"));
    }
    Ok(findings)
}

async fn overlaps(practice: &Practice<'_>, managed: &BTreeSet<(String, String)>) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut others: Vec<(&str, Value)> = practice.sets.iter().map(|set| ("StatefulSet", set.clone())).collect();
    let kinds: [&'static Resource; 4] = [&REPLICA_SETS, &REPLICATION_CONTROLLERS, &DAEMON_SETS, &JOBS];
    for kind in kinds {
        match practice.all(kind, practice.namespace).await {
            Ok(all) => others.extend(all.into_iter().map(|object| (kind.kind, object))),
            Err(error @ Error::NotAllowed { .. }) => findings.push(Finding::unknown("neighbours", &error)),
            Err(error) => return Err(error),
        }
    }
    let pods = match practice.all(&PODS, practice.namespace).await {
        Ok(pods) => pods,
        Err(error @ Error::NotAllowed { .. }) => {
            findings.push(Finding::unknown("neighbours", &error));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let ours = practice.sets.iter().filter(|set| managed.contains(&place(set)));
    findings.extend(ours.flat_map(|set| rivals(set, &others, &pods)));
    Ok(findings)
}

fn place(object: &Value) -> (String, String) {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// The workloads whose selector matches the Pod template of the StatefulSet, or one of its Pods.
fn rivals(set: &Value, others: &[(&str, Value)], pods: &[Value]) -> Vec<Finding> {
    let ((namespace, name), uid) = (place(set), &set["metadata"]["uid"]);
    let owned = |pod: &&Value| {
        pod["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == *uid)
    };
    let template = ("its Pod template".to_owned(), labels(&set["spec"]["template"]));
    let pods = pods.iter().filter(owned).map(|pod| (format!("Pod {}", place(pod).1), labels(pod)));
    let targets: Vec<(String, Labels)> = std::iter::once(template).chain(pods).collect();
    let rival = |(kind, other): &(&str, Value)| {
        if other["metadata"]["namespace"] != namespace.as_str() || other["metadata"]["uid"] == *uid {
            return None;
        }
        let (what, _) = targets.iter().find(|(_, labels)| selects(&other["spec"]["selector"], labels))?;
        let other = format!("{kind} {}", place(other).1);
        let told = format!("the selector of {other} matches {what}: {other} can take over the Pods and delete them");
        let fix = format!(
            "Give {other} another label in its selector and its Pod template (a selector cannot be changed, so create it \
             again), or delete it. Until then do not let the template of {name} follow: kubectl annotate statefulset {name} \
             -n {namespace} resize-statefulset-operator/template-sync=Never"
        );
        Some(Finding::problem(format!("StatefulSet {namespace}/{name}"), told, fix))
    };
    others.iter().filter_map(rival).collect()
}

fn labels(of: &Value) -> Labels {
    let labels = of["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// StatefulSets whose PVCs have the same names, as of `a` in `b-c` and `a-b` in `c`: they share the volumes.
fn shared_claims(sets: &[Value], managed: &BTreeSet<(String, String)>) -> Vec<Finding> {
    let views = sets.iter().filter_map(|set| SetView::of(&serde_json::from_value(set.clone()).ok()?));
    let mut users: BTreeMap<(String, String), Vec<SetView>> = BTreeMap::new();
    for set in views {
        for template in set.template_names() {
            let prefix = format!("{template}-{}", set.name.name);
            users.entry((set.name.namespace.clone(), prefix)).or_default().push(set.clone());
        }
    }
    let mut findings = Vec::new();
    for ((namespace, prefix), sets) in users {
        for (at, one) in sets.iter().enumerate() {
            let shares = |other: &&SetView| {
                let is_ours = |set: &SetView| managed.contains(&(namespace.clone(), set.name.name.clone()));
                let first = one.ordinals.start.max(other.ordinals.start);
                first < one.ordinals.end.min(other.ordinals.end) && (is_ours(one) || is_ours(other))
            };
            for other in sets.iter().skip(at + 1).filter(shares) {
                let first = one.ordinals.start.max(other.ordinals.start);
                let what = format!(
                    "PVC {prefix}-{first} belongs to StatefulSet {} too: they share volumes, and both let them grow",
                    other.name.name
                );
                let fix = "Rename one of the StatefulSets, or a volumeClaimTemplate of it, and move its data.";
                findings.push(Finding::problem(format!("StatefulSet {namespace}/{}", one.name.name), what, fix));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(name: &str, app: &str, template: &str, ordinals: (u32, u32)) -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}")},
            "spec": {
                "serviceName": name, "replicas": ordinals.1, "ordinals": {"start": ordinals.0},
                "selector": {"matchLabels": {"app": app}}, "template": {"metadata": {"labels": {"app": app}}},
                "volumeClaimTemplates": [{"metadata": {"name": template}, "spec": {}}],
            },
        })
    }

    #[test]
    fn a_workload_that_selects_the_pods_is_named_with_what_it_selects() {
        let db = set("db", "db", "data", (0, 2));
        let pod = json!({"metadata": {
            "namespace": "shop", "name": "db-1", "labels": {"app": "db", "tier": "old"},
            "ownerReferences": [{"uid": "uid-db"}],
        }});
        let check = |kind: &str, namespace: &str, selector: Value, expected: Option<&str>| {
            let other = json!({"metadata": {"namespace": namespace, "name": "web", "uid": "x"}, "spec": {"selector": selector}});
            let found = rivals(&db, &[("StatefulSet", db.clone()), (kind, other)], std::slice::from_ref(&pod));
            let told: Vec<_> = found.iter().map(|finding| finding.what.as_str()).collect();
            match expected {
                Some(words) => assert!(matches!(told[..], [one] if one.contains(words)), "{told:?}"),
                None => assert!(told.is_empty(), "{told:?}"),
            }
        };
        let app = |name: &str| json!({"matchLabels": {"app": name}});
        check("ReplicaSet", "shop", app("db"), Some("selector of ReplicaSet web matches its Pod template"));
        check("DaemonSet", "shop", json!({"matchLabels": {"tier": "old"}}), Some("matches Pod db-1"));
        check("ReplicationController", "shop", json!({"app": "db"}), Some("ReplicationController web"));
        check("Job", "shop", json!({}), Some("Job web"));
        check("Job", "shop", Value::Null, None);
        check("ReplicaSet", "shop", app("web"), None);
        check("ReplicaSet", "other", app("db"), None);
    }

    #[test]
    fn stateful_sets_that_share_claims_by_their_names_are_found() {
        let check = |others: [Value; 2], managed: &[&str], expected: usize| {
            let managed = managed.iter().map(|name| ("shop".to_owned(), (*name).to_owned())).collect();
            assert_eq!(shared_claims(&others, &managed).len(), expected, "{others:?}");
        };
        let pair = |ordinals| [set("b-c", "1", "a", (0, 3)), set("c", "2", "a-b", ordinals)];
        check(pair((2, 3)), &["c"], 1);
        check(pair((2, 3)), &["b-c"], 1);
        check(pair((2, 3)), &[], 0);
        check(pair((3, 3)), &["c"], 0);
        check([set("b", "1", "a", (0, 3)), set("c", "2", "a", (0, 3))], &["b", "c"], 0);
        let told = shared_claims(&pair((2, 3)), &BTreeSet::from([("shop".to_owned(), "c".to_owned())]));
        assert!(told[0].what.starts_with("PVC a-b-c-2 belongs to StatefulSet c too"), "{told:?}");
    }
}
