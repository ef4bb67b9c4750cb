//! Bugs that a protocol like this one could have. Each is seeded into what the production code sees or answers, and each must
//! be caught: a checker that finds nothing proves nothing until it has found these.

use super::state::*;

/// A seeded bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mutant {
    DeletesWithoutResourceVersion,
    DeletesWhateverHasTheName,
    DeletesInTheForeground,
    ForgetsTheHold,
    NeverLooksForReferences,
    KeepsTheFirstImageAndHistory,
    IgnoresTheLastWordOfTheWatch,
    CreatesWithoutTheParachute,
    BelievesTheRevision,
    CreatesWithoutItsId,
    ForgetsThatItsSetWasDeleted,
    CreatesAgainAfterAdoption,
    CreatesWhatWasDeletedBefore,
    EndsWithTheCreate,
    LeavesClaimsUnguarded,
    DropsGuardsAtOnce,
    DoesNotWaitForClaims,
    DoesNotWaitForRollouts,
    TakesForeignSetsForItsOwn,
    DeletesForeignSets,
    ForgetsRetentionWhenUndoing,
    ForgetsTheStrategy,
    ForgetsRetentionWhenLanding,
    KeepsTheFields,
    IgnoresTheEndOfTheNamespace,
    ForgetsAbsentSets,
    CreatesTheSmallSize,
    LeavesTheJournal,
    CreatesAgainWithoutTheHold,
    TakesTheHoldOfTheNewSetOffAtOnce,
    KeepsClaimsThatGoWithTheirSet,
    TakesEveryClaimAlong,
    ForgetsWhatScalingDownHasLeft,
    WaitsForTerminatingPods,
    NeverLooksForRivals,
    LooksForRivalsOnlyAtFirst,
    WaitsForEverForWhatOthersTook,
    BelievesDryRunsByTheirCode,
    NeverAsksAboutPods,
    SendsWithoutADryRun,
}

impl Mutant {
    pub(crate) const ALL: [Self; 40] = [
        Self::DeletesWithoutResourceVersion,
        Self::DeletesWhateverHasTheName,
        Self::DeletesInTheForeground,
        Self::ForgetsTheHold,
        Self::NeverLooksForReferences,
        Self::KeepsTheFirstImageAndHistory,
        Self::IgnoresTheLastWordOfTheWatch,
        Self::CreatesWithoutTheParachute,
        Self::BelievesTheRevision,
        Self::CreatesWithoutItsId,
        Self::ForgetsThatItsSetWasDeleted,
        Self::CreatesAgainAfterAdoption,
        Self::CreatesWhatWasDeletedBefore,
        Self::EndsWithTheCreate,
        Self::LeavesClaimsUnguarded,
        Self::DropsGuardsAtOnce,
        Self::DoesNotWaitForClaims,
        Self::DoesNotWaitForRollouts,
        Self::TakesForeignSetsForItsOwn,
        Self::DeletesForeignSets,
        Self::ForgetsRetentionWhenUndoing,
        Self::ForgetsTheStrategy,
        Self::ForgetsRetentionWhenLanding,
        Self::KeepsTheFields,
        Self::IgnoresTheEndOfTheNamespace,
        Self::ForgetsAbsentSets,
        Self::CreatesTheSmallSize,
        Self::LeavesTheJournal,
        Self::CreatesAgainWithoutTheHold,
        Self::TakesTheHoldOfTheNewSetOffAtOnce,
        Self::KeepsClaimsThatGoWithTheirSet,
        Self::TakesEveryClaimAlong,
        Self::ForgetsWhatScalingDownHasLeft,
        Self::WaitsForTerminatingPods,
        Self::NeverLooksForRivals,
        Self::LooksForRivalsOnlyAtFirst,
        Self::WaitsForEverForWhatOthersTook,
        Self::BelievesDryRunsByTheirCode,
        Self::NeverAsksAboutPods,
        Self::SendsWithoutADryRun,
    ];

    /// The bug in words: the name in lower case.
    pub(crate) fn spoken(self) -> String {
        let name = format!("{self:?}");
        let lower = |(index, letter): (usize, char)| {
            let space = (index > 0 && letter.is_uppercase()).then_some(' ');
            space.into_iter().chain(letter.to_lowercase())
        };
        name.char_indices().flat_map(lower).collect()
    }

