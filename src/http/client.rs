//! OAuth clients: services that send their name and secret as OAuth has it (RFC 6749, section 2.3.1), by
//! HTTP Basic or in the form. Everybody else who may ask sends a bearer, or comes by the admin socket.

use core::{fmt, net::IpAddr};
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use hyper::{header::AUTHORIZATION, http::request::Parts};
use zeroize::Zeroizing;

use super::{
    body::{Form, decode_form},
    caller,
    problem::{Presented, Problem},
    server::{Door, Facts, Peer},
};
use crate::{
    app::{App, Failure, Snapshot},
    rules::{
        Refusal,
        access::{Caller, Right},
    },
};

/// The longest name and secret together, encoded: what is longer is nobody's.
const BASIC_CHARS_MAX: usize = 8 * 1024;

/// Who the head of a request says is calling.
pub enum InHead {
    /// Whoever is at the admin socket. A client's credential that they sent as well is good.
    Local(Caller),
    /// Somebody with a good credential.
    Somebody(Caller),
    /// Nobody yet: no credential that counts here, from that address.
    Nobody(Option<IpAddr>),
}

impl InHead {
    /// The caller, where only the head can say who it is.
    pub fn into_caller(self) -> Caller {
        match self {
            Self::Local(caller) | Self::Somebody(caller) => caller,
            Self::Nobody(ip) => Caller::nobody(ip),
        }
    }
}

/// Who the head says is calling a route for OAuth clients, to make use of `right`. A credential that is sent
/// and wrong is refused even where none is needed: whoever sends one means to be somebody.
pub async fn of_head(
    app: &App,
    snapshot: &Arc<Snapshot>,
    right: Right,
    head: &Parts,
    facts: &Facts,
) -> Result<InHead, Problem> {
    let ip = caller::address(snapshot, head, facts);
    let client = match basic(head) {
        Some(basic) => {
            let found = app.identify_client(snapshot, &basic.name, &basic.secrets(), ip).await;
            Some(found.map_err(refused)?)
        }
        None => None,
    };
    if let (Door::Admin, Peer::Unix { uid, .. }) = (facts.door, &facts.peer) {
        return Ok(InHead::Local(Caller::local(*uid)));
    }
    if let Some(client) = client {
        return Ok(InHead::Somebody(client));
    }
    if caller::bearer(head).is_some() {
        return Ok(InHead::Somebody(caller::of(app, snapshot, right, head, facts).await?));
    }
    Ok(InHead::Nobody(ip))
}

/// Who the form says is calling: a name alone is no credential (RFC 6749, section 2.3.1), a secret alone is
/// a wrong one.
pub async fn of_form(
    app: &App,
    snapshot: &Arc<Snapshot>,
    form: &mut Form,
    ip: Option<IpAddr>,
) -> Result<Caller, Problem> {
    let Some(secret) = form.secret("client_secret") else { return Ok(Caller::nobody(ip)) };
    let name = form.text("client_id").unwrap_or_default();
    app.identify_client(snapshot, name, &[secret.expose()], ip).await.map_err(refused)
}

/// A caller who is known by the head sends no second credential (RFC 6749, section 2.3).
pub fn judge_single(form: &Form) -> Result<(), Problem> {
    if form.text("client_secret").is_some() {
        return Err(Problem::BadRequest("There is a credential in the head and another in the form.".into()));
    }
    Ok(())
}

fn refused(failure: Failure) -> Problem {
    match failure {
        Failure::Refused(Refusal::Denied(_)) => Problem::Unauthenticated(Presented::Client),
        other => other.into(),
    }
}

/// A name and a secret from `Authorization: Basic`.
#[derive(Default)]
pub struct Basic {
    name: String,
    /// Form-decoded, as OAuth has it.
    decoded: Option<Zeroizing<String>>,
    /// As it stands, as clients that never read that part send it.
    plain: Option<Zeroizing<String>>,
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Basic(..)")
    }
}

impl Basic {
    /// The name; empty where the credential cannot be read.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the secret may be: form-decoded, and as it stands if that is another; none where the credential
    /// cannot be read.
    pub fn secrets(&self) -> Vec<&str> {
        [&self.decoded, &self.plain].into_iter().flatten().map(|secret| secret.as_str()).collect()
    }
}

/// The Basic credential of a request; none where there is none. One that cannot be read is nobody's, and
/// refused like a wrong one.
pub fn basic(head: &Parts) -> Option<Basic> {
    let value = head.headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"basic") || rest.first().is_some_and(|byte| *byte != b' ') {
        return None;
    }
    let encoded = rest.get(1..).unwrap_or_default();
    Some(read_basic(encoded).unwrap_or_default())
}

fn read_basic(encoded: &[u8]) -> Option<Basic> {
    let encoded = core::str::from_utf8(encoded).ok().filter(|text| text.len() <= BASIC_CHARS_MAX)?;
    let text = Zeroizing::new(String::from_utf8(Base64::decode_vec(encoded).ok()?).ok()?);
    let (name, secret) = text.split_once(':')?;
    let decoded = decode_form(secret.as_bytes()).map(Zeroizing::new);
    let plain = decoded.as_ref().is_none_or(|decoded| decoded.as_str() != secret);
    Some(Basic {
        name: decode_form(name.as_bytes())?,
        decoded,
        plain: plain.then(|| Zeroizing::new(secret.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<(&str, &[&str])>) {
        let mut request = hyper::Request::new(());
        request.headers_mut().insert(AUTHORIZATION, header.parse().unwrap());
        let (head, ()) = request.into_parts();
        let found = basic(&head);
        let found = found.as_ref().map(|basic| (basic.name.as_str(), basic.secrets()));
        assert_eq!(found, expected.map(|(name, secrets)| (name, secrets.to_vec())), "{header}");
    }

    #[test]
    fn name_and_secret_are_form_decoded_and_a_plain_secret_counts_as_well() {
        // "scheduler:abc", "a%2Db:x%2By", "s:a+b", "s:a%b", "s:a:b"
        check("Basic c2NoZWR1bGVyOmFiYw==", Some(("scheduler", &["abc"])));
        check("bAsIc c2NoZWR1bGVyOmFiYw==", Some(("scheduler", &["abc"])));
        check("Basic YSUyRGI6eCUyQnk=", Some(("a-b", &["x+y", "x%2By"])));
        check("Basic czphK2I=", Some(("s", &["a b", "a+b"])));
        check("Basic czphJWI=", Some(("s", &["a%b"])));
        check("Basic czphOmI=", Some(("s", &["a:b"])));
    }

    #[test]
    fn what_cannot_be_read_is_nobodys_and_another_scheme_is_none() {
        for odd in
            ["Basic", "Basic ", "Basic !!!!", "Basic c2NoZWR1bGVyOmFiYw", "Basic Zm9v", "Basic  czphOmI="]
        {
            check(odd, Some(("", &[])));
        }
        check("Bearer c2NoZWR1bGVyOmFiYw==", None);
        check("Basics czphOmI=", None);
        check("Bas", None);
    }
}
