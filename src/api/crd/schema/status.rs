//! The status of a PVCPolicy and its columns: the operator writes it for people, and reads none of it.

use serde_json::{Value, json};

/// The schema of `status`.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "selected": {"type": "integer", "description": "How many PVCs its selector selects."},
            "governed": {"type": "integer", "description": "How many of those follow it."},
            "requested": {
                "x-kubernetes-int-or-string": true,
                "description": "The sizes that the PVCs which follow it request, together.",
            },
            "conditions": {
                "type": "array", "maxItems": 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                "items": condition(),
            },
            "expansionHistory": {
                "type": "array", "maxItems": 10, "x-kubernetes-list-type": "atomic", "items": expansion(),
                "description": "The newest expansions.",
            },
        },
    })
}

fn condition() -> Value {
    json!({
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string", "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        },
    })
}

fn expansion() -> Value {
    json!({
        "type": "object",
        "properties": {
            "timestamp": {"type": "string", "format": "date-time"},
            "claim": {"type": "string", "maxLength": 253},
            "fromSize": {"x-kubernetes-int-or-string": true},
            "toSize": {"x-kubernetes-int-or-string": true},
            "reason": {"type": "string", "maxLength": 64},
        },
    })
}

/// The columns of `kubectl get`; the last three only with `-o wide`.
pub(super) fn columns() -> Value {
    let column = |name: &str, kind: &str, path: &str, priority: u8| json!({"name": name, "type": kind, "jsonPath": path, "priority": priority});
    json!([
        column("Mode", "string", ".spec.template.mode", 0),
        column("Selected", "integer", ".status.selected", 0),
        column("Governed", "integer", ".status.governed", 0),
        column("Max", "string", ".spec.template.maxSize", 0),
        column("Total", "string", ".status.requested", 0),
        column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", 0),
        column("Age", "date", ".metadata.creationTimestamp", 0),
        column("Threshold", "string", ".spec.template.threshold", 1),
        column("Increase", "string", ".spec.template.increase", 1),
        column("Reason", "string", ".status.conditions[?(@.type==\"Ready\")].message", 1),
    ])
}
