//! What others do while a recreate is under way. A [`Stop`] keeps it there long enough.

use std::time::Duration;

use rso::api::annotations::{HOLD, TRANSACTION};
use rso::api::reasons::Reason;
use serde_json::json;

use crate::harness::api::Kind;
use crate::harness::live::Live;
use crate::harness::policy::{Moment, Stop};
use crate::harness::programs::kubectl;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, operator, until};

async fn running<'a>(space: &'a Space) -> Live<'a> {
    space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await
}

async fn is_terminating(set: &Live<'_>) {
    until("the set to be terminating", PATIENCE, async || {
        let object = set.object().await.unwrap_or_default();
        expect(object["metadata"]["deletionTimestamp"].is_string(), || object["metadata"].to_string())
    })
    .await;
}

async fn is_held(set: &Live<'_>) {
    until("the set to be held", PATIENCE, async || {
        let object = set.object().await.unwrap_or_default();
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == HOLD));
        expect(held, || object["metadata"].to_string())
    })
    .await;
}

async fn is_absent(set: &Live<'_>) {
    until("the name to be free", PATIENCE, async || expect(set.object().await.is_none(), || "it is there".to_owned()))
        .await;
}

#[tokio::test]
async fn an_edit_made_while_the_old_set_is_going_is_in_the_new_one() {
    in_namespace("edit", async |space| {
        let set = running(space).await;
        let before = set.facts().await;
        let stop = Stop::at(space, Moment::Releasing).await;
        set.asks("resize-0", "500Mi").await;
        is_terminating(&set).await;
        set.patches(&json!({"metadata": {"annotations": {"example.com/note": "mine"}}, "spec": {"replicas": 3}})).await;
        stop.lift().await;
        set.reaches("data", "500Mi").await;
        set.is_ready().await;
        let after = set.facts().await;
        assert_eq!(after.set["metadata"]["annotations"]["example.com/note"], "mine");
        assert_eq!(after.set["spec"]["replicas"], 3);
        for pod in ["db-0", "db-1"] {
            assert_eq!(after.pods[pod], before.pods[pod], "{pod} was restarted or replaced");
        }
    })
    .await;
}

