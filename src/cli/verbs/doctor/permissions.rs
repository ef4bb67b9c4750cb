//! Check that the operator has the permissions it needs.

use std::collections::BTreeSet;

use futures::stream::{StreamExt, TryStreamExt, iter};
use serde_json::{Value, json};

use super::Context;
use super::findings::Finding;
use crate::api::objects::Resource;
use crate::api::write::Write;
use crate::cluster::client::Error;

const REVIEWS: Resource = Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
};

/// The largest number of reviews at the same time.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// Some verbs on a kind: API group, resource, verbs.
type Rule = (&'static str, &'static str, &'static [&'static str]);

/// The permissions that the operator needs in a namespace that it watches. The same as in the chart.
const NEEDED: [Rule; 11] = [
    ("apps", "statefulsets", &["get", "list", "watch", "patch", "create", "delete"]),
    ("", "persistentvolumeclaims", &["list", "watch", "patch"]),
    ("", "pods", &["list", "watch", "patch"]),
    ("apps", "controllerrevisions", &["list", "patch"]),
    ("apps", "replicasets", &["list"]),
    ("apps", "daemonsets", &["list"]),
    ("", "replicationcontrollers", &["list"]),
    ("batch", "jobs", &["list"]),
    ("", "configmaps", &["get", "list", "create", "delete"]),
    ("events.k8s.io", "events", &["create", "patch"]),
    ("", "namespaces", &["get"]),
];

/// The permissions that it needs in its own namespace, for journals. Those for the Lease are not checked: without them, the
/// operator does nothing at all, which is obvious.
const OWN: [Rule; 1] = [("", "configmaps", &["list", "watch", "create", "update", "delete"])];

/// Reviews the permissions of the operator's ServiceAccount in each namespace with a managed StatefulSet.
pub(super) async fn check(context: &Context<'_>) -> Vec<Finding> {
    let namespaces: BTreeSet<String> = context.managed().map(|set| set.name.namespace).collect();
    if namespaces.is_empty() {
        return vec![finding(&[])];
    }
    let everywhere = namespaces.iter().flat_map(|namespace| NEEDED.map(|rule| (namespace.as_str(), rule)));
    let needed: Vec<(&str, Rule)> = everywhere.chain(OWN.map(|rule| (context.operator_namespace, rule))).collect();
    let reviews =
        iter(needed).map(|(namespace, rule)| missing(context, namespace, rule)).buffered(MAX_CONCURRENT_REQUESTS);
    match reviews.try_collect::<Vec<Option<String>>>().await {
        Ok(missing) => vec![finding(&missing.into_iter().flatten().collect::<Vec<_>>())],
        Err(error) => vec![Finding::unknown("permissions", &error)],
    }
}

fn finding(missing: &[String]) -> Finding {
    if missing.is_empty() {
        return Finding::good("permissions", "the operator has the permissions that it needs");
    }
    let fix = "Leave watchNamespaces of the release empty, or add these namespaces to it. Then run helm upgrade, which restores \
               the roles.";
    Finding::problem("permissions", format!("the operator may not {}", missing.join(", ")), fix)
}

/// The verbs of a rule that the operator may not use in a namespace.
async fn missing(context: &Context<'_>, namespace: &str, rule: Rule) -> Result<Option<String>, Error> {
    let (group, resource, verbs) = rule;
    let mut missing = Vec::new();
    for verb in verbs {
        let attributes = json!({ "namespace": namespace, "verb": verb, "group": group, "resource": resource });
        let review = review(context, &attributes);
        let reviewed = context.client.write(&Write::create(&REVIEWS, None, review)).await?.done().unwrap_or_default();
        if reviewed["status"]["allowed"] != true {
            missing.push(*verb);
        }
    }
    Ok((!missing.is_empty()).then(|| format!("{} {resource} in {namespace}", missing.join("/"))))
}

fn review(context: &Context<'_>, attributes: &Value) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{}:{}", context.operator_namespace, context.release),
            "resourceAttributes": attributes,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (API group, resource, verb)
    type Permission = (String, String, String);

    /// The permissions that a template of the chart grants without a condition and for all objects. A rule has one line for
    /// each list.
    fn granted(template: &str) -> BTreeSet<Permission> {
        let chart = include_str!("../../../../chart/templates/_rules.tpl");
        let (_, text) = chart.split_once(&format!("{{{{- define \"{template}\" -}}}}\n")).unwrap();
        let always: Vec<&str> = text.lines().take_while(|line| !line.starts_with("{{-")).collect();
        let rules =
            always.split(|line| line.starts_with('#')).flat_map(|rules| rules.chunk_by(|_, next| !is_first(next)));
        rules.filter(|rule| !rule.concat().contains("resourceNames:")).flat_map(permissions_of).collect()
    }

    fn is_first(line: &str) -> bool {
        line.starts_with("- ")
    }

    fn permissions_of(rule: &[&str]) -> Vec<Permission> {
        let [groups, resources, verbs] = rule else { panic!("not a rule of three lines: {rule:?}") };
        let groups = words(groups, "- apiGroups: ");
        let [group] = groups.as_slice() else { panic!("not one group: {groups:?}") };
        let verbs = words(verbs, "  verbs: ");
        let of = |resource: &String| -> Vec<Permission> {
            verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())).collect()
        };
        words(resources, "  resources: ").iter().flat_map(of).collect()
    }

    fn words(line: &str, key: &str) -> Vec<String> {
        let list = line.strip_prefix(key).and_then(|list| list.strip_prefix('[')?.strip_suffix(']'));
        let list = list.unwrap_or_else(|| panic!("not a list of `{key}`: {line}"));
        list.split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
    }

    fn checked(rules: &[Rule]) -> BTreeSet<Permission> {
        let permissions = |(group, resource, verbs): &Rule| -> Vec<Permission> {
            verbs.iter().map(|verb| ((*group).to_owned(), (*resource).to_owned(), (*verb).to_owned())).collect()
        };
        rules.iter().flat_map(permissions).collect()
    }

    #[test]
    fn the_chart_grants_exactly_the_permissions_that_are_checked() {
        assert_eq!(checked(&NEEDED), granted("rso.rules.sets"));
        let mut own = granted("rso.rules.own");
        own.retain(|(_, resource, _)| resource != "leases");
        assert_eq!(checked(&OWN), own);
    }

    #[test]
    fn missing_permissions_are_named_with_what_to_do() {
        let missing = finding(&["list jobs in shop".to_owned(), "list/patch pods in shop".to_owned()]);
        assert_eq!(missing.what, "the operator may not list jobs in shop, list/patch pods in shop");
        assert!(missing.fix.is_some_and(|fix| fix.contains("watchNamespaces")));
        assert_eq!(finding(&[]), Finding::good("permissions", "the operator has the permissions that it needs"));
    }
}
