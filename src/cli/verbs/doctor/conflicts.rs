//! Check for workloads that conflict with a managed StatefulSet: selectors that match its Pods, and StatefulSets whose PVCs
//! have the same names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Context;
use super::findings::Finding;
use crate::api::objects::{PODS, Resource};
use crate::cluster::client::Error;
use crate::recreate::rivals::selects;
use crate::workload::statefulset::StatefulSetView;

const REPLICA_SETS: Resource = Resource { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets" };
const DAEMON_SETS: Resource = Resource { group: "apps", version: "v1", kind: "DaemonSet", plural: "daemonsets" };
const REPLICATION_CONTROLLERS: Resource =
    Resource { group: "", version: "v1", kind: "ReplicationController", plural: "replicationcontrollers" };
const JOBS: Resource = Resource { group: "batch", version: "v1", kind: "Job", plural: "jobs" };

type Labels = BTreeMap<String, String>;

pub(super) async fn check(context: &Context<'_>) -> Result<Vec<Finding>, Error> {
    let managed: BTreeSet<(String, String)> =
        context.managed().map(|set| (set.name.namespace, set.name.name)).collect();
    let mut findings = shared_claims(&context.sets, &managed);
    if !managed.is_empty() {
        findings.extend(overlaps(context, &managed).await?);
    }
    if findings.is_empty() {
        findings.push(Finding::good("workloads", "no other workload selects the Pods of a managed StatefulSet"));
    }
    Ok(findings)
}

async fn overlaps(context: &Context<'_>, managed: &BTreeSet<(String, String)>) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut others: Vec<(&str, Value)> = context.sets.iter().map(|set| ("StatefulSet", set.clone())).collect();
    let kinds: [&'static Resource; 4] = [&REPLICA_SETS, &REPLICATION_CONTROLLERS, &DAEMON_SETS, &JOBS];
    for kind in kinds {
        match context.all(kind, context.namespace).await {
            Ok(all) => others.extend(all.into_iter().map(|object| (kind.kind, object))),
            Err(error @ Error::NotAllowed { .. }) => findings.push(Finding::unknown("workloads", &error)),
            Err(error) => return Err(error),
        }
    }
    let pods = match context.all(&PODS, context.namespace).await {
        Ok(pods) => pods,
        Err(error @ Error::NotAllowed { .. }) => {
            findings.push(Finding::unknown("workloads", &error));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let ours = context.sets.iter().filter(|set| managed.contains(&place(set)));
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
        let (matched, _) = targets.iter().find(|(_, labels)| selects(&other["spec"]["selector"], labels))?;
        let other = format!("{kind} {}", place(other).1);
        let what = format!("the selector of {other} matches {matched}: {other} can take over the Pods and delete them");
        let fix = format!(
            "Give {other} another label in its selector and its Pod template (selectors are immutable, so recreate it), or \
             delete it. Until then, do not let rso recreate {name}: kubectl annotate statefulset {name} -n {namespace} \
             resize-statefulset-operator/template-sync=Never"
        );
        Some(Finding::problem(format!("StatefulSet {namespace}/{name}"), what, fix))
    };
    others.iter().filter_map(rival).collect()
}

fn labels(of: &Value) -> Labels {
    let labels = of["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// StatefulSets whose PVCs have the same names, such as template `a` of `b-c` and template `a-b` of `c`: they share volumes.
fn shared_claims(sets: &[Value], managed: &BTreeSet<(String, String)>) -> Vec<Finding> {
    let views = sets.iter().filter_map(StatefulSetView::read);
    let mut users: BTreeMap<(String, String), Vec<StatefulSetView>> = BTreeMap::new();
    for set in views {
        for template in set.template_names() {
            let prefix = format!("{template}-{}", set.name.name);
            users.entry((set.name.namespace.clone(), prefix)).or_default().push(set.clone());
        }
    }
    let pairs = users.iter().flat_map(|((namespace, prefix), sets)| {
        let is_managed = |set: &StatefulSetView| managed.contains(&(namespace.clone(), set.name.name.clone()));
        let pairs =
            sets.iter().enumerate().flat_map(|(at, one)| sets.iter().skip(at + 1).map(move |other| (one, other)));
        pairs
            .filter(move |(one, other)| is_managed(one) || is_managed(other))
            .filter_map(|(one, other)| shared(prefix, one, other))
    });
    pairs.collect()
}

/// The finding about two StatefulSets with the same prefix of their PVCs, if an ordinal is in both.
fn shared(prefix: &str, one: &StatefulSetView, other: &StatefulSetView) -> Option<Finding> {
    let first = one.ordinals.start.max(other.ordinals.start);
    (first < one.ordinals.end.min(other.ordinals.end)).then(|| {
        let what = format!(
            "PVC {prefix}-{first} also belongs to StatefulSet {}: both use the same volumes, and rso expands them for either one",
            other.name.name
        );
        let fix = "Rename one of the StatefulSets, or its volumeClaimTemplate, and move its data.";
        Finding::problem(format!("StatefulSet {}", one.name), what, fix)
    })
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
    fn a_workload_that_selects_the_pods_is_reported_with_what_it_selects() {
        let db = set("db", "db", "data", (0, 2));
        let pod = json!({"metadata": {
            "namespace": "shop", "name": "db-1", "labels": {"app": "db", "tier": "old"},
            "ownerReferences": [{"uid": "uid-db"}],
        }});
        let check = |kind: &str, namespace: &str, selector: Value, expected: Option<&str>| {
            let other = json!({"metadata": {"namespace": namespace, "name": "web", "uid": "x"}, "spec": {"selector": selector}});
            let found = rivals(&db, &[("StatefulSet", db.clone()), (kind, other)], std::slice::from_ref(&pod));
            let whats: Vec<_> = found.iter().map(|finding| finding.what.as_str()).collect();
            match expected {
                Some(words) => assert!(matches!(whats[..], [one] if one.contains(words)), "{whats:?}"),
                None => assert!(whats.is_empty(), "{whats:?}"),
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
    fn statefulsets_whose_pvcs_have_the_same_names_are_reported() {
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
        let found = shared_claims(&pair((2, 3)), &BTreeSet::from([("shop".to_owned(), "c".to_owned())]));
        assert!(found[0].what.starts_with("PVC a-b-c-2 also belongs to StatefulSet c"), "{found:?}");
    }
}
