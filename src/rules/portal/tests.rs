//! Stories of links, cookies, clients and previews, over a store on a shelf.

use super::*;
use crate::{
    records::{Page, shelf::Shelf},
    rules::{
        Conflict,
        clients::{self, Change, NewClient},
        links::{self, NewLink},
        projects::{self, Preview, ProjectName, Wanted},
        tokens::{Fresh, Minted},
        verify::{self, Asking, COOKIE_SECONDS_MAX, Good, Presented},
    },
    settings::{CredentialKind, Settings},
    token::{ClientId, KeyId, Keyring, TokenId},
};

const DAY: u64 = 86_400;
const START: u64 = 1_800_000_000;
const STORE: [u8; 16] = [9; 16];

/// A store with its settings, its keys and its time.
struct World {
    shelf: Shelf,
    settings: Settings,
    keyring: Keyring,
    now: u64,
    drawn: u8,
}

impl World {
    fn new() -> Self {
        let mut shelf = Shelf::new();
        shelf.tamper(TableId::Meta, raw::STORE_ID, Some(STORE.to_vec()));
        let root = b"0123456789abcdef0123456789abcdef";
        let keyring = Keyring::generate(KeyId::new("k1").unwrap(), root).unwrap();
        Self { shelf, settings: Settings::default(), keyring, now: START, drawn: 0 }
    }

    fn change<T>(
        &mut self,
        rule: impl FnOnce(&mut Txn<'_>, Terms<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let terms = Terms { settings: &self.settings, keyring: &self.keyring };
        self.shelf.change(self.now.saturating_mul(1000), |txn| rule(txn, terms))
    }

    fn draw(&mut self) -> Fresh {
        self.drawn = self.drawn.saturating_add(1);
        Fresh { id: [self.drawn; 10], secret: [self.drawn; 32].into() }
    }

    fn client(&mut self, slug: &str) -> ClientId {
        let random = self.draw().id;
        let new = NewClient::judge(slug, "Client").unwrap();
        self.change(|txn, _| clients::create(txn, &By::system(), random, new)).unwrap().id
    }

    fn link(&mut self, client: ClientId, days: Option<u32>, single_use: bool) -> Minted {
        let fresh = self.draw();
        let new = NewLink::judge(None, days, Some("/board?a=b"), single_use).unwrap();
        self.change(|txn, terms| links::mint(txn, terms, &By::system(), client, new, &fresh)).unwrap()
    }

    fn find(&self, text: &str) -> Result<Door, Refusal> {
        find(&self.shelf, &Followed::parse(text)?, Time::from_unix(self.now))
    }

    fn redeem(&mut self, text: &str) -> Result<Secret, Refusal> {
        let followed = Followed::parse(text)?;
        self.change(|txn, terms| redeem(txn, terms, &followed, None)).map(|(_, cookie)| cookie)
    }

    fn session(&self, cookie: &Secret) -> Result<Good, Refusal> {
        let presented = Presented::cookie(cookie.expose(), &self.keyring, &STORE)?;
        let asking = Asking {
            now: Time::from_unix(self.now),
            from: None,
            kinds: &[CredentialKind::Portal],
            noted: None,
        };
        verify::verify(&self.shelf, &presented, &asking)
    }

    fn set_active(&mut self, client: ClientId, active: bool) {
        let change = Change::judge(None, Some(active)).unwrap();
        self.change(|txn, _| clients::update(txn, &By::system(), client, change)).unwrap();
    }

    fn revoke(&mut self, link: TokenId) {
        self.change(|txn, _| links::revoke(txn, &By::system(), link)).unwrap();
    }

    fn preview(&mut self, project: &str) -> Preview {
        let fresh = self.draw();
        let name = ProjectName::parse(project).unwrap();
        let wanted = Wanted::judge(None, None).unwrap();
        self.change(|txn, terms| {
            projects::preview(txn, terms, &By::system(), &name, &wanted, fresh.id, &fresh)
        })
        .unwrap()
    }

    fn assign(&mut self, project: &str, client: ClientId) {
        let name = ProjectName::parse(project).unwrap();
        self.change(|txn, _| projects::assign(txn, &By::system(), &name, client)).unwrap();
    }

    fn actions(&self) -> Vec<String> {
        self.shelf.audit().into_iter().map(|entry| entry.action).collect()
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn denied<T: core::fmt::Debug>(outcome: Result<T, Refusal>, reason: Reason) {
    assert!(
        matches!(&outcome, Err(Refusal::Denied(denied)) if denied.reason == reason),
        "{outcome:?} is not {reason:?}"
    );
}

#[test]
fn a_link_for_many_uses_admits_again_and_again_and_writes_nothing() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, None, false);
    let before = world.shelf.rows().clone();
    let first = world.redeem(link.secret.expose()).unwrap();
    let second = world.redeem(link.secret.expose()).unwrap();
    assert_eq!(world.shelf.rows(), &before);
    let good = world.session(&first).unwrap();
    assert_eq!(good.identity.subject.label(), "acme");
    assert_eq!(good.identity.token, Some(link.token.id));
    assert_eq!(good.identity.expires_at, Some(Time::from_unix(START + 30 * DAY)));
    world.session(&second).unwrap();
}

#[test]
fn a_single_use_link_admits_once_and_its_cookie_lives_on() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, Some(2), true);
    assert!(world.find(link.secret.expose()).unwrap().single_use);
    let cookie = world.redeem(link.secret.expose()).unwrap();
    denied(world.redeem(link.secret.expose()), Reason::Consumed);
    denied(world.find(link.secret.expose()), Reason::Consumed);
    assert_eq!(world.session(&cookie).unwrap().identity.expires_at, link.token.expires_at);
    world.now = START + 2 * DAY - 1;
    world.session(&cookie).unwrap();
    world.now += 1;
    denied(world.session(&cookie), Reason::Expired);
    assert_eq!(world.actions(), ["client.create", "link.create", "link.consume"]);
    let consumed = world.shelf.audit().pop().unwrap();
    assert_eq!(consumed.actor, Actor::Client(client));
}

