//! A JSON parser with a memory budget: it keeps only the fields of a review that a hook reads.
//!
//! An unparsed body takes as much memory as it is long; a parsed one takes up to 700 bytes for every `{"":0}`. Fields
//! that no hook reads (the Pod template of a StatefulSet, managedFields, status) are therefore skipped without a copy,
//! and the others are counted while they are read: the first value over the budget ends the parsing.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::endpoint::Hook;

/// The largest number of values of one review that is kept. A Pod of 50 containers with 20 mounts each has 5,000; a
/// StatefulSet of 20 volumeClaimTemplates has 600, twice.
pub const MAX_VALUES: usize = 16 << 10;
/// The most text of one review that is kept: no object is larger than 1.5 MiB, and little of two StatefulSets is read.
pub const MAX_TEXT_BYTES: usize = 2 << 20;

/// Parses the fields of a review that the hook reads.
///
/// # Errors
/// When it is not JSON, or when its content exceeds the budget.
pub fn parse(body: &[u8], hook: Hook) -> Result<Value, ParseError> {
    let budget = Budget { values: Cell::new(MAX_VALUES), text: Cell::new(MAX_TEXT_BYTES) };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Seed { position: Position::Review(hook), budget: &budget }.deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| if budget.is_spent() { ParseError::TooMuch } else { ParseError::Json(error) })
}

/// Why a review cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON.
    #[error("{0}")]
    Json(#[source] serde_json::Error),
    /// It is larger than any review needs to be.
    #[error("more than {MAX_VALUES} values or {MAX_TEXT_BYTES} bytes to keep")]
    TooMuch,
}

/// The position of a value in the review. It determines which fields matter.
#[derive(Clone, Copy, Debug)]
enum Position {
    Review(Hook),
    Request(Hook),
    StatefulSet,
    StatefulSetSpec,
    Claim,
    Pod,
    PodSpec,
    Containers,
    Container,
    Metadata,
    /// All of it is kept.
    Whole,
}

impl Position {
    /// The position of a field; `None` if no hook reads it.
    fn member(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Review(_), "apiVersion")
            | (Self::Request(_), "uid" | "kind" | "operation" | "namespace" | "name" | "dryRun")
            | (Self::StatefulSetSpec, "volumeClaimTemplates")
            | (Self::Claim, "spec") => Some(Self::Whole),
            (Self::Review(hook), "request") => Some(Self::Request(hook)),
            (Self::Request(hook), "object" | "oldObject") => Some(match hook {
                Hook::State | Hook::Absorb => Self::StatefulSet,
                Hook::Floor => Self::Claim,
                Hook::Agent => Self::Pod,
            }),
            (Self::StatefulSet, "spec") => Some(Self::StatefulSetSpec),
            (Self::Pod, "spec") => Some(Self::PodSpec),
            (Self::StatefulSet | Self::Claim | Self::Pod, "metadata") => Some(Self::Metadata),
            (
                Self::Review(_)
                | Self::Request(_)
                | Self::StatefulSet
                | Self::StatefulSetSpec
                | Self::Claim
                | Self::Pod,
                _,
            )
            | (Self::Metadata, "managedFields")
            | (Self::Container, "env" | "envFrom" | "command" | "args" | "lifecycle") => None,
            (Self::Container, key) if key.ends_with("Probe") => None,
            (Self::PodSpec, "containers" | "initContainers") => Some(Self::Containers),
            (Self::PodSpec | Self::Containers | Self::Container | Self::Metadata | Self::Whole, _) => Some(Self::Whole),
        }
    }

    /// The position of an item.
    fn item(self) -> Self {
        match self {
            Self::Containers => Self::Container,
            Self::Review(_)
            | Self::Request(_)
            | Self::StatefulSet
            | Self::StatefulSetSpec
            | Self::Claim
            | Self::Pod
            | Self::PodSpec
            | Self::Container
            | Self::Metadata
            | Self::Whole => Self::Whole,
        }
    }
}

/// The remaining budget.
struct Budget {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.values.get() == 0 || self.text.get() == 0
    }

    fn take<E: Error>(left: &Cell<usize>, amount: usize) -> Result<(), E> {
        left.set(left.get().saturating_sub(amount));
        if left.get() == 0 { Err(E::custom(ParseError::TooMuch)) } else { Ok(()) }
    }

    fn value<E: Error>(&self, value: impl Into<Value>) -> Result<Value, E> {
        Self::take(&self.values, 1)?;
        Ok(value.into())
    }

    fn text<E: Error>(&self, text: &str) -> Result<String, E> {
        Self::take(&self.text, text.len())?;
        Ok(text.to_owned())
    }
}

struct Seed<'a> {
    position: Position,
    budget: &'a Budget,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.budget.value(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.budget.value(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.budget.value(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.budget.value(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.budget.value(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        let text = self.budget.text(value)?;
        self.budget.value(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Seed { position: self.position.item(), budget: self.budget })? {
            items.push(item);
        }
        self.budget.value(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key_seed(Key(self.budget))? {
            match self.position.member(&key) {
                Some(position) => {
                    let value = map.next_value_seed(Seed { position, budget: self.budget })?;
                    members.insert(key, value);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        self.budget.value(members)
    }
}

struct Key<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<String, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        self.0.text(value)
    }
}

#[cfg(test)]
mod tests;
