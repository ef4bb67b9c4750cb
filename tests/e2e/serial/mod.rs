//! Tests that take the operator away from everybody else: one at a time, after all others, in this order.

mod admission;
mod cert_manager;
mod crash;
mod deployers;
mod handover;
mod helm;
mod hostile;
mod namespaced;
mod orphaning;
mod strangers;
mod verdict;
