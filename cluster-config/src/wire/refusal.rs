//! Refusals: what a user is told whose request was not carried out.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was refused; the code is what programs act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The bytes are not a frame, or its body is not a message.
    MalformedFrame,
    /// The frame or a part of it is over its limit.
    TooLarge,
    /// The frame's protocol version is not spoken here.
    UnknownVersion,
    /// The certificate's role may not send this request.
    WrongRole,
    /// A field's value cannot be used (a NaN, a wrong template length, an unknown model ...).
    BadValue,
    /// No such journey, gallery or node.
    NotFound,
    /// The journey is not open for this (closed, being destroyed, gallery not built yet).
    NotOpen,
    /// The node's queues are full; nothing was begun.
    Busy,
    /// No replica, no quorum or no leader within the deadline.
    Unavailable,
    /// Another request got there first with other content.
    Conflict,
    /// The node met a fault of its own.
    Internal,
    /// The node that asks is no member of the cluster.
    NotMember,
    /// The device that asks is not registered, or retired.
    NotRegistered,
    /// The certificate is revoked.
    Revoked,
}

impl RefusalCode {
    /// The code's name in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedFrame => "malformed_frame",
            Self::TooLarge => "too_large",
            Self::UnknownVersion => "unknown_version",
            Self::WrongRole => "wrong_role",
            Self::BadValue => "bad_value",
            Self::NotFound => "not_found",
            Self::NotOpen => "not_open",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Internal => "internal",
            Self::NotMember => "not_member",
            Self::NotRegistered => "not_registered",
            Self::Revoked => "revoked",
        }
    }

    /// Whether the same request may succeed when it is sent again, to another node too.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable | Self::Internal)
    }

    /// Whether the caller has to change the request (exit code 2 on the command line).
    pub fn is_callers(self) -> bool {
        !self.retryable()
    }
}

/// What the caller can do about a refusal.
///
/// It is written by hand for the caller: an error's text says what is wrong, and belongs to the problem. So a `String`
/// does not turn into a fix by itself:
///
/// ```compile_fail
/// let error = "x".parse::<u8>().unwrap_err();
/// let fix: cluster_config::wire::Fix = error.to_string().into();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fix(Cow<'static, str>);

impl Fix {
    /// A fix that names numbers, ids or nodes; never an error's text.
    pub fn with(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Fix {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A request that was not carried out: what is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{place}: {problem}; {fix} ({})", code.as_str())]
pub struct Refusal {
    /// What programs act on.
    pub code: RefusalCode,
    /// The place: field, byte, journey, node, gallery.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What the caller can do.
    pub fix: Fix,
}

impl Refusal {
    /// A refusal of `code`: at `place` there is this `problem`, and the caller can do what `fix` says.
    pub fn new(code: RefusalCode, place: impl Into<String>, problem: impl Into<String>, fix: impl Into<Fix>) -> Self {
        Self { code, place: place.into(), problem: problem.into(), fix: fix.into() }
    }
}
