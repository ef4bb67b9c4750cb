//! The model: operators that ask the production code what to do, and everybody else.
//!
//! An operator looks, decides, and has a write in flight; between any two of these anything else may happen. Whether
//! the write arrives, whether its answer does, and whether it arrives twice is open. A crash is a write that is dropped
//! or whose answer is lost: nothing else is remembered between rounds.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use super::explore::hash_of;
use super::known::Known;
use super::mutants::Mutant;
use super::state::*;
use super::translate;

/// What may still happen, each so many times. Everything that is not here may happen at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Event {
    /// Somebody edits a label.
    Edit,
    /// Somebody applies another pod template.
    Template,
    /// Somebody scales the set.
    Scale,
    /// A larger size is wanted.
    Raise,
    /// Nothing is wanted any more.
    Cancel,
    /// Somebody deletes the set, in any of the three ways.
    Delete,
    /// Somebody empties the finalizers of a set that is being deleted.
    Force,
    /// Somebody creates the set while the name is free.
    Foreign,
    /// Somebody deletes the namespace.
    Namespace,
    /// Somebody deletes a pod.
    PodDelete,
    /// Somebody deletes a journal while the set is there.
    JournalDelete,
    /// A dry run is refused, gets no answer, or is accepted in place.
    Probe,
    /// The garbage collector overlooks an owner.
    Overlook,
    /// A controller with an old cache makes the old set the owner of a claim.
    LateOwner,
    /// A webhook changes the pod template on its way in.
    Mutation,
    /// A write arrives a second time.
    Repeat,
    /// The reads of a round are taken at different moments.
    Torn,
    /// A CREATE gets no answer for so long that it is given up, and may arrive later.
    LateCreate,
    /// Somebody creates another controller whose selector matches the pods.
    Rival,
    /// Somebody creates a policy that changes what is written.
    Policy,
    /// The answer to a CREATE has another body than what was stored.
    Answer,
    /// The node of a pod is lost, and the pod deleted: it stays terminating.
    Lost,
    /// The operator is started anew, and has not seen what went before.
    Restart,
}

/// The number of kinds of events.
pub(crate) const EVENTS: usize = Event::Restart as usize + 1;

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget(pub(crate) [u8; EVENTS]);

impl Budget {
    pub(crate) fn of(events: &[(Event, u8)]) -> Self {
        let mut budget = [0; EVENTS];
        for (event, count) in events {
            budget[*event as usize] = *count;
        }
        Self(budget)
    }

    pub(crate) fn has(&self, event: Event) -> bool {
        self.0[event as usize] > 0
    }

    pub(crate) fn spend(&mut self, event: Event) {
        self.0[event as usize] -= 1;
    }
}

/// There are never more objects of the name: only a bug creates them without end.
const LAST_UID: Uid = RIVAL - 1;

/// A write in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub(crate) act: Act,
    /// What the operator goes on with if the answer comes, without looking again: see `absorb` in the controller.
    pub(crate) then: Option<Box<View>>,
}

/// One replica of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Operator {
    pub(crate) pending: Option<Pending>,
    /// What it has read already, in a round that is not at the end of its reads.
    pub(crate) early: Option<Early>,
    /// The objects that have changed since it looked.
    pub(crate) stale: u8,
}

impl Operator {
    /// It is between two rounds.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_none() && self.early.is_none()
    }
}

/// The replicas: one or two, in place, as a state is copied more often than anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operators {
    One([Operator; 1]),
    Two([Operator; 2]),
}

impl Operators {
    pub(crate) fn idle(count: usize) -> Self {
        if count == 1 { Self::One(Default::default()) } else { Self::Two(Default::default()) }
    }
}

impl Deref for Operators {
    type Target = [Operator];

    fn deref(&self) -> &[Operator] {
        match self {
            Self::One(all) => all,
            Self::Two(all) => all,
        }
    }
}

impl DerefMut for Operators {
    fn deref_mut(&mut self) -> &mut [Operator] {
        match self {
            Self::One(all) => all,
            Self::Two(all) => all,
        }
    }
}

/// The reads of a round run side by side: one part of them may be answered long before the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    Set,
    Journals,
    Dependents,
}

