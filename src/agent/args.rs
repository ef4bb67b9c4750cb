//! The command line of the agent, parsed by hand: four options do not need a parser that is larger than the program.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::api::names::AGENT_PORT;

/// The text that `--help` prints.
pub(super) const HELP_TEXT: &str = "\
Serve the usage of the volumes of this Pod at GET /disk.

Usage: rso-agent --volume <PVC>=<PATH> [--volume <PVC>=<PATH>]… [--listen <ADDRESS>]

Options:
  --volume <PVC>=<PATH>  Name of a PersistentVolumeClaim, and the path at which it is mounted; a read-only mount is
                         sufficient. In a StatefulSet, build the name from the Pod name:
                         --volume data-$(POD_NAME)=/volumes/data
  --listen <ADDRESS>     IP address and port to listen on, such as 127.0.0.1:1251 [default: port 1251 of all addresses]
  --help                 Print help
  --version              Print version";

/// A PersistentVolumeClaim and the path at which it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentVolume {
    pub(super) pvc_name: String,
    pub(super) path: PathBuf,
}

/// The address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenAddress {
    /// All addresses of both IP families.
    Default,
    /// One address.
    At(SocketAddr),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "port {AGENT_PORT}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// The options of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) listen: ListenAddress,
    pub(super) volumes: Vec<AgentVolume>,
}

/// What the command line requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Run(Config),
    Help,
    Version,
}

/// Why the command line is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgsError {
    #[error("argument {0:?} must be UTF-8")]
    NotUtf8(OsString),
    #[error("unknown argument {0:?}")]
    Unknown(String),
    #[error("{0} requires a value")]
    NoValue(&'static str),
    #[error("--volume {0:?} must be <PVC>=<PATH>")]
    NotAVolume(String),
    #[error("--volume {0:?}: the path must be absolute")]
    NotAbsolute(String),
    #[error("--volume {0:?} is specified twice")]
    Twice(String),
    #[error("--listen {0:?} must be an IP address with a port, such as 127.0.0.1:1251 or [::]:1251")]
    NotAnAddress(String),
    #[error("at least one --volume is required")]
    NoVolume,
}

/// Parses the arguments without the name of the program.
pub(super) fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut args = args.map(|arg| arg.into_string().map_err(ArgsError::NotUtf8));
    let (mut listen, mut volumes) = (ListenAddress::Default, Vec::<AgentVolume>::new());
    while let Some(arg) = args.next().transpose()? {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let mut value = |option| match inline.clone() {
            Some(value) => Ok(value),
            None => args.next().transpose()?.ok_or(ArgsError::NoValue(option)),
        };
        match name {
            "--volume" => volumes.push(volume(value("--volume")?, &volumes)?),
            "--listen" => listen = ListenAddress::At(address(value("--listen")?)?),
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            _ => return Err(ArgsError::Unknown(arg)),
        }
    }
    if volumes.is_empty() { Err(ArgsError::NoVolume) } else { Ok(Command::Run(Config { listen, volumes })) }
}

fn volume(text: String, known: &[AgentVolume]) -> Result<AgentVolume, ArgsError> {
    let (pvc_name, path) = match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => (name.to_owned(), PathBuf::from(path)),
        Some(_) | None => return Err(ArgsError::NotAVolume(text)),
    };
    if !path.is_absolute() {
        return Err(ArgsError::NotAbsolute(text));
    }
    if known.iter().any(|volume| volume.pvc_name == pvc_name) {
        return Err(ArgsError::Twice(pvc_name));
    }
    Ok(AgentVolume { pvc_name, path })
}

fn address(text: String) -> Result<SocketAddr, ArgsError> {
    text.parse().map_err(|_| ArgsError::NotAnAddress(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Command, ArgsError> {
        parse(line.iter().map(OsString::from))
    }

    fn config(listen: ListenAddress, volumes: &[(&str, &str)]) -> Command {
        let volume = |(name, path): &(&str, &str)| AgentVolume { pvc_name: (*name).to_owned(), path: path.into() };
        Command::Run(Config { listen, volumes: volumes.iter().map(volume).collect() })
    }

    #[test]
    fn an_option_and_its_value_are_one_argument_or_two() {
        let check = |line: &[&str], expected: Command| assert_eq!(parsed(line), Ok(expected), "{line:?}");
        let local = ListenAddress::At(SocketAddr::from(([127, 0, 0, 1], 80)));
        check(&["--volume", "a-0=/a"], config(ListenAddress::Default, &[("a-0", "/a")]));
        check(&["--volume=a-0=/a", "--volume=b=/b=c"], config(ListenAddress::Default, &[("a-0", "/a"), ("b", "/b=c")]));
        check(&["--listen", "127.0.0.1:80", "--volume", "a=/a"], config(local.clone(), &[("a", "/a")]));
        check(&["--listen=127.0.0.1:80", "--volume", "a=/a"], config(local, &[("a", "/a")]));
        check(&["--help"], Command::Help);
        check(&["--volume", "a=/a", "--version"], Command::Version);
    }

    #[test]
    fn an_invalid_command_line_is_rejected_with_a_reason() {
        let check = |line: &[&str], expected: ArgsError| assert_eq!(parsed(line), Err(expected), "{line:?}");
        check(&[], ArgsError::NoVolume);
        check(&["--listen", "127.0.0.1:80"], ArgsError::NoVolume);
        check(&["--volume"], ArgsError::NoValue("--volume"));
        check(&["--volume", "a"], ArgsError::NotAVolume("a".into()));
        check(&["--volume", "=/a"], ArgsError::NotAVolume("=/a".into()));
        check(&["--volume", "a="], ArgsError::NotAVolume("a=".into()));
        check(&["--volume", "a=b"], ArgsError::NotAbsolute("a=b".into()));
        check(&["--volume", "a=/a", "--volume", "a=/b"], ArgsError::Twice("a".into()));
        check(&["--listen", "1251"], ArgsError::NotAnAddress("1251".into()));
        check(&["--listen", "localhost:80"], ArgsError::NotAnAddress("localhost:80".into()));
        check(&["--volumes", "a=/a"], ArgsError::Unknown("--volumes".into()));
        check(&["disk"], ArgsError::Unknown("disk".into()));
    }
}
