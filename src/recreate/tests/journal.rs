//! Journals: what is read is what was written, or it is refused.

use serde_json::{Value, json};

use super::super::journal::*;
use super::super::phase::{Ending, Phase, State};
use super::world::{World, pass, set_name};
use crate::api::write::Precondition;

fn journal() -> Journal {
    let mut world = World::settled();
    pass(&mut world);
    world.journals.remove(0).0
}

/// A journal as the API server keeps it.
fn stored(journal: &Journal) -> Value {
    let mut config_map = journal.encode("rso-system").unwrap();
    config_map["metadata"]["uid"] = json!("uid-of-journal");
    config_map["metadata"]["resourceVersion"] = json!("9");
    config_map
}

#[test]
fn what_is_written_is_read_again_whole() {
    let journal = Journal { ending: Some(Ending::Landed), successor: Some("uid-2".into()), ..journal() };
    let config_map = stored(&journal);
    assert_eq!(config_map["metadata"]["name"], "rso-journal-uid-1");
    assert_eq!(config_map["metadata"]["namespace"], "rso-system");
    assert_eq!(Journal::decode(&config_map).unwrap(), journal);
}

fn check_refused(change: impl FnOnce(&mut Value), expected: &JournalError) {
    let mut config_map = stored(&journal());
    change(&mut config_map);
    assert_eq!(Journal::decode(&config_map).as_ref().unwrap_err(), expected, "{config_map}");
}

#[test]
fn what_is_not_exactly_what_was_written_is_refused() {
    let data = |key: &'static str, value: &'static str| move |map: &mut Value| map["data"][key] = json!(value);
    check_refused(|map| map["binaryData"] = json!({}), &JournalError::Missing("body"));
    check_refused(|map| map["data"]["sha256"] = Value::Null, &JournalError::Missing("checksum"));
    check_refused(data("sha256", "0"), &JournalError::Checksum);
    check_refused(data("version", "one"), &JournalError::Missing("version"));
    check_refused(data("version", "2"), &JournalError::Newer(2));
    check_refused(data("version", "0"), &JournalError::Head("version"));
    check_refused(data("set", "shop/other"), &JournalError::Head("set"));
    check_refused(data("phase", "Releasing"), &JournalError::Head("phase"));
    check_refused(data("phase-at", "2026-01-01T00:00:00Z"), &JournalError::Head("phase-at"));
    check_refused(|map| map["metadata"]["name"] = json!("rso-journal-uid-2"), &JournalError::Head("name"));
    let mut config_map = stored(&journal());
    config_map["binaryData"]["journal.json.gz"] = json!("no base64?");
    assert!(matches!(Journal::decode(&config_map), Err(JournalError::Unpack(_))));
}

#[test]
fn a_head_is_read_without_the_body_and_only_when_all_of_it_is_there() {
    let journal = journal();
    let mut config_map = stored(&journal);
    config_map["binaryData"] = json!({});
    let guard = Precondition::of(&config_map["metadata"]).unwrap();
    assert_eq!((guard.uid.as_str(), guard.resource_version.as_str()), ("uid-of-journal", "9"));
    let (set, phase_at) = (set_name(), journal.phase_at);
    let expected = JournalHead { name: name_of(&journal.uid), guard, set, phase: Phase::Prepared, phase_at };
    assert_eq!(head_of(&config_map), Some(expected));
    for key in ["set", "phase", "phase-at"] {
        let mut lacking = config_map.clone();
        lacking["data"][key] = json!("?");
        assert_eq!(head_of(&lacking), None, "{key}");
    }
    config_map["metadata"]["uid"] = Value::Null;
    assert_eq!(head_of(&config_map), None);
}

#[test]
fn the_name_of_a_journal_tells_the_object_it_is_about() {
    assert_eq!(uid_in(&name_of(&"uid-1".into())), Some("uid-1".into()));
    assert_eq!(uid_in("db-backup-1"), None);
}

#[test]
fn every_state_phase_and_ending_has_its_word() {
    let states = State::ALL.map(|state| (state.as_str().to_owned(), format!("{state:?}")));
    let phases = Phase::ALL.map(|phase| (phase.as_str().to_owned(), format!("{phase:?}")));
    assert!(states.iter().chain(&phases).all(|(word, name)| word == name), "{states:?} {phases:?}");
    use Ending::*;
    let endings = [Landed, Undone, Superseded, Deleted, NamespaceGone].map(Ending::as_str);
    assert_eq!(endings, ["landed", "undone", "superseded", "deleted", "namespace_gone"]);
}
