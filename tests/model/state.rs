//! What is in the API server, as few bytes as decide.
//!
//! One StatefulSet `shop/db` with up to two replicas, its pods, one revision, its claims, our journals. Identities are small
//! numbers: the set that was there first has uid 0, each later object of the name the next one. A resourceVersion is not a
//! number: what matters is only whether an object has changed since somebody looked, so each operator has a mark for each
//! object that says so.

/// A size, in 128 MiB.
pub(crate) type Size = u8;
/// `metadata.uid` of an object of the set's name.
pub(crate) type Uid = u8;

/// One GiB.
pub(crate) const GIB: Size = 8;
/// The uid of the rival: no set ever has it.
pub(crate) const RIVAL: Uid = 7;
/// The pod template that a webhook makes of any other.
pub(crate) const MUTATED: u8 = 7;

/// What somebody asks for, as far as it can change here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Content {
    /// A label that somebody counts up.
    pub(crate) edit: u8,
    /// The pod template.
    pub(crate) template: u8,
    pub(crate) replicas: u8,
    /// Of the one volume claim template.
    pub(crate) size: Size,
    /// `updateStrategy: OnDelete`, else `RollingUpdate`.
    pub(crate) on_delete: bool,
    /// `whenDeleted: Delete`, else `Retain`.
    pub(crate) claims_go: bool,
}

/// Who is booked as owner of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fields {
    /// The tools that wrote them.
    Tools,
    /// The operator, after its CREATE.
    Operator,
    /// The operator, and a tool that has written the pod template since.
    Both,
}

/// Finalizers of the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Finalizers {
    pub(crate) hold: bool,
    pub(crate) orphan: bool,
    pub(crate) foreground: bool,
}

impl Finalizers {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The object of the set's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Set {
    pub(crate) uid: Uid,
    pub(crate) content: Content,
    pub(crate) finalizers: Finalizers,
    pub(crate) deleting: bool,
    /// It has been deleting for as long as the operator waits for the garbage collector.
    pub(crate) long_deleting: bool,
    /// The annotation of the transaction that made it, named by the uid it replaces.
    pub(crate) marker: Option<Uid>,
    pub(crate) fields: Fields,
    /// `observedGeneration` is `generation`.
    pub(crate) observed: bool,
    /// The template of `status.updateRevision`.
    pub(crate) update: u8,
}

/// A pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pod {
    /// Counts up when it is replaced by another one of its name.
    pub(crate) birth: u8,
    /// The owners, a bit for each uid.
    pub(crate) owners: u8,
    pub(crate) template: u8,
    /// It is being deleted, and its node is lost: it stays so until somebody forces it away.
    pub(crate) deleting: bool,
}

/// Another controller whose selector matches the pods of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Rival {
    pub(crate) kind: RivalKind,
    /// It has the one pod that it wants: any other is one too many.
    pub(crate) own: bool,
}

/// Its kind, by what it takes of what has no controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RivalKind {
    /// A ReplicaSet takes Pods; a ReplicationController and a Job are alike.
    Replicas,
    /// A StatefulSet takes revisions; pods it knows by their names.
    Stateful,
    /// A DaemonSet takes both.
    Daemons,
}

impl RivalKind {
    pub(crate) const ALL: [Self; 3] = [Self::Replicas, Self::Stateful, Self::Daemons];

    pub(crate) fn takes(self, owned: Owned) -> bool {
        match owned {
            Owned::Pod(_) => self != Self::Stateful,
            Owned::Revision => self != Self::Replicas,
            Owned::Claim(_) => false,
        }
    }
}

/// An admission policy that writes something else into the set, or into a pod, than was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Policy {
    /// Every update gets its pod template.
    TemplateOnUpdate,
    /// Every creation does.
    TemplateOnCreate,
    /// Both do.
    TemplateAlways,
    /// Volume claim templates are created no larger than one GiB.
    SizeOnCreate,
    /// Annotations that it does not know are not created: ours.
    AnnotationOnCreate,
    /// Every update of a pod gets another image, and restarts it.
    ImageOfPodsOnUpdate,
}