    /// What the operator believes to see.
    pub(crate) fn sees(self, mut view: View) -> View {
        let cluster = &mut view.cluster;
        let own = cluster.in_flight().copied();
        match self {
            Self::ForgetsTheHold => cluster.set.iter_mut().for_each(|set| set.finalizers.hold = true),
            Self::NeverLooksForReferences => {
                if let Some(uid) = cluster.set.filter(|set| set.deleting).map(|set| set.uid) {
                    for owned in Owned::ALL {
                        if let Some((owners, guard)) = cluster.owners(owned) {
                            cluster.set_owners(owned, owners & !bit(uid), guard);
                        }
                    }
                    cluster.set.iter_mut().for_each(|set| set.finalizers.orphan = false);
                }
            }
            Self::KeepsTheFirstImageAndHistory => {
                let old = own.filter(|journal| journal.stage >= Stage::Deleting);
                if let (Some(journal), Some(set)) = (old, &mut cluster.set)
                    && set.uid == journal.uid
                {
                    set.content = journal.image;
                }
                forget(&mut view);
            }
            Self::IgnoresTheLastWordOfTheWatch => forget(&mut view),
            Self::BelievesTheRevision => {
                if let (Some(journal), Some(set)) = (own, &mut cluster.set) {
                    set.update = journal.snapshot.update;
                }
            }
            Self::ForgetsThatItsSetWasDeleted if view.history == History::SuccessorGone => {
                view.history = History::Unknown;
            }
            Self::CreatesAgainAfterAdoption if cluster.set.is_none() => {
                pretend(cluster, Stage::Adopting, Stage::Releasing);
                view.history = if view.history == History::SuccessorGone { History::Unknown } else { view.history };
            }
            Self::CreatesWhatWasDeletedBefore if cluster.set.is_none() => {
                pretend(cluster, Stage::Prepared, Stage::Releasing);
            }
            Self::LeavesClaimsUnguarded if own.is_some_and(|journal| journal.stage == Stage::Prepared) => {
                cluster.claims.iter_mut().flatten().for_each(|claim| claim.guard = true);
            }
            Self::DropsGuardsAtOnce => cluster.journals.iter_mut().flatten().for_each(|journal| journal.late = true),
            Self::TakesTheHoldOfTheNewSetOffAtOnce => {
                let journals = cluster.journals.iter_mut().flatten();
                journals.for_each(|journal| journal.late |= journal.stage == Stage::Adopting);
            }
            Self::KeepsClaimsThatGoWithTheirSet => cluster.departure = Departure::Unknown,
            Self::ForgetsWhatScalingDownHasLeft => {
                cluster.journals.iter_mut().flatten().for_each(|journal| journal.owned = 0);
            }
            Self::TakesEveryClaimAlong => {
                if let Departure::WithClaims(_, claims) = &mut cluster.departure {
                    *claims = 0b11;
                }
            }
            Self::DoesNotWaitForClaims => {
                let wanted = own.map_or(cluster.wanted, |journal| journal.target);
                cluster.claims.iter_mut().flatten().for_each(|claim| claim.size = claim.size.max(wanted));
            }
            Self::DoesNotWaitForRollouts => {
                if let Some(update) = cluster.set.map(|set| set.update) {
                    cluster.pods.iter_mut().flatten().for_each(|pod| pod.template = update);
                }
            }
            Self::TakesForeignSetsForItsOwn => {
                if let (Some(journal), Some(set)) = (own, &mut cluster.set)
                    && set.uid != journal.uid
                    && journal.stage >= Stage::Releasing
                {
                    set.marker = Some(journal.uid);
                }
            }
            Self::NeverLooksForRivals => view.rivals = Some(None),
            Self::LooksForRivalsOnlyAtFirst if own.is_some() => view.rivals = Some(None),
            Self::BelievesDryRunsByTheirCode => view.policy = None,
            Self::NeverAsksAboutPods => {
                view.policy = view.policy.filter(|policy| *policy != Policy::ImageOfPodsOnUpdate);
            }
            Self::WaitsForEverForWhatOthersTook => {
                let adopting = cluster.journals.iter_mut().flatten().filter(|journal| journal.stage == Stage::Adopting);
                adopting.for_each(|journal| journal.late = false);
            }
            Self::WaitsForTerminatingPods => {
                cluster.pods.iter_mut().flatten().for_each(|pod| pod.deleting = false);
            }
            Self::IgnoresTheEndOfTheNamespace => cluster.namespace_terminating = false,
            _ => {}
        }
        view
    }

