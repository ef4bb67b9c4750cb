//! The controllers of the cluster stand still while a set is recreated.

use std::process::Command;

use rso::api::bytes::Bytes;

use crate::harness::set::Set;
use crate::harness::space::in_namespace;
use crate::harness::{PATIENCE, expect, until};

/// They stand still as long as it lives.
struct Stopped;

impl Stopped {
    fn now() -> Self {
        signal("STOP");
        Self
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT");
    }
}

fn signal(name: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/restart.sh");
    let mut command = Command::new(script);
    let ended = command.args(["kube-controller-manager", name]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[tokio::test]
async fn without_a_garbage_collector_the_operator_orphans_the_pods_itself() {
    in_namespace("orphaning", async |space| {
        let set = space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await;
        let before = set.facts().await;
        let stopped = Stopped::now();
        set.asks("resize-0", "500Mi").await;
        until("the set to be made again", PATIENCE, async || {
            let set = set.object().await.ok_or("it is absent")?;
            expect(set["metadata"]["uid"] != before.uid(), || "it is the old one".to_owned())
        })
        .await;
        // Nobody owns them now, and nobody has touched them.
        set.facts().await.pods_are_the_same_as(&before);
        drop(stopped);
        set.reaches("data", "500Mi").await;
        set.is_ready().await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.revision_is_the_same_as(&before);
        assert_eq!(after.claims["data-db-1"].requested, Bytes::mib(500));
    })
    .await;
}
