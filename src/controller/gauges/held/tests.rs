use super::*;
use crate::api::bytes::Bytes;
use crate::controller::gauges::ByPod;
use crate::policy::drivers::Driver;
use crate::policy::samples::{at, claim, usage};
use crate::policy::settings::{Auto, Limits, TemplateSettings};
use crate::policy::usage::Unknown;

const SIZE: Bytes = Bytes::gib(1);
const FIRST: Ordinal = Ordinal(0);

fn settings() -> TemplateSettings {
    let mut settings = TemplateSettings::new("data".into(), &Limits::default());
    (settings.auto, settings.threshold) = (Auto::On, Percent::whole(80));
    settings
}

/// The gauges of one volume, measured at second 0 with this result.
fn measured(result: Result<(u64, Source), Unknown>) -> Gauges {
    let claim = claim(0, SIZE);
    let mut gauges = Gauges::default();
    let wanted = Wanted { claim: claim.clone(), settings: settings().into(), driver: Driver::default() };
    gauges.want(ByPod::from([(FIRST, vec![wanted])]), |_| None, at(0));
    let result = result.map(|(percent, source)| Usage { source, ..usage(&claim, percent) });
    gauges.take(FIRST, &claim.name, None, result, at(0));
    gauges
}

#[test]
fn only_volumes_that_an_agent_measures_are_asked_about() {
    let check = |result: Result<(u64, Source), Unknown>, expected: Option<u32>| {
        let gauges = measured(result.clone());
        let full = gauges.question(FIRST).map(|question| question.full);
        assert_eq!(full, expected.map(Percent::whole), "{result:?}");
        assert_eq!(gauges.of_agent(FIRST).len(), usize::from(expected.is_some()), "{result:?}");
        assert_eq!(gauges.question(Ordinal(1)), None);
    };
    check(Ok((10, Source::Agent)), Some(40));
    // Its inodes have a share to reach, too.
    check(Ok((85, Source::Agent)), Some(80));
    check(Ok((10, Source::Kubelet)), None);
    check(Err(Unknown::NoPod), None);
}

#[test]
fn the_room_is_that_of_the_nearest_volume() {
    let room = |percent| measured(Ok((percent, Source::Agent))).question(FIRST).map(|question| question.room >> 20);
    assert_eq!([room(10), room(70)], [Some(307), Some(51)]);
}

#[test]
fn a_volume_whose_agent_holds_a_request_is_not_polled() {
    let check = |source: Source, is_postponed: bool| {
        let mut gauges = measured(Ok((79, source)));
        gauges.postpone(FIRST, at(70));
        assert_eq!(gauges.next() == Some(at(70)), is_postponed, "{source:?}");
        gauges.advance(FIRST, at(1));
        assert_eq!(gauges.next(), Some(at(1)), "{source:?}");
    };
    check(Source::Agent, true);
    check(Source::Kubelet, false);
}

#[test]
fn a_reconciliation_that_depends_on_the_time_needs_no_measurement() {
    let check = |percent: u64, second: i64, expected: Recheck| {
        let mut gauges = measured(Ok((percent, Source::Agent)));
        assert_eq!(gauges.recheck(at(1_000)), Recheck::Never, "it was not reconciled yet");
        gauges.readings(at(0));
        assert_eq!(gauges.recheck(at(second)), expected, "{percent} {second}");
    };
    check(10, 59, Recheck::At(at(60)));
    check(10, 60, Recheck::Now);
    check(85, 4, Recheck::At(at(5)));
    check(85, 5, Recheck::Now);
}
