//! A store of any size, made through the library's own rules, thousands of tokens a transaction.
//!
//! Its tokens look as if they had been minted one by one over the last hours by a thousand people, each with
//! its index rows and its audit entry; `bearerd check` is content with it. Made once, it is used again.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bearerd::{
    app::{fresh, random},
    records::{
        Action, Actor, By, Params, Txn,
        client::Client,
        meta::Setup,
        tables::Record,
        token::{Detail, Format, Link, Owner, Token},
        user::User,
    },
    rules::{Refusal, Terms, sessions, tokens, users},
    settings::Settings,
    store::{Founding, FreshStore, Options, Store, TimeSource},
    token::{Key, KeyId, Keyring, Kind, TokenHash},
};

use super::known::{Known, LIFE_SECONDS, SCOPE, SPAN_MILLIS, Sort};

/// Tokens of one transaction.
const BATCH: u64 = 5_000;
/// Owners of one transaction.
const OWNERS_BATCH: u64 = 1_000;
/// Pages that are kept in memory while a store is made.
const FILL_CACHE_BYTES: usize = 1 << 30;

/// The secret of the service that asks.
pub const SECRET: &str = "a-service-secret-of-more-than-32-bytes";

const CONFIGURATION: &str = r#"
[server]
public_url = "http://127.0.0.1:8420"
[services.bench]
secret_file = "service.secret"
groups = ["admin"]
[authorize.default]
kinds = ["session", "pat", "service", "agent", "portal"]
"#;

/// A store on the disk.
pub struct Stock {
    /// What is in it.
    pub known: Arc<Known>,
    /// How long it took to make, where that was just now.
    pub took: Option<Duration>,
    /// How long the file was when it had been made, and how much of the disk it took, in bytes: the engine makes
    /// files longer than it needs, ahead of time, and what it has not written takes no space. Each run leaves more
    /// in it.
    pub bytes: (u64, u64),
    folder: PathBuf,
}

impl Stock {
    /// The store of `tokens` tokens below `stores`; made, where there is none yet.
    pub fn of(stores: &Path, tokens: u64) -> Self {
        let tokens = tokens.next_multiple_of(20);
        let folder = stores.join(tokens.to_string());
        if folder.join("stock").exists() { Self::found(folder, tokens) } else { Self::make(folder, tokens) }
    }

    fn found(folder: PathBuf, tokens: u64) -> Self {
        let made = fs::read_to_string(folder.join("stock")).unwrap();
        let words: Vec<&str> = made.split_whitespace().collect();
        let keyring = Keyring::parse(&fs::read_to_string(folder.join("data/keyring")).unwrap()).unwrap();
        let known = Known {
            tokens,
            seed: unhex(words[0]),
            store_id: unhex(words[1]),
            began_ms: words[2].parse().unwrap(),
            keyring,
        };
        let bytes = (words[3].parse().unwrap(), words[4].parse().unwrap());
        Self { known: Arc::new(known), took: None, bytes, folder }
    }

    fn make(folder: PathBuf, tokens: u64) -> Self {
        // What an interrupted run may have left.
        let _ = fs::remove_dir_all(&folder);
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let keyring = Keyring::generate(KeyId::new("bench").unwrap(), &random().unwrap()).unwrap();
        private(&data.join("keyring"), keyring.to_text().expose());
        private(&folder.join("service.secret"), SECRET);
        fs::write(folder.join("bearerd.toml"), CONFIGURATION).unwrap();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let known = Known {
            tokens,
            seed: random().unwrap(),
            began_ms: u64::try_from(now_ms).unwrap() - SPAN_MILLIS,
            store_id: random().unwrap(),
            keyring,
        };
        let began = Instant::now();
        let stock = Self { known: Arc::new(known), took: None, bytes: (0, 0), folder };
        stock.fill();
        let (known, bytes) = (&stock.known, stock.bytes_now());
        let (seed, id) = (hex(&known.seed), hex(&known.store_id));
        let made = format!("{seed} {id} {} {} {}\n", known.began_ms, bytes.0, bytes.1);
        private(&stock.folder.join("stock"), &made);
        Self { took: Some(began.elapsed()), bytes, ..stock }
    }

    fn fill(&self) {
        let known = &self.known;
        let fresh_store =
            FreshStore { id: known.store_id, key: Key::new(random().unwrap()), nonce: random().unwrap() };
        let founding = Founding::new(known.keyring.current(), fresh_store, known.began_ms).unwrap();
        let clock = Arc::new(AtomicU64::new(known.began_ms));
        let options = Options {
            cache_bytes: FILL_CACHE_BYTES,
            time: TimeSource::Fixed(Arc::clone(&clock)),
            ..Options::default()
        };
        let store = Store::create(&self.folder.join("data"), &founding, &options).unwrap();
        self.in_batches(&store, known.owners(), OWNERS_BATCH, |_| {}, owner);
        let turn = |last| clock.store(known.minted_ms(last), Ordering::Release);
        self.in_batches(&store, known.tokens, BATCH, turn, token);
        store.close().unwrap();
    }

