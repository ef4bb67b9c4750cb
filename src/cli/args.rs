//! What can be asked of `rso`? The tree of verbs, and the flags that all of them share.
//!
//! The tree names the roles (`controller`, `csi`) beside the verbs for people, because one program carries them all; it is
//! the only file of this module that may know another role, and of that only its arguments.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::flags::Connection;
use super::verbs::{backup, completions, doctor, drift, resize, restore, status, uninstall};

/// Keeps the volumes of StatefulSets large enough, without a restarted pod.
#[derive(Debug, Parser)]
#[command(name = "rso", version, max_term_width = 100, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 yes, 1 the answer is no, 2 usage, 3 cluster unreachable or forbidden, 4 refused for \
                        safety.\nVerbs for people use your own kubeconfig and rights; they work when the operator does not \
                        run."
)]
pub struct Cli {
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
    /// Which cluster, as whom.
    #[command(flatten)]
    pub connection: Connection,
}

/// The verbs: first what people need, in the order they need it, then the roles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how full the volumes of StatefulSets are and what is going on
    Status(status::Args),
    /// Ask for a larger volume
    Resize(resize::Args),
    /// Look at the copies that were saved before a StatefulSet was touched
    Backup(backup::Args),
    /// Bring a deleted StatefulSet back from a backup
    Restore(restore::Args),
    /// Ask whether the operator may be removed
    Uninstall(uninstall::Args),
    /// Look for what keeps volumes from growing, or applies from going through
    Doctor(doctor::Args),
    /// Print the sizes that git should carry
    Drift(drift::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Run the operator
    Controller(Box<Controller>),
    /// Serve local volumes of this node to Kubernetes
    Csi(crate::csi::Args),
}

/// The operator, with the webhook that runs in the same process.
#[derive(Args, Clone, Debug)]
pub struct Controller {
    /// Flags of the operator.
    #[command(flatten)]
    pub operator: crate::controller::Args,
    /// Flags of the webhook.
    #[command(flatten)]
    pub webhook: crate::webhook::Args,
}

/// The tree under the name by which the program was started: `kubectl-rso` is told as `kubectl rso`.
pub fn command(program: &Path) -> clap::Command {
    let command = Cli::command();
    match program.file_stem().and_then(|name| name.to_str()) {
        Some("kubectl-rso") => command.display_name("kubectl rso").bin_name("kubectl rso"),
        Some(_) | None => command,
    }
}

/// Reads the command line; the first word is the program.
pub fn parse(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut tree = command(Path::new(words.first().map_or("rso".as_ref(), OsString::as_os_str)));
    let matches = tree.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_plugin_of_kubectl_tells_its_usage_as_one() {
        let check = |program: &str, expected: &str| {
            let words = [program, "status", "--no-such-flag"].map(OsString::from).to_vec();
            let error = parse(words).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("/usr/local/bin/rso", "Usage: rso status");
        check("/usr/local/bin/kubectl-rso", "Usage: kubectl rso status");
    }
}
