//! What must hold of the next size of a template, whatever its volumes say? It is never below what is there, never above
//! what is allowed, and more in use never makes it smaller.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use jiff::Timestamp;
use rso::api::bytes::{Bytes, Percent};
use rso::api::names::{ClaimName, Ordinal};
use rso::policy::claim::{Blind, Claim, Class, Phase, Resize, Sizer};
use rso::policy::decide::{Decision, Trigger, Verdict, decide};
use rso::policy::drivers::{Driver, Growth, Rounding};
use rso::policy::failure::ContainerFailure;
use rso::policy::reaction::Reaction;
use rso::policy::rescue::{Evidence, LastReading, MOST_STEPS};
use rso::policy::settings::{Auto, Increase, Limits, Request, TemplateSettings, TemplateSync};
use rso::policy::usage::{Inodes, Rate, Reading, Source, Usage, judge};

use super::draw;

/// Any claims, readings, settings and limits.
pub fn a_decision(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

/// Everything that a decision looks at.
struct Case {
    settings: TemplateSettings,
    driver: Driver,
    template_size: Bytes,
    claims: Vec<Claim>,
    usages: Vec<(Usage, Rate)>,
    now: Timestamp,
}

impl Case {
    fn decide(&self) -> Decision {
        let judged = |(usage, rate): &(Usage, Rate)| {
            let claim = self.claims.iter().find(|claim| claim.name == usage.claim)?;
            Some((usage.claim.clone(), judge(usage.clone(), claim, *rate)))
        };
        let readings: BTreeMap<ClaimName, Reading> = self.usages.iter().filter_map(judged).collect();
        decide(&self.settings, &self.driver, self.template_size, &self.claims, &readings, self.now)
    }
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let mut case = case(u)?;
    let decision = case.decide();
    is_within_limits(&case, &decision);
    let (which, more) = (u.arbitrary::<usize>()?, draw::number(u)?);
    if case.usages.is_empty() {
        return Ok(());
    }
    let which = which % case.usages.len();
    let usage = &mut case.usages[which].0;
    let more = more.min(usage.available.0);
    usage.used = Bytes(usage.used.0.saturating_add(more));
    usage.available = usage.available.saturating_sub(Bytes(more));
    let fuller = case.decide();
    assert!(
        wanted(&fuller) >= wanted(&decision),
        "{more} bytes more in use make {:?} of {:?}",
        fuller.verdict,
        decision.verdict
    );
    is_within_limits(&case, &fuller);
    Ok(())
}

fn wanted(decision: &Decision) -> Bytes {
    match decision.verdict {
        Verdict::Grow { to, .. } | Verdict::Recommend { to } => to,
        Verdict::Keep | Verdict::Refuse(_) => Bytes(0),
    }
}

fn is_within_limits(case: &Case, decision: &Decision) {
    let settings = &case.settings;
    let to = wanted(decision);
    assert!(settings.max_size.is_none_or(|max| to <= max), "{to} is above max-size");
    if let Verdict::Grow { to, trigger } = decision.verdict {
        assert!(case.claims.iter().any(|claim| claim.requested < to), "nobody grows to {to}");
        let asked = settings.requested.is_some();
        assert!(asked || settings.auto == Auto::On, "nobody asked for {to}");
        match trigger {
            Trigger::Usage => is_a_step(case, to),
            Trigger::Rescue => {
                is_a_step(case, to);
                assert!(settings.rescue && settings.max_size.is_some(), "no limit was set");
                assert!(decision.rescue.as_ref().is_some_and(|rescue| rescue.steps <= MOST_STEPS), "too many steps");
            }
            Trigger::Annotation | Trigger::Apply | Trigger::Siblings => {}
        }
    }
    if let Verdict::Recommend { to } = decision.verdict {
        assert!(settings.auto == Auto::Recommend);
        is_a_step(case, to);
    }
    if let Some(template) = decision.template {
        assert!(template > case.template_size, "the template would shrink");
        assert!(settings.max_size.is_none_or(|max| template <= max), "a template above max-size");
        assert_ne!(settings.template_sync, TemplateSync::Never);
    }
    for note in &decision.notes {
        assert!(note.text.len() <= 1024, "a note of {} bytes", note.text.len());
    }
}

/// One growth by usage: above what some claim has, at most one step or the double, rounded up as the driver wants it.
fn is_a_step(case: &Case, to: Bytes) {
    let settings = &case.settings;
    let capacities =
        || case.claims.iter().filter(|claim| claim.phase == Phase::Bound).filter_map(|claim| claim.capacity);
    let smallest = capacities().min().unwrap_or_default();
    assert!(to > smallest, "{to} is no growth");
    let largest = capacities().max().unwrap_or_default();
    let step = match settings.increase {
        Increase::Share(share) => largest.share(share),
        Increase::Size(size) => size,
    };
    let step = step.max(settings.min_increase).max(Bytes::mib(1)).max(largest);
    let most = case.driver.round_up(largest.saturating_add(step).round_up_to(Bytes::gib(1)));
    assert!(to <= most, "from {largest} to {to}, more than {most}");
    assert!(settings.max_step.is_none_or(|step| to <= largest.saturating_add(step)), "more than the largest step");
    assert!(case.driver.max_size.is_none_or(|max| to <= max.max(largest)), "more than the driver makes");
}

fn case(u: &mut Unstructured<'_>) -> Result<Case> {
    let now = Timestamp::from_second(draw::NOW).unwrap_or(Timestamp::MIN);
    let claims = (0..u.int_in_range(0..=3)?).map(|ordinal| claim(u, ordinal)).collect::<Result<Vec<_>>>()?;
    let rate = |u: &mut Unstructured<'_>| Ok(Rate { trend: draw::number(u)?, burst: draw::number(u)? });
    let usages = claims.iter().map(|claim| Ok((usage(u, claim)?, rate(u)?))).collect::<Result<_>>()?;
    Ok(Case { settings: settings(u)?, driver: driver(u)?, template_size: draw::size(u)?, claims, usages, now })
}

fn settings(u: &mut Unstructured<'_>) -> Result<TemplateSettings> {
    let limits = Limits {
        max_size: draw::maybe(u, draw::size)?,
        max_step: draw::maybe(u, draw::size)?,
        min_cooldown: draw::span(u)?,
    };
    let mut settings = TemplateSettings::new("data".into(), &limits);
    settings.auto = *u.choose(&[Auto::On, Auto::On, Auto::On, Auto::Recommend, Auto::Off])?;
    settings.threshold = Percent(u.int_in_range(1..=100_000)?);
    settings.inodes_threshold = Percent(u.int_in_range(1..=100_000)?);
    settings.increase = if u.arbitrary()? {
        Increase::Share(Percent(u.int_in_range(1..=u32::MAX)?))
    } else {
        Increase::Size(draw::size(u)?.max(Bytes(1)))
    };
    settings.min_increase = draw::size(u)?;
    settings.cooldown = draw::maybe(u, draw::span)?.map(|cooldown| cooldown.max(limits.min_cooldown));
    settings.lead_time = draw::maybe(u, draw::span)?;
    settings.rescue = u.arbitrary()?;
    settings.template_sync = *u.choose(&[TemplateSync::Always, TemplateSync::OnUserChange, TemplateSync::Never])?;
    settings.requested = draw::maybe(u, |u| {
        Ok(Request { size: draw::size(u)?.max(Bytes(1)), key: draw::one(u, &["resize.data", "requested"])?.to_owned() })
    })?;
    Ok(settings)
}

/// Any driver.
pub fn driver(u: &mut Unstructured<'_>) -> Result<Driver> {
    let rounding = match u.int_in_range(0..=2_u8)? {
        0 => Rounding::None,
        1 => Rounding::Multiple(draw::size(u)?),
        _ => Rounding::PowerOfTwo,
    };
    let cooldown = draw::span(u)?;
    Ok(Driver {
        cooldown,
        emergency_cooldown: draw::maybe(u, draw::span)?.map(|shorter| shorter.min(cooldown)),
        rounding,
        max_size: draw::maybe(u, draw::size)?,
        growth: *u.choose(&[Growth::Online, Growth::Offline, Growth::Never])?,
        reaction: draw::maybe(u, draw::span)?.map(Reaction::Measured).unwrap_or_default(),
    })
}

/// Any claim of that ordinal; most are healthy.
pub fn claim(u: &mut Unstructured<'_>, ordinal: u32) -> Result<Claim> {
    let requested = draw::size(u)?;
    let is_healthy = !draw::rarely(u)?;
    let phases = [Phase::Bound, Phase::Pending, Phase::Lost];
    let words = [
        "",
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizePending",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "FileSystemResizePending",
    ];
    Ok(Claim {
        name: ClaimName::new(format!("data-db-{ordinal}")),
        template: "data".into(),
        ordinal: Ordinal(ordinal),
        uid: "u".into(),
        resource_version: "1".to_owned(),
        phase: if is_healthy { Phase::Bound } else { *u.choose(&phases)? },
        deleting: !is_healthy && u.arbitrary()?,
        protected: u.arbitrary()?,
        block_mode: !is_healthy && u.arbitrary()?,
        requested,
        capacity: if is_healthy { Some(requested) } else { draw::maybe(u, draw::size)? },
        resize: if is_healthy { Resize::None } else { Resize::from_word(draw::one(u, &words)?) },
        class: draw::maybe(u, |u| {
            Ok(Class {
                name: "fast".to_owned(),
                expandable: !draw::rarely(u)?,
                provisioner: "csi.example.com".to_owned(),
            })
        })?,
        resized_at: draw::maybe(u, draw::time)?,
        sizer: draw::maybe(u, |u| {
            Ok(Sizer { manager: "m".to_owned(), is_ours: u.arbitrary()?, at: draw::maybe(u, draw::time)? })
        })?,
        rescue: blind(u)?,
    })
}

/// What is known of it while nothing measures it.
fn blind(u: &mut Unstructured<'_>) -> Result<Blind> {
    let words = ["No space left on device", "panic", "", "ENOSPC\u{202e}\n"];
    let failures = (0..u.int_in_range(0..=2)?).map(|_| {
        Ok(ContainerFailure {
            container: "db".to_owned(),
            reason: draw::one(u, &["Error", "StartError", "CrashLoopBackOff"])?.to_owned(),
            message: draw::one(u, &words)?.to_owned(),
            exit_code: draw::maybe(u, |u| u.arbitrary())?,
            at: draw::maybe(u, draw::time)?,
        })
    });
    let failures = failures.collect::<Result<_>>()?;
    let last = draw::maybe(u, |u| {
        let share = Percent(u.int_in_range(0..=100_000)?);
        Ok(LastReading { at: draw::time(u)?, share, is_over: u.arbitrary()? })
    })?;
    Ok(Blind { steps: draw::maybe(u, |u| u.int_in_range(0..=4))?.unwrap_or(0), evidence: Evidence { last, failures } })
}

/// What somebody says of its volume; mostly something possible.
fn usage(u: &mut Unstructured<'_>, claim: &Claim) -> Result<Usage> {
    let total = if draw::rarely(u)? { Bytes(draw::number(u)?) } else { claim.capacity.unwrap_or_default() };
    let used = if draw::rarely(u)? { Bytes(draw::number(u)?) } else { share_of(total, u.arbitrary()?) };
    let available = if draw::rarely(u)? { Bytes(draw::number(u)?) } else { total.saturating_sub(used) };
    let inodes = draw::maybe(u, |u| {
        let total = draw::number(u)?;
        Ok(Inodes {
            total,
            free: if draw::rarely(u)? { draw::number(u)? } else { share_of(Bytes(total), u.arbitrary()?).0 },
        })
    })?;
    let now = Timestamp::from_second(draw::NOW).unwrap_or(Timestamp::MIN);
    Ok(Usage {
        claim: claim.name.clone(),
        total,
        used,
        available,
        inodes,
        shared: draw::rarely(u)?,
        write_rate: None,
        at: if draw::rarely(u)? { draw::time(u)? } else { now },
        source: *u.choose(&[Source::Agent, Source::Kubelet])?,
    })
}

fn share_of(whole: Bytes, share: u16) -> Bytes {
    let part = u128::from(whole.0) * u128::from(share) / u128::from(u16::MAX);
    Bytes(u64::try_from(part).unwrap_or(u64::MAX))
}
