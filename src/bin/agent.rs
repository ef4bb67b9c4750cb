//! `rso-agent`: reports how full the volumes of its Pod are.

use std::process::ExitCode;

fn main() -> ExitCode {
    rso::run_agent(std::env::args_os().skip(1))
}
