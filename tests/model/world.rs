//! Everybody else: people, the StatefulSet controller, the garbage collector, time, and the other half of the operator, which
//! grows claims.

use std::sync::OnceLock;

use rso::api::bytes::Bytes;
use rso::api::names::{ClaimName, Ordinal, TemplateName, Uid as Name};
use rso::policy::claim::{self, ClaimStep};
use rso::policy::drivers::Driver;

use super::others;
use super::state::*;
use super::system::*;
use super::translate;

/// A move of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Move {
    // The StatefulSet controller.
    Status,
    Adopt(Owned),
    RollOut(u8),
    Spawn(u8),
    ScaleDown,
    OwnClaim(u8),
    // The garbage collector.
    Orphan(Owned),
    Orphaned,
    Overlook,
    Foreground(Owned),
    ForegroundDone,
    Collect(Owned),
    Prune(Owned),
    // Time.
    Patience,
    LongDeleting,
    Quiet,
    Arrives,
    // The operator's other half.
    GrowClaim(u8),
    // People, and what they run.
    Edit,
    Template,
    Scale,
    Raise,
    Cancel,
    Delete(Cascade),
    Force,
    Foreign,
    Namespace,
    PodDelete(u8),
    JournalDelete(Uid),
    LateOwner(u8),
    Lose(u8),
    Restart,
    Policy(Policy),
    Rival(RivalKind),
    // The rival.
    Take(Owned),
    /// A pod too many: its own, or one that it has taken.
    Discard(Option<u8>),
    Replenish,
}

/// How somebody deletes the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cascade {
    Background,
    Foreground,
    Orphan,
}

impl Move {
    /// It comes by itself, sooner or later.
    pub(crate) fn is_fair(self) -> bool {
        self.event().is_none()
    }

    /// What it costs.
    fn event(self) -> Option<Event> {
        match self {
            Self::Status
            | Self::Adopt(_)
            | Self::RollOut(_)
            | Self::Spawn(_)
            | Self::ScaleDown
            | Self::OwnClaim(_)
            | Self::Orphan(_)
            | Self::Orphaned
            | Self::Foreground(_)
            | Self::ForegroundDone
            | Self::Collect(_)
            | Self::Prune(_)
            | Self::Patience
            | Self::LongDeleting
            | Self::Quiet
            | Self::Arrives
            | Self::GrowClaim(_)
            | Self::Take(_)
            | Self::Discard(_)
            | Self::Replenish => None,
            Self::Overlook => Some(Event::Overlook),
            Self::Edit => Some(Event::Edit),
            Self::Template => Some(Event::Template),
            Self::Scale => Some(Event::Scale),
            Self::Raise => Some(Event::Raise),
            Self::Cancel => Some(Event::Cancel),
            Self::Delete(_) => Some(Event::Delete),
            Self::Force => Some(Event::Force),
            Self::Foreign => Some(Event::Foreign),
            Self::Namespace => Some(Event::Namespace),
            Self::PodDelete(_) => Some(Event::PodDelete),
            Self::JournalDelete(_) => Some(Event::JournalDelete),
            Self::LateOwner(_) => Some(Event::LateOwner),
            Self::Lose(_) => Some(Event::Lost),
            Self::Restart => Some(Event::Restart),
            Self::Policy(_) => Some(Event::Policy),
            Self::Rival(_) => Some(Event::Rival),
        }
    }
}

/// Every move that is possible and still allowed.
pub(crate) fn moves(state: &State) -> Vec<Move> {
    let mut all = Vec::with_capacity(24);
    controller(&state.cluster, &mut all);
    // It adopts before it tells of what it has seen. Without a rival it makes no difference.
    let may_be_robbed = state.cluster.rival.is_some() || state.budget.has(Event::Rival);
    if may_be_robbed && others::has_orphans(&state.cluster) {
        all.retain(|one| *one != Move::Status);
    }
    collector(&state.cluster, &mut all);
    time(&state.cluster, &mut all);
    all.extend(state.given_up.map(|_| Move::Arrives));
    let grows = |index: &u8| grown(&state.cluster, *index).is_some();
    all.extend([0, 1].into_iter().filter(grows).map(Move::GrowClaim));
    people(state, &mut all);
    others::moves(state, &mut all);
    all.retain(|one| one.event().is_none_or(|event| state.budget.has(event)));
    all
}

