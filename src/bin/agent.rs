//! The program `rso-agent`, which serves the usage of the volumes of its Pod.

use std::process::ExitCode;

fn main() -> ExitCode {
    rso::agent::main(std::env::args_os().skip(1))
}
