use super::*;
use crate::api::reasons::Reason;
use crate::policy::decide::{Verdict, decide};
use crate::policy::drivers::Driver;
use crate::policy::samples::{at, claim, usage};
use crate::policy::settings::{Auto, Limits};
use crate::policy::usage::{Failing, Part};

/// A volume of this size, far from its threshold, is measured once a minute.
const SIZE: Bytes = Bytes::gib(1_000);

fn settings() -> TemplateSettings {
    let mut settings = TemplateSettings::new("data".into(), &Limits::default());
    (settings.auto, settings.threshold) = (Auto::On, crate::api::bytes::Percent::whole(80));
    settings
}

fn wanted(claims: &[Claim]) -> ByPod {
    let one = |claim: &Claim| {
        (claim.ordinal, vec![Wanted { claim: claim.clone(), settings: settings().into(), driver: Driver::default() }])
    };
    claims.iter().map(one).collect()
}

/// The Pod of ordinal 0, which last `ran` at that second.
fn pod(uid: &str, ran: Option<i64>) -> PodView {
    PodView {
        namespace: "shop".to_owned(),
        name: "db-0".to_owned(),
        uid: uid.to_owned(),
        node: Some("n1".to_owned()),
        agent: None,
        claims: vec!["data-db-0".into()],
        ran: ran.map(at),
        started: None,
        failing: None,
        failures: Vec::new(),
        young: false,
    }
}

fn not_running() -> Unknown {
    Unknown::NotRunning(Box::new(Failing {
        namespace: "shop".to_owned(),
        pod: "db-0".to_owned(),
        part: Part::Pod,
        reason: "CrashLoopBackOff".to_owned(),
        exit_code: None,
        message: String::new(),
    }))
}

/// A volume with this usage at second 0.
fn measured(percent: u64) -> Gauges {
    let mut gauges = Gauges::default();
    let claim = claim(0, SIZE);
    gauges.want(wanted(std::slice::from_ref(&claim)), |_| None, at(0));
    assert_eq!(store(&mut gauges, Some(&pod("a", Some(0))), Ok(usage(&claim, percent)), 0), Some(true));
    gauges.readings(at(0));
    gauges
}

fn store(gauges: &mut Gauges, pod: Option<&PodView>, result: Result<Usage, Unknown>, second: i64) -> Option<bool> {
    gauges.take(Ordinal(0), &"data-db-0".into(), pod, result, at(second))
}

/// The reading of the volume at that second.
fn known(gauges: &mut Gauges, second: i64) -> Result<u32, Unknown> {
    let readings = gauges.readings(at(second));
    let current = readings[&ClaimName::from("data-db-0")].current(&claim(0, SIZE), at(second));
    current.map(|(usage, _)| (usage.fullness().unwrap().0 + 500) / 1_000)
}

#[test]
fn a_volume_is_queried_when_it_is_due_was_expanded_or_has_another_pod() {
    let check = |result: Result<u64, Unknown>, size: Bytes, later: i64, uid: &str, expected: bool| {
        let mut gauges = Gauges::default();
        let first = claim(0, SIZE);
        assert!(gauges.want(wanted(std::slice::from_ref(&first)), |_| None, at(0)), "a new volume is queried");
        let context = format!("{result:?} {size} {later} {uid}");
        store(&mut gauges, Some(&pod("a", Some(0))), result.map(|percent| usage(&first, percent)), 0);
        let now_wanted = wanted(&[claim(0, size)]);
        assert_eq!(gauges.want(now_wanted, |_| Some(pod(uid, Some(0))), at(later)), expected, "{context}");
    };
    check(Ok(10), SIZE, 1, "a", false);
    check(Ok(10), SIZE, 60, "a", true);
    check(Ok(10), Bytes::gib(1_200), 1, "a", true);
    check(Ok(10), SIZE, 1, "b", false);
    check(Err(Unknown::NoPod), SIZE, 1, "a", false);
    check(Err(Unknown::NoPod), SIZE, 1, "b", true);
    check(Err(Unknown::NoPod), SIZE, 10, "a", true);
}

