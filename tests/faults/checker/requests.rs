//! What must every request of the operator keep to?

use std::collections::BTreeSet;

use http::Method;
use rso::api::annotations::REQUESTED;
use rso::recreate::journal::Journal;
use rso::recreate::phase::Ending;
use serde_json::Value;

use crate::asked::{Asked, Class};
use crate::fault::{Fault, ReadFault};
use crate::history::{History, transaction};
use crate::recorder::Kind;

fn writes(history: &History) -> impl Iterator<Item = &Asked> {
    history.asked.iter().filter(|asked| asked.class == Class::Write)
}

/// Each set that is written was journalled before, or made by a recreate.
pub fn journalled(history: &History) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    let transactions: BTreeSet<&str> = history
        .events
        .iter()
        .filter(|event| event.kind == Kind::StatefulSet && transaction(&event.object).is_some())
        .filter_map(|event| event.object["metadata"]["uid"].as_str())
        .collect();
    for asked in writes(history) {
        let name = asked.body["metadata"]["name"].as_str().unwrap_or_default();
        if let Some(uid) = name.strip_prefix("rso-journal-").filter(|_| asked.is_done() || asked.delivered.len() > 1) {
            known.insert(uid.to_owned());
        }
        let is_set = asked.path.contains("/statefulsets/");
        if !is_set || is_record(asked) || asked.delivered.is_empty() {
            continue;
        }
        let uid = match asked.method {
            Method::DELETE => &asked.body["preconditions"]["uid"],
            _ => &asked.body["metadata"]["uid"],
        };
        let uid = uid.as_str().unwrap_or_default();
        if !known.contains(uid) && !transactions.contains(uid) {
            found.push(format!("{} {} of {uid}", asked.method, asked.path));
        }
    }
    found
}

/// The record of what an apply asked for is shortened on an idle set.
fn is_record(asked: &Asked) -> bool {
    asked.body["metadata"]["annotations"].as_object().is_some_and(|all| all.contains_key(REQUESTED))
}

/// Each names the object, and the state of it, that it is meant for.
pub fn preconditions(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    for asked in writes(history) {
        let (metadata, only) = (&asked.body["metadata"], &asked.body["preconditions"]);
        let has = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let is_guarded = match asked.method {
            Method::POST => true,
            Method::DELETE => has(&only["uid"]) && has(&only["resourceVersion"]),
            // A version is of one object only, so that it stands for the uid as well.
            _ => has(&metadata["resourceVersion"]),
        };
        let orphans = asked.method != Method::DELETE
            || !asked.path.contains("/statefulsets/")
            || asked.body["propagationPolicy"] == "Orphan";
        if !is_guarded || !orphans {
            found.push(format!("{} {}: {}", asked.method, asked.path, asked.body));
        }
    }
    found
}

/// A run has seconds, and the second try waits ten.
pub fn begun_again(history: &History) -> Vec<String> {
    /// A larger wish, and what a fault interrupts, begin one more each.
    const MOST: usize = 6;
    let is_begun = |asked: &&Asked| {
        let name = asked.body["metadata"]["name"].as_str().unwrap_or_default();
        asked.method == Method::POST && name.starts_with("rso-journal-")
    };
    let begun = writes(history).filter(is_begun).count();
    if begun > MOST { vec![format!("{begun} journals")] } else { Vec::new() }
}

/// Fail closed: after a read that failed, the next write follows that very read or a whole new round of them. (A read that
/// failed because its operator was killed binds nobody.)
pub fn failed_reads(history: &History) -> Vec<String> {
    let Some(Fault::Read(at, kind)) = history.fault else { return Vec::new() };
    // What is told of a set on its way out changes nothing: it cannot be kept. Of anything else that is read nothing is told.
    let keeps = |asked: &Asked| asked.body["metadata"]["finalizers"].as_array().is_none_or(|all| !all.is_empty());
    let binds = |asked: &Asked| asked.number == at && asked.is_a_dry_run_of_the_set() && keeps(asked);
    if kind == ReadFault::AnotherBody && !history.asked.iter().any(binds) {
        return Vec::new();
    }
    let is_it = |asked: &&Asked| asked.class == Class::Read && asked.number == at;
    let Some(failed) = history.asked.iter().find(is_it) else { return Vec::new() };
    // By number, not by time: the next round may begin within the same millisecond. The reads of one round are asked side by
    // side, but none that follows the round is asked before all of it is answered.
    let answered =
        |one: &&Asked| one.number > at && one.told.is_some_and(|code| matches!(code, 200 | 201 | 404 | 409 | 422));
    let first = |same: &dyn Fn(&Asked) -> bool| {
        history.asked.iter().filter(|one| one.class == Class::Read && same(one)).find(answered).map(|one| one.at)
    };
    let again = first(&|one| {
        let same = (&one.method, &one.path, &one.query) == (&failed.method, &failed.path, &failed.query);
        same && fields(&one.body) == fields(&failed.body)
    });
    let is_get = |one: &Asked, end: &str| one.method == Method::GET && one.path.ends_with(end);
    let round = ["/statefulsets/db", "/pods", "/controllerrevisions", "/persistentvolumeclaims", "/configmaps"];
    let round = round.map(|end| first(&|one| is_get(one, end)));
    let whole = round.into_iter().collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().max());
    let sure = [again, whole].into_iter().flatten().min();
    // What a dry run says of one claim binds the writes of this claim: the others grow without it.
    let is_of_a_claim = failed.method == Method::PATCH && failed.path.contains("/persistentvolumeclaims/");
    let is_about = |one: &&Asked| !is_of_a_claim || one.path == failed.path;
    // Two writes are of rounds of their own, which know what the watches tell: the growth of a claim, behind its own dry run,
    // and the record of an apply, when a recreate is over.
    let was_tried = |one: &Asked| {
        let tries = history.asked.iter().filter(|read| read.class == Class::Read && read.path == one.path);
        tries
            .filter(|read| read.method == Method::PATCH && read.at > failed.at && read.at <= one.at)
            .any(|read| answered(&read))
    };
    let is_over = |one: &Asked| {
        let journals = writes(history).filter(|write| write.at < one.at && write.object().contains("rso-journal-"));
        journals.last().is_none_or(|last| last.method == Method::DELETE && last.is_done())
    };
    let is_alone = |one: &&Asked| {
        takes_back(one)
            || (is_record(one) && is_over(one))
            || (one.path.contains("/persistentvolumeclaims/") && was_tried(one))
    };
    let blind =
        |one: &&Asked| is_about(one) && !is_alone(one) && one.at > failed.at && sure.is_none_or(|sure| one.at < sure);
    let told =
        |one: &Asked| format!("{} {} although {} {} failed", one.method, one.object(), failed.method, failed.object());
    writes(history).filter(blind).map(told).collect()
}

/// The journal says that all is taken back: the answer to a dry run or a write that must not go on.
fn takes_back(asked: &Asked) -> bool {
    let is_put = asked.method == Method::PUT && asked.object().contains("rso-journal-");
    is_put && Journal::decode(&asked.body).is_ok_and(|journal| journal.ending == Some(Ending::Undone))
}

/// What a body is about, without its values: the time in one differs from one second to the next.
fn fields(body: &Value) -> BTreeSet<(&str, &str)> {
    let mut all = BTreeSet::new();
    for (name, part) in body.as_object().into_iter().flatten() {
        all.extend(part.as_object().into_iter().flatten().map(|(field, _)| (name.as_str(), field.as_str())));
    }
    all
}
