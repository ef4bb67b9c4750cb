//! The held requests: which are open, for which share, and which give way when there are too many. It sends none itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{AbortHandle, AbortRegistration};
use tokio::time::Instant;

use super::gauges::Question;
use crate::api::bytes::Percent;
use crate::api::names::{Ordinal, SetName};
use crate::cluster::pods::PodView;
use crate::cluster::usage::{max_held, pause_after};

/// The held requests of all StatefulSets.
#[derive(Debug)]
pub(super) struct HeldRequests {
    open: Mutex<Open>,
    sender: mpsc::UnboundedSender<HeldRequest>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<HeldRequest>>>,
    limit: usize,
    /// The limit was reached, which is reported once.
    reached_limit: AtomicBool,
}

/// A request that is to be sent, and sent again after each answer.
#[derive(Debug)]
pub(super) struct HeldRequest {
    /// The place of the Pod.
    pub(super) place: (SetName, Ordinal),
    /// The identity of this request: after it was replaced, its answers do not count.
    pub(super) id: u64,
    /// The agent.
    pub(super) agent: SocketAddr,
    /// The UID of its Pod.
    pub(super) uid: String,
    /// The share at which it answers.
    pub(super) full: Percent,
    /// The pause before it is sent.
    pub(super) delay: Duration,
    /// Ends it.
    pub(super) abort: AbortRegistration,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// The same is open already, or a new one is sent, perhaps instead of another one of this Pod.
    Open,
    /// The same, and the one that had the most room gives way to it.
    Instead((SetName, Ordinal)),
    /// There are too many, and all others are nearer to their share.
    Full,
}

#[derive(Debug, Default)]
struct Open {
    sets: HashMap<SetName, BTreeMap<Ordinal, Box<Entry>>>,
    /// All of them, the one with the most room last.
    by_room: BTreeSet<(u64, SetName, Ordinal)>,
    ids: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    agent: SocketAddr,
    uid: String,
    question: Question,
    started: Instant,
    abort: AbortHandle,
}

impl Default for HeldRequests {
    fn default() -> Self {
        Self::with_limit(max_held())
    }
}

impl HeldRequests {
    fn with_limit(limit: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded();
        Self {
            open: Mutex::default(),
            sender,
            receiver: Mutex::new(Some(receiver)),
            limit,
            reached_limit: AtomicBool::new(false),
        }
    }

    /// The requests that are to be sent; once.
    pub(super) fn receiver(&self) -> Option<mpsc::UnboundedReceiver<HeldRequest>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Opens a request to the agent of a Pod that was polled just now, unless the same is open.
    pub(super) fn open(&self, set: &SetName, ordinal: Ordinal, pod: &PodView, question: Question) -> Placed {
        let Some(agent) = pod.agent else { return Placed::Full };
        let mut open = self.lock();
        // The poll was a request, too; but an agent that holds requests is asked for another share at once.
        let mut delay = pause_after(Duration::ZERO);
        if let Some(entry) = open.get(set, ordinal).filter(|entry| entry.is_of(pod)) {
            if entry.question.full == question.full {
                return Placed::Open;
            }
            delay = pause_after(entry.started.elapsed());
        }
        open.remove(set, ordinal);
        let mut placed = Placed::Open;
        if open.by_room.len() >= self.limit {
            self.report_limit();
            let last = open.by_room.last().filter(|(room, ..)| *room > question.room).cloned();
            let Some((_, far_set, far)) = last else { return Placed::Full };
            open.remove(&far_set, far);
            placed = Placed::Instead((far_set, far));
        }
        self.send(&mut open, (set, ordinal), (agent, &pod.uid), question, delay);
        placed
    }

