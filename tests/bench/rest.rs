//! What does the operator ask of the API server when there is nothing to do?

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use crate::harness::audit;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;

/// Runs that many managed sets, waits until all is quiet, and counts.
pub async fn measure(sets: usize, long: Duration) {
    in_namespace("bench-rest", async |space| {
        let names: Vec<String> = (0..sets).map(|nth| format!("s{nth}")).collect();
        // Ten at a time, or two cores are busy with starting alone.
        for some in names.chunks(10) {
            join_all(some.iter().map(async |name| {
                let set = Set::named(name).template("data", "300Mi").asks("auto-scaled", "true");
                space.run(&set.with_agent()).await;
            }))
            .await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        let since = audit::now();
        eprintln!("{sets} managed sets run; counting requests for {}", humantime::format_duration(long));
        tokio::time::sleep(long).await;
        let requests = audit::requests_of_the_operator(&since);
        let mut verbs: BTreeMap<(String, String), usize> = BTreeMap::new();
        for one in &requests {
            *verbs.entry((one.verb.clone(), one.resource.clone())).or_default() += 1;
        }
        let writes = requests.iter().filter(|one| one.is_a_write()).count();
        let lists = requests.iter().filter(|one| one.verb == "list").count();
        println!("\nAPI requests at rest, {sets} managed sets, {}:", humantime::format_duration(long));
        for ((verb, resource), count) in &verbs {
            println!("  {count:>6}  {verb} {resource}");
        }
        println!("  {writes:>6}  writes (the lease apart)   goal 0");
        println!("  {lists:>6}  lists                      goal 0");
    })
    .await;
}
