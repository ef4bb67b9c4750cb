//! What can go wrong with a request?

use std::time::Duration;

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WriteFault {
    /// SIGKILL for the operator; the write never leaves it.
    KillBefore,
    /// The write is carried out, then SIGKILL.
    KillAfter,
    /// The write is carried out, then the connection is reset.
    ResetAfter,
    /// The write is carried out and answered 504.
    GatewayTimeoutAfter,
    /// The write is carried out and answered 500.
    InternalErrorAfter,
    /// Answered 409; nothing is carried out.
    ConflictInstead,
    /// Answered 429 with `Retry-After`; nothing is carried out.
    TooManyRequestsInstead,
    /// Answered 503; nothing is carried out.
    UnavailableInstead,
    /// Held until the operator has been killed; arrives after its death.
    StallThenKill,
    /// Held until the operator has given up on it, and a moment more; then it arrives.
    StallThenDeliver,
    /// Carried out twice; the operator gets the second answer.
    Twice,
    /// Carried out; half of the answer arrives.
    TruncatedAnswer,
    /// Carried out; the answer is as if a policy had made something else of it.
    AnotherBody,
}

impl WriteFault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::KillBefore,
        Self::KillAfter,
        Self::ResetAfter,
        Self::GatewayTimeoutAfter,
        Self::InternalErrorAfter,
        Self::ConflictInstead,
        Self::TooManyRequestsInstead,
        Self::UnavailableInstead,
        Self::StallThenKill,
        Self::StallThenDeliver,
        Self::Twice,
        Self::TruncatedAnswer,
        Self::AnotherBody,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillBefore => "killed before",
            Self::KillAfter => "killed after",
            Self::ResetAfter => "reset after",
            Self::GatewayTimeoutAfter => "504 after",
            Self::InternalErrorAfter => "500 after",
            Self::ConflictInstead => "409 instead",
            Self::TooManyRequestsInstead => "429 instead",
            Self::UnavailableInstead => "503 instead",
            Self::StallThenKill => "stalled, killed, then delivered",
            Self::StallThenDeliver => "stalled, given up, then delivered",
            Self::Twice => "delivered twice",
            Self::TruncatedAnswer => "answer truncated",
            Self::AnotherBody => "answer of another body",
        }
    }
}

/// What happens to one read (a GET, a LIST or a dry run).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReadFault {
    /// The connection is reset.
    Reset,
    /// 500.
    InternalError,
    /// 429 with `Retry-After`.
    TooManyRequests,
    /// 410.
    Gone,
    /// No answer until the operator gives up.
    Silence,
    /// Half of the answer arrives.
    Truncated,
    /// A dry run of a write to the set is answered as if a policy made something else of it. Of what is read nothing is told
    /// that is not so.
    AnotherBody,
}

impl ReadFault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Reset,
        Self::InternalError,
        Self::TooManyRequests,
        Self::Gone,
        Self::Silence,
        Self::Truncated,
        Self::AnotherBody,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::InternalError => "500",
            Self::TooManyRequests => "429",
            Self::Gone => "410",
            Self::Silence => "silence",
            Self::Truncated => "truncated",
            Self::AnotherBody => "of another body",
        }
    }
}

/// What happens to one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchFault {
    /// Dropped in the middle of its first line.
    Dropped,
    /// 410 when it is opened.
    GoneAtOnce,
    /// Its first event is replaced by an ERROR of code 410.
    GoneLater,
    /// Its first event is replaced by an ERROR of code 500.
    Error,
    /// It tells nothing for a while, and is then dropped.
    Silence,
}

impl WatchFault {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Dropped, Self::GoneAtOnce, Self::GoneLater, Self::Error, Self::Silence];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "watch dropped in a line",
            Self::GoneAtOnce => "watch 410 when opened",
            Self::GoneLater => "watch 410 in the stream",
            Self::Error => "watch error event",
            Self::Silence => "watch silent",
        }
    }
}

/// For how long a silent watch tells nothing.
pub const SILENCE: Duration = Duration::from_secs(12);

/// The one fault of a run. Numbers count from 1 within their class, over all operators of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// At a write.
    Write(usize, WriteFault),
    /// At a read.
    Read(usize, ReadFault),
    /// At a watch.
    Watch(usize, WatchFault),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write(at, kind) => write!(f, "write {at} {}", kind.as_str()),
            Self::Read(at, kind) => write!(f, "read {at} {}", kind.as_str()),
            Self::Watch(at, kind) => write!(f, "watch {at} {}", kind.as_str()),
        }
    }
}