#[test]
fn a_revoked_link_ends_the_cookies_that_it_gave_whether_or_not_it_was_consumed() {
    for single_use in [false, true] {
        let mut world = World::new();
        let client = world.client("acme");
        let link = world.link(client, None, single_use);
        let cookie = world.redeem(link.secret.expose()).unwrap();
        world.session(&cookie).unwrap();
        world.revoke(link.token.id);
        denied(world.session(&cookie), Reason::Revoked);
        denied(world.find(link.secret.expose()), Reason::Revoked);
        let entries = world.actions().len();
        world.revoke(link.token.id);
        assert_eq!(world.actions().len(), entries, "the first time stands");
    }
}

#[test]
fn a_deactivated_client_has_no_links_and_no_cookies_for_as_long_as_that_lasts() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, None, false);
    let cookie = world.redeem(link.secret.expose()).unwrap();
    world.set_active(client, false);
    denied(world.session(&cookie), Reason::OwnerInactive);
    denied(world.redeem(link.secret.expose()), Reason::OwnerInactive);
    world.set_active(client, true);
    world.session(&cookie).unwrap();
    world.redeem(link.secret.expose()).unwrap();
    assert_eq!(world.actions()[2..], ["client.deactivate", "client.reactivate"]);
}

#[test]
fn the_links_of_a_client_are_listed_as_disabled_while_it_is_not_active() {
    let mut world = World::new();
    let client = world.client("acme");
    world.link(client, None, false);
    for (active, state) in [(false, State::Disabled), (true, State::Active)] {
        world.set_active(client, active);
        let page = Page { after: None, limit: 2 };
        let rows = links::list(&world.shelf, client, Time::from_unix(world.now), &|_| None, &page).unwrap();
        assert_eq!(rows.items.iter().map(|row| row.state).collect::<Vec<_>>(), [state]);
    }
}

#[test]
fn no_link_is_minted_for_a_client_that_is_not_active() {
    let mut world = World::new();
    let client = world.client("acme");
    world.set_active(client, false);
    let (fresh, new) = (world.draw(), NewLink::default());
    let outcome = world.change(|txn, terms| links::mint(txn, terms, &By::system(), client, new, &fresh));
    assert_eq!(outcome.unwrap_err(), Refusal::Conflict(Conflict::ClientInactive));
}

#[test]
fn a_cookie_is_30_days_old_at_most_and_not_from_the_future() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, None, false);
    let cookie = world.redeem(link.secret.expose()).unwrap();
    world.now = START + COOKIE_SECONDS_MAX - 1;
    world.session(&cookie).unwrap();
    world.now += 1;
    denied(world.session(&cookie), Reason::Expired);
    world.now = START - 5;
    world.session(&cookie).unwrap();
    world.now = START - 6;
    denied(world.session(&cookie), Reason::Expired);
}

