//! The mapping of a failed response to an outcome or an error.

use std::time::Duration;

use http::{StatusCode, header};
use kube::core::response::Status;

use super::error::{Call, Error, Outcome};

/// `Retry-After` in whole seconds; Kubernetes never sends a date.
pub(super) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The server's `Status`; of any other body, which a proxy may have sent, the first characters.
pub(super) fn status(code: StatusCode, body: &[u8]) -> Status {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if status.code == code.as_u16() => status,
        Ok(_) | Err(_) => {
            let words: String = String::from_utf8_lossy(body).trim().chars().take(300).collect();
            Status::failure(&words, "").with_code(code.as_u16())
        }
    }
}

/// The outcome of a status of 400 and above, or the error.
pub(super) fn outcome<T>(call: Call, status: &Status, after: Option<Duration>) -> Result<Outcome<T>, Error> {
    match status.code {
        404 => Ok(Outcome::NotFound),
        409 if status.is_already_exists() => Ok(Outcome::AlreadyExists),
        409 => Ok(Outcome::Conflict(status.message.clone())),
        _ => {
            let own = status.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
            let own = own.filter(|seconds| *seconds > 0).map(Duration::from_secs);
            Err(Error::from_status(call, status, after.or(own)))
        }
    }
}
