//! Which words can follow? A completion script for the person's shell.

use std::path::Path;

use clap_complete::Shell;

use crate::cli::failure::{Exit, Failure};
use crate::cli::show::terminal::print;

/// Arguments of `rso completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Bash: rso completions bash > /etc/bash_completion.d/rso\nZsh:  rso completions zsh > \
                        \"${fpath[1]}/_rso\"\nFish: rso completions fish > ~/.config/fish/completions/rso.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Writes the script to stdout. The program is completed under the name it was started by.
pub(crate) fn run(args: &Args, mut tree: clap::Command, program: &Path) -> Result<Exit, Failure> {
    let name = program.file_stem().and_then(|name| name.to_str()).unwrap_or("rso");
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree, name, &mut script);
    print(&String::from_utf8_lossy(&script));
    Ok(Exit::Yes)
}
