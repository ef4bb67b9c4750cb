//! Volumes that nothing measures: which evidence expands them, and how often.

use super::*;
use crate::policy::claim::Blind;
use crate::policy::failure::ContainerFailure;
use crate::policy::rescue::{Evidence, LastReading};

const FULL: &str = "dd: error writing '/data/f': No space left on device";

fn said(message: &str, second: i64) -> ContainerFailure {
    ContainerFailure {
        container: "db".to_owned(),
        reason: "Error".to_owned(),
        message: message.to_owned(),
        exit_code: Some(1),
        at: Some(at(second)),
    }
}

/// A PVC whose Pod fails with these words.
fn failing(ordinal: u32, message: &str) -> Claim {
    let evidence = Evidence { last: None, failures: vec![said(message, -5)] };
    Claim { rescue: Blind { steps: 0, evidence }, ..claim(ordinal, TEN) }
}

fn rescue(change: impl Fn(&mut TemplateSettings)) -> TemplateSettings {
    settings(|settings| {
        (settings.rescue, settings.max_size) = (true, Some(Bytes::gib(40)));
        change(settings);
    })
}

fn not_running() -> Reading {
    Reading::Unknown(Unknown::NotRunning(Box::new(Failing {
        namespace: "shop".to_owned(),
        pod: "db-0".to_owned(),
        part: Part::Container("db".to_owned()),
        reason: "CrashLoopBackOff".to_owned(),
        exit_code: Some(1),
        message: String::new(),
    })))
}

fn unmeasured(claims: &[Claim]) -> BTreeMap<ClaimName, Reading> {
    claims.iter().map(|claim| (claim.name.clone(), not_running())).collect()
}

/// The decision and the reasons of the messages, without that of the unknown usage.
fn rescued(settings: &TemplateSettings, claims: &[Claim], readings: &BTreeMap<ClaimName, Reading>) -> String {
    told(&decided(settings, claims, readings)).replace("; UsageUnknown", "")
}

#[test]
fn a_volume_that_nothing_measures_is_expanded_if_its_container_says_that_it_is_full() {
    let check = |settings: TemplateSettings, message: &str, expected: &str| {
        let claims = [failing(0, message)];
        assert_eq!(rescued(&settings, &claims, &unmeasured(&claims)), expected, "{message}");
    };
    check(rescue(|_| {}), FULL, "expand 12Gi rescue; template 12Gi; RescueTriggered");
    check(
        rescue(|s| s.increase = Increase::Share(Percent::whole(50))),
        FULL,
        "expand 15Gi rescue; template 15Gi; RescueTriggered",
    );
    check(rescue(|_| {}), "panic: nil pointer", "keep");
    check(rescue(|s| s.rescue = false), FULL, "keep");
    check(rescue(|s| s.auto = Auto::Off), FULL, "keep");
    check(rescue(|s| s.auto = Auto::Recommend), FULL, "recommend 12Gi; RescueTriggered");
    // It says which setting is missing, whether it is needed now or not.
    check(rescue(|s| s.max_size = None), FULL, "keep; RescueRefused");
    check(rescue(|s| s.max_size = None), "", "keep; RescueRefused");
    check(rescue(|s| (s.max_size, s.rescue) = (None, false)), FULL, "keep");
    // The largest size allowed.
    check(rescue(|s| s.max_size = Some(Bytes::gib(11))), FULL, "expand 11Gi rescue; template 11Gi; RescueTriggered");
    check(rescue(|s| s.max_size = Some(TEN)), FULL, "refuse RescueRefused; RescueRefused");
}

