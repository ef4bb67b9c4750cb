//! What must hold of the next step of a claim? It asks for more, or after a refusal for less than was refused and more than
//! is there; and it comes to an end.

use arbitrary::{Result, Unstructured};
use jiff::Timestamp;
use rso::api::bytes::Bytes;
use rso::policy::claim::{Claim, ClaimStep, MAX_HALVINGS, Refusal, Resize, next, refusal};
use rso::policy::drivers::Driver;

use super::{draw, size};

/// Any claim that should have any size.
pub fn a_claim(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let claim = size::claim(u, 0)?;
    let (target, driver, now) = (draw::size(u)?, size::driver(u)?, draw::time(u)?);
    let before =
        draw::maybe(u, |u| Ok(Refusal { size: draw::size(u)?, times: u.int_in_range(1..=5)?, at: draw::time(u)? }))?;
    let known = refusal(&claim, before.as_ref(), now);
    let step = next(&claim, target, known.as_ref(), &driver, now);
    is_sound(&claim, target, &driver, &step);
    comes_to_rest(claim, target, &driver, draw::size(u)?, now);
    Ok(())
}

fn is_sound(claim: &Claim, target: Bytes, driver: &Driver, step: &ClaimStep) {
    match step {
        ClaimStep::Patch { to, note } => {
            assert!(!claim.deleting, "a claim that goes away");
            if claim.is_infeasible() {
                assert!(*to < claim.requested, "more than what was refused");
                assert!(claim.capacity.is_some_and(|capacity| *to > capacity), "{to} is not above what it has");
            } else {
                assert!(*to > claim.requested && *to <= target, "from {} to {to}, for {target}", claim.requested);
                assert!(driver.max_size.is_none_or(|max| *to <= max), "more than the driver makes");
            }
            assert!(note.text.len() <= 1024);
        }
        ClaimStep::Settled => assert!(claim.is_committed(target), "it is smaller than {target}"),
        ClaimStep::Wait(note) | ClaimStep::Blocked(note) => assert!(note.text.len() <= 1024),
    }
}

/// A driver that makes volumes up to a size, and refuses larger ones: after some patches nothing is asked any more.
fn comes_to_rest(mut claim: Claim, target: Bytes, driver: &Driver, makes: Bytes, now: Timestamp) {
    let mut known = None;
    let mut asked = 0;
    loop {
        known = refusal(&claim, known.as_ref(), now);
        let ClaimStep::Patch { to, .. } = next(&claim, target, known.as_ref(), driver, now) else { return };
        asked += 1;
        // The first size, its halves, and once more the way up to below what was refused.
        assert!(asked <= 2 * (MAX_HALVINGS + 2), "it asks for ever: {to} of {target}");
        claim.requested = to;
        if to <= makes {
            (claim.capacity, claim.resize) = (Some(to), Resize::None);
        } else {
            claim.resize = Resize::ControllerInfeasible;
        }
    }
}
