//! The annotation keys, labels and finalizer of the product, each defined once. [`KEYS`] documents the keys, and the
//! reference page is generated from it.
//!
//! There are two families, never mixed. People and deployment tools write *intent*, and the operator only reads it. The
//! operator writes *state*, and accepts it from no other writer.

/// The prefix of every annotation, label and finalizer of the product.
pub const PREFIX: &str = "resize-statefulset-operator/";

/// Expand by usage: `true`, `recommend`, `false`. Annotation or label.
pub const AUTO_SCALED: &str = "resize-statefulset-operator/auto-scaled";
/// `resize.<template>`: the requested size of a template by name. This is the part before the name.
pub const RESIZE_NAME: &str = "resize-statefulset-operator/resize.";
/// `true`: rso starts nothing for this StatefulSet.
pub const PAUSED: &str = "resize-statefulset-operator/paused";
/// Recreate a StatefulSet even though a controller of this kind owns it.
pub const ALLOW_OWNER: &str = "resize-statefulset-operator/allow-owner";
/// `true`: rso does not hold the StatefulSet, so you can delete it, and does not create it again.
pub const ALLOW_DELETE: &str = "resize-statefulset-operator/allow-delete";

/// State, on a StatefulSet: sizes that an apply requested and the webhook recorded.
pub const REQUESTED: &str = "resize-statefulset-operator/requested";
/// State, on a PVC: RFC 3339 time of its last expansion, written in the same patch as the size.
pub const RESIZED_AT: &str = "resize-statefulset-operator/resized-at";
/// State, on a PVC: how often it was expanded without a measurement since the last one, written in the same patch as the
/// size.
pub const RESCUED: &str = "resize-statefulset-operator/rescued";
/// State, on a Pod: RFC 3339 time at which rso asked its kubelet to look at an expanded volume. The kubelet synchronizes
/// a Pod at once if an annotation of it changes.
pub const RESIZE_SEEN: &str = "resize-statefulset-operator/resize-seen";
/// State, on a StatefulSet: the ID of the recreation that created this object, until that recreation is complete.
pub const TRANSACTION: &str = "resize-statefulset-operator/transaction";
/// State, a finalizer of a StatefulSet: present only between "held" and "released" of a recreation.
pub const HOLD: &str = "resize-statefulset-operator/hold";

/// Label of the objects that the operator creates: `backup` or `journal`.
pub const KIND_LABEL: &str = "resize-statefulset-operator/kind";
/// Label of a backup: the name of its StatefulSet (hashed if it is longer than 63 characters).
pub const STATEFULSET_LABEL: &str = "resize-statefulset-operator/statefulset";

/// Who may write a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// People and deployment tools.
    Intent,
    /// The operator and its webhook.
    State,
}

/// The form of the field of a PVCPolicy that sets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Auto`, `Recommend`, `Off`: `auto-scaled` with `true`, `recommend`, `false`.
    Mode,
    /// `Enabled`, `Off`: `true`, `false`.
    Switch,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A percentage above 0, at most the whole.
    Percentage,
    /// A percentage or a size, above 0.
    Step,
    /// A size, 0 included.
    Size,
    /// A size above 0.
    SizeAboveZero,
    /// A duration.
    Duration,
    /// The name of an object.
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "no annotation has it"))]
    Name,
    /// Words with their values.
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "no annotation has it"))]
    Map,
}

/// The meaning of a key, for the reference page and for the check of unknown keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyDoc {
    /// The key without the prefix, with `<N>` or `<template>` where a part varies.
    pub key: &'static str,
    /// Who writes it.
    pub family: Family,
    /// Whether the key may carry `.<template>` to override it for one template.
    pub per_template: bool,
    /// The form of the value.
    pub value: &'static str,
    /// What applies if the key is absent.
    pub default: &'static str,
    /// What it does, one sentence.
    pub meaning: &'static str,
    /// The form of the field of a PVCPolicy that sets the key, if there is one.
    pub in_policy: Option<Form>,
}

impl KeyDoc {
    const fn in_policy(mut self, form: Form) -> Self {
        self.in_policy = Some(form);
        self
    }
}