/// A part, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Early {
    Set(Option<Set>, Departure),
    Journals([Option<Journal>; 2]),
    Dependents { pods: [Option<Pod>; 2], revision: Option<u8>, claims: [Option<Claim>; 2], restless: (bool, bool) },
}

impl Early {
    fn read(part: Part, cluster: &Cluster) -> Self {
        match part {
            Part::Set => Self::Set(cluster.set, cluster.departure),
            Part::Journals => Self::Journals(cluster.journals),
            Part::Dependents => Self::Dependents {
                pods: cluster.pods,
                revision: cluster.revision,
                claims: cluster.claims,
                restless: (cluster.restless, cluster.restless_claims),
            },
        }
    }

    /// What the operator sees when the rest is read now.
    fn with_the_rest(self, mut cluster: Cluster) -> Cluster {
        match self {
            Self::Set(set, departure) => (cluster.set, cluster.departure) = (set, departure),
            Self::Journals(journals) => cluster.journals = journals,
            Self::Dependents { pods, revision, claims, restless } => {
                (cluster.pods, cluster.revision, cluster.claims) = (pods, revision, claims);
                (cluster.restless, cluster.restless_claims) = restless;
            }
        }
        cluster
    }

    /// The objects that it is about.
    pub(crate) fn bits(self) -> u8 {
        let of = |objects: &[Object]| objects.iter().fold(0, |bits, object| bits | object.bit());
        match self {
            Self::Set(..) => of(&[Object::Set]),
            Self::Journals(_) => of(&[Object::Journal]),
            Self::Dependents { .. } => !of(&[Object::Set, Object::Journal]),
        }
    }
}

/// What nobody in the cluster knows, for the invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ghost {
    /// What people have asked for last.
    pub(crate) asked: Content,
    /// Somebody's deletion of the set was accepted outside the hold.
    pub(crate) deleted: bool,
    /// It is our DELETE by which the set is on its way out.
    pub(crate) deleted_by_us: bool,
    /// Somebody forced a held set away: whether it comes back is open, and both are well.
    pub(crate) forced: bool,
    /// By what somebody did, pods may be deleted.
    pub(crate) pods_may_go: bool,
    /// Likewise claims.
    pub(crate) claims_may_go: bool,
    /// Somebody deleted a journal: a person is asked to help.
    pub(crate) journal_lost: bool,
    /// A bit for each uid that was ever journalled.
    pub(crate) journalled: u8,
    pub(crate) next_uid: Uid,
    pub(crate) next_birth: u8,
    /// A rival or a policy came when the DELETE was decided, and nobody looks for them any more.
    pub(crate) surprised: bool,
    /// The rival took a pod of ours.
    pub(crate) robbed: bool,
    /// A policy that came too late has rewritten a set on its way out.
    pub(crate) rewritten: bool,
    /// People were told who else it is.
    pub(crate) named: bool,
    /// A bit for each claim that the StatefulSet controller has given the set, or a set before it.
    pub(crate) owned: u8,
    /// Of these, what belonged to the set when the last recreate began.
    pub(crate) owed: u8,
    /// The set that was deleted last together with claims, and a bit for each of them.
    pub(crate) went: Option<(Uid, u8)>,
    /// A bit for each claim that is to be gone at rest, as the owner of the set wanted and the operator has seen.
    pub(crate) claims_go: u8,
    /// What was recreated last, to which size, where a policy may have made something else of it.
    pub(crate) recreated: Option<(Content, Size)>,
    /// A bit for each invariant that was broken.
    pub(crate) broken: u16,
}

/// A state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) cluster: Cluster,
    pub(crate) operators: Operators,
    pub(crate) budget: Budget,
    /// A CREATE that was given up and may still arrive.
    pub(crate) given_up: Option<Creation>,
    pub(crate) ghost: Ghost,
}

/// What is broken, as a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    PodLost,
    PodRestarted,
    ClaimLost,
    ForeignTouched,
    Resurrected,
    ReleasedWithReferences,
    EditLost,
    DeletedTooEarly,
    DeletedWithoutJournal,
    Shrunk,
    Followed,
}

