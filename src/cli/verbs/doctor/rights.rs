//! May the operator do what it has to?

use std::collections::BTreeSet;

use futures::stream::{StreamExt, TryStreamExt, iter};
use serde_json::{Value, json};

use super::Practice;
use super::findings::Finding;
use crate::cluster::client::{Error, Resource, Run};

const REVIEWS: Resource = Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
};

/// Reviews that are asked at a time.
const AT_ONCE: usize = 8;

/// Some verbs on a kind: API group, resource, verbs.
type Rule = (&'static str, &'static str, &'static [&'static str]);

/// What the operator cannot do without, in a namespace that it looks after. The same as in the chart.
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

/// And in its own: journals. Without a lease it would do nothing at all, which shows anyway.
const OWN: [Rule; 1] = [("", "configmaps", &["list", "watch", "create", "update", "delete"])];

/// Whether the operator's account may do what it has to, where there is something to do.
pub(super) async fn look(practice: &Practice<'_>) -> Vec<Finding> {
    let namespaces: BTreeSet<String> = practice.managed().map(|set| set.name.namespace).collect();
    if namespaces.is_empty() {
        return vec![told(&[])];
    }
    let everywhere = namespaces.iter().flat_map(|namespace| NEEDED.map(|rule| (namespace.as_str(), rule)));
    let asked: Vec<(&str, Rule)> = everywhere.chain(OWN.map(|rule| (practice.own, rule))).collect();
    let answers = iter(asked).map(|(namespace, rule)| missing(practice, namespace, rule)).buffered(AT_ONCE);
    match answers.try_collect::<Vec<Option<String>>>().await {
        Ok(missing) => vec![told(&missing.into_iter().flatten().collect::<Vec<_>>())],
        Err(error) => vec![Finding::unknown("rights", &error)],
    }
}

fn told(missing: &[String]) -> Finding {
    if missing.is_empty() {
        return Finding::good("rights", "the operator may do what it has to");
    }
    let fix = "Let it look after these namespaces: leave watchNamespaces empty, or add them. Then upgrade the release, \
               which puts its roles back.";
    Finding::problem("rights", format!("the operator may not {}", missing.join(", ")), fix)
}

/// What of a rule the operator may not do in a namespace.
async fn missing(practice: &Practice<'_>, namespace: &str, rule: Rule) -> Result<Option<String>, Error> {
    let (group, resource, verbs) = rule;
    let mut missing = Vec::new();
    for verb in verbs {
        let attributes = json!({ "namespace": namespace, "verb": verb, "group": group, "resource": resource });
        let review = review(practice, &attributes);
        let answer = practice.client.create(&REVIEWS, None, &review, Run::Real).await?.done().unwrap_or_default();
        if answer["status"]["allowed"] != true {
            missing.push(*verb);
        }
    }
    Ok((!missing.is_empty()).then(|| format!("{} {resource} in {namespace}", missing.join("/"))))
}

fn review(practice: &Practice<'_>, attributes: &Value) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{}:{}", practice.own, practice.release),
            "resourceAttributes": attributes,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (API group, resource, verb)
    type Right = (String, String, String);

    /// The rights that a template of the chart grants always, and not to one object alone. A rule has its lists on a line
    /// each.
    fn granted(template: &str) -> BTreeSet<Right> {
        let chart = include_str!("../../../../chart/templates/_rules.tpl");
        let (_, text) = chart.split_once(&format!("{{{{- define \"{template}\" -}}}}\n")).unwrap();
        let always: Vec<&str> = text.lines().take_while(|line| !line.starts_with("{{-")).collect();
        let rules =
            always.split(|line| line.starts_with('#')).flat_map(|rules| rules.chunk_by(|_, next| !is_first(next)));
        rules.filter(|rule| !rule.concat().contains("resourceNames:")).flat_map(rights_of).collect()
    }

    fn is_first(line: &str) -> bool {
        line.starts_with("- ")
    }

    fn rights_of(rule: &[&str]) -> Vec<Right> {
        let [groups, resources, verbs] = rule else { panic!("not a rule of three lines: {rule:?}") };
        let groups = words(groups, "- apiGroups: ");
        let [group] = groups.as_slice() else { panic!("not one group: {groups:?}") };
        let verbs = words(verbs, "  verbs: ");
        let of = |resource: &String| -> Vec<Right> {
            verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())).collect()
        };
        words(resources, "  resources: ").iter().flat_map(of).collect()
    }

    fn words(line: &str, key: &str) -> Vec<String> {
        let list = line.strip_prefix(key).and_then(|list| list.strip_prefix('[')?.strip_suffix(']'));
        let list = list.unwrap_or_else(|| panic!("not a list of `{key}`: {line}"));
        list.split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
    }

    fn asked(rules: &[Rule]) -> BTreeSet<Right> {
        let rights = |(group, resource, verbs): &Rule| -> Vec<Right> {
            verbs.iter().map(|verb| ((*group).to_owned(), (*resource).to_owned(), (*verb).to_owned())).collect()
        };
        rules.iter().flat_map(rights).collect()
    }

    #[test]
    fn what_the_chart_grants_is_what_is_asked_for() {
        assert_eq!(asked(&NEEDED), granted("rso.rules.sets"));
        let mut own = granted("rso.rules.own");
        own.retain(|(_, resource, _)| resource != "leases");
        assert_eq!(asked(&OWN), own);
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let finding = told(&["list jobs in shop".to_owned(), "list/patch pods in shop".to_owned()]);
        assert_eq!(finding.what, "the operator may not list jobs in shop, list/patch pods in shop");
        assert!(finding.fix.is_some_and(|fix| fix.contains("watchNamespaces")));
        assert_eq!(told(&[]), Finding::good("rights", "the operator may do what it has to"));
    }
}
