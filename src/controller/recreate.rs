//! The driver of the recreation of one StatefulSet: observe → next → act, until another client or controller has to
//! act.
//!
//! Between rounds, nothing is remembered but durations. The response to a write is itself an observation; while the
//! StatefulSet is unmanaged, it is used at once instead of reading everything again: between the release and the CREATE
//! there is one round trip.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::api::names::{ClaimName, SetName, Uid};
use crate::api::reasons::Note;
use crate::api::refusal::Refusal;
use crate::cluster::clock::now;
use crate::cluster::environment::Environment;
use crate::cluster::history;
use crate::cluster::lease::Leadership;
use crate::cluster::observe::{self, ObserveError};
use crate::cluster::recreation::{Acted, carry_out};
use crate::recreate::journal::{Journal, uid_in};
use crate::recreate::observed::{Intent, LastObject, Live, Observed, Stored};
use crate::recreate::outcome::Report;
use crate::recreate::phase::{Ending, Phase};
use crate::recreate::preflight::answers;
use crate::recreate::probes::Probes;
use crate::recreate::set::LiveSet;
use crate::recreate::step::{Action, Read, Step, Wait};
use crate::recreate::{assemble, next};

mod progress;

use progress::Progress;

/// One call drives a recreation for at most this long; the next call continues what is not done by then.
const MAX_DURATION: Duration = Duration::from_secs(60);
/// The first pause after an error; doubled each time.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// The longest pause.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);
/// If a StatefulSet is absent for this long, rso records an Event.
const ABSENT_TOO_LONG: Duration = Duration::from_secs(10);

/// How many requests for the history may remain unanswered while the StatefulSet is absent.
const MOST_UNANSWERED: u32 = 5;

/// The delay after which a write that admission would change is retried: the policy has to be changed first.
const POLICY_RETRY: Duration = Duration::from_secs(30);

/// The result of driving a recreation.
#[derive(Clone, Debug, PartialEq)]
pub enum Advance {
    /// There is nothing to do; with a time, protective owner references are to be removed then.
    Rest(Option<Duration>),
    /// The recreation must not begin now.
    Refused(Note),
    /// The recreation is in flight and waits; call again after this time.
    Waiting(Duration),
    /// The recreation ended in this call.
    Ended(Report),
    /// Another replica is the leader.
    NotLeading,
}

/// The result of one call, and what is to be reported to users.
#[derive(Clone, Debug, PartialEq)]
pub struct Advanced {
    /// The result.
    pub result: Advance,
    /// For Events, in order. Where the StatefulSet was replaced, they are about the object with the UID in `uid`.
    pub notes: Vec<Note>,
    /// The UID of the object that exists now, if any.
    pub uid: Option<Uid>,
    /// For Events about PVCs.
    pub of_claims: Vec<(ClaimName, Uid, Note)>,
}

/// Drives the recreation of a StatefulSet: begins one if `intent` requests it and the preflight checks pass, continues
/// one in flight, and removes protective owner references that are due. Call it with no intent for every StatefulSet
/// that has a journal.
///
/// # Errors
/// When the StatefulSet cannot be observed. Every recreation that was begun is in the journal; call again.
pub async fn advance(
    environment: &Environment,
    leadership: &Leadership,
    set: &SetName,
    intent: Option<&Intent>,
) -> Result<Advanced, ObserveError> {
    let mut drive = Drive::new(environment, leadership, set, intent);
    let result = drive.run().await;
    drive.finish(result)
}

/// The state of one call: the current round and the times.
struct Drive<'a> {
    environment: &'a Environment,
    leadership: &'a Leadership,
    set: &'a SetName,
    intent: Option<&'a Intent>,
    started: Instant,
    probes: Option<Probes>,
    uid: Option<Uid>,
    troubles: u32,
    /// How many requests for the history of the StatefulSet were not answered.
    unanswered: u32,
    /// An excess backup cannot be deleted.
    keeps_backups: bool,
    absent_since: Option<Instant>,
    progress: Progress,
}