#[test]
fn a_genuine_cookie_needs_the_row_of_a_link() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, None, false);
    let terms = Terms { settings: &world.settings, keyring: &world.keyring };
    let stranger = Token { id: TokenId::from_bytes([3; 16]), ..link.token.clone() };
    let of_stranger = sign(&world.shelf, terms, &stranger, Time::from_unix(START)).unwrap();
    denied(world.session(&of_stranger), Reason::Unknown);

    let agent = Token { id: TokenId::from_bytes([4; 16]), kind: Kind::Agent, ..link.token.clone() };
    world.shelf.place(&agent);
    let terms = Terms { settings: &world.settings, keyring: &world.keyring };
    let of_agent = sign(&world.shelf, terms, &agent, Time::from_unix(START)).unwrap();
    denied(world.session(&of_agent), Reason::Kind);

    let orphan = Token {
        id: TokenId::from_bytes([5; 16]),
        owner: Owner::Client(ClientId::from_bytes([6; 16])),
        ..link.token
    };
    world.shelf.place(&orphan);
    let terms = Terms { settings: &world.settings, keyring: &world.keyring };
    let of_orphan = sign(&world.shelf, terms, &orphan, Time::from_unix(START)).unwrap();
    denied(world.session(&of_orphan), Reason::OwnerGone);
}

#[test]
fn a_cookie_outlives_a_rotation_and_dies_when_its_key_leaves_the_ring() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, None, false);
    let cookie = world.redeem(link.secret.expose()).unwrap();
    let next = KeyId::new("k2").unwrap();
    world.keyring = world.keyring.rotated(next, b"fedcba9876543210fedcba9876543210").unwrap();
    world.session(&cookie).unwrap();
    let newer = world.redeem(link.secret.expose()).unwrap();
    assert!(newer.expose().starts_with("v1.k2."));
    world.keyring = world.keyring.without(&KeyId::new("k1").unwrap()).unwrap();
    denied(world.session(&cookie), Reason::Signature);
    world.session(&newer).unwrap();
}

#[test]
fn only_links_open_the_portal() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, None, false);
    denied(world.find(""), Reason::Malformed);
    denied(world.find("hello"), Reason::Unknown);
    let typo = format!("{}x", &link.secret.expose()[..link.secret.expose().len() - 1]);
    assert!(matches!(world.find(&typo), Err(Refusal::Denied(_))));
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Link) {
        let fresh = world.draw();
        let minted = world
            .change(|txn, terms| {
                let prefix = &terms.settings.tokens.prefix;
                let minted =
                    crate::rules::tokens::blank(txn, prefix, kind, Owner::Client(client), None, &fresh);
                txn.entry(&By::system(), Action::TokenCreate, "x", Params::none())?;
                crate::rules::tokens::insert(txn, minted.token.clone())?;
                Ok(minted)
            })
            .unwrap();
        denied(world.find(minted.secret.expose()), Reason::Kind);
    }
    // The right id with another secret.
    let other =
        crate::token::text::mint(&world.settings.tokens.prefix, Kind::Link, link.token.id, &[0x77; 32]);
    denied(world.find(other.expose()), Reason::Hash);
}

#[test]
fn an_expired_link_admits_nobody_from_its_last_second_on() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, Some(1), false);
    world.now = START + DAY - 1;
    world.find(link.secret.expose()).unwrap();
    world.now += 1;
    denied(world.find(link.secret.expose()), Reason::Expired);
    denied(world.redeem(link.secret.expose()), Reason::Expired);
}

#[test]
fn a_store_that_cannot_be_read_admits_nobody_and_is_no_answer() {
    let mut world = World::new();
    let client = world.client("acme");
    let link = world.link(client, None, true);
    let cookie = world.redeem(link.secret.expose()).unwrap();
    let link = world.link(client, None, true);
    for reads in 0..2 {
        world.shelf.fail_after(Some(reads));
        assert_eq!(world.find(link.secret.expose()).unwrap_err(), Refusal::Fault(Fault::Unreadable));
        world.shelf.fail_after(Some(reads));
        assert_eq!(world.session(&cookie).unwrap_err(), Refusal::Fault(Fault::Unreadable));
    }
    world.shelf.fail_after(None);
    world.find(link.secret.expose()).unwrap();
}