impl State {
    pub(crate) fn break_if(&mut self, is_broken: bool, broken: Broken) {
        if is_broken {
            self.ghost.broken |= 1 << broken as u16;
        }
    }

    pub(crate) fn is_broken(&self, broken: Broken) -> bool {
        self.ghost.broken & (1 << broken as u16) != 0
    }

    /// An object has changed: whoever has looked before will hear a conflict.
    pub(crate) fn touch(&mut self, object: Object) {
        for operator in self.operators.iter_mut() {
            operator.stale |= object.bit();
        }
    }

    /// The set goes when it is deleted and nothing holds it.
    pub(crate) fn remove_if_free(&mut self) {
        let is_free = |set: &mut Set| set.deleting && set.finalizers.is_empty();
        let Some(set) = self.cluster.set.take_if(is_free) else { return };
        self.ghost.deleted_by_us = false;
        self.depart(&set);
        match self.cluster.in_flight().filter(|journal| journal.uid != set.uid) {
            Some(journal) => self.cluster.removed_successor = Some(journal.uid),
            None => self.cluster.removed = Some((set.uid, set.content)),
        }
    }

    /// What the watch tells of a set that is gone.
    fn depart(&mut self, set: &Set) {
        let Going { orphaned, is_sure, claims } = std::mem::take(&mut self.cluster.going);
        self.cluster.departure = if orphaned {
            Departure::Orphaned
        } else if is_sure && set.content.claims_go {
            self.ghost.went = Some((set.uid, claims));
            self.ghost.claims_go = claims;
            Departure::WithClaims(set.uid, claims)
        } else {
            Departure::Unknown
        };
    }

    pub(crate) fn insert(&mut self, creation: Creation, fields: Fields) {
        let Creation { content, marker, held } = creation;
        let uid = self.ghost.next_uid;
        self.ghost.next_uid += 1;
        self.ghost.claims_go = 0;
        self.cluster.departure = Departure::Unknown;
        self.cluster.set = Some(Set {
            uid,
            content,
            finalizers: Finalizers { hold: held, ..Finalizers::default() },
            deleting: false,
            long_deleting: false,
            marker,
            fields,
            observed: false,
            update: content.template,
        });
        self.touch(Object::Set);
    }

    /// Forgets what can make no difference any more, so that equal states are equal.
    pub(crate) fn canonical(mut self) -> Self {
        for operator in self.operators.iter_mut() {
            if operator.is_idle() {
                operator.stale = 0;
            }
        }
        let is_quiet = self.operators.iter().all(Operator::is_idle);
        let in_flight = self.cluster.in_flight().is_some();
        if is_quiet && !in_flight {
            self.cluster.removed = None;
            self.cluster.removed_successor = None;
        }
        if is_quiet && !in_flight && !self.cluster.is_guarded() {
            self.cluster.departure = Departure::Unknown;
        }
        if is_quiet && self.cluster.backup.is_some_and(|uid| self.cluster.journal(uid).is_none()) {
            self.cluster.backup = None;
        }
        // Which of two equal operators is which makes no difference.
        if let Operators::Two([one, other]) = &mut self.operators
            && key(one) > key(other)
        {
            std::mem::swap(one, other);
        }
        self
    }
}

fn key(operator: &Operator) -> u64 {
    if operator.is_idle() { 0 } else { hash_of(operator) }
}

/// The production code's step, remembered.
fn next(view: &View) -> Step {
    static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);
    KNOWN.step(view)
}

/// Decides on what was read.
fn decide(read: &Cluster, cluster: &Cluster, probe: Probe, mutant: Option<Mutant>) -> (Step, View) {
    let cluster_read = forget_history(read);
    let view = View { cluster: cluster_read, probe: None, policy: None, rivals: None, history: History::NotAsked };
    go_on(view, cluster, probe, mutant)
}

/// What an operator cannot read is not part of what it knows.
fn forget_history(cluster: &Cluster) -> Cluster {
    let owns = Owned::ALL.into_iter().any(|owned| cluster.is_taken(owned));
    let rival = cluster.rival.filter(|_| owns).map(|rival| Rival { own: false, ..rival });
    Cluster { removed: None, removed_successor: None, rival, policy: None, going: Going::default(), ..*cluster }
}

