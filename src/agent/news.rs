//! When a held request is answered: a volume reaches the requested share, changes its size, or can no longer be measured.
//! Pure.

use std::time::Duration;

use crate::api::percent::Percent;

/// The assumed maximum write rate, in bytes per second: more than the fastest network disk of any cloud. The operator
/// assumes the same.
const MAX_WRITE_RATE: u64 = 4 << 30;

/// What is compared with the last held answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The volume cannot be measured.
    Failed,
    /// It is measured.
    Measured {
        /// The size of the filesystem, bytes.
        size: u64,
        /// The bytes in use, of those in use or available.
        bytes: Part,
        /// The inodes in use; `None` if the filesystem creates them as needed.
        inodes: Option<Part>,
    },
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) used: u64,
    pub(super) whole: u64,
}

impl Part {
    fn has_reached(self, full: Percent) -> bool {
        full.is_reached(self.used, self.whole)
    }

    fn share(self) -> Percent {
        Percent::of(self.used, self.whole).unwrap_or(Percent::whole(100))
    }

    /// Whether it has reached the share. If it had reached it before, another whole percent counts: a volume that is full
    /// already does not end every wait at once.
    fn is_news(self, before: Option<Self>, full: Percent) -> bool {
        let before = before.filter(|before| before.has_reached(full));
        self.has_reached(full)
            && before.is_none_or(|before| self.share() >= before.share().next_whole() && !before.is_full())
    }

    fn is_full(self) -> bool {
        self.has_reached(Percent::whole(100))
    }

    /// The bytes or inodes until it is news.
    fn room(self, full: Percent) -> u64 {
        let target = if self.has_reached(full) { self.share().next_whole() } else { full };
        let target = u128::from(self.whole) * u128::from(target.0) / u128::from(Percent::WHOLE);
        u64::try_from(target).unwrap_or(u64::MAX).saturating_sub(self.used)
    }
}

impl Level {
    /// Whether the volume ends the wait. `before`: its level in the last held answer; `None` if there was none.
    pub(super) fn is_news(self, before: Option<Self>, full: Percent) -> bool {
        match (before, self) {
            (None | Some(Self::Failed), Self::Failed) => false,
            (Some(Self::Failed), Self::Measured { .. }) | (Some(Self::Measured { .. }), Self::Failed) => true,
            (None, Self::Measured { bytes, inodes, .. }) => {
                bytes.is_news(None, full) || inodes.is_some_and(|inodes| inodes.is_news(None, full))
            }
            (
                Some(Self::Measured { size: old, bytes: old_bytes, inodes: old_inodes }),
                Self::Measured { size, bytes, inodes },
            ) => {
                is_resized(old, size)
                    || bytes.is_news(Some(old_bytes), full)
                    || inodes.is_some_and(|inodes| inodes.is_news(old_inodes, full))
            }
        }
    }

    /// The level to compare with from now on, if this one is not news: a share that fell below the requested one is news
    /// when it reaches it again.
    pub(super) fn compared(self, before: Option<Self>, full: Percent) -> Self {
        let Some(Self::Measured { size, bytes: old_bytes, inodes: old_inodes }) = before else { return self };
        let Self::Measured { bytes, inodes, .. } = self else { return self };
        let kept = |old: Part, now: Part| if now.has_reached(full) { old } else { now };
        let inodes = inodes.map(|inodes| old_inodes.map_or(inodes, |old| kept(old, inodes)));
        Self::Measured { size, bytes: kept(old_bytes, bytes), inodes }
    }

    /// The time before which the volume cannot be news, because no disk writes faster.
    pub(super) fn soonest(self, full: Percent) -> Duration {
        match self {
            Self::Failed => Duration::MAX,
            // It cannot become fuller.
            Self::Measured { bytes, .. } if bytes.is_full() => Duration::MAX,
            Self::Measured { bytes, .. } => Duration::from_millis(
                (u128::from(bytes.room(full)) * 1_000 / u128::from(MAX_WRITE_RATE)).try_into().unwrap_or(u64::MAX),
            ),
        }
    }
}

