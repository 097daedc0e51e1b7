//! What was taken away counts nowhere from the answer on: credentials are kept warm on several connections, at
//! work while one of them is ended on another, and not one that is asked after that answer may still be good, nor
//! one that is asked after a right was given back be refused.
//!
//! `BEARERD_PAIRS` says how many pairs of ending and asking each kind of ending goes through.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::people::Person;
use support::*;

const PAIRS: usize = 30;
/// Connections on which the credential is used, beside the one on which it is ended.
const OTHERS: usize = 4;
/// Uses on each of them that may be under way while the credential is ended.
const UNDER_WAY: usize = 3;

fn pairs() -> usize {
    std::env::var("BEARERD_PAIRS").ok().map_or(PAIRS, |pairs| pairs.parse().unwrap())
}

/// A policy of every kind of bearer, and no line in the log for each refusal.
fn quiet() -> Setup {
    let policy = "[authorize.any]\nkinds = [\"session\", \"pat\", \"service\", \"agent\", \"portal\"]\n";
    Setup::new().config(policy).with_long_silences().variable("BEARERD_LOG", "error")
}

/// The connections of one kind of ending.
struct Watch {
    others: Vec<Connection>,
    acting: Connection,
    turns: usize,
}

/// What a request that uses the credential looks like, and what changes it.
struct Turn<'a> {
    uses: &'a [Vec<u8>],
    change: Vec<u8>,
    /// Whether the credential is good before, and after.
    good: [bool; 2],
}

fn is_good(answer: &Answer) -> bool {
    assert!([200, 401, 403].contains(&answer.status), "{}: {}", answer.status, answer.text());
    answer.status == 200 && !answer.text().contains("\"active\":false")
}

impl Watch {
    fn over(daemon: &Daemon) -> Self {
        let nobody = daemon.nobody();
        let others = (0..OTHERS).map(|_| nobody.connect()).collect();
        Self { others, acting: daemon.root().connect(), turns: 0 }
    }

    /// The use that falls to a connection this time: over the turns each connection sees every one of them.
    fn use_of<'u>(&self, uses: &'u [Vec<u8>], connection: usize) -> &'u [u8] {
        &uses[(self.turns + connection) % uses.len()]
    }

    /// Warms every connection, changes the credential while uses are under way, and asks again after the answer.
    #[track_caller]
    fn turn(&mut self, turn: &Turn<'_>) -> Answer {
        let [before, after] = turn.good;
        let number = self.turns;
        for at in 0..OTHERS {
            let bytes = self.use_of(turn.uses, at).to_vec();
            self.others[at].send(bytes);
        }
        for other in &mut self.others {
            assert_eq!(is_good(&other.answer()), before, "turn {number}: warming");
        }
        for at in 0..OTHERS {
            let under_way = self.use_of(turn.uses, at).repeat(UNDER_WAY);
            self.others[at].send(under_way);
        }
        self.acting.send(&turn.change);
        let changed = self.acting.answer();
        assert!((200..300).contains(&changed.status), "turn {number}: {}", changed.text());
        // The answer is here: from now on it counts.
        for at in 0..OTHERS {
            let bytes = self.use_of(turn.uses, at).to_vec();
            self.others[at].send(bytes);
        }
        for other in &mut self.others {
            let seen: Vec<bool> = (0..=UNDER_WAY).map(|_| is_good(&other.answer())).collect();
            assert_eq!(seen[UNDER_WAY], after, "turn {number}: {seen:?} after the answer");
            let flips = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(flips <= 1, "turn {number}: {seen:?} changed its mind");
        }
        // And once more: a use that was under way may have left something behind.
        for at in 0..OTHERS {
            let bytes = self.use_of(turn.uses, at + 1).to_vec();
            self.others[at].send(bytes);
            assert_eq!(is_good(&self.others[at].answer()), after, "turn {number}: at the end");
        }
        self.turns += 1;
        changed
    }
}

