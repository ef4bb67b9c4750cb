//! The sources of settings: each is an object with its keys, and the sources of one StatefulSet make a [`Stack`].

use std::collections::BTreeMap;

use super::Limits;
use crate::api::annotations::PREFIX;
use crate::api::names::{ClaimName, PolicyName, TemplateName};
use crate::policy::overrides::Origin;

/// Where the keys of a source are written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "the operator does not watch policies yet"))]
enum Place {
    /// A PVCPolicy in the namespace of the operator.
    OperatorPolicy(PolicyName),
    /// The label `auto-scaled` of the namespace.
    NamespaceLabel,
    /// A PVCPolicy in the namespace of the PVC.
    Policy(PolicyName),
    /// The labels of a PVC of this template.
    ClaimLabels(ClaimName, TemplateName),
    /// The annotations of a PVC of this template.
    ClaimAnnotations(ClaimName, TemplateName),
    /// The labels of the StatefulSet.
    Labels,
    /// The annotations of the StatefulSet.
    Annotations,
}

/// One object with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    place: Place,
    /// The keys without the prefix, with their values.
    keys: Vec<(&'a str, &'a str)>,
}

/// What a StatefulSet with these templates is configured by.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// The sources, in any order: each has a precedence of its own.
    pub sources: &'a [Source<'a>],
    /// The limits of every PVCPolicy that selects one of its PVCs: the strictest applies.
    pub policy_limits: &'a [(PolicyName, Limits)],
    /// The templates, in the order of `volumeClaimTemplates`.
    pub templates: &'a [TemplateName],
    /// The administrator's limits.
    pub limits: &'a Limits,
}

type Texts = BTreeMap<String, String>;

/// The key, without the prefix, if it is one of rso.
fn ours<'a>((full, value): (&'a String, &'a String)) -> Option<(&'a str, &'a str)> {
    Some((full.strip_prefix(PREFIX)?, value.as_str()))
}

/// The labels that count: `auto-scaled`, where the object has no annotation of the same key.
fn of_labels<'a>(labels: &'a Texts, annotations: &Texts) -> Vec<(&'a str, &'a str)> {
    let visible = labels.iter().filter(|(full, _)| !annotations.contains_key(*full));
    visible.filter_map(ours).filter(|(key, _)| key.split('.').next() == Some("auto-scaled")).collect()
}

impl<'a> Source<'a> {
    /// The labels and the annotations of a StatefulSet.
    pub fn of_set(annotations: &'a Texts, labels: &'a Texts) -> [Self; 2] {
        [
            Self { place: Place::Labels, keys: of_labels(labels, annotations) },
            Self { place: Place::Annotations, keys: annotations.iter().filter_map(ours).collect() },
        ]
    }

    /// The labels and the annotations of a PVC of this template.
    #[cfg(feature = "testing")]
    pub fn of_claim(
        claim: &ClaimName,
        template: &TemplateName,
        annotations: &'a Texts,
        labels: &'a Texts,
    ) -> [Self; 2] {
        let (labelled, annotated) = (Place::ClaimLabels, Place::ClaimAnnotations);
        [
            Self { place: labelled(claim.clone(), template.clone()), keys: of_labels(labels, annotations) },
            Self {
                place: annotated(claim.clone(), template.clone()),
                keys: annotations.iter().filter_map(ours).collect(),
            },
        ]
    }

    /// The labels of a namespace, of which only `auto-scaled` counts.
    #[cfg(feature = "testing")]
    pub fn of_namespace(labels: &'a Texts) -> Self {
        let keys = labels.iter().filter_map(ours).filter(|(key, _)| *key == "auto-scaled").collect();
        Self { place: Place::NamespaceLabel, keys }
    }

    /// The settings of a policy, by key; `is_operators`: it is in the namespace of the operator.
    #[cfg(feature = "testing")]
    pub fn of_policy(name: &PolicyName, is_operators: bool, keys: &'a [(&'static str, String)]) -> Self {
        let place = if is_operators { Place::OperatorPolicy(name.clone()) } else { Place::Policy(name.clone()) };
        Self { place, keys: keys.iter().map(|(key, value)| (*key, value.as_str())).collect() }
    }

    /// The keys without the prefix, with their values.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.keys.iter().copied()
    }

    /// The origin of a setting with this key.
    pub(super) fn origin(&self, key: &str) -> Origin {
        match &self.place {
            Place::OperatorPolicy(name) => Origin::OperatorPolicy(name.clone()),
            Place::NamespaceLabel => Origin::NamespaceLabel,
            Place::Policy(name) => Origin::Policy(name.clone()),
            Place::ClaimLabels(claim, _) => Origin::ClaimLabel(claim.clone(), key.to_owned()),
            Place::ClaimAnnotations(claim, _) => Origin::ClaimAnnotation(claim.clone(), key.to_owned()),
            Place::Labels => Origin::Label(key.to_owned()),
            Place::Annotations => Origin::Annotation(key.to_owned()),
        }
    }

    /// Whether its keys are those of a StatefulSet, which apply to it as a whole or to one of its templates.
    pub(super) const fn is_set(&self) -> bool {
        match self.place {
            Place::Labels | Place::Annotations => true,
            Place::OperatorPolicy(_)
            | Place::NamespaceLabel
            | Place::Policy(_)
            | Place::ClaimLabels(..)
            | Place::ClaimAnnotations(..) => false,
        }
    }

    /// Whether it is a policy, which has no key of a StatefulSet but `template-sync`.
    pub(super) const fn is_policy(&self) -> bool {
        match self.place {
            Place::OperatorPolicy(_) | Place::Policy(_) => true,
            Place::NamespaceLabel
            | Place::ClaimLabels(..)
            | Place::ClaimAnnotations(..)
            | Place::Labels
            | Place::Annotations => false,
        }
    }

    /// The template to which its settings apply; `None`: to all.
    pub(super) const fn template(&self) -> Option<&TemplateName> {
        match &self.place {
            Place::ClaimLabels(_, template) | Place::ClaimAnnotations(_, template) => Some(template),
            Place::OperatorPolicy(_)
            | Place::NamespaceLabel
            | Place::Policy(_)
            | Place::Labels
            | Place::Annotations => None,
        }
    }
}
