//! The policies that apply to a PVC: which one wins at each level, which ones lose, and whose limits apply.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::pvc_policy::Policy;
use super::settings::Limits;
use crate::api::names::PolicyName;

/// A PVC, as a policy selects it.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The labels of its namespace.
    pub namespace_labels: &'a BTreeMap<String, String>,
    /// The policy of its namespace that it names itself: that one wins, regardless of selector and priority.
    pub named: Option<&'a str>,
}

/// The policies that apply to a PVC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Governing<'a> {
    /// The one of its namespace that wins.
    pub own: Option<&'a Policy>,
    /// The one of the operator's namespace that wins. The other has precedence over it, field by field.
    pub operators: Option<&'a Policy>,
    /// Those that select it and do not win, the strongest first.
    pub overridden: Vec<&'a Policy>,
    /// The limits of all that select it, in the order of their names.
    pub limits: Vec<(PolicyName, Limits)>,
}

/// The policies that apply to a PVC, of all that exist, in any order.
///
/// A policy in the operator's namespace applies to every namespace that it selects, another only to its own.
pub fn governing<'a>(claim: &Selected<'_>, operator_namespace: &str, policies: &'a [Policy]) -> Governing<'a> {
    let is_operators = |policy: &Policy| policy.name.namespace == operator_namespace;
    let mut matching: Vec<&Policy> =
        policies.iter().filter(|policy| selects(policy, claim, is_operators(policy))).collect();
    matching.sort_by_key(|policy| rank(policy, claim));
    let own = matching.iter().copied().find(|policy| !is_operators(policy));
    let operators = matching.iter().copied().find(|policy| is_operators(policy));
    let wins = |policy: &&&Policy| [own, operators].contains(&Some(**policy));
    let overridden = matching.iter().filter(|policy| !wins(policy)).copied().collect();
    let mut limits: Vec<_> = matching.iter().map(|policy| (policy.name.clone(), policy.limits.clone())).collect();
    limits.sort_by(|(one, _), (other, _)| one.cmp(other));
    Governing { own, operators, overridden, limits }
}

fn selects(policy: &Policy, claim: &Selected<'_>, is_operators: bool) -> bool {
    let by_namespace = match (&policy.namespaces, is_operators) {
        (None, true) => true,
        (Some(namespaces), true) => namespaces.selects(claim.namespace_labels),
        (None, false) => policy.name.namespace == claim.namespace,
        // It has no meaning there: its author expects another effect.
        (Some(_), false) => false,
    };
    by_namespace && (is_named(policy, claim) || policy.selector.selects(claim.labels))
}

fn is_named(policy: &Policy, claim: &Selected<'_>) -> bool {
    policy.name.namespace == claim.namespace && claim.named == Some(policy.name.name.as_str())
}