impl Policy {
    /// Those that may come at any time. One that changes pods is there from the start.
    pub(crate) const COMING: [Self; 5] = [
        Self::TemplateOnUpdate,
        Self::TemplateOnCreate,
        Self::TemplateAlways,
        Self::SizeOnCreate,
        Self::AnnotationOnCreate,
    ];

    /// Whether updates become something else.
    pub(crate) fn updates(self) -> bool {
        matches!(self, Self::TemplateOnUpdate | Self::TemplateAlways)
    }

    /// What becomes of an update.
    pub(crate) fn updated(self, content: Content) -> Content {
        match self {
            Self::TemplateOnUpdate | Self::TemplateAlways => Content { template: MUTATED, ..content },
            Self::TemplateOnCreate | Self::SizeOnCreate | Self::AnnotationOnCreate | Self::ImageOfPodsOnUpdate => {
                content
            }
        }
    }

    /// What becomes of a creation.
    pub(crate) fn created(self, creation: Creation) -> Creation {
        let content = creation.content;
        match self {
            Self::TemplateOnCreate | Self::TemplateAlways => {
                Creation { content: Content { template: MUTATED, ..content }, ..creation }
            }
            Self::SizeOnCreate => Creation { content: Content { size: content.size.min(GIB), ..content }, ..creation },
            Self::AnnotationOnCreate => Creation { marker: None, ..creation },
            Self::TemplateOnUpdate | Self::ImageOfPodsOnUpdate => creation,
        }
    }
}

/// A set on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Going {
    pub(crate) orphaned: bool,
    /// That it was not is certain, by what the watch has told.
    pub(crate) is_sure: bool,
    /// A bit for each claim that referred to it.
    pub(crate) claims: u8,
}

/// How a set that is gone was deleted, as the watch told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Departure {
    #[default]
    Unknown,
    Orphaned,
    /// With the claims that referred to it, a bit for each.
    WithClaims(Uid, u8),
}

/// A claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) owners: u8,
    /// Our second owner, the namespace.
    pub(crate) guard: bool,
    pub(crate) size: Size,
}

/// How far a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    Prepared,
    Deleting,
    Releasing,
    Adopting,
    Guarded,
}

/// A journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Journal {
    /// Of the object it replaces; names the ConfigMap.
    pub(crate) uid: Uid,
    pub(crate) stage: Stage,
    /// So much time has passed in this stage that patience is at its end.
    pub(crate) late: bool,
    pub(crate) successor: Option<Uid>,
    /// It is being taken back.
    pub(crate) undone: bool,
    /// What was not adopted by the end of patience is no longer waited for.
    pub(crate) adopted: bool,
    /// A bit for each pod that was gone or another one before the DELETE.
    pub(crate) lost: u8,
    /// A bit for each claim that referred to the set.
    pub(crate) owned: u8,
    pub(crate) target: Size,
    pub(crate) claims_go: bool,
    pub(crate) image: Content,
    pub(crate) snapshot: Snapshot,
}

/// What was there when the point of no return was near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Snapshot {
    pub(crate) update: u8,
    pub(crate) template: u8,
    /// The births of the pods.
    pub(crate) pods: [Option<u8>; 2],
    pub(crate) revision: bool,
}

/// Everything that an operator can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cluster {
    pub(crate) set: Option<Set>,
    pub(crate) pods: [Option<Pod>; 2],
    /// The owners of the one revision.
    pub(crate) revision: Option<u8>,
    pub(crate) claims: [Option<Claim>; 2],
    /// By uid, so that equal knowledge is equal.
    pub(crate) journals: [Option<Journal>; 2],
    /// The backup of the transaction about this uid.
    pub(crate) backup: Option<Uid>,
    /// An owner of a pod or revision has changed a moment ago.
    pub(crate) restless: bool,
    /// An owner of a claim has.
    pub(crate) restless_claims: bool,
    pub(crate) namespace_terminating: bool,
    /// The wanted size.
    pub(crate) wanted: Size,
    /// The history of the name: the last state of what was removed last and was not ours.
    pub(crate) removed: Option<(Uid, Content)>,
    /// What replaced the object with this uid was removed as well.
    pub(crate) removed_successor: Option<Uid>,
    pub(crate) rival: Option<Rival>,
    pub(crate) policy: Option<Policy>,
    pub(crate) going: Going,
    pub(crate) departure: Departure,
}