#[test]
fn a_list_of_links_is_newest_first_and_the_clients_own() {
    let mut world = World::new();
    let (acme, other) = (world.client("acme"), world.client("other"));
    world.link(other, None, false);
    let mut minted = Vec::new();
    for _ in 0..5 {
        world.now += 1;
        minted.insert(0, world.link(acme, None, false).token.id);
    }
    world.link(other, None, false);
    world.revoke(minted[1]);
    let mut after = None;
    let mut listed = Vec::new();
    loop {
        let page = Page { after, limit: 2 };
        let now = Time::from_unix(world.now);
        let rows = links::list(&world.shelf, acme, now, &|_| None, &page).unwrap();
        listed.extend(rows.items.into_iter().map(|row| (row.token.id, row.state)));
        after = rows.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = minted
        .iter()
        .enumerate()
        .map(|(at, id)| (*id, if at == 1 { State::Revoked } else { State::Active }))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn previews_of_a_project_come_to_one_client_and_one_link() {
    let mut world = World::new();
    let first = world.preview("0f8fad5b-d9cb");
    assert!(first.created);
    assert_eq!(first.client.slug, "preview-0f8fad5b");
    assert_eq!(first.client.name, "Preview of 0f8fad5b-d9cb");
    for _ in 0..31 {
        let again = world.preview("0f8fad5b-d9cb");
        assert!(!again.created);
        assert_eq!((again.client.id, again.link.id), (first.client.id, first.link.id));
        world.session(&again.cookie).unwrap();
    }
    // Another project whose name begins alike.
    let other = world.preview("0f8fad5b-0000");
    assert_eq!(other.client.slug, "preview-0f8fad5b-2");
    assert_ne!(other.link.id, first.link.id);
}

#[test]
fn many_projects_that_begin_alike_have_a_client_each() {
    let mut world = World::new();
    let slugs: std::collections::BTreeSet<String> =
        (0..30).map(|number| world.preview(&format!("projects/{number}")).client.slug).collect();
    assert_eq!(slugs.len(), 30);
    assert!(slugs.contains("preview-projects-9"));
}

#[test]
fn a_linked_client_is_never_replaced_and_passed_over_while_it_is_not_active() {
    let mut world = World::new();
    let acme = world.client("acme");
    world.assign("project", acme);
    let first = world.preview("project");
    assert_eq!((first.client.id, first.created), (acme, false));

    world.set_active(acme, false);
    let own = world.preview("project");
    assert!(own.created);
    assert_ne!(own.client.id, acme);
    let again = world.preview("project");
    assert_eq!((again.client.id, again.link.id, again.created), (own.client.id, own.link.id, false));

    world.set_active(acme, true);
    assert_eq!(world.preview("project").client.id, acme, "the project is still linked to it");
    world.set_active(acme, false);
    assert_eq!(world.preview("project").client.id, own.client.id, "no second one is made");
}

#[test]
fn a_preview_whose_link_was_revoked_gets_another_link_of_the_same_client() {
    let mut world = World::new();
    let first = world.preview("project");
    world.revoke(first.link.id);
    denied(world.session(&first.cookie), Reason::Revoked);
    let second = world.preview("project");
    assert_eq!((second.client.id, second.created), (first.client.id, false));
    assert_ne!(second.link.id, first.link.id);
    world.session(&second.cookie).unwrap();
}

#[test]
fn a_preview_follows_the_project_to_another_client() {
    let mut world = World::new();
    let first = world.preview("project");
    let acme = world.client("acme");
    world.assign("project", acme);
    let second = world.preview("project");
    assert_eq!((second.client.id, second.created), (acme, false));
    assert_ne!(second.link.id, first.link.id);
    assert_eq!(second.link.owner, Owner::Client(acme));
}

#[test]
fn every_preview_is_in_the_log() {
    let mut world = World::new();
    world.preview("project");
    world.preview("project");
    assert_eq!(world.actions(), ["client.create", "link.create", "project.preview", "project.preview"]);
}

#[test]
fn what_is_so_already_leaves_no_entry() {
    let mut world = World::new();
    let acme = world.client("acme");
    world.assign("project", acme);
    let entries = world.actions().len();
    world.assign("project", acme);
    world.set_active(acme, true);
    assert_eq!(world.actions().len(), entries);
}

#[test]
fn a_slug_is_taken_once() {
    let mut world = World::new();
    world.client("acme");
    let new = NewClient::judge("acme", "Another").unwrap();
    let outcome = world.change(|txn, _| clients::create(txn, &By::system(), [99; 10], new));
    assert_eq!(outcome.unwrap_err(), Refusal::Conflict(Conflict::SlugExists));
}
