//! Releases of Helm, of both its versions, that ask for sizes.

use std::path::Path;

use super::{git_should_carry, with_note};
use crate::harness::facts::size_in_template;
use crate::harness::live::Live;
use crate::harness::programs::{HELMS, helm_of};
use crate::harness::space::{Space, in_namespace};

/// A chart with one set.
fn chart(folder: &Path, size: &str, note: &str) {
    std::fs::create_dir_all(folder.join("templates")).unwrap();
    std::fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: db\nversion: 0.1.0\n").unwrap();
    std::fs::write(folder.join("templates/set.yaml"), with_note(size, note).to_string()).unwrap();
}

/// Its release, as one version of Helm sees it.
struct Release<'a> {
    helm: &'static str,
    space: &'a Space,
    chart: tempfile::TempDir,
}

impl Release<'_> {
    /// `helm <verb> db …`, waiting until what it deployed is ready.
    async fn waits(&self, verb: &str, rest: &str) {
        let wait = ["-n", &self.space.name, "--wait", "--timeout", "2m"];
        helm_of(self.helm, &[&[verb, "db", rest][..], &wait].concat()).await.ok();
    }

    async fn deploys(&self, verb: &str, size: &str, note: &str) {
        chart(self.chart.path(), size, note);
        self.waits(verb, self.chart.path().to_str().unwrap()).await;
    }
}

#[tokio::test]
async fn helm_grows_waits_and_rolls_back_to_a_smaller_size() {
    for helm in HELMS {
        in_namespace(&format!("rollback-{helm}"), async |space| {
            let release = Release { helm, space, chart: tempfile::tempdir().unwrap() };
            release.deploys("install", "400Mi", "one").await;
            let set = Live::named(space, "db");
            // The wait goes on while the set is replaced.
            release.deploys("upgrade", "500Mi", "two").await;
            set.reaches("data", "500Mi").await;
            set.is_ready().await;
            // An upgrade after the set was replaced has no conflict about its fields.
            release.deploys("upgrade", "500Mi", "three").await;
            release.waits("rollback", "1").await;
            set.is_ready().await;
            let now = set.object().await.unwrap();
            assert_eq!(now["spec"]["template"]["metadata"]["annotations"]["note"], "one", "{helm}");
            assert_eq!(size_in_template(&now, "data"), "500Mi".parse().ok(), "{helm}");
            git_should_carry(space).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_uninstall_leaves_the_backups_and_the_claims() {
    in_namespace("uninstalled", async |space| {
        let release = Release { helm: HELMS[0], space, chart: tempfile::tempdir().unwrap() };
        release.deploys("install", "400Mi", "one").await;
        release.deploys("upgrade", "500Mi", "one").await;
        Live::named(space, "db").reaches("data", "500Mi").await;
        helm_of(release.helm, &["uninstall", "db", "-n", &space.name, "--wait"]).await.ok();
        super::others::backups_and_claims_are_there(space).await;
    })
    .await;
}
