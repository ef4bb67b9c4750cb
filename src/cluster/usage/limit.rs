//! The limit of held requests: each is an open connection, that is, a file descriptor and some memory.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most held requests. Each takes about 8 KiB of memory, half of it the kernel's: 32 MiB in all.
const MAX_HELD: u64 = 4_096;
/// File descriptors for everything else: the API server, webhook requests, metrics, and other requests for usage.
const RESERVED: u64 = 1_024;

/// How many requests may be held at the same time. Raises the limit of open files as far as it is needed and permitted: many
/// container runtimes set 1,024, and permit many more.
pub fn max_held() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (MAX_HELD + RESERVED).min(maximum.unwrap_or(u64::MAX));
    let raised = current.is_some_and(|current| current < wanted)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok();
    within(if raised { Some(wanted) } else { current })
}

/// The limit if so many files can be open; `None`: any number.
fn within(files: Option<u64>) -> usize {
    let held = files.unwrap_or(u64::MAX).saturating_sub(RESERVED).min(MAX_HELD);
    // Even with few file descriptors, some are for held requests.
    usize::try_from(held.max(files.unwrap_or(0) / 4).min(MAX_HELD)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_leaves_file_descriptors_for_everything_else() {
        let check = |files: Option<u64>, expected: usize| assert_eq!(within(files), expected, "{files:?}");
        check(None, 4_096);
        check(Some(1 << 20), 4_096);
        check(Some(5_120), 4_096);
        check(Some(4_096), 3_072);
        check(Some(1_024), 256);
        check(Some(64), 16);
        check(Some(0), 0);
        assert!(max_held() > 0);
    }
}
