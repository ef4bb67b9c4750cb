//! The history of one StatefulSet since it was last observed: one watch of one object, for the recreation.

use std::time::Duration;

use futures::StreamExt;
use http::Request;
use kube::core::WatchEvent;
use serde_json::Value;

use super::environment::Environment;
use crate::api::annotations::TRANSACTION;
use crate::api::names::{SetName, Uid};
use crate::api::objects::Address;
use crate::api::write::Precondition;
use crate::recreate::observed::LastObject;

/// How long rso searches the history of the watch for an object that disappeared.
const SEARCH: Duration = Duration::from_secs(2);
/// The response when the history does not reach back far enough.
const GONE: u16 = 410;
/// The history comes in one piece: after this long without an event, it is complete.
const HISTORY_IDLE_TIMEOUT: Duration = Duration::from_millis(250);

/// A watch of the one object with the name of a StatefulSet.
pub(super) type Events = futures::stream::BoxStream<'static, Result<WatchEvent<Value>, kube::Error>>;

/// Watches the StatefulSet from this state on.
pub(super) async fn watch(
    environment: &Environment,
    set: &SetName,
    after: &str,
    at_most: Duration,
) -> Result<Events, kube::Error> {
    let seconds = at_most.as_secs() + 1;
    let path = Address::set(set).resource.path(Some(&set.namespace));
    let uri = format!(
        "{path}?watch=1&fieldSelector=metadata.name%3D{}&resourceVersion={after}&timeoutSeconds={seconds}",
        set.name
    );
    let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
    Ok(environment.client.kube().request_events::<Value>(request).await?.boxed())
}

/// Waits until the StatefulSet is no longer in this state, at most this long. If the watch fails, the wait is only
/// shorter.
pub async fn change(environment: &Environment, set: &SetName, after: &str, at_most: Duration) {
    let first = async {
        match watch(environment, set, after, at_most).await {
            Ok(mut events) => drop(events.next().await),
            // Too early is better than never: the next round reads the StatefulSet anyway.
            Err(_) => tokio::time::sleep(at_most.min(Duration::from_millis(100))).await,
        }
    };
    drop(tokio::time::timeout(at_most, first).await);
}

/// The last state of an object that disappeared, from the history of the watch; or the fact that the object that rso
/// created in its place has been created and deleted as well.
pub async fn last_object(environment: &Environment, set: &SetName, of: &Precondition, transaction: &str) -> LastObject {
    match watch(environment, set, &of.resource_version, SEARCH).await {
        Ok(events) => last_in(events, &of.uid, transaction, SEARCH).await,
        Err(kube::Error::Api(status)) if status.code == GONE => LastObject::Unknown,
        Err(_) => LastObject::Busy,
    }
}

/// Reads until the object is deleted. With a transaction, the history is then read to its end: a successor, created by
/// rso or by another client, may have followed and been deleted as well, and rso does not create a second time what
/// another client deleted.
pub(super) async fn last_in(mut events: Events, uid: &Uid, transaction: &str, at_most: Duration) -> LastObject {
    let mut until = tokio::time::Instant::now() + at_most;
    let mut last = LastObject::Unknown;
    loop {
        let object = match tokio::time::timeout_at(until, events.next()).await {
            Ok(Some(Ok(WatchEvent::Deleted(object)))) => object,
            Ok(Some(Ok(WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Bookmark(_)))) => continue,
            Ok(Some(Ok(WatchEvent::Error(status)))) if status.code == GONE => return last,
            Ok(Some(Ok(WatchEvent::Error(_)) | Err(_))) => return LastObject::Busy,
            Ok(None) | Err(_) => return last,
        };
        if object["metadata"]["uid"] == uid.as_str() {
            last = LastObject::Seen(Box::new(object));
            if transaction.is_empty() {
                return last;
            }
            until = until.min(tokio::time::Instant::now() + HISTORY_IDLE_TIMEOUT);
        } else if last != LastObject::Unknown || object["metadata"]["annotations"][TRANSACTION] == transaction {
            return LastObject::SuccessorGone;
        }
    }
}

/// Whether no object has had the name of the StatefulSet since this state of it.
pub(super) async fn is_silent(environment: &Environment, set: &SetName, since: &str) -> bool {
    let Ok(mut events) = watch(environment, set, since, SEARCH).await else { return false };
    loop {
        match tokio::time::timeout(HISTORY_IDLE_TIMEOUT, events.next()).await {
            Ok(Some(Ok(WatchEvent::Bookmark(_)))) => {}
            Ok(_) => return false,
            Err(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deleted(uid: &str, transaction: &str) -> WatchEvent<Value> {
        WatchEvent::Deleted(json!({ "metadata": { "uid": uid, "annotations": { TRANSACTION: transaction } } }))
    }

    /// What is known of the old object after these events, on a watch that stays open.
    async fn last_of(transaction: &str, events: Vec<WatchEvent<Value>>) -> LastObject {
        let events = futures::stream::iter(events.into_iter().map(Ok)).chain(futures::stream::pending());
        last_in(events.boxed(), &Uid::new("old"), transaction, Duration::from_millis(500)).await
    }

    #[tokio::test]
    async fn a_successor_that_came_and_went_is_found_behind_the_old_object() {
        let events = vec![deleted("old", ""), WatchEvent::Added(json!({})), deleted("new", "ours")];
        assert_eq!(last_of("ours", events).await, LastObject::SuccessorGone);
    }

    #[tokio::test]
    async fn a_set_of_somebody_else_that_came_and_went_counts_as_deleted_too() {
        assert_eq!(last_of("ours", vec![deleted("old", ""), deleted("new", "")]).await, LastObject::SuccessorGone);
        let only_old = last_of("ours", vec![deleted("old", "")]).await;
        assert!(matches!(only_old, LastObject::Seen(object) if object["metadata"]["uid"] == "old"));
    }

    #[tokio::test]
    async fn a_history_that_ends_too_early_is_told_from_an_answer_that_did_not_come() {
        let error = |code: u16| {
            let status = json!({"status": "Failure", "message": "", "reason": "", "code": code});
            WatchEvent::Error(serde_json::from_value(status).unwrap())
        };
        assert_eq!(last_of("ours", vec![error(410)]).await, LastObject::Unknown);
        assert_eq!(last_of("ours", vec![error(429)]).await, LastObject::Busy);
        // The watch reported the object, but not whether another one has been created and deleted since.
        assert_eq!(last_of("ours", vec![deleted("old", ""), error(500)]).await, LastObject::Busy);
    }

    #[tokio::test]
    async fn at_the_release_the_first_word_counts_and_a_silent_watch_tells_nothing() {
        let started = tokio::time::Instant::now();
        assert!(matches!(last_of("", vec![deleted("old", "")]).await, LastObject::Seen(_)));
        assert!(started.elapsed() < HISTORY_IDLE_TIMEOUT);
        assert_eq!(last_of("ours", Vec::new()).await, LastObject::Unknown);
    }
}
