//! The model as `stateright` explores it: what can happen next, and what must hold in every state.

use std::collections::HashSet;
use std::sync::Mutex;

use stateright::{Model, Property};

use super::explore::hash_of;
use super::mutants::Mutant;
use super::state::*;
use super::system::*;
use super::world::{Move, moves};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Happens {
    /// An operator reads a part of what it needs.
    Look(usize, Part),
    /// An operator looks (at the rest) and decides.
    Decide(usize, Probe),
    /// A write in flight ends.
    Deliver(usize, Delivery),
    /// Somebody else moves.
    Move(Move),
}

/// The model and its bounds.
pub(crate) struct System {
    pub(crate) starts: Vec<Cluster>,
    pub(crate) operators: usize,
    pub(crate) budget: Budget,
    pub(crate) mutant: Option<Mutant>,
    /// One in so many states is followed to its rest.
    pub(crate) sample: u64,
    pub(crate) known: Reaching,
    /// Whether to look for the situations. That is for the small runs: it takes time, and they occur there.
    pub(crate) looks_around: bool,
}

/// States from which rest is known to be reached, well. Split, so that threads do not wait for each other.
pub(crate) struct Reaching(Vec<Mutex<HashSet<u64>>>);

impl Default for Reaching {
    fn default() -> Self {
        Self((0..64).map(|_| Mutex::default()).collect())
    }
}

impl Reaching {
    fn shard(&self, hash: u64) -> &Mutex<HashSet<u64>> {
        &self.0[usize::try_from(hash % 64).unwrap()]
    }

    fn has(&self, hash: u64) -> bool {
        self.shard(hash).lock().unwrap().contains(&hash)
    }

    fn add(&self, hash: u64) {
        self.shard(hash).lock().unwrap().insert(hash);
    }
}

/// No path to rest is longer.
const LONGEST: usize = 600;

impl System {
    fn happen(&self, state: &State, happens: Happens) -> Option<State> {
        let mut state = state.clone();
        match happens {
            Happens::Look(index, part) => {
                state.budget.spend(Event::Torn);
                state.look(index, part);
            }
            Happens::Decide(index, probe) => {
                if probe != Probe::Fine {
                    state.budget.spend(Event::Probe);
                }
                if !state.start(index, probe, self.mutant) {
                    return None;
                }
            }
            Happens::Deliver(index, delivery) => {
                match delivery {
                    Delivery::Repeated => state.budget.spend(Event::Repeat),
                    Delivery::Mutated => state.budget.spend(Event::Mutation),
                    Delivery::GivenUp => state.budget.spend(Event::LateCreate),
                    Delivery::Otherwise(_) => state.budget.spend(Event::Answer),
                    Delivery::Answered | Delivery::Dropped | Delivery::Slipped => {}
                }
                state.deliver(index, delivery, self.mutant);
            }
            Happens::Move(one) => state.perform(one),
        }
        Some(state.canonical())
    }

    fn operators_do(&self, state: &State, actions: &mut Vec<Happens>) {
        for (index, operator) in state.operators.iter().enumerate() {
            // Two that have nothing in flight are one and the same.
            if index > 0 && operator == &state.operators[index - 1] && operator.is_idle() {
                continue;
            }
            let Some(pending) = &operator.pending else {
                actions.push(Happens::Decide(index, Probe::Fine));
                if operator.early.is_some() {
                    continue;
                }
                if state.budget.has(Event::Torn) {
                    let parts = [Part::Set, Part::Journals, Part::Dependents];
                    actions.extend(parts.map(|part| Happens::Look(index, part)));
                }
                if state.budget.has(Event::Probe) && asks_probes(state) {
                    let others = [Probe::Refused, Probe::Unknown, Probe::Native];
                    actions.extend(others.map(|probe| Happens::Decide(index, probe)));
                }
                continue;
            };
            actions.extend([Delivery::Answered, Delivery::Dropped].map(|delivery| Happens::Deliver(index, delivery)));
            let with = |event: Event, is_it: bool| state.budget.has(event) && is_it;
            let creates = matches!(pending.act, Act::Create(..));
            let releases = matches!(pending.act, Act::Release(..)) && operator.stale & Object::Set.bit() == 0;
            for (event, is_it, delivery) in [
                (Event::Repeat, true, Delivery::Repeated),
                (Event::Mutation, creates, Delivery::Mutated),
                (Event::Edit, releases, Delivery::Slipped),
                (Event::LateCreate, creates && state.given_up.is_none(), Delivery::GivenUp),
            ] {
                if with(event, is_it) {
                    actions.push(Happens::Deliver(index, delivery));
                }
            }
            if with(Event::Answer, creates) {
                actions.extend(Lie::ALL.map(|lie| Happens::Deliver(index, Delivery::Otherwise(lie))));
            }
        }
    }

