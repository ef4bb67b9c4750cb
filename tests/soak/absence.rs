//! How long was a set not there? Looked at ten times a second, by everybody's eyes: the API server. While that is down
//! nobody can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot::Receiver;

use crate::harness::api::{Api, Kind};

const LOOK: Duration = Duration::from_millis(100);

/// Each absence that was seen, from the first look that missed the set to the first that found it again.
pub async fn watch(sets: Vec<(String, String)>, mut stop: Receiver<()>) -> Vec<Duration> {
    let api = Api::connect().await;
    let mut missed: BTreeMap<usize, Instant> = BTreeMap::new();
    let mut absences = Vec::new();
    while stop.try_recv().is_err() {
        if let Ok(there) = api.try_list(Kind::StatefulSet, "", "").await {
            let text = |set: &Value, key: &str| set["metadata"][key].as_str().unwrap_or_default().to_owned();
            let there: BTreeSet<_> = there.iter().map(|set| (text(set, "namespace"), text(set, "name"))).collect();
            for (nth, set) in sets.iter().enumerate() {
                if there.contains(set) {
                    absences.extend(missed.remove(&nth).map(|since| since.elapsed()));
                } else {
                    missed.entry(nth).or_insert_with(Instant::now);
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    assert!(missed.is_empty(), "sets are lost: {:?}", missed.keys().map(|nth| &sets[*nth]).collect::<Vec<_>>());
    absences
}