/// Looks up what is asked for, until there is a decision.
fn go_on(mut view: View, cluster: &Cluster, probe: Probe, mutant: Option<Mutant>) -> (Step, View) {
    for _ in 0..5 {
        let seen = mutant.map_or(view, |mutant| mutant.sees(view));
        match mutant.map_or_else(|| next(&seen), |mutant| mutant.does(next(&seen), &view)) {
            Step::Probe => (view.probe, view.policy) = (Some(probe), cluster.policy),
            Step::Rivals => view.rivals = Some(cluster.rival.map(|rival| rival.kind)),
            Step::History => view.history = history(cluster, &view),
            step => return (step, view),
        }
    }
    panic!("it only looks and never decides: {view:?}");
}

fn history(cluster: &Cluster, view: &View) -> History {
    let Some(journal) = view.cluster.in_flight() else { return History::Unknown };
    if cluster.removed_successor == Some(journal.uid) {
        return History::SuccessorGone;
    }
    match cluster.removed {
        Some((uid, content)) if uid == journal.uid => History::Seen(uid, content),
        _ => History::Unknown,
    }
}

/// Whether a transaction ends with it.
fn ends(act: &Act) -> bool {
    match act {
        Act::DeleteJournal(_) => true,
        Act::UpdateJournal(journal) => journal.stage == Stage::Guarded,
        _ => false,
    }
}

/// Whether the answer to this write is used without looking again.
fn is_absorbed(act: &Act) -> bool {
    match act {
        Act::UpdateJournal(journal) => journal.stage == Stage::Releasing,
        Act::Release(_, finalizers) => finalizers.is_empty(),
        Act::Create(..) => true,
        Act::PatchTemplates(..)
        | Act::CreateJournal(_)
        | Act::DeleteJournal(_)
        | Act::CreateBackup(_)
        | Act::SetOwners(..)
        | Act::SetRetention(..)
        | Act::SetFinalizers(..)
        | Act::Delete(_)
        | Act::RestoreSpec { .. }
        | Act::RestoreOwnership(..) => false,
    }
}

/// How a write in flight ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Delivery {
    /// It arrives, and so does the answer. (That nobody hears the answer is the same, and what follows is dropped.)
    Answered,
    /// It never arrives.
    Dropped,
    /// It arrives, and will arrive again.
    Repeated,
    /// It is a CREATE, and a webhook changes the template on its way.
    Mutated,
    /// It is a release, and an edit slips in between the check and the removal.
    Slipped,
    /// It is a CREATE, and given up without an answer. It may arrive later.
    GivenUp,
    /// It is a CREATE that arrives, and its answer has another body.
    Otherwise(Lie),
}

/// What is not so in the answer to a CREATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lie {
    Template,
    Size,
    Finalizers,
}

impl Lie {
    pub(crate) const ALL: [Self; 3] = [Self::Template, Self::Size, Self::Finalizers];

    fn told(self, mut set: Set) -> Set {
        match self {
            Self::Template => set.content.template = MUTATED,
            Self::Size => set.content.size = GIB,
            Self::Finalizers => set.finalizers.hold = !set.finalizers.hold,
        }
        set
    }
}

impl State {
    /// An operator reads a part of what it needs.
    pub(crate) fn look(&mut self, index: usize, part: Part) {
        let operator = &mut self.operators[index];
        operator.early = Some(Early::read(part, &self.cluster));
        operator.stale = 0;
    }

    /// Gives an operator something to do.
    pub(crate) fn start(&mut self, index: usize, probe: Probe, mutant: Option<Mutant>) -> bool {
        let operator = &mut self.operators[index];
        let early = operator.early.take();
        operator.stale &= early.map_or(0, Early::bits);
        let read = early.map_or(self.cluster, |early| early.with_the_rest(self.cluster));
        let (step, view) = decide(&read, &self.cluster, probe, mutant);
        self.plan(index, step, view, mutant) || early.is_some()
    }

