//! What the dry runs ask about: the copy under another name, the change of the spec, and the guard of a PVC.

use serde_json::{Value, json};

use super::super::manifest::{parachute, renamed};
use super::super::observed::*;
use super::super::*;
use super::world::{World, pass};

const ID: &str = "0123456789abcdef";

/// The dry runs that a recreate asks for first.
fn asked(world: &World) -> ProbeRequest {
    match next(&world.observe(), world.now) {
        Step::Look(Look::Probes(request)) => *request,
        other => panic!("expected the dry runs, not {other:?}"),
    }
}

#[test]
fn the_copy_differs_in_its_name_alone() {
    let request = asked(&World::settled());
    let mut copy = request.copy.clone();
    assert_ne!(copy["metadata"]["name"], request.create["metadata"]["name"]);
    copy["metadata"]["name"] = request.create["metadata"]["name"].clone();
    assert_eq!(copy, request.create);
}

#[test]
fn the_name_of_the_copy_is_the_name_and_the_beginning_of_the_id_and_fits_a_label_with_a_hash() {
    let check = |name: &str, expected: &str| {
        assert_eq!(renamed(&json!({ "metadata": { "name": name } }), ID)["metadata"]["name"], expected);
    };
    check("db", "db-01234567");
    // 63 of a label, less a hyphen and ten of the hash, are 52.
    check(&"n".repeat(43), &format!("{}-01234567", "n".repeat(43)));
    check(&"n".repeat(44), &format!("{}-01234567", "n".repeat(43)));
    // What is cut does not end with a hyphen.
    check(&format!("{}-more", "n".repeat(42)), &format!("{}-01234567", "n".repeat(42)));
}

#[test]
fn the_change_of_the_spec_that_is_asked_about_is_the_one_that_is_not_there_yet() {
    let check = |strategy: &str, when_deleted: &str, expected: Option<Value>| {
        let retention = json!({ "whenDeleted": when_deleted });
        let object = json!({
            "spec": { "updateStrategy": { "type": strategy }, "persistentVolumeClaimRetentionPolicy": retention },
        });
        assert_eq!(parachute(&object), expected, "{strategy} {when_deleted}");
    };
    let on_delete = json!({ "type": "OnDelete", "rollingUpdate": null });
    let retain = json!({ "whenDeleted": "Retain" });
    check("OnDelete", "Retain", None);
    check("RollingUpdate", "Retain", Some(json!({ "updateStrategy": on_delete })));
    check("OnDelete", "Delete", Some(json!({ "persistentVolumeClaimRetentionPolicy": retain })));
    check(
        "RollingUpdate",
        "Delete",
        Some(json!({ "updateStrategy": on_delete, "persistentVolumeClaimRetentionPolicy": retain })),
    );
}

#[test]
fn a_guard_is_asked_about_for_the_first_pvc_of_a_pod_that_lacks_one_and_only_with_delete() {
    let check = |mut world: World, change: fn(&mut World), expected: Option<&str>| {
        pass(&mut world);
        change(&mut world);
        let protect = asked(&world).protect;
        assert_eq!(protect.as_ref().map(|protect| protect.claim.as_str()), expected);
        if let Some(protect) = protect {
            let claim = world.claims.iter().find(|claim| claim.object.name == protect.claim).unwrap();
            let (guard, owners) = protect.owners.split_last().unwrap();
            assert_eq!((owners, &protect.guard), (claim.object.owners.as_slice(), &claim.object.guard()));
            assert_eq!((&guard["kind"], &guard["uid"]), (&json!("Namespace"), &json!("uid-of-shop")));
        }
    };
    fn guard(world: &mut World, index: usize) {
        let namespace = json!({ "kind": "Namespace", "name": "shop", "uid": "uid-of-shop" });
        world.claims[index].object.owners.push(namespace);
    }
    check(World::settled(), |_| {}, None);
    check(World::deleting_claims(), |_| {}, Some("data-db-0"));
    check(World::deleting_claims(), |world| guard(world, 0), Some("data-db-1"));
    let both = |world: &mut World| (0..2).for_each(|index| guard(world, index));
    check(World::deleting_claims(), both, None);
    let of_another = |world: &mut World| {
        let mut other = world.claims[0].clone();
        other.object.name = "data-other-0".to_owned();
        world.claims.insert(0, other);
    };
    check(World::deleting_claims(), of_another, Some("data-db-0"));
}
