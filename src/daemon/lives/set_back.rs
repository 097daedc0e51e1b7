//! A clock that is set back while the daemon is dead.

use serde_json::json;

use super::{Body, House, NOW, Shows, text_of};

/// What somebody holds who was let in at [`NOW`]: a session that dies an hour later if nobody uses it, and a PAT that ends
/// by itself at that time.
struct Held {
    house: House,
    session: String,
    pat: String,
}

impl Held {
    fn new() -> Self {
        let mut house = House::new(NOW);
        house.write("bearerd.toml", "");
        house.start().expect("an install token");
        let made = |path: &str, body| {
            let told = house.ask(Shows::Socket, "POST", path, Body::Json(body));
            assert_eq!(told.status, 201, "{}", told.json);
            told.json
        };
        let user = text_of(&made("/v1/users", json!({"email": "anna@example.org"})), "id");
        let session = text_of(&made(&format!("/v1/users/{user}/sessions"), json!({})), "token");
        let wish = json!({"name": "n", "scope": "read", "ttl_seconds": 3_600});
        let pat = text_of(&made(&format!("/v1/users/{user}/tokens"), wish), "token");
        Self { house, session, pat }
    }

    fn presented(&self, token: &str) -> u16 {
        self.house.ask(Shows::Bearer(token), "GET", "/v1/me", Body::None).status
    }

    /// Killed, and started again at that time.
    fn killed_and_started_at(&mut self, now: u64) {
        self.house.kill();
        self.house.set_clock(now);
        assert_eq!(self.house.start(), None);
    }
}

#[test]
fn what_was_refused_as_idle_or_expired_stays_dead_across_a_kill_with_the_clock_set_back() {
    for idle in [true, false] {
        let mut held = Held::new();
        let token = if idle { held.session.clone() } else { held.pat.clone() };
        assert_eq!(held.presented(&token), 200);
        held.house.set_clock(NOW + 3_600);
        assert_eq!(held.presented(&token), 401);
        held.killed_and_started_at(NOW + 10);
        assert_eq!(held.presented(&token), 401, "it came back to life; idle: {idle}");
    }
}

/// The other side of the test above, without which it could not fail: a kill loses a time at which nobody was told
/// anything.
#[test]
fn a_time_at_which_nobody_was_refused_is_lost_with_a_kill() {
    let mut held = Held::new();
    held.house.set_clock(NOW + 3_600);
    held.killed_and_started_at(NOW + 10);
    assert_eq!((held.presented(&held.session), held.presented(&held.pat)), (200, 200));
}
