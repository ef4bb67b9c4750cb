//! Every key of the product, once. What each means is told in [`KEYS`], from which the reference page is made.
//!
//! Two families, never mixed: *intent* is written by people and deployment tools and only read by the operator; *state*
//! is written by the operator and only believed from it.

/// The prefix of every annotation, label and finalizer of the product.
pub const PREFIX: &str = "resize-statefulset-operator/";

/// Grow by usage: `true`, `recommend`, `false`. Annotation or label.
pub const AUTO_SCALED: &str = "resize-statefulset-operator/auto-scaled";
/// `resize.<template>`: the wanted size of a template by name. The part before the name.
pub const RESIZE_NAME: &str = "resize-statefulset-operator/resize.";
/// `true`: nothing is started for this set.
pub const PAUSED: &str = "resize-statefulset-operator/paused";
/// Recreate a set although a controller of this kind owns it.
pub const ALLOW_OWNER: &str = "resize-statefulset-operator/allow-owner";
/// `true`: the set is not held, may be deleted, and is not created again.
pub const ALLOW_DELETE: &str = "resize-statefulset-operator/allow-delete";

/// State, on a set: sizes that an apply asked for and the webhook absorbed.
pub const REQUESTED: &str = "resize-statefulset-operator/requested";
/// State, on a claim: RFC 3339 time of the last growth, written in the same patch as the size.
pub const RESIZED_AT: &str = "resize-statefulset-operator/resized-at";
/// State, on a set: the id of the recreate that made this object, until it has landed.
pub const TRANSACTION: &str = "resize-statefulset-operator/transaction";
/// State, a finalizer on a set: present only between "held" and "released" of a recreate.
pub const HOLD: &str = "resize-statefulset-operator/hold";

/// Label of the objects the operator makes: `backup` or `journal`.
pub const KIND_LABEL: &str = "resize-statefulset-operator/kind";
/// Label of a backup: which set it is of (hashed when longer than 63 characters).
pub const STATEFULSET_LABEL: &str = "resize-statefulset-operator/statefulset";

/// Who may write a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// People and deployment tools.
    Intent,
    /// The operator and its webhook.
    State,
}

/// What a key means, for the reference and for the check of unknown keys.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "the reference page is made from it"))]
pub struct KeyDoc {
    /// The key without the prefix, with `<N>` or `<template>` where a part varies.
    pub key: &'static str,
    /// Who writes it.
    pub family: Family,
    /// May carry `.<template>` to override it for one template.
    pub per_template: bool,
    /// The form of the value.
    pub value: &'static str,
    /// What holds when it is absent.
    pub default: &'static str,
    /// What it does, one sentence.
    pub meaning: &'static str,
}

const fn intent(
    key: &'static str,
    per_template: bool,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> KeyDoc {
    KeyDoc { key, family: Family::Intent, per_template, value, default, meaning }
}

const fn state(key: &'static str, value: &'static str, meaning: &'static str) -> KeyDoc {
    KeyDoc { key, family: Family::State, per_template: false, value, default: "", meaning }
}

/// Every key there is, in the order of the reference page.
pub const KEYS: &[KeyDoc] = &[
    intent(
        "auto-scaled",
        true,
        "`\"true\"`, `\"recommend\"`, `\"false\"`",
        "off",
        "Grow by usage. `recommend` decides and tells, but changes nothing. Accepted as a label too; the annotation wins.",
    ),
    intent("resize-<N>", false, "quantity", "", "The wanted size of `volumeClaimTemplates[N]`. Any subset of indices."),
    intent(
        "resize.<template>",
        false,
        "quantity",
        "",
        "The wanted size of a template by its name. If both are given, the larger counts.",
    ),
    intent("threshold", true, "percentage", "`80%`", "Grow when used/(used+available) of any replica reaches it."),
    intent(
        "inodes-threshold",
        true,
        "percentage",
        "`80%`",
        "Likewise for inodes, where the filesystem has a fixed number of them.",
    ),
    intent("increase", true, "percentage or quantity", "`20%`", "The size of a step, of the current capacity."),
    intent("min-increase", true, "quantity", "`1Gi`", "A step is at least this."),
    intent("max-size", true, "quantity", "none", "Never above. A step that would pass it stops at it."),
    intent(
        "cooldown",
        true,
        "duration, `15m`",
        "by driver, else `0s`",
        "The least time between two growths of one claim.",
    ),
    intent("lead-time", true, "duration", "off", "Grow already when the forecast says full within this time."),
    intent("template-sync", false, "`Always`, `OnUserChange`, `Never`", "`Always`", "When the template is rewritten."),
    intent(
        "paused",
        false,
        "`\"true\"`, `\"false\"`",
        "`\"false\"`",
        "Nothing is started for this set; a recreate in flight is finished.",
    ),
    intent(
        "allow-owner",
        false,
        "a kind",
        "",
        "Recreate a set that a controller of this kind owns. Without it, only its claims grow.",
    ),
    intent(
        "allow-delete",
        false,
        "`\"true\"`, `\"false\"`",
        "`\"false\"`",
        "Break-glass: takes a set out of the hands of a recreate, so that it can be deleted and stays deleted.",
    ),
    state("requested", "`data=50Gi,wal=10Gi`", "Sizes that an apply asked for and the webhook absorbed."),
    state("resized-at", "RFC 3339 time", "On a claim: its last growth, written in the same patch as the size."),
    state("transaction", "an id", "The recreate that made this object; removed when it has landed."),
];
