//! The chart for one team: rights in its namespaces only.

use std::time::Duration;

use crate::harness::programs::helm;
use crate::harness::set::Set;
use crate::harness::space::in_namespaces;
use crate::harness::{audit, operator};

#[tokio::test]
async fn with_roles_only_the_sets_of_its_namespaces_grow_and_no_request_is_denied() {
    // The one that looks after the whole cluster goes meanwhile, with all of its rights: no two look after one set.
    let values = helm(&["get", "values", "rso", "-n", operator::NAMESPACE, "-o", "json"]).await.ok();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values).unwrap();
    let values = format!("--values={}", file.path().display());
    helm(&["uninstall", "rso", "-n", operator::NAMESPACE, "--wait", "--timeout=3m"]).await.ok();
    let ended = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(one_team(&values))).await;
    install(operator::NAMESPACE, &[&values]).await;
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

async fn one_team(values: &str) {
    in_namespaces("team", 2, async |spaces| {
        let [team, others] = spaces else { panic!("two were asked for") };
        let since = audit::now();
        install(&team.name, &[values, &format!("--set=watchNamespaces={{{}}}", team.name)]).await;
        let set = Set::named("db").replicas(2).parallel().template("data", "400Mi").grows_by_usage().with_agent();
        let (ours, theirs) = (team.run(&set).await, others.run(&set).await);
        let before = ours.facts().await;
        theirs.fills(0, "data", 230).await;
        ours.fills(1, "data", 230).await;
        ours.reaches("data", "600Mi").await;
        ours.facts().await.pods_are_the_same_as(&before);
        theirs.stays_as_it_is(Duration::from_secs(3)).await;

        let asked = audit::requests_of(&format!("system:serviceaccount:{}:rso", team.name), &since);
        let beyond: Vec<_> = asked.iter().filter(|one| one.code == 403 || one.namespace != team.name).collect();
        // What every account may ask: which API versions there are.
        let beyond: Vec<_> = beyond.into_iter().filter(|one| !one.resource.is_empty()).collect();
        assert!(beyond.is_empty(), "{beyond:#?}");
        helm(&["uninstall", "rso", "-n", &team.name, "--wait", "--timeout=2m"]).await.ok();
    })
    .await;
}

async fn install(namespace: &str, flags: &[&str]) {
    let install = ["install", "rso", concat!(env!("CARGO_MANIFEST_DIR"), "/chart"), "-n", namespace];
    helm(&[&install[..], flags, &["--wait", "--timeout=3m"]].concat()).await.ok();
}
