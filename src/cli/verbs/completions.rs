//! `rso completions`: a completion script for the user's shell.

use std::path::Path;

use clap_complete::Shell;

use crate::cli::failure::{Exit, Failure};
use crate::cli::show::terminal::print;

/// Arguments of `rso completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Bash: rso completions bash > /etc/bash_completion.d/rso\n\
                        Zsh:  rso completions zsh > \"${fpath[1]}/_rso\"\n\
                        Fish: rso completions fish > ~/.config/fish/completions/rso.fish")]
pub struct Args {
    /// Shell to print the script for
    shell: Shell,
}

/// Prints the script for this tree of verbs. It completes the name by which the program was started.
pub(crate) fn run(args: &Args, mut tree: clap::Command, program: &Path) -> Result<Exit, Failure> {
    let name = program.file_stem().and_then(|name| name.to_str()).unwrap_or("rso");
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree, name, &mut script);
    print(&String::from_utf8_lossy(&script));
    Ok(Exit::Success)
}
