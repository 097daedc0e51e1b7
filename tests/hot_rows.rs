//! What the daemon remembers between requests never outlives what it was told: an answered change is seen by
//! the very next verification on any connection, while others verify the same credentials all the time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use support::*;

/// Connections on which the next verification is asked for.
const CONNECTIONS: usize = 4;
/// Connections that verify the same credential all the time.
const OTHERS: usize = 2;

/// How a credential is asked about: each way that is remembered differently.
#[derive(Clone, Copy)]
enum By<'a> {
    /// A service asks by introspection.
    Introspection(&'a str),
    /// A proxy asks about a request with this bearer.
    Bearer(&'a str),
    /// A proxy asks about a request with this cookie, `NAME=VALUE`.
    Cookie(&'a str),
}

/// The request that asks, as its bytes.
fn question(daemon: &Daemon, by: By<'_>) -> Vec<u8> {
    let path = "/v1/authorize/@everybody";
    match by {
        By::Introspection(token) => {
            let service = daemon.service("gateway");
            service.request("POST", "/v1/introspect").form(&[("token", token)]).bytes()
        }
        By::Bearer(token) => daemon.bearer(token).request("GET", path).bytes(),
        By::Cookie(cookie) => daemon.browser(cookie).request("GET", path).bytes(),
    }
}

/// Whether the answer says that the credential counts.
fn is_yes(answer: &Answer) -> bool {
    answer.status == 200 && !answer.text().contains("\"active\":false")
}

/// A daemon with others on it who verify whatever they are shown.
struct Crowded {
    daemon: Daemon,
    shown: Mutex<Vec<u8>>,
    stop: AtomicBool,
}

impl Crowded {
    fn new() -> Self {
        let all = "kinds = [\"session\", \"pat\", \"service\", \"agent\", \"portal\"]";
        let setup = Setup::new().config(&format!("[authorize.everybody]\n{all}\n")).service("gateway", &[]);
        Self {
            daemon: setup.service("changing", &["admin"]).with_long_silences().start(),
            shown: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// Runs `rounds` while the others are at it.
    fn through(self, rounds: impl FnOnce(&Self, &mut [Connection])) {
        let mut connections: Vec<Connection> =
            (0..CONNECTIONS).map(|_| self.daemon.nobody().connect()).collect();
        thread::scope(|scope| {
            for _ in 0..OTHERS {
                scope.spawn(|| self.keep_asking());
            }
            // Stops the others also where an assertion of the rounds fails.
            let _stop = Stop(&self.stop);
            rounds(&self, &mut connections);
        });
    }

    fn keep_asking(&self) {
        let mut connection = self.daemon.nobody().connect();
        while !self.stop.load(Ordering::Relaxed) {
            let shown = self.shown.lock().unwrap().clone();
            if shown.is_empty() {
                thread::yield_now();
            } else {
                connection.send(shown);
                connection.answer();
            }
        }
    }

    /// The credential counts on every connection; `end` is answered; from then on it counts on none.
    #[track_caller]
    fn ends(&self, connections: &mut [Connection], by: By<'_>, end: impl FnOnce()) {
        let question = question(&self.daemon, by);
        let ask = |connection: &mut Connection| {
            connection.send(&question);
            is_yes(&connection.answer())
        };
        self.shown.lock().unwrap().clone_from(&question);
        assert!(connections.iter_mut().all(ask), "it counts to begin with");
        end();
        for connection in connections {
            assert!(!ask(connection), "it counted after its end was answered");
        }
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_revocations_are_seen_by_the_very_next_verification() {
    Crowded::new().through(|crowded, connections| {
        let daemon = &crowded.daemon;
        let (anna, nobody) = (daemon.user("anna@example.org", &[]), daemon.nobody());
        for round in 0..1_000 {
            let format = if round % 5 == 4 { "jwt" } else { "opaque" };
            let made = anna.mint_pat(json!({"name": "n", "format": format}));
            let (token, path) = (text_of(&made, "token"), format!("/v1/tokens/{}", text_of(&made, "id")));
            let by = if round % 2 == 0 { By::Introspection(&token) } else { By::Bearer(&token) };
            crowded.ends(connections, by, || match round % 3 {
                0 => drop(anna.delete(&path).expect(204)),
                1 => drop(nobody.form("/v1/revoke", &[("token", &token)]).expect(200)),
                _ => drop(anna.patch(&path, json!({"enabled": false})).expect(200)),
            });
        }
    });
}

#[test]
fn whoever_or_whatever_a_credential_hangs_on_takes_it_along_at_once() {
    Crowded::new().through(|crowded, connections| {
        let daemon = &crowded.daemon;
        let root = daemon.root();
        let client = daemon.client("acme");
        for round in 0..60 {
            let anna = daemon.user(&format!("anna{round}@example.org"), &["operator"]);
            let pat = anna.any_pat();
            let user = format!("/v1/users/{}", anna.id);
            crowded.ends(connections, By::Introspection(&pat), || {
                drop(root.patch(&user, json!({"active": false})).expect(200));
            });
            root.patch(&user, json!({"active": true})).expect(200);
            assert!(daemon.is_active(&pat), "and back again");
            let bert = daemon.user(&format!("bert{round}@example.org"), &[]);
            crowded.ends(connections, By::Bearer(bert.token()), || {
                drop(bert.delete("/v1/sessions/current").expect(204));
            });
            let host = daemon.host(&format!("web-{round}"));
            crowded.ends(connections, By::Bearer(&host.agent_token), || {
                drop(root.delete(&format!("/v1/hosts/{}", host.id)).expect(204));
            });
            let link = daemon.link(&client, json!({}));
            let cookie = daemon.portal_cookie(&text_of(&link, "token"));
            crowded.ends(connections, By::Cookie(&cookie), || {
                drop(root.delete(&format!("/v1/links/{}", text_of(&link, "id"))).expect(204));
            });
        }
    });
}

#[test]
fn what_its_owner_lost_is_lost_to_the_next_answer() {
    Crowded::new().through(|crowded, connections| {
        let daemon = &crowded.daemon;
        let root = daemon.root();
        let anna = daemon.user("anna@example.org", &["operator"]);
        let made = anna.mint_pat(json!({"name": "n", "scope": "introspect"}));
        let token = text_of(&made, "token");
        let question = question(daemon, By::Introspection(&token));
        crowded.shown.lock().unwrap().clone_from(&question);
        let mut seen = |groups: &[&str], scope: &str| {
            root.patch(&format!("/v1/users/{}", anna.id), json!({"groups": groups})).expect(200);
            for connection in &mut *connections {
                connection.send(&question);
                let answer = connection.answer().expect(200);
                assert_eq!((&answer["groups"], &answer["scope"]), (&json!(groups), &json!(scope)));
            }
        };
        for _ in 0..100 {
            seen(&["x"], "");
            seen(&["operator"], "introspect");
        }
    });
}

#[test]
fn a_reload_that_takes_a_secret_or_a_key_away_takes_what_was_remembered_along() {
    Crowded::new().through(|crowded, connections| {
        let daemon = &crowded.daemon;
        let root = daemon.root();
        let reload = || drop(root.post("/v1/admin/reload", json!({})).expect(200));
        for round in 0..40 {
            let secret = people::service_secret(&format!("changing{round}"));
            daemon.rewrite("changing.secret", format!("{secret}\n"));
            reload();
            let by = if round % 2 == 0 { By::Introspection(&secret) } else { By::Bearer(&secret) };
            crowded.ends(connections, by, || {
                daemon.rewrite("changing.secret", "");
                reload();
            });
        }
        let file = daemon.data().join("keyring");
        for round in 0..10 {
            let client = daemon.client(&format!("client-{round}"));
            let cookie = daemon.portal_cookie(&text_of(&daemon.link(&client, json!({})), "token"));
            daemon.cli(&["keys", "rotate"]).expect(0);
            daemon.cli(&["keys", "reseal"]).expect(0);
            let both = std::fs::read_to_string(&file).unwrap();
            let current: String =
                both.lines().filter(|line| !line.starts_with("old")).flat_map(|line| [line, "\n"]).collect();
            crowded.ends(connections, By::Cookie(&cookie), || {
                support::daemon::write_private(&file, current);
                reload();
            });
        }
    });
}
