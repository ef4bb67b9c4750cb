//! The query of a held request for the usage of volumes, `GET /disk?wait=<seconds>&full=<percent>`: the operator writes
//! it, and the agent parses it.

use std::fmt;

use super::percent::Percent;

/// What a held request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldQuery {
    /// The agent answers after this time at the latest, seconds: 1 to [`HeldQuery::MAX_WAIT`].
    pub wait: u32,
    /// The agent answers as soon as a volume reaches this share of its bytes or inodes: above 0%, at most 100%.
    pub full: Percent,
}

/// A query that has only one of the two parameters, one of them twice, or an invalid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid query; use /disk?wait=<seconds, 1 to {max}>&full=<percent, above 0 and at most 100>, such as \
     /disk?wait=55&full=80, or /disk alone",
    max = HeldQuery::MAX_WAIT
)]
pub struct InvalidQuery;

impl HeldQuery {
    /// The longest wait, seconds. A client that gets no answer within a minute knows that the agent, or the way to it, is
    /// gone, and no load balancer or proxy closes a connection that is idle for so short a time.
    pub const MAX_WAIT: u32 = 60;

    /// Parses the part of a request target behind the `?`. `None`: neither parameter occurs, so it is an ordinary request.
    ///
    /// # Errors
    /// If it is not the form that [`InvalidQuery`] describes. Parameters with other names are ignored.
    pub fn parse(query: &str) -> Result<Option<Self>, InvalidQuery> {
        let (mut wait, mut full) = (None, None);
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let is_repeated = match name {
                "wait" => wait.replace(seconds(value)?).is_some(),
                "full" => full.replace(share(value)?).is_some(),
                _ => false,
            };
            if is_repeated {
                return Err(InvalidQuery);
            }
        }
        match (wait, full) {
            (None, None) => Ok(None),
            (Some(wait), Some(full)) => Ok(Some(Self { wait, full })),
            (Some(_), None) | (None, Some(_)) => Err(InvalidQuery),
        }
    }
}

impl fmt::Display for HeldQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wait={}&full={}", self.wait, self.full.to_string().trim_end_matches('%'))
    }
}

fn seconds(value: &str) -> Result<u32, InvalidQuery> {
    // `parse` accepts a plus sign.
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = value.parse().ok().filter(|seconds| is_plain && (1..=HeldQuery::MAX_WAIT).contains(seconds));
    seconds.ok_or(InvalidQuery)
}

fn share(value: &str) -> Result<Percent, InvalidQuery> {
    let share: Percent = format!("{value}%").parse().map_err(|_| InvalidQuery)?;
    if Percent(0) < share && share <= Percent::whole(100) { Ok(share) } else { Err(InvalidQuery) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_parsed_and_printed_alike() {
        let check = |text: &str, wait: u32, full: u32| {
            let query = HeldQuery { wait, full: Percent(full) };
            assert_eq!(HeldQuery::parse(text), Ok(Some(query)), "{text}");
            assert_eq!(HeldQuery::parse(&query.to_string()), Ok(Some(query)), "{text}");
        };
        check("wait=55&full=80", 55, 80_000);
        check("full=80.5&wait=1", 1, 80_500);
        check("wait=60&full=100", 60, 100_000);
        check("wait=5&full=0.001", 5, 1);
        check("wait=05&full=080.500", 5, 80_500);
        check("pretty&wait=5&x=y&full=9&", 5, 9_000);
        assert_eq!(HeldQuery { wait: 55, full: Percent(80_250) }.to_string(), "wait=55&full=80.25");
    }

    #[test]
    fn a_query_without_the_parameters_is_an_ordinary_request() {
        for text in ["", "pretty", "pretty=1&x", "Wait=5", "waits=5&fully=3", "&&", "=", "%77ait=5"] {
            assert_eq!(HeldQuery::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn an_invalid_query_is_rejected_with_the_form_to_use() {
        let values = [
            "wait=-1&full=80",
            "wait=0&full=80",
            "wait=61&full=80",
            "wait=99999999&full=80",
            "wait=99999999999999999999&full=80",
            "wait=+5&full=80",
            "wait=5s&full=80",
            "wait=5.0&full=80",
            "wait=&full=80",
            "wait&full=80",
            "wait=%35&full=80",
            "wait=5&full=abc",
            "wait=5&full=0",
            "wait=5&full=0.000",
            "wait=5&full=-1",
            "wait=5&full=100.001",
            "wait=5&full=101",
            "wait=5&full=99999999999999999999",
            "wait=5&full=80%",
            "wait=5&full=80%25",
            "wait=5&full=80.1234",
            "wait=5&full=.5",
            "wait=5&full=80.",
            "wait=5&full=NaN",
            "wait=5&full=",
            "wait=5&full",
        ];
        let parameters =
            ["wait=5", "full=80", "wait=5&wait=5&full=80", "wait=5&full=80&full=80", "wait=5;full=80", "wait=5&wait=6"];
        for text in values.into_iter().chain(parameters) {
            assert_eq!(HeldQuery::parse(text), Err(InvalidQuery), "{text}");
        }
        assert_eq!(
            InvalidQuery.to_string(),
            "invalid query; use /disk?wait=<seconds, 1 to 60>&full=<percent, above 0 and at most 100>, such as \
             /disk?wait=55&full=80, or /disk alone"
        );
    }
}
