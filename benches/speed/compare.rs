//! Beside others, in the same run: the introspection of oidc-provider, and what two databases commit. Their scripts
//! are in `benches/compare`; `benches/run` installs what they need.

use std::{env, path::Path, process::Command, time::Duration};

use serde::Serialize;

use super::{
    known::Known,
    load::{self, Figures, Load, Until},
    server::{PROCESSOR, Server},
    verification::{Access, about_pats},
};

/// Connections of those who ask for introspection.
const CONNECTIONS: usize = 32;
const MINTERS: usize = 64;
const ASKED: u64 = 200_000;

/// What others came to, and what the daemon did in between.
#[derive(Serialize)]
pub struct Compared {
    pub ours: Figures,
    pub oidc: Figures,
    /// Of the throughput of introspection, the median over rounds.
    pub oidc_ratio: f64,
    /// For callers who are awake, as whoever asks a database within its process.
    pub mints: Figures,
    /// Durable commits a second.
    pub sqlite: f64,
    pub sqlite_ratio: f64,
    /// For callers who sleep until they are answered, as those of a database server do.
    pub mints_for_sleepers: Figures,
    pub postgres: f64,
    pub postgres_ratio: f64,
}

/// Asks the daemon and the others in turn. `oidc` is the script of oidc-provider where its packages are.
pub fn all(
    daemon: &Server,
    known: &Known,
    session: &str,
    oidc: &Path,
    rounds: usize,
    span: Duration,
) -> Compared {
    let other = Server::other("node", &[oidc.to_str().unwrap()]);
    let basic = other.get_body("/basic");
    let theirs: Vec<Vec<u8>> = other
        .get_body("/sample")
        .lines()
        .map(|token| {
            load::form_by("/token/introspection", &format!("Basic {basic}"), &format!("token={token}"))
        })
        .collect();
    let requests = about_pats(known, Access::Uniform, ASKED);
    let active = b"{\"active\":true";
    let asked = |server, requests| Load::of(server, CONNECTIONS, requests, 200, active);
    let (to_us, to_them) = (asked(daemon, &requests), asked(&other, &theirs));
    let mint = [load::json("/v1/tokens", session, "{\"name\":\"bench\"}")];
    let minting = || Load::of(daemon, MINTERS, &mint, 201, b"{");
    let (minted, minted_for_sleepers) = (minting(), minting().sleeping());
    let until = Until::Elapsed(span);
    load::run(&to_them, until);
    let (mut ours, mut oidc) = (Vec::new(), Vec::new());
    let (mut mints, mut sqlite) = (Vec::new(), Vec::new());
    let (mut mints_for_sleepers, mut postgres) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(load::run(&to_us, until));
        oidc.push(load::run(&to_them, until));
        mints.push(load::run(&minted, until));
        sqlite.push(commits("python3", "sqlite.py", span));
        mints_for_sleepers.push(load::run(&minted_for_sleepers, until));
        postgres.push(commits("bash", "postgres.sh", span));
    }
    let ratio = |a: Vec<f64>, b: &[f64]| load::median(a.iter().zip(b).map(|(a, b)| a / b).collect());
    let rates = |figures: &[Figures]| figures.iter().map(|figures| figures.per_second).collect::<Vec<_>>();
    Compared {
        oidc_ratio: ratio(rates(&ours), &rates(&oidc)),
        sqlite_ratio: ratio(rates(&mints), &sqlite),
        postgres_ratio: ratio(rates(&mints_for_sleepers), &postgres),
        ours: Figures::medians(&ours),
        oidc: Figures::medians(&oidc),
        mints: Figures::medians(&mints),
        mints_for_sleepers: Figures::medians(&mints_for_sleepers),
        sqlite: load::median(sqlite),
        postgres: load::median(postgres),
    }
}

/// Commits a second by a script of `benches/compare`, which sees to it that the database is on the servers' processor
/// and those who ask it are not.
fn commits(program: &str, script: &str, span: Duration) -> f64 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare").join(script);
    let seconds = span.as_secs().max(1).to_string();
    let output =
        Command::new(program).arg(script).arg(seconds).arg(env::temp_dir()).arg(PROCESSOR).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}
