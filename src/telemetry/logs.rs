//! The log: one JSON object a line on stderr, or text.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One object a line, for programs.
    #[default]
    Json,
    /// Text, for people.
    Text,
}

/// The default filter: lines from INFO on. kube logs each failed request a second time, as an error of its own.
pub const DEFAULT_FILTER: &str = "info,kube_client::client::builder=off";

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error("failed to parse the log filter {0:?}; use for example `info` or `warn,rso=debug`")]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    /// Logging has started already.
    #[error("failed to start logging")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(format!("{text:?} is not a log format; use json or text")),
        }
    }
}

/// Starts logging for the whole process. `filter` has the syntax of `RUST_LOG`; empty or `None`: the default.
///
/// # Errors
/// When the filter cannot be parsed, or logging has started already.
pub fn init(format: Format, filter: Option<&str>) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = self::filter(filter)?;
    // A line that cannot be written is lost: reporting it would panic, because the report would go to stderr too.
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let started = match format {
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()
        }
        Format::Text => {
            let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.compact().with_ansi(color).finish().try_init()
        }
    };
    started.map_err(LogError::Twice)
}

fn filter(text: Option<&str>) -> Result<EnvFilter, LogError> {
    let text = text.filter(|text| !text.trim().is_empty()).unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder().parse(text).map_err(|error| LogError::Filter(text.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_parsed_or_rejected_with_an_example() {
        let check = |text: Option<&str>, expected: Option<&str>| {
            let read = filter(text).map(|filter| filter.to_string());
            assert_eq!(read.ok().as_deref(), expected, "{text:?}");
        };
        check(Some("debug"), Some("debug"));
        check(Some("rso=debug"), Some("rso=debug"));
        check(Some("a=b=c"), None);
        assert!(filter(None).is_ok() && filter(Some(" ")).is_ok());
        assert!(filter(Some("a=b=c")).unwrap_err().to_string().contains("warn,rso=debug"));
    }

    #[test]
    fn a_format_has_two_names() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("text".parse(), Ok(Format::Text));
        assert!("yaml".parse::<Format>().is_err());
    }
}
