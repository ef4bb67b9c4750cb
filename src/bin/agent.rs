//! The program `rso-agent`, which serves the usage of the volumes of its Pod.

use std::process::ExitCode;

fn main() -> ExitCode {
    rso::run_agent(std::env::args_os().skip(1))
}
