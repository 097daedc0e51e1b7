//! Every status and error body in one place (RFC 9457; RFC 6749 section 5.2 for the OAuth endpoints).
//!
//! A problem tells what is wrong with the request, in words of ours. It never carries the text of an
//! inner error, never repeats a value that was sent, and tells nothing about what another caller owns.
//! Every 401 has the same body, whatever was wrong: the log knows, the caller does not.

mod fault;

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::reply::Reply;
use crate::app::Failure;
use crate::rules::{Conflict, Reason, Refusal};
use crate::store::WriteError;

/// Seconds after which trying again is worth it when the store cannot be read or written.
const UNAVAILABLE_RETRY_SECONDS: u64 = 1;

/// Seconds after which a full queue is worth another try.
const BUSY_RETRY_SECONDS: u64 = 1;

/// The challenge of a 401 to a request that carried no credential (RFC 6750 section 3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"bearerd\"");
/// The challenge of a 401 to a request whose credential was no good (RFC 6750 section 3.1).
const CHALLENGE_INVALID: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"bearerd\", error=\"invalid_token\"");
/// The challenge to an OAuth client that came with a name and a secret.
const CHALLENGE_BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"bearerd\"");

/// Words that an answer shows: fixed ones, or ones made of fixed ones and of names that were judged safe.
pub type Words = Cow<'static, str>;

/// What was presented with a request that is answered 401. It decides the challenge, never the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// No credential at all.
    Nothing,
    /// A bearer or a cookie that is not good.
    Bearer,
    /// An OAuth client's name and secret that are not good.
    Client,
}

/// Why a request is not answered as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// 400: refused before any route saw it, or by a route for a reason without a field.
    BadRequest(Words),
    /// 400: the body is not one JSON object with each member once.
    InvalidJson,
    /// 400: a field that is not known here, or whose value is not one it can have.
    InvalidField {
        /// The field's name, or `None` where the name itself is not fit to be repeated.
        field: Option<Words>,
        /// What would be right, such as the bound: `must be 1 to 200 characters`.
        detail: Words,
    },
    /// 400: a field that has to be there is not.
    MissingField(Words),
    /// 400: a text sent as the thing to act on, not as a credential, is no token of ours.
    InvalidToken,
    /// 401: no credential, or one that is not good here.
    Unauthenticated(Presented),
    /// 403: known, and may not; with the scope that would have been enough, where it is one.
    Forbidden {
        /// The missing scope.
        scope: Option<&'static str>,
    },
    /// 404: not there, or not the caller's to know.
    NotFound,
    /// 405: with what the target does allow.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: Words,
    },
    /// 408: the request was not all there in time.
    RequestTimeout,
    /// 409: the state of things forbids it.
    Conflict(Words),
    /// 409: another host has that name.
    HostExists,
    /// 409: another user has that address.
    EmailExists,
    /// 409: another client has that slug.
    SlugExists,
    /// 409: the first admin was made long ago.
    SetupComplete,
    /// 409: nobody would be left to manage the daemon.
    LastAdmin,
    /// 413: the body is over its limit.
    TooLarge,
    /// 414: the request's target alone is over the limit of the head.
    TargetTooLong,
    /// 415: the body is not of the type, or in the coding, that the route reads.
    UnsupportedMediaType,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed,
    /// 422: what a reload found is wrong; a line for each fault, for those who configure the daemon.
    ReloadRefused(Vec<String>),
    /// 429: too many, too fast, or a full queue.
    RateLimited {
        /// When to come back.
        retry_after_seconds: u64,
    },
    /// 431: the head is over its limit.
    HeadTooLarge,
    /// 500: a fault of ours.
    Internal,
    /// 503: the store cannot answer now.
    Unavailable,
    /// 507: the disk is full; nothing can be changed.
    StorageFull,
}

/// RFC 9457's members, and three of our own.
#[derive(Serialize)]
struct Shown<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'a [String],
}

impl Problem {
    /// A field whose value is not one it can have.
    pub fn field(field: impl Into<Words>, detail: impl Into<Words>) -> Self {
        Self::InvalidField { field: Some(field.into()), detail: detail.into() }
    }

    /// A field that has to be there and is not.
    pub fn missing(field: impl Into<Words>) -> Self {
        Self::MissingField(field.into())
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.terms().0
    }