    /// Makes `count` of something, `batch` of them a transaction, each after a `turn` of the clock.
    fn in_batches(
        &self,
        store: &Store,
        count: u64,
        batch: u64,
        turn: impl Fn(u64),
        make: fn(&mut Txn<'_>, &Known, u64) -> Result<(), Refusal>,
    ) {
        for from in (0..count).step_by(usize::try_from(batch).unwrap()) {
            let to = count.min(from + batch);
            turn(to - 1);
            let known = Arc::clone(&self.known);
            write(store, move |txn| (from..to).try_for_each(|n| make(txn, &known, n)));
        }
    }

    /// Has the system take the whole file into its memory.
    pub fn warm(&self) {
        let mut file = fs::File::open(self.file()).unwrap();
        std::io::copy(&mut file, &mut std::io::sink()).unwrap();
    }

    /// Opens the store in this process.
    pub fn open(&self, options: &Options) -> Store {
        Store::open(&self.folder.join("data"), &self.known.keyring, options).unwrap()
    }

    /// A session of the admin, opened now: the text of its token.
    pub fn session(&self) -> String {
        let store = self.open(&Options::default());
        let (known, fresh) = (Arc::clone(&self.known), fresh().unwrap());
        let text = write(&store, move |txn| {
            let admin = User::by_id(txn, known.owner(0))?.ok_or(Refusal::NotFound)?;
            let terms = Terms { settings: &Settings::default(), keyring: &known.keyring };
            txn.entry(&By::system(), Action::SessionCreate, admin.id, Params::none())?;
            let opened = sessions::open_within(txn, terms, &admin, &fresh)?;
            Ok(opened.secret.expose().to_owned())
        });
        store.close().unwrap();
        text
    }

    /// Its configuration.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("bearerd.toml")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.data().join("bearerd.redb")
    }

    fn bytes_now(&self) -> (u64, u64) {
        let file = fs::metadata(self.file()).unwrap();
        (file.len(), file.blocks() * 512)
    }
}

/// Makes the `n`th owner; with the first, setup is complete, and with each of the first ones a client.
fn owner(txn: &mut Txn<'_>, known: &Known, n: u64) -> Result<(), Refusal> {
    let id = known.owner(n);
    txn.entry(&By::system(), Action::UserCreate, id, Params::none())?;
    if n == 0 {
        txn.put(Setup { completed_at: Some(txn.now()), ..Setup::of(txn)? })?;
    }
    let new = users::NewUser {
        email: Known::email(n),
        name: None,
        groups: if n == 0 { vec!["admin".to_owned()] } else { Vec::new() },
        password: None,
        service: None,
    };
    users::insert(txn, id, new)?;
    if n < known.clients() {
        let client = Client {
            id: known.client(n),
            slug: format!("client{n}"),
            name: format!("Client {n}"),
            active: true,
            created_at: txn.now(),
            entry: 0,
        };
        let slug = client.slug.clone().into_bytes();
        txn.hint(bearerd::records::TableId::ClientsBySlug, slug, client.key());
        txn.entry(&By::system(), Action::ClientCreate, client.id, Params::none())?;
        txn.put(client)?;
    }
    Ok(())
}

/// Makes the `n`th token with an entry as its minting over HTTP has one.
fn token(txn: &mut Txn<'_>, known: &Known, n: u64) -> Result<(), Refusal> {
    let (id, owner) = (known.id(n), known.owner_of(n));
    let params = Params::none();
    let (action, label, params) = match Sort::of(n) {
        Sort::Opaque | Sort::Jwt => {
            let params = params
                .with("user", known.owner(owner).to_string())
                .with("name", "report generator")
                .with("scope", SCOPE)
                .with("span_seconds", LIFE_SECONDS);
            (Action::TokenCreate, Known::email(owner), params)
        }
        Sort::Link => {
            let params = params.with("client", known.client(owner).to_string()).with("single_use", false);
            (Action::LinkCreate, Known::email(0), params)
        }
    };
    let actor = Actor::User(known.owner(if Sort::of(n) == Sort::Link { 0 } else { owner }));
    let by = By { actor, label, ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) };
    txn.entry(&by, action, id, params)?;
    tokens::insert(txn, row(known, n))
}

/// The row of the `n`th token.
fn row(known: &Known, n: u64) -> Token {
    let (sort, owner) = (Sort::of(n), known.owner_of(n));
    let hash = *TokenHash::of(known.text(n).expose()).as_bytes();
    let minted = known.minted(n);
    let of_kind = |kind, owner| Token {
        span_seconds: Some(LIFE_SECONDS),
        expires_at: Some(minted.plus(LIFE_SECONDS)),
        ..Token::plain(known.id(n), kind, hash, owner, minted)
    };
    if sort == Sort::Link {
        let link = Link { label: None, redirect: "/".to_owned(), single_use: false };
        let detail = Detail::Link(Box::new(link));
        return Token { detail, ..of_kind(Kind::Link, Owner::Client(known.client(owner))) };
    }
    let format = match sort {
        Sort::Jwt => Format::Jwt(known.keyring.current().id().clone()),
        Sort::Opaque | Sort::Link => Format::Opaque,
    };
    Token {
        name: "report generator".to_owned(),
        scope: SCOPE.to_owned(),
        format,
        ..of_kind(Kind::Pat, Owner::User(known.owner(owner)))
    }
}

/// Runs an operation that must be accepted.
pub fn write<T: Send + 'static>(
    store: &Store,
    operation: impl FnOnce(&mut Txn<'_>) -> Result<T, Refusal> + Send + 'static,
) -> T {
    store.write_blocking(operation).unwrap().unwrap()
}

fn private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}
