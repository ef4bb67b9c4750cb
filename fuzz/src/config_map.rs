//! What must hold of backups and journals? What is written is read back; one changed byte, and nothing is; and no archive
//! unpacks to more than is bounded.

use std::collections::BTreeMap;
use std::io::Write;

use arbitrary::{Result, Unstructured};
use flate2::Compression;
use flate2::write::GzEncoder;
use rso::api::annotations::HOLD;
use rso::api::bytes::Bytes;
use rso::api::names::{ClaimName, Ordinal, SetName};
use rso::recreate::archive::{MOST_UNPACKED, base64_of, bytes_of, checksum, pack, unpack};
use rso::recreate::journal::{Journal, head_of};
use rso::recreate::restore::{RestorePlan, plan};
use rso::recreate::set::{LiveSet, Spec};
use rso::recreate::{backup, manifest};
use serde_json::{Value, json};

use super::{cluster, draw};

/// Any bytes as the archive in a ConfigMap, and as the JSON in such an archive.
pub fn an_archive(data: &[u8]) {
    if let Ok(value) = unpack(data) {
        is_packed_again(&value);
    }
    let _ = mistaken(data);
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        is_packed_again(&value);
        is_no_harm(&value);
    }
}

/// Not asked of fractions: the reader of JSON may miss the last digit of one. No object here has any; the conventions of the
/// Kubernetes API forbid them.
fn is_packed_again(value: &Value) {
    if has_fractions(value) {
        return;
    }
    if let Ok(packed) = pack(value) {
        assert_eq!(unpack(&packed).as_ref(), Ok(value), "what is packed is not unpacked");
    }
}

fn has_fractions(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fractions),
        Value::Object(members) => members.values().any(has_fractions),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// The bytes, packed with a right checksum, where a journal and a backup are expected.
fn mistaken(data: &[u8]) -> std::io::Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data)?;
    let body = encoder.finish()?;
    assert!(data.len() as u64 <= MOST_UNPACKED || unpack(&body).is_err(), "a bomb");
    let data = json!({ "version": "1", "sha256": checksum(&body), "set": "shop/db", "phase": "Prepared" });
    for key in ["journal.json.gz", backup::BODY] {
        is_no_harm(&json!({ "metadata": { "name": "x" }, "data": data, "binaryData": { key: base64_of(&body) } }));
    }
    Ok(())
}

/// Any JSON where a ConfigMap with a journal or a backup, or a set, is expected.
fn is_no_harm(object: &Value) {
    let _ = head_of(object);
    if let Ok(journal) = Journal::decode(object)
        && !has_fractions(&journal.image)
    {
        let again = journal.encode("rso-system").and_then(|again| Journal::decode(&again));
        assert_eq!(again, Ok(journal), "a journal that was read is not written so that it is read again");
    }
    let content = backup::decode(object);
    for set in content.iter().chain([object]) {
        restores(set, &BTreeMap::new());
    }
}

/// A journal as it is written, and with one change.
pub fn a_journal(data: &[u8]) {
    let _ = journal(&mut Unstructured::new(data));
}

fn journal(u: &mut Unstructured<'_>) -> Result<()> {
    let set = cluster::set(u)?;
    let journal = cluster::journal(u, &set)?;
    let Ok(written) = journal.encode("rso-system") else { return Ok(()) };
    assert_eq!(Journal::decode(&written).as_ref(), Ok(&journal), "it is not read back");
    let head = head_of(&with_identity(&written));
    let head = head.map(|head| (head.name, head.set, head.phase, head.phase_at));
    assert_eq!(head, Some((journal.name(), journal.set.clone(), journal.phase, journal.phase_at)));
    let changed = changed(u, &written, &["set", "phase", "phase-at", "version", "sha256"])?;
    if changed != written {
        assert!(Journal::decode(&changed).is_err(), "a changed journal is believed: {changed}");
    }
    Ok(())
}

fn with_identity(config_map: &Value) -> Value {
    let mut config_map = config_map.clone();
    config_map["metadata"]["uid"] = json!("u");
    config_map["metadata"]["resourceVersion"] = json!("1");
    config_map
}

