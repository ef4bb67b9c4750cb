//! Volumes that fill: expansions before the threshold, and steps that are as large as the rate requires.

use super::*;
use crate::policy::reaction::Reaction;

const MB: u64 = 1_000_000;

/// A driver whose expansions take this long; `None`: it has not expanded a volume yet.
fn driver(reaction: Option<u64>) -> Driver {
    let measured = |millis| Reaction::Measured(Duration::from_millis(millis));
    Driver { reaction: reaction.map_or(Reaction::NOT_NUDGED, measured), ..Driver::default() }
}

fn filling(claim: &Claim, percent: u64, rate: Rate) -> BTreeMap<ClaimName, Reading> {
    let reading = Reading::Measured { usage: usage(claim, percent), rate, capacity: claim.capacity.unwrap() };
    BTreeMap::from([(claim.name.clone(), reading)])
}

fn burst(megabytes: u64) -> Rate {
    Rate { trend: 0, burst: megabytes * MB }
}

#[test]
fn a_volume_that_would_be_full_before_it_is_larger_is_expanded_early() {
    let check = |percent: u64, megabytes: u64, reaction: Option<u64>, expected: &str| {
        let claims = [claim(0, TEN)];
        let readings = filling(&claims[0], percent, burst(megabytes));
        let decision = decide(&settings(|_| {}), &driver(reaction), TEN, &claims, &readings, at(0));
        assert_eq!(decision.verdict.as_str(), expected, "{percent} {megabytes} {reaction:?}");
        let is_over = decision.measured[&claims[0].name].is_over;
        assert_eq!(is_over, expected == "grow", "{percent} {megabytes} {reaction:?}");
    };
    // 3 GiB are left: at 500 MB/s, they last 6.4 s.
    check(70, 500, Some(3_200), "keep");
    check(70, 500, Some(3_300), "grow");
    check(70, 0, Some(600_000), "keep");
    // Nothing is known of the StorageClass: an expansion can take 90 s.
    check(70, 17, None, "keep");
    check(70, 18, None, "grow");
    // Less than half as full as the threshold.
    check(39, 5_000, Some(3_200), "keep");
    check(40, 5_000, Some(3_200), "grow");
    check(80, 0, None, "grow");
}

#[test]
fn an_early_expansion_is_reported_with_the_rate_the_time_to_full_and_the_time_it_takes() {
    let check = |rate: Rate, reaction: Option<u64>, change: &dyn Fn(&mut TemplateSettings), expected: &str| {
        let claims = [claim(0, TEN)];
        let readings = filling(&claims[0], 70, rate);
        let decision = decide(&settings(change), &driver(reaction), TEN, &claims, &readings, at(0));
        let texts: Vec<&str> = decision.notes.iter().map(|note| note.text.as_str()).collect();
        assert_eq!(texts, [expected]);
        decision.notes[0].case.clone()
    };
    let first = check(
        burst(500),
        Some(4_000),
        &|_| {},
        "PVC data-db-0 is 70% full (rso expects the volume to be full in 6.5s at 500 MB/s; an expansion takes 4s): \
         requesting an expansion of template data from 10Gi to 14Gi, because it must last 8s at 500 MB/s",
    );
    let second = check(
        burst(600),
        Some(4_000),
        &|_| {},
        "PVC data-db-0 is 70% full (rso expects the volume to be full in 5.4s at 600 MB/s; an expansion takes 4s): \
         requesting an expansion of template data from 10Gi to 15Gi, because it must last 8s at 600 MB/s",
    );
    assert_eq!((first.as_str(), first == second), ("early 12Gi", true), "the same Event at another rate");
    check(
        burst(20),
        None,
        &|settings| settings.auto = Auto::Recommend,
        "PVC data-db-0 is 70% full (rso expects the volume to be full in 2m 41s at 20 MB/s; an expansion can take 1m 30s): \
         recommending an expansion of template data from 10Gi to 14Gi, because it must last 3m at 20 MB/s",
    );
}

#[test]
fn what_a_burst_would_need_and_cannot_have_is_no_warning() {
    let check = |change: &dyn Fn(&mut TemplateSettings), resized_at: Option<i64>| {
        let claims = [Claim { resized_at: resized_at.map(at), ..claim(0, TEN) }];
        let readings = filling(&claims[0], 70, burst(500));
        let decision = decide(&settings(change), &driver(None), TEN, &claims, &readings, at(0));
        assert_eq!(told(&decision), "keep");
    };
    check(&|settings| settings.max_size = Some(TEN), None);
    check(&|settings| settings.cooldown = Some(Duration::from_secs(60)), Some(-30));
}