const fn intent(
    key: &'static str,
    per_template: bool,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> KeyDoc {
    KeyDoc { key, family: Family::Intent, per_template, value, default, meaning, in_policy: None }
}

const fn state(key: &'static str, value: &'static str, meaning: &'static str) -> KeyDoc {
    KeyDoc { key, family: Family::State, per_template: false, value, default: "", meaning, in_policy: None }
}

/// Every key, in the order of the reference page.
pub const KEYS: &[KeyDoc] = &[
    intent(
        "auto-scaled",
        true,
        "`\"true\"`, `\"recommend\"`, `\"false\"`",
        "off",
        "Expand by usage. `recommend` reports what rso would do and changes nothing. Accepted as a label too; if both are \
         present, the annotation wins.",
    ).in_policy(Form::Mode),
    intent(
        "resize-<N>",
        false,
        "quantity",
        "",
        "The requested size of `volumeClaimTemplates[N]`. You can set any subset of indices.",
    ),
    intent(
        "resize.<template>",
        false,
        "quantity",
        "",
        "The requested size of a template by its name. If both are present, the larger size wins.",
    ),
    intent(
        "threshold",
        true,
        "percentage",
        "`80%`",
        "Expand when used/(used+available) of any replica reaches this value.",
    ).in_policy(Form::Percentage),
    intent(
        "inodes-threshold",
        true,
        "percentage",
        "`80%`",
        "The same for inodes, on filesystems with a fixed number of inodes.",
    ).in_policy(Form::Percentage),
    intent(
        "increase",
        true,
        "percentage or quantity",
        "`20%`",
        "The size of one step: a percentage of the current capacity, or a size.",
    ).in_policy(Form::Step),
    intent("min-increase", true, "quantity", "`1Gi`", "The minimum size of a step.").in_policy(Form::Size),
    intent("max-size", true, "quantity", "none", "The maximum size. A larger step is capped at this size.").in_policy(Form::SizeAboveZero),
    intent(
        "cooldown",
        true,
        "duration, `15m`",
        "by driver, else `0s`",
        "The minimum time between two expansions of one PVC by usage.",
    ).in_policy(Form::Duration),
    intent(
        "lead-time",
        true,
        "duration",
        "off",
        "Expand early if, at the current rate, the volume will fill up within this time.",
    ).in_policy(Form::Duration),
    intent(
        "rescue",
        true,
        "`\"true\"`, `\"false\"`",
        "`\"false\"`",
        "Expand a volume that nothing measures if its Pod reports that the disk is full: at most three steps, ten minutes \
         apart, up to `max-size`, without which it has no effect.",
    ).in_policy(Form::Switch),
    intent("template-sync", false, "`Always`, `OnUserChange`, `Never`", "`Always`", "When rso updates the template.").in_policy(Form::Words(&["Always", "OnUserChange", "Never"])),
    intent(
        "paused",
        false,
        "`\"true\"`, `\"false\"`",
        "`\"false\"`",
        "rso starts nothing new for this StatefulSet, and finishes a recreation in progress.",
    ),
    intent(
        "allow-owner",
        false,
        "a kind",
        "",
        "Recreate the StatefulSet even though a controller of this kind owns it. Without it, rso expands only the PVCs.",
    ),
    intent(
        "allow-delete",
        false,
        "`\"true\"`, `\"false\"`",
        "`\"false\"`",
        "Break-glass: aborts a recreation in progress so that you can delete the StatefulSet; it stays deleted.",
    ),
    state("requested", "`data=50Gi,wal=10Gi`", "Sizes that an apply requested and the webhook recorded."),
    state(
        "resized-at",
        "RFC 3339 time",
        "On a PVC: the time of its last expansion, written in the same patch as the size.",
    ),
    state(
        "rescued",
        "a number",
        "On a PVC: how often rso expanded it without a measurement since the last one, written in the same patch as the \
         size.",
    ),
    state(
        "resize-seen",
        "RFC 3339 time",
        "On a Pod: when the disk of one of its volumes was larger. The change makes the kubelet expand the filesystem at once.",
    ),
    state("transaction", "an ID", "The recreation that created this object; removed when that recreation is complete."),
];