    /// Lets everybody do their duty, and nobody else move, until nothing is left to do.
    fn follow(&self, state: &State) -> Vec<State> {
        let mut path = vec![state.clone()];
        while let Some(next) = path.last().and_then(|state| self.duty(state)) {
            if self.known.has(hash_of(&next)) {
                break;
            }
            path.push(next);
            if path.len() > LONGEST {
                break;
            }
        }
        path
    }

    /// The next thing that happens when all is well.
    fn duty(&self, state: &State) -> Option<State> {
        let arrives = |index: usize| Happens::Deliver(index, Delivery::Answered);
        let in_flight = (0..state.operators.len()).find(|index| state.operators[*index].pending.is_some());
        if let Some(index) = in_flight {
            return self.happen(state, arrives(index));
        }
        let reading = state.operators.iter().position(|operator| operator.early.is_some());
        if let Some(next) = self.happen(state, Happens::Decide(reading.unwrap_or(0), Probe::Fine)) {
            return Some(next);
        }
        let one = moves(state).into_iter().find(|one| one.is_fair())?;
        self.happen(state, Happens::Move(one))
    }

    /// Where all that is left to do leads to, for a person who reads a failure.
    pub(crate) fn rest_of(&self, state: &State) -> State {
        self.follow(state).pop().unwrap()
    }

    /// From here, when all is well, rest is reached, and it is the rest that was wanted.
    pub(crate) fn reaches_goal(&self, state: &State) -> bool {
        let hash = hash_of(state);
        if !hash.is_multiple_of(self.sample) || self.known.has(hash) {
            return true;
        }
        let path = self.follow(state);
        let last = path.last().unwrap();
        let ends_well = match self.duty(last) {
            None => is_goal(self, last),
            Some(next) => path.len() <= LONGEST && self.known.has(hash_of(&next)),
        };
        if ends_well {
            path.iter().for_each(|state| self.known.add(hash_of(state)));
        }
        ends_well
    }
}

fn asks_probes(state: &State) -> bool {
    state.cluster.set.is_some_and(|set| !set.deleting)
        && state.cluster.in_flight().is_none_or(|journal| journal.stage <= Stage::Deleting)
}

