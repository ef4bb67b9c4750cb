//! The recorder of Events (`events.k8s.io/v1`) about StatefulSets and PVCs, one for the process.
//!
//! Recording never blocks: Events wait in a bounded queue, and one task sends them. An Event is named by the identity
//! of its [`Note`]: when another replica, or this one after a restart, records it again, it becomes a series, not a
//! second Event.

mod memory;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::memory::{Key, Memory, Verdict};
use super::client::{Class, Client, Error, Outcome, chain};
use super::clock::micro_time;
use crate::api::names::Uid;
use crate::api::objects::{Address, EVENTS};
use crate::api::reasons::{Note, Severity};
use crate::api::write::Write;

/// `reportingController` of every Event.
pub const CONTROLLER: &str = "resize-statefulset-operator";

/// The maximum length of the message of an Event, bytes; the server refuses a longer one.
const LONGEST_NOTE: usize = 1024;

/// The maximum number of Events that wait to be sent.
const QUEUE: usize = 1_000;

/// How often rso tries to send an Event.
const TRIES: u32 = 4;

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its address.
    pub address: Address,
    /// Its UID.
    pub uid: Uid,
}

/// Records Events. Cheap to clone; all clones share one memory.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Message>,
    memory: Arc<Mutex<Memory>>,
    dropped: Arc<dyn Fn() + Send + Sync>,
}

/// The task that sends Events; [`Sender::run`] it beside everything else.
pub struct Sender {
    client: Client,
    queue: mpsc::Receiver<Message>,
    memory: Arc<Mutex<Memory>>,
    instance: String,
    dropped: Arc<dyn Fn() + Send + Sync>,
}

struct Message {
    subject: Subject,
    action: &'static str,
    note: Note,
    key: Key,
    /// How often this process has seen it.
    seen: u32,
    at: Timestamp,
}

/// Makes a recorder and its sender. `instance` is the name of the Pod; `dropped` counts the Events that are lost.
pub fn recorder(
    client: Client,
    instance: impl Into<String>,
    dropped: impl Fn() + Send + Sync + 'static,
) -> (Recorder, Sender) {
    let (send, queue) = mpsc::channel(QUEUE);
    let memory: Arc<Mutex<Memory>> = Arc::default();
    let dropped: Arc<dyn Fn() + Send + Sync> = Arc::new(dropped);
    let recorder = Recorder { queue: send, memory: memory.clone(), dropped: dropped.clone() };
    (recorder, Sender { client, queue, memory, instance: instance.into(), dropped })
}

impl Recorder {
    /// Records an Event about an object, unless the same Event was recorded within the hour. `action` is what rso was
    /// doing: `Resize`.
    pub fn record(&self, subject: &Subject, action: &'static str, note: &Note, now: Timestamp) {
        let key = Key::new(&subject.uid, note);
        let seen = match lock(&self.memory).judge(&key, now) {
            Verdict::Keep => return,
            Verdict::Tell => 1,
            Verdict::Again { count } => count,
        };
        let message = Message { subject: subject.clone(), action, note: note.clone(), key: key.clone(), seen, at: now };
        if self.queue.try_send(message).is_err() {
            lock(&self.memory).forget(&key);
            (self.dropped)();
        } else if note.reason.severity() == Severity::Warning {
            // As often and as long as the Event, and escaped: it may quote what any client wrote.
            let text = cut(&note.text, LONGEST_NOTE);
            tracing::warn!(subject = %subject.address, reason = %note.reason, note = ?text, "recorded a Warning");
        }
    }
}

/// Whether the namespace of an Event is being deleted. No user will read such an Event, and the API server accepts
/// none, so it is neither counted nor logged.
fn is_of_a_namespace_that_goes(error: &Error) -> bool {
    matches!(error, Error::Refused { message, .. } if message.contains("because it is being terminated"))
}

impl Sender {
    /// Sends until all recorders are gone and the queue is empty.
    pub async fn run(mut self) {
        while let Some(message) = self.queue.recv().await {
            if let Err(error) = self.deliver(&message).await {
                // A permanently refused Event counts as recorded; otherwise, every reconciliation would try again.
                if error.class() != Class::Permanent {
                    lock(&self.memory).forget(&message.key);
                }
                if is_of_a_namespace_that_goes(&error) {
                    continue;
                }
                (self.dropped)();
                tracing::warn!(
                    subject = %message.subject.address, reason = %message.note.reason, error = chain(&error),
                    "failed to record an Event"
                );
            }
        }
    }

    async fn deliver(&self, message: &Message) -> Result<(), Error> {
        let mut tried = 1;
        loop {
            let error = match self.send(message, tried).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let wait = match error.class() {
                Class::Permanent => return Err(error),
                Class::Retry { after } => after.unwrap_or_default(),
                Class::Unknown => Duration::ZERO,
            };
            if tried == TRIES {
                return Err(error);
            }
            tokio::time::sleep(wait.clamp(Duration::from_millis(250) * 2_u32.pow(tried), Duration::from_secs(10)))
                .await;
            tried += 1;
        }
    }

