//! A store with many tokens, made through the library's own rules, a thousand a transaction.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bearerd::{
    app::{fresh, random},
    records::{Action, By, Params},
    rules::{
        Refusal, Terms,
        tokens::{self, Fresh},
        users::{self, NewUser},
    },
    settings::Settings,
    store::{Founding, FreshStore, Options, Store},
    token::{Key, KeyId, Keyring, Kind, UserId},
};

use super::load;

/// Tokens of one transaction.
const BATCH: usize = 1_000;
/// Tokens that are asked about.
const ASKED: usize = 20_000;
const SECRET: &str = "a-service-secret-of-more-than-32-bytes";

/// A store that was filled, and what can be asked of it.
pub struct Filled {
    pub took: Duration,
    pub bytes: u64,
    tokens: Vec<String>,
    session: String,
}

/// Makes a configuration and a store in `folder`.
pub fn store(folder: &Path, count: usize) -> Filled {
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(folder.join("service.secret"), SECRET).unwrap();
    fs::write(
        super::config(folder),
        "[services.bench]\nsecret_file = \"service.secret\"\ngroups = [\"admin\"]\n",
    )
    .unwrap();
    let keyring = Keyring::generate(KeyId::new("bench").unwrap(), &random().unwrap()).unwrap();
    let file = data.join("keyring");
    fs::write(&file, keyring.to_text().expose()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let fresh_store =
        FreshStore { id: random().unwrap(), key: Key::new(random().unwrap()), nonce: random().unwrap() };
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let founding = Founding::new(keyring.current(), fresh_store, now).unwrap();
    let store = Store::create(&data, &founding, &Options::default()).unwrap();
    let began = Instant::now();
    let (owner, session) = owner(&store, &keyring);
    let mut asked = Vec::new();
    let stride = (count / ASKED).max(1);
    for batch in 0..count.div_ceil(BATCH) {
        let size = BATCH.min(count - batch * BATCH);
        let minted = mint(&store, owner, size);
        asked.extend(
            minted
                .into_iter()
                .enumerate()
                .filter(|(at, _)| (batch * BATCH + at).is_multiple_of(stride))
                .map(|(_, token)| token),
        );
    }
    let took = began.elapsed();
    store.close().unwrap();
    let bytes = fs::metadata(data.join("bearerd.redb")).unwrap().len();
    Filled { took, bytes, tokens: asked, session }
}

/// An admin with a session.
fn owner(store: &Store, keyring: &Keyring) -> (UserId, String) {
    let settings = Settings::default();
    let keyring = Keyring::parse(keyring.to_text().expose()).unwrap();
    let (id, session): ([u8; 10], Fresh) = (random().unwrap(), fresh().unwrap());
    store
        .write_blocking(move |txn| {
            let id = UserId::from_parts(txn.now_ms(), id);
            txn.entry(&By::system(), Action::UserCreate, id, Params::none())?;
            let new = NewUser {
                email: "bench@example.com".to_owned(),
                name: None,
                groups: vec!["admin".to_owned()],
                password: None,
                service: None,
            };
            let user = users::insert(txn, id, new)?;
            let terms = Terms { settings: &settings, keyring: &keyring };
            let opened = bearerd::rules::sessions::open_within(txn, terms, &user, &session)?;
            Ok::<_, Refusal>((id, opened.secret.expose().to_owned()))
        })
        .unwrap()
        .unwrap()
}

fn mint(store: &Store, owner: UserId, count: usize) -> Vec<String> {
    let fresh: Vec<Fresh> = (0..count).map(|_| fresh().unwrap()).collect();
    store
        .write_blocking(move |txn| {
            let mut texts = Vec::with_capacity(fresh.len());
            for fresh in &fresh {
                let prefix = Settings::default().tokens.prefix;
                let owner = bearerd::records::token::Owner::User(owner);
                let mut minted = tokens::blank(txn, &prefix, Kind::Pat, owner, Some(90 * 86_400), fresh);
                minted.token.name = "bench".to_owned();
                minted.token.scope = "general".to_owned();
                txn.entry(&By::system(), Action::TokenCreate, minted.token.id, Params::none())?;
                tokens::insert(txn, minted.token)?;
                texts.push(minted.secret.expose().to_owned());
            }
            Ok::<_, Refusal>(texts)
        })
        .unwrap()
        .unwrap()
}

impl Filled {
    /// What is asked, by name.
    pub fn questions(&self) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let form = "application/x-www-form-urlencoded";
        let introspect = |token: &str| load::post("/v1/introspect", SECRET, form, &format!("token={token}"));
        let miss = |token: &str| {
            // Another secret under the same checksum rules cannot be made here; another id's token can be cut.
            format!("{}x", &token[..token.len() - 1])
        };
        vec![
            ("introspect, opaque PAT", self.tokens.iter().map(|token| introspect(token)).collect()),
            ("introspect, the same PAT", vec![introspect(&self.tokens[0])]),
            (
                "introspect, bad checksum",
                self.tokens.iter().take(1000).map(|t| introspect(&miss(t))).collect(),
            ),
            (
                "authorize, opaque PAT",
                self.tokens.iter().map(|t| load::get("/v1/authorize", Some(t))).collect(),
            ),
            ("authorize, service secret", vec![load::get("/v1/authorize", Some(SECRET))]),
        ]
    }

    /// A mint by the admin's session.
    pub fn mint(&self) -> Vec<u8> {
        load::post("/v1/tokens", &self.session, "application/json", "{\"name\":\"bench\"}")
    }
}