/// What must be so when nobody has anything left to do.
fn is_goal(system: &System, state: &State) -> bool {
    let (cluster, ghost) = (&state.cluster, &state.ghost);
    if cluster.namespace_terminating {
        return cluster.journals == [None; 2] && cluster.set.is_none_or(|set| !set.finalizers.hold);
    }
    let Some(set) = cluster.set else {
        // What its owner wanted to go with it has gone.
        let goes = |index: &u8| ghost.claims_go & bit(*index) != 0;
        let has_gone = (0..2).filter(goes).all(|index| cluster.claims[usize::from(index)].is_none());
        return (ghost.deleted || ghost.forced) && cluster.journals == [None; 2] && !cluster.is_guarded() && has_gone;
    };
    let comes_in_time = !ghost.surprised && (cluster.rival.is_some() || cluster.policy.is_some());
    if (set.content.template == MUTATED && !comes_in_time) || ghost.journal_lost {
        // A person is told; until then no pod is touched and nothing is lost.
        return !set.deleting;
    }
    if ghost.surprised && ghost.named && cluster.policy.is_some_and(Policy::updates) {
        // Nothing more can be written without changing the template: a person is told to let us, or to change it.
        return !set.deleting;
    }
    if ghost.surprised && cluster.policy == Some(Policy::AnnotationOnCreate) && set.marker.is_none() {
        // It does not look like ours: it is left alone as if somebody else had created it, and a person is told.
        return !set.deleting && cluster.journals == [None; 2];
    }
    // Who else is at work, or a pod that is lost with its node, keeps the template as it is.
    let is_kept =
        cluster.rival.is_some() || cluster.policy.is_some() || cluster.pods.iter().flatten().any(|pod| pod.deleting);
    let least = if is_kept { GIB } else { cluster.wanted.max(GIB) };
    // Two that write at the same time may leave `Retain` behind where `Delete` was: claims stay that would have gone.
    let claims_go =
        if system.operators > 1 && !set.content.claims_go { ghost.asked.claims_go } else { set.content.claims_go };
    let content = Content { size: ghost.asked.size, claims_go, ..set.content };
    let in_range = usize::from(set.content.replicas);
    let is_lost = |pod: &Pod| pod.deleting && pod.owners & !bit(set.uid) == 0;
    let is_robbed = |pod: &Pod| ghost.surprised && pod.owners == bit(RIVAL);
    let owned = |index: usize| {
        cluster.pods[index].is_some_and(|pod| pod.owners == bit(set.uid) || is_lost(&pod) || is_robbed(&pod))
    };
    let large = |index: usize| cluster.claims[index].is_some_and(|claim| claim.size >= cluster.wanted);
    content == ghost.asked
        && set.content.size >= least
        && (!ghost.robbed || ghost.named)
        && !set.deleting
        && set.finalizers.is_empty()
        && set.marker.is_none()
        && set.fields == Fields::Tools
        && cluster.journals == [None; 2]
        && !cluster.is_guarded()
        && (0..in_range).all(|index| owned(index) && large(index))
        && (system.operators > 1 || !set.content.claims_go || ghost.owed & !cluster.claims_of(set.uid) == 0)
}

/// While the set is absent against everybody's will, what is to be created is known.
fn is_remembered(state: &State) -> bool {
    let (cluster, ghost) = (&state.cluster, &state.ghost);
    if cluster.set.is_some() || ghost.deleted || ghost.forced || ghost.journal_lost {
        return true;
    }
    let asked = |content: Content| {
        let wanted = ghost.asked;
        let is_template = content.template == wanted.template || ghost.rewritten;
        is_template && (content.edit, content.replicas) == (wanted.edit, wanted.replicas)
    };
    cluster.in_flight().is_some_and(|journal| {
        let slipped = cluster.removed.is_some_and(|(uid, content)| uid == journal.uid && asked(content));
        matches!(journal.stage, Stage::Deleting | Stage::Releasing)
            && (journal.claims_go == ghost.asked.claims_go || state.operators.len() > 1)
            && (asked(journal.image) || slipped)
    })
}

impl Model for System {
    type State = State;
    type Action = Happens;

    fn init_states(&self) -> Vec<State> {
        let start = |cluster: &Cluster| State {
            cluster: *cluster,
            operators: Operators::idle(self.operators),
            budget: self.budget,
            given_up: None,
            ghost: Ghost {
                asked: cluster.set.unwrap().content,
                deleted: false,
                deleted_by_us: false,
                forced: false,
                pods_may_go: false,
                claims_may_go: false,
                journal_lost: false,
                journalled: 0,
                next_uid: 1,
                next_birth: 1,
                surprised: false,
                rewritten: false,
                robbed: false,
                named: false,
                owned: cluster.claims_of(0),
                owed: 0,
                went: None,
                claims_go: 0,
                recreated: None,
                broken: 0,
            },
        };
        self.starts.iter().map(start).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Happens>) {
        self.operators_do(state, actions);
        actions.extend(moves(state).into_iter().map(Happens::Move));
    }

