//! Callers who were let in, and what became of them before their change had its turn.

use serde_json::json;

use super::{Body, House, NOW, Shows, text_of};
use crate::{app::Failure, rules::access::Right};

/// What happens to somebody between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Nothing,
    Revoked,
    Demoted,
    Deactivated,
    NewPassword,
}

/// The writer looks again at its turn: what was true when the request came in is not enough.
#[test]
fn whoever_lost_the_right_before_the_turn_of_their_change_changes_nothing() {
    use Fate::*;
    for fate in [Nothing, Revoked, Demoted, Deactivated, NewPassword] {
        let mut house = House::new(NOW);
        house.write("bearerd.toml", "");
        house.start().expect("an install token");
        let asked = |method: &str, path: &str, body, status: u16| {
            let told = house.ask(Shows::Socket, method, path, Body::Json(body));
            assert_eq!(told.status, status, "{}", told.json);
            told.json
        };
        let user = |email| {
            let made = asked("POST", "/v1/users", json!({"email": email, "groups": ["admin"]}), 201);
            format!("/v1/users/{}", text_of(&made, "id"))
        };
        let (anna, _) = (user("anna@example.org"), user("bert@example.org"));
        let session = asked("POST", &format!("{anna}/sessions"), json!({}), 201);
        let text = text_of(&session, "token");
        let app = house.app();
        let caller = house.run(app.identify(&app.snapshot(), &text, Right::Open, None)).unwrap();
        let who = app.authorize(Right::Administrate, caller).unwrap();
        match fate {
            Nothing => {}
            Revoked => {
                let body = Body::Form(vec![("token", text)]);
                assert_eq!(house.ask(Shows::Socket, "POST", "/v1/revoke", body).status, 200);
            }
            Demoted => drop(asked("PATCH", &anna, json!({"groups": ["operator"]}), 200)),
            Deactivated => drop(asked("PATCH", &anna, json!({"active": false}), 200)),
            NewPassword => drop(asked("PATCH", &anna, json!({"password": super::PASSWORDS[0]}), 200)),
        }
        let outcome = house.run(app.change(&who, |_, _, _| Ok(())));
        match outcome {
            Ok(()) => assert_eq!(fate, Nothing),
            Err(Failure::Refused(_)) => assert_ne!(fate, Nothing),
            Err(other) => panic!("{fate:?}: {other:?}"),
        }
    }
}
