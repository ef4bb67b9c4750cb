//! What the production code answered before, so that it is asked once for each thing that it can see.
//!
//! It cannot tell one label from another, one pod template or one pod: it only asks whether two are equal. So they are
//! counted through in the order in which they are met, asked about under these names, and the answer is translated back.
//! That this makes no difference is itself checked: in the small run, both are asked.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use super::explore::hash_of;
use super::is_full;
use super::state::*;
use super::translate;

/// Steps by the hash of the view, which is as sure as the checker's own fingerprints. Split, so that threads do not wait.
pub(crate) struct Known(Vec<Mutex<HashMap<u64, Step>>>);

const SHARDS: usize = 64;
/// More steps than this are not remembered, for the memory's sake.
const MOST: usize = 16_000_000;

static IS_CHECKED: LazyLock<bool> = LazyLock::new(|| !is_full());

impl Default for Known {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Known {
    /// The step that the production code answers to this.
    pub(crate) fn step(&self, view: &View) -> Step {
        let mut plain = *view;
        let names = Names::take(&mut plain);
        let step = names.give_back(self.remembered(&plain));
        if *IS_CHECKED {
            assert_eq!(step, self.remembered(view), "a name makes a difference: {view:?}");
        }
        step
    }

    fn remembered(&self, view: &View) -> Step {
        let hash = hash_of(view);
        let shard = &self.0[usize::try_from(hash).unwrap() % SHARDS];
        let known = shard.lock().unwrap().get(&hash).copied();
        known.unwrap_or_else(|| {
            let step = translate::next(view);
            let mut steps = shard.lock().unwrap();
            if steps.len() > MOST / SHARDS {
                steps.clear();
            }
            steps.insert(hash, step);
            step
        })
    }
}

/// The names that were replaced, each at the place of its number.
#[derive(Default)]
struct Names {
    edits: Numbered,
    templates: Numbered,
    births: Numbered,
}

/// Names by number. There are never more: two objects, two journals, what is running.
#[derive(Default)]
struct Numbered {
    names: [u8; 12],
    count: u8,
}

impl Names {
    fn take(view: &mut View) -> Self {
        let mut names = Self::default();
        let cluster = &mut view.cluster;
        if let Some(set) = &mut cluster.set {
            names.content(&mut set.content);
            names.template(&mut set.update);
        }
        for pod in cluster.pods.iter_mut().flatten() {
            names.template(&mut pod.template);
            names.births.number(&mut pod.birth);
        }
        for journal in cluster.journals.iter_mut().flatten() {
            names.content(&mut journal.image);
            names.template(&mut journal.snapshot.update);
            names.template(&mut journal.snapshot.template);
            journal.snapshot.pods.iter_mut().flatten().for_each(|birth| names.births.number(birth));
        }
        if let History::Seen(_, content) = &mut view.history {
            names.content(content);
        }
        names
    }

    fn content(&mut self, content: &mut Content) {
        self.edits.number(&mut content.edit);
        self.template(&mut content.template);
    }

    /// What a policy writes has a name that is known beforehand.
    fn template(&mut self, template: &mut u8) {
        if *template != MUTATED {
            self.templates.number(template);
        }
    }

    fn template_of(&self, number: u8) -> u8 {
        if number == MUTATED { MUTATED } else { self.templates.name(number) }
    }

    fn give_back(&self, mut step: Step) -> Step {
        match &mut step {
            Step::Write(Act::CreateJournal(journal) | Act::UpdateJournal(journal)) => {
                self.name(&mut journal.image);
                let Snapshot { update, template, pods, revision: _ } = &mut journal.snapshot;
                [update, template].into_iter().for_each(|number| *number = self.template_of(*number));
                pods.iter_mut().flatten().for_each(|number| *number = self.births.name(*number));
            }
            Step::Write(Act::Create(creation)) => self.name(&mut creation.content),
            Step::Write(Act::RestoreSpec { template: Some(number), .. }) => *number = self.template_of(*number),
            _ => {}
        }
        step
    }

    fn name(&self, content: &mut Content) {
        content.edit = self.edits.name(content.edit);
        content.template = self.template_of(content.template);
    }
}

impl Numbered {
    fn number(&mut self, name: &mut u8) {
        let known = self.names[..usize::from(self.count)].iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.names[usize::from(self.count)] = *name;
            self.count += 1;
            usize::from(self.count - 1)
        });
        *name = u8::try_from(number).unwrap();
    }

    fn name(&self, number: u8) -> u8 {
        self.names[usize::from(number)]
    }
}
