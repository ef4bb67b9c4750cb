//! The dry runs of a recreation: the copy under another name, the change of the spec, and the protective owner reference
//! of a PVC.

use serde_json::{Value, json};

use super::super::manifest::{no_restart_patch, renamed};
use super::super::next;
use super::super::probes::ProbeRequest;
use super::super::step::{Read, Step};
use super::world::{World, pass};

const ID: &str = "0123456789abcdef";

/// The dry runs that a recreation requests first.
fn requested(world: &World) -> ProbeRequest {
    match next(&world.observe(), world.now) {
        Step::Read(Read::Probes(request)) => *request,
        other => panic!("expected the dry runs, not {other:?}"),
    }
}

#[test]
fn the_copy_differs_only_in_its_name() {
    let request = requested(&World::settled());
    let mut copy = request.copy.clone();
    assert_ne!(copy["metadata"]["name"], request.create["metadata"]["name"]);
    copy["metadata"]["name"] = request.create["metadata"]["name"].clone();
    assert_eq!(copy, request.create);
}

#[test]
fn the_name_of_the_copy_ends_with_the_start_of_the_id_and_has_at_most_52_characters() {
    let check = |name: &str, expected: &str| {
        assert_eq!(renamed(&json!({ "metadata": { "name": name } }), ID)["metadata"]["name"], expected);
    };
    check("db", "db-01234567");
    // A label has at most 63 characters; a hyphen and the hash of a revision take 11 of them.
    check(&"n".repeat(43), &format!("{}-01234567", "n".repeat(43)));
    check(&"n".repeat(44), &format!("{}-01234567", "n".repeat(43)));
    // A name that is cut after a hyphen does not get a second one.
    check(&format!("{}-more", "n".repeat(42)), &format!("{}-01234567", "n".repeat(42)));
}

#[test]
fn the_dry_run_of_the_spec_changes_only_what_is_not_ondelete_and_retain_already() {
    let check = |strategy: &str, when_deleted: &str, expected: Option<Value>| {
        let retention = json!({ "whenDeleted": when_deleted });
        let object = json!({
            "spec": { "updateStrategy": { "type": strategy }, "persistentVolumeClaimRetentionPolicy": retention },
        });
        assert_eq!(no_restart_patch(&object), expected, "{strategy} {when_deleted}");
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
fn the_dry_run_of_a_protection_uses_the_first_pvc_of_a_pod_without_one_and_requires_when_deleted_delete() {
    let check = |mut world: World, change: fn(&mut World), expected: Option<&str>| {
        pass(&mut world);
        change(&mut world);
        let protect = requested(&world).protect;
        assert_eq!(protect.as_ref().map(|protect| protect.claim.as_str()), expected);
        if let Some(protect) = protect {
            let claim = world.claims.iter().find(|claim| claim.object.name == protect.claim).unwrap();
            let (protective, owners) = protect.owners.split_last().unwrap();
            assert_eq!((owners, &protect.guard), (claim.object.owners.as_slice(), &claim.object.guard()));
            assert_eq!((&protective["kind"], &protective["uid"]), (&json!("Namespace"), &json!("uid-of-shop")));
        }
    };
    fn protect(world: &mut World, index: usize) {
        let namespace = json!({ "kind": "Namespace", "name": "shop", "uid": "uid-of-shop" });
        world.claims[index].object.owners.push(namespace);
    }
    check(World::settled(), |_| {}, None);
    check(World::deleting_claims(), |_| {}, Some("data-db-0"));
    check(World::deleting_claims(), |world| protect(world, 0), Some("data-db-1"));
    let both = |world: &mut World| (0..2).for_each(|index| protect(world, index));
    check(World::deleting_claims(), both, None);
    let of_another = |world: &mut World| {
        let mut other = world.claims[0].clone();
        other.object.name = "data-other-0".to_owned();
        world.claims.insert(0, other);
    };
    check(World::deleting_claims(), of_another, Some("data-db-0"));
}