    /// The stable word that a program can act on.
    pub fn code(&self) -> &'static str {
        self.terms().1
    }

    /// Status, code and title of each kind: the table that clients may build on.
    fn terms(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest(_) => (S::BAD_REQUEST, "bad_request", "Bad request"),
            Self::InvalidJson => (S::BAD_REQUEST, "invalid_json", "Invalid JSON"),
            Self::InvalidField { .. } => (S::BAD_REQUEST, "invalid_field", "Invalid field"),
            Self::MissingField(_) => (S::BAD_REQUEST, "missing_field", "Missing field"),
            Self::InvalidToken => (S::BAD_REQUEST, "invalid_token", "Invalid token"),
            Self::Unauthenticated(_) => (S::UNAUTHORIZED, "unauthenticated", "Unauthenticated"),
            Self::Forbidden { .. } => (S::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotFound => (S::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed { .. } => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
            }
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "request_timeout", "Request timeout"),
            Self::Conflict(_) => (S::CONFLICT, "conflict", "Conflict"),
            Self::HostExists => (S::CONFLICT, "host_exists", "Host exists"),
            Self::EmailExists => (S::CONFLICT, "email_exists", "E-mail exists"),
            Self::SlugExists => (S::CONFLICT, "slug_exists", "Slug exists"),
            Self::SetupComplete => (S::CONFLICT, "setup_complete", "Setup complete"),
            Self::LastAdmin => (S::CONFLICT, "last_admin", "Last admin"),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too_large", "Too large"),
            Self::TargetTooLong => (S::URI_TOO_LONG, "too_large", "Too large"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type")
            }
            Self::ExpectationFailed => (S::EXPECTATION_FAILED, "expectation_failed", "Expectation failed"),
            Self::ReloadRefused(_) => (S::UNPROCESSABLE_ENTITY, "reload_refused", "Reload refused"),
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
            Self::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", "Too large"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
            Self::StorageFull => (S::INSUFFICIENT_STORAGE, "storage_full", "Storage full"),
        }
    }

    /// What a person reads. Fixed words, but where the variant brings its own.
    fn detail(&self) -> Words {
        Words::Borrowed(match self {
            Self::InvalidField { field: Some(field), detail } => return format!("{field}: {detail}").into(),
            Self::BadRequest(detail)
            | Self::Conflict(detail)
            | Self::InvalidField { field: None, detail } => {
                return detail.clone();
            }
            Self::ReloadRefused(faults) => return faults.join("\n").into(),
            Self::MissingField(field) => return format!("The field {field} is required.").into(),
            Self::InvalidJson => {
                "The body has to be one JSON object in UTF-8, nested at most 32 deep, with each member once."
            }
            Self::InvalidToken => "That is not a token of this daemon.",
            Self::Unauthenticated(_) => "The request carries no credential that is good here.",
            Self::Forbidden { .. } => "The caller may not do this.",
            Self::NotFound => "There is nothing here for the caller.",
            Self::MethodNotAllowed { .. } => {
                "The target does not answer this method; Allow lists those that it does."
            }
            Self::RequestTimeout => "The request was not complete in time.",
            Self::HostExists => "A host of that name is enrolled.",
            Self::EmailExists => "A user with that e-mail address exists.",
            Self::SlugExists => "A client with that slug exists.",
            Self::SetupComplete => "The first admin has been made.",
            Self::LastAdmin => "The last active admin cannot be removed.",
            Self::TooLarge => "The body is over its limit.",
            Self::TargetTooLong => "The target of the request is over its limit.",
            Self::UnsupportedMediaType => {
                "The body is not of the media type that is read here, or it is encoded."
            }
            Self::ExpectationFailed => "The only expectation that can be met is 100-continue.",
            Self::RateLimited { .. } => "Try again after a while.",
            Self::HeadTooLarge => "The headers of the request are over their limit.",
            Self::Internal => "Something went wrong here.",
            Self::Unavailable => "This cannot be answered now.",
            Self::StorageFull => "The disk is full: nothing can be changed until there is room.",
        })
    }

    /// The field that the problem is about, where it is about one that may be named.
    fn about(&self) -> Option<&str> {
        if let Self::InvalidField { field: Some(field), .. } | Self::MissingField(field) = self {
            Some(field)
        } else {
            None
        }
    }

    /// Adds the headers that belong to the status, whatever the shape of the body.
    fn headers_onto(&self, reply: Reply) -> Reply {
        if let Self::Unauthenticated(presented) = self {
            challenged(reply, *presented)
        } else if let Self::Forbidden { scope: Some(scope) } = self {
            reply.said(
                WWW_AUTHENTICATE,
                &format!("Bearer realm=\"bearerd\", error=\"insufficient_scope\", scope=\"{scope}\""),
            )
        } else if let Self::MethodNotAllowed { allow } = self {
            reply.said(ALLOW, allow)
        } else if let Self::RateLimited { retry_after_seconds } = self {
            reply.header(RETRY_AFTER, HeaderValue::from(*retry_after_seconds))
        } else if matches!(self, Self::Unavailable) {
            reply.header(RETRY_AFTER, HeaderValue::from(UNAVAILABLE_RETRY_SECONDS))
        } else if matches!(self, Self::RequestTimeout) {
            // The rest of the request may still be under way; RFC 9110 section 15.5.9 wants it said.
            reply.close()
        } else {
            reply
        }
    }

    /// The answer, in RFC 9457's shape. Nobody may keep it.
    pub fn into_reply(self) -> Reply {
        let (status, code, title) = self.terms();
        let detail = self.detail();
        let r#type = format!("urn:bearerd:problem:{code}");
        let faults = if let Self::ReloadRefused(faults) = &self { faults.as_slice() } else { &[] };
        let shown = Shown {
            r#type,
            title,
            status: status.as_u16(),
            detail: &detail,
            code,
            field: self.about(),
            faults,
        };
        let reply = match serde_json::to_vec(&shown) {
            Ok(text) => Reply::text(status, "application/problem+json", text),
            Err(_) => Reply::empty(status),
        };
        self.headers_onto(reply).no_store()
    }
}