/// The same with one byte of the body, of its text or of one of these entries changed, or without it.
fn changed(u: &mut Unstructured<'_>, config_map: &Value, entries: &[&str]) -> Result<Value> {
    let mut changed = config_map.clone();
    let body = changed["binaryData"].as_object_mut().and_then(|data| data.values_mut().next());
    match (u.int_in_range(0..=3_u8)?, body) {
        (0, Some(body)) => {
            let mut bytes = bytes_of(body.as_str().unwrap_or_default()).unwrap_or_default();
            let at = u.choose_index(bytes.len())?;
            bytes[at] ^= u.int_in_range(1..=255)?;
            *body = json!(base64_of(&bytes));
        }
        (1, Some(body)) => *body = json!(other_text(u, body.as_str().unwrap_or_default())?),
        (2, _) => {
            let entry = &mut changed["data"][*u.choose(entries)?];
            *entry = json!(other_text(u, entry.as_str().unwrap_or_default())?);
        }
        _ => {
            let entry = *u.choose(entries)?;
            changed["data"][entry] = Value::Null;
        }
    }
    Ok(changed)
}

/// The text with one character changed, added or left out.
fn other_text(u: &mut Unstructured<'_>, text: &str) -> Result<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = u.int_in_range(0..=bytes.len().saturating_sub(1))?;
    match u.int_in_range(0..=2_u8)? {
        0 => bytes.insert(at, u.int_in_range(1..=127)?),
        1 if !bytes.is_empty() => drop(bytes.remove(at)),
        _ if !bytes.is_empty() => bytes[at] = (bytes[at] ^ u.int_in_range(1..=127)?) & 127,
        _ => {}
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A backup as it is written, with one change, and the way back.
pub fn a_backup(data: &[u8]) {
    let _ = backup(&mut Unstructured::new(data));
}

fn backup(u: &mut Unstructured<'_>) -> Result<()> {
    let set = cluster::set(u)?;
    let Ok(live) = LiveSet::read(set.clone()) else { return Ok(()) };
    let name = SetName::new(cluster::NAMESPACE, cluster::NAME);
    let (number, now) = (u.arbitrary()?, draw::time(u)?);
    let Ok(written) = backup::encode(&name, &live, number, "id", "a reason", now) else { return Ok(()) };
    let read = backup::decode(&written);
    assert_eq!(read.as_ref(), Ok(&manifest::bare(&set)), "it is not read back");
    let changed = changed(u, &written, &["sha256"])?;
    if changed != written {
        assert!(backup::decode(&changed).is_err(), "a changed backup is believed");
    }
    let mut claims = BTreeMap::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let ordinal = Ordinal(u.int_in_range(0..=6)?);
        claims.insert(ClaimName::of(&draw::one(u, &cluster::TEMPLATES)?.into(), &name, ordinal), draw::size(u)?);
    }
    if let Ok(read) = read {
        restores(&read, &claims);
        assert_eq!(
            plan(&read, Some(&not_deleting(set)), &claims),
            Ok(RestorePlan::Nothing),
            "it differs from its own backup"
        );
    }
    Ok(())
}

fn not_deleting(mut set: Value) -> Value {
    if let Some(metadata) = set["metadata"].as_object_mut() {
        metadata.remove("deletionTimestamp");
    }
    set
}

/// The plan to bring it back raises each template to its largest claim, and changes nothing else.
fn restores(saved: &Value, claims: &BTreeMap<ClaimName, Bytes>) {
    let Ok(RestorePlan::Create { manifest, raised }) = plan(saved, None, claims) else { return };
    assert!(!manifest["metadata"]["finalizers"].to_string().contains(HOLD), "it would be held");
    let (Ok(before), Ok(after)) = (Spec::read(saved), Spec::read(&manifest)) else {
        unreachable!("what is planned is no set: {manifest}")
    };
    let set = SetName::new(
        saved["metadata"]["namespace"].as_str().unwrap_or_default(),
        saved["metadata"]["name"].as_str().unwrap_or_default(),
    );
    for ((name, from), (_, to)) in before.templates.iter().zip(&after.templates) {
        assert!(to >= from, "{name} would shrink from {from} to {to}");
        let own = claims.iter().filter(|(claim, _)| claim.ordinal_of(name, &set).is_some());
        assert!(own.into_iter().all(|(_, size)| size <= to), "{name} would be smaller than a claim");
        assert!(to == from || raised.iter().any(|told| told.template == *name), "{name} is raised in silence");
    }
    assert_eq!(manifest::differences(saved, &manifest), Vec::<String>::new(), "more than sizes would change");
}
