//! The command line as a whole: the tree of verbs, and how it is parsed.
//!
//! The tree contains the programs (`controller`, `csi`) beside the verbs for users, because one binary contains them all.
//! Besides `mod.rs`, this is the only file of the module that may know another program, and of that only its arguments.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::flags::Connection;
use super::verbs::{backup, completions, doctor, drift, explain, resize, restore, status, uninstall};

/// Expand the volumes of StatefulSets without restarting a Pod.
#[derive(Debug, Parser)]
#[command(name = "rso", version, max_term_width = 100, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 success; 1 negative result (not found, differs, not ready); 2 invalid usage; \
                  3 cluster unreachable or access denied; 4 refused as unsafe.\n\
                  All commands except controller and csi use your kubeconfig and your permissions, and work even if the \
                  operator does not run.")]
pub struct Cli {
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
    /// The cluster, the user, and the namespace.
    #[command(flatten)]
    pub connection: Connection,
}

/// The verbs: first those for users, in the order in which users need them, then the programs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the usage, the size, and the state of the volumes of StatefulSets
    Status(status::Args),
    /// Explain why the volumes of a StatefulSet are expanded or not, or what an annotation means
    Explain(explain::Args),
    /// Request a larger volume
    Resize(resize::Args),
    /// List, print, and compare the backups that rso takes before it recreates a StatefulSet
    Backup(backup::Args),
    /// Restore a deleted StatefulSet from a backup
    Restore(restore::Args),
    /// Check that rso can be uninstalled safely
    Uninstall(uninstall::Args),
    /// Diagnose what prevents volumes from expanding or applies from succeeding
    Doctor(doctor::Args),
    /// Print storage sizes that are out of date in git
    Drift(drift::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Run the operator
    Controller(Box<crate::operator::Args>),
    /// Run the CSI driver for local volumes on this node
    Csi(crate::csi::Args),
}

/// The tree under the name by which the program was started: `kubectl-rso` is shown as `kubectl rso`.
pub fn command(program: &Path) -> clap::Command {
    let command = Cli::command();
    match program.file_stem().and_then(|name| name.to_str()) {
        Some("kubectl-rso") => command.display_name("kubectl rso").bin_name("kubectl rso"),
        Some(_) | None => command,
    }
}

/// Parses the command line; the first word is the program.
///
/// # Errors
/// If the command line is invalid, or asks for help.
pub fn parse(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut tree = command(Path::new(words.first().map_or("rso".as_ref(), OsString::as_os_str)));
    let matches = tree.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut tree))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_command_tree_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_has_the_same_placeholder_in_every_verb() {
        let mut placeholders: BTreeMap<String, String> = BTreeMap::new();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            for flag in command.get_arguments().filter(|flag| flag.get_action().takes_values()) {
                let (Some(name), Some(placeholder)) = (flag.get_long(), flag.get_value_names()) else { continue };
                let placeholder = placeholder.join(" ");
                let first = placeholders.entry(name.to_owned()).or_insert_with(|| placeholder.clone());
                assert_eq!(placeholder, *first, "--{name} of {}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
        assert_eq!(placeholders["output"], "FORMAT");
    }

    #[test]
    fn a_kubectl_plugin_prints_its_usage_as_a_kubectl_command() {
        let check = |program: &str, expected: &str| {
            let words = [program, "status", "--no-such-flag"].map(OsString::from).to_vec();
            let error = parse(words).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("/usr/local/bin/rso", "Usage: rso status");
        check("/usr/local/bin/kubectl-rso", "Usage: kubectl rso status");
    }
}
