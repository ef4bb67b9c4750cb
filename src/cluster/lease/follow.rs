//! The wait of a follower: a watch of the Lease, which costs two requests every 200 seconds.
//!
//! A watch that reports nothing does not show that the Lease is not renewed: the watch may be broken. So the follower
//! only learns from it that it may wait longer, or that there is something to do; before it acquires the Lease, it reads it.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use http::Request;
use kube::core::WatchEvent;
use serde_json::Value;

use super::elect::{ElectionStep, ObservedRecord, Record, elect};
use crate::api::objects::Address;
use crate::cluster::client::{Client, chain};
use crate::cluster::clock::since_boot;

/// Some load balancers drop a watch that was silent for 240 s; the API server ends this one before that.
const WATCH_SECONDS: u32 = 200;

/// How long a follower waits until its watch is open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a follower polls after its watch failed, for example because the permission to watch is missing.
pub(super) const WATCH_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// What a watch of the Lease reports.
type Events = BoxStream<'static, Result<WatchEvent<Value>, kube::Error>>;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// There may be something to do: read the Lease.
    Act,
    /// The watch ended, or there was nothing to wait for.
    Ended,
    /// The watch failed.
    Failed,
}

/// Waits while another candidate renews the Lease, and keeps the record up to date.
pub(super) async fn wait(client: &Client, lease: &Address, observed: &mut ObservedRecord, me: &str) -> Waited {
    if elect(Some(observed), me, since_boot()) != ElectionStep::Follow {
        return Waited::Ended;
    }
    let opened = watch(client, lease, &observed.record.resource_version);
    match tokio::time::timeout(OPEN_TIMEOUT, opened).await {
        Ok(Ok(mut events)) => wait_for(&mut events, observed, me).await,
        Ok(Err(error)) => {
            tracing::warn!(%lease, error = chain(&error), "failed to watch the Lease; polling it");
            Waited::Failed
        }
        Err(_) => Waited::Failed,
    }
}

/// Watches the Lease from this version on.
async fn watch(client: &Client, lease: &Address, after: &str) -> Result<Events, kube::Error> {
    let path = lease.resource.path(lease.namespace.as_deref());
    let uri = format!(
        "{path}?watch=1&fieldSelector=metadata.name%3D{}&resourceVersion={after}&timeoutSeconds={WATCH_SECONDS}",
        lease.name
    );
    let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
    Ok(client.kube().request_events::<Value>(request).await?.boxed())
}

/// Each renewal counts from when it is reported, which is later than when it was made.
async fn wait_for(events: &mut Events, observed: &mut ObservedRecord, me: &str) -> Waited {
    while elect(Some(observed), me, since_boot()) == ElectionStep::Follow {
        let left = observed.since.saturating_add(observed.record.duration).saturating_sub(since_boot());
        let lease = match tokio::time::timeout(left, events.next()).await {
            Err(_) | Ok(Some(Ok(WatchEvent::Deleted(_)))) => return Waited::Act,
            Ok(Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease)))) => lease,
            Ok(Some(Ok(WatchEvent::Bookmark(_)))) => continue,
            Ok(None) => return Waited::Ended,
            Ok(Some(Ok(WatchEvent::Error(_)) | Err(_))) => return Waited::Failed,
        };
        *observed = ObservedRecord { record: Record::read(&lease), since: since_boot() };
    }
    Waited::Act
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(holder: &str, version: u32) -> Value {
        json!({
            "metadata": { "resourceVersion": version.to_string() },
            "spec": { "holderIdentity": holder, "leaseDurationSeconds": 1 },
        })
    }

    /// How the wait ends after these events, how long it lasts, and which version is known then.
    async fn waited(events: Vec<WatchEvent<Value>>, is_open: bool) -> (Waited, Duration, String) {
        let events = futures::stream::iter(events.into_iter().map(Ok));
        let mut events: Events =
            if is_open { events.chain(futures::stream::pending()).boxed() } else { events.boxed() };
        let began = since_boot();
        let mut observed = ObservedRecord { record: Record::read(&lease("other", 1)), since: began };
        let end = wait_for(&mut events, &mut observed, "me").await;
        (end, since_boot().saturating_sub(began), observed.record.resource_version)
    }

    #[tokio::test]
    async fn a_follower_waits_until_the_lease_is_released_or_was_not_renewed_for_its_whole_duration() {
        let renewed = || WatchEvent::Modified(lease("other", 2));
        let (end, took, version) = waited(vec![renewed(), WatchEvent::Modified(lease("", 3))], true).await;
        assert_eq!((end, version.as_str()), (Waited::Act, "3"));
        assert!(took < Duration::from_millis(500), "{took:?}");
        let (end, took, version) = waited(vec![renewed()], true).await;
        assert_eq!((end, version.as_str()), (Waited::Act, "2"));
        assert!(took >= Duration::from_secs(1), "{took:?}");
        let (end, took, _) = waited(Vec::new(), true).await;
        assert!(end == Waited::Act && took >= Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test]
    async fn a_follower_reads_the_lease_when_its_watch_ends_or_the_lease_is_deleted() {
        assert_eq!(waited(vec![WatchEvent::Deleted(lease("other", 2))], true).await.0, Waited::Act);
        assert_eq!(waited(Vec::new(), false).await.0, Waited::Ended);
        let status = json!({"status": "Failure", "message": "", "reason": "Expired", "code": 410});
        let failed = WatchEvent::Error(serde_json::from_value(status).unwrap());
        assert_eq!(waited(vec![failed], true).await.0, Waited::Failed);
    }
}