#[test]
fn a_rescue_is_reported_with_its_evidence_and_what_to_do() {
    let claims = [failing(0, FULL)];
    let decision = decided(&rescue(|_| {}), &claims, &unmeasured(&claims));
    let note = &decision.notes[0];
    assert_eq!(
        note.text,
        "nothing measures the usage of PVC data-db-0, and container db says \"dd: error writing \\'/data/f\\': No space left \
         on device\": requesting an expansion of template data from 10Gi to 12Gi (step 1 of 3). Check what fills the \
         volume: kubectl describe pod db-0"
    );
    assert_eq!((note.object.as_str(), note.case.as_str()), ("data-db-0", "12Gi"));
    let missing = decided(&rescue(|s| s.max_size = None), &claims, &unmeasured(&claims));
    assert_eq!(
        missing.notes[0].text,
        "template data: rescue has no effect without max-size, because rso expands no volume without a measurement and \
         without a limit; set max-size"
    );
}

#[test]
fn only_what_nobody_can_measure_is_rescued() {
    let check = |reading: Option<Reading>, expected: bool| {
        let claims = [failing(0, FULL)];
        let readings = reading.clone().map(|reading| (claims[0].name.clone(), reading)).into_iter().collect();
        let is_rescued = rescued(&rescue(|_| {}), &claims, &readings).contains("rescue");
        assert_eq!(is_rescued, expected, "{reading:?}");
    };
    let measured = || reading(&claim(0, TEN), 50);
    check(None, false);
    // The operator has only just started: the next answer is enough.
    check(Some(Reading::Unknown(Unknown::NotYet)), false);
    check(Some(not_running()), true);
    // Its agent answers, and says that it is half empty.
    check(Some(measured()), false);
    // The reading of half an hour ago was kept, because nothing runs; what the container says is newer.
    check(Some(measured().idle_since(at(-1_800))), true);
    let unknown = |why: Unknown| Some(Reading::Unknown(why));
    check(unknown(Unknown::NoPod), true);
    check(unknown(Unknown::Stale), true);
    check(unknown(Unknown::Silent("timeout".to_owned())), true);
    check(unknown(Unknown::NotIsolated), false);
    check(unknown(Unknown::BlockMode), false);
    check(unknown(Unknown::Implausible("-1".to_owned())), false);
    check(unknown(Unknown::Behind { total: Bytes::gib(5), capacity: TEN }), false);
}

#[test]
fn the_last_reading_is_evidence_for_a_day() {
    let check = |second: i64, is_over: bool, expected: &str| {
        let last = LastReading { at: at(second), share: Percent::whole(90), is_over };
        let evidence = Evidence { last: Some(last), failures: Vec::new() };
        let claims = [Claim { rescue: Blind { steps: 0, evidence }, ..claim(0, TEN) }];
        assert_eq!(rescued(&rescue(|_| {}), &claims, &unmeasured(&claims)), expected, "{second}");
    };
    check(-3_600, true, "expand 12Gi rescue; template 12Gi; RescueTriggered");
    check(-3_600, false, "keep");
    check(-90_000, true, "keep");
}

#[test]
fn a_rescue_waits_for_the_cooldown_and_for_the_expansion_before_it() {
    let check = |change: &dyn Fn(&mut Claim), cooldown: Option<u64>, expected: &str| {
        let mut claims = [failing(0, FULL)];
        change(&mut claims[0]);
        let settings = rescue(|s| s.cooldown = cooldown.map(Duration::from_secs));
        assert_eq!(rescued(&settings, &claims, &unmeasured(&claims)), expected);
    };
    let step = "expand 12Gi rescue; template 12Gi; RescueTriggered";
    check(&|claim| claim.resized_at = Some(at(-599)), None, "keep");
    check(&|claim| claim.resized_at = Some(at(-600)), None, step);
    check(&|claim| claim.resized_at = Some(at(-600)), Some(900), "keep");
    check(&|claim| claim.resized_at = Some(at(-900)), Some(900), step);
    // The container failed before the expansion.
    check(&|claim| claim.resized_at = Some(at(-4)), None, "keep");
    check(&|claim| claim.rescue.steps = 2, None, step);
    // Somebody has removed the time of the last expansion.
    check(&|claim| claim.rescue.steps = 3, None, "refuse RescueRefused; RescueRefused");
    let taken = |claim: &mut Claim| (claim.rescue.steps, claim.resized_at) = (3, Some(at(-7_200)));
    check(&taken, None, "refuse RescueRefused; RescueRefused");
    // A reading in between.
    let measured = |claim: &mut Claim| {
        taken(claim);
        let last = LastReading { at: at(-3_600), share: Percent::whole(50), is_over: false };
        claim.rescue.evidence.last = Some(last);
    };
    check(&measured, None, step);
    // The same second is not later.
    let expanded_then = |claim: &mut Claim| {
        measured(claim);
        claim.resized_at = Some(at(-3_600));
    };
    check(&expanded_then, None, "refuse RescueRefused; RescueRefused");
    check(&|claim| (claim.capacity, claim.resize) = (Some(Bytes::gib(8)), Resize::NodePending), None, "keep");
    check(&|claim| claim.capacity = Some(Bytes::gib(8)), None, "keep");
}

