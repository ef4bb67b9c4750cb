//! The check of other recreations: one at a time in a namespace, few in the cluster.

use super::super::concurrency::Flight;
use super::super::journal::JournalHead;
use super::super::phase::Phase;
use super::Subject;
use crate::api::reasons::Note;

pub(super) fn concurrency(subject: &Subject<'_>) -> Result<(), Note> {
    let seen = subject.seen;
    let ahead = |head: &&JournalHead| match subject.journal {
        // Two that began at the same time see each other: the one with the smaller name goes on.
        Some(own) => own.phase == Phase::Prepared && (head.phase > Phase::Prepared || head.name < own.name()),
        None => true,
    };
    let in_namespace =
        |head: &&JournalHead| head.set.namespace == seen.set.namespace && Flight::of(head).holds_namespace(subject.now);
    if let Some(head) = seen.in_flight().filter(in_namespace).find(ahead) {
        let text = format!("waiting: StatefulSet {} in the same namespace is being recreated, one at a time", head.set);
        return Err(Note::deferred("namespace-busy", text));
    }
    let unmanaged = |head: &&JournalHead| Flight::of(head).is_unmanaged(subject.now);
    let (others, most) = (seen.in_flight().filter(unmanaged).count(), seen.rules.concurrent);
    if subject.journal.is_none() && others >= most {
        let text = format!("waiting: {others} StatefulSets are being recreated, {most} at a time (--max-recreates)");
        return Err(Note::deferred("cluster-busy", text));
    }
    Ok(())
}
