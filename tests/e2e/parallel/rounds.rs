//! A second resize, asked the moment the first has landed. Done the plain way, the garbage collector deletes pods whose
//! owner reference it saw too late: <https://github.com/kubernetes/kubernetes/issues/131284>.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rso::api::annotations::TRANSACTION;
use rso::api::bytes::Bytes;

use crate::harness::PATIENCE;
use crate::harness::facts::size_in_template;
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespaces};

/// Sets that are resized side by side, each in a namespace of its own.
const SIDE_BY_SIDE: usize = 4;

#[tokio::test]
async fn a_hundred_times_the_next_resize_follows_at_once_and_no_pod_is_lost() {
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let each = rounds.div_ceil(SIDE_BY_SIDE);
    in_namespaces("rounds", SIDE_BY_SIDE, async |spaces| {
        join_all(spaces.iter().map(|space| resized_over_and_over(space, each))).await;
    })
    .await;
    println!("{} resizes, each asked the moment the one before had landed; no pod was lost", each * SIDE_BY_SIDE);
}

async fn resized_over_and_over(space: &Space, rounds: usize) {
    let set = space.run(&Set::named("db").replicas(3).parallel().template("data", "400Mi")).await;
    let before = set.facts().await;
    for round in 1..=rounds {
        let size = Bytes::mib(400 + 8 * round as u64);
        set.asks("resize-0", &size.to_string()).await;
        lands(&set, size, round).await;
    }
    set.leaves_no_trace().await;
    let after = set.facts().await;
    after.pods_are_the_same_as(&before);
    after.claims_only_grew_since(&before);
}

/// Looks as often as it can, for the next round has to begin at once.
async fn lands(set: &Live<'_>, size: Bytes, round: usize) {
    let started = Instant::now();
    loop {
        let object = set.object().await.unwrap_or_default();
        if size_in_template(&object, "data") == Some(size) && object["metadata"]["annotations"][TRANSACTION].is_null() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "round {round} did not land: {}", object["metadata"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