    async fn send(&self, message: &Message, tried: u32) -> Result<(), Error> {
        let namespace = message.subject.address.namespace.clone().unwrap_or_else(|| "default".into());
        let name = name(&message.subject.address.name, &message.key);
        let event = event(message, &namespace, &name, &self.instance);
        match self.client.write(&Write::create(&EVENTS, Some(&namespace), event)).await? {
            // At a later attempt, it may be our own Event, whose response was lost.
            Outcome::AlreadyExists if tried == 1 => {
                let event = EVENTS.of(&namespace, &name);
                self.client.write(&Write::merge(event, series(message))).await.map(drop)
            }
            // Not found: the namespace is being deleted.
            Outcome::Done(_) | Outcome::AlreadyExists | Outcome::Conflict(_) | Outcome::NotFound => Ok(()),
        }
    }
}

fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(object: &str, key: &Key) -> String {
    // An object's name has at most 253 characters, as has an Event's; the digest takes 17.
    let stem: String = object.chars().take(230).collect();
    format!("{}.{}", stem.trim_end_matches(['.', '-']), key.digest())
}

fn event(message: &Message, namespace: &str, name: &str, instance: &str) -> Value {
    let Subject { address, uid } = &message.subject;
    let mut regarding = json!({
        "apiVersion": address.resource.api_version(), "kind": address.resource.kind, "name": address.name,
        "uid": uid.as_str(),
    });
    if let Some(own) = &address.namespace {
        regarding["namespace"] = json!(own);
    }
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "eventTime": micro_time(message.at),
        "reportingController": CONTROLLER,
        "reportingInstance": cut(instance, 128),
        "action": message.action,
        "reason": message.note.reason.as_str(),
        "type": match message.note.reason.severity() {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        },
        "note": cut(&message.note.text, LONGEST_NOTE),
        "regarding": regarding,
    })
}

/// The patch that turns an Event that was recorded before, an hour ago or by another process, into a series.
fn series(message: &Message) -> Value {
    json!({"series": {"count": message.seen.max(2), "lastObservedTime": micro_time(message.at)}})
}

/// Cuts a text to at most this many bytes, between two characters, and marks the cut with an ellipsis.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::SetName;
    use crate::api::reasons::Reason;

    fn message(text: &str) -> Message {
        let subject = Subject { address: Address::set(&SetName::new("shop", "db")), uid: Uid::new("u-1") };
        let note = Note::new(Reason::UsageUnknown, "silent", text);
        let key = Key::new(&subject.uid, &note);
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        Message { subject, action: "Resize", note, key, seen: 1, at }
    }

    #[test]
    fn an_event_says_about_what_by_whom_when_and_what() {
        let message = message("nobody answers; check the sidecar");
        assert_eq!(
            event(&message, "shop", "db.1", "rso-7"),
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event",
                "metadata": {"name": "db.1", "namespace": "shop"},
                "eventTime": "2026-01-02T03:04:05.000000Z",
                "reportingController": "resize-statefulset-operator", "reportingInstance": "rso-7",
                "action": "Resize", "reason": "UsageUnknown", "type": "Warning",
                "note": "nobody answers; check the sidecar",
                "regarding": {
                    "apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": "shop", "name": "db", "uid": "u-1"
                },
            })
        );
    }

    #[test]
    fn what_is_recorded_again_was_seen_at_least_twice() {
        let check = |seen, expected| {
            let series = series(&Message { seen, ..message("nobody answers") });
            let last = "2026-01-02T03:04:05.000000Z";
            assert_eq!(series, json!({"series": {"count": expected, "lastObservedTime": last}}));
        };
        check(1, 2);
        check(2, 2);
        check(7, 7);
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        let check = |text: String, expected: usize| {
            let cut = cut(&text, LONGEST_NOTE);
            assert_eq!(cut.len(), expected);
            assert_eq!(cut.ends_with('…'), text.len() > LONGEST_NOTE);
        };
        check("a".repeat(1_024), 1_024);
        check("a".repeat(1_025), 1_024);
        check("é".repeat(512), 1_024);
        check("é".repeat(513), 1_023);
        check("🦀".repeat(300), 1_023);
    }

    #[test]
    fn the_name_of_an_event_fits_whatever_the_object_is_called() {
        let key = message("x").key;
        assert_eq!(name("db", &key).len(), "db.".len() + 16);
        assert!(name(&"a".repeat(253), &key).len() <= 253);
        assert!(!name(&format!("{}.{}", "a".repeat(229), "b"), &key).contains(".."));
    }
}