/// Whether to continue with the same round, begin a new one, or return.
enum Flow {
    Proceed,
    Observe,
    Return(Advance),
}

impl<'a> Drive<'a> {
    fn new(
        environment: &'a Environment,
        leadership: &'a Leadership,
        set: &'a SetName,
        intent: Option<&'a Intent>,
    ) -> Self {
        Self {
            environment,
            leadership,
            set,
            intent,
            started: Instant::now(),
            probes: None,
            uid: None,
            troubles: 0,
            unanswered: 0,
            keeps_backups: false,
            absent_since: None,
            progress: Progress::default(),
        }
    }

    async fn run(&mut self) -> Result<Advance, ObserveError> {
        while self.started.elapsed() < MAX_DURATION {
            let mut seen = match observe::observe(self.environment, self.set, self.intent).await {
                Ok(seen) => seen,
                Err(error) if self.absent_since.is_some() => match self.pause(&error.to_string()).await {
                    Some(result) => return Ok(result),
                    None => continue,
                },
                Err(error) => return Err(error),
            };
            seen.probes = self.probes.clone();
            if self.keeps_backups {
                seen.rules.backups_kept = usize::MAX;
            }
            if let Some(result) = self.round(&mut seen).await {
                return Ok(result);
            }
        }
        Ok(Advance::Waiting(Duration::from_secs(1)))
    }

    /// Takes the steps that follow from the observation of one round, as far as it suffices.
    async fn round(&mut self, seen: &mut Observed) -> Option<Advance> {
        loop {
            self.remember(seen);
            let flow = match next(seen, now()) {
                Step::Done { again } => Flow::Return(self.ended().unwrap_or(Advance::Rest(again))),
                Step::Refuse(note) => Flow::Return(self.ended().unwrap_or_else(|| self.refused(seen, note))),
                Step::Wait(wait) => self.wait(wait).await,
                Step::Read(read) => self.read(seen, read).await,
                Step::Write(action) => self.write(seen, action).await,
            };
            match flow {
                Flow::Proceed => {}
                Flow::Observe => return None,
                Flow::Return(result) => return Some(result),
            }
        }
    }

    fn remember(&mut self, seen: &Observed) {
        self.uid = seen.live().map(|live| live.uid.clone());
        if let Stored::Some { journal, .. } = &seen.journal {
            let absent = matches!(seen.live, Live::Absent) && journal.phase <= Phase::Releasing;
            self.absent_since = absent.then(|| self.absent_since.unwrap_or_else(Instant::now));
            // What an earlier call has tried for long is not retried as if it were new.
            if absent && now().duration_since(journal.phase_at).unsigned_abs() > ABSENT_TOO_LONG {
                self.troubles = self.troubles.max(6);
            }
            self.progress.seen(journal);
        }
        if let (Stored::Unreadable { name, .. }, Live::Absent) = (&seen.journal, &seen.live) {
            self.uid = uid_in(name);
        }
    }

    async fn wait(&mut self, wait: Wait) -> Flow {
        if let Some(note) = wait.note {
            self.progress.record(note);
            return Flow::Return(Advance::Waiting(wait.at_most.max(Duration::from_secs(1))));
        }
        match wait.change_after {
            Some(after) => history::change(self.environment, self.set, &after, wait.at_most).await,
            None => tokio::time::sleep(wait.at_most).await,
        }
        Flow::Observe
    }

    async fn read(&mut self, seen: &mut Observed, read: Read) -> Flow {
        match read {
            Read::Probes(request) => {
                self.probes = Some(observe::probe(self.environment, self.set, &request).await);
                Flow::Observe
            }
            Read::Rivals(request) => {
                seen.rivals = Some(observe::rivals(self.environment, self.set, &request).await);
                Flow::Proceed
            }
            Read::LastObject { of, transaction } => {
                seen.last = history::last_object(self.environment, self.set, &of, &transaction).await;
                // It is better to lose an edit that was made at this very moment than to lose the StatefulSet.
                if seen.last == LastObject::Busy {
                    self.unanswered += 1;
                    if self.unanswered > MOST_UNANSWERED {
                        seen.last = LastObject::Unknown;
                    }
                }
                Flow::Proceed
            }
        }
    }