    fn plan(&mut self, index: usize, step: Step, view: View, mutant: Option<Mutant>) -> bool {
        if self.hears(step) {
            return true;
        }
        let Step::Write(act) = step else { return false };
        if self.ghost.robbed && !self.ghost.named {
            self.ghost.named = translate::tells_of_a_rival(&view, ends(&act));
        }
        if self.is_rewritten(&act, mutant) {
            // It is tried now and then, and comes no further than its dry run.
            return !std::mem::replace(&mut self.ghost.named, true);
        }
        let then = is_absorbed(&act).then(|| Box::new(View { probe: None, policy: None, rivals: None, ..view }));
        self.operators[index].pending = Some(Pending { act, then });
        true
    }

    /// People are told who else is at work, for the first time.
    fn hears(&mut self, step: Step) -> bool {
        let told = matches!(step, Step::Refuse(Told::WhoElse) | Step::Wait(Told::WhoElse));
        let is_first = told && !self.ghost.named;
        self.ghost.named |= told;
        is_first
    }

    /// Ends a write in flight.
    pub(crate) fn deliver(&mut self, index: usize, delivery: Delivery, mutant: Option<Mutant>) {
        let Some(pending) = self.operators[index].pending.take() else { return };
        match (delivery, pending.act) {
            (Delivery::Dropped, _) => return,
            (Delivery::GivenUp, Act::Create(creation)) => return self.give_up(creation),
            _ => {}
        }
        let stale = self.operators[index].stale;
        let may_write = mutant.is_none_or(|mutant| !mutant.ignores_preconditions(&pending.act));
        let applied = self.apply(&pending.act, if may_write { stale } else { 0 }, delivery, mutant);
        match delivery {
            Delivery::Repeated => self.operators[index].pending = Some(pending),
            Delivery::Answered | Delivery::Mutated | Delivery::Slipped if applied => {
                self.absorb(index, pending, None, mutant)
            }
            Delivery::Otherwise(lie) if applied => self.absorb(index, pending, Some(lie), mutant),
            _ => {}
        }
    }

    /// Goes on with what the answer told.
    fn absorb(&mut self, index: usize, pending: Pending, lie: Option<Lie>, mutant: Option<Mutant>) {
        let Some(mut view) = pending.then else { return };
        let object = match pending.act {
            Act::UpdateJournal(journal) => {
                view.cluster.put_journal(journal);
                Object::Journal
            }
            Act::Create(..) => {
                view.cluster.set = self.cluster.set.map(|set| lie.map_or(set, |lie| lie.told(set)));
                Object::Set
            }
            _ => {
                // What a policy makes of it on its way out is nobody's edit.
                let before = view.cluster.set.take().map(|set| set.content.template);
                let rewrites = self.cluster.policy.is_some_and(Policy::updates);
                let edited = |content: Content| match before.filter(|_| rewrites && content.template == MUTATED) {
                    Some(template) => Content { template, ..content },
                    None => content,
                };
                view.history = match self.cluster.removed {
                    Some((uid, content)) => History::Seen(uid, edited(content)),
                    None => History::Unknown,
                };
                Object::Set
            }
        };
        self.operators[index].stale &= !object.bit();
        let cluster = self.cluster;
        let (step, view) = go_on(*view, &cluster, Probe::Fine, mutant);
        self.plan(index, step, view, mutant);
    }

