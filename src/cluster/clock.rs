//! The clocks: the only ones of this layer. Functions that decide take the time as an argument.

use std::time::Duration;

use jiff::Timestamp;

/// The time of day.
#[allow(clippy::disallowed_methods, reason = "the layers that decide take this as an argument")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Time since the machine started, including suspension: it never goes back, and a suspended machine does not consider
/// its Lease valid when it resumes (as it would with CLOCK_MONOTONIC, and therefore [`std::time::Instant`]).
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The format of Kubernetes' `MicroTime`: the server requires exactly six digits.
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
    fn time_since_boot_is_positive_and_does_not_decrease() {
        let before = since_boot();
        assert!(before > Duration::ZERO && since_boot() >= before);
    }
}
