//! The runs: how many operators, which set, what may happen how often.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::checker::{Happens, Kind, LIVENESS, Reaching, SAFETY, SITUATIONS, System};
use super::explore::explore;
use super::mutants::Mutant;
use super::state::{Cluster, Owned, Policy, Rival, RivalKind};
use super::system::Event::{
    self, Answer, Cancel, Delete, Edit, Force, Foreign, JournalDelete, LateCreate, LateOwner, Lost, Mutation,
    Namespace, Overlook, PodDelete, Probe, Raise, Repeat, Scale, Template, Torn,
};
use super::system::{Budget, EVENTS, State};

/// Who is there from the start, beside the set: each in a world of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    Nobody,
    /// Another controller whose selector matches the pods.
    Rivals,
    /// A policy that changes updates.
    UpdatePolicies,
    /// A policy that changes creations.
    CreatePolicies,
    /// A policy that changes pods.
    PodPolicy,
}

impl Others {
    fn beside(self, alone: Cluster) -> Vec<Cluster> {
        let with_policies =
            |policies: &[Policy]| policies.iter().map(|policy| Cluster { policy: Some(*policy), ..alone }).collect();
        match self {
            Self::Nobody => vec![alone],
            Self::Rivals => {
                let rival = |kind: RivalKind| Some(Rival { kind, own: kind.takes(Owned::Pod(0)) });
                RivalKind::ALL.map(|kind| Cluster { rival: rival(kind), ..alone }).into()
            }
            Self::UpdatePolicies => with_policies(&[Policy::TemplateOnUpdate, Policy::TemplateAlways]),
            Self::CreatePolicies => {
                with_policies(&[Policy::TemplateOnCreate, Policy::SizeOnCreate, Policy::AnnotationOnCreate])
            }
            Self::PodPolicy => with_policies(&[Policy::ImageOfPodsOnUpdate]),
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    /// One: the lease is fenced, so that no two ever write. Two: both write whenever they like, on what they saw at any time.
    pub(crate) operators: usize,
    pub(crate) replicas: u8,
    /// `whenDeleted: Delete`.
    pub(crate) claims_go: bool,
    /// Who is there from the start.
    pub(crate) others: Others,
    /// What may happen in the small run.
    pub(crate) small: &'static [(Event, u8)],
    /// What may happen in the full one.
    pub(crate) full: &'static [(Event, u8)],
}

const fn run(name: &'static str, small: &'static [(Event, u8)], full: &'static [(Event, u8)]) -> Run {
    Run { name, operators: 1, replicas: 1, claims_go: false, others: Others::Nobody, small, full }
}

impl Run {
    const fn claims_go(self) -> Self {
        Self { claims_go: true, ..self }
    }

    const fn two_pods(self) -> Self {
        Self { replicas: 2, ..self }
    }

    const fn beside(self, others: Others) -> Self {
        Self { others, ..self }
    }

    fn has_others(&self) -> bool {
        let come = [Event::Rival, Event::Policy, Lost];
        self.others != Others::Nobody || self.small.iter().any(|(event, _)| come.contains(event))
    }

    const fn unfenced(self) -> Self {
        Self { operators: 2, ..self }
    }
}

/// Every run.
pub(crate) const RUNS: [Run; 28] = [
    run("edits", &[(Edit, 2)], &[(Edit, 3), (Template, 2), (Scale, 2), (Overlook, 1), (PodDelete, 1)]),
    run(
        "edits, claims go with the set",
        &[(Edit, 1), (LateOwner, 1)],
        &[(Edit, 2), (Template, 1), (Scale, 1), (LateOwner, 2), (PodDelete, 1)],
    )
    .claims_go(),
    run("roll-outs", &[(Template, 1), (PodDelete, 1)], &[(Template, 3), (PodDelete, 2), (Scale, 1), (Edit, 1)])
        .two_pods(),
    run(
        "larger and larger",
        &[(Raise, 1), (Edit, 1)],
        &[(Raise, 3), (Edit, 2), (Scale, 1), (Template, 1), (Cancel, 1)],
    ),
    run("cancelled", &[(Cancel, 1), (Template, 1)], &[(Cancel, 1), (Template, 1), (Scale, 2), (Edit, 1), (Probe, 2)])
        .claims_go(),
    run(
        "deleted by somebody",
        &[(Delete, 1), (Edit, 1)],
        &[(Delete, 2), (Foreign, 1), (Edit, 1), (Template, 1), (Scale, 1), (Overlook, 1)],
    ),
    run(
        "deleted, claims go with the set",
        &[(Delete, 1), (Event::Restart, 1)],
        &[(Delete, 1), (Edit, 1), (Template, 1), (LateOwner, 1), (Scale, 1), (Event::Restart, 1)],
    )
    .claims_go(),
    run(
        "scaled down, claims go with the set",
        &[(Scale, 1)],
        &[(Scale, 2), (Edit, 1), (LateOwner, 1), (PodDelete, 1), (Delete, 1)],
    )
    .two_pods()
    .claims_go(),
    run("forced away", &[(Delete, 1), (Force, 1)], &[(Delete, 2), (Force, 2), (Foreign, 1), (Edit, 1), (Template, 1)]),
    run(
        "the name is taken",
        &[(Foreign, 1), (Template, 1)],
        &[(Foreign, 2), (Template, 1), (Edit, 1), (Delete, 1), (Raise, 1)],
    ),
    run(
        "the namespace goes",
        &[(Namespace, 1), (Edit, 1)],
        &[(Namespace, 1), (Edit, 1), (Template, 1), (Delete, 1), (Scale, 1)],
    )
    .claims_go(),
    run(
        "journals are deleted",
        &[(JournalDelete, 1)],
        &[(JournalDelete, 2), (Edit, 2), (Template, 1), (Scale, 2), (PodDelete, 1), (Overlook, 1)],
    ),
    run(
        "a webhook and dry runs",
        &[(Mutation, 1), (Probe, 1)],
        &[(Mutation, 2), (Probe, 2), (Template, 2), (Edit, 2), (Scale, 2), (PodDelete, 1)],
    ),
    run("reads are torn", &[(Torn, 2), (Edit, 1)], &[(Torn, 3), (Edit, 1), (Template, 1), (Scale, 1), (Delete, 1)]),
    run("reads are torn, claims go with the set", &[(Torn, 1)], &[(Torn, 3), (Edit, 1), (LateOwner, 1), (Scale, 1)])
        .claims_go(),
    run(
        "a CREATE is given up and arrives",
        &[(LateCreate, 1), (Delete, 1)],
        &[(LateCreate, 1), (Delete, 2), (Foreign, 1), (Edit, 1), (Template, 1), (Scale, 1)],
    ),
    run(
        "a CREATE is given up and arrives, claims go with the set",
        &[(LateCreate, 1)],
        &[(LateCreate, 1), (Delete, 1), (Edit, 1), (LateOwner, 1), (Raise, 1)],
    )
    .claims_go(),
    run("two leaders", &[(Repeat, 1)], &[(Edit, 1), (Repeat, 1), (Template, 1), (Delete, 1)]).unfenced(),
    run("two leaders, claims go with the set", &[], &[(Edit, 1), (Repeat, 1), (Scale, 1)]).claims_go().unfenced(),
    run("a pod stays terminating", &[(Lost, 1), (Edit, 1)], &[(Lost, 2), (PodDelete, 2), (Edit, 1), (Overlook, 1)])
        .two_pods(),
    run(
        "an answer has another body",
        &[(Answer, 1), (Edit, 1)],
        &[(Answer, 1), (Edit, 1), (Template, 1), (Delete, 1), (LateCreate, 1)],
    ),
    run("another controller selects the pods", &[(Edit, 1)], &[(Edit, 2), (Template, 1), (Scale, 1), (PodDelete, 1)])
        .beside(Others::Rivals),
    run(
        "another controller comes",
        &[(Event::Rival, 1)],
        &[(Event::Rival, 1), (Edit, 1), (Overlook, 1), (PodDelete, 1)],
    )
    .two_pods(),
    run(
        "another controller comes, claims go with the set",
        &[(Event::Rival, 1)],
        &[(Event::Rival, 1), (Edit, 1), (LateOwner, 1)],
    )
    .claims_go(),
    run("a policy changes updates", &[(Edit, 1)], &[(Edit, 2), (Template, 1), (Scale, 1), (PodDelete, 1)])
        .beside(Others::UpdatePolicies),
    run("a policy changes creations", &[(Edit, 1)], &[(Edit, 2), (Template, 1), (Scale, 1), (Raise, 1)])
        .beside(Others::CreatePolicies),
    run("a policy changes pods", &[(Edit, 1)], &[(Edit, 2), (Template, 1), (Scale, 1), (PodDelete, 1)])
        .two_pods()
        .beside(Others::PodPolicy),
    run("a policy comes", &[(Event::Policy, 1)], &[(Event::Policy, 1), (Edit, 1), (Template, 1)]),
];

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) unique: usize,
    pub(crate) depth: usize,
    pub(crate) took: Duration,
    /// Nothing was left unexplored.
    pub(crate) is_complete: bool,
    pub(crate) found: Vec<&'static str>,
    /// The property, and how it was broken.
    pub(crate) failed: Vec<(&'static str, String)>,
}

impl Run {
    fn system(&self, events: &[(Event, u8)], mutant: Option<Mutant>, sample: u64) -> System {
        System {
            starts: self.others.beside(Cluster::settled(self.replicas, self.claims_go, false)),
            operators: self.operators,
            budget: Budget::of(events),
            mutant,
            sample,
            known: Reaching::default(),
            looks_around: sample == 1,
        }
    }