    async fn write(&mut self, seen: &mut Observed, action: Action) -> Flow {
        self.progress.before(&action, seen);
        let sent = Instant::now();
        let acted = carry_out(self.environment, self.leadership, self.set, seen.live(), &action).await;
        tracing::debug!(
            namespace = self.set.namespace,
            statefulset = self.set.name,
            state = action.state().as_str(),
            took = ?sent.elapsed(),
            done = matches!(acted, Acted::Done(_) | Acted::Released { .. }),
            "recreate"
        );
        match acted {
            Acted::Done(answer) => {
                self.troubles = 0;
                self.progress.after(&action, seen);
                // It does not begin again in the same call: the caller decides when.
                if let Action::DeleteJournal { ending: Some(Ending::Undone), .. } = action
                    && let Some(ended) = self.ended()
                {
                    return Flow::Return(ended);
                }
                if absorb(seen, &action, &answer) { Flow::Proceed } else { Flow::Observe }
            }
            Acted::Released { last, sent } => {
                self.progress.released(sent);
                seen.live = Live::Absent;
                seen.last = last;
                Flow::Proceed
            }
            Acted::Moved => self.trouble("the object changed since it was read", None).await,
            Acted::Refused(words) => self.refused_write(seen, &action, &words).await,
            Acted::Changed(fields) => {
                let note = answers::changed("changing the StatefulSet", &fields);
                if self.roll_back(seen, &note).await {
                    return Flow::Observe;
                }
                self.progress.record(note);
                Flow::Return(Advance::Waiting(POLICY_RETRY))
            }
            Acted::Unknown(words) => self.trouble(&words, None).await,
            Acted::Busy(after) => self.trouble("the API server asks rso to retry later", Some(after)).await,
            Acted::NotLeading => Flow::Return(Advance::NotLeading),
        }
    }

    /// Handles a refused write: a user has to allow it first.
    async fn refused_write(&mut self, seen: &Observed, action: &Action, words: &str) -> Flow {
        if matches!(action, Action::DeleteBackup { .. }) {
            // One backup more than are kept is no reason to leave the recreation unfinished.
            tracing::warn!(
                namespace = self.set.namespace,
                statefulset = self.set.name,
                words,
                "failed to delete an old backup"
            );
            self.keeps_backups = true;
            return Flow::Observe;
        }
        // At the first refusal, the object may just have changed since it was read.
        if self.troubles > 0 && self.roll_back(seen, &answers::refused(words)).await {
            return Flow::Observe;
        }
        self.trouble(words, None).await
    }

    /// Rolls the recreation back, which is possible before the DELETE: the journal records the rollback and its reason,
    /// and the steps that follow carry it out.
    async fn roll_back(&mut self, seen: &Observed, why: &Note) -> bool {
        let Stored::Some { journal, guard } = &seen.journal else { return false };
        if journal.phase != Phase::Prepared || journal.ending.is_some() {
            return false;
        }
        let mut journal = Journal { ending: Some(Ending::Undone), ..*journal.clone() };
        journal.incidents.push(why.clone());
        let action = Action::UpdateJournal { journal: Box::new(journal), guard: guard.clone() };
        let acted = carry_out(self.environment, self.leadership, self.set, seen.live(), &action).await;
        self.troubles = 0;
        matches!(acted, Acted::Done(_) | Acted::Moved)
    }

    /// The caller reports the refusal about the StatefulSet. If the StatefulSet does not exist, this function reports
    /// it, about the StatefulSet that existed.
    fn refused(&mut self, seen: &Observed, note: Note) -> Advance {
        if matches!((&seen.live, &seen.journal), (Live::Absent, Stored::Unreadable { .. })) {
            tracing::error!(namespace = self.set.namespace, statefulset = self.set.name, "{}", note.text);
            self.progress.record(note.clone());
        }
        Advance::Refused(note)
    }

