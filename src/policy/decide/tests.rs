use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::claim::{Phase, Resize, Sizer};
use crate::policy::drivers::{Drivers, Rounding};
use crate::policy::samples::{at, claim, growing, reading, usage};
use crate::policy::settings::{Increase, Limits};
use crate::policy::usage::{Failing, Inodes, Part, Rate, Source, Unknown, Usage};

mod rates;
mod replicas;
mod rescue;
mod simulation;

const TEN: Bytes = Bytes::gib(10);

fn settings(change: impl Fn(&mut TemplateSettings)) -> TemplateSettings {
    let mut settings = TemplateSettings::new("data".into(), &Limits::default());
    settings.auto = Auto::On;
    change(&mut settings);
    settings
}

fn ask(size: Bytes, key: &str) -> Option<Request> {
    Some(Request { size, key: key.to_owned() })
}

/// Readings of these claims, in percent.
fn readings(claims: &[Claim], percents: &[u64]) -> BTreeMap<ClaimName, Reading> {
    claims.iter().zip(percents).map(|(claim, percent)| (claim.name.clone(), reading(claim, *percent))).collect()
}

fn three(size: Bytes) -> Vec<Claim> {
    (0..3).map(|ordinal| claim(ordinal, size)).collect()
}

/// The decision in one line: `expand 12Gi usage; template 12Gi; AutoResizeTriggered`.
fn told(decision: &Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Keep => "keep".to_owned(),
        Verdict::Grow { to, trigger } => format!("expand {to} {}", trigger.as_str()),
        Verdict::Recommend { to } => format!("recommend {to}"),
        Verdict::Refuse(reason) => format!("refuse {reason}"),
    };
    let template = decision.template.map(|size| format!("; template {size}")).unwrap_or_default();
    let notes: String = decision.notes.iter().map(|note| format!("; {}", note.reason)).collect();
    verdict + &template + &notes
}

/// Decides with a driver without limits and a template as large as the first claim.
fn decided(settings: &TemplateSettings, claims: &[Claim], readings: &BTreeMap<ClaimName, Reading>) -> Decision {
    let template_size = claims.first().map_or(TEN, |claim| claim.requested);
    decide(settings, &Driver::default(), template_size, claims, readings, at(0))
}

