//! `rso`: reads the command line, runs the role or the verb that it names, and answers with an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    rso::run(std::env::args_os().collect())
}
