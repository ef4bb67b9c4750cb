//! Those who know nothing of us: another controller whose selector matches the pods, a policy that changes what is written,
//! and a node that is lost.

use super::state::*;
use super::system::*;
use super::world::Move;

/// What they do next.
pub(crate) fn moves(state: &State, all: &mut Vec<Move>) {
    let cluster = &state.cluster;
    all.extend((0..2).filter(|index| is_lost_next(cluster, *index)).map(Move::Lose));
    if cluster.policy.is_none() {
        all.extend(Policy::COMING.map(Move::Policy));
    }
    match cluster.rival {
        None => all.extend(RivalKind::ALL.map(Move::Rival)),
        Some(rival) => works(cluster, rival, all),
    }
}

fn is_lost_next(cluster: &Cluster, index: u8) -> bool {
    cluster.pods[usize::from(index)].is_some_and(|pod| !pod.deleting)
}

/// Nobody is its controller, and it can be adopted: Kubernetes leaves alone what is being deleted.
pub(crate) fn is_free(cluster: &Cluster, owned: Owned) -> bool {
    let is_deleting = match owned {
        Owned::Pod(index) => cluster.pods[usize::from(index)].is_some_and(|pod| pod.deleting),
        Owned::Revision | Owned::Claim(_) => false,
    };
    !is_deleting && cluster.owners(owned) == Some((0, false))
}

/// Whether there is something that whoever selects it would adopt.
pub(crate) fn has_orphans(cluster: &Cluster) -> bool {
    [Owned::Pod(0), Owned::Pod(1), Owned::Revision].into_iter().any(|owned| is_free(cluster, owned))
}

fn works(cluster: &Cluster, rival: Rival, all: &mut Vec<Move>) {
    let wanted = Owned::ALL.into_iter().filter(|owned| rival.kind.takes(*owned) && is_free(cluster, *owned));
    all.extend(wanted.map(Move::Take));
    if !rival.kind.takes(Owned::Pod(0)) {
        return;
    }
    let taken = || (0..2_u8).filter(|index| cluster.is_taken(Owned::Pod(*index)));
    match usize::from(rival.own) + taken().count() {
        0 => all.push(Move::Replenish),
        1 => {}
        _ => {
            all.extend(rival.own.then_some(Move::Discard(None)));
            all.extend(taken().map(|index| Move::Discard(Some(index))));
        }
    }
}

impl State {
    pub(crate) fn others(&mut self, one: Move) {
        match one {
            Move::Lose(index) => {
                self.cluster.pods[usize::from(index)].iter_mut().for_each(|pod| pod.deleting = true);
                self.touch(Object::Pod(usize::from(index)));
            }
            Move::Policy(policy) => {
                // Dry runs are believed for half a minute: from the first write on nobody is sure to see it.
                self.ghost.surprised |=
                    self.cluster.in_flight().is_some() || self.is_pending(|act| matches!(act, Act::CreateJournal(_)));
                self.cluster.policy = Some(policy);
            }
            Move::Rival(kind) => {
                let takes_pods = kind.takes(Owned::Pod(0));
                self.ghost.surprised |= self.is_past_the_last_look();
                // Nobody can tell it any more to leave the pods alone.
                self.ghost.pods_may_go |= takes_pods && self.ghost.surprised;
                self.cluster.rival = Some(Rival { kind, own: takes_pods });
            }
            Move::Take(owned) => {
                self.cluster.set_owners(owned, bit(RIVAL), false);
                self.cluster.restless = true;
                self.ghost.robbed |= matches!(owned, Owned::Pod(_));
                self.touch(owned.object());
            }
            Move::Discard(Some(index)) => self.collect(Owned::Pod(index)),
            Move::Discard(None) => self.keep_own(false),
            Move::Replenish => self.keep_own(true),
            _ => unreachable!("{one:?} is nobody's"),
        }
    }

    fn keep_own(&mut self, own: bool) {
        self.cluster.rival.iter_mut().for_each(|rival| rival.own = own);
    }

    /// From the decision to send the DELETE to the end of the transaction nobody who comes can be asked to go: the last look
    /// is part of the round that decides. Whoever was there before that look comes in time.
    fn is_past_the_last_look(&self) -> bool {
        let goes = self.cluster.in_flight().is_some_and(|journal| {
            let held = self.cluster.set.filter(|set| set.uid == journal.uid && !set.deleting);
            journal.stage >= Stage::Deleting && held.is_none()
        });
        goes || self.is_pending(|act| matches!(act, Act::Delete(_)))
    }

    fn is_pending(&self, is_it: fn(&Act) -> bool) -> bool {
        self.operators.iter().any(|one| one.pending.as_ref().is_some_and(|pending| is_it(&pending.act)))
    }
}
