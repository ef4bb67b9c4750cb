//! What must hold of what is carried from the old set to the new one? All that the server does not own, byte for byte, be it
//! known to us or not.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use rso::api::annotations::{HOLD, TRANSACTION};
use rso::api::bytes::Bytes;
use rso::api::names::TemplateName;
use rso::recreate::managed_fields;
use rso::recreate::manifest::{self, MANAGER, bare, image, restored_spec, same, to_create};
use rso::recreate::set::{Spec, WhenDeleted};
use serde_json::{Value, json};

use super::cluster;

/// Any set, and any sizes for its templates.
pub fn a_set(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let set = cluster::set(u)?;
    let targets = cluster::targets(u)?;
    let bared = bare(&set);
    assert_eq!(bared, stripped(&set), "more or less than the server's own is left behind");
    assert_eq!(bare(&bared), bared, "stripped twice");
    assert!(same(&set, &bared) && same(&image(&set), &set), "it differs from itself");
    assert_eq!(manifest::differences(&set, &bared), Vec::<String>::new());

    let created = to_create(&image(&set), &targets, "id");
    sizes_are_raised(&set, &created, &targets);
    assert_eq!(unsized_(taken_back(&created, &bared)), unsized_(bared.clone()), "more than the sizes is changed");
    assert_eq!(to_create(&image(&set), &targets, "id"), created, "made twice, it differs");

    // What the landing puts back.
    let when_deleted = Spec::read(&set).map_or(WhenDeleted::Retain, |spec| spec.when_deleted);
    let mut landed = created.clone();
    if let Some(patch) = restored_spec(&created, &image(&set), when_deleted) {
        merge(&mut landed["spec"], &patch);
    }
    if set["spec"]["updateStrategy"].is_object() {
        assert_eq!(landed["spec"]["updateStrategy"]["type"], set["spec"]["updateStrategy"]["type"]);
    }
    assert_eq!(Spec::read(&landed).map(|spec| spec.when_deleted), Ok(when_deleted));
    assert_eq!(restored_spec(&landed, &image(&set), when_deleted), None, "it is put back twice");
    Ok(())
}

/// What [`bare`] should leave, told by paths.
fn stripped(set: &Value) -> Value {
    let mut left = set.clone();
    remove(&mut left, "status");
    let owned = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
        "managedFields",
    ];
    owned.iter().for_each(|key| remove(&mut left["metadata"], key));
    if let Some(finalizers) = left["metadata"].get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|name| *name != HOLD && *name != "orphan" && *name != "foregroundDeletion");
    }
    if let Some(annotations) = left["metadata"].get_mut("annotations") {
        remove(annotations, TRANSACTION);
    }
    for key in ["annotations", "finalizers"] {
        if [json!({}), json!([]), Value::Null].contains(&left["metadata"][key]) {
            remove(&mut left["metadata"], key);
        }
    }
    for template in left["spec"]["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
        remove(template, "status");
        remove(&mut template["metadata"], "creationTimestamp");
    }
    left
}

/// The set to create without the three things that are taken back when it has landed.
fn taken_back(created: &Value, bared: &Value) -> Value {
    let mut set = created.clone();
    assert_eq!(set["metadata"]["annotations"][TRANSACTION], "id");
    remove(&mut set["metadata"]["annotations"], TRANSACTION);
    if bared["metadata"].get("annotations").is_none() {
        remove(&mut set["metadata"], "annotations");
    }
    assert_eq!(set["spec"]["updateStrategy"], json!({ "type": "OnDelete" }));
    for key in ["updateStrategy", "persistentVolumeClaimRetentionPolicy"] {
        let before = bared["spec"].get(key);
        if key == "persistentVolumeClaimRetentionPolicy" {
            assert!(set["spec"][key].is_null() || set["spec"][key]["whenDeleted"] == "Retain");
            let mut policy = set["spec"][key].clone();
            policy["whenDeleted"] = before.map_or(Value::Null, |before| before["whenDeleted"].clone());
            assert!(before.is_none_or(|before| !before.is_object() || before["whenScaled"] == policy["whenScaled"]));
        }
        match before {
            Some(before) => set["spec"][key] = before.clone(),
            None => remove(&mut set["spec"], key),
        }
    }
    set
}

fn sizes_are_raised(set: &Value, created: &Value, targets: &BTreeMap<TemplateName, Bytes>) {
    let (Ok(before), Ok(after)) = (Spec::read(set), Spec::read(created)) else { return };
    assert_eq!(before.templates.len(), after.templates.len());
    for ((name, from), (_, to)) in before.templates.iter().zip(&after.templates) {
        let wanted = targets.get(name).copied().unwrap_or_default();
        assert_eq!(*to, wanted.max(*from), "{name} goes from {from} to {to}, and should have {wanted}");
    }
}

fn unsized_(mut set: Value) -> Value {
    for template in set["spec"]["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
        remove(&mut template["spec"]["resources"]["requests"], "storage");
    }
    set
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            remove(into, key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}

/// Who owns which field of the new set: everybody who did, and who has written since; not we.
pub fn ownership(data: &[u8]) {
    let _ = owners(&mut Unstructured::new(data));
}

fn owners(u: &mut Unstructured<'_>) -> Result<()> {
    let (live, image) = (cluster::set(u)?, cluster::set(u)?);
    let merged = managed_fields::restored(&live, &image);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let main = |entry: &&Value| entry["manager"] != MANAGER && entry["subresource"].is_null();
    for entry in list(&merged).iter().filter(|entry| entry["subresource"].is_null()) {
        assert_ne!(entry["manager"], MANAGER, "we own fields");
    }
    let kept = |wanted: &Value| {
        let same = |known: &&Value| {
            ["manager", "operation", "apiVersion", "subresource"].iter().all(|key| known[key] == wanted[key])
        };
        list(&merged).iter().filter(same).any(|known| contains(&known["fieldsV1"], &wanted["fieldsV1"]))
    };
    for (whose, object) in [("the old set's", &image), ("the new set's", &live)] {
        let entries = list(&object["metadata"]["managedFields"]);
        let lost = entries.iter().filter(main).find(|entry| !kept(entry));
        assert_eq!(lost, None, "an entry of {whose} is lost");
    }
    let mut landed = live.clone();
    landed["metadata"]["managedFields"] = merged.clone();
    assert_eq!(managed_fields::restored(&landed, &image), merged, "merged twice");
    Ok(())
}

/// Whether one tree of fields has every field of the other.
fn contains(tree: &Value, part: &Value) -> bool {
    match (tree.as_object(), part.as_object()) {
        (Some(tree), Some(part)) => {
            part.iter().all(|(key, part)| tree.get(key).is_some_and(|tree| contains(tree, part)))
        }
        _ => true,
    }
}