/// One of the objects whose change an operator can miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Set,
    Journal,
    Pod(usize),
    Revision,
    Claim(usize),
}

impl Object {
    pub(crate) fn bit(self) -> u8 {
        1 << match self {
            Self::Set => 0,
            Self::Journal => 1,
            Self::Revision => 2,
            Self::Pod(index) => 3 + index,
            Self::Claim(index) => 5 + index,
        }
    }
}

/// A write of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    PatchTemplates(Uid, Size),
    CreateJournal(Journal),
    UpdateJournal(Journal),
    DeleteJournal(Uid),
    CreateBackup(Uid),
    SetOwners(Owned, u8, bool),
    SetRetention(Uid, bool),
    SetFinalizers(Uid, Finalizers),
    Delete(Uid),
    Release(Uid, Finalizers),
    Create(Creation),
    RestoreSpec { uid: Uid, template: Option<u8>, on_delete: Option<bool>, claims_go: Option<bool> },
    RestoreOwnership(Uid, Fields),
}

/// What a CREATE of the set sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Creation {
    pub(crate) content: Content,
    /// The annotation of the transaction.
    pub(crate) marker: Option<Uid>,
    /// It has the hold from the beginning.
    pub(crate) held: bool,
}

/// A dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owned {
    Pod(u8),
    Revision,
    Claim(u8),
}

/// What the operator does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Nothing. The flag: guards are to be dropped later.
    Done(bool),
    Refuse(Told),
    Wait(Told),
    Probe,
    Rivals,
    History,
    Write(Act),
}

/// What a person is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Nothing,
    Something,
    /// The rival by its name, or that it is a policy.
    WhoElse,
}

/// How the dry runs come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Probe {
    Fine,
    Refused,
    Unknown,
    /// The server takes the larger template in place.
    Native,
}

/// What an operator knows when it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub(crate) cluster: Cluster,
    pub(crate) probe: Option<Probe>,
    /// The policy that shows in the answers to the dry runs.
    pub(crate) policy: Option<Policy>,
    /// Whose selector matches, if that was looked for.
    pub(crate) rivals: Option<Option<RivalKind>>,
    pub(crate) history: History,
}

/// What the watch told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum History {
    NotAsked,
    Unknown,
    Seen(Uid, Content),
    SuccessorGone,
}

impl Cluster {
    /// A settled set with one GiB whose claims shall have two.
    pub(crate) fn settled(replicas: u8, claims_go: bool, on_delete: bool) -> Self {
        let content = Content { edit: 0, template: 0, replicas, size: GIB, on_delete, claims_go };
        let set = Set {
            uid: 0,
            content,
            finalizers: Finalizers::default(),
            deleting: false,
            long_deleting: false,
            marker: None,
            fields: Fields::Tools,
            observed: true,
            update: 0,
        };
        let pod = |index| (index < replicas).then_some(Pod { birth: 0, owners: 1, template: 0, deleting: false });
        let claim = |index| {
            let owners = u8::from(claims_go);
            (index < replicas).then_some(Claim { owners, guard: false, size: GIB })
        };
        Self {
            set: Some(set),
            pods: [pod(0), pod(1)],
            revision: Some(1),
            claims: [claim(0), claim(1)],
            journals: [None; 2],
            backup: None,
            restless: false,
            restless_claims: false,
            namespace_terminating: false,
            wanted: 2 * GIB,
            removed: None,
            removed_successor: None,
            rival: None,
            policy: None,
            going: Going::default(),
            departure: Departure::Unknown,
        }
    }

    pub(crate) fn journal(&self, uid: Uid) -> Option<&Journal> {
        self.journals.iter().flatten().find(|journal| journal.uid == uid)
    }