/// Adds the challenges of a 401. `Bearer` is always among them (RFC 6750 section 3); a client that came
/// with a name and a secret is also told of the scheme it used (RFC 6749 section 5.2).
fn challenged(reply: Reply, presented: Presented) -> Reply {
    match presented {
        Presented::Nothing => reply.header(WWW_AUTHENTICATE, CHALLENGE),
        Presented::Bearer => reply.header(WWW_AUTHENTICATE, CHALLENGE_INVALID),
        Presented::Client => {
            reply.header(WWW_AUTHENTICATE, CHALLENGE).also(WWW_AUTHENTICATE, CHALLENGE_BASIC)
        }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        problem.into_reply()
    }
}

/// What an operation that has no answer of its own is answered with. The one place where a refusal of the
/// rules becomes a status.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Busy | Failure::Store(WriteError::Busy) => {
                Self::RateLimited { retry_after_seconds: BUSY_RETRY_SECONDS }
            }
            Failure::Store(WriteError::Full) => Self::StorageFull,
            Failure::Store(WriteError::Unavailable) | Failure::NoRandomness => Self::Unavailable,
            Failure::Store(WriteError::Internal) | Failure::Internal => Self::Internal,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid { field, why } => Self::field(field, why),
            Refusal::Missing(field) => Self::missing(field),
            Refusal::Denied(denied) if denied.reason == Reason::Absent => {
                Self::Unauthenticated(Presented::Nothing)
            }
            Refusal::Denied(_) => Self::Unauthenticated(Presented::Bearer),
            Refusal::Forbidden(_) => Self::Forbidden { scope: None },
            Refusal::NotFound => Self::NotFound,
            Refusal::Conflict(conflict) => conflict.into(),
            Refusal::RateLimited { after_seconds } => {
                Self::RateLimited { retry_after_seconds: after_seconds }
            }
            Refusal::Fault(fault) => {
                fault::tell(fault);
                Self::Unavailable
            }
        }
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::HostExists => Self::HostExists,
            Conflict::EmailExists => Self::EmailExists,
            Conflict::SlugExists => Self::SlugExists,
            Conflict::SetupComplete => Self::SetupComplete,
            Conflict::LastAdmin => Self::LastAdmin,
            Conflict::NotActive
            | Conflict::ServiceUser
            | Conflict::UserInactive
            | Conflict::ClientInactive => Self::Conflict(conflict.to_string().into()),
        }
    }
}

/// A problem as the OAuth endpoints tell it: the same status and headers, RFC 6749's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    problem: Problem,
    error: &'static str,
}

#[derive(Serialize)]
struct OAuthShown<'a> {
    error: &'a str,
    error_description: &'a str,
}

impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        // The registered words: RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1.
        let error = match problem.status() {
            StatusCode::UNAUTHORIZED => "invalid_client",
            StatusCode::FORBIDDEN => "insufficient_scope",
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::INSUFFICIENT_STORAGE => "temporarily_unavailable",
            StatusCode::INTERNAL_SERVER_ERROR => "server_error",
            _ => "invalid_request",
        };
        Self { problem, error }
    }
}

impl OAuthError {
    /// RFC 7009 section 2.2.1: the kind of token that was presented is not one that can be revoked so.
    pub fn unsupported_token_type() -> Self {
        let problem = Problem::BadRequest("Tokens of this kind cannot be revoked here.".into());
        Self { problem, error: "unsupported_token_type" }
    }

    /// The answer, with `no-store` for clients of any age.
    pub fn into_reply(self) -> Reply {
        let detail = oauth_words(&self.problem.detail());
        let shown = OAuthShown { error: self.error, error_description: &detail };
        self.problem.headers_onto(Reply::json(self.problem.status(), &shown)).no_store_oauth()
    }
}

impl From<OAuthError> for Reply {
    fn from(error: OAuthError) -> Self {
        error.into_reply()
    }
}

/// RFC 6749 section 5.2 keeps quotes, backslashes and what is not ASCII out of a description.
fn oauth_words(words: &str) -> String {
    words.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

#[cfg(test)]
mod tests;
