//! One template and its PVCs as observed now, and the limits that hold for every expansion by usage.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::bytes::Bytes;
use crate::policy::claim::Claim;
use crate::policy::drivers::Driver;
use crate::policy::elapsed;
use crate::policy::settings::{Auto, TemplateSettings};

/// One template and its PVCs, as observed now.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) settings: &'a TemplateSettings,
    pub(super) driver: &'a Driver,
    pub(super) claims: &'a [Claim],
    pub(super) now: Timestamp,
}

impl Look<'_> {
    /// The size, capped at the largest size allowed.
    pub(super) fn capped(&self, to: Bytes) -> Bytes {
        self.settings.max_size.map_or(to, |max| to.min(max))
    }

    /// When a PVC of the template was last expanded.
    pub(super) fn last_expansion(&self) -> Option<Timestamp> {
        self.claims.iter().filter_map(|claim| claim.grown_at(self.now)).max()
    }

    /// The cooldown, if it is not over.
    pub(super) fn cooldown_left(&self, emergency: bool) -> Option<Duration> {
        let of_driver = match self.driver.emergency_cooldown {
            Some(shorter) if emergency => shorter,
            Some(_) | None => self.driver.cooldown,
        };
        let cooldown = self.settings.cooldown.unwrap_or(of_driver).max(self.settings.min_cooldown);
        (elapsed(self.last_expansion()?, self.now) < cooldown).then_some(cooldown)
    }

    /// What rso does, in words.
    pub(super) fn action(&self) -> &'static str {
        if self.settings.auto == Auto::Recommend { "recommending" } else { "requesting" }
    }
}
