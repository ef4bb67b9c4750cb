//! A set that somebody deleted comes back from its backup.

use rso::api::annotations::KIND_LABEL;
use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;

use crate::harness::api::Kind;
use crate::harness::facts::{Facts, size_in_template};
use crate::harness::live::Live;
use crate::harness::programs::{rso, shell};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};

/// Resized once, so that there is a backup; then deleted, the pods left behind.
async fn resized_and_deleted<'a>(space: &'a Space) -> (Live<'a>, Facts) {
    let set = space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await;
    set.asks("resize-0", "500Mi").await;
    set.reaches("data", "500Mi").await;
    let before = set.facts().await;
    space.kubectl(&["delete", "statefulset", "db", "--cascade=orphan"]).await;
    until("the set to be gone", PATIENCE, async || expect(set.object().await.is_none(), || "it is there".into())).await;
    (set, before)
}

async fn newest_backup(space: &Space) -> String {
    let backups = space.api.list(Kind::ConfigMap, &space.name, &format!("{KIND_LABEL}=backup")).await;
    let mut names: Vec<_> = backups.iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
    names.sort_unstable();
    (*names.last().expect("no backup")).to_owned()
}

#[tokio::test]
async fn rso_restores_a_deleted_set_with_the_size_its_claims_have() {
    in_namespace("restore", async |space| {
        let (set, before) = resized_and_deleted(space).await;
        let listed = rso(&["backup", "list", "-n", &space.name, "db"]).await.ok();
        assert!(listed.contains("data=400Mi") && listed.contains("raise data to 500Mi"), "{listed}");
        let planned = rso(&["restore", "db", "-n", &space.name, "--dry-run=server"]).await.ok();
        assert!(set.object().await.is_none(), "a dry run changed something: {planned}");
        rso(&["restore", "db", "-n", &space.name]).await.ok();
        // The backup says 400Mi; the claims have 500Mi.
        let restored = set.object().await.expect("not restored");
        assert_eq!(size_in_template(&restored, "data"), Some(Bytes::mib(500)), "smaller than its claims");
        set.is_ready().await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
        set.says(Reason::RestoredFromBackup).await;
    })
    .await;
}

#[tokio::test]
async fn kubectl_alone_restores_a_deleted_set() {
    in_namespace("by-kubectl", async |space| {
        let (set, before) = resized_and_deleted(space).await;
        let (namespace, backup) = (&space.name, newest_backup(space).await);
        let line = format!(
            r"kubectl -n {namespace} get cm {backup} -o jsonpath='{{.binaryData.statefulset\.json\.gz}}' | base64 -d | gunzip | kubectl create -f -"
        );
        shell(&line).await.ok();
        set.is_ready().await;
        // The backup is of the smaller template; the operator lets it follow its claims again.
        set.reaches("data", "500Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
    })
    .await;
}