    /// Carries a write out, if its precondition holds.
    fn apply(&mut self, act: &Act, stale: u8, delivery: Delivery, mutant: Option<Mutant>) -> bool {
        let is_fresh = |object: Object| stale & object.bit() == 0;
        match *act {
            Act::CreateJournal(journal) => {
                let is_free = self.cluster.journal(journal.uid).is_none() && self.cluster.put_journal(journal);
                if is_free {
                    let again = !journal.undone && self.ghost.recreated == Some((self.ghost.asked, journal.target));
                    self.break_if(again, Broken::Followed);
                    self.ghost.journalled |= bit(journal.uid);
                    self.ghost.owed = journal.owned;
                    self.touch(Object::Journal);
                }
                is_free
            }
            Act::UpdateJournal(journal) => {
                let is_there = is_fresh(Object::Journal) && self.cluster.journal(journal.uid).is_some();
                if is_there {
                    self.cluster.put_journal(journal);
                    self.ghost.journalled |= journal.successor.map_or(0, bit);
                    self.touch(Object::Journal);
                }
                is_there
            }
            Act::DeleteJournal(uid) => {
                let is_there = is_fresh(Object::Journal) && self.cluster.journal(uid).is_some();
                if is_there {
                    self.cluster.drop_journal(uid);
                    self.touch(Object::Journal);
                }
                is_there
            }
            Act::CreateBackup(uid) => {
                self.cluster.backup = Some(uid);
                true
            }
            Act::SetOwners(owned, owners, guard) => {
                let is_there = is_fresh(owned.object()) && self.cluster.owners(owned).is_some();
                if is_there {
                    self.judge_owners(owned, owners, guard);
                    self.rewrite(owned);
                    self.cluster.set_owners(owned, owners, guard);
                    self.touch(owned.object());
                }
                is_there
            }
            Act::Create(creation) => self.create(creation, delivery),
            Act::PatchTemplates(uid, _)
            | Act::SetRetention(uid, _)
            | Act::SetFinalizers(uid, _)
            | Act::Delete(uid)
            | Act::Release(uid, _)
            | Act::RestoreSpec { uid, .. }
            | Act::RestoreOwnership(uid, _) => {
                let any = mutant.is_some_and(|mutant| mutant.ignores_uid(act));
                let is_it = self.cluster.set.is_some_and(|set| set.uid == uid || any);
                let is_there = is_fresh(Object::Set) && is_it;
                is_there && self.patch(act, delivery, mutant)
            }
        }
    }

    /// A claim without a guard gets an owner only where its set took it along. (With one, the garbage collector takes the
    /// reference to a set that is gone off.)
    fn judge_owners(&mut self, owned: Owned, owners: u8, guard: bool) {
        let before = self.cluster.owners(owned).map_or(0, |(owners, _)| owners);
        let new = owners & !before;
        let is_given_back = match (owned, self.ghost.went) {
            (Owned::Claim(index), Some((uid, claims))) => new == bit(uid) && claims & bit(index) != 0,
            (Owned::Claim(_) | Owned::Pod(_) | Owned::Revision, _) => false,
        };
        self.break_if(new != 0 && !guard && !is_given_back, Broken::ClaimLost);
    }

    /// The operator gives a CREATE up after seconds, which pass for the journal too.
    fn give_up(&mut self, creation: Creation) {
        self.given_up = Some(creation);
        self.lose_patience(|journal| journal.stage == Stage::Releasing);
    }

    /// The journals have been in their stages for as long as makes a difference.
    pub(crate) fn lose_patience(&mut self, passes: impl Fn(&Journal) -> bool) {
        let journals = self.cluster.journals.iter_mut().flatten();
        journals.for_each(|journal| journal.late |= passes(journal));
    }

    pub(crate) fn create(&mut self, creation: Creation, delivery: Delivery) -> bool {
        let content = creation.content;
        if self.cluster.set.is_some() || self.cluster.namespace_terminating {
            return false;
        }
        let asked = self.ghost.asked;
        let is_template = content.template == asked.template || self.ghost.rewritten;
        let same = is_template && (content.edit, content.replicas) == (asked.edit, asked.replicas);
        self.break_if(!same, Broken::EditLost);
        self.break_if(self.ghost.deleted && !self.ghost.forced, Broken::Resurrected);
        self.break_if(content.size < GIB, Broken::Shrunk);
        let before = self.cluster.removed.map_or(0, |(_, content)| content.size);
        self.break_if(content.size < before, Broken::Shrunk);
        if self.ghost.next_uid > LAST_UID {
            return false;
        }
        if let Some(journal) = self.cluster.in_flight().filter(|_| self.cluster.policy.is_some()) {
            self.ghost.recreated = Some((asked, journal.target));
        }
        let template = if delivery == Delivery::Mutated { MUTATED } else { content.template };
        let sent = Creation { content: Content { template, ..content }, ..creation };
        self.insert(self.cluster.policy.map_or(sent, |policy| policy.created(sent)), Fields::Operator);
        true
    }