#[test]
fn a_pvc_that_is_lost_or_being_deleted_is_not_rescued() {
    let check = |change: &dyn Fn(&mut Claim), expected: bool| {
        let mut claims = [failing(0, FULL)];
        change(&mut claims[0]);
        let is_rescued = rescued(&rescue(|_| {}), &claims, &unmeasured(&claims)).contains("rescue");
        assert_eq!(is_rescued, expected, "{:?}", claims[0]);
    };
    check(&|_| (), true);
    check(&|claim| claim.phase = Phase::Lost, false);
    check(&|claim| claim.phase = Phase::Pending, false);
    check(&|claim| (claim.deleting, claim.protected) = (true, false), false);
    // Its Pod still uses it.
    check(&|claim| claim.deleting = true, true);
}

#[test]
fn the_steps_of_all_replicas_count_together() {
    let mut claims = [failing(0, FULL), failing(1, FULL)];
    (claims[1].rescue.steps, claims[1].resized_at) = (2, Some(at(-7_200)));
    let decision = decided(&rescue(|_| {}), &claims, &unmeasured(&claims));
    assert_eq!(decision.rescue, Some(Rescue { claim: "data-db-0".into(), steps: 3 }));
    claims[1].rescue.steps = 3;
    assert_eq!(rescued(&rescue(|_| {}), &claims, &unmeasured(&claims)), "refuse RescueRefused; RescueRefused");
}

/// A Pod that says that its disk is full whenever it can, before operators that remember nothing but the annotations.
#[test]
fn a_lying_pod_gets_three_steps_and_not_one_more() {
    let settings = rescue(|s| s.max_size = Some(Bytes::gib(1_000)));
    let (mut steps, mut claim) = (Vec::new(), failing(0, FULL));
    for minute in 1..24 * 60 {
        let now = at(minute * 60);
        claim.rescue.evidence.failures = vec![said(FULL, minute * 60 - 5)];
        let claims = [claim.clone()];
        let decision = decide(&settings, &Driver::default(), TEN, &claims, &unmeasured(&claims), now);
        if let (Verdict::Grow { to, trigger: Trigger::Rescue }, Some(rescue)) = (decision.verdict, decision.rescue) {
            steps.push((minute, to));
            (claim.requested, claim.capacity, claim.resized_at) = (to, Some(to), Some(now));
            claim.rescue.steps = rescue.steps;
        }
    }
    assert_eq!(steps, [(1, Bytes::gib(12)), (11, Bytes::gib(15)), (21, Bytes::gib(18))]);
}

#[test]
fn a_broken_program_on_an_empty_disk_gets_no_step_however_often_it_fails() {
    let settings = rescue(|_| {});
    for second in (0..7_200).step_by(20) {
        let failures = vec![
            said("panic: nil pointer", second - 5),
            ContainerFailure { reason: "OOMKilled".to_owned(), ..said("", second - 15) },
        ];
        let claims =
            [Claim { rescue: Blind { steps: 0, evidence: Evidence { last: None, failures } }, ..claim(0, TEN) }];
        let decision = decide(&settings, &Driver::default(), TEN, &claims, &unmeasured(&claims), at(second));
        assert_eq!(decision.verdict, Verdict::Keep);
    }
}