/// Whether the size differs by a thousandth or more. On ZFS, the size of a dataset without a quota varies with the use of
/// its pool.
fn is_resized(before: u64, now: u64) -> bool {
    before.abs_diff(now) > before / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHTY: Percent = Percent::whole(80);

    /// A volume of 1,000 bytes and 100 inodes.
    fn level(bytes: u64, inodes: u64) -> Level {
        let part = |used, whole| Part { used, whole };
        Level::Measured { size: 1_000, bytes: part(bytes, 1_000), inodes: Some(part(inodes, 100)) }
    }

    fn sized(size: u64, used: u64) -> Level {
        Level::Measured { size, bytes: Part { used, whole: size }, inodes: None }
    }

    #[test]
    fn a_volume_is_news_when_it_reaches_the_share_or_changes_its_size() {
        let check = |before: Option<Level>, now: Level, expected: bool| {
            assert_eq!(now.is_news(before, EIGHTY), expected, "{before:?} {now:?}");
        };
        // The first request.
        check(None, level(799, 79), false);
        check(None, level(800, 0), true);
        check(None, level(0, 80), true);
        check(None, Level::Failed, false);
        // It has reached it since.
        check(Some(level(799, 0)), level(799, 0), false);
        check(Some(level(799, 0)), level(800, 0), true);
        check(Some(level(799, 79)), level(799, 80), true);
        check(Some(level(790, 90)), level(800, 90), true);
        // It had reached it: the next whole percent counts.
        check(Some(level(853, 0)), level(853, 0), false);
        check(Some(level(853, 0)), level(859, 0), false);
        check(Some(level(853, 0)), level(860, 0), true);
        check(Some(level(853, 0)), level(990, 0), true);
        check(Some(level(853, 0)), level(810, 0), false);
        check(Some(level(0, 85)), level(0, 86), true);
        check(Some(level(995, 0)), level(999, 0), false);
        check(Some(level(995, 0)), level(1_000, 0), true);
        check(Some(level(1_000, 0)), level(1_000, 0), false);
        check(Some(level(1_000, 0)), level(1_000, 79), false);
        check(Some(level(1_000, 0)), level(1_000, 80), true);
        // The size.
        check(Some(sized(100_000, 5)), sized(100_100, 5), false);
        check(Some(sized(100_000, 5)), sized(100_101, 5), true);
        check(Some(sized(100_000, 5)), sized(50_000, 5), true);
        check(Some(sized(0, 0)), sized(1, 0), true);
        // A filesystem without any room is full.
        check(None, sized(0, 0), true);
        check(Some(sized(0, 0)), sized(0, 0), false);
        // A volume that hangs.
        check(Some(level(1, 1)), Level::Failed, true);
        check(Some(Level::Failed), Level::Failed, false);
        check(Some(Level::Failed), level(1, 1), true);
    }

    #[test]
    fn a_share_that_fell_is_news_when_it_is_reached_again() {
        let falls = level(700, 10).compared(Some(level(853, 10)), EIGHTY);
        assert!(level(800, 10).is_news(Some(falls), EIGHTY));
        // As long as it stays above, the next whole percent is that of the last answer.
        let stays = level(810, 10).compared(Some(level(853, 10)), EIGHTY);
        assert!(!level(820, 10).is_news(Some(stays), EIGHTY) && level(860, 10).is_news(Some(stays), EIGHTY));
        // So is the size.
        let larger = sized(100_060, 0).compared(Some(sized(100_000, 0)), EIGHTY);
        assert!(sized(100_120, 0).is_news(Some(larger), EIGHTY));
        assert_eq!(level(1, 1).compared(None, EIGHTY), level(1, 1));
    }

    #[test]
    fn a_volume_far_from_the_share_needs_no_look_for_a_while() {
        let check = |used: u64, expected: u64| {
            let level = sized(100 << 30, used << 30);
            assert_eq!(level.soonest(EIGHTY).as_millis(), u128::from(expected), "{used} GiB");
        };
        check(0, 20_000);
        check(76, 1_000);
        check(79, 250);
        // The next whole percent.
        check(80, 250);
        assert_eq!(Level::Failed.soonest(EIGHTY), Duration::MAX);
        assert_eq!(sized(1_000, 1_000).soonest(EIGHTY), Duration::MAX);
        assert_eq!(sized(0, 0).soonest(EIGHTY), Duration::MAX);
        assert_eq!(sized(u64::MAX, 0).soonest(EIGHTY).as_secs(), (u64::MAX / 10 * 8) >> 32);
    }
}