#[test]
fn a_step_is_as_large_as_the_volume_needs_until_it_can_be_expanded_again() {
    let check = |rate: Rate, cooldown: u64, expected: u64| {
        let claims = [claim(0, Bytes::gib(100))];
        let readings = filling(&claims[0], 85, rate);
        let settings = settings(|s| s.cooldown = Some(Duration::from_secs(cooldown)));
        let decision = decide(&settings, &driver(Some(2_000)), Bytes::gib(100), &claims, &readings, at(0));
        let verdict = Verdict::Grow { to: Bytes::gib(expected), trigger: Trigger::Usage };
        assert_eq!(decision.verdict, verdict, "{rate:?} {cooldown}");
    };
    let gib_per_hour = |gib: u64| Bytes::gib(gib).0 / 3_600;
    let trend = |gib: u64| Rate { trend: gib_per_hour(gib), burst: 0 };
    check(trend(6), 6 * 3_600, 136);
    check(trend(3), 6 * 3_600, 120);
    check(trend(10), 6 * 3_600, 160);
    check(trend(40), 6 * 3_600, 200);
    check(trend(40), 0, 120);
    // A burst lasts no hours: it counts while the next expansion takes place.
    check(Rate { trend: 0, burst: gib_per_hour(40) }, 6 * 3_600, 120);
    check(burst(10_000), 0, 138);
    check(burst(u64::MAX / MB), 0, 200);
}

/// The size after a step.
fn grown(claims: &[Claim], settings: &TemplateSettings, driver: &Driver, percent: u64, rate: Rate) -> Bytes {
    let decision = decide(settings, driver, Bytes(1), claims, &filling(&claims[0], percent, rate), at(0));
    match decision.verdict {
        Verdict::Grow { to, .. } => to,
        Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => claims[0].capacity.unwrap(),
    }
}

fn any_rate() -> impl Strategy<Value = Rate> {
    let bytes = || prop_oneof![0..=u64::MAX, 0..=1_000 * MB, Just(0)];
    (bytes(), bytes()).prop_map(|(trend, burst)| Rate { trend, burst })
}

fn any_driver() -> impl Strategy<Value = Driver> {
    let rounding = prop_oneof![
        Just(Rounding::None),
        (1..=100_u64).prop_map(|gib| Rounding::Multiple(Bytes::gib(gib))),
        Just(Rounding::PowerOfTwo),
    ];
    let millis = || (0..=100_000_000_u64).prop_map(Duration::from_millis);
    (rounding, prop::option::of(any_size()), prop::option::of(millis()), millis()).prop_map(
        |(rounding, max_size, reaction, cooldown)| Driver {
            cooldown,
            rounding,
            max_size,
            reaction: reaction.map(Reaction::Measured).unwrap_or_default(),
            ..Driver::default()
        },
    )
}

proptest! {
    /// Never below what it is without a rate, and never above the same limits.
    #[test]
    fn a_rate_never_makes_a_step_smaller_and_never_passes_a_limit(
        settings in any_settings(),
        driver in any_driver(),
        size in Bytes::mib(1).0..=Bytes::gib(70_000).0,
        percent in 0..=100_u64,
        rate in any_rate(),
        more in any_rate(),
    ) {
        let (claims, size) = ([claim(0, Bytes(size))], Bytes(size));
        let still = grown(&claims, &settings, &driver, percent, Rate::default());
        let to = grown(&claims, &settings, &driver, percent, rate);
        prop_assert!(to >= still);
        if settings.requested.is_none() && to > still {
            let step = match settings.increase {
                Increase::Share(share) => size.share(share),
                Increase::Size(size) => size,
            };
            let most = size.saturating_add(step.max(settings.min_increase).max(size));
            prop_assert!(to <= driver.round_up(most.round_up_to(Bytes::gib(1))), "{to} of {size}");
            prop_assert!(settings.max_size.is_none_or(|max| to <= max));
            prop_assert!(driver.max_size.is_none_or(|max| to <= max));
            prop_assert!(settings.max_step.is_none_or(|step| to <= size.saturating_add(step)));
        }
        let faster =
            Rate { trend: rate.trend.saturating_add(more.trend), burst: rate.burst.saturating_add(more.burst) };
        prop_assert!(grown(&claims, &settings, &driver, percent, faster) >= to, "faster is not smaller");
    }

    /// Byte for byte: what an expansion takes matters to a volume that fills only.
    #[test]
    fn without_a_rate_the_decision_is_the_same_whatever_an_expansion_takes(
        settings in any_settings(),
        driver in any_driver(),
        size in any_size(),
        percent in 0..=100_u64,
    ) {
        let claims = [claim(0, size)];
        let readings = filling(&claims[0], percent, Rate::default());
        let decided = |driver: &Driver| decide(&settings, driver, size, &claims, &readings, at(0));
        let expected = decided(&Driver { reaction: Reaction::Measured(Duration::ZERO), ..driver });
        prop_assert_eq!(decided(&driver), expected);
    }
}
