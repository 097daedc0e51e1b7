//! What a life is made of: its steps, how often each is drawn, and what every life begins with.

use proptest::prelude::*;

use super::plain::{DAY, GROUPS, SCOPES};

const STEPS_MAX: usize = 80;
pub(super) const SPANS: [Option<u64>; 4] = [Some(60), Some(3_600), Some(3 * DAY), None];
/// Secrets that the service may be configured with.
pub(super) const SECRETS: u8 = 4;

/// Who takes a step; picked among those there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    Socket,
    /// One of the newest sessions, dead or alive.
    Session(usize),
    /// Any token, whatever its kind.
    Token(usize),
    Secret(u8),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    // People.
    InstallToken {
        force: bool,
    },
    SetUp {
        token: usize,
        email: usize,
        password: u8,
    },
    /// Somebody who lost the password comes back by way of a new install token.
    ComeBack {
        email: usize,
        password: u8,
    },
    AddUser {
        who: Who,
        email: usize,
        groups: usize,
    },
    Regroup {
        who: Who,
        user: usize,
        groups: usize,
    },
    Activate {
        who: Who,
        user: usize,
        active: bool,
    },
    Password {
        user: usize,
        password: u8,
    },
    LogIn {
        user: usize,
        password: u8,
    },
    OpenSession {
        who: Who,
        user: usize,
        span: usize,
    },
    EndSession {
        who: Who,
        session: usize,
    },
    EndCurrent {
        who: Who,
    },
    Mint {
        who: Who,
        user: usize,
        wish: Wish,
    },
    Rotate {
        who: Who,
        token: usize,
        overlap: u64,
    },
    Revoke {
        who: Who,
        token: usize,
    },
    RevokeAny {
        who: Who,
        token: usize,
    },
    RevokePresented {
        token: usize,
    },
    Switch {
        who: Who,
        token: usize,
        on: bool,
    },
    Bulk {
        filter: usize,
        which: usize,
        dry: bool,
    },
    Use {
        who: Who,
        inside: bool,
    },
    Introspect {
        token: usize,
        inside: bool,
    },
    // Hosts and portals.
    MintEnrollment {
        who: Who,
        span: u64,
        pinned: Option<u8>,
        credentials: Option<u64>,
    },
    Enroll {
        token: usize,
        hostname: u8,
        attempt: Option<u8>,
    },
    /// The same request as one that was answered.
    EnrollAgain {
        token: usize,
    },
    RevokeEnrollment {
        who: Who,
        token: usize,
    },
    RotateHost {
        who: Who,
        host: usize,
        overlap: u64,
    },
    DeleteHost {
        who: Who,
        host: usize,
    },
    PutCredentials {
        who: Who,
        host: usize,
        credentials: u64,
    },
    GetCredentials {
        who: Who,
        host: usize,
    },
    GetOwnCredentials {
        host: usize,
    },
    AddClient {
        who: Who,
        slug: u8,
    },
    ActivateClient {
        who: Who,
        client: usize,
        active: bool,
    },
    MintLink {
        who: Who,
        client: usize,
        days: Option<u64>,
        single: bool,
    },
    Enter {
        link: usize,
        press: bool,
    },
    RevokeLink {
        who: Who,
        link: usize,
    },
    Visit {
        cookie: usize,
    },
    Assign {
        who: Who,
        project: usize,
        client: usize,
    },
    Preview {
        who: Who,
        project: usize,
    },
    // The daemon.
    Configure {
        configured: bool,
        groups: usize,
        secrets: u8,
    },
    RotateKeys,
    DropKey {
        which: usize,
    },
    Reseal,
    Pass {
        seconds: u64,
    },
    /// To the last second of a token's life, or to the first after it.
    PassToEnd {
        token: usize,
        after: bool,
    },
    /// Half days with the timers running.
    Sleep {
        half_days: u64,
    },
    Purge,
    Restart {
        clean: bool,
    },
}

