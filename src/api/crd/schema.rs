//! The CustomResourceDefinition of PVCPolicy, generated from the tables of its fields.
//!
//! No `pattern`: its error message is a regular expression. Each rule in CEL has a message that states what to write. Every
//! string, list, and map has a bound, or the API server would reject the rules for their cost.

use serde_json::{Map, Value, json};

use super::fields::{self, Field};
use super::policy::{KIND, MAX_PRIORITY};
use super::{GROUP, VERSION};
use crate::api::annotations::Form;

mod status;

/// A longer text is no value: `1000000000000000000000.000m`.
const LONGEST_VALUE: u32 = 64;

/// The definition.
pub fn pvc_policy() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("pvcpolicies.{GROUP}"),
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND, "listKind": format!("{KIND}List"), "plural": "pvcpolicies", "singular": "pvcpolicy",
                "shortNames": ["pvcp"], "categories": ["rso"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": object()},
                "subresources": {"status": {}},
                "additionalPrinterColumns": status::columns(),
            }],
        },
    })
}

fn object() -> Value {
    json!({
        "type": "object",
        "description": "Settings for the PVCs that it selects. Annotations have precedence over its template; nothing has \
                        precedence over its limits.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec(),
            "status": status::schema(),
        },
    })
}

fn spec() -> Value {
    let ceiling = "!has(self.template) || self.template.mode != 'Auto' || has(self.template.maxSize) || (has(self.limits) && \
                   (has(self.limits.maxSize) || has(self.limits.totalSize)))";
    json!({
        "type": "object",
        "required": ["selector"],
        "properties": {
            "priority": {
                "type": "integer", "format": "int32", "minimum": 0, "maximum": MAX_PRIORITY, "default": 0,
                "description": "Of all policies of a namespace that select a PVC, the one with the largest priority wins; of \
                                equal ones the oldest; of equally old ones the first by name.",
            },
            "selector": selector("The PVCs, by their labels. The empty selector selects all."),
            "namespaceSelector": selector("The namespaces, by their labels. Only in the operator's namespace."),
            "template": template(),
            "limits": limits(),
        },
        "x-kubernetes-validations": [{
            "rule": ceiling,
            "message": "a policy that expands PVCs needs a ceiling: set template.maxSize, limits.maxSize or limits.totalSize",
        }],
    })
}

fn template() -> Value {
    let (initial, max) = ("string(self.initialSize)", "string(self.maxSize)");
    let fits = format!(
        "!has(self.initialSize) || !has(self.maxSize) || !({}) || !({}) || quantity({initial}).compareTo(quantity({max})) <= 0",
        is_quantity(initial),
        is_quantity(max),
    );
    json!({
        "type": "object",
        "description": "Settings. Each is the annotation of that name, which has precedence.",
        "properties": properties(&fields::template()),
        "x-kubernetes-validations": [
            {
                "rule": fits,
                "messageExpression": format!("'initialSize ' + {initial} + ' is above maxSize ' + {max}"),
                "fieldPath": ".initialSize",
            },
            {"rule": "!has(self.providerConfig) || has(self.provider)", "message": "providerConfig needs provider"},
        ],
    })
}

fn limits() -> Value {
    json!({
        "type": "object",
        "description": "Bounds. Of all policies that select a PVC, the strictest applies.",
        "properties": properties(&fields::limits()),
    })
}

fn properties(fields: &[Field]) -> Value {
    let property = |field: &Field| (field.name.clone(), property(field));
    Value::Object(fields.iter().map(property).collect::<Map<_, _>>())
}

/// The schema of one field.
fn property(field: &Field) -> Value {
    let mut schema = match field.form {
        Form::Mode => json!({"type": "string", "enum": ["Auto", "Recommend", "Off"], "default": "Auto"}),
        Form::Switch => json!({"type": "string", "enum": ["Enabled", "Off"]}),
        Form::Words(words) => json!({"type": "string", "enum": words}),
        Form::Percentage => text(
            "self.matches('^(100([.]0{1,3})?|[0-9]{1,2}([.][0-9]{1,3})?)%$') && !self.matches('^0{1,2}([.]0{1,3})?%$')",
            "write a share of more than 0% and at most 100%, such as 80%",
        ),
        Form::Duration => text(
            "self.matches('^ *([0-9]{1,9} *(ms|s|secs?|m|mins?|h|hrs?|hours?|d|days?|w|weeks?) *)+$')",
            "write a duration such as 30s, 15m or 1h30m",
        ),
        Form::Step => number_or_text(&step(), "write a share such as 20% or a size such as 10Gi, above 0"),
        Form::Size => number_or_text(&is_quantity("string(self)"), "write a size such as 10Gi or 1.5Ti"),
        Form::SizeAboveZero => {
            number_or_text(&is_size_above_zero("string(self)"), "write a size above 0, such as 10Gi or 1.5Ti")
        }
        Form::Name => json!({"type": "string", "minLength": 1, "maxLength": 253}),
        Form::Map => json!({
            "type": "object", "maxProperties": 16,
            "additionalProperties": {"x-kubernetes-int-or-string": true, "maxLength": LONGEST_VALUE},
        }),
    };
    let default = if field.default.is_empty() { String::new() } else { format!(" Default: {}.", field.default) };
    schema["description"] = format!("{}{default}", field.meaning).into();
    schema
}

fn text(rule: &str, message: &str) -> Value {
    json!({
        "type": "string", "maxLength": LONGEST_VALUE,
        "x-kubernetes-validations": [{"rule": rule, "message": message}],
    })
}

/// A YAML number is a size too.
fn number_or_text(rule: &str, message: &str) -> Value {
    json!({
        "x-kubernetes-int-or-string": true, "maxLength": LONGEST_VALUE,
        "x-kubernetes-validations": [{"rule": rule, "message": message}],
    })
}

/// Whether a text is a quantity of 64 bits that is not negative. The pattern comes first: Kubernetes writes out the zeros of
/// an exponent, and `1e-9000000000` takes hours.
fn is_quantity(text: &str) -> String {
    let pattern = "^[0-9]*[.]?[0-9]*([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?$";
    format!(
        "{text}.matches('{pattern}') && isQuantity({text}) && {text}.matches('[0-9]') && \
         quantity({text}).isLessThan(quantity('8Ei'))"
    )
}

fn is_size_above_zero(text: &str) -> String {
    format!("{} && quantity({text}).isGreaterThan(quantity('0'))", is_quantity(text))
}

fn step() -> String {
    let text = "string(self)";
    format!(
        "{text}.endsWith('%') ? {text}.matches('^[0-9]{{1,6}}([.][0-9]{{1,3}})?%$') && !{text}.matches('^0+([.]0+)?%$') : {}",
        is_size_above_zero(text)
    )
}

fn selector(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "properties": {
            "matchLabels": {
                "type": "object", "maxProperties": 32,
                "additionalProperties": {"type": "string", "maxLength": 63},
            },
            "matchExpressions": {
                "type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic",
                "items": requirement(),
            },
        },
    })
}

fn requirement() -> Value {
    json!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {"type": "string", "minLength": 1, "maxLength": 317},
            "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
            "values": {
                "type": "array", "maxItems": 100, "x-kubernetes-list-type": "atomic",
                "items": {"type": "string", "maxLength": 63},
            },
        },
        "x-kubernetes-validations": [{
            "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "message": "In and NotIn need values; Exists and DoesNotExist take none",
        }],
    })
}
