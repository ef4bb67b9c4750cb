//! What time is it? The only clocks of this layer; whoever decides takes the answer as an argument.

use std::time::Duration;

use jiff::Timestamp;

/// The time of day.
#[allow(clippy::disallowed_methods, reason = "the layers that decide take this as an argument")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Time since the machine started, asleep or not: it never goes back, and a suspended machine does not think that its lease
/// is fresh when it wakes (which CLOCK_MONOTONIC, and so [`std::time::Instant`], would).
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Kubernetes' `MicroTime`: exactly six digits, or the server refuses it.
pub fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_micro_time_has_six_digits() {
        let check = |text: &str, expected: &str| {
            assert_eq!(micro_time(text.parse().unwrap()), expected);
        };
        check("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z");
        check("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000Z");
        check("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z");
    }

    #[test]
    fn the_machine_has_been_up() {
        let before = since_boot();
        assert!(before > Duration::ZERO && since_boot() >= before);
    }
}
