//! After every step: what everything that was ever handed out is worth, what lists show, what the log says.

use serde_json::{Value, json};

use super::{
    Body, Caller, SECRETS, World,
    plain::{Owner, Power, SCOPES, Standing, Token},
    secret,
};
use crate::{
    app::callers::BEARER_KINDS,
    records::{Time, View},
    rules::{
        Reason, Refusal,
        access::Identity,
        audit, check,
        enrollment::{self, Proof},
        portal::{self, Followed},
        verify::{self, Asking, Presented},
    },
    settings::CredentialKind,
    token::{Kind, Secret},
};

/// Good, or refused for what reason.
fn outcome<T>(result: Result<T, Refusal>) -> Result<T, Reason> {
    result.map_err(|refusal| match refusal {
        Refusal::Denied(denied) => denied.reason,
        other => panic!("{other:?}"),
    })
}

impl World {
    /// Everything as the model has it, without using anything up.
    pub(super) fn check(&mut self) {
        self.check_log();
        for token in &self.model.tokens {
            self.check_token(token);
        }
        for cookie in &self.model.cookies {
            let found = self.cookie(&cookie.text);
            assert_eq!(found, self.model.cookie(cookie), "{cookie:?}");
        }
        for number in 0..SECRETS {
            self.check_secret(number);
        }
        self.check_lists();
        self.introspect_all();
    }

