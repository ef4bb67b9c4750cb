//! Sets that nobody asked us to look after.

use std::time::Duration;

use rso::api::annotations::PREFIX;
use serde_json::json;

use crate::harness::audit;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;

#[tokio::test]
async fn a_set_without_a_word_of_ours_is_never_written_to() {
    in_namespace("untouched", async |space| {
        let since = audit::now();
        let bare = space.create(&Set::named("bare").template("data", "300Mi").with_agent()).await;
        let others = json!({"annotations": {"example.com/auto-scaled": "true", "resize-0": "1Gi"}});
        let foreign = space.create(&Set::named("foreign").template("data", "300Mi").with_metadata(&others)).await;
        let off = space.create(&Set::named("off").template("data", "300Mi").asks("auto-scaled", "false")).await;
        for set in [&bare, &foreign, &off] {
            set.is_ready().await;
        }
        let before = [bare.facts().await, foreign.facts().await, off.facts().await];
        // Nearly full: there would be every reason to grow.
        for set in [&bare, &foreign, &off] {
            set.fills(0, "data", 200).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        for (set, before) in [bare, foreign, off].iter().zip(&before) {
            set.facts().await.nothing_happened_since(before);
        }
        let writes: Vec<_> = audit::requests_of_the_operator(&since)
            .into_iter()
            .filter(|request| request.is_a_write() && request.namespace == space.name)
            .collect();
        assert!(writes.is_empty(), "{PREFIX} wrote to sets that did not ask: {writes:?}");
    })
    .await;
}

#[tokio::test]
async fn a_paused_set_is_looked_at_and_left_alone_until_it_is_resumed() {
    in_namespace("paused", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi").asks("paused", "true")).await;
        set.asks("resize-0", "500Mi").await;
        set.stays_as_it_is(Duration::from_secs(8)).await;
        set.asks("paused", "false").await;
        set.reaches("data", "500Mi").await;
    })
    .await;
}