/// The ways in which a bearer is used.
fn uses(daemon: &Daemon, token: &str) -> Vec<Vec<u8>> {
    let (bearer, gateway) = (daemon.bearer(token), daemon.service("gateway"));
    vec![
        bearer.request("GET", "/v1/me").bytes(),
        gateway.request("POST", "/v1/introspect").form(&[("token", token)]).bytes(),
        bearer.request("GET", "/v1/authorize/@any").bytes(),
        gateway.request("POST", "/v1/introspect/batch").json(json!({"tokens": [token, token]})).bytes(),
    ]
}

fn patch(caller: &Caller, path: &str, body: Value) -> Vec<u8> {
    caller.request("PATCH", path).json(body).bytes()
}

fn town() -> (Daemon, Person) {
    let daemon = quiet().service("gateway", &["admin"]).start();
    let anna = daemon.user("anna@example.org", &["operator"]);
    (daemon, anna)
}

#[test]
fn a_revoked_token_is_good_nowhere_after_the_answer() {
    let (daemon, anna) = town();
    let mut watch = Watch::over(&daemon);
    for pair in 0..pairs() {
        let pat = anna.mint_pat(json!({"name": "n", "format": (["opaque", "jwt"][pair % 2])}));
        let (id, token) = (text_of(&pat, "id"), text_of(&pat, "token"));
        let root = daemon.root();
        let change = match pair % 3 {
            0 => root.request("DELETE", &format!("/v1/admin/tokens/{id}")).bytes(),
            1 => root.request("POST", "/v1/revoke").form(&[("token", &token)]).bytes(),
            _ => root.request("POST", &format!("/v1/tokens/{id}/rotate")).json(json!({})).bytes(),
        };
        watch.turn(&Turn { uses: &uses(&daemon, &token), change, good: [true, false] });
    }
}

#[test]
fn a_token_that_is_switched_off_and_on_is_so_everywhere_after_the_answer() {
    let (daemon, anna) = town();
    let mut watch = Watch::over(&daemon);
    let pat = anna.mint_pat(json!({"name": "n"}));
    let (path, uses) =
        (format!("/v1/tokens/{}", text_of(&pat, "id")), uses(&daemon, &text_of(&pat, "token")));
    for pair in 0..pairs() {
        let on = pair % 2 == 1;
        let change = patch(&daemon.root(), &path, json!({"enabled": on}));
        watch.turn(&Turn { uses: &uses, change, good: [!on, on] });
    }
}

#[test]
fn an_owner_who_leaves_a_group_takes_the_rights_along_everywhere_after_the_answer() {
    let (daemon, anna) = town();
    let mut watch = Watch::over(&daemon);
    let pat = text_of(&anna.mint_pat(json!({"name": "n", "scope": "operator"})), "token");
    let path = format!("/v1/users/{}", anna.id);
    let uses = [
        daemon.bearer(&pat).request("GET", "/v1/enrollments?limit=1").bytes(),
        anna.request("GET", "/v1/clients?limit=1").bytes(),
        daemon.bearer(&pat).request("POST", "/v1/introspect").form(&[("token", &pat)]).bytes(),
    ];
    for pair in 0..pairs() {
        let (groups, operates) = if pair % 2 == 0 { (json!([]), false) } else { (json!(["operator"]), true) };
        let change = patch(&daemon.root(), &path, json!({"groups": groups}));
        watch.turn(&Turn { uses: &uses, change, good: [!operates, operates] });
    }
}

#[test]
fn a_user_who_is_deactivated_has_no_good_token_anywhere_after_the_answer() {
    let (daemon, anna) = town();
    let mut watch = Watch::over(&daemon);
    let path = format!("/v1/users/{}", anna.id);
    let uses = uses(&daemon, &anna.any_pat());
    for pair in 0..pairs() {
        let active = pair % 2 == 1;
        let change = patch(&daemon.root(), &path, json!({"active": active}));
        watch.turn(&Turn { uses: &uses, change, good: [!active, active] });
    }
}