/// What is asked of a new PAT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) span: usize,
    pub(super) scope: usize,
    pub(super) uses: Option<u64>,
    pub(super) jwt: bool,
    pub(super) inside: bool,
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        6 => Just(Who::Socket),
        5 => (0..8usize).prop_map(Who::Session),
        2 => (0..64usize).prop_map(Who::Token),
        1 => (0..SECRETS).prop_map(Who::Secret),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let uses = prop::option::weighted(0.3, 1..3u64);
    let wish = (0..SPANS.len(), 0..SCOPES.len(), uses, prop::bool::weighted(0.3), prop::bool::weighted(0.15));
    wish.prop_map(|(span, scope, uses, jwt, inside)| Wish { span, scope, uses, jwt, inside })
}

fn overlap() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0u64), Just(50), Just(DAY)]
}

fn of_people() -> impl Strategy<Value = Step> {
    use Step::*;
    let (user, token, session) = (|| 0..5usize, || 0..24usize, || 0..8usize);
    prop_oneof![
        3 => prop::bool::weighted(0.7).prop_map(|force| InstallToken { force }),
        2 => (0..4usize, 0..2u8).prop_map(|(email, password)| ComeBack { email, password }),
        4 => (0..2usize, 0..6usize, 0..2u8)
            .prop_map(|(token, email, password)| SetUp { token, email, password }),
        3 => (who(), 0..5usize, 0..GROUPS.len())
            .prop_map(|(who, email, groups)| AddUser { who, email, groups }),
        7 => (who(), user(), 0..GROUPS.len()).prop_map(|(who, user, groups)| Regroup { who, user, groups }),
        3 => (who(), user(), any::<bool>()).prop_map(|(who, user, active)| Activate { who, user, active }),
        1 => (user(), 0..2u8).prop_map(|(user, password)| Password { user, password }),
        1 => (user(), 0..2u8).prop_map(|(user, password)| LogIn { user, password }),
        5 => (who(), user(), 0..SPANS.len()).prop_map(|(who, user, span)| OpenSession { who, user, span }),
        1 => (who(), session()).prop_map(|(who, session)| EndSession { who, session }),
        1 => who().prop_map(|who| EndCurrent { who }),
        8 => (who(), user(), wish()).prop_map(|(who, user, wish)| Mint { who, user, wish }),
        4 => (who(), token(), overlap()).prop_map(|(who, token, overlap)| Rotate { who, token, overlap }),
        2 => (who(), token()).prop_map(|(who, token)| Revoke { who, token }),
        1 => (who(), token()).prop_map(|(who, token)| RevokeAny { who, token }),
        1 => token().prop_map(|token| RevokePresented { token }),
        3 => (who(), token(), any::<bool>()).prop_map(|(who, token, on)| Switch { who, token, on }),
        1 => (0..9usize, 0..5usize, any::<bool>()).prop_map(|(filter, which, dry)| Bulk { filter, which, dry }),
        7 => (who(), any::<bool>()).prop_map(|(who, inside)| Use { who, inside }),
        2 => (token(), any::<bool>()).prop_map(|(token, inside)| Introspect { token, inside }),
    ]
}

fn of_fleet() -> impl Strategy<Value = Step> {
    use Step::*;
    let (token, few, name) = (|| 0..8usize, || 0..4usize, || 0..3u8);
    let span = prop_oneof![Just(600u64), Just(3_600), Just(DAY)];
    let attempt = prop::option::weighted(0.7, 0..2u8);
    prop_oneof![
        4 => (who(), span, prop::option::weighted(0.3, name()), prop::option::of(0..100u64))
            .prop_map(|(who, span, pinned, credentials)| MintEnrollment { who, span, pinned, credentials }),
        6 => (token(), name(), attempt)
            .prop_map(|(token, hostname, attempt)| Enroll { token, hostname, attempt }),
        3 => few().prop_map(|token| EnrollAgain { token }),
        1 => (who(), token()).prop_map(|(who, token)| RevokeEnrollment { who, token }),
        2 => (who(), few(), overlap()).prop_map(|(who, host, overlap)| RotateHost { who, host, overlap }),
        1 => (who(), few()).prop_map(|(who, host)| DeleteHost { who, host }),
        1 => (who(), few(), 0..100u64)
            .prop_map(|(who, host, credentials)| PutCredentials { who, host, credentials }),
        1 => (who(), few()).prop_map(|(who, host)| GetCredentials { who, host }),
        2 => few().prop_map(|host| GetOwnCredentials { host }),
        2 => (who(), 0..4u8).prop_map(|(who, slug)| AddClient { who, slug }),
        2 => (who(), few(), any::<bool>())
            .prop_map(|(who, client, active)| ActivateClient { who, client, active }),
        4 => (who(), few(), prop::option::of(Just(1u64)), any::<bool>())
            .prop_map(|(who, client, days, single)| MintLink { who, client, days, single }),
        6 => (token(), any::<bool>()).prop_map(|(link, press)| Enter { link, press }),
        2 => (who(), token()).prop_map(|(who, link)| RevokeLink { who, link }),
        3 => token().prop_map(|cookie| Visit { cookie }),
        1 => (who(), 0..2usize, few()).prop_map(|(who, project, client)| Assign { who, project, client }),
        3 => (who(), 0..2usize).prop_map(|(who, project)| Preview { who, project }),
    ]
}