#[test]
fn the_fullest_replica_decides_for_all() {
    let check = |percents: [u64; 3], expected: &str| {
        let claims = three(TEN);
        assert_eq!(told(&decided(&settings(|_| {}), &claims, &readings(&claims, &percents))), expected, "{percents:?}");
    };
    check([0, 0, 0], "keep");
    check([79, 79, 79], "keep");
    check([10, 80, 10], "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
    check([85, 10, 10], "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
    // 12 GiB would be at 83 % again.
    check([10, 10, 100], "expand 14Gi usage; template 14Gi; AutoResizeTriggered");
}

#[test]
fn the_fullest_is_named() {
    let claims = three(TEN);
    let decision = decided(&settings(|_| {}), &claims, &readings(&claims, &[10, 85, 20]));
    let expected = Fullest { claim: "data-db-1".into(), share: Percent::whole(85) };
    assert_eq!(decision.fullest, Some(expected));
    let text = &decision.notes[0].text;
    assert_eq!(
        text,
        "PVC data-db-1 is 85% full, threshold 80%: requesting an expansion of template data from 10Gi to 12Gi"
    );
}

/// What is told of one replica that is so full, in full.
fn sentence(percent: u64, trend: u64, resized_at: Option<Timestamp>) -> String {
    let rate = Rate { trend, burst: 0 };
    let claims = [Claim { resized_at, ..claim(0, TEN) }];
    let settings = settings(|s| {
        (s.cooldown, s.lead_time) = (Some(Duration::from_secs(90 * 60)), Some(Duration::from_secs(2 * 3600)));
    });
    let reading = Reading::Measured { usage: usage(&claims[0], percent), rate, capacity: TEN };
    let decision = decided(&settings, &claims, &BTreeMap::from([(claims[0].name.clone(), reading)]));
    decision.notes[0].text.clone()
}

#[test]
fn it_is_told_how_full_what_is_done_and_what_is_waited_for() {
    let check = |told: String, expected: &str| assert_eq!(told, expected);
    check(
        sentence(85, 0, Some(at(-60))),
        "PVC data-db-0 is 85% full, threshold 80% and needs 12Gi, but its template was expanded less than 1h 30m ago; rso \
         expands it later. To expand it now, lower cooldown, or request the size with resize.data",
    );
    check(
        sentence(50, Bytes::MIB, None),
        "PVC data-db-0 is full in 1h 25m 20s at the current rate: requesting an expansion of template data from 10Gi to \
         16Gi, because it must last 1h 30m at 3.5Gi per hour",
    );
}

#[test]
fn a_step_is_as_large_as_the_settings_say() {
    let check = |size: Bytes, percent: u64, increase: Increase, min: Bytes, expected: Bytes| {
        let claims = [claim(0, size)];
        let settings = settings(|s| (s.increase, s.min_increase) = (increase, min));
        let decision = decided(&settings, &claims, &readings(&claims, &[percent]));
        let verdict = Verdict::Grow { to: expected, trigger: Trigger::Usage };
        assert_eq!(decision.verdict, verdict, "{size} {increase:?} {min}");
    };
    let (twenty, gib) = (Increase::Share(Percent::whole(20)), Bytes::gib(1));
    // At least min-increase.
    check(Bytes::gib(1), 90, twenty, gib, Bytes::gib(2));
    check(Bytes::gib(4), 81, twenty, gib, Bytes::gib(5));
    check(Bytes::gib(100), 81, twenty, gib, Bytes::gib(120));
    // Whole GiB when the step is one or more, else whole MiB.
    check(Bytes::gib(33), 81, twenty, gib, Bytes::gib(40));
    check(Bytes::mib(600), 81, twenty, gib, Bytes::gib(2));
    check(Bytes::mib(600), 81, twenty, Bytes(0), Bytes::mib(720));
    check(Bytes(629_145_601), 81, twenty, Bytes(0), Bytes::mib(721));
    check(Bytes::mib(600), 81, Increase::Share(Percent(1)), Bytes(0), Bytes::mib(608));
    // A quantity.
    check(TEN, 85, Increase::Size(TEN), gib, Bytes::gib(20));
    check(TEN, 85, Increase::Size(Bytes(1)), gib, Bytes::gib(11));
    check(TEN, 85, Increase::Share(Percent::whole(300)), gib, Bytes::gib(40));
    // As many steps as bring it below the threshold.
    check(TEN, 95, Increase::Size(gib), gib, Bytes::gib(12));
    check(TEN, 100, Increase::Size(gib), gib, Bytes::gib(13));
    check(Bytes::gib(2), 100, Increase::Size(gib), gib, Bytes::gib(3));
}

#[test]
fn a_step_ends_below_the_threshold_and_not_at_it() {
    let claims = [claim(0, TEN)];
    let settings = settings(|s| (s.threshold, s.increase) = (Percent::whole(50), Increase::Size(Bytes::gib(1))));
    let decision = decided(&settings, &claims, &readings(&claims, &[60]));
    // 6 of 12 GiB would be 50 % to the byte.
    assert_eq!(decision.verdict, Verdict::Grow { to: Bytes::gib(13), trigger: Trigger::Usage });
}

#[test]
fn a_volume_is_at_most_doubled_by_repeated_steps() {
    let check = |threshold: Percent, expected: Bytes| {
        let claims = [claim(0, TEN)];
        let decision = decided(&settings(|s| s.threshold = threshold), &claims, &readings(&claims, &[100]));
        assert_eq!(decision.verdict, Verdict::Grow { to: expected, trigger: Trigger::Usage }, "{threshold}");
    };
    check(Percent::whole(80), Bytes::gib(14));
    check(Percent::whole(50), Bytes::gib(20));
    check(Percent(1), Bytes::gib(20));
}

#[test]
fn the_threshold_is_exact() {
    let check = |used: u64, available: u64, threshold: Percent, expected: bool| {
        let claims = [claim(0, TEN)];
        let usage = Usage { used: Bytes(used), available: Bytes(available), ..usage(&claims[0], 0) };
        let readings = BTreeMap::from([(
            claims[0].name.clone(),
            Reading::Measured { usage, rate: Rate::default(), capacity: TEN },
        )]);
        let decision = decided(&settings(|s| s.threshold = threshold), &claims, &readings);
        assert_eq!(decision.verdict != Verdict::Keep, expected, "{used}/{available} {threshold}");
    };
    check(8_000_000_000, 2_000_000_000, Percent::whole(80), true);
    check(7_999_999_999, 2_000_000_001, Percent::whole(80), false);
    check(8_049_999_999, 1_950_000_001, Percent(80_500), false);
    check(8_050_000_000, 1_950_000_000, Percent(80_500), true);
    check(10_000_000_000, 0, Percent::whole(100), true);
    check(9_999_999_999, 1, Percent::whole(100), false);
    // All that is left is root's.
    check(9_000_000_000, 0, Percent::whole(100), true);
}

#[test]
fn inodes_decide_too() {
    let check = |free: u64, threshold: Percent, expected: &str| {
        let claims = [claim(0, TEN)];
        let usage = Usage { inodes: Some(Inodes { total: 1000, free }), ..usage(&claims[0], 10) };
        let readings = BTreeMap::from([(
            claims[0].name.clone(),
            Reading::Measured { usage, rate: Rate::default(), capacity: TEN },
        )]);
        let decision = decided(&settings(|s| s.inodes_threshold = threshold), &claims, &readings);
        assert_eq!(told(&decision), expected, "{free} {threshold}");
    };
    check(201, Percent::whole(80), "keep");
    check(200, Percent::whole(80), "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
    check(0, Percent::whole(80), "expand 14Gi usage; template 14Gi; AutoResizeTriggered");
    check(200, Percent::whole(90), "keep");
}

#[test]
fn the_forecast_decides_when_a_lead_time_is_set() {
    let check = |lead: Option<u64>, trend: u64, expected: &str| {
        let rate = Rate { trend, burst: 0 };
        let claims = [claim(0, TEN)];
        let reading = Reading::Measured { usage: usage(&claims[0], 50), rate, capacity: TEN };
        let readings = BTreeMap::from([(claims[0].name.clone(), reading)]);
        let decision = decided(&settings(|s| s.lead_time = lead.map(Duration::from_secs)), &claims, &readings);
        assert_eq!(told(&decision), expected, "{lead:?} {trend}");
    };
    // 5 GiB are left: at 1 MiB/s they last 5120 s.
    check(Some(5120), Bytes::MIB, "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
    check(Some(5119), Bytes::MIB, "keep");
    check(Some(5120), 0, "keep");
    check(None, u64::MAX, "keep");
}

#[test]
fn no_step_passes_a_limit() {
    let check = |change: &dyn Fn(&mut TemplateSettings, &mut Driver), expected: &str| {
        let claims = [claim(0, Bytes::gib(100))];
        let (mut settings, mut driver) = (settings(|_| {}), Driver::default());
        change(&mut settings, &mut driver);
        let readings = readings(&claims, &[85]);
        let decision = decide(&settings, &driver, Bytes::gib(100), &claims, &readings, at(0));
        assert_eq!(told(&decision), expected);
    };
    let grown = |to: &str| format!("expand {to} usage; template {to}; AutoResizeTriggered");
    check(&|_, _| {}, &grown("120Gi"));
    check(&|s, _| s.max_size = Some(Bytes::gib(110)), &grown("110Gi"));
    check(&|s, _| s.max_size = Some(Bytes(Bytes::gib(100).0 + 7)), &grown(&(Bytes::gib(100).0 + 7).to_string()));
    check(&|s, _| s.max_size = Some(Bytes::gib(100)), "refuse MaxSizeReached; MaxSizeReached");
    check(&|s, _| s.max_size = Some(Bytes::gib(50)), "refuse MaxSizeReached; MaxSizeReached");
    check(&|s, _| s.max_step = Some(Bytes::gib(5)), &grown("105Gi"));
    check(&|_, d| d.max_size = Some(Bytes::gib(101)), &grown("101Gi"));
    check(&|_, d| d.max_size = Some(Bytes::gib(100)), "refuse MaxSizeReached; MaxSizeReached");
    check(&|_, d| d.rounding = Rounding::PowerOfTwo, &grown("128Gi"));
    check(&|_, d| d.rounding = Rounding::Multiple(Bytes::gib(50)), &grown("150Gi"));
    let capped = |s: &mut TemplateSettings, d: &mut Driver| {
        (s.max_size, d.rounding) = (Some(Bytes::gib(125)), Rounding::PowerOfTwo);
    };
    check(&capped, &grown("125Gi"));
}

#[test]
fn a_cooldown_is_kept() {
    let check = |cooldown: Option<u64>, driver: &str, percent: u64, resized: [Option<i64>; 2], expected: &str| {
        let claims: Vec<Claim> = (0..2)
            .zip(resized)
            .map(|(ordinal, at_second)| Claim { resized_at: at_second.map(at), ..claim(ordinal, TEN) })
            .collect();
        let settings = settings(|s| s.cooldown = cooldown.map(Duration::from_secs));
        let mut readings = readings(&claims, &[percent, 10]);
        for reading in readings.values_mut() {
            if let Reading::Measured { usage, .. } = reading {
                usage.at = at(1);
            }
        }
        let driver = Drivers::default().get(driver);
        let decision = decide(&settings, &driver, TEN, &claims, &readings, at(1));
        assert_eq!(decision.verdict.as_str(), expected, "{cooldown:?} {resized:?}");
        let active = decision.notes.iter().any(|note| note.reason == Reason::CooldownActive);
        assert_eq!(active, expected == "refuse");
    };
    let (plain, ebs) = ("csi.example.com", "ebs.csi.aws.com");
    check(None, plain, 85, [Some(0), None], "grow");
    check(Some(900), plain, 85, [None, None], "grow");
    check(Some(900), plain, 85, [Some(0), None], "refuse");
    // Of any claim: all grow alike.
    check(Some(900), plain, 85, [None, Some(0)], "refuse");
    check(Some(900), plain, 85, [Some(-1000), Some(-898)], "refuse");
    check(Some(900), plain, 85, [Some(-1000), Some(-899)], "grow");
    check(Some(900), plain, 70, [Some(0), None], "keep");
    // A clock that is a little ahead counts as now; a stamp of next year does not count.
    check(Some(900), plain, 85, [Some(200), None], "refuse");
    check(Some(900), plain, 85, [Some(30_000_000), None], "grow");
    // The driver's own, shorter when the volume is nearly full; an annotation replaces both.
    check(None, ebs, 85, [Some(-3600), None], "refuse");
    check(None, ebs, 85, [Some(-6 * 3600), None], "grow");
    check(None, ebs, 96, [Some(-3600), None], "grow");
    check(None, ebs, 96, [Some(-600), None], "refuse");
    check(Some(60), ebs, 85, [Some(-600), None], "grow");
}

#[test]
fn a_replica_at_its_limit_does_not_hide_what_a_smaller_one_needs() {
    let claims = [claim(0, TEN), claim(1, Bytes::gib(40))];
    let settings = settings(|s| (s.auto, s.max_size) = (Auto::Recommend, Some(Bytes::gib(40))));
    let decision = decided(&settings, &claims, &readings(&claims, &[90, 90]));
    assert!(matches!(decision.verdict, Verdict::Recommend { .. }), "{:?}", decision.verdict);
}

/// Both want the same size, and the one that is last would decide it.
#[test]
fn one_replica_that_is_nearly_full_shortens_the_cooldown_for_all() {
    let driver = Drivers::default().get("ebs.csi.aws.com");
    for percents in [[95, 85], [85, 95]] {
        let claims = [0, 1].map(|ordinal| Claim { resized_at: Some(at(-3600)), ..claim(ordinal, TEN) });
        let decision = decide(&settings(|_| {}), &driver, TEN, &claims, &readings(&claims, &percents), at(0));
        assert_eq!(decision.verdict.as_str(), "grow", "{percents:?}");
    }
}

#[test]
fn the_administrators_cooldown_holds_whatever_the_driver_says() {
    let claims = [Claim { resized_at: Some(at(-60)), ..claim(0, TEN) }];
    let settings = settings(|s| s.min_cooldown = Duration::from_secs(120));
    assert_eq!(told(&decided(&settings, &claims, &readings(&claims, &[85]))), "refuse CooldownActive; CooldownActive");
}

#[test]
fn nothing_more_is_asked_for_on_the_word_of_a_replica_whose_expansion_is_unfinished() {
    let check = |first: Claim, expected: &str| {
        let claims = [first, claim(1, Bytes::gib(12))];
        assert_eq!(told(&decided(&settings(|_| {}), &claims, &readings(&claims, &[99, 10]))), expected);
    };
    let twelve = Bytes::gib(12);
    check(growing(TEN, twelve, Resize::None), "keep");
    check(growing(TEN, twelve, Resize::ControllerInProgress), "keep");
    check(Claim { resize: Resize::NodeInProgress, ..claim(0, twelve) }, "keep");
    check(claim(0, twelve), "expand 17Gi usage; template 17Gi; AutoResizeTriggered");
}

#[test]
fn who_is_behind_is_raised_to_the_others() {
    let check = |change: &dyn Fn(&mut TemplateSettings), expected: &str| {
        let claims = [claim(0, TEN), claim(1, Bytes::gib(12))];
        assert_eq!(told(&decided(&settings(change), &claims, &readings(&claims, &[10, 10]))), expected);
    };
    check(&|_| {}, "expand 12Gi siblings; template 12Gi; ResizeRequested");
    check(&|s| s.template_sync = TemplateSync::OnUserChange, "expand 12Gi siblings; ResizeRequested");
    check(&|s| s.max_size = Some(Bytes::gib(11)), "expand 11Gi siblings; template 11Gi; ResizeRequested");
    check(&|s| s.auto = Auto::Recommend, "keep");
    check(&|s| s.auto = Auto::Off, "keep");
    // Less than the others have is asked for: that is not what decides.
    check(&|s| s.requested = ask(Bytes::gib(11), "resize-0"), "expand 12Gi siblings; template 12Gi; ResizeRequested");
}

#[test]
fn it_is_told_how_many_are_raised() {
    let claims = [claim(0, TEN), claim(1, Bytes::gib(12)), claim(2, Bytes::gib(12))];
    let decision = decided(&settings(|_| {}), &claims, &readings(&claims, &[10, 10, 10]));
    assert_eq!(
        decision.notes[0].text,
        "template data: PVC data-db-2 requests 12Gi; 1 of 3 PVCs request less and need 12Gi"
    );
}

#[test]
fn usage_that_asks_for_no_more_than_the_others_have_is_levelling() {
    let claims = [claim(0, TEN), claim(1, Bytes::gib(12))];
    let decision = decided(&settings(|_| {}), &claims, &readings(&claims, &[85, 10]));
    assert_eq!(told(&decision), "expand 12Gi siblings; template 12Gi; ResizeRequested");
}

#[test]
fn a_growth_that_has_begun_is_not_told_again_as_levelling() {
    let sizer = Some(Sizer { manager: "rso-controller".to_owned(), is_ours: true, at: None });
    let begun = Claim { sizer, ..growing(TEN, Bytes::gib(12), Resize::None) };
    let claims = [claim(0, TEN), begun, claim(2, TEN)];
    let decision = decided(&settings(|_| {}), &claims, &readings(&claims, &[10, 10, 10]));
    assert_eq!(told(&decision), "expand 12Gi siblings; template 12Gi");
}

#[test]
fn a_claim_smaller_than_its_template_is_raised() {
    let claims = [claim(0, TEN)];
    let decision =
        decide(&settings(|_| {}), &Driver::default(), Bytes::gib(15), &claims, &readings(&claims, &[10]), at(0));
    assert_eq!(told(&decision), "expand 15Gi siblings; ResizeRequested");
}

#[test]
fn a_size_that_is_asked_for_does_not_depend_on_usage() {
    let check = |auto: Auto, request: Option<Request>, percent: Option<u64>, expected: &str| {
        let claims = three(TEN);
        let readings = percent.map(|percent| readings(&claims, &[percent; 3])).unwrap_or_default();
        let settings = settings(|s| (s.auto, s.requested) = (auto, request.clone()));
        assert_eq!(told(&decided(&settings, &claims, &readings)), expected, "{auto:?} {request:?} {percent:?}");
    };
    let twenty = || ask(Bytes::gib(20), "resize-0");
    check(Auto::Off, None, Some(99), "keep");
    check(Auto::Off, twenty(), None, "expand 20Gi annotation; template 20Gi; ResizeRequested");
    check(Auto::Off, ask(Bytes::gib(20), "requested"), None, "expand 20Gi apply; template 20Gi; ResizeRequested");
    check(Auto::Off, ask(TEN, "resize-0"), None, "keep");
    check(Auto::Off, ask(Bytes::gib(5), "resize-0"), None, "keep");
    check(Auto::On, twenty(), None, "expand 20Gi annotation; template 20Gi; ResizeRequested; UsageUnknown");
    check(Auto::On, twenty(), Some(85), "expand 20Gi annotation; template 20Gi; ResizeRequested");
    // The larger of the two.
    check(Auto::On, ask(Bytes::gib(11), "resize-0"), Some(85), "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
    check(
        Auto::Recommend,
        ask(Bytes::gib(11), "resize-0"),
        Some(85),
        "expand 11Gi annotation; template 11Gi; ResizeRequested; AutoResizeTriggered",
    );
}

#[test]
fn what_is_asked_for_is_not_rounded_and_does_not_wait() {
    let claims = [Claim { resized_at: Some(at(-1)), ..growing(TEN, Bytes::gib(11), Resize::ControllerInProgress) }];
    let settings = settings(|s| {
        (s.requested, s.cooldown) = (ask(Bytes(11_811_160_065), "resize-0"), Some(Duration::from_secs(9999)));
    });
    let driver = Driver { rounding: Rounding::PowerOfTwo, ..Driver::default() };
    let decision = decide(&settings, &driver, TEN, &claims, &readings(&claims, &[99]), at(0));
    assert_eq!(decision.verdict, Verdict::Grow { to: Bytes(11_811_160_065), trigger: Trigger::Annotation });
}

#[test]
fn a_person_too_gets_no_more_than_the_largest_size() {
    let check = |max: Bytes, expected: &str| {
        let claims = three(TEN);
        let settings =
            settings(|s| (s.auto, s.requested, s.max_size) = (Auto::Off, ask(Bytes::gib(20), "resize-0"), Some(max)));
        assert_eq!(told(&decided(&settings, &claims, &BTreeMap::new())), expected, "{max}");
    };
    check(Bytes::gib(20), "expand 20Gi annotation; template 20Gi; ResizeRequested");
    check(Bytes::gib(15), "expand 15Gi annotation; template 15Gi; ResizeRequested; MaxSizeReached");
    check(TEN, "keep; MaxSizeReached");
    check(Bytes::gib(5), "keep; MaxSizeReached");
}

#[test]
fn the_template_follows_as_the_mode_of_the_set_says() {
    let check = |sync: TemplateSync, request: Option<Request>, size: Bytes, percent: u64, expected: &str| {
        let claims = three(size);
        let settings = settings(|s| (s.template_sync, s.requested) = (sync, request.clone()));
        let decision = decide(&settings, &Driver::default(), TEN, &claims, &readings(&claims, &[percent; 3]), at(0));
        assert_eq!(told(&decision), expected, "{sync:?} {request:?} {size} {percent}");
    };
    use TemplateSync::{Always, Never, OnUserChange};
    let twelve = Bytes::gib(12);
    let asked = |gib| ask(Bytes::gib(gib), "resize-0");
    // By usage.
    check(Always, None, TEN, 85, "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
    check(OnUserChange, None, TEN, 85, "expand 12Gi usage; AutoResizeTriggered");
    check(Never, None, TEN, 85, "expand 12Gi usage; AutoResizeTriggered");
    // The claims are there, the template is not.
    check(Always, None, twelve, 10, "keep; template 12Gi");
    check(OnUserChange, None, twelve, 10, "keep");
    check(Never, None, twelve, 10, "keep");
    // By a person.
    check(OnUserChange, asked(15), TEN, 10, "expand 15Gi annotation; template 15Gi; ResizeRequested");
    check(Never, asked(15), TEN, 10, "expand 15Gi annotation; ResizeRequested");
    // The claims had grown further by usage: the template gets what was asked for.
    check(OnUserChange, asked(11), twelve, 10, "keep; template 11Gi");
    check(Always, asked(11), twelve, 10, "keep; template 12Gi");
}

#[test]
fn a_set_without_claims_gets_its_template_only() {
    let check = |request: Option<Request>, expected: &str| {
        let settings = settings(|s| s.requested = request.clone());
        assert_eq!(told(&decided(&settings, &[], &BTreeMap::new())), expected);
    };
    check(None, "keep");
    check(ask(Bytes::gib(20), "resize-0"), "keep; template 20Gi");
    check(ask(Bytes::gib(5), "resize-0"), "keep");
}

#[test]
fn a_recommendation_changes_nothing() {
    let check = |percent: u64, max: Option<Bytes>, expected: &str| {
        let claims = three(TEN);
        let settings = settings(|s| (s.auto, s.max_size) = (Auto::Recommend, max));
        assert_eq!(told(&decided(&settings, &claims, &readings(&claims, &[percent; 3]))), expected);
    };
    check(10, None, "keep");
    check(85, None, "recommend 12Gi; AutoResizeTriggered");
    check(85, Some(TEN), "refuse MaxSizeReached; MaxSizeReached");
}

#[test]
fn who_does_not_answer_is_told_and_the_others_decide() {
    let check = |unknown: Option<Unknown>, others: u64, expected: &str| {
        let claims = three(TEN);
        let mut readings = readings(&claims, &[50, others, others]);
        match unknown.clone() {
            Some(why) => readings.insert(claims[0].name.clone(), Reading::Unknown(why)),
            None => readings.remove(&claims[0].name),
        };
        assert_eq!(told(&decided(&settings(|_| {}), &claims, &readings)), expected, "{unknown:?}");
    };
    check(None, 10, "keep; UsageUnknown");
    check(None, 85, "expand 12Gi usage; template 12Gi; AutoResizeTriggered; UsageUnknown");
    check(Some(Unknown::Silent("no route".to_owned())), 10, "keep; UsageUnknown");
    check(Some(Unknown::BlockMode), 10, "keep; UsageUnknown");
    check(Some(Unknown::NotIsolated), 10, "keep; UsageUnknown");
    check(Some(Unknown::Implausible("x".to_owned())), 10, "keep; UsageUnknown");
    check(Some(Unknown::Behind { total: TEN, capacity: TEN }), 10, "keep; UsageUnknown");
    // Nobody can write to it, or the next look will tell.
    check(Some(Unknown::NoPod), 10, "keep");
    check(Some(Unknown::BeforeGrowth), 10, "keep");
}

#[test]
fn several_who_do_not_answer_are_told_in_one_note() {
    let claims = three(TEN);
    let decision = decided(&settings(|_| {}), &claims, &BTreeMap::new());
    let [note] = decision.notes.as_slice() else { panic!("{decision:?}") };
    assert!(note.text.starts_with("usage of PVC data-db-0 and 2 more is unknown"), "{note}");
}

#[test]
fn of_several_unknown_replicas_the_one_whose_pod_does_not_run_is_named() {
    let claims = three(TEN);
    let failing = Failing {
        namespace: "shop".to_owned(),
        pod: "db-1".to_owned(),
        part: Part::Pod,
        reason: "Unschedulable".to_owned(),
        exit_code: None,
        message: String::new(),
    };
    let readings = BTreeMap::from([(claims[1].name.clone(), Reading::Unknown(Unknown::NotRunning(Box::new(failing))))]);
    let decision = decided(&settings(|_| {}), &claims, &readings);
    let [note] = decision.notes.as_slice() else { panic!("{decision:?}") };
    assert!(note.text.starts_with("usage of PVC data-db-1 and 2 more is unknown"), "{note}");
}

#[test]
fn a_volume_reaches_its_threshold_at_exactly_that_share() {
    let check = |percent: u64, expected: bool| {
        let settings = settings(|s| s.threshold = Percent::whole(80));
        assert_eq!(
            reaches_threshold(&settings, &Driver::default(), &usage(&claim(0, TEN), percent), Rate::default()),
            expected,
            "{percent}"
        );
    };
    check(79, false);
    check(80, true);
}

#[test]
fn a_claim_that_has_no_volume_or_is_on_its_way_out_is_not_asked_about() {
    let check = |first: Claim| {
        let claims = [first, claim(1, TEN)];
        let readings = BTreeMap::from([(claims[1].name.clone(), reading(&claims[1], 85))]);
        let decision = decided(&settings(|_| {}), &claims, &readings);
        assert_eq!(told(&decision), "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
    };
    check(Claim { phase: Phase::Pending, capacity: None, ..claim(0, TEN) });
    check(Claim { deleting: true, protected: false, ..claim(0, TEN) });
    check(Claim { phase: Phase::Lost, ..claim(0, TEN) });
}

/// What a lying agent gains: one step, then the cooldown, then one step, up to the largest size.
#[test]
fn a_lying_agent_gains_a_step_a_cooldown_up_to_the_largest_size() {
    let settings = settings(|s| (s.cooldown, s.max_size) = (Some(Duration::from_secs(900)), Some(Bytes::gib(40))));
    let (mut claims, mut sizes) = ([claim(0, TEN)], Vec::new());
    for second in 0..7200 {
        let lie = Usage { at: at(second), source: Source::Agent, ..usage(&claims[0], 100) };
        let capacity = claims[0].capacity.unwrap_or_default();
        let readings = BTreeMap::from([(
            claims[0].name.clone(),
            Reading::Measured { usage: lie, rate: Rate::default(), capacity },
        )]);
        let decision = decide(&settings, &Driver::default(), TEN, &claims, &readings, at(second));
        if let Verdict::Grow { to, .. } = decision.verdict {
            claims[0] = Claim { resized_at: Some(at(second)), ..claim(0, to) };
            sizes.push((second, to));
        }
    }
    let gib = |n| Bytes::gib(n);
    assert_eq!(sizes, [(0, gib(14)), (900, gib(20)), (1800, gib(28)), (2700, gib(40))]);
}

fn any_settings() -> impl Strategy<Value = TemplateSettings> {
    let increase = prop_oneof![
        (1..=u32::MAX).prop_map(|share| Increase::Share(Percent(share))),
        (1..=Bytes::MAX.0).prop_map(|size| Increase::Size(Bytes(size))),
    ];
    let size = || prop::option::of((1..=Bytes::MAX.0).prop_map(Bytes));
    let auto = prop::sample::select(vec![Auto::Off, Auto::Recommend, Auto::On]);
    (auto, 1..=100_000_u32, increase, 0..=Bytes::MAX.0, size(), size(), size()).prop_map(
        |(auto, threshold, increase, min, max_size, max_step, asked)| {
            settings(|s| {
                (s.auto, s.threshold, s.increase, s.min_increase) = (auto, Percent(threshold), increase, Bytes(min));
                (s.max_size, s.max_step) = (max_size, max_step);
                s.requested = asked.and_then(|size| ask(size, "resize-0"));
            })
        },
    )
}

/// Small numbers and the largest there are.
fn any_size() -> impl Strategy<Value = Bytes> {
    prop_oneof![0..=Bytes::MAX.0, 0..=64 * Bytes::GIB, Just(Bytes::MAX.0)].prop_map(Bytes)
}

proptest! {
    #[test]
    fn nothing_shrinks_and_nothing_passes_its_limit(
        settings in any_settings(),
        template in any_size(),
        size in any_size(),
        other in any_size(),
        used in 0..=u64::MAX,
        available in 0..=u64::MAX,
        inodes in prop::option::of((0..=u64::MAX, 0..=u64::MAX)),
        rates in (0..=u64::MAX, 0..=u64::MAX),
    ) {
        let rate = Rate { trend: rates.0, burst: rates.1 };
        let claims = [claim(0, size), claim(1, other)];
        let usage = Usage {
            used: Bytes(used),
            available: Bytes(available),
            inodes: inodes.map(|(total, free)| Inodes { total, free }),
            ..usage(&claims[0], 0)
        };
        let reading = Reading::Measured { usage, rate, capacity: size };
        let readings = BTreeMap::from([(claims[0].name.clone(), reading), (claims[1].name.clone(), self::reading(&claims[1], 50))]);
        let decision = decide(&settings, &Driver::default(), template, &claims, &readings, at(0));
        let sizes = match decision.verdict {
            Verdict::Grow { to, .. } => {
                prop_assert!(to > size.min(other));
                vec![to]
            }
            Verdict::Recommend { to } => {
                prop_assert!(settings.auto == Auto::Recommend && to > size.min(other));
                vec![to]
            }
            Verdict::Keep | Verdict::Refuse(_) => vec![],
        };
        prop_assert!(decision.template.is_none_or(|to| to > template));
        for to in sizes.into_iter().chain(decision.template) {
            prop_assert!(to <= Bytes::MAX && settings.max_size.is_none_or(|max| to <= max));
        }
        prop_assert!(decision.notes.iter().all(|note| note.text.len() < 1000));
    }

    #[test]
    fn who_uses_more_never_gets_less(
        size in Bytes::mib(300).0..=Bytes::gib(70_000).0,
        less in 0_u64..=100,
        more in 0_u64..=100,
        threshold in 1..=100_000_u32,
        min in 0..=Bytes::gib(10).0,
    ) {
        let (less, more) = (less.min(more), less.max(more));
        let claims = [claim(0, Bytes(size))];
        let settings = settings(|s| (s.threshold, s.min_increase) = (Percent(threshold), Bytes(min)));
        let grown = |percent| match decided(&settings, &claims, &readings(&claims, &[percent])).verdict {
            Verdict::Grow { to, .. } => to,
            Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => Bytes(size),
        };
        prop_assert!(grown(less) <= grown(more));
    }

    #[test]
    fn a_step_is_followed_by_rest(size in Bytes::gib(5).0..=Bytes::gib(70_000).0, percent in 80_u64..=100) {
        let claims = [claim(0, Bytes(size))];
        let settings = settings(|_| {});
        let before = usage(&claims[0], percent);
        let decision = decided(&settings, &claims, &readings(&claims, &[percent]));
        let Verdict::Grow { to, .. } = decision.verdict else {
            // 80 % of a size that is no multiple of five is rounded down.
            return Ok(());
        };
        let grown = [claim(0, to)];
        let after = Usage { used: before.used, available: to.saturating_sub(before.used), ..usage(&grown[0], 0) };
        let readings = BTreeMap::from([(grown[0].name.clone(), Reading::Measured { usage: after, rate: Rate::default(), capacity: to })]);
        prop_assert_eq!(decided(&settings, &grown, &readings).verdict, Verdict::Keep);
    }
}