    /// Handles an unexpected result. The first few times, rso only observes again.
    async fn trouble(&mut self, why: &str, after: Option<Duration>) -> Flow {
        self.troubles += 1;
        if self.troubles == 1 && after.is_none() {
            return Flow::Observe;
        }
        match self.pause_for(why, after.unwrap_or_default()).await {
            Some(result) => Flow::Return(result),
            None => Flow::Observe,
        }
    }

    async fn pause(&mut self, why: &str) -> Option<Advance> {
        self.troubles += 1;
        self.pause_for(why, Duration::ZERO).await
    }

    /// Waits a little longer each time. For an absent StatefulSet, rso retries again and again, in this call and in the
    /// next; anything else is left to the next call after a while.
    async fn pause_for(&mut self, why: &str, at_least: Duration) -> Option<Advance> {
        let pause = RETRY_DELAY.saturating_mul(1 << self.troubles.min(8)).min(MAX_RETRY_DELAY).max(at_least);
        let patience =
            ABSENT_TOO_LONG.saturating_sub(self.absent_since.map_or(Duration::ZERO, |since| since.elapsed()));
        let is_over = if self.absent_since.is_some() { patience.is_zero() } else { self.troubles > 6 };
        if !is_over {
            tokio::time::sleep(pause).await;
            return None;
        }
        tracing::warn!(namespace = self.set.namespace, statefulset = self.set.name, why, "recreate is stuck");
        let case = Refusal::read(why).case();
        self.progress.record(match self.absent_since {
            Some(_) => Note::blocked(
                format_args!("create-refused: {case}"),
                format!(
                    "rso cannot create the StatefulSet: {why}. Its Pods keep running, unmanaged; rso retries every few seconds \
                     until it succeeds. Allow the request, or exempt the operator's ServiceAccount"
                ),
            ),
            None => Note::blocked(
                format_args!("no-progress: {case}"),
                format!("the recreation is blocked: {why}. rso keeps retrying; if this persists, allow the request"),
            ),
        });
        Some(Advance::Waiting(MAX_RETRY_DELAY))
    }

    /// The end of a transaction, if this call wrote it.
    fn ended(&self) -> Option<Advance> {
        self.progress.report(self.uid.as_ref()).map(Advance::Ended)
    }

    fn finish(mut self, result: Result<Advance, ObserveError>) -> Result<Advanced, ObserveError> {
        let result = match (result, self.ended()) {
            // The end is written; an error of the read after it does not change that.
            (Err(_) | Ok(Advance::Waiting(_)), Some(ended)) => ended,
            (result, _) => result?,
        };
        if let Advance::Ended(report) = &result {
            self.progress.record_end(report);
            self.log(report);
        }
        // While the StatefulSet is absent, Events are about the object that rso creates again.
        let uid = self.uid.or_else(|| self.progress.of());
        Ok(Advanced { result, notes: self.progress.notes, uid, of_claims: self.progress.of_claims })
    }

    fn log(&self, report: &Report) {
        tracing::info!(
            namespace = self.set.namespace,
            statefulset = self.set.name,
            uid = report.uid.as_ref().map(Uid::as_str),
            result = report.ending.as_str(),
            absent_ms = report.absent.map(|span| span.as_millis()),
            unmanaged_ms = report.unmanaged.map(|span| span.as_millis()),
            took_ms = self.started.elapsed().as_millis(),
            "recreate ended"
        );
    }
}

/// Updates the observation of the round with the response to a write where that suffices to continue: the journal, and
/// the StatefulSet that was just created. Only while the StatefulSet is unmanaged; at other times nothing is urgent,
/// and everything is read again.
fn absorb(seen: &mut Observed, action: &Action, answer: &Value) -> bool {
    if let Action::UpdateJournal { journal, .. } = action
        && journal.phase == Phase::Releasing
    {
        seen.journal = assemble::read_journal(answer);
        return matches!(seen.journal, Stored::Some { .. });
    }
    if let Action::Create(_) = action
        && let Ok(live) = LiveSet::read(answer.clone())
    {
        seen.live = Live::Present(Box::new(live));
        return true;
    }
    false
}
