//! What does the operator ask of the API server, and of agents, when there is nothing to do?

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use crate::harness::audit::{self, Request};
use crate::harness::operator::metric;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::kubelet::today;
use crate::page;

/// Runs that many managed sets, waits until all is quiet, counts, and writes the table.
pub async fn measure(sets: usize, long: Duration) {
    in_namespace("bench-rest", async |space| {
        run(space, sets).await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        let (since, before) = (audit::now(), asked(space).await);
        eprintln!("{sets} managed sets run; counting requests for {}", humantime::format_duration(long));
        tokio::time::sleep(long).await;
        // One volume a set.
        let a_second = (asked(space).await - before) * 1_000.0 / sets as f64 / long.as_secs_f64();
        print(&audit::requests_of_the_operator(&since), a_second, sets, long);
    })
    .await;
}

async fn run(space: &Space, sets: usize) {
    let names: Vec<String> = (0..sets).map(|nth| format!("s{nth}")).collect();
    // Ten at a time, or two cores are busy with starting alone.
    for some in names.chunks(10) {
        join_all(some.iter().map(async |name| {
            let set = Set::named(name).template("data", "300Mi").asks("auto-scaled", "true");
            space.run(&set.with_agent()).await;
        }))
        .await;
    }
}

/// How often the operator has asked agents, with whatever result.
async fn asked(space: &Space) -> f64 {
    metric(&space.api, "rso_usage_requests_total", "source=\"agent\"").await
}

fn print(requests: &[Request], a_second: f64, sets: usize, long: Duration) {
    let mut verbs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for one in requests {
        *verbs.entry((&one.verb, &one.resource)).or_default() += 1;
    }
    let writes = requests.iter().filter(|one| one.is_a_write()).count();
    let lists = requests.iter().filter(|one| one.verb == "list").count();
    let long = humantime::format_duration(long);
    println!("\nrequests at rest, {sets} managed sets, {long}:");
    for ((verb, resource), count) in &verbs {
        println!("  {count:>6}  {verb} {resource}");
    }
    println!("  {writes:>6}  writes (the lease apart)   goal 0");
    println!("  {lists:>6}  lists                      goal 0");
    println!("  {a_second:>6.1}  agent requests a second for 1,000 volumes   goal ≤ 20");
    let others = requests.iter().filter(|one| one.verb != "watch" && one.resource != "leases").count();
    let table = format!(
        "| What | Figure |\n|---|---|\n| Requests to agents per second, for 1,000 volumes | {a_second:.1} |\n\
         | Requests to the API server, apart from watches and the Lease | {others} |\n\n\
         {}, {sets} StatefulSets of one volume, {long}.",
        today()
    );
    page::write("rest", &table);
}
