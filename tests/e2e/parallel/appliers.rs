//! Tools that deployed a set still can after it was replaced.

use serde_json::{Value, json};

use crate::harness::programs::{HELMS, helm_of, kubectl_reading};
use crate::harness::set::Set;
use crate::harness::space::in_namespace;

fn manifest(size: &str, note: &str) -> Value {
    let set = Set::named("db").replicas(2).parallel().template("data", size).asks("resize-0", "500Mi");
    set.with_metadata(&json!({"labels": {"note": note}})).manifest()
}

#[tokio::test]
async fn a_server_side_apply_finds_its_fields_its_own() {
    in_namespace("apply", async |space| {
        let apply = async |manifest: Value| {
            let args = ["-n", &space.name, "apply", "--server-side", "--field-manager=git", "-f", "-"];
            kubectl_reading(&manifest.to_string(), &args).await.ok();
        };
        let mut first = manifest("400Mi", "one");
        first["metadata"]["annotations"] = json!({});
        apply(first).await;
        let set = crate::harness::live::Live::named(space, "db");
        set.is_ready().await;
        // Asked for by the same applier, so that before and after differ by nothing else.
        apply(manifest("400Mi", "one")).await;
        let before = set.facts().await;
        set.reaches("data", "500Mi").await;
        set.facts().await.only_grew_since(&before);
        apply(manifest("500Mi", "two")).await;
        assert_eq!(set.object().await.unwrap()["metadata"]["labels"]["note"], "two");
    })
    .await;
}

#[tokio::test]
async fn helm_upgrades_a_release_whose_set_was_replaced() {
    for helm in HELMS {
        in_namespace(helm, async |space| {
            let chart = tempfile::tempdir().unwrap();
            let write = |size: &str, note: &str| {
                let templates = chart.path().join("templates");
                std::fs::create_dir_all(&templates).unwrap();
                std::fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: db\nversion: 0.1.0\n").unwrap();
                std::fs::write(templates.join("set.yaml"), manifest(size, note).to_string()).unwrap();
            };
            let path = chart.path().to_str().unwrap();
            write("400Mi", "one");
            helm_of(helm, &["install", "db", path, "-n", &space.name]).await.ok();
            let set = crate::harness::live::Live::named(space, "db");
            set.is_ready().await;
            let before = set.facts().await;
            set.reaches("data", "500Mi").await;
            set.facts().await.only_grew_since(&before);
            write("500Mi", "two");
            helm_of(helm, &["upgrade", "db", path, "-n", &space.name]).await.ok();
            assert_eq!(set.object().await.unwrap()["metadata"]["labels"]["note"], "two", "{helm}");
            set.facts().await.pods_are_the_same_as(&before);
        })
        .await;
    }
}
