//! Tests of the resume table, row by row: the phase and the StatefulSet as a crash left them, and the one step that
//! follows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::dependent::Kind;
use super::super::observed::Stored;
use super::super::phase::{Ending, Phase, State};
use super::super::probes::Verdict;
use super::super::rivals::Found;
use super::super::set::WhenDeleted;
use super::super::step::{Action, OwnersChange, Read, Step, Wait};
use super::super::{journal, next, outcome};
use super::world::{OLD, World, controller_of, data, decide, pass};
use crate::api::annotations::{HOLD, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;
use crate::api::reasons::Reason;

mod after;
mod before;
mod foreign;
mod landing;

/// A world whose recreation has come this far.
fn until(mut world: World, is_there: impl Fn(&World) -> bool) -> World {
    for _ in 0..100 {
        if is_there(&world) {
            return world;
        }
        if pass(&mut world).applied.is_none() {
            world.controllers();
        }
    }
    panic!("it never gets there");
}

fn at(phase: Phase) -> World {
    until(World::settled(), |world| world.journals.first().is_some_and(|(journal, _)| journal.phase == phase))
}

fn held() -> World {
    until(World::settled(), |world| is_held(world.set.as_ref().unwrap()))
}

fn deleted() -> World {
    until(World::settled(), |world| world.deletes == 1)
}

fn released() -> World {
    until(World::settled(), |world| world.set.is_none())
}

fn created() -> World {
    until(World::settled(), |world| world.creates == 1)
}

fn is_held(set: &Value) -> bool {
    set["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(HOLD)))
}

fn written(world: &World) -> Action {
    match decide(world) {
        Step::Write(action) => action,
        other => panic!("expected a write, not {other:?}"),
    }
}

fn refused(world: &World) -> crate::api::reasons::Note {
    match decide(world) {
        Step::Refuse(note) => note,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

fn phase_written(world: &World) -> Phase {
    match written(world) {
        Action::UpdateJournal { journal, .. } | Action::CreateJournal(journal) => journal.phase,
        other => panic!("expected a journal, not {other:?}"),
    }
}

fn ending_written(world: &World) -> Option<Ending> {
    match written(world) {
        Action::DeleteJournal { ending, .. } => ending,
        other => panic!("expected the end, not {other:?}"),
    }
}

fn adopting() -> World {
    until(created(), |world| world.journals[0].0.phase == Phase::Adopting)
}

/// The world, with its journal in this phase.
fn journalled(mut world: World, phase: Phase) -> World {
    world.journals[0].0.phase = phase;
    world
}