    fn patch(&mut self, act: &Act, delivery: Delivery, mutant: Option<Mutant>) -> bool {
        let mut set = self.cluster.set.unwrap();
        if self.is_rewritten(act, mutant) {
            self.ghost.named = true;
            return false;
        }
        let is_ours = self.ghost.journalled & bit(set.uid) != 0 || set.finalizers.hold;
        self.break_if(!is_ours && !matches!(act, Act::PatchTemplates(..)), Broken::ForeignTouched);
        match *act {
            Act::PatchTemplates(_, size) => {
                self.break_if(size < set.content.size, Broken::Shrunk);
                set.content.size = size;
                set.observed = false;
            }
            Act::SetRetention(_, claims_go) => {
                set.content.claims_go = claims_go;
                set.observed = false;
            }
            Act::SetFinalizers(_, finalizers) => set.finalizers = finalizers,
            Act::Release(_, finalizers) => {
                let refers = |owned: &Owned| {
                    self.cluster.owners(*owned).is_some_and(|(owners, guard)| owners & bit(set.uid) != 0 && !guard)
                };
                let referring = Owned::ALL.iter().any(refers);
                self.break_if(referring, Broken::ReleasedWithReferences);
                set.finalizers = finalizers;
                if delivery == Delivery::Slipped {
                    self.budget.spend(Event::Edit);
                    set.content.edit += 1;
                    self.ghost.asked.edit += 1;
                }
            }
            Act::Delete(_) => {
                self.judge_delete(&set);
                let foreground = mutant.is_some_and(|mutant| mutant.deletes_in_the_foreground());
                set.finalizers.foreground |= foreground;
                set.finalizers.orphan |= !foreground;
                self.cluster.going.orphaned |= !foreground;
                self.ghost.deleted_by_us |= !set.deleting;
                set.deleting = true;
            }
            Act::RestoreSpec { template, on_delete, claims_go, .. } => {
                set.content.template = template.unwrap_or(set.content.template);
                set.content.on_delete = on_delete.unwrap_or(set.content.on_delete);
                set.content.claims_go = claims_go.unwrap_or(set.content.claims_go);
                set.observed = false;
            }
            Act::RestoreOwnership(_, fields) => {
                set.fields = fields;
                set.marker = None;
            }
            _ => unreachable!("{act:?} is no patch of the set"),
        }
        let is_update = !matches!(act, Act::Delete(_));
        let stored = if is_update { self.updated(set) } else { set };
        self.ghost.rewritten |= stored != set && set.deleting;
        self.cluster.set = Some(stored);
        self.touch(Object::Set);
        self.remove_if_free();
        true
    }

    /// Whether the dry run of a PATCH of the set shows that a policy would change more, so that it is not sent. A set on its
    /// way out cannot be kept, so that its release is.
    fn is_rewritten(&self, act: &Act, mutant: Option<Mutant>) -> bool {
        let is_sent_anyhow = mutant.is_some_and(|mutant| mutant.sends_without_a_dry_run());
        let Some(set) = self.cluster.set.filter(|_| !is_sent_anyhow) else { return false };
        let template = match act {
            Act::RestoreSpec { template, .. } => template.unwrap_or(set.content.template),
            Act::PatchTemplates(..) | Act::SetRetention(..) | Act::SetFinalizers(..) | Act::RestoreOwnership(..) => {
                set.content.template
            }
            _ => return false,
        };
        self.cluster.policy.is_some_and(Policy::updates) && template != MUTATED
    }

    /// What a policy makes of an update of the set.
    pub(crate) fn updated(&self, mut set: Set) -> Set {
        let content = self.cluster.policy.map_or(set.content, |policy| policy.updated(set.content));
        set.observed &= content == set.content;
        set.content = content;
        set
    }

    fn judge_delete(&mut self, set: &Set) {
        let in_range = usize::from(set.content.replicas);
        let Some(journal) = self.cluster.journal(set.uid).copied() else {
            return self.break_if(true, Broken::DeletedWithoutJournal);
        };
        let behind = self.cluster.claims[..in_range].iter().flatten().any(|claim| claim.size < journal.target);
        let mut pods = self.cluster.pods.iter().flatten();
        let rolling = pods.any(|pod| pod.owners & bit(set.uid) != 0 && pod.template != set.content.template);
        self.break_if(behind || rolling, Broken::DeletedTooEarly);
    }
}