/// The order of precedence, the strongest first: the one that the PVC names, the largest priority, the oldest, the first by
/// name. A policy without a time was never stored; it is the newest.
fn rank<'a>(
    policy: &'a Policy,
    claim: &Selected<'_>,
) -> (Reverse<bool>, Reverse<u16>, jiff::Timestamp, &'a PolicyName) {
    let created = policy.created.unwrap_or(jiff::Timestamp::MAX);
    (Reverse(is_named(policy, claim)), Reverse(policy.priority), created, &policy.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn policy(namespace: &str, name: &str, priority: u16, created: i64, spec: serde_json::Value) -> Policy {
        let created = jiff::Timestamp::from_second(created).unwrap();
        let mut object = json!({
            "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created.to_string()}, "spec": spec,
        });
        object["spec"]["priority"] = priority.into();
        let (policy, errors) = Policy::read(&object).unwrap();
        assert_eq!(errors, []);
        policy
    }

    fn all() -> serde_json::Value {
        json!({"selector": {}, "limits": {"maxSize": "1Ti"}})
    }

    fn labels(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// The names of the winners and of the losers for a PVC in `shop` with the label `app: db`.
    fn names(policies: &[Policy], named: Option<&str>) -> (Option<String>, Option<String>, Vec<String>) {
        let (labels, namespace_labels) = (labels(&[("app", "db")]), labels(&[("team", "a")]));
        let claim = Selected { namespace: "shop", labels: &labels, namespace_labels: &namespace_labels, named };
        let Governing { own, operators, overridden, limits } = governing(&claim, "rso-system", policies);
        let name = |policy: &Policy| policy.name.to_string();
        assert_eq!(limits.len(), overridden.len() + usize::from(own.is_some()) + usize::from(operators.is_some()));
        (own.map(name), operators.map(name), overridden.into_iter().map(name).collect())
    }

    #[test]
    fn the_highest_priority_wins_then_the_older_then_the_name() {
        let check = |policies: &[(&str, u16, i64)], expected: &str| {
            let policies: Vec<Policy> = policies
                .iter()
                .map(|(name, priority, created)| policy("shop", name, *priority, *created, all()))
                .collect();
            assert_eq!(names(&policies, None).0.as_deref(), Some(expected));
        };
        check(&[("a", 0, 5), ("b", 10, 9)], "shop/b");
        check(&[("a", 7, 9), ("b", 7, 5)], "shop/b");
        check(&[("b", 7, 5), ("a", 7, 5)], "shop/a");
    }

    #[test]
    fn a_policy_reaches_its_own_namespace_and_one_of_the_operators_all_that_it_selects() {
        let of_team = |team: &str| {
            let mut spec = all();
            spec["namespaceSelector"] = json!({"matchLabels": {"team": team}});
            spec
        };
        let check = |policies: &[Policy], own: Option<&str>, operators: Option<&str>| {
            let (found, found_operators, _) = names(policies, None);
            assert_eq!((found.as_deref(), found_operators.as_deref()), (own, operators));
        };
        check(&[policy("shop", "a", 0, 1, all())], Some("shop/a"), None);
        check(&[policy("other", "a", 0, 1, all())], None, None);
        check(&[policy("rso-system", "a", 0, 1, all())], None, Some("rso-system/a"));
        check(&[policy("rso-system", "a", 0, 1, of_team("a"))], None, Some("rso-system/a"));
        check(&[policy("rso-system", "a", 0, 1, of_team("b"))], None, None);
        // A selector of namespaces has no meaning in another namespace.
        check(&[policy("shop", "a", 0, 1, of_team("a"))], None, None);
        let both = [policy("shop", "a", 0, 1, all()), policy("rso-system", "b", 9, 1, all())];
        check(&both, Some("shop/a"), Some("rso-system/b"));
    }

    #[test]
    fn a_pvc_can_name_a_policy_of_its_namespace() {
        let mut web = all();
        web["selector"] = json!({"matchLabels": {"app": "web"}});
        let policies = [
            policy("shop", "named", 0, 9, web),
            policy("shop", "other", 9, 1, all()),
            policy("other", "named", 0, 1, all()),
        ];
        assert_eq!(names(&policies, None).0.as_deref(), Some("shop/other"));
        let (own, _, overridden) = names(&policies, Some("named"));
        assert_eq!((own.as_deref(), overridden), (Some("shop/named"), vec!["shop/other".to_owned()]));
        assert_eq!(names(&policies, Some("absent")).0.as_deref(), Some("shop/other"));
    }

    proptest! {
        #[test]
        fn the_order_of_the_policies_does_not_matter(
            given in prop::collection::vec((0..3_u8, 0..3_u16, 0..3_i64, 0..4_u8, any::<bool>()), 0..8),
            shuffle in any::<prop::sample::Index>(),
        ) {
            let mut policies: Vec<Policy> = Vec::new();
            for (namespace, priority, created, name, selects) in given {
                let (namespace, name) = (["shop", "rso-system", "other"][usize::from(namespace)], format!("p{name}"));
                let mut spec = all();
                if !selects {
                    spec["selector"] = json!({"matchLabels": {"app": "web"}});
                }
                let new = policy(namespace, &name, priority, created, spec);
                if policies.iter().all(|known| known.name != new.name) {
                    policies.push(new);
                }
            }
            let expected = names(&policies, Some("p1"));
            if !policies.is_empty() {
                let middle = shuffle.index(policies.len());
                policies.rotate_left(middle);
            }
            prop_assert_eq!(&names(&policies, Some("p1")), &expected);
            policies.reverse();
            prop_assert_eq!(&names(&policies, Some("p1")), &expected);
        }
    }
}