    fn asking(&self, kinds: &'static [CredentialKind], noted: Option<Time>, inside: bool) -> Asking<'static> {
        let from = inside.then(|| [192, 0, 2, 200].into());
        Asking { now: Time::from_unix(self.model.now), from, kinds, noted }
    }

    /// What a bearer is worth to a verification that leaves no trace.
    fn bearer(&self, text: &str, inside: bool) -> Result<Identity, Reason> {
        let app = self.house.app();
        let snapshot = app.snapshot();
        let presented = Presented::bearer(text, &snapshot.keyring, &snapshot.services.secrets);
        let presented = presented.map_err(|denied| denied.reason)?;
        let noted = presented.token().and_then(|id| app.noted(id)).map(|last| last.at);
        let asking = self.asking(BEARER_KINDS, noted, inside);
        outcome(verify::verify(&*app.view(), &presented, &asking)).map(|good| good.identity)
    }

    fn cookie(&self, text: &str) -> Result<(), Reason> {
        let app = self.house.app();
        let presented = Presented::cookie(text, &app.snapshot().keyring, app.store().id());
        let presented = presented.map_err(|denied| denied.reason)?;
        let asking = self.asking(&[CredentialKind::Portal], None, false);
        outcome(verify::verify(&*app.view(), &presented, &asking)).map(|_| ())
    }

    fn check_token(&self, token: &Token) {
        if token.text.is_empty() {
            return;
        }
        for inside in [true, false] {
            let found = self.bearer(&token.text, inside);
            if let Ok(identity) = &found {
                assert_eq!(identity.subject.id(), self.subject(token.owner), "{token:?}");
                assert_eq!(identity.power() as u8, self.model.power(token) as u8, "{token:?}");
            }
            assert_eq!(found.map(drop), self.model.verdict(token, inside), "{token:?}");
        }
        let app = self.house.app();
        let (view, now) = (app.view(), Time::from_unix(self.model.now));
        if token.kind == Kind::Link {
            let followed = Followed::parse(&token.text).unwrap();
            let found = outcome(portal::find(&*view, &followed, now)).map(|_| ());
            assert_eq!(found, self.model.door(token), "{token:?}");
        }
        if token.kind == Kind::Enrollment {
            let redeemed = token.redeemed.map(|redeemed| (redeemed.hostname, redeemed.attempt));
            for (hostname, attempt) in [(0, None), (1, Some(0)), redeemed.unwrap_or_default()] {
                let proof = Proof::new(
                    Secret::new(token.text.clone()),
                    attempt.map(|number| Secret::new(Self::attempt(number))),
                    &Self::hostname(hostname),
                );
                let judged = outcome(enrollment::judge(&*view, &proof, now, &|id| app.noted(id)));
                let found = match judged {
                    Ok(enrollment::Standing::Live(_)) => Standing::Live,
                    Ok(enrollment::Standing::Again(_)) => Standing::Again,
                    Err(reason) => Standing::Refused(reason),
                };
                assert_eq!(found, self.model.standing(token, hostname, attempt), "{token:?}");
            }
        }
    }

    fn check_secret(&self, number: u8) {
        let service = &self.model.service;
        let good = service.configured && service.secrets.contains(&number);
        let expected = if good { Ok(()) } else { Err(Reason::Unknown) };
        assert_eq!(self.bearer(&secret(number), false).map(drop), expected, "secret {number}");
    }

    /// Lists show every token that was not purged, newest first, with its state and its times.
    fn check_lists(&self) {
        let told = self.expect(200, &Caller::Socket, "GET", "/v1/admin/tokens?limit=500", Body::None);
        let shown: Vec<Value> = told.json["items"].as_array().unwrap().clone();
        let kept: Vec<&Token> = self.model.tokens.iter().rev().filter(|token| !token.gone).collect();
        assert_eq!(shown.len(), kept.len());
        for (shown, token) in shown.iter().zip(kept) {
            let state = self.model.state(token).name();
            let expected = [json!(token.id), json!(token.kind.name()), json!(state)];
            assert_eq!([&shown["id"], &shown["kind"], &shown["state"]], expected.each_ref(), "{token:?}");
            assert_eq!(seconds(&shown["expires_at"]), token.end, "{token:?}");
            assert_eq!(seconds(&shown["revoked_at"]), self.model.revoked_at(token), "{token:?}");
            if token.uses_max.is_some() {
                assert_eq!(shown["uses"], json!(token.uses), "{token:?}");
            }
        }
        let setup = self.expect(200, &Caller::Nobody, "GET", "/v1/setup", Body::None);
        let pending = if self.model.setup.pending() { "pending" } else { "complete" };
        assert_eq!(setup.json["state"], pending);
    }

    /// Has every PAT introspected whose uses are not counted; nothing but its last use comes of that.
    fn introspect_all(&mut self) {
        let is_one = |token: &&Token| token.kind == Kind::Pat && token.uses_max.is_none();
        let pats: Vec<Token> = self.model.tokens.iter().filter(is_one).cloned().collect();
        let texts: Vec<&String> = pats.iter().map(|token| &token.text).collect();
        let body = Body::Json(json!({ "tokens": texts }));
        if pats.is_empty() {
            return;
        }
        let told = self.expect(200, &Caller::Socket, "POST", "/v1/introspect/batch", body);
        for (shown, token) in told.json["results"].as_array().unwrap().iter().zip(&pats) {
            if self.model.verdict(token, false).is_err() {
                assert_eq!(*shown, json!({"active": false}), "{token:?}");
                continue;
            }
            let Owner::User(user) = token.owner else { unreachable!("a PAT's owner is a user") };
            let (user, scope) = (&self.model.users[user], SCOPES[token.scope]);
            assert_eq!((&shown["active"], &shown["sub"]), (&json!(true), &json!(user.id)), "{token:?}");
            assert_eq!(shown["groups"], json!(user.groups), "{token:?}");
            // A reserved word is named only while the owner could give it; what is left of it, otherwise.
            let reserved = ["introspect", "operator", "admin"];
            let words: Vec<&str> = scope.0.split(' ').collect();
            let lent = scope.1 <= user.power();
            let mut named: Vec<&str> =
                words.into_iter().filter(|word| lent || !reserved.contains(word)).collect();
            if !lent && user.power() == Power::Operate {
                named.push("operator");
            }
            assert_eq!(shown["scope"], json!(named.join(" ")), "{token:?}");
        }
    }

    /// The log has the entries that the model expects, one after the other.
    fn check_log(&mut self) {
        let view = self.house.app().view();
        let entries = audit::after(&*view, self.seen, 1_000).unwrap();
        let seen = usize::try_from(self.seen).unwrap();
        let mut found: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
        let mut expected: Vec<&str> = self.model.log[seen..].to_vec();
        // Refusals are written together, in no order that matters.
        for list in [&mut found, &mut expected] {
            list.chunk_by_mut(|a, b| is_refusal(a) && is_refusal(b)).for_each(<[_]>::sort_unstable);
        }
        assert_eq!(found, expected);
        self.seen += entries.len() as u64;
    }

    /// At the end of a life: a clean stop, and the whole store looked through. What it did.
    pub(super) fn conclude(mut self) -> Vec<&'static str> {
        self.house.stop();
        self.model.flush();
        self.house.start();
        self.check();
        let app = self.house.app();
        let (view, snapshot) = (app.view(), app.snapshot());
        let entries = self.model.log.len() as u64;
        assert_eq!(audit::verify(&*view as &dyn View, &mut |_| Ok(())).unwrap(), Ok(entries));
        let mut walk = check::Walk::new(true);
        let report = loop {
            if let Some(report) = walk.step(&*view, &snapshot.keyring).unwrap() {
                break report;
            }
        };
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        self.model.log
    }
}

fn is_refusal(action: &str) -> bool {
    [".refused", ".replayed"].iter().any(|end| action.ends_with(end))
}

/// A time of the wire as seconds since the epoch.
fn seconds(shown: &Value) -> Option<u64> {
    let time = humantime::parse_rfc3339(shown.as_str()?).unwrap();
    Some(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
}