fn controller(cluster: &Cluster, all: &mut Vec<Move>) {
    let Some(set) = cluster.set.filter(|set| !set.deleting) else { return };
    let mine = bit(set.uid);
    if !set.observed || set.update != set.content.template {
        all.push(Move::Status);
    }
    let orphans = Owned::ALL.into_iter().filter(|owned| !matches!(owned, Owned::Claim(_)));
    all.extend(orphans.filter(|owned| others::is_free(cluster, *owned)).map(Move::Adopt));
    for index in 0..2_u8 {
        let (pod, claim) = (cluster.pods[usize::from(index)], cluster.claims[usize::from(index)]);
        let in_range = index < set.content.replicas;
        let is_settled = claim.is_none_or(|claim| (claim.owners & mine != 0) == set.content.claims_go);
        match pod {
            None if in_range && !cluster.namespace_terminating => all.push(Move::Spawn(index)),
            Some(pod) if pod.deleting => {}
            // The claim of a pod that is about to go is looked after first.
            Some(pod) if !in_range && pod.owners & mine != 0 && is_settled => all.push(Move::ScaleDown),
            Some(pod) if pod.owners & mine != 0 && rolls(&set, &pod) => all.push(Move::RollOut(index)),
            _ => {}
        }
        let has_pod = in_range || pod.is_some_and(|pod| pod.owners & mine != 0 && !pod.deleting);
        if has_pod && set.observed && !is_settled {
            all.push(Move::OwnClaim(index));
        }
    }
}

fn rolls(set: &Set, pod: &Pod) -> bool {
    set.observed && !set.content.on_delete && pod.template != set.content.template
}

fn collector(cluster: &Cluster, all: &mut Vec<Move>) {
    let live = cluster.set.map_or(0, |set| bit(set.uid));
    let refers = |owned: &Owned| cluster.owners(*owned).is_some_and(|(owners, _)| owners & live != 0);
    if let Some(set) = cluster.set.filter(|set| set.deleting) {
        let first = Owned::ALL.iter().find(|owned| refers(owned));
        match (set.finalizers.orphan, set.finalizers.foreground, first) {
            (true, _, Some(owned)) => all.extend([Move::Orphan(*owned), Move::Overlook]),
            (true, _, None) => all.push(Move::Orphaned),
            (false, true, Some(owned)) => all.push(Move::Foreground(*owned)),
            (false, true, None) => all.push(Move::ForegroundDone),
            (false, false, _) => {}
        }
    }
    for owned in Owned::ALL {
        let Some((owners, guard)) = cluster.owners(owned) else { continue };
        let dangling = owners & !cluster.alive();
        if dangling == 0 {
            continue;
        }
        all.push(if owners & cluster.alive() == 0 && !guard { Move::Collect(owned) } else { Move::Prune(owned) });
    }
}

fn time(cluster: &Cluster, all: &mut Vec<Move>) {
    // What takes a few seconds comes before what takes many: `duty` takes the first.
    if cluster.restless || cluster.restless_claims {
        all.push(Move::Quiet);
    }
    let passes = |journal: &&Journal| !journal.late && runs_out(cluster, journal);
    if cluster.journals.iter().flatten().any(|journal| passes(&journal)) {
        all.push(Move::Patience);
    }
    if cluster.set.is_some_and(|set| set.deleting && set.finalizers.orphan && !set.long_deleting) {
        all.push(Move::LongDeleting);
    }
}

/// A CREATE has no precondition but that the name is free. Somebody else's set that is created *and* deleted between the
/// release and the CREATE that follows it at once is left out: it would have to happen within one or two requests. So is one
/// that is deleted while a CREATE that was given up may still arrive.
fn is_created_meanwhile(state: &State) -> bool {
    if state.given_up.is_some() && state.cluster.set.is_some_and(|set| set.marker.is_none()) {
        return true;
    }
    let creates = |one: &Pending| {
        matches!(one.act, Act::Create(..)) || one.then.as_ref().is_some_and(|view| view.cluster.set.is_none())
    };
    state.operators.iter().filter_map(|one| one.pending.as_ref()).any(creates)
}

