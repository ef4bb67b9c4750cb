//! A set that somebody deleted comes back from its backup.

use rso::api::annotations::KIND_LABEL;
use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use rso::recreate::{archive, backup};
use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::facts::{Facts, size_in_template};
use crate::harness::live::Live;
use crate::harness::programs::{kubectl, rso, shell};
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

/// A backup as somebody writes it who may write ConfigMaps and nothing else: with a checksum that is right.
async fn forges(space: &Space, number: u64, change: impl FnOnce(&mut Value)) {
    // The honest one; the newest may be forged.
    let map = space.api.get(Kind::ConfigMap, &space.name, "db-backup-1").await.unwrap();
    let mut object = backup::decode(&map).unwrap();
    change(&mut object);
    let body = archive::pack(&object).unwrap();
    let forged = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("db-backup-{number}"), "labels": map["metadata"]["labels"]},
        "data": {"taken-at": "2026-05-01T12:00:00Z", "sha256": archive::checksum(&body)},
        "binaryData": {backup::BODY: archive::base64_of(&body)},
    });
    space.api.create(Kind::ConfigMap, &space.name, &forged).await.unwrap();
}

#[tokio::test]
async fn rights_that_somebody_wrote_into_a_backup_are_not_restored() {
    in_namespace("forged", async |space| {
        let (set, before) = resized_and_deleted(space).await;
        let restore = async |options: &[&str]| rso(&[&["restore", "db", "-n", &space.name], options].concat()).await;
        forges(space, 99, |set| {
            let pod = &mut set["spec"]["template"]["spec"];
            pod["hostPID"] = json!(true);
            pod["containers"][0]["securityContext"] = json!({"privileged": true});
            pod["volumes"] = json!([{"name": "root", "hostPath": {"path": "/"}}]);
        })
        .await;
        // The newest wins, and nobody is asked: it is refused all the same.
        for options in [&[][..], &["--yes"], &["--dry-run=server"]] {
            let ran = restore(options).await;
            assert_eq!(ran.code, 4, "{options:?}: {}{}", ran.out, ran.err);
            for word in ["hostPID", "privileged", "hostPath", "differs from ControllerRevision", "--allow-new-rights"] {
                assert!(ran.err.contains(word), "{options:?}: no {word} in {}", ran.err);
            }
            assert!(set.object().await.is_none());
        }
        // What takes no right wants somebody who has read it.
        forges(space, 100, |set| set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(7)).await;
        let ran = restore(&[]).await;
        assert!(ran.code == 4 && ran.err.contains("--yes"), "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("spec.template.spec.terminationGracePeriodSeconds"), "{}", ran.err);
        // Of another set.
        forges(space, 101, |set| set["metadata"]["name"] = json!("other")).await;
        let ran = restore(&["--yes", "--allow-new-rights"]).await;
        assert!(ran.code == 4 && ran.err.contains("other"), "{}{}", ran.out, ran.err);
        assert!(set.object().await.is_none());
        // With a yes it is restored, and no Pod is replaced or scaled away by it.
        forges(space, 102, |set| {
            set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(7);
            set["spec"]["replicas"] = json!(1);
        })
        .await;
        let ran = restore(&["--yes"]).await;
        assert!(
            ran.code == 0 && ran.err.contains("OnDelete") && ran.err.contains("replicas"),
            "{}{}",
            ran.out,
            ran.err
        );
        set.is_ready().await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
    })
    .await;
}

#[tokio::test]
async fn the_rights_of_an_editor_do_not_write_what_confirms_a_backup() {
    for role in ["edit", "admin"] {
        let rules = kubectl(&["get", "clusterrole", role, "-o", "json"]).await.ok();
        let rules: Value = serde_json::from_str(&rules).unwrap();
        for rule in rules["rules"].as_array().unwrap() {
            let has = |key: &str, words: &[&str]| {
                let values = rule[key].as_array().into_iter().flatten();
                values.into_iter().filter_map(Value::as_str).any(|value| words.contains(&value))
            };
            let writes = has("verbs", &["create", "update", "patch", "*"]);
            assert!(!(writes && has("resources", &["controllerrevisions", "*"])), "{role}: {rule}");
        }
    }
}
