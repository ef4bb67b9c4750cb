//! What was the agent asked to do? Read by hand: three options need no parser that is larger than the program.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::api::names::AGENT_PORT;

/// What `--help` prints.
pub(super) const HELP: &str = "\
Answers GET /disk with how full the volumes of this pod are.

Usage: rso-agent --volume <claim>=<path> [--volume <claim>=<path>]… [--listen <address>]

Options:
  --volume <claim>=<path>  A PersistentVolumeClaim and where it is mounted (read-only will do). For a volume of a
                           StatefulSet, Kubernetes fills in the claim: --volume data-$(POD_NAME)=/volumes/data
  --listen <address>       Where to listen, such as 127.0.0.1:1251 [default: port 1251 of every address]
  --help                   Print this
  --version                Print the version";

/// A claim and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) claim: String,
    pub(super) path: PathBuf,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    /// Every address, both families.
    Default,
    /// This one.
    At(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "port {AGENT_PORT}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// What to run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) listen: Listen,
    pub(super) volumes: Vec<Volume>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Run(Config),
    Help,
    Version,
}

/// Why the arguments are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgsError {
    #[error("an argument is not UTF-8: {0:?}")]
    NotUtf8(OsString),
    #[error("unknown argument {0:?}")]
    Unknown(String),
    #[error("{0} needs a value")]
    NoValue(&'static str),
    #[error("--volume {0:?} is not <claim>=<path>")]
    NotAVolume(String),
    #[error("--volume {0:?}: the path must begin with /")]
    NotAbsolute(String),
    #[error("--volume {0:?} is given twice")]
    Twice(String),
    #[error("--listen {0:?} is not an address with a port, such as 127.0.0.1:1251 or [::]:1251")]
    NotAnAddress(String),
    #[error("no --volume is given: there is nothing to measure")]
    NoVolume,
}

/// Reads the arguments, the program's name left out.
pub(super) fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut args = args.map(|arg| arg.into_string().map_err(ArgsError::NotUtf8));
    let (mut listen, mut volumes) = (Listen::Default, Vec::<Volume>::new());
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
            "--listen" => listen = Listen::At(address(value("--listen")?)?),
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            _ => return Err(ArgsError::Unknown(arg)),
        }
    }
    if volumes.is_empty() { Err(ArgsError::NoVolume) } else { Ok(Command::Run(Config { listen, volumes })) }
}

fn volume(text: String, known: &[Volume]) -> Result<Volume, ArgsError> {
    let (claim, path) = match text.split_once('=') {
        Some((claim, path)) if !claim.is_empty() && !path.is_empty() => (claim.to_owned(), PathBuf::from(path)),
        Some(_) | None => return Err(ArgsError::NotAVolume(text)),
    };
    if !path.is_absolute() {
        return Err(ArgsError::NotAbsolute(text));
    }
    if known.iter().any(|volume| volume.claim == claim) {
        return Err(ArgsError::Twice(claim));
    }
    Ok(Volume { claim, path })
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

    fn config(listen: Listen, volumes: &[(&str, &str)]) -> Command {
        let volume = |(claim, path): &(&str, &str)| Volume { claim: (*claim).to_owned(), path: path.into() };
        Command::Run(Config { listen, volumes: volumes.iter().map(volume).collect() })
    }

    #[test]
    fn volumes_and_address_are_read_in_either_spelling() {
        let check = |line: &[&str], expected: Command| assert_eq!(parsed(line), Ok(expected), "{line:?}");
        let local = Listen::At(SocketAddr::from(([127, 0, 0, 1], 80)));
        check(&["--volume", "a-0=/a"], config(Listen::Default, &[("a-0", "/a")]));
        check(&["--volume=a-0=/a", "--volume=b=/b=c"], config(Listen::Default, &[("a-0", "/a"), ("b", "/b=c")]));
        check(&["--listen", "127.0.0.1:80", "--volume", "a=/a"], config(local.clone(), &[("a", "/a")]));
        check(&["--listen=127.0.0.1:80", "--volume", "a=/a"], config(local, &[("a", "/a")]));
        check(&["--help"], Command::Help);
        check(&["--volume", "a=/a", "--version"], Command::Version);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_reason() {
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