    fn next_state(&self, state: &State, happens: Happens) -> Option<State> {
        self.happen(state, happens)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let situations = SITUATIONS.into_iter().filter(|_| self.looks_around);
        SAFETY
            .into_iter()
            .chain(LIVENESS)
            .chain(situations)
            .map(|(name, kind, holds)| match kind {
                Kind::Always => Property::always(name, holds),
                Kind::Sometimes => Property::sometimes(name, holds),
            })
            .collect()
    }
}

/// Whether something holds in every state or in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Always,
    Sometimes,
}

type Claimed = (&'static str, Kind, fn(&System, &State) -> bool);

macro_rules! never {
    ($name:literal, $broken:ident) => {
        ($name, Kind::Always, |_, state| !state.is_broken(Broken::$broken))
    };
}

/// What must hold in every state.
pub(crate) const SAFETY: [Claimed; 12] = [
    never!("no pod is deleted", PodLost),
    never!("no pod is restarted for a template that nobody applied", PodRestarted),
    never!("no claim is deleted", ClaimLost),
    never!("only what is journalled is written", ForeignTouched),
    never!("what somebody deleted is not created", Resurrected),
    never!("at the release nothing refers to the old set", ReleasedWithReferences),
    never!("what is created is what people asked for last", EditLost),
    never!("nothing is deleted before every claim is large and no rollout in flight", DeletedTooEarly),
    never!("nothing is deleted without a journal", DeletedWithoutJournal),
    never!("nothing shrinks", Shrunk),
    never!("the same recreate does not follow itself", Followed),
    ("an absent set is remembered", Kind::Always, |_, state| is_remembered(state)),
];

/// What must stay possible from every state: it stands for both "every transaction ends" and "at rest all is well".
pub(crate) const LIVENESS: [Claimed; 1] =
    [("rest is reached, and is the goal", Kind::Always, |system, state| system.reaches_goal(state))];

macro_rules! situation {
    ($name:literal, $holds:expr) => {
        ($name, Kind::Sometimes, $holds)
    };
}

/// What must occur, or the rest proves little.
pub(crate) const SITUATIONS: [Claimed; 25] = [
    situation!("it lands", |system, state| state.ghost.next_uid > 1 && is_goal(system, state)),
    situation!("it lands twice", |system, state| state.cluster.wanted > 2 * GIB && is_goal(system, state)),
    situation!("the operator crashes while the set is absent", |_, state| {
        state.cluster.set.is_none() && !state.ghost.deleted && state.operators.iter().all(Operator::is_idle)
    }),
    situation!("the answer to the CREATE is lost", |_, state| {
        marked(state).is_some_and(|journal| journal.stage == Stage::Releasing)
            && state.operators.iter().all(Operator::is_idle)
    }),
    situation!("the new set is deleted before its CREATE is answered", |_, state| {
        state.cluster.set.is_none() && state.cluster.removed_successor.is_some() && state.ghost.deleted
    }),
    situation!("a webhook changes the template, and no pod restarts", |_, state| {
        state.cluster.set.is_some_and(|set| set.content.template == MUTATED && set.update == MUTATED && set.observed)
    }),
    situation!("somebody deletes the set while it is held", |_, state| {
        state.cluster.set.is_some_and(|set| set.deleting && set.finalizers.hold)
            && state.cluster.in_flight().is_some_and(|journal| journal.stage == Stage::Prepared)
    }),
    situation!("somebody edits the set while it is on its way out", |_, state| {
        state.cluster.set.is_some_and(|set| {
            let journal = state.cluster.journal(set.uid);
            set.deleting && journal.is_some_and(|journal| journal.image.edit != set.content.edit)
        })
    }),
    situation!("an edit slips in with the release", |_, state| {
        state.cluster.set.is_none()
            && state.cluster.removed.is_some_and(|(uid, content)| {
                state.cluster.journal(uid).is_some_and(|journal| journal.image.edit != content.edit)
            })
    }),
    situation!("somebody else takes the name", |_, state| {
        let (Some(set), Some(journal)) = (state.cluster.set, state.cluster.in_flight()) else { return false };
        journal.stage == Stage::Releasing && set.marker.is_none() && set.uid != journal.uid
    }),
    situation!("a guard keeps a claim that refers to a set that is gone", |_, state| {
        let live = state.cluster.set.map_or(0, |set| bit(set.uid));
        state.cluster.claims.iter().flatten().any(|claim| claim.guard && claim.owners & !live != 0)
    }),
    situation!("somebody deletes the set with its claims while they are guarded", |_, state| {
        matches!(state.cluster.departure, Departure::WithClaims(_, 1..)) && state.cluster.is_guarded()
    }),
    situation!("a gate closes while the set is held", |_, state| {
        state.cluster.set.is_some_and(|set| set.finalizers.hold && !set.deleting && set.update != 0)
    }),
    situation!("it is taken back", |_, state| {
        state.ghost.journalled == 1
            && state.ghost.next_uid == 1
            && state.cluster.journals == [None; 2]
            && state.cluster.set.is_some_and(|set| set.content.size == GIB)
    }),
    situation!("the garbage collector overlooks an owner", |_, state| {
        state.cluster.set.is_some_and(|set| {
            let refers = |owned: &Owned| state.cluster.owners(*owned).is_some_and(|(all, _)| all & bit(set.uid) != 0);
            set.deleting && set.finalizers.hold && !set.finalizers.orphan && Owned::ALL.iter().any(refers)
        })
    }),
    situation!("the garbage collector does not come", |_, state| state
        .cluster
        .set
        .is_some_and(|set| set.long_deleting)),
    situation!("the namespace goes while the set is held", |_, state| {
        state.cluster.namespace_terminating && state.cluster.set.is_some_and(|set| set.finalizers.hold)
    }),
    situation!("what was read first is old when the rest is read", |_, state| {
        let is_old = |one: &Operator| one.early.is_some_and(|early| one.stale & early.bits() != 0);
        state.operators.iter().any(is_old)
    }),
    situation!("two operators have a write in flight", |_, state| {
        state.operators.len() > 1 && state.operators.iter().all(|one| one.pending.is_some())
    }),
    situation!("a CREATE that was given up may arrive while the name is free", |_, state| {
        state.given_up.is_some() && state.cluster.set.is_none()
    }),
    situation!("the new set is held while an earlier CREATE may arrive", |_, state| {
        let is_held = |set: Set| set.finalizers.hold && set.marker.is_some();
        state.given_up.is_some() && state.cluster.set.is_some_and(is_held)
    }),
    situation!("somebody deletes the new set while it is held", |_, state| {
        state.cluster.set.is_some_and(|set| set.deleting && set.finalizers.hold) && !state.cluster.is_held_old()
    }),
    situation!("a CREATE is under way for a name that is taken", |_, state| {
        let creates =
            |one: &Operator| one.pending.as_ref().is_some_and(|pending| matches!(pending.act, Act::Create(..)));
        state.cluster.set.is_some() && state.operators.iter().any(creates)
    }),
    situation!("another controller takes a pod after the last look, and is named", |_, state| {
        state.ghost.robbed && state.ghost.named
    }),
    situation!("a policy stands in the way of a write, and a person is told", |_, state| {
        state.cluster.policy.is_some() && state.ghost.surprised && state.ghost.named
    }),
];

/// The journal of the transaction whose id is on the set.
fn marked(state: &State) -> Option<&Journal> {
    state.cluster.journal(state.cluster.set?.marker?)
}
