//! `rso-agent`: tells how full the volumes of its pod are.

use std::process::ExitCode;

fn main() -> ExitCode {
    rso::agent::main(std::env::args_os().skip(1))
}