#[tokio::test]
async fn a_set_made_by_someone_else_in_the_gap_is_kept_and_grown() {
    in_namespace("gap", async |space| {
        let set = running(space).await;
        let before = set.facts().await;
        let stop = Stop::at(space, Moment::Creating).await;
        set.asks("resize-0", "500Mi").await;
        is_absent(&set).await;
        let foreign = Set::named("db").replicas(2).parallel().template("data", "400Mi").asks("resize-0", "500Mi");
        let foreign = foreign.with_metadata(&json!({"annotations": {"example.com/maker": "someone else"}}));
        space.create(&foreign).await;
        stop.lift().await;
        set.reaches("data", "500Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        assert_eq!(after.set["metadata"]["annotations"]["example.com/maker"], "someone else");
    })
    .await;
}

#[tokio::test]
async fn a_create_that_is_refused_for_a_while_is_told_and_tried_until_it_succeeds() {
    in_namespace("refused", async |space| {
        let set = running(space).await;
        let before = set.facts().await;
        let stop = Stop::at(space, Moment::Creating).await;
        set.asks("resize-0", "500Mi").await;
        is_absent(&set).await;
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("stopped by a test"), "the note does not say why: {note}");
        set.facts().await.pods_are_the_same_as(&before);
        stop.lift().await;
        set.reaches("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn a_delete_while_the_set_is_held_is_refused_or_undone() {
    in_namespace("held-delete", async |space| {
        let set = running(space).await;
        let before = set.facts().await;
        let stop = Stop::at(space, Moment::Releasing).await;
        set.asks("resize-0", "500Mi").await;
        is_terminating(&set).await;
        // A background delete would take the pods along, if it were obeyed.
        let options = json!({"propagationPolicy": "Background"});
        let answer = space.api.delete(Kind::StatefulSet, &space.name, "db", &options).await;
        if let Err(refused) = &answer {
            assert!(refused.message.contains("resize-statefulset-operator"), "who refused, and why? {refused:?}");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        set.facts().await.pods_are_the_same_as(&before);
        stop.lift().await;
        set.reaches("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn a_delete_by_somebody_who_says_that_he_means_it_is_obeyed_and_the_set_stays_deleted() {
    in_namespace("break-glass", async |space| {
        let set = running(space).await;
        let stop = Stop::at(space, Moment::Deleting).await;
        set.asks("resize-0", "500Mi").await;
        is_held(&set).await;
        let refused = kubectl(&["-n", &space.name, "delete", "statefulset", "db", "--wait=false"]).await;
        assert!(refused.code != 0 && refused.err.contains("allow-delete=true"), "{}", refused.err);
        set.asks("allow-delete", "true").await;
        until("the operator to let go of it", PATIENCE, async || {
            let object = set.object().await.unwrap_or_default();
            expect(object["metadata"]["finalizers"].is_null(), || object["metadata"].to_string())
        })
        .await;
        space.kubectl(&["delete", "statefulset", "db", "--wait=false"]).await;
        is_absent(&set).await;
        stop.lift().await;
        until("its journal to be gone", PATIENCE, async || {
            let journals = operator::journals_about(&space.api, &space.name, "db").await;
            expect(journals.is_empty(), || format!("{journals:?}"))
        })
        .await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(set.object().await.is_none(), "it was created again");
        assert_eq!(space.api.list(Kind::Claim, &space.name, "").await.len(), 2, "a claim is gone");
    })
    .await;
}

#[tokio::test]
async fn a_set_deleted_by_its_owner_before_it_is_held_stays_deleted() {
    in_namespace("deleted", async |space| {
        let names = ["a", "b", "c", "d", "e", "f"];
        for name in names {
            space.create(&Set::named(name).replicas(0).template("data", "400Mi")).await;
        }
        for (nth, name) in names.iter().enumerate() {
            let set = Live::named(space, name);
            set.is_ready().await;
            set.asks("resize-0", "500Mi").await;
            // Some of these meet the operator before the hold, some during it, some after.
            tokio::time::sleep(Duration::from_millis(40 * nth as u64)).await;
            let options = json!({"propagationPolicy": "Background"});
            let answer = space.api.delete(Kind::StatefulSet, &space.name, name, &options).await;
            let honoured = answer.as_ref().is_ok_and(|gone| !gone.to_string().contains(HOLD));
            tokio::time::sleep(Duration::from_secs(3)).await;
            if honoured {
                assert!(set.object().await.is_none(), "{name} was resurrected, deleted after {} ms", 40 * nth);
            } else {
                set.template_is("data", "500Mi").await;
            }
            until("its journal to be gone", PATIENCE, async || {
                let journals = operator::journals_about(&space.api, &space.name, name).await;
                expect(journals.is_empty(), || format!("{journals:?}"))
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_namespace_deleted_while_its_set_is_held_goes() {
    in_namespace("namespace", async |space| {
        let set = running(space).await;
        let stop = Stop::at(space, Moment::Deleting).await;
        set.asks("resize-0", "500Mi").await;
        is_held(&set).await;
        space.api.delete(Kind::Namespace, "", &space.name, &json!({})).await.unwrap();
        stop.lift().await;
        until("the namespace to be gone", PATIENCE, async || {
            let namespace = space.api.get(Kind::Namespace, "", &space.name).await;
            expect(namespace.is_none(), || namespace.unwrap_or_default()["status"].to_string())
        })
        .await;
        until("its journal to be gone", PATIENCE, async || {
            let journals = operator::journals_about(&space.api, &space.name, "db").await;
            expect(journals.is_empty(), || format!("{journals:?}"))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_volume_that_fills_while_its_set_cannot_be_finished_grows_all_the_same() {
    in_namespace("landing", async |space| {
        let set = Set::named("db").template("data", "400Mi").grows_by_usage().with_agent();
        let set = space.run(&set).await;
        let before = set.facts().await;
        let stop = Stop::at(space, Moment::Landing).await;
        set.asks("resize-0", "500Mi").await;
        until("the new set, unfinished", PATIENCE, async || {
            let object = set.object().await.unwrap_or_default();
            expect(object["metadata"]["annotations"][TRANSACTION].is_string(), || object["metadata"].to_string())
        })
        .await;
        set.fills(0, "data", 280).await;
        set.claims_have_grown("data", "700Mi").await;
        assert_eq!(set.object().await.unwrap()["spec"]["updateStrategy"]["type"], "OnDelete", "it is finished");
        stop.lift().await;
        set.reaches("data", "700Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        assert_eq!(after.set["spec"]["updateStrategy"], before.set["spec"]["updateStrategy"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_before_the_delete_is_taken_back_and_tried_again_later() {
    in_namespace("protecting", async |space| {
        let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}});
        let set = Set::named("db").replicas(2).parallel().template("data", "400Mi").with(&policy);
        let set = space.run(&set).await;
        let before = set.facts().await;
        let stop = Stop::at(space, Moment::Protecting).await;
        set.asks("resize-0", "500Mi").await;
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("rolled the recreation back") && note.contains("stopped by a test"), "{note}");
        set.leaves_no_trace().await;
        assert_eq!(set.facts().await.uid(), before.uid(), "it was replaced");
        stop.lift().await;
        set.reaches("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}
