//! The fields of `spec.template` and `spec.limits` of a PVCPolicy: those that annotations have too come from [`KEYS`].

use crate::api::annotations::{Form, KEYS};

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name in the object.
    pub name: String,
    /// The key of the annotation that sets the same, if there is one.
    pub key: Option<&'static str>,
    /// The form of the value.
    pub form: Form,
    /// What applies if the field is absent.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// The fields of `spec.template` that no annotation has.
const POLICY_ONLY: &[(&str, Form, &str)] = &[
    ("initialSize", Form::SizeAboveZero, "The minimum size of a new PVC."),
    ("minFree", Form::Size, "Expand when less space than this is available."),
    (
        "agent",
        Form::Words(&["Usual", "Always", "Never"]),
        "Which Pods get an agent: those of the usual controllers, all, or none.",
    ),
    ("volumeAttributesClassName", Form::Name, "The VolumeAttributesClass that a PVC gets with its next expansion."),
    (
        "provider",
        Form::Words(&["aws", "gcp", "azure", "vsphere"]),
        "The provider of the volumes. A PVC of another provider does not follow the policy.",
    ),
    ("providerConfig", Form::Map, "Parameters that the StorageClass of a PVC is expected to have."),
];

/// What the field `mode` does.
const MODE: &str = "Whether the PVCs are expanded by usage. `Recommend` reports what rso would do and changes nothing.";

/// The fields of `spec.limits`.
const LIMITS: &[(&str, Form, &str)] = &[
    ("maxSize", Form::SizeAboveZero, "No PVC is expanded above this size."),
    ("maxStep", Form::SizeAboveZero, "No expansion by usage is larger than this."),
    ("minCooldown", Form::Duration, "The minimum time between two expansions of one PVC by usage."),
    (
        "totalSize",
        Form::SizeAboveZero,
        "The size of all PVCs of one namespace that follow the policy, together, up to which they are expanded.",
    ),
];

fn only_here((name, form, meaning): &(&str, Form, &'static str)) -> Field {
    Field { name: (*name).to_owned(), key: None, form: *form, default: "", meaning }
}

/// The fields of `spec.template`.
pub fn template() -> Vec<Field> {
    let of_keys = KEYS.iter().filter_map(|doc| {
        let form = doc.in_policy?;
        // The words of these differ from those of the annotation.
        let (default, meaning) = match form {
            Form::Mode => ("", MODE),
            Form::Switch => ("`Off`", doc.meaning),
            Form::Words(_)
            | Form::Percentage
            | Form::Step
            | Form::Size
            | Form::SizeAboveZero
            | Form::Duration
            | Form::Name
            | Form::Map => (doc.default, doc.meaning),
        };
        Some(Field { name: name(doc.key), key: Some(doc.key), form, default, meaning })
    });
    of_keys.chain(POLICY_ONLY.iter().map(only_here)).collect()
}

/// The fields of `spec.limits`.
pub fn limits() -> Vec<Field> {
    LIMITS.iter().map(only_here).collect()
}

/// The name of the field that sets a key: `minIncrease` for `min-increase`, and `mode` for `auto-scaled`.
fn name(key: &str) -> String {
    if key == "auto-scaled" {
        return "mode".to_owned();
    }
    let mut words = key.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_the_name_of_its_annotation() {
        let check = |key: &str, expected: &str| assert_eq!(name(key), expected);
        check("threshold", "threshold");
        check("min-increase", "minIncrease");
        check("inodes-threshold", "inodesThreshold");
        check("auto-scaled", "mode");
    }

    #[test]
    fn no_two_fields_have_one_name() {
        for fields in [template(), limits()] {
            let mut names: Vec<String> = fields.into_iter().map(|field| field.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
