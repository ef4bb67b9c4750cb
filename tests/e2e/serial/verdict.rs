//! After all that: what did the operator do to the cluster as a whole?

use std::collections::{BTreeMap, BTreeSet};

use rso::api::annotations::KIND_LABEL;
use serde_json::Value;

use crate::harness::api::{Api, Kind};
use crate::harness::programs::kubectl;
use crate::harness::{audit, operator};

#[tokio::test]
async fn no_request_of_the_operator_was_forbidden_and_none_was_beyond_its_work() {
    let requests = audit::requests_of_the_operator("");
    assert!(!requests.is_empty(), "the audit log holds nothing of the operator");
    let forbidden: BTreeSet<_> = requests
        .iter()
        .filter(|one| one.code == 403 && !one.uri.contains("dryRun"))
        .map(|one| format!("{one:?}"))
        .collect();
    // A namespace that is going, a quota and a policy answer 403 too; a missing right names the resource as a whole.
    let unexplained: Vec<_> = forbidden.iter().filter(|one| !one.contains("e2e-")).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");

    let mut used: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for one in &requests {
        *used.entry((&one.verb, &one.resource)).or_default() += 1;
    }
    println!("what the operator asked: {used:#?}");
    for (verb, resource) in used.keys() {
        assert_ne!(*verb, "deletecollection", "{resource}");
        let deletable = ["statefulsets", "configmaps", "leases"];
        assert!(*verb != "delete" || deletable.contains(resource), "the operator deleted {resource}");
        let exec = resource.contains("/exec") || resource.contains("/proxy");
        assert!(!exec, "the operator used {verb} {resource}");
    }
    // The webhook's certificate.
    let secrets = requests.iter().filter(|one| one.resource == "secrets");
    let foreign: Vec<_> = secrets.filter(|one| one.namespace != operator::NAMESPACE).collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
}

#[tokio::test]
async fn every_right_that_the_chart_grants_was_used() {
    let mut granted = BTreeSet::new();
    let own: [&[&str]; 3] = [
        &["clusterrole", operator::NAME],
        &["clusterrole", "rso-kubelet"],
        &["role", "rso-own", "-n", operator::NAMESPACE],
    ];
    for role in own {
        let text = kubectl(&[&["get"], role, &["-o", "json"]].concat()).await.ok();
        let role: Value = serde_json::from_str(&text).unwrap();
        granted.extend(role["rules"].as_array().unwrap().iter().flat_map(rights));
    }
    let mut used = audit::requests_of_the_operator_to_kubelets();
    used.extend(audit::requests_of_the_operator("").into_iter().map(|one| (one.verb, one.resource)));
    let unused: Vec<_> = granted.difference(&used).collect();
    assert!(unused.is_empty(), "granted and never used: {unused:?}");
}

/// Every (verb, resource) of a rule.
fn rights(rule: &Value) -> Vec<(String, String)> {
    let words = |key: &str| -> Vec<String> { serde_json::from_value(rule[key].clone()).unwrap() };
    let resources = words("resources");
    let of_verb = |verb: String| resources.iter().map(move |resource| (verb.clone(), resource.clone()));
    words("verbs").into_iter().flat_map(of_verb).collect()
}

#[tokio::test]
async fn the_operator_counts_no_restart_that_it_caused_and_keeps_no_journal() {
    let api = Api::connect().await;
    assert!(operator::metric(&api, "rso_pod_restarts_caused_total", "").await.abs() < f64::EPSILON);
    let journals = api.list(Kind::ConfigMap, operator::NAMESPACE, &format!("{KIND_LABEL}=journal")).await;
    let open: Vec<_> = journals.iter().filter(|journal| journal["data"]["phase"] != "Guarded").collect();
    assert!(open.is_empty(), "{open:#?}");
}