#[test]
fn a_volume_of_unknown_usage_is_queried_when_a_container_of_its_pod_starts_again() {
    let check = |unknown: Unknown, started: Option<i64>, expected: bool| {
        let mut gauges = measured(10);
        store(&mut gauges, Some(&pod("a", Some(0))), Err(unknown.clone()), 5);
        let again = PodView { started: started.map(at), ..pod("a", Some(6)) };
        let is_due = gauges.want(wanted(&[claim(0, SIZE)]), |_| Some(again.clone()), at(6));
        assert_eq!(is_due, expected, "{unknown:?} {started:?}");
    };
    check(not_running(), Some(6), true);
    check(not_running(), None, false);
}

#[test]
fn volumes_that_are_no_longer_measured_are_dropped() {
    let mut gauges = measured(10);
    gauges.want(ByPod::new(), |_| None, at(1));
    assert_eq!((gauges.next(), gauges.readings(at(1)).len()), (None, 0));
    assert_eq!(store(&mut gauges, None, Ok(usage(&claim(0, SIZE), 99)), 2), None);
}

#[test]
fn the_last_reading_counts_as_long_as_nothing_can_have_freed_space() {
    let check = |why: &Unknown, pod: Option<PodView>, second: i64, expected: Result<u32, Unknown>| {
        let mut gauges = measured(99);
        store(&mut gauges, pod.as_ref(), Err(why.clone()), second);
        assert_eq!(known(&mut gauges, second), expected, "{why:?} {pod:?} {second}");
    };
    let day = 86_400;
    check(&Unknown::NoPod, None, day, Ok(99));
    check(&not_running(), Some(pod("b", None)), day, Ok(99));
    check(&not_running(), Some(pod("b", Some(120))), day, Ok(99));
    // It ran since, for longer than a reading is valid.
    check(&not_running(), Some(pod("b", Some(181))), day, Err(not_running()));
    check(&Unknown::NotYet, Some(pod("b", Some(100))), 100, Ok(99));
    check(&Unknown::NotYet, Some(pod("b", Some(181))), 181, Err(Unknown::NotYet));
    // A container runs, and its usage is unknown.
    let silent = Unknown::Silent("refused".to_owned());
    check(&silent, Some(pod("a", Some(10))), 10, Ok(99));
    check(&silent, Some(pod("a", Some(181))), 181, Err(silent.clone()));
    // No container runs.
    check(&silent, Some(pod("b", Some(4))), day, Ok(99));
    check(&Unknown::NotIsolated, Some(pod("a", Some(1))), 1, Err(Unknown::NotIsolated));
}

#[test]
fn a_volume_that_was_full_when_its_pod_died_is_expanded_when_the_cooldown_is_over() {
    let (mut settings, driver) = (settings(), Driver::default());
    settings.cooldown = Some(Duration::from_secs(15 * 60));
    let last = Claim { resized_at: Some(at(-30)), ..claim(0, SIZE) };
    let mut gauges = Gauges::default();
    gauges.want(wanted(std::slice::from_ref(&last)), |_| None, at(0));
    store(&mut gauges, Some(&pod("a", Some(0))), Ok(usage(&last, 97)), 0);
    let dead = pod("a", Some(4));
    let mut decided = |second: i64| {
        let is_news = store(&mut gauges, Some(&dead), Err(not_running()), second);
        assert_eq!(is_news, Some(true), "a full volume is reconciled after every query");
        let readings = gauges.readings(at(second));
        decide(&settings, &driver, SIZE, std::slice::from_ref(&last), &readings, at(second)).verdict
    };
    assert!(matches!(decided(10), Verdict::Refuse(Reason::CooldownActive)));
    assert!(matches!(decided(869), Verdict::Refuse(Reason::CooldownActive)));
    assert!(matches!(decided(870), Verdict::Grow { .. }));
}

