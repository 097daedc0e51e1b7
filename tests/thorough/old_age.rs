//! Makes a store with many tokens and a long audit log through the library's own rules, and starts the daemon on it:
//! after a clean stop, and after a kill in the middle of changes. Run by `parts/old_age.sh`:
//!
//!     cargo run --release --example old_age -- BEARERD TOKENS ENTRIES

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement fails by panicking and speaks on standard output"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bearerd::{
    app::{fresh, random},
    records::{Action, By, Params, token::Owner},
    rules::{
        Refusal, Terms, sessions,
        tokens::{self, Fresh},
        users::{self, NewUser},
    },
    settings::Settings,
    store::{Founding, FreshStore, Options, Store},
    token::{Key, KeyId, Keyring, Kind, UserId},
};

/// Rows of one operation.
const BATCH: usize = 1_000;
/// A start may take this long.
const START: Duration = Duration::from_secs(5);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (binary, tokens, entries) =
        (arguments.next().unwrap(), number(arguments.next()), number(arguments.next()));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let began = Instant::now();
    let session = fill(&data, tokens, entries);
    let bytes = fs::metadata(data.join("bearerd.redb")).unwrap().len();
    println!(
        "ok old age: {tokens} tokens and {entries} entries were made in {:.0} s: {} MiB",
        began.elapsed().as_secs_f64(),
        bytes >> 20
    );
    let (daemon, clean) = started(&binary, folder.path());
    told("after a clean stop", clean);
    for path in ["/v1/tokens", "/v1/audit", "/v1/admin/tokens", "/v1/audit?action=token.update"] {
        let began = Instant::now();
        let status = daemon.ask("GET", path, &session, "");
        let took = began.elapsed().as_secs_f64() * 1e3;
        let good = status == 200;
        println!(
            "{} old age: the first page of {path}: {status} in {took:.1} ms",
            if good { "ok" } else { "FAIL" }
        );
    }
    for number in 0..200 {
        assert_eq!(daemon.ask("POST", "/v1/tokens", &session, &format!("{{\"name\": \"{number}\"}}")), 201);
    }
    daemon.kill();
    let (daemon, killed) = started(&binary, folder.path());
    told("after a kill", killed);
    daemon.kill();
}

fn number(argument: Option<String>) -> usize {
    argument.expect("BEARERD TOKENS ENTRIES").parse().unwrap()
}

fn told(what: &str, took: Duration) {
    let word = if took <= START { "ok" } else { "FAIL" };
    println!("{word} old age: {what} it serves within {:.0} ms", took.as_secs_f64() * 1e3);
}

/// A store in `data`, and the session of an admin.
fn fill(data: &Path, tokens: usize, entries: usize) -> String {
    fs::create_dir(data).unwrap();
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();
    let keyring = Keyring::generate(KeyId::new("old").unwrap(), &random().unwrap()).unwrap();
    fs::write(data.join("keyring"), keyring.to_text().expose()).unwrap();
    fs::set_permissions(data.join("keyring"), fs::Permissions::from_mode(0o600)).unwrap();
    let fresh_store =
        FreshStore { id: random().unwrap(), key: Key::new(random().unwrap()), nonce: random().unwrap() };
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let founding = Founding::new(keyring.current(), fresh_store, now).unwrap();
    let store = Store::create(data, &founding, &Options::default()).unwrap();
    let (owner, session) = admin(&store, keyring);
    for _ in 0..tokens / BATCH {
        mint(&store, owner);
    }
    for _ in 0..entries.saturating_sub(tokens) / BATCH {
        note(&store);
    }
    store.close().unwrap();
    session
}

fn admin(store: &Store, keyring: Keyring) -> (UserId, String) {
    let settings = Settings::default();
    let (id, session): ([u8; 10], Fresh) = (random().unwrap(), fresh().unwrap());
    let made = store.write_blocking(move |txn| {
        let id = UserId::from_parts(txn.now_ms(), id);
        txn.entry(&By::system(), Action::UserCreate, id, Params::none())?;
        let new = NewUser {
            email: "old@example.com".to_owned(),
            name: None,
            groups: vec!["admin".to_owned()],
            password: None,
            service: None,
        };
        let user = users::insert(txn, id, new)?;
        let terms = Terms { settings: &settings, keyring: &keyring };
        let opened = sessions::open_within(txn, terms, &user, &session)?;
        Ok::<_, Refusal>((id, opened.secret.expose().to_owned()))
    });
    made.unwrap().unwrap()
}

fn mint(store: &Store, owner: UserId) {
    let fresh: Vec<Fresh> = (0..BATCH).map(|_| fresh().unwrap()).collect();
    let done = store.write_blocking(move |txn| {
        for fresh in &fresh {
            let prefix = Settings::default().tokens.prefix;
            let mut minted =
                tokens::blank(txn, &prefix, Kind::Pat, Owner::User(owner), Some(90 * 86_400), fresh);
            "old".clone_into(&mut minted.token.name);
            "general".clone_into(&mut minted.token.scope);
            txn.entry(&By::system(), Action::TokenCreate, minted.token.id, Params::none())?;
            tokens::insert(txn, minted.token)?;
        }
        Ok::<_, Refusal>(())
    });
    done.unwrap().unwrap();
}

fn note(store: &Store) {
    let done = store.write_blocking(|txn| {
        for number in 0..BATCH {
            let params = Params::none().with("name", "renamed").with("number", number);
            txn.entry(&By::local(0), Action::TokenUpdate, "token_01jd8w3m5ze8vr3pa0n2q9k6ms", params)?;
        }
        Ok::<_, Refusal>(())
    });
    done.unwrap().unwrap();
}

struct Daemon {
    child: Child,
    address: String,
}

/// The daemon on that folder's store, and how long it took until it served.
fn started(binary: &str, folder: &Path) -> (Daemon, Duration) {
    let began = Instant::now();
    let mut command = Command::new(binary);
    command.arg("serve").arg("--data").arg(folder.join("data")).args(["--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned));
    let daemon = Daemon { child, address: address.expect("the daemon ended before it listened") };
    assert_eq!(daemon.ask("GET", "/readyz", "", ""), 200);
    (daemon, began.elapsed())
}

impl Daemon {
    /// The status of an answer.
    fn ask(&self, method: &str, path: &str, bearer: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
