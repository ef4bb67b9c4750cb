//! Which of many sources sets a value? A naive interpreter, which walks down a ranking, is asked too.

use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::api::names::{ClaimName, PolicyName};

/// What each object of a stack says, by key without the prefix. An empty one says nothing.
#[derive(Clone, Debug, Default)]
struct Objects {
    operator_policy: Vec<(&'static str, String)>,
    namespace: Vec<(&'static str, String)>,
    policy: Vec<(&'static str, String)>,
    claim_labels: Vec<(&'static str, String)>,
    claim: Vec<(&'static str, String)>,
    labels: Vec<(&'static str, String)>,
    set: Vec<(&'static str, String)>,
    limits: Limits,
    policy_limits: Limits,
}

fn policy(namespace: &str) -> PolicyName {
    PolicyName { namespace: namespace.to_owned(), name: "default".to_owned() }
}

fn texts(entries: &[(&str, String)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| (format!("{PREFIX}{key}"), value.clone())).collect()
}

fn data() -> TemplateName {
    "data".into()
}

fn claim() -> ClaimName {
    "data-db-0".into()
}

impl Objects {
    fn settings(&self, reversed: bool) -> TemplateSettings {
        let [namespace, claim_labels, claim_annotations, labels, annotations] =
            [&self.namespace, &self.claim_labels, &self.claim, &self.labels, &self.set].map(|entries| texts(entries));
        let mut sources = vec![
            Source::of_policy(&policy("rso-system"), true, &self.operator_policy),
            Source::of_namespace(&namespace),
            Source::of_policy(&policy("shop"), false, &self.policy),
        ];
        sources.extend(Source::of_claim(&claim(), &data(), &claim_annotations, &claim_labels));
        sources.extend(Source::of_set(&annotations, &labels));
        if reversed {
            sources.reverse();
        }
        let policy_limits = [(policy("shop"), self.policy_limits.clone())];
        let names = templates(&["data", "wal"]);
        let stack = Stack { sources: &sources, policy_limits: &policy_limits, templates: &names, limits: &self.limits };
        Settings::of(&stack).0.templates.remove(&data()).unwrap()
    }
}

/// The naive interpreter: for one key, the first place of the ranking that has it in a form that can be read.
fn naive(objects: &Objects, key: &str) -> Option<Origin> {
    let of_template = format!("{key}.data");
    let get = |entries: &[(&'static str, String)], key: &str| {
        entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
    };
    let is_auto = key == "auto-scaled";
    let label =
        |entries, annotations, key: &str| get(entries, key).filter(|_| is_auto && get(annotations, key).is_none());
    let namespace = get(&objects.namespace, key).filter(|_| is_auto);
    let forbids = namespace.as_deref().is_some_and(|value| !["true", "recommend"].contains(&value));
    let own = |key: &str| Origin::Annotation(key.to_owned());
    let mut objects_of_ranking = vec![
        vec![
            (get(&objects.set, &of_template), own(&of_template)),
            (get(&objects.set, key), own(key)),
            (label(&objects.labels, &objects.set, &of_template), Origin::Label(of_template.clone())),
            (label(&objects.labels, &objects.set, key), Origin::Label(key.to_owned())),
        ],
        vec![
            (get(&objects.claim, key), Origin::ClaimAnnotation(claim(), key.to_owned())),
            (label(&objects.claim_labels, &objects.claim, key), Origin::ClaimLabel(claim(), key.to_owned())),
        ],
        vec![(get(&objects.policy, key), Origin::Policy(policy("shop")))],
    ];
    let at = if forbids { 2 } else { 3 };
    objects_of_ranking.insert(at, vec![(namespace, Origin::NamespaceLabel)]);
    objects_of_ranking.push(vec![(get(&objects.operator_policy, key), Origin::OperatorPolicy(policy("rso-system")))]);
    for object in objects_of_ranking {
        if let Some((_, origin)) = object.iter().find(|(value, _)| value.as_deref().is_some_and(|v| reads(key, v))) {
            return Some(origin.clone());
        }
        // Nothing of this object can be read: did it mean to forbid the expansion?
        if is_auto && object.iter().any(|(value, _)| value.is_some()) {
            return None;
        }
    }
    None
}

/// Whether a value of the pool can be read.
fn reads(key: &str, value: &str) -> bool {
    match key {
        "auto-scaled" => ["true", "recommend", "false"].contains(&value),
        "max-size" => ["5Gi", "9Gi", "20Gi"].contains(&value),
        "cooldown" => ["1m", "10m", "1h"].contains(&value),
        _ => value == "70%" || value == "90%",
    }
}

/// The size or the seconds that a value of the pool means.
fn number(value: &str) -> u64 {
    match value {
        "5Gi" => 5,
        "9Gi" => 9,
        "20Gi" => 20,
        "1m" => 60,
        "10m" => 600,
        _ => 3_600,
    }
}

/// The naive interpreter, with the limits: a limit counts where it is stricter, that of the policy before an equal one.
fn naive_within_limits(objects: &Objects, key: &str) -> Option<Origin> {
    let own = naive(objects, key);
    let value = own.as_ref().map(|origin| number(&text_of(objects, origin, key)));
    let by_policy = Origin::PolicyLimit(policy("shop"));
    let strictest = |policies: Option<u64>, flags: Option<u64>, is_stricter: fn(u64, u64) -> bool| {
        let mut best = value;
        let mut origin = own.clone();
        for (limit, from) in [(policies, by_policy.clone()), (flags, Origin::Limit)] {
            if let Some(limit) = limit.filter(|limit| best.is_none_or(|best| is_stricter(*limit, best))) {
                (best, origin) = (Some(limit), Some(from));
            }
        }
        origin
    };
    let gib = |limits: &Limits| limits.max_size.map(|size| size.0 >> 30);
    match key {
        "max-size" => strictest(gib(&objects.policy_limits), gib(&objects.limits), |limit, best| limit < best),
        "cooldown" if value.is_some() => {
            let seconds = |limits: &Limits| Some(limits.min_cooldown.as_secs());
            strictest(seconds(&objects.policy_limits), seconds(&objects.limits), |limit, best| limit > best)
        }
        _ => own,
    }
}

/// The value at an origin.
fn text_of(objects: &Objects, origin: &Origin, key: &str) -> String {
    let (entries, key) = match origin {
        Origin::OperatorPolicy(_) => (&objects.operator_policy, key),
        Origin::NamespaceLabel => (&objects.namespace, key),
        Origin::Policy(_) => (&objects.policy, key),
        Origin::ClaimLabel(_, key) => (&objects.claim_labels, key.as_str()),
        Origin::ClaimAnnotation(_, key) => (&objects.claim, key.as_str()),
        Origin::Label(key) => (&objects.labels, key.as_str()),
        Origin::Annotation(key) => (&objects.set, key.as_str()),
        Origin::PolicyLimit(_) | Origin::Limit => panic!("a limit has no text"),
    };
    entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone()).unwrap()
}

const PLAIN: &[&str] = &["auto-scaled", "max-size", "cooldown", "threshold"];
const WITH_TEMPLATE: &[&str] =
    &["auto-scaled", "auto-scaled.data", "auto-scaled.wal", "max-size", "max-size.data", "cooldown", "threshold.data"];

/// Some of these keys, each with a value that is valid three times of four.
fn entries(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let values = |key: &'static str| {
        let pool: &[&'static str] = match key.split('.').next() {
            Some("auto-scaled") => &["true", "false", "recommend", "flase"],
            Some("max-size") => &["5Gi", "9Gi", "20Gi", "10GB"],
            Some("cooldown") => &["1m", "10m", "1h", "soon"],
            _ => &["70%", "90%", "80", "101%"],
        };
        select(pool).prop_map(move |value: &str| (key, value.to_owned()))
    };
    subsequence(keys, 0..=2).prop_flat_map(move |keys| keys.into_iter().map(values).collect::<Vec<_>>())
}

fn limits() -> impl Strategy<Value = Limits> {
    let size = select(&[None, Some(5), Some(9), Some(15)][..]);
    (size, select(&[0, 60, 900][..])).prop_map(|(size, cooldown)| Limits {
        max_size: size.map(Bytes::gib),
        max_step: None,
        min_cooldown: Duration::from_secs(cooldown),
    })
}

fn objects() -> impl Strategy<Value = Objects> {
    let of_policies = (entries(PLAIN), entries(PLAIN), limits(), limits());
    let others = (entries(PLAIN), entries(PLAIN), entries(PLAIN), entries(WITH_TEMPLATE), entries(WITH_TEMPLATE));
    (of_policies, others).prop_map(|((operator_policy, policy, limits, policy_limits), others)| {
        let (namespace, claim_labels, claim, labels, set) = others;
        Objects { operator_policy, namespace, policy, claim_labels, claim, labels, set, limits, policy_limits }
    })
}

#[test]
fn the_origin_of_each_setting_is_the_one_that_a_naive_interpreter_names_in_1000_random_stacks() {
    let mut runner = TestRunner::deterministic();
    let mut named = BTreeMap::new();
    for _ in 0..1_000 {
        let stack = objects().new_tree(&mut runner).unwrap().current();
        let settings = stack.settings(false);
        assert_eq!(settings, stack.settings(true), "the order of the sources matters: {stack:#?}");
        for key in PLAIN {
            let expected = naive_within_limits(&stack, key);
            assert_eq!(settings.origins.get(*key), expected.as_ref(), "{key}: {stack:#?}");
            let kind = expected.map_or("default".to_owned(), |origin| format!("{origin:?}"));
            *named.entry(kind.split('(').next().unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
    }
    // Each kind of origin wins often enough to have been tried.
    assert!(named.len() == 10 && named.values().all(|times| *times > 20), "{named:?}");
}

#[test]
fn what_an_object_says_is_merged_field_by_field() {
    let say = |entries: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        entries.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
    };
    let stack = Objects {
        operator_policy: say(&[("auto-scaled", "true"), ("threshold", "90%"), ("max-size", "20Gi")]),
        policy: say(&[("max-size", "9Gi"), ("cooldown", "1h")]),
        claim: say(&[("threshold", "70%"), ("resize-0", "99Gi"), ("paused", "true")]),
        set: say(&[("cooldown", "10m")]),
        ..Objects::default()
    };
    let settings = stack.settings(false);
    assert_eq!((settings.auto, settings.threshold), (Auto::On, Percent::whole(70)));
    assert_eq!((settings.max_size, settings.cooldown), (Some(Bytes::gib(9)), Some(Duration::from_secs(600))));
    assert_eq!(settings.requested, None, "a size is requested on the StatefulSet");
}

#[test]
fn a_namespace_that_says_false_is_expanded_by_no_policy() {
    let check = |namespace: &str, policy: &str, set: Option<&str>, expected: Auto| {
        let say = |value: &str| vec![("auto-scaled", value.to_owned())];
        let set = set.map(say).unwrap_or_default();
        let stack = Objects { namespace: say(namespace), policy: say(policy), set, ..Objects::default() };
        assert_eq!(stack.settings(false).auto, expected, "{stack:?}");
    };
    check("true", "recommend", None, Auto::Recommend);
    check("false", "true", None, Auto::Off);
    check("flase", "true", None, Auto::Off);
    check("false", "true", Some("true"), Auto::On);
    check("true", "true", Some("flase"), Auto::Off);
}

#[test]
fn the_strictest_limit_of_policies_and_flags_applies() {
    let limits = |size, step, seconds| Limits {
        max_size: Some(Bytes::gib(size)),
        max_step: step,
        min_cooldown: Duration::from_secs(seconds),
    };
    let stack = Objects {
        limits: limits(9, Some(Bytes::gib(3)), 60),
        policy_limits: limits(20, Some(Bytes::gib(2)), 900),
        ..Objects::default()
    };
    let settings = stack.settings(false);
    assert_eq!((settings.max_size, settings.max_step), (Some(Bytes::gib(9)), Some(Bytes::gib(2))));
    assert_eq!(
        (settings.min_cooldown, settings.origins["max-size"].clone()),
        (Duration::from_secs(900), Origin::Limit)
    );
}