/// Whether time makes a difference in this stage: since the release, while no CREATE has been answered, and since the new set
/// was seen, while it is held.
fn runs_out(cluster: &Cluster, journal: &Journal) -> bool {
    match journal.stage {
        Stage::Prepared | Stage::Deleting | Stage::Guarded => true,
        Stage::Releasing => cluster.set.is_none(),
        // Within a minute the StatefulSet controller adopts what it can; what another one took it cannot.
        Stage::Adopting => {
            let is_robbed = cluster.rival.is_some() && !others::has_orphans(cluster);
            is_robbed || cluster.set.is_some_and(|set| set.finalizers.hold)
        }
    }
}

fn people(state: &State, all: &mut Vec<Move>) {
    let cluster = &state.cluster;
    match cluster.set {
        Some(set) => {
            all.extend([Move::Edit, Move::Template, Move::Scale]);
            if set.deleting {
                all.push(Move::Force);
            } else if !is_created_meanwhile(state) {
                all.extend([Cascade::Background, Cascade::Foreground, Cascade::Orphan].map(Move::Delete));
            }
            // While a round or a write is under way that the journal has permitted, nothing can take its place.
            if state.operators.iter().all(Operator::is_idle) {
                all.extend(cluster.journals.iter().flatten().map(|journal| Move::JournalDelete(journal.uid)));
            }
        }
        None if !cluster.namespace_terminating => all.push(Move::Foreign),
        None => {}
    }
    if cluster.departure != Departure::Unknown || cluster.going != Going::default() {
        all.push(Move::Restart);
    }
    if cluster.wanted > 0 {
        all.extend([Move::Raise, Move::Cancel]);
    }
    if !cluster.namespace_terminating {
        all.push(Move::Namespace);
    }
    all.extend((0..2).filter(|index| cluster.pods[usize::from(*index)].is_some()).map(Move::PodDelete));
    // A cache of before the switch to Retain is renewed before the guards go.
    let from = |journal: &&Journal| {
        journal.claims_go && journal.stage >= Stage::Deleting && !(journal.stage == Stage::Guarded && journal.late)
    };
    if let Some(journal) = cluster.journals.iter().flatten().rfind(from) {
        all.extend((0..2).filter(|index| is_of_the_old_set(cluster, journal, *index)).map(Move::LateOwner));
    }
}

/// Whether a controller that still sees the old set can believe that this claim is its: the claim was there with it. One
/// that was born since, for a pod of the new set, is of an ordinal that the old set did not have.
fn is_of_the_old_set(cluster: &Cluster, journal: &Journal, index: u8) -> bool {
    let index = usize::from(index);
    cluster.claims[index].is_some_and(|claim| claim.guard || journal.snapshot.pods[index].is_some())
}

/// What the claim grows to, as `policy::claim` decides.
fn grown(cluster: &Cluster, index: u8) -> Option<Size> {
    let small = cluster.claims[usize::from(index)]?;
    let set = cluster.set?;
    if cluster.wanted == 0 || cluster.namespace_terminating || index >= set.content.replicas {
        return None;
    }
    let (from, to) = (small.size, cluster.wanted.max(set.content.size));
    *GROWN[usize::from(from)][usize::from(to)].get_or_init(|| grows_to(index, from, to))
}

/// Few questions, asked often: each answer is kept.
static GROWN: [[OnceLock<Option<Size>>; 128]; 128] = [const { [const { OnceLock::new() }; 128] }; 128];

