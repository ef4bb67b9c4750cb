//! A plain breadth-first search of the model, for runs of many millions of states.
//!
//! The checker of `stateright` keeps the way to each state, and asks for each property whether it was met before. Here a state
//! that was seen is eight bytes, and nothing else is kept: several times as many states in the same time. What is found
//! here is looked for again with that checker, which tells the way.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use stateright::{Model, Property};

use super::checker::System;
use super::system::State;

/// How far it came.
pub(crate) struct Extent {
    pub(crate) unique: usize,
    pub(crate) depth: usize,
    pub(crate) is_complete: bool,
    /// A property that does not hold.
    pub(crate) broken: Option<&'static str>,
}

/// Explores until everything was seen, or so many states were generated. Every state that was seen is judged.
pub(crate) fn explore(system: &System, most: usize) -> Extent {
    let properties = system.properties();
    let mut seen = Seen::default();
    let mut waiting: VecDeque<_> = system.init_states().into();
    let (mut depth, mut generated, mut left_in_level) = (1, waiting.len(), waiting.len());
    let mut actions = Vec::new();
    for state in &waiting {
        seen.insert(hash_of(state));
    }
    while let Some(state) = waiting.pop_front() {
        if let Some(broken) = broken(system, &properties, &state) {
            return Extent { unique: seen.len, depth, is_complete: false, broken: Some(broken) };
        }
        if generated < most {
            system.actions(&state, &mut actions);
        }
        for after in actions.drain(..).filter_map(|action| system.next_state(&state, action)) {
            generated += 1;
            if seen.insert(hash_of(&after)) {
                waiting.push_back(after);
            }
        }
        left_in_level -= 1;
        if left_in_level == 0 && !waiting.is_empty() {
            left_in_level = waiting.len();
            depth += 1;
        }
    }
    Extent { unique: seen.len, depth, is_complete: generated < most, broken: None }
}

fn broken(system: &System, properties: &[Property<System>], state: &State) -> Option<&'static str> {
    properties.iter().find(|property| !(property.condition)(system, state)).map(|property| property.name)
}

/// The fingerprints of what was seen, in a table with open addresses.
#[derive(Default)]
struct Seen {
    slots: Vec<u64>,
    len: usize,
}

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, hash: u64) -> bool {
        if self.len * 3 >= self.slots.len() * 2 {
            self.grow();
        }
        let is_new = put(&mut self.slots, hash.max(1));
        self.len += usize::from(is_new);
        is_new
    }

    fn grow(&mut self) {
        let mut larger = vec![0; (self.slots.len() * 2).max(1024)];
        for slot in self.slots.iter().filter(|slot| **slot != 0) {
            put(&mut larger, *slot);
        }
        self.slots = larger;
    }
}

fn put(slots: &mut [u64], hash: u64) -> bool {
    let mask = slots.len() - 1;
    let mut place = usize::try_from(hash).unwrap() & mask;
    while slots[place] != 0 {
        if slots[place] == hash {
            return false;
        }
        place = (place + 1) & mask;
    }
    slots[place] = hash;
    true
}

/// A fingerprint of 64 bits, the same in every run.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    let mut packed = Packed::default();
    value.hash(&mut packed);
    packed.finish()
}

/// Likewise of bytes.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut packed = Packed::default();
    packed.write(bytes);
    packed.finish()
}

/// Hashes eight bytes at a time: a state is some two hundred small numbers, most of them of one byte.
#[derive(Default)]
struct Packed {
    hash: u64,
    bytes: u64,
    count: u32,
}

impl Packed {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.hash ^ word ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xd6e8_feb8_6659_fd93_u64 | 1);
        self.hash = (wide as u64) ^ ((wide >> 64) as u64).rotate_left(29);
    }
}

impl Hasher for Packed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, byte: u8) {
        self.bytes = self.bytes << 8 | u64::from(byte);
        self.count += 1;
        if self.count.is_multiple_of(8) {
            self.mix(self.bytes);
            self.bytes = 0;
        }
    }

    /// Which variant it is.
    fn write_isize(&mut self, number: isize) {
        self.write_u8(u8::try_from(number).unwrap());
    }

    /// How many there are.
    fn write_usize(&mut self, number: usize) {
        self.write_u8(u8::try_from(number).unwrap());
    }

    fn finish(&self) -> u64 {
        let mut last = Self { ..*self };
        last.mix(self.bytes);
        last.mix(u64::from(self.count));
        last.hash
    }
}