fn of_operators() -> impl Strategy<Value = Step> {
    use Step::*;
    let seconds = prop_oneof![
        12 => 1..100u64,
        3 => Just(60),
        5 => 500..700u64,
        2 => 3_000..4_000u64,
        2 => Just(3_600),
        1 => 40_000..80_000u64,
        1 => Just(30 * DAY),
    ];
    prop_oneof![
        5 => (prop::bool::weighted(0.8), 0..GROUPS.len(), 0..1u8 << SECRETS)
            .prop_map(|(configured, groups, secrets)| Configure { configured, groups, secrets }),
        3 => Just(RotateKeys),
        3 => (0..3usize).prop_map(|which| DropKey { which }),
        2 => Just(Reseal),
        8 => seconds.prop_map(|seconds| Pass { seconds }),
        2 => (0..24usize, any::<bool>()).prop_map(|(token, after)| PassToEnd { token, after }),
        1 => (1..8u64).prop_map(|half_days| Sleep { half_days }),
        1 => Just(Purge),
        4 => any::<bool>().prop_map(|clean| Restart { clean }),
    ]
}

/// Whether setup was completed before, and what happens.
pub(super) fn life() -> impl Strategy<Value = (bool, Vec<Step>)> {
    let step = prop_oneof![5 => of_people(), 5 => of_fleet(), 2 => of_operators()];
    (any::<bool>(), prop::collection::vec(step, 1..STEPS_MAX))
}

/// What every life begins with, so that there is somebody and something from the first step on. Where setup was
/// completed, its admin is the only one.
pub(super) fn childhood(settled: bool) -> Vec<Step> {
    use Step::*;
    let who = Who::Socket;
    let mut steps = Vec::new();
    if settled {
        steps.push(SetUp { token: 0, email: 0, password: 0 });
    }
    for (email, groups) in [(0, 2), (1, 1), (2, 0), (3, if settled { 1 } else { 2 })] {
        steps.push(AddUser { who, email, groups });
        steps.push(OpenSession { who, user: email + 1, span: 2 });
    }
    for (user, scope, span, jwt, uses) in [
        (1, 4, 2, false, None),
        (2, 3, 1, true, None),
        (3, 0, 2, false, Some(2)),
        (4, 3, 1, false, None),
        (4, if settled { 3 } else { 4 }, 2, true, None),
    ] {
        let wish = Wish { span, scope, uses, jwt, inside: false };
        steps.push(Mint { who, user, wish });
    }
    for (hostname, credentials) in [(0, Some(7)), (1, None), (2, Some(8))] {
        steps.push(MintEnrollment { who, span: DAY, pinned: None, credentials });
        if hostname < 2 {
            steps.push(Enroll { token: 0, hostname, attempt: Some(0) });
        }
    }
    for client in 0..2 {
        steps.push(AddClient { who, slug: u8::try_from(client).unwrap() });
        steps.push(MintLink { who, client, days: Some(1), single: client == 1 });
        steps.push(Enter { link: 0, press: true });
    }
    steps
}