fn grows_to(index: u8, from: Size, to: Size) -> Option<Size> {
    let unit = Bytes::mib(128);
    let bytes = |size: Size| Bytes(u64::from(size) * unit.0);
    let real = claim::Claim {
        name: ClaimName::new(format!("data-db-{index}")),
        template: TemplateName::from("data"),
        ordinal: Ordinal(u32::from(index)),
        uid: Name::new("uid-of-claim"),
        resource_version: "1".to_owned(),
        phase: claim::Phase::Bound,
        deleting: false,
        protected: true,
        block_mode: false,
        requested: bytes(from),
        capacity: Some(bytes(from)),
        resize: claim::Resize::None,
        class: Some(claim::Class { name: "local".to_owned(), expandable: true, provisioner: "local".to_owned() }),
        resized_at: None,
        sizer: None,
        rescue: Default::default(),
    };
    match claim::next(&real, bytes(to), None, &Driver::default(), translate::now()) {
        ClaimStep::Patch { to, .. } => Some(Size::try_from(to.0 / unit.0).unwrap()),
        ClaimStep::Settled | ClaimStep::Wait(_) | ClaimStep::Blocked(_) => None,
    }
}

impl State {
    /// Carries out a move.
    pub(crate) fn perform(&mut self, one: Move) {
        if let Some(event) = one.event() {
            self.budget.spend(event);
        }
        match one {
            Move::Status | Move::Adopt(_) | Move::RollOut(_) | Move::Spawn(_) | Move::ScaleDown | Move::OwnClaim(_) => {
                self.control(one)
            }
            Move::Orphan(owned) => self.keep_owners(owned, |live| !live),
            Move::Prune(owned) => {
                let rival = self.cluster.rival.map_or(0, |_| bit(RIVAL));
                self.keep_owners(owned, |live| live | rival);
            }
            Move::Orphaned => self.finalize(|finalizers| finalizers.orphan = false),
            Move::Overlook => {
                // Without the hold it is not our deletion.
                self.ghost.pods_may_go |= !self.cluster.is_held_old();
                self.finalize(|finalizers| finalizers.orphan = false);
            }
            Move::ForegroundDone => self.finalize(|finalizers| finalizers.foreground = false),
            // With a second, solid owner the reference is taken off instead: `attemptToDeleteItem` of the collector.
            Move::Foreground(owned) if self.cluster.owners(owned).is_some_and(|(_, guard)| guard) => {
                self.keep_owners(owned, |live| !live);
            }
            Move::Foreground(owned) | Move::Collect(owned) => self.collect(owned),
            Move::Patience => {
                let cluster = self.cluster;
                // A request arrives before this long, or never.
                self.given_up.take_if(|_| cluster.in_flight().is_some_and(|journal| journal.stage == Stage::Adopting));
                self.lose_patience(|journal| runs_out(&cluster, journal));
            }
            Move::LongDeleting => self.cluster.set.iter_mut().for_each(|set| set.long_deleting = true),
            Move::Quiet => {
                self.cluster.restless = false;
                self.cluster.restless_claims = false;
            }
            Move::Arrives => {
                if let Some(creation) = self.given_up.take() {
                    self.create(creation, Delivery::Answered);
                }
            }
            Move::GrowClaim(index) => {
                let to = grown(&self.cluster, index).unwrap();
                let claim = self.cluster.claims[usize::from(index)].as_mut().unwrap();
                let shrinks = to < claim.size;
                claim.size = to;
                self.break_if(shrinks, Broken::Shrunk);
                self.touch(Object::Claim(usize::from(index)));
            }
            Move::Edit
            | Move::Template
            | Move::Scale
            | Move::Raise
            | Move::Cancel
            | Move::Delete(_)
            | Move::Force
            | Move::Foreign
            | Move::Namespace
            | Move::PodDelete(_)
            | Move::JournalDelete(_)
            | Move::LateOwner(_) => self.people(one),
            Move::Restart => {
                let finalizers = self.cluster.set.map_or(Finalizers::default(), |set| set.finalizers);
                let going = &mut self.cluster.going;
                (going.orphaned, going.is_sure) = (finalizers.orphan, finalizers.foreground);
                self.cluster.departure = Departure::Unknown;
                self.ghost.claims_go = 0;
            }
            Move::Lose(_) | Move::Policy(_) | Move::Rival(_) | Move::Take(_) | Move::Discard(_) | Move::Replenish => {
                self.others(one)
            }
        }
    }

