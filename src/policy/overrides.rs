//! Settings as layers: each layer is one setting from one source, and [`merge`] decides which source has precedence.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::values::{Auto, Increase, Request, TemplateSync};
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::{ClaimName, PolicyName, TemplateName};

/// The source of a setting, if it is not the default. A later variant has precedence over an earlier one, with one
/// exception: a namespace whose label says `false` is not expanded by any policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A PVCPolicy in the namespace of the operator.
    OperatorPolicy(PolicyName),
    /// The label `auto-scaled` of the namespace.
    NamespaceLabel,
    /// A PVCPolicy in the namespace of the PVC.
    Policy(PolicyName),
    /// A label of a PVC.
    ClaimLabel(ClaimName, String),
    /// An annotation of a PVC.
    ClaimAnnotation(ClaimName, String),
    /// A label of the StatefulSet, without the prefix.
    Label(String),
    /// An annotation of the StatefulSet, without the prefix.
    Annotation(String),
    /// The limit of a PVCPolicy, which is stricter than the setting.
    PolicyLimit(PolicyName),
    /// The administrator's limit, which is stricter than the StatefulSet's own setting.
    Limit,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OperatorPolicy(name) | Self::Policy(name) => write!(f, "PVCPolicy {name}"),
            Self::NamespaceLabel => f.write_str("label auto-scaled of the namespace"),
            Self::ClaimLabel(claim, key) => write!(f, "label {key} of PVC {claim}"),
            Self::ClaimAnnotation(claim, key) => write!(f, "annotation {key} of PVC {claim}"),
            Self::Label(key) => write!(f, "label {key}"),
            Self::Annotation(key) => write!(f, "annotation {key}"),
            Self::PolicyLimit(name) => write!(f, "limit of PVCPolicy {name}"),
            Self::Limit => f.write_str("limit of the administrator"),
        }
    }
}

/// The object that has a setting. A later variant has precedence over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    OperatorPolicy,
    Namespace,
    Policy,
    /// A namespace that forbids expansion by usage.
    NamespaceOff,
    Claim,
    StatefulSet,
    Limits,
}

impl Origin {
    const fn level(&self) -> Level {
        match self {
            Self::OperatorPolicy(_) => Level::OperatorPolicy,
            Self::NamespaceLabel => Level::Namespace,
            Self::Policy(_) => Level::Policy,
            Self::ClaimLabel(..) | Self::ClaimAnnotation(..) => Level::Claim,
            Self::Label(_) | Self::Annotation(_) => Level::StatefulSet,
            Self::PolicyLimit(_) | Self::Limit => Level::Limits,
        }
    }

    const fn is_label(&self) -> bool {
        match self {
            Self::NamespaceLabel | Self::ClaimLabel(..) | Self::Label(_) => true,
            Self::OperatorPolicy(_)
            | Self::Policy(_)
            | Self::ClaimAnnotation(..)
            | Self::Annotation(_)
            | Self::PolicyLimit(_)
            | Self::Limit => false,
        }
    }
}

/// The value of one setting; the variant says which setting it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    AutoScaled(Auto),
    /// An invalid `auto-scaled`: it may have been meant to forbid the expansion that a weaker level permits.
    InvalidAutoScaled,
    Threshold(Percent),
    InodesThreshold(Percent),
    Increase(Increase),
    MinIncrease(Bytes),
    MaxSize(Bytes),
    Cooldown(Duration),
    LeadTime(Duration),
    Rescue(bool),
    TemplateSync(TemplateSync),
    Paused(bool),
    AllowOwner(String),
    /// A requested size: the largest one counts, regardless of its source.
    Request(Request),
}

impl Value {
    /// The key of the setting, without the template.
    pub(super) const fn key(&self) -> &'static str {
        match self {
            Self::AutoScaled(_) | Self::InvalidAutoScaled => "auto-scaled",
            Self::Threshold(_) => "threshold",
            Self::InodesThreshold(_) => "inodes-threshold",
            Self::Increase(_) => "increase",
            Self::MinIncrease(_) => "min-increase",
            Self::MaxSize(_) => "max-size",
            Self::Cooldown(_) => "cooldown",
            Self::LeadTime(_) => "lead-time",
            Self::Rescue(_) => "rescue",
            Self::TemplateSync(_) => "template-sync",
            Self::Paused(_) => "paused",
            Self::AllowOwner(_) => "allow-owner",
            Self::Request(_) => "resize",
        }
    }
}

/// One setting from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// Where it comes from.
    pub(super) origin: Origin,
    /// The template to which it applies; `None`: to the StatefulSet and all of its templates.
    pub(super) template: Option<TemplateName>,
    /// What is set.
    pub(super) value: Value,
}

impl Layer {
    /// Whether it applies to this template; `None`: to the StatefulSet as a whole.
    fn applies_to(&self, template: Option<&TemplateName>) -> bool {
        self.template.is_none() || self.template.as_ref() == template
    }

    /// The level at which it counts.
    fn level(&self) -> Level {
        match (&self.origin, &self.value) {
            (Origin::NamespaceLabel, Value::AutoScaled(Auto::Off) | Value::InvalidAutoScaled) => Level::NamespaceOff,
            (origin, _) => origin.level(),
        }
    }

    /// The order in which layers are applied, the strongest last.
    fn precedence(&self) -> (Level, bool, bool) {
        (self.level(), !self.origin.is_label(), self.template.is_some())
    }

