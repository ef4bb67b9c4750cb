//! The results of a request: outcomes, errors, and what the caller may do next.

use std::fmt;
use std::time::Duration;

use kube::core::response::Status;

/// The result of a request whose preconditions may not hold. None of these is an error: observe again and decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It succeeded.
    Done(T),
    /// 404: the object, or for a create its namespace, does not exist.
    NotFound,
    /// 409: a precondition (UID, resourceVersion) did not hold. With the server's message.
    Conflict(String),
    /// 409 on create: the name is in use.
    AlreadyExists,
}

impl<T> Outcome<T> {
    /// The result, if it succeeded.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            Self::NotFound | Self::Conflict(_) | Self::AlreadyExists => None,
        }
    }
}

/// A request to the API server, for messages: `patch persistentvolumeclaims shop/data-db-0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The verb in RBAC rules.
    pub verb: &'static str,
    /// The resource in RBAC rules, with its group: `statefulsets.apps`.
    pub resource: String,
    /// The object: `statefulsets shop/db`.
    pub object: String,
    /// Whether the server could have changed something.
    pub effect: Effect,
}

/// Whether a request can change an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads, and writes with `dryRun`.
    Reads,
    /// Writes.
    Writes,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.object)
    }
}

/// What the caller may do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing happened, and a retry may succeed: not before `after`, if the server sent it (at most 60 s).
    Retry {
        /// The delay that the server sent.
        after: Option<Duration>,
    },
    /// A write may or may not have happened: observe before anything else.
    Unknown,
    /// The same request fails again until a user, or another request, changes something.
    Permanent,
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401, or 403 by RBAC.
    #[error("failed to {call}: not allowed; grant the verb {} on {}: {message}", .call.verb, .call.resource)]
    NotAllowed {
        /// The request.
        call: Call,
        /// The server's message.
        message: String,
    },
    /// 403 by a quota, a policy, or an admission plugin.
    #[error("failed to {call}: refused by the cluster: {message}")]
    Refused {
        /// The request.
        call: Call,
        /// The server's message.
        message: String,
    },
    /// 400, 422, and every other 4xx: the object is invalid.
    #[error("failed to {call}: the API server does not accept it ({code}): {message}")]
    Invalid {
        /// The request.
        call: Call,
        /// HTTP status.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// The request could not be sent: it is too large, or cannot be serialized. The API server did not receive it.
    #[error("failed to {call}: {message}; nothing was sent")]
    Unsent {
        /// The request.
        call: Call,
        /// The cause.
        message: String,
    },
    /// 429, and 410 (a list or watch that began too long ago): nothing happened.
    #[error("failed to {call}: the API server asks to retry later ({code}): {message}")]
    Busy {
        /// The request.
        call: Call,
        /// HTTP status.
        code: u16,
        /// The server's message.
        message: String,
        /// `Retry-After`, at most a minute.
        after: Option<Duration>,
    },
    /// 5xx.
    #[error("failed to {call}: the API server failed ({code}): {message}")]
    Server {
        /// The request.
        call: Call,
        /// HTTP status.
        code: u16,
        /// The server's message.
        message: String,
        /// `Retry-After`, at most a minute.
        after: Option<Duration>,
    },
    /// No response, or an incomplete one: network, TLS, credential plugin, deadline.
    #[error("failed to {call}: no answer from the API server; check that it is reachable")]
    NoAnswer {
        /// The request.
        call: Call,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request succeeded, but its response cannot be parsed.
    #[error("failed to parse the response to {call}")]
    Unreadable {
        /// The request.
        call: Call,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// The largest `Retry-After` that is respected.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

impl Error {
    /// What the caller may do next.
    pub fn class(&self) -> Class {
        match self {
            Self::NotAllowed { .. } | Self::Refused { .. } | Self::Invalid { .. } | Self::Unsent { .. } => {
                Class::Permanent
            }
            Self::Busy { after, .. } => Class::Retry { after: *after },
            Self::Server { call, after, .. } => call.class_without_answer(*after),
            Self::NoAnswer { call, .. } | Self::Unreadable { call, .. } => call.class_without_answer(None),
        }
    }

    /// The request that failed.
    pub fn call(&self) -> &Call {
        match self {
            Self::NotAllowed { call, .. }
            | Self::Refused { call, .. }
            | Self::Invalid { call, .. }
            | Self::Unsent { call, .. }
            | Self::Busy { call, .. }
            | Self::Server { call, .. }
            | Self::NoAnswer { call, .. }
            | Self::Unreadable { call, .. } => call,
        }
    }

    /// Maps a status of 400 and above that is not an [`Outcome`] to an error.
    pub(super) fn from_status(call: Call, status: &Status, after: Option<Duration>) -> Self {
        let (code, message) = (status.code, words(status));
        let after = after.map(|wait| wait.min(MAX_RETRY_AFTER));
        match code {
            401 => Self::NotAllowed { call, message },
            403 if is_by_rbac(&call, &message) => Self::NotAllowed { call, message },
            403 => Self::Refused { call, message },
            410 | 429 => Self::Busy { call, code, message, after },
            500.. => Self::Server { call, code, message, after },
            _ => Self::Invalid { call, code, message },
        }
    }
}

impl Call {
    /// The class of a request that may or may not have been carried out.
    fn class_without_answer(&self, after: Option<Duration>) -> Class {
        match self.effect {
            Effect::Reads => Class::Retry { after },
            Effect::Writes => Class::Unknown,
        }
    }
}

/// The whole chain of an error on one line, `a: b: c`, without repetitions.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

fn words(status: &Status) -> String {
    if status.message.is_empty() { status.reason.clone() } else { status.message.clone() }
}

/// RBAC reports `User "x" cannot patch resource "y" in API group …`. This selects only the advice in the message.
fn is_by_rbac(call: &Call, message: &str) -> bool {
    message.contains(&format!("cannot {} resource", call.verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(effect: Effect) -> Call {
        Call {
            verb: "patch",
            resource: "persistentvolumeclaims".into(),
            object: "persistentvolumeclaims shop/data-db-0".into(),
            effect,
        }
    }

    fn failed(code: u16, message: &str, effect: Effect, after: Option<u64>) -> Error {
        let status = Status::failure(message, "").with_code(code);
        Error::from_status(call(effect), &status, after.map(Duration::from_secs))
    }

    #[test]
    fn each_status_has_a_class() {
        let check = |code, effect, after, expected| {
            assert_eq!(failed(code, "no", effect, after).class(), expected, "{code} {effect:?}");
        };
        let retry = |seconds: Option<u64>| Class::Retry { after: seconds.map(Duration::from_secs) };
        check(400, Effect::Writes, None, Class::Permanent);
        check(401, Effect::Writes, None, Class::Permanent);
        check(403, Effect::Writes, None, Class::Permanent);
        check(422, Effect::Writes, None, Class::Permanent);
        check(429, Effect::Writes, Some(3), retry(Some(3)));
        check(429, Effect::Writes, Some(3600), retry(Some(60)));
        check(410, Effect::Reads, None, retry(None));
        check(500, Effect::Writes, None, Class::Unknown);
        check(503, Effect::Writes, Some(1), Class::Unknown);
        check(504, Effect::Writes, None, Class::Unknown);
        check(503, Effect::Reads, Some(1), retry(Some(1)));
        check(500, Effect::Reads, None, retry(None));
    }

    #[test]
    fn a_forbidden_request_names_the_missing_permission() {
        let message = r#"persistentvolumeclaims "data-db-0" is forbidden: User "system:serviceaccount:rso:rso" cannot patch resource "persistentvolumeclaims" in API group "" in the namespace "shop""#;
        let error = failed(403, message, Effect::Writes, None);
        assert!(matches!(error, Error::NotAllowed { .. }));
        assert!(error.to_string().starts_with(
            "failed to patch persistentvolumeclaims shop/data-db-0: not allowed; grant the verb patch on persistentvolumeclaims: "
        ));
    }

    #[test]
    fn a_quota_or_policy_is_not_a_missing_permission() {
        let error = failed(403, "persistentvolumeclaims \"x\" is forbidden: exceeded quota: q", Effect::Writes, None);
        assert!(matches!(error, Error::Refused { .. }));
    }

    #[test]
    fn a_chain_of_errors_has_no_repetitions() {
        let inner = std::io::Error::other("connection refused");
        let outer = Error::NoAnswer { call: call(Effect::Reads), source: Box::new(inner) };
        assert_eq!(
            chain(&outer),
            "failed to patch persistentvolumeclaims shop/data-db-0: no answer from the API server; check that it is reachable: connection refused"
        );
    }
}
