//! What must hold of the rate at which a volume fills, whatever its readings say?

use arbitrary::{Result, Unstructured};
use jiff::Timestamp;
use rso::api::bytes::Bytes;
use rso::policy::usage::{History, Source, Usage};

use super::draw;

/// Any readings at any times: the rate is never more than the steepest rise between two of them.
pub fn a_history(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let mut history = History::default();
    let mut kept: Vec<(Timestamp, u64)> = Vec::new();
    for (at, used) in draw::list(u, 80, |u| Ok((draw::time(u)?, draw::number(u)?)))? {
        history.add(&usage(at, used));
        // The same rule, told simply: what is older than the last, or within half a minute of it, is left out.
        if kept.last().is_none_or(|(last, _)| at.as_second() - last.as_second() >= 30) {
            kept.push((at, used));
        }
    }
    let steepest = kept.windows(2).filter_map(|pair| {
        let [(since, before), (at, after)] = pair else { return None };
        let seconds = u64::try_from(at.as_second() - since.as_second()).ok()?;
        after.checked_sub(*before)?.checked_div(seconds)
    });
    let steepest = steepest.max().unwrap_or(0);
    let rate = history.rate();
    assert!(rate <= steepest.saturating_add(1), "{rate} bytes a second, but nothing rose faster than {steepest}");
    Ok(())
}

fn usage(at: Timestamp, used: u64) -> Usage {
    Usage {
        claim: "data-db-0".into(),
        total: Bytes::MAX,
        used: Bytes(used),
        available: Bytes(0),
        inodes: None,
        shared: false,
        write_rate: None,
        at,
        source: Source::Agent,
    }
}
