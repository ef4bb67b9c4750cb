//! What must hold of the answer of an agent or of a kubelet, which may lie? Whatever is believed of it is possible, and
//! whatever follows from it is one bounded step.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rso::api::bytes::Bytes;
use rso::api::names::{ClaimName, Ordinal};
use rso::policy::claim::{Claim, Phase, Resize};
use rso::policy::decide::{Verdict, decide};
use rso::policy::drivers::Driver;
use rso::policy::settings::{Auto, Limits, TemplateSettings};
use rso::policy::usage::{Rate, Reading, Usage, judge, read_agent, read_held, read_summary};

use super::draw;

/// Any body of `GET /disk`.
pub fn an_answer(data: &[u8]) {
    a_held_answer(data);
    let Ok(volumes) = read_agent(data, now()) else { return };
    for volume in volumes {
        assert!((1..=253).contains(&volume.claim.as_str().len()), "a claim of an impossible name");
        match volume.usage {
            Ok(usage) => {
                assert_eq!((usage.claim.clone(), usage.at), (volume.claim, now()));
                is_believed_with_care(&usage);
            }
            Err(why) => assert!(why.chars().count() <= 200, "an error of {} bytes", why.len()),
        }
    }
}

/// Any body of the answer to a held request: it is dated within the time that the request took.
fn a_held_answer(data: &[u8]) {
    let took = Duration::from_secs(60);
    let Ok(answer) = read_held(data, now(), took) else { return };
    for usage in answer.volumes.into_iter().filter_map(|volume| volume.usage.ok()) {
        assert!(now() <= usage.at && usage.at <= now() + took, "a reading from another time");
        is_believed_with_care(&usage);
    }
}

/// Any body of `GET /stats/summary`.
pub fn a_summary(data: &[u8]) {
    let Ok(volumes) = read_summary(data, now()) else { return };
    for volume in volumes {
        assert!(volume.usage.at <= now(), "a reading from the future");
        is_believed_with_care(&volume.usage);
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(draw::NOW).unwrap_or(Timestamp::MIN)
}

/// What follows for claims of several sizes.
fn is_believed_with_care(usage: &Usage) {
    for capacity in [Bytes::mib(1), Bytes::gib(10), usage.total.min(Bytes::MAX), Bytes::MAX] {
        let claim = claim(&usage.claim, capacity);
        let reading = judge(usage.clone(), &claim, Rate::default());
        if let Reading::Measured { usage, .. } = &reading {
            assert!(usage.used <= usage.total && usage.available <= usage.total.saturating_sub(usage.used));
            assert!(usage.total <= capacity.saturating_add(Bytes(capacity.0 / 2)), "larger than its volume");
            assert!(usage.fullness().is_none_or(|share| share.0 <= 100_000), "more than full");
        }
        grows_by_a_step(claim, capacity, reading);
    }
}

fn grows_by_a_step(claim: Claim, capacity: Bytes, reading: Reading) {
    let max = capacity.saturating_add(Bytes::gib(3));
    let mut settings = TemplateSettings::new(claim.template.clone(), &Limits::default());
    (settings.auto, settings.max_size) = (Auto::On, Some(max));
    let readings = BTreeMap::from([(claim.name.clone(), reading)]);
    let decision = decide(&settings, &Driver::default(), capacity, &[claim], &readings, now());
    if let Verdict::Grow { to, .. } = decision.verdict {
        let most = capacity.saturating_add(capacity.max(Bytes::gib(1))).round_up_to(Bytes::gib(1));
        assert!(to > capacity && to <= max && to <= most, "a lie lets {capacity} grow to {to}");
    }
}

fn claim(name: &ClaimName, size: Bytes) -> Claim {
    Claim {
        name: name.clone(),
        template: "data".into(),
        ordinal: Ordinal(0),
        uid: "u".into(),
        resource_version: "1".to_owned(),
        phase: Phase::Bound,
        deleting: false,
        protected: true,
        block_mode: false,
        requested: size,
        capacity: Some(size),
        resize: Resize::None,
        class: None,
        resized_at: None,
        sizer: None,
        rescue: Default::default(),
    }
}