    /// Explores to the end, or until so many states were seen.
    pub(crate) fn explore(
        &self,
        events: &[(Event, u8)],
        mutant: Option<Mutant>,
        sample: u64,
        most: Option<NonZeroUsize>,
    ) -> Outcome {
        let started = Instant::now();
        let mut builder =
            self.system(events, mutant, sample).checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
        if let Some(most) = most {
            builder = builder.target_state_count(most.get());
        }
        let checker = builder.spawn_bfs().join();
        let discoveries = checker.discoveries();
        let is_claimed = |name: &str, kind: Kind| {
            SAFETY.iter().chain(&LIVENESS).chain(&SITUATIONS).any(|known| known.0 == name && known.1 == kind)
        };
        let failed = discoveries.iter().filter(|(name, _)| is_claimed(name, Kind::Always));
        let told = failed.map(|(name, path)| {
            let rest = self.system(events, mutant, 1).rest_of(path.last_state());
            let steps: String = path.clone().into_vec().iter().map(step_of).collect();
            (*name, format!("{steps}  rest: {rest:?}"))
        });
        Outcome {
            unique: checker.unique_state_count(),
            depth: checker.max_depth(),
            took: started.elapsed(),
            is_complete: most.is_none_or(|most| checker.state_count() < most.get()),
            found: discoveries.keys().copied().filter(|name| is_claimed(name, Kind::Sometimes)).collect(),
            failed: told.collect(),
        }
    }
}

impl Run {
    /// Explores what may happen in the full run, until so many states were generated. Liveness is asked of one in sixteen.
    pub(crate) fn explore_far(&self, most: NonZeroUsize) -> Outcome {
        let started = Instant::now();
        let extent = explore(&self.system(self.full, None, 16), most.get());
        if extent.broken.is_some() {
            return self.explore(self.full, None, 16, Some(most));
        }
        Outcome {
            unique: extent.unique,
            depth: extent.depth,
            took: started.elapsed(),
            is_complete: extent.is_complete,
            found: Vec::new(),
            failed: Vec::new(),
        }
    }
}

/// A step of a way, for people: what happens, and which write ends with it.
fn step_of((state, happens): &(State, Option<Happens>)) -> String {
    let ends = |index: usize| state.operators[index].pending.as_ref().map(|pending| &pending.act);
    match happens {
        Some(Happens::Deliver(index, delivery)) => format!("  {delivery:?}({index}): {:?}\n", ends(*index)),
        Some(happens) => format!("  {happens:?}\n"),
        None => String::new(),
    }
}

/// What may happen, for people.
pub(crate) fn spoken(events: &[(Event, u8)]) -> String {
    assert!(events.len() <= EVENTS);
    let words: Vec<String> = events.iter().map(|(event, count)| format!("{event:?} {count}")).collect();
    if words.is_empty() { "nothing else".to_owned() } else { words.join(", ") }
}

/// The first run in which a seeded bug is caught, and by which property.
pub(crate) fn hunt(mutant: Mutant) -> Option<(&'static str, Vec<&'static str>)> {
    // What only shows in a world with others is not looked for in those without.
    let is_apt = |run: &&Run| !mutant.needs_others() || run.has_others();
    RUNS.iter().filter(is_apt).find_map(|run| {
        let outcome = run.explore(run.small, Some(mutant), 1, NonZeroUsize::new(100_000));
        let broken: Vec<&str> = outcome.failed.iter().map(|(name, _)| *name).collect();
        (!broken.is_empty()).then_some((run.name, broken))
    })
}