    /// Compares the open requests of a StatefulSet with what should be asked now. One for another share is replaced at once.
    /// Returns the Pods whose request has ended because there is nothing to ask, or another Pod.
    pub(super) fn review(
        &self,
        set: &SetName,
        pods: impl Fn(Ordinal) -> Option<PodView>,
        question: impl Fn(Ordinal) -> Option<Question>,
    ) -> Vec<Ordinal> {
        let mut open = self.lock();
        let ordinals: Vec<Ordinal> = open.sets.get(set).into_iter().flat_map(BTreeMap::keys).copied().collect();
        let mut ended = Vec::new();
        for ordinal in ordinals {
            let (Some(entry), pod) = (open.get(set, ordinal), pods(ordinal)) else { continue };
            match (question(ordinal), pod.filter(|pod| entry.is_of(pod))) {
                (Some(question), Some(_)) if question.full == entry.question.full => {}
                (Some(question), Some(pod)) => {
                    let (agent, delay) = (entry.agent, pause_after(entry.started.elapsed()));
                    open.remove(set, ordinal);
                    self.send(&mut open, (set, ordinal), (agent, &pod.uid), question, delay);
                }
                (_, None) | (None, Some(_)) => {
                    open.remove(set, ordinal);
                    ended.push(ordinal);
                }
            }
        }
        ended
    }

    /// The share for which the request is sent again, after an answer; `false`: it was replaced, or has ended.
    pub(super) fn again(&self, request: &HeldRequest, question: Question) -> bool {
        let mut open = self.lock();
        let (set, ordinal) = &request.place;
        let Some(entry) = open.get(set, *ordinal).filter(|entry| entry.id == request.id) else { return false };
        let room = std::mem::replace(&mut entry.question, question).room;
        entry.started = Instant::now();
        open.by_room.remove(&(room, set.clone(), *ordinal));
        open.by_room.insert((question.room, set.clone(), *ordinal));
        true
    }

    /// Forgets a request that has ended.
    pub(super) fn ended(&self, request: &HeldRequest) {
        let mut open = self.lock();
        let (set, ordinal) = &request.place;
        if open.get(set, *ordinal).is_some_and(|entry| entry.id == request.id) {
            open.remove(set, *ordinal);
        }
    }

    /// Ends the request to the agent of this Pod.
    pub(super) fn end(&self, set: &SetName, ordinal: Ordinal) {
        self.lock().remove(set, ordinal);
    }

    /// Ends all requests of a StatefulSet.
    pub(super) fn forget(&self, set: &SetName) {
        let mut open = self.lock();
        let ordinals: Vec<Ordinal> = open.sets.get(set).into_iter().flat_map(BTreeMap::keys).copied().collect();
        ordinals.into_iter().for_each(|ordinal| open.remove(set, ordinal));
    }

    fn report_limit(&self) {
        if !self.reached_limit.swap(true, Ordering::AcqRel) {
            let limit = self.limit;
            tracing::info!(
                limit,
                "reached the limit of held requests; polling the agents of volumes with the most room"
            );
        }
    }

    fn send(
        &self,
        open: &mut Open,
        (set, ordinal): (&SetName, Ordinal),
        (agent, uid): (SocketAddr, &str),
        question: Question,
        delay: Duration,
    ) {
        open.ids += 1;
        let (handle, abort) = AbortHandle::new_pair();
        let (id, uid, place) = (open.ids, uid.to_owned(), (set.clone(), ordinal));
        let started = Instant::now() + delay;
        let entry = Entry { id, agent, uid: uid.clone(), question, started, abort: handle };
        open.by_room.insert((question.room, set.clone(), ordinal));
        open.sets.entry(set.clone()).or_default().insert(ordinal, Box::new(entry));
        // Fails only after the receiver has ended, when nothing is measured anymore.
        let _ = self.sender.unbounded_send(HeldRequest { place, id, agent, uid, full: question.full, delay, abort });
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn get(&mut self, set: &SetName, ordinal: Ordinal) -> Option<&mut Entry> {
        self.sets.get_mut(set)?.get_mut(&ordinal).map(AsMut::as_mut)
    }

    fn remove(&mut self, set: &SetName, ordinal: Ordinal) {
        let Some(of_set) = self.sets.get_mut(set) else { return };
        if let Some(entry) = of_set.remove(&ordinal) {
            entry.abort.abort();
            self.by_room.remove(&(entry.question.room, set.clone(), ordinal));
        }
        if of_set.is_empty() {
            self.sets.remove(set);
        }
    }
}

impl Entry {
    fn is_of(&self, pod: &PodView) -> bool {
        self.uid == pod.uid && Some(self.agent) == pod.agent
    }
}

#[cfg(test)]
mod tests;
