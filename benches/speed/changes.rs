//! Durable changes at one, sixteen and sixty-four callers, and what they do to verification beside them.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{
    known::Known,
    load::{self, Figures, Load, Until},
    server::Server,
    verification::{Access, about_pats},
};

/// How many ask at once.
pub const CALLERS: [usize; 3] = [1, 16, 64];
/// Connections of those who verify beside a flood.
const READERS: usize = 16;
/// Tokens that are asked about beside a flood.
const ASKED: u64 = 200_000;

/// What one kind of change came to.
#[derive(Serialize)]
pub struct Changed {
    pub name: &'static str,
    pub callers: usize,
    pub figures: Figures,
    /// Operations that shared a commit.
    pub batch: f64,
}

/// Verification while nothing else is asked, and while mints flood the daemon.
#[derive(Serialize)]
pub struct Flood {
    pub quiet: Figures,
    pub flooded: Figures,
    pub mints: Figures,
}

/// Mints, enrolments, revocations and counted uses, `span` each.
pub fn all(daemon: &Server, session: &str, span: Duration) -> Vec<Changed> {
    let mut changed = Vec::new();
    for callers in CALLERS {
        let by = Changes { daemon, session, callers };
        let (mints, minted) = by.ask("mint a PAT", &[by.mint("")], 201, Until::Elapsed(span));
        changed.push(mints);
        let revocations: Vec<_> =
            minted.iter().map(|token| load::form("/v1/revoke", "", &format!("token={token}"))).collect();
        changed.push(by.ask("revoke a PAT", &revocations, 200, Until::Answered).0);
        let (_, enrollments) = by.ask(
            "mint an enrolment",
            &[load::json("/v1/enrollments", session, "{}")],
            201,
            Until::Elapsed(span / 2),
        );
        let hosts: Vec<_> =
            enrollments.iter().enumerate().map(|(at, token)| redemption(token, callers, at)).collect();
        changed.push(by.ask("enrol a host", &hosts, 201, Until::Answered).0);
        let (_, counted) = by.ask("mint", &vec![by.mint(",\"max_uses\":1000000"); 64], 201, Until::Answered);
        let uses: Vec<_> = counted.iter().map(|token| super::verification::introspect(token)).collect();
        changed.push(by.ask("use a counted PAT", &uses, 200, Until::Elapsed(span)).0);
        changed[changed.len() - 4..].iter().for_each(super::say);
    }
    changed
}

/// A host's request to be enrolled.
fn redemption(token: &str, callers: usize, at: usize) -> Vec<u8> {
    let unique = token.rsplit('_').next().unwrap()[..22].to_owned();
    let wish = format!(
        "{{\"token\":\"{token}\",\"hostname\":\"host-{unique}-{callers}-{at}\",\"os\":\"linux\",\"arch\":\"x86_64\",\
         \"attempt\":\"{unique}\"}}"
    );
    load::json("/v1/enroll", "", &wish)
}

struct Changes<'a> {
    daemon: &'a Server,
    session: &'a str,
    callers: usize,
}

impl Changes<'_> {
    fn mint(&self, more: &str) -> Vec<u8> {
        load::json("/v1/tokens", self.session, &format!("{{\"name\":\"bench\"{more}}}"))
    }

    /// Asks, and answers with the tokens that were told.
    fn ask(
        &self,
        name: &'static str,
        requests: &[Vec<u8>],
        status: u16,
        until: Until,
    ) -> (Changed, Vec<String>) {
        let before = self.daemon.commits();
        let load = Load::of(self.daemon, self.callers, requests, status, b"");
        let (figures, bodies) = load::run_and_keep(&load, until);
        let after = self.daemon.commits();
        let batch = (after.0 - before.0) / (after.1 - before.1);
        let told = bodies.iter().filter_map(|body| {
            let body: Value = serde_json::from_slice(body).ok()?;
            body.get("token")?.as_str().map(str::to_owned)
        });
        let tokens = told.collect();
        (Changed { name, callers: self.callers, figures, batch }, tokens)
    }
}

/// Verification, quiet and beside a flood of mints, in turns.
pub fn flood(daemon: &Server, known: &Known, session: &str, rounds: usize, span: Duration) -> Flood {
    let requests = about_pats(known, Access::Uniform, ASKED);
    let readers = Load::of(daemon, READERS, &requests, 200, b"{\"active\":true");
    let mint = [Changes { daemon, session, callers: 64 }.mint("")];
    let writers = Load::of(daemon, 64, &mint, 201, b"{");
    let (mut quiet, mut flooded, mut mints) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        quiet.push(load::run(&readers, Until::Elapsed(span)));
        let mut both = load::run_all(&[&readers, &writers], Until::Elapsed(span), &mut |_, _| {});
        mints.push(both.remove(1));
        flooded.push(both.remove(0));
    }
    Flood {
        quiet: Figures::medians(&quiet),
        flooded: Figures::medians(&flooded),
        mints: Figures::medians(&mints),
    }
}
