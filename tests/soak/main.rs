//! `make soak`: a real cluster under chaos, for as long as one likes.
//!
//! Rounds: every set is asked to grow, by annotation, by apply or by usage; meanwhile the operator, the API server, the
//! controller manager, the kubelet and the CSI driver are killed or stopped, and people delete pods, scale, and edit. Then it
//! is quiet, and everything has to be as asked, with not one pod restarted that nobody asked to. The first exception ends the
//! run, with the seed that repeats its choices.
//!
//! `DURATION` is how long new rounds begin (30m), `RESIZES` ends it earlier, `SETS` is how many sets there are (12), `SEED`
//! repeats.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`chaos`] | What is broken, and how? |
//! | [`people`] | What do people do meanwhile? |
//! | [`growth`] | How is a set asked to grow, and what must be true then? |
//! | [`absence`] | How long was a set not there? |
//! | [`tally`] | What came of it all? |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs,
    dead_code
)]

mod absence;
mod chaos;
mod growth;
#[path = "../e2e/harness/mod.rs"]
mod harness;
#[path = "../page/mod.rs"]
mod page;
mod people;
mod tally;

use std::time::{Duration, Instant};

use futures::future::{join, join_all};

use self::growth::Growing;
use self::harness::chance::Chance;
use self::harness::operator;
use self::harness::space::{Space, in_namespaces};
use self::tally::Tally;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let variable = |name: &str| std::env::var(name).ok();
    let duration = variable("DURATION").map_or(Duration::from_secs(1_800), |text| {
        humantime::parse_duration(&text).unwrap_or_else(|e| panic!("DURATION={text}: {e}; use 30m or 8h"))
    });
    let most = variable("RESIZES").map_or(usize::MAX, |text| text.parse().expect("RESIZES is a number"));
    // Each in a namespace of its own: only one set of a namespace is recreated at a time.
    let sets = variable("SETS").map_or(2 * growth::SHAPES, |text| text.parse().expect("SETS is a number"));
    let seed = variable("SEED").map_or_else(Chance::seed, |text| text.parse().expect("SEED is a number"));
    println!("SEED={seed}");
    let mut tally = Tally::new(seed);
    in_namespaces("soak", sets, async |spaces| {
        operator::scale(&spaces[0].api, 2).await;
        let mut chance = Chance::new(seed);
        let mut sets = join_all(spaces.iter().enumerate().map(|(nth, space)| Growing::start(nth, space))).await;
        let began = Instant::now();
        while began.elapsed() < duration && tally.resizes < most {
            round(&mut chance, spaces, &mut sets, &mut tally).await;
            println!("{}", tally.line(began.elapsed()));
        }
        tally.took = began.elapsed();
    })
    .await;
    println!("{}", tally.table());
    page::write("soak", &tally.table());
}

async fn round(chance: &mut Chance, spaces: &[Space], sets: &mut [Growing<'_>], tally: &mut Tally) {
    for set in &mut *sets {
        set.is_asked_to_grow(chance).await;
    }
    let plans: Vec<_> = sets.iter().map(|set| people::plan(chance, set)).collect();
    let broken = chaos::plan(chance);
    let names: Vec<(String, String)> =
        spaces.iter().map(|space| (space.name.clone(), growth::NAME.to_owned())).collect();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let watched = absence::watch(names, stopped);
    let worked = async {
        join(join_all(sets.iter().zip(&plans).map(|(set, plan)| people::act(set, plan))), chaos::wreak(&broken)).await;
        chaos::is_over().await;
        let calm = Instant::now();
        let recovered = join_all(sets.iter_mut().zip(&plans).map(async |(set, plan)| {
            set.is_as_asked(plan).await;
            calm.elapsed()
        }))
        .await;
        let _ = stop.send(());
        recovered
    };
    let (recovered, absences) = join(worked, watched).await;
    tally.add(&broken, &plans, &recovered, &absences);
}