    /// Whether it replaces the layer below it, which sets the same key.
    fn replaces(&self, below: Option<&Self>) -> bool {
        match (self.level(), &self.value, below.map(|below| &below.value)) {
            (_, Value::Request(request), Some(Value::Request(below))) => request.size > below.size,
            (Level::Limits, Value::MaxSize(limit), Some(Value::MaxSize(below))) => limit < below,
            // A limit of the cooldown is no cooldown: without one, that of the CSI driver applies, and the limit to it.
            (Level::Limits, Value::Cooldown(limit), below) => {
                matches!(below, Some(Value::Cooldown(below)) if limit > below)
            }
            _ => true,
        }
    }
}

/// The layer that counts, for each key, for a template; `None`: for the StatefulSet as a whole.
///
/// A limit has precedence over the StatefulSet, then follow its PVCs, the policies of its namespace, the namespace, and
/// the policies of the operator's namespace. Within one object, an annotation has precedence over a label, and within one
/// of these a setting of the template over one of the StatefulSet.
pub(super) fn merge<'a>(layers: &'a [Layer], template: Option<&TemplateName>) -> BTreeMap<&'static str, &'a Layer> {
    let mut applied: Vec<&Layer> = layers.iter().filter(|layer| layer.applies_to(template)).collect();
    // Stable: of two equal requests or limits, the first one counts.
    applied.sort_by_key(|layer| layer.precedence());
    let mut merged: BTreeMap<&'static str, &Layer> = BTreeMap::new();
    for layer in applied {
        let (key, below) = (layer.value.key(), merged.get(layer.value.key()).copied());
        if layer.value == Value::InvalidAutoScaled {
            // Within one object, an invalid value has no effect on the others.
            if below.is_some_and(|below| below.level() < layer.level()) {
                merged.remove(key);
            }
        } else if layer.replaces(below) {
            merged.insert(key, layer);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(origin: Origin, template: Option<&str>, value: Value) -> Layer {
        Layer { origin, template: template.map(TemplateName::from), value }
    }

    fn annotation(key: &str) -> Origin {
        Origin::Annotation(key.to_owned())
    }

    /// The origin of the layer that counts for the template `data`.
    fn winner(layers: &[Layer], key: &str) -> Option<Origin> {
        let forward = merge(layers, Some(&"data".into())).get(key).map(|layer| layer.origin.clone());
        let reversed: Vec<Layer> = layers.iter().rev().cloned().collect();
        let backward = merge(&reversed, Some(&"data".into())).get(key).map(|layer| layer.origin.clone());
        assert_eq!(forward, backward, "the order of the layers does not matter");
        forward
    }

    #[test]
    fn an_annotation_has_precedence_over_a_label_and_a_template_over_its_statefulset() {
        let label = |key: &str, template| layer(Origin::Label(key.into()), template, Value::AutoScaled(Auto::On));
        let annotated = |key: &str, template| layer(annotation(key), template, Value::AutoScaled(Auto::Off));
        let check = |layers: &[Layer], expected: Origin| assert_eq!(winner(layers, "auto-scaled"), Some(expected));
        check(&[label("a", None), label("b", Some("data"))], Origin::Label("b".into()));
        check(&[label("a", Some("data")), annotated("b", None)], annotation("b"));
        check(&[annotated("a", None), annotated("b", Some("data"))], annotation("b"));
        check(&[annotated("a", None), annotated("b", Some("wal"))], annotation("a"));
        assert_eq!(winner(&[annotated("b", Some("wal"))], "auto-scaled"), None);
    }

    #[test]
    fn a_limit_counts_where_it_is_stricter() {
        let size = |origin, gib| layer(origin, None, Value::MaxSize(Bytes::gib(gib)));
        assert_eq!(winner(&[size(Origin::Limit, 9)], "max-size"), Some(Origin::Limit));
        assert_eq!(winner(&[size(Origin::Limit, 9), size(annotation("m"), 10)], "max-size"), Some(Origin::Limit));
        assert_eq!(winner(&[size(Origin::Limit, 9), size(annotation("m"), 9)], "max-size"), Some(annotation("m")));
        let cooldown = |origin, seconds| layer(origin, None, Value::Cooldown(Duration::from_secs(seconds)));
        assert_eq!(winner(&[cooldown(Origin::Limit, 60)], "cooldown"), None);
        assert_eq!(
            winner(&[cooldown(Origin::Limit, 60), cooldown(annotation("c"), 9)], "cooldown"),
            Some(Origin::Limit)
        );
        let equal = [cooldown(Origin::Limit, 60), cooldown(annotation("c"), 60)];
        assert_eq!(winner(&equal, "cooldown"), Some(annotation("c")));
    }

    #[test]
    fn the_largest_request_counts_and_of_equal_ones_the_first() {
        let request = |key: &str, gib| {
            let request = Request { size: Bytes::gib(gib), key: key.to_owned() };
            layer(annotation(key), Some("data"), Value::Request(request))
        };
        assert_eq!(winner(&[request("a", 2), request("b", 3)], "resize"), Some(annotation("b")));
        let layers = [request("a", 2), request("b", 2)];
        assert_eq!(merge(&layers, Some(&"data".into()))["resize"].origin, annotation("a"));
    }
}