    /// The journal in flight: the operator reads the list by name, and the last one counts.
    pub(crate) fn in_flight(&self) -> Option<&Journal> {
        self.journals.iter().flatten().rfind(|journal| journal.stage != Stage::Guarded)
    }

    pub(crate) fn put_journal(&mut self, journal: Journal) -> bool {
        if let Some(known) = self.journals.iter_mut().flatten().find(|known| known.uid == journal.uid) {
            *known = journal;
            return true;
        }
        let Some(free) = self.journals.iter_mut().find(|slot| slot.is_none()) else { return false };
        *free = Some(journal);
        self.sort_journals();
        true
    }

    pub(crate) fn drop_journal(&mut self, uid: Uid) {
        for slot in &mut self.journals {
            slot.take_if(|journal| journal.uid == uid);
        }
        self.sort_journals();
    }

    fn sort_journals(&mut self) {
        self.journals.sort_by_key(|slot| slot.map_or((1, 0), |journal| (0, journal.uid)));
    }

    /// The owners of a dependent, and whether it has our guard.
    pub(crate) fn owners(&self, owned: Owned) -> Option<(u8, bool)> {
        match owned {
            Owned::Pod(index) => self.pods[usize::from(index)].map(|pod| (pod.owners, false)),
            Owned::Revision => self.revision.map(|owners| (owners, false)),
            Owned::Claim(index) => self.claims[usize::from(index)].map(|claim| (claim.owners, claim.guard)),
        }
    }

    pub(crate) fn set_owners(&mut self, owned: Owned, owners: u8, guard: bool) {
        match owned {
            Owned::Pod(index) => self.pods[usize::from(index)].iter_mut().for_each(|pod| pod.owners = owners),
            Owned::Revision => self.revision = self.revision.map(|_| owners),
            Owned::Claim(index) => self.claims[usize::from(index)].iter_mut().for_each(|claim| {
                claim.owners = owners;
                claim.guard = guard;
            }),
        }
    }

    pub(crate) fn remove(&mut self, owned: Owned) {
        match owned {
            Owned::Pod(index) => self.pods[usize::from(index)] = None,
            Owned::Revision => self.revision = None,
            Owned::Claim(index) => self.claims[usize::from(index)] = None,
        }
    }

    /// The live set is held, and it is the one that shall be replaced: whoever deletes it is not obeyed. The hold of a new one
    /// only puts that off.
    pub(crate) fn is_held_old(&self) -> bool {
        let is_new = |set: &Set| self.in_flight().is_some_and(|journal| journal.uid != set.uid);
        self.set.is_some_and(|set| set.finalizers.hold && !is_new(&set))
    }

    /// The bits of all owners that are there.
    pub(crate) fn alive(&self) -> u8 {
        self.set.map_or(0, |set| bit(set.uid)) | self.rival.map_or(0, |_| bit(RIVAL))
    }

    /// Whether the rival owns this.
    pub(crate) fn is_taken(&self, owned: Owned) -> bool {
        self.owners(owned).is_some_and(|(owners, _)| owners & bit(RIVAL) != 0)
    }

    /// The claims that refer to the set of this uid, a bit for each.
    pub(crate) fn claims_of(&self, uid: Uid) -> u8 {
        let refers = |index: &u8| self.claims[usize::from(*index)].is_some_and(|claim| claim.owners & bit(uid) != 0);
        (0..2).filter(refers).map(bit).fold(0, |all, one| all | one)
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.claims.iter().flatten().any(|claim| claim.guard)
    }
}

impl Owned {
    pub(crate) const ALL: [Self; 5] = [Self::Pod(0), Self::Pod(1), Self::Revision, Self::Claim(0), Self::Claim(1)];

    pub(crate) fn object(self) -> Object {
        match self {
            Self::Pod(index) => Object::Pod(usize::from(index)),
            Self::Revision => Object::Revision,
            Self::Claim(index) => Object::Claim(usize::from(index)),
        }
    }
}

/// The bit of a uid in a set of owners.
pub(crate) fn bit(uid: Uid) -> u8 {
    1 << uid
}
