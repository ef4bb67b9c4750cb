//! Tests of the assembly: which raw objects concern a StatefulSet, and what is read only if there is none, or a
//! transaction.

use serde_json::{Value, json};

use super::super::assemble::{Outline, Related, Rest};
use super::super::dependent::Kind;
use super::super::journal::Journal;
use super::super::observed::Stored;
use super::super::phase::Phase;
use super::world::{OLD, World, pass, set_name};

fn journal_at(phase: Phase) -> Value {
    let mut world = World::settled();
    pass(&mut world);
    let journal = Journal { phase, ..world.journals.remove(0).0 };
    let mut config_map = journal.encode("rso-system").unwrap();
    config_map["metadata"]["uid"] = json!("uid-of-journal");
    config_map["metadata"]["resourceVersion"] = json!("9");
    config_map
}

fn outline(live: Option<Value>, journals: &[Value]) -> Outline {
    Outline::read(&set_name(), live, None, journals).unwrap()
}

fn object(name: &str, owner: Option<&str>) -> Value {
    let owners: Vec<Value> = owner.iter().map(|uid| json!({"uid": uid, "kind": "StatefulSet", "name": "db"})).collect();
    json!({"metadata": {"name": name, "uid": "uid-x", "resourceVersion": "7", "ownerReferences": owners}})
}

#[test]
fn a_statefulset_is_absent_or_there_and_a_transaction_may_take_a_backup_until_the_delete_is_done() {
    let set = World::settled().set;
    assert!(!outline(set.clone(), &[]).is_absent());
    assert!(outline(None, &[]).is_absent());
    let check = |phase: Phase, expected: bool| {
        assert_eq!(outline(set.clone(), &[journal_at(phase)]).is_prepared(), expected, "{phase:?}");
    };
    check(Phase::Prepared, true);
    check(Phase::Deleting, true);
    check(Phase::Releasing, false);
    assert!(!outline(set.clone(), &[]).is_prepared());
}

#[test]
fn an_object_concerns_a_statefulset_by_its_name_or_by_its_owner() {
    let (set, journal) = (World::settled().set, journal_at(Phase::Prepared));
    let outline = outline(set, &[journal]);
    let check = |kind: Kind, name: &str, owner: Option<&str>, expected: bool| {
        let found = match kind {
            Kind::Pod | Kind::Revision => outline.dependent(kind, &object(name, owner)).is_some(),
            Kind::Claim => outline.claim(&object(name, owner)).is_some(),
        };
        assert_eq!(found, expected, "{kind:?} {name} of {owner:?}");
    };
    let revision = World::settled().revisions[0].name.clone();
    check(Kind::Pod, "db-0", None, true);
    check(Kind::Pod, "db-7", Some("uid-of-another"), true);
    check(Kind::Pod, "other", Some(OLD), true);
    check(Kind::Revision, &revision, None, true);
    check(Kind::Revision, "other", Some(OLD), true);
    check(Kind::Claim, "data-db-0", None, true);
    check(Kind::Claim, "other", Some(OLD), true);
    for kind in [Kind::Pod, Kind::Revision, Kind::Claim] {
        for name in ["db", "db-x", "db-01", "db-0-0", "dbx-0", "data-db", "data-db-x", "data-dbx-0", "other-db-0"] {
            check(kind, name, None, false);
            check(kind, name, Some("uid-of-another"), false);
        }
    }
}

#[test]
fn a_journal_with_the_name_of_the_statefulset_is_its_journal_whatever_another_client_wrote_into_it() {
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        let (set, mut journal) = (World::settled().set, journal_at(Phase::Prepared));
        change(&mut journal);
        let nothing = Related { pods: Vec::new(), revisions: Vec::new(), claims: Vec::new() };
        let seen = outline(set, &[journal.clone()]).complete(nothing, Rest::default());
        let found = match &seen.journal {
            Stored::None => "none",
            Stored::Some { .. } => "some",
            Stored::Unreadable { .. } => "unreadable",
        };
        assert_eq!(found, expected, "{}", journal["data"]);
    };
    check(&|_| (), "some");
    check(&|journal| journal["data"]["set"] = json!("shop/other"), "unreadable");
    check(&|journal| journal["data"]["phase"] = json!("?"), "unreadable");
    check(&|journal| drop(journal["data"].take()), "unreadable");
    // One that is about the StatefulSet has its name.
    check(&|journal| journal["metadata"]["name"] = json!("rso-journal-of-another"), "unreadable");
    // Those of others do not count.
    let of_another = |journal: &mut Value, data: Value| {
        journal["metadata"]["name"] = json!("rso-journal-of-another");
        journal["data"] = data;
    };
    check(&|journal| of_another(journal, json!({"set": "shop/other"})), "none");
    check(&|journal| of_another(journal, json!(null)), "none");
}
