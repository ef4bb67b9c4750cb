//! JSON patch operations (RFC 6902) that always apply to the object that they were created for.
//!
//! A patch that does not apply is a 500 for the user. Therefore, no `test` operations are used, no field is added below
//! a missing one, and no missing field is replaced or removed.

use serde_json::{Value, json};

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Sets a field, or inserts an item (`/-`: at the end).
    Add(String, Value),
    /// Replaces an existing value.
    Replace(String, Value),
    /// Removes an existing value.
    Remove(String),
}

impl Op {
    /// The operation as JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Add(path, value) => json!({ "op": "add", "path": path, "value": value }),
            Self::Replace(path, value) => json!({ "op": "replace", "path": path, "value": value }),
            Self::Remove(path) => json!({ "op": "remove", "path": path }),
        }
    }

    /// The path that it changes.
    #[cfg(feature = "testing")]
    pub fn path(&self) -> &str {
        match self {
            Self::Add(path, _) | Self::Replace(path, _) | Self::Remove(path) => path,
        }
    }
}

/// Sets or removes an annotation of the object; `None` if it already has that value.
pub fn annotation(object: &Value, key: &str, value: Option<&str>) -> Option<Op> {
    let annotations = &object["metadata"]["annotations"];
    let path = format!("/metadata/annotations/{}", escape(key));
    match (annotations[key].as_str(), value) {
        (present, wanted) if present == wanted => None,
        (_, None) => Some(Op::Remove(path)),
        (_, Some(value)) if annotations.is_object() => Some(Op::Add(path, json!(value))),
        (_, Some(value)) => Some(Op::Add("/metadata/annotations".to_owned(), json!({ key: value }))),
    }
}

/// Appends to a list of the object, which may be missing.
pub fn append(object: &Value, list: &str, item: Value) -> Op {
    insert(object, list, "-", item)
}

/// Inserts an item at the start of a list, which may be missing.
pub fn prepend(object: &Value, list: &str, item: Value) -> Op {
    insert(object, list, "0", item)
}

fn insert(object: &Value, list: &str, place: &str, item: Value) -> Op {
    match object.pointer(list) {
        Some(Value::Array(_)) => Op::Add(format!("{list}/{place}"), item),
        Some(_) | None => Op::Add(list.to_owned(), json!([item])),
    }
}

/// Escapes a key as one segment of a JSON pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_set_with_or_without_existing_ones() {
        let check = |object: Value, value: Option<&str>, expected: Value| {
            assert_eq!(annotation(&object, "a/b", value).map_or(Value::Null, |op| op.to_json()), expected, "{object}");
        };
        let bare = || json!({ "metadata": {} });
        let with = |value: &str| json!({ "metadata": { "annotations": { "a/b": value } } });
        check(bare(), None, Value::Null);
        check(bare(), Some("1"), json!({ "op": "add", "path": "/metadata/annotations", "value": { "a/b": "1" } }));
        check(with("0"), Some("1"), json!({ "op": "add", "path": "/metadata/annotations/a~1b", "value": "1" }));
        check(with("1"), Some("1"), Value::Null);
        check(with("1"), None, json!({ "op": "remove", "path": "/metadata/annotations/a~1b" }));
        check(
            json!({ "metadata": { "annotations": null } }),
            Some("1"),
            json!({ "op": "add", "path": "/metadata/annotations", "value": { "a/b": "1" } }),
        );
    }

    #[test]
    fn an_item_is_inserted_with_or_without_an_existing_list() {
        let check = |object: Value, first: &str, last: &str| {
            assert_eq!(prepend(&object, "/spec/l", json!(1)).path(), first);
            assert_eq!(append(&object, "/spec/l", json!(1)).path(), last);
        };
        check(json!({ "spec": {} }), "/spec/l", "/spec/l");
        check(json!({ "spec": { "l": null } }), "/spec/l", "/spec/l");
        check(json!({ "spec": { "l": [] } }), "/spec/l/0", "/spec/l/-");
        check(json!({ "spec": { "l": [7] } }), "/spec/l/0", "/spec/l/-");
    }
}