    fn control(&mut self, one: Move) {
        let mut set = self.cluster.set.unwrap();
        let mine = bit(set.uid);
        match one {
            Move::Status => {
                set.observed = true;
                set.update = set.content.template;
                self.cluster.set = Some(set);
                self.touch(Object::Set);
            }
            Move::Adopt(owned) => {
                self.rewrite(owned);
                self.cluster.set_owners(owned, mine, false);
                self.cluster.restless = true;
                self.touch(owned.object());
            }
            Move::RollOut(index) => {
                let is_wanted = set.content.template == self.ghost.asked.template || self.ghost.rewritten;
                self.break_if(!is_wanted, Broken::PodRestarted);
                self.bear(index, &set);
            }
            Move::Spawn(index) => self.bear(index, &set),
            Move::ScaleDown => {
                self.cluster.pods[1] = None;
                self.touch(Object::Pod(1));
            }
            Move::OwnClaim(index) => {
                let claim = self.cluster.claims[usize::from(index)].as_mut().unwrap();
                claim.owners = if set.content.claims_go { claim.owners | mine } else { claim.owners & !mine };
                self.ghost.owned |= if set.content.claims_go { bit(index) } else { 0 };
                self.cluster.restless_claims = true;
                self.touch(Object::Claim(usize::from(index)));
            }
            _ => unreachable!("{one:?} is not the controller's"),
        }
    }

    fn bear(&mut self, index: u8, set: &Set) {
        let slot = usize::from(index);
        let birth = self.ghost.next_birth;
        self.ghost.next_birth += 1;
        self.cluster.pods[slot] =
            Some(Pod { birth, owners: bit(set.uid), template: set.content.template, deleting: false });
        self.cluster.claims[slot].get_or_insert(Claim { owners: 0, guard: false, size: set.content.size });
        self.cluster.restless = true;
        self.touch(Object::Pod(slot));
        self.touch(Object::Claim(slot));
    }

    /// Takes references off a dependent: those to the set that is being orphaned, or those that lead to nothing.
    fn keep_owners(&mut self, owned: Owned, kept: impl FnOnce(u8) -> u8) {
        let live = self.cluster.set.map_or(0, |set| bit(set.uid));
        let (owners, guard) = self.cluster.owners(owned).unwrap();
        self.rewrite(owned);
        self.cluster.set_owners(owned, owners & kept(live), guard);
        self.touch(owned.object());
    }

    /// What a policy makes of an update of a dependent, whoever sends it: a pod with another image restarts.
    pub(crate) fn rewrite(&mut self, owned: Owned) {
        let restarts = self.cluster.policy == Some(Policy::ImageOfPodsOnUpdate) && matches!(owned, Owned::Pod(_));
        self.break_if(restarts, Broken::PodRestarted);
    }

    fn finalize(&mut self, mut change: impl FnMut(&mut Finalizers)) {
        self.cluster.set.iter_mut().for_each(|set| change(&mut set.finalizers));
        let stored = self.cluster.set.map(|set| self.updated(set));
        self.ghost.rewritten |= stored != self.cluster.set;
        self.cluster.set = stored;
        self.touch(Object::Set);
        self.remove_if_free();
    }

    pub(crate) fn collect(&mut self, owned: Owned) {
        self.cluster.remove(owned);
        self.touch(owned.object());
        match owned {
            Owned::Pod(_) => self.break_if(!self.ghost.pods_may_go, Broken::PodLost),
            Owned::Revision => {}
            Owned::Claim(index) => {
                // It never belonged to a set: nobody wanted it to go with one.
                let is_foreign = self.ghost.owned & bit(index) == 0 && !self.cluster.namespace_terminating;
                self.break_if(!self.ghost.claims_may_go || is_foreign, Broken::ClaimLost);
            }
        }
    }

