//! The size of a step by usage: as the settings say, or as large as the volume needs until it can be expanded again.

use std::time::Duration;

use super::crossing::needed;
use crate::api::bytes::{Bytes, Percent};
use crate::policy::drivers::Driver;
use crate::policy::settings::{Increase, TemplateSettings};
use crate::policy::usage::{Inodes, Rate, Usage};
use crate::policy::{brief, per_second, spoken};

/// The settings that determine a step.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) settings: &'a TemplateSettings,
    pub(super) driver: &'a Driver,
}

/// The size after a step.
pub(super) struct Stepped {
    /// The size.
    pub(super) to: Bytes,
    /// The size that it would be if the volume did not fill: it stays the same while the rate changes.
    pub(super) without_rate: Bytes,
    /// What the rate requires, in words, if it makes the step larger.
    pub(super) lasts: Option<String>,
}

impl Rule<'_> {
    /// The size after as many steps as are needed. `usage` is `None` if it is unknown: one step.
    pub(super) fn step(&self, capacity: Bytes, usage: Option<&Usage>, rate: Rate) -> Stepped {
        let step = match self.settings.increase {
            Increase::Share(share) => capacity.share(share),
            Increase::Size(size) => size,
        };
        let step = step.max(self.settings.min_increase).max(Bytes::mib(1));
        let missing = usage.map_or(Bytes(0), |usage| self.missing(capacity, usage));
        let steps = missing.0.div_ceil(step.0).clamp(1, (capacity.0 / step.0).max(1));
        let by_settings = self.size(capacity, Bytes(step.0.saturating_mul(steps)), step);
        let (needs, why) = self.consumption(rate);
        let needs = needs.min(capacity);
        let by_rate = if needs == Bytes(0) { Bytes(0) } else { self.size(capacity, needs, needs) };
        let (to, without_rate) = (self.capped(capacity, by_settings.max(by_rate)), self.capped(capacity, by_settings));
        Stepped { to, without_rate, lasts: (to > without_rate).then_some(why) }
    }

    /// The size with this much more, in whole units; the size of one step determines the unit.
    fn size(&self, capacity: Bytes, more: Bytes, step: Bytes) -> Bytes {
        let unit = if step >= Bytes::gib(1) { Bytes::gib(1) } else { Bytes::mib(1) };
        self.driver.round_up(capacity.saturating_add(more).round_up_to(unit))
    }

    /// What the volume consumes until it can be expanded again: at its fastest while an expansion takes place, and at the
    /// rate of the last minutes and hours until the cooldown is over.
    fn consumption(&self, rate: Rate) -> (Bytes, String) {
        let during = |rate: u64, time: Duration| {
            let bytes = u128::from(rate).saturating_mul(time.as_millis()) / 1_000;
            Bytes(u64::try_from(bytes).unwrap_or(Bytes::MAX.0).min(Bytes::MAX.0))
        };
        let (expansion, cooldown) = (needed(self.driver), self.cooldown());
        let (soon, later) = (during(rate.fastest(), expansion), during(rate.trend, cooldown));
        if later > soon {
            let hourly = Bytes(rate.trend.saturating_mul(3_600).min(Bytes::MAX.0)).human();
            (later, format!("it must last {} at {hourly} per hour", spoken(cooldown)))
        } else {
            (soon, format!("it must last {} at {}", brief(expansion), per_second(rate.fastest())))
        }
    }

    /// The usual time between two expansions by usage.
    fn cooldown(&self) -> Duration {
        self.settings.cooldown.unwrap_or(self.driver.cooldown).max(self.settings.min_cooldown)
    }

    /// The size, capped at the administrator's largest step and at the largest volume of the driver.
    fn capped(&self, capacity: Bytes, size: Bytes) -> Bytes {
        [self.settings.max_step.map(|step| capacity.saturating_add(step)), self.driver.max_size]
            .into_iter()
            .flatten()
            .fold(size, Bytes::min)
    }

    /// How much larger the volume must be to be below its thresholds at its current usage.
    fn missing(&self, capacity: Bytes, usage: &Usage) -> Bytes {
        let whole = usage.used.saturating_add(usage.available);
        let bytes = least_whole(usage.used.0, self.settings.threshold).saturating_sub(whole);
        let inodes = usage.inodes.map_or(Bytes(0), |Inodes { total, free }| {
            // A larger filesystem gets more inodes in proportion.
            let short = least_whole(total.saturating_sub(free), self.settings.inodes_threshold).0.saturating_sub(total);
            let bytes = (u128::from(short) * u128::from(capacity.0)).div_ceil(u128::from(total.max(1)));
            Bytes(u64::try_from(bytes).unwrap_or(Bytes::MAX.0))
        });
        bytes.max(inodes)
    }
}

/// The smallest whole of which this part is less than the threshold.
fn least_whole(part: u64, threshold: Percent) -> Bytes {
    let whole = (u128::from(part) * u128::from(Percent::WHOLE)).checked_div(u128::from(threshold.0)).unwrap_or(0) + 1;
    Bytes(u64::try_from(whole).unwrap_or(Bytes::MAX.0).min(Bytes::MAX.0))
}
