//! Tests that share the operator: each in its own namespace, several at a time.

mod admission;
mod appliers;
mod auto;
mod broken;
mod examples;
mod growth;
mod held;
mod manual;
mod midway;
mod nudges;
mod policies;
mod refusals;
mod rescue;
mod restore;
mod rights;
mod rivals;
mod rollouts;
mod rounds;
mod shapes;
mod untouched;