#[test]
fn a_session_that_was_ended_is_good_nowhere_after_the_answer() {
    let (daemon, anna) = town();
    let mut watch = Watch::over(&daemon);
    let user = json!({"id": anna.id, "email": anna.email});
    for pair in 0..pairs() {
        let session = daemon.session_of(&user);
        let root = daemon.root();
        let change = match pair % 4 {
            // The session itself says so, on the connection that acts: the admin socket knows no session.
            0 => {
                watch.acting = daemon.nobody().connect();
                session.request("DELETE", "/v1/sessions/current").bytes()
            }
            1 => {
                watch.acting = daemon.nobody().connect();
                session.request("DELETE", &format!("/v1/sessions/{}", session.session_id)).bytes()
            }
            2 => {
                watch.acting = root.connect();
                root.request("DELETE", &format!("/v1/admin/tokens/{}", session.session_id)).bytes()
            }
            _ => {
                watch.acting = root.connect();
                let filter = json!({"user": anna.id, "kind": "session"});
                root.request("POST", "/v1/admin/tokens/revoke").json(filter).bytes()
            }
        };
        watch.turn(&Turn { uses: &uses(&daemon, session.token()), change, good: [true, false] });
    }
}

#[test]
fn sessions_of_before_a_new_password_are_good_nowhere_after_the_answer() {
    let (daemon, anna) = town();
    let mut watch = Watch::over(&daemon);
    let user = json!({"id": anna.id, "email": anna.email});
    // Each is a password's hash: there are fewer.
    for pair in 0..pairs().div_ceil(10) {
        let session = daemon.session_of(&user);
        let body = json!({"password": format!("a password that is number {pair}")});
        let change = patch(&daemon.root(), &format!("/v1/users/{}", anna.id), body);
        watch.turn(&Turn { uses: &uses(&daemon, session.token()), change, good: [true, false] });
    }
}

#[test]
fn a_service_secret_that_was_rotated_out_is_good_nowhere_after_the_answer() {
    let daemon = quiet().service("gateway", &["admin"]).service("cron", &["operator"]).start();
    let mut watch = Watch::over(&daemon);
    let secret = |number: usize| format!("{number:06}-{}", people::service_secret("cron"));
    let reload = daemon.root().request("POST", "/v1/admin/reload").bytes();
    daemon.rewrite("cron.secret", secret(0));
    daemon.root().post("/v1/admin/reload", json!({})).expect(200);
    for pair in 0..pairs() {
        daemon.rewrite("cron.secret", secret(pair + 1));
        let change = reload.clone();
        watch.turn(&Turn { uses: &uses(&daemon, &secret(pair)), change, good: [true, false] });
        daemon.bearer(&secret(pair + 1)).get("/v1/me").expect(200);
    }
}

#[test]
fn an_agent_whose_token_was_rotated_or_whose_host_was_deleted_is_good_nowhere_after_the_answer() {
    let (daemon, _) = town();
    let mut watch = Watch::over(&daemon);
    for pair in 0..pairs() {
        let host = daemon.host(&format!("h{pair}"));
        let root = daemon.root();
        let path = format!("/v1/hosts/{}", host.id);
        let change = match pair % 2 {
            0 => root.request("DELETE", &path).bytes(),
            _ => root.request("POST", &format!("{path}/rotate")).json(json!({})).bytes(),
        };
        watch.turn(&Turn { uses: &uses(&daemon, &host.agent_token), change, good: [true, false] });
    }
}

#[test]
fn a_cookie_is_good_nowhere_after_its_link_is_revoked_or_its_client_deactivated() {
    let daemon = quiet().start();
    let mut watch = Watch::over(&daemon);
    let client = daemon.client("acme");
    let path = format!("/v1/clients/{client}");
    for pair in 0..pairs() {
        let link = daemon.link(&client, json!({}));
        let browser = daemon.browser(&daemon.portal_cookie(&text_of(&link, "token")));
        let uses = [
            browser.request("GET", "/portal/session").bytes(),
            browser.request("GET", "/v1/authorize/@any").bytes(),
        ];
        let root = daemon.root();
        if pair % 2 == 0 {
            let change = root.request("DELETE", &format!("/v1/links/{}", text_of(&link, "id"))).bytes();
            watch.turn(&Turn { uses: &uses, change, good: [true, false] });
        } else {
            for active in [false, true] {
                let change = patch(&root, &path, json!({"active": active}));
                watch.turn(&Turn { uses: &uses, change, good: [!active, active] });
            }
        }
    }
}