#[test]
fn a_reading_from_before_an_expansion_does_not_count() {
    let mut gauges = measured(99);
    let grown = Claim { resized_at: Some(at(30)), ..claim(0, SIZE) };
    gauges.want(wanted(std::slice::from_ref(&grown)), |_| None, at(40));
    store(&mut gauges, None, Err(not_running()), 40);
    let readings = gauges.readings(at(40));
    assert_eq!(readings[&grown.name].current(&grown, at(40)).map(|_| ()), Err(not_running()));
}

#[test]
fn a_reconciliation_is_requested_when_the_reading_changes_or_it_is_due() {
    let check = |before: u64, result: Result<u64, Unknown>, second: i64, expected: bool| {
        let mut gauges = measured(before);
        let context = format!("{before} {result:?} {second}");
        let result = result.map(|percent| Usage { at: at(second), ..usage(&claim(0, SIZE), percent) });
        let ran = pod("a", Some(second));
        assert_eq!(store(&mut gauges, Some(&ran), result, second), Some(expected), "{context}");
    };
    check(10, Ok(11), 5, false);
    check(10, Ok(79), 59, false);
    check(10, Ok(11), 60, true);
    check(10, Ok(80), 5, true);
    check(80, Ok(81), 1, true);
    check(80, Ok(10), 1, true);
    check(10, Err(Unknown::NoPod), 5, false);
    check(10, Err(Unknown::NotIsolated), 5, true);
}

#[test]
fn a_volume_with_rescue_is_reconciled_when_nothing_measures_it_any_more() {
    let (claim, second) = (claim(0, SIZE), 5);
    let mut gauges = Gauges::default();
    let settings = TemplateSettings { rescue: true, ..settings() };
    let wanted = Wanted { claim: claim.clone(), settings: settings.into(), driver: Driver::default() };
    gauges.want(ByPod::from([(Ordinal(0), vec![wanted])]), |_| None, at(0));
    store(&mut gauges, Some(&pod("a", Some(0))), Ok(usage(&claim, 10)), 0);
    gauges.readings(at(0));
    assert_eq!(store(&mut gauges, Some(&pod("a", Some(second))), Err(not_running()), second), Some(true));
    let last = gauges.last(&claim.name);
    assert_eq!(last, Some(LastReading { at: at(0), share: Percent::whole(10), is_over: false }));
    assert_eq!(gauges.last(&"other".into()), None);
}

#[test]
fn a_volume_that_fills_fast_is_reconciled_before_its_threshold() {
    let claim = claim(0, SIZE);
    let mut gauges = measured(45);
    let mut news = Vec::new();
    for second in 1..6 {
        let before = usage(&claim, 45);
        let written = Bytes(Bytes::gib(5).0 * u64::try_from(second).unwrap());
        let used = before.used.saturating_add(written);
        let usage = Usage { used, available: before.available.saturating_sub(written), at: at(second), ..before };
        news.push(store(&mut gauges, None, Ok(usage), second));
    }
    // 535 GiB are left, which is 107 s; an expansion can take 90 s.
    assert_eq!(news, [Some(false), Some(false), Some(true), Some(true), Some(true)]);
}

#[test]
fn a_volume_of_unknown_usage_is_reconciled_twice_a_minute() {
    let mut gauges = measured(10);
    let silent = || Err(Unknown::NotIsolated);
    assert_eq!(store(&mut gauges, None, silent(), 10), Some(true));
    gauges.readings(at(10));
    assert_eq!(store(&mut gauges, None, silent(), 20), Some(false));
    assert_eq!(store(&mut gauges, None, silent(), 40), Some(true));
}

#[test]
fn long_waits_differ_and_not_all_volumes_are_queried_in_the_same_second() {
    let waits = |seconds: u64| -> std::collections::BTreeSet<Duration> {
        (0..200).map(|i| spread(&ClaimName::new(format!("data-db-{i}")), at(0), Duration::from_secs(seconds))).collect()
    };
    assert_eq!(waits(1).into_iter().collect::<Vec<_>>(), [Duration::from_secs(1)]);
    let minute = waits(60);
    assert!(minute.len() > 50 && minute.iter().all(|wait| (54..=60).contains(&wait.as_secs())), "{minute:?}");
}