    fn people(&mut self, one: Move) {
        match one {
            Move::Edit => {
                self.ghost.asked.edit += 1;
                let edit = self.ghost.asked.edit;
                self.edit(|set| set.content.edit = edit);
            }
            Move::Template => {
                self.ghost.asked.template += 1;
                let template = self.ghost.asked.template;
                self.edit(|set| {
                    set.content.template = template;
                    set.observed = false;
                    if set.fields == Fields::Operator {
                        set.fields = Fields::Both;
                    }
                });
            }
            Move::Scale => {
                self.ghost.asked.replicas = 3 - self.ghost.asked.replicas;
                let replicas = self.ghost.asked.replicas;
                self.edit(|set| {
                    set.content.replicas = replicas;
                    set.observed = false;
                });
            }
            Move::Raise => self.cluster.wanted += GIB,
            Move::Cancel => self.cluster.wanted = 0,
            Move::Delete(cascade) => self.delete(cascade),
            Move::Force => self.force(),
            Move::Foreign => {
                let content = Content { size: GIB, ..self.ghost.asked };
                (self.ghost.owned, self.ghost.owed) = (0, 0);
                self.ghost.deleted = false;
                self.insert(Creation { content, marker: None, held: false }, Fields::Tools);
            }
            Move::Namespace => {
                self.cluster.namespace_terminating = true;
                self.ghost.claims_go = 0;
                self.ghost.deleted = true;
                self.ghost.pods_may_go = true;
                self.ghost.claims_may_go = true;
            }
            Move::PodDelete(index) => {
                self.cluster.pods[usize::from(index)] = None;
                self.touch(Object::Pod(usize::from(index)));
            }
            Move::JournalDelete(uid) => {
                self.cluster.drop_journal(uid);
                self.ghost.journal_lost = true;
                self.touch(Object::Journal);
            }
            Move::LateOwner(index) => {
                let journals = self.cluster.journals.iter().flatten();
                let old = journals.filter(|journal| journal.claims_go).map(|journal| journal.uid).next_back().unwrap();
                self.cluster.claims[usize::from(index)].iter_mut().for_each(|claim| claim.owners |= bit(old));
                self.ghost.owned |= bit(index);
                self.touch(Object::Claim(usize::from(index)));
            }
            _ => unreachable!("{one:?} is nobody's"),
        }
    }

    fn edit(&mut self, change: impl FnMut(&mut Set)) {
        self.cluster.set.iter_mut().for_each(change);
        self.cluster.set = self.cluster.set.map(|set| self.updated(set));
        // Whoever updates a set under a policy of updates applies what the policy makes of it.
        if let (Some(set), true) = (self.cluster.set, self.cluster.policy.is_some_and(Policy::updates)) {
            self.ghost.asked.template = set.content.template;
        }
        self.touch(Object::Set);
    }

    fn delete(&mut self, cascade: Cascade) {
        let is_held = self.cluster.is_held_old();
        if !is_held {
            self.ghost.deleted = true;
            self.ghost.claims_may_go |= self.ghost.asked.claims_go;
        }
        if cascade != Cascade::Orphan && (!is_held || cascade == Cascade::Foreground) {
            self.ghost.pods_may_go = true;
            self.ghost.claims_may_go |= self.ghost.asked.claims_go;
        }
        let set = self.cluster.set.unwrap();
        self.cluster.going = Going {
            orphaned: cascade == Cascade::Orphan,
            is_sure: cascade == Cascade::Foreground || set.finalizers.is_empty(),
            claims: self.cluster.claims_of(set.uid),
        };
        self.edit(|set| {
            set.deleting = true;
            set.finalizers.foreground |= cascade == Cascade::Foreground;
            set.finalizers.orphan |= cascade == Cascade::Orphan;
        });
        self.remove_if_free();
    }

    fn force(&mut self) {
        let set = self.cluster.set.unwrap();
        self.ghost.pods_may_go = true;
        self.ghost.claims_may_go |= self.ghost.asked.claims_go;
        // Our deletion was on its way already: that it was forced takes nothing back. Somebody else's, of a set that was
        // held, may have come at any moment before it, also while a closed gate was about to take the journal back.
        self.ghost.forced |= set.finalizers.hold && !self.ghost.deleted_by_us;
        self.edit(|set| set.finalizers = Finalizers::default());
        self.remove_if_free();
    }
}
