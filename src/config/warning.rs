//! What is allowed and should still be told: each a line for the log and for `bearerd check`.

use std::path::PathBuf;

use crate::settings::{Listen, PublicUrl, Retention, Scheme, Settings};

/// Less than this many seconds of audit log is told.
const RETENTION_SECONDS_SHORT: u64 = 24 * 60 * 60;

/// Something that works and is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A file with secrets that everybody can read.
    #[error("{} can be read by everybody; take that away with `chmod o-r`", .0.display())]
    Readable(PathBuf),
    /// A file that belongs to neither root nor the daemon.
    #[error("{} belongs to user {user}, who is neither root nor the one that this runs as", path.display())]
    Strangers {
        /// The file.
        path: PathBuf,
        /// Its owner's id.
        user: u32,
    },
    /// Tokens without TLS between machines.
    #[error("server.public_url is plain http to other machines: tokens and links travel unprotected")]
    PlainHttp,
    /// A cookie that browsers keep to themselves.
    #[error(
        "portal.secure is on while server.public_url is plain http: browsers will not send the cookie back"
    )]
    CookieNeverSent,
    /// A cookie without protection.
    #[error("portal.secure is off: browsers send the cookie without TLS, too")]
    CookieUnprotected,
    /// Links that lead nowhere.
    #[error("server.listen is open to other machines, but server.public_url names this one")]
    UrlNotPublic,
    /// Links that lead nowhere, on this machine.
    #[error("links lead to {}, which server.public_url is where it is not set, and nothing of this daemon listens there", .0.as_str())]
    UrlElsewhere(PublicUrl),
    /// An audit log of hours.
    #[error("audit.retention is shorter than a day")]
    ShortRetention,
}

/// What should be told about the settings themselves.
pub fn of_settings(settings: &Settings) -> Vec<Warning> {
    let url = &settings.server.public_url;
    let local = url.is_loopback_http();
    let plain = url.scheme() == Scheme::Http && !local;
    let remote = settings.server.listen.iter().any(Listen::is_remote);
    let elsewhere = *url == PublicUrl::default() && is_elsewhere(&settings.server.listen);
    let short = match settings.audit.retention {
        Retention::Forever => false,
        Retention::Seconds(seconds) => seconds < RETENTION_SECONDS_SHORT,
    };
    let told = [
        (plain, Warning::PlainHttp),
        (plain && settings.portal_secure(), Warning::CookieNeverSent),
        (!local && !settings.portal_secure(), Warning::CookieUnprotected),
        (remote && local, Warning::UrlNotPublic),
        (elsewhere, Warning::UrlElsewhere(url.clone())),
        (short, Warning::ShortRetention),
    ];
    told.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
}

/// Whether there are ports to listen at, and none of them is the usual one. One that is yet to be chosen may be.
fn is_elsewhere(listen: &[Listen]) -> bool {
    let port = |listen: &Listen| match listen {
        Listen::Tcp(address) => Some(address.port()),
        Listen::Unix(_) => None,
    };
    let usual = port(&Listen::default());
    let mut ports = listen.iter().filter_map(port).peekable();
    ports.peek().is_some() && ports.all(|port| port != 0 && Some(port) != usual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::toml;

    #[track_caller]
    fn check(text: &str, expected: &[Warning]) {
        assert_eq!(of_settings(&toml::parse(text, "/").unwrap()), expected, "{text}");
    }

    #[test]
    fn what_is_probably_not_meant_is_told() {
        let http = "[server]\npublic_url = \"http://auth.example.com\"\n";
        let https = "[server]\npublic_url = \"https://auth.example.com\"\n";
        let insecure = "[portal]\nsecure = false\n";
        check("", &[]);
        check(https, &[]);
        check(insecure, &[]);
        check(http, &[Warning::PlainHttp, Warning::CookieNeverSent]);
        check(&format!("{http}{insecure}"), &[Warning::PlainHttp, Warning::CookieUnprotected]);
        check(&format!("{https}{insecure}"), &[Warning::CookieUnprotected]);
        check("[server]\nallow_remote = true\nlisten = [\"0.0.0.0:8420\"]", &[Warning::UrlNotPublic]);
        check(&format!("{https}allow_remote = true\nlisten = [\"0.0.0.0:8420\"]"), &[]);
    }

    #[test]
    fn the_default_url_is_told_where_nothing_listens_at_it_and_any_other_is_believed() {
        let at = |listen: &str| format!("[server]\nlisten = [{listen}]\n");
        let elsewhere = [Warning::UrlElsewhere(PublicUrl::default())];
        check(&at("\"127.0.0.1:9000\""), &elsewhere);
        check(&at("\"127.0.0.1:9000\", \"unix:/a\""), &elsewhere);
        for fine in ["\"[::1]:9000\", \"127.0.0.1:8420\"", "\"127.0.0.1:0\"", "\"unix:/a\"", ""] {
            check(&at(fine), &[]);
        }
        check(&format!("{}public_url = \"http://127.0.0.1:9000\"", at("\"127.0.0.1:9001\"")), &[]);
    }

    #[test]
    fn an_audit_log_of_less_than_a_day_is_told() {
        check("[audit]\nretention = \"1d\"", &[]);
        check("[audit]\nretention = \"86399s\"", &[Warning::ShortRetention]);
    }
}