    /// What the operator does instead.
    pub(crate) fn does(self, step: Step, view: &View) -> Step {
        let own = view.cluster.in_flight();
        let Step::Write(act) = step else { return step };
        let instead = match (self, act) {
            (Self::CreatesWithoutTheParachute, Act::Create(creation)) => {
                let asked = own.map_or(creation.content, |journal| journal.image);
                let content = Content { on_delete: asked.on_delete, ..creation.content };
                Act::Create(Creation { content, ..creation })
            }
            (Self::CreatesWithoutItsId, Act::Create(creation)) => Act::Create(Creation { marker: None, ..creation }),
            (Self::CreatesTheSmallSize, Act::Create(creation)) => {
                Act::Create(Creation { content: Content { size: GIB - 1, ..creation.content }, ..creation })
            }
            (Self::CreatesAgainWithoutTheHold, Act::Create(creation)) => {
                Act::Create(Creation { held: false, ..creation })
            }
            (Self::EndsWithTheCreate, Act::UpdateJournal(journal)) if journal.stage == Stage::Adopting => {
                Act::DeleteJournal(journal.uid)
            }
            (Self::DeletesForeignSets, Act::DeleteJournal(uid)) => match view.cluster.set {
                Some(set) if set.uid != uid && set.marker.is_none() && is_before_adoption(own) => Act::Delete(set.uid),
                _ => act,
            },
            (Self::ForgetsRetentionWhenUndoing, Act::SetRetention(_, true)) => end(own, act),
            (Self::ForgetsTheStrategy, Act::RestoreSpec { uid, .. }) => Act::RestoreOwnership(uid, Fields::Tools),
            (Self::ForgetsRetentionWhenLanding, Act::RestoreSpec { uid, template, on_delete, claims_go: Some(_) }) => {
                match on_delete {
                    Some(_) => Act::RestoreSpec { uid, template, on_delete, claims_go: None },
                    None => Act::RestoreOwnership(uid, Fields::Tools),
                }
            }
            (Self::ForgetsRetentionWhenLanding | Self::ForgetsTheStrategy, Act::RestoreOwnership(..)) => act,
            (Self::KeepsTheFields, Act::RestoreOwnership(uid, _)) => Act::RestoreOwnership(uid, Fields::Operator),
            (Self::ForgetsAbsentSets, Act::Create(..)) => return Step::Done(false),
            (Self::LeavesTheJournal, Act::DeleteJournal(_)) => return Step::Done(false),
            _ => act,
        };
        Step::Write(instead)
    }

    /// Whether a write is sent without its resourceVersion.
    pub(crate) fn ignores_preconditions(self, act: &Act) -> bool {
        match self {
            Self::DeletesWithoutResourceVersion | Self::DeletesWhateverHasTheName => matches!(act, Act::Delete(_)),
            _ => false,
        }
    }

    /// Whether a write is sent without a uid.
    pub(crate) fn ignores_uid(self, act: &Act) -> bool {
        self == Self::DeletesWhateverHasTheName && matches!(act, Act::Delete(_))
    }

    /// Whether it makes a difference only where somebody else is at work, or a node is lost.
    pub(crate) fn needs_others(self) -> bool {
        self >= Self::WaitsForTerminatingPods
    }

    /// Whether a PATCH of the set is sent whatever its dry run answers.
    pub(crate) fn sends_without_a_dry_run(self) -> bool {
        self == Self::SendsWithoutADryRun
    }

    /// Whether the DELETE asks for the dependents to be deleted first.
    pub(crate) fn deletes_in_the_foreground(self) -> bool {
        self == Self::DeletesInTheForeground
    }
}

fn forget(view: &mut View) {
    if let History::Seen(..) = view.history {
        view.history = History::Unknown;
    }
}

fn pretend(cluster: &mut Cluster, from: Stage, to: Stage) {
    let journals = cluster.journals.iter_mut().flatten();
    journals.filter(|journal| journal.stage == from).for_each(|journal| journal.stage = to);
}

fn is_before_adoption(own: Option<&Journal>) -> bool {
    own.is_some_and(|journal| journal.stage < Stage::Adopting)
}

fn end(own: Option<&Journal>, act: Act) -> Act {
    own.map_or(act, |journal| Act::DeleteJournal(journal.uid))
}
