use std::collections::BTreeSet;

use proptest::prelude::*;

use super::reader::{ENTRIES_MAX, FAULTS_MAX};
use super::*;
use crate::settings::{CredentialKind, Policy, Scope, SecretSource, Service};
use crate::token::ServiceName;

const FOLDER: &str = "/etc/bearerd";

fn good(text: &str) -> Settings {
    match parse(text, FOLDER) {
        Ok(settings) => settings,
        Err(faults) => panic!("{text}\n{faults:?}"),
    }
}

/// Holds a bad text against what must be said of it, each as `LINE KEY: begin of the message`.
#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let Err(faults) = parse(text, FOLDER) else { panic!("accepted: {text}") };
    let told: Vec<String> = faults.iter().map(|fault| format!("{} {fault}", fault.line)).collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    for text in [
        "",
        "\n",
        "# nothing\r\n",
        "\u{feff}[server]\n",
        "[server]\n[limits]\n[services]\n[scopes]\n[authorize]",
    ] {
        assert_eq!(good(text), Settings::default(), "{text:?}");
    }
}

#[test]
fn the_example_of_the_specification_is_read() {
    let settings = good(
        r#"
        [server]
        listen = ["127.0.0.1:8420", "unix:/run/bearerd/api.sock"]
        public_url = "https://auth.example.com/"
        trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
        allow_remote = false
        drain_seconds = 20
        admin_socket = "admin.sock"
        admin_socket_mode = "0660"
        [store]
        dir = "./data"
        [tokens]
        prefix = "acme"
        purge_after = "7d"
        [scopes.bootstrap-analyst]
        max_ttl = "30m"
        [scopes."reports:read"]
        max_ttl = "1d"
        [services.scheduler]
        env_file = "/etc/product/.env"
        env_key = "SCHEDULER_API_TOKEN"
        groups = ["admin"]
        [services.billing]
        secret_file = "billing.secret"
        [services.backup]
        env_file = ".env"
        env_key = ["NEW", "OLD"]
        [keys]
        file = "credential:keyring"
        [authorize.reports]
        kinds = ["pat", "portal"]
        scopes = ["reports:read"]
        groups = ["staff"]
        [sessions]
        ttl = "1h 30m"
        idle = "10m"
        [audit]
        retention = "365d"
        [portal]
        secure = true
        [limits]
        failed_logins_per_minute = 0
        body_bytes = 0x8000
        connections = 1_000
        "#,
    );
    let server = &settings.server;
    assert_eq!(server.listen[1], Listen::Unix("/run/bearerd/api.sock".to_owned()));
    assert_eq!(server.public_url.as_str(), "https://auth.example.com");
    assert!(server.trusted_proxies.contain("10.9.9.9".parse().unwrap()));
    assert_eq!((server.drain_seconds, server.admin_socket_mode), (20, Some(0o660)));
    assert_eq!(server.admin_socket.as_deref(), Some("/etc/bearerd/admin.sock"));
    assert_eq!(settings.store.dir.as_deref(), Some("/etc/bearerd/data"));
    assert_eq!((settings.tokens.prefix.as_str(), settings.tokens.purge_after), ("acme", 604_800));
    assert_eq!(settings.max_ttl(["bootstrap-analyst"]), Some(1_800));
    assert_eq!(settings.max_ttl(["reports:read"]), Some(86_400));
    assert_eq!(settings.keys.file, Some(KeyFile::Credential("keyring".to_owned())));
    assert_eq!(settings.sessions, Sessions { ttl: 5_400, idle: 600 });
    assert_eq!(settings.audit.retention, Retention::Seconds(31_536_000));
    assert_eq!(settings.portal.secure, Some(true));
    assert_eq!(settings.limits.failed_logins_per_minute, 0);
    assert_eq!((settings.limits.body_bytes, settings.limits.connections), (32_768, 1_000));
    assert_eq!(
        settings.policy("reports").unwrap().kinds,
        BTreeSet::from([CredentialKind::Pat, CredentialKind::Portal])
    );
    assert_eq!(settings.policy("default"), Some(&Policy::default()), "still there");
    let sources: Vec<&SecretSource> = settings.services.values().map(|service| &service.source).collect();
    let env = |path: &str, keys: &[&str]| SecretSource::EnvFile {
        path: path.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    let billing = SecretSource::SecretFile("/etc/bearerd/billing.secret".to_owned());
    let scheduler = env("/etc/product/.env", &["SCHEDULER_API_TOKEN"]);
    assert_eq!(sources, [&env("/etc/bearerd/.env", &["NEW", "OLD"]), &billing, &scheduler]);
}

#[test]
fn every_fault_is_told_at_once_with_its_line_and_key() {
    refused(
        "colour = 1\n[server]\nlisten = [\n  \"127.0.0.1\",\n  \"0.0.0.0:80\",\n]\nalow_remote = true\n[sessions]\nttl = \"0s\"\nidle = 60\n[nothing]\n",
        &[
            "1 colour: is not a setting",
            "4 server.listen: \"127.0.0.1\" has no port",
            "5 server.listen: \"0.0.0.0:80\" is open to other machines",
            "7 server.alow_remote: is not a setting; did you mean `server.allow_remote`?",
            "9 sessions.ttl: \"0s\" must be from 1s to 3650d",
            "10 sessions.idle: must be a span of time with its unit, such as \"12h\", not a whole number",
            "11 nothing: is not a setting",
        ],
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_line_and_key() {
    let no_value = "neither text in quotes, nor a number, nor true or false";
    for (text, told) in [
        ("[server]\nlisten = [\n", "2 server.listen: is not TOML: unclosed array".to_owned()),
        ("[server\n", "1 server: is not TOML: unclosed table".to_owned()),
        (
            "[server]\ndrain_seconds = 1\ndrain_seconds = 2\n",
            "3 server.drain_seconds: is there twice".to_owned(),
        ),
        ("\u{feff}[server]\n[server]\n", "2 server: is there twice".to_owned()),
        ("[tokens]\nprefix = bdr\n", format!("2 tokens.prefix: has a value that is {no_value}")),
        (
            "[server]\nallow_remote = yes # \n",
            format!("2 server.allow_remote: has a value that is {no_value}"),
        ),
        (
            "[scopes.\"a:b\"]\nmax_ttl = 12h",
            format!("2 scopes.\"a:b\".max_ttl: has a value that is {no_value}"),
        ),
        (
            "[server]\n[server.x]\ndrain_seconds =\n\nlisten = []",
            "3 server.x.drain_seconds: has no value".to_owned(),
        ),
        ("[server]\ndrain_seconds\n", "2 server.drain_seconds: has no value".to_owned()),
        ("prefix = bdr", format!("1 prefix: has a value that is {no_value}")),
        (
            "[server]\nlisten = [\n  \"a=b\",\n  c,\n]",
            format!("4 server.listen: has a value that is {no_value}"),
        ),
        (
            "[server]\nlisten = [\n  \"a\"\n  \"b\"\n]",
            "4 server.listen: is not TOML: missing comma".to_owned(),
        ),
        ("[server]\ndrain_seconds = 1\n= 2", "3 server: ".to_owned()),
    ] {
        refused(text, &[&told]);
    }
    refused("[server]\ndrain_seconds = 1\n???\n", &["3 server: is not TOML", "3 server: is not TOML"]);
    refused("\u{0}", &["1 is not TOML: ", "1 is not TOML: "]);
    let broken = "= 1\n".repeat(SYNTAX_FAULTS_MAX * 3);
    assert!(parse(&broken, FOLDER).unwrap_err().len() <= SYNTAX_FAULTS_MAX);
}

#[test]
fn a_value_of_another_type_is_told() {
    refused("server = 1", &["1 server: must be a table, not a whole number"]);
    refused("[[server]]", &["1 server: must be a table, not a list"]);
    refused("services.x = []", &["1 services.x: must be a table, not a list"]);
    refused("[server]\nlisten = \"127.0.0.1:1\"", &["2 server.listen: must be a list, not a string"]);
    refused("[server]\nlisten = [1]", &["2 server.listen: must be a string, not a whole number"]);
    refused(
        "[server]\nallow_remote = \"yes\"",
        &["2 server.allow_remote: must be true or false, not a string"],
    );
    refused(
        "[server]\ndrain_seconds = 1.5",
        &["2 server.drain_seconds: must be a whole number, not a number with"],
    );
    refused("[store]\ndir = 1979-05-27", &["2 store.dir: must be a string, not a date or time"]);
    refused("[store]\ndir = true", &["2 store.dir: must be a string, not true or false"]);
}

#[test]
fn addresses_and_sockets_are_judged() {
    refused("[server]\nlisten = [\"localhost:1\"]", &["2 server.listen: \"localhost:1\" names a host"]);
    refused(
        "[server]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
        &["2 server.listen: \"127.0.0.1:1\" is there twice"],
    );
    assert_eq!(good("[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").server.listen.len(), 2);
    assert!(good("[server]\nlisten = []").server.listen.is_empty());
    assert_eq!(
        good("[server]\nallow_remote = true\nlisten = [\"[::]:80\"]").server.forbidden_listener(),
        None
    );
    refused(
        "[server]\nlisten = [\"unix:a.sock\"]\nadmin_socket = \"/etc/bearerd/a.sock\"",
        &["2 server.listen: \"unix:a.sock\" is the admin socket"],
    );
    let long = "s".repeat(listen::SOCKET_PATH_BYTES_MAX - FOLDER.len() - 1);
    good(&format!("[server]\nadmin_socket = \"{long}\""));
    refused(&format!("[server]\nadmin_socket = \"{long}s\""), &["2 server.admin_socket: \"/etc/bearerd/sss"]);
    refused(&format!("[server]\nlisten = [\"unix:{long}s\"]"), &["2 server.listen: \"/etc/bearerd/sss"]);
    refused("[server]\nadmin_socket = \"@x\"", &["2 server.admin_socket: \"@x\" is an abstract socket"]);
    refused("[server]\npublic_url = \"auth\"", &["2 server.public_url: \"auth\" begins with neither"]);
    for everybody in ["0.0.0.0/0", "::/0"] {
        let text = format!("[server]\ntrusted_proxies = [\"127.0.0.1\", \"{everybody}\"]");
        refused(&text, &[&format!("2 server.trusted_proxies: \"{everybody}\" trusts far too many")]);
    }
}

#[test]
fn an_admin_socket_is_for_its_owner_and_at_most_its_group() {
    for (text, mode) in [("0600", 0o600), ("600", 0o600), ("0660", 0o660), ("0620", 0o620)] {
        let settings = good(&format!("[server]\nadmin_socket_mode = \"{text}\""));
        assert_eq!(settings.server.admin_socket_mode, Some(mode), "{text}");
    }
    for text in
        ["0666", "0661", "0700", "0060", "0400", "1600", "00600", "60", "", "rw", "+600", "0o600", "0680"]
    {
        refused(
            &format!("[server]\nadmin_socket_mode = \"{text}\""),
            &["2 server.admin_socket_mode: must be \"0600\""],
        );
    }
    refused("[server]\nadmin_socket_mode = 0o660", &["2 server.admin_socket_mode: must be a string"]);
}

#[test]
fn numbers_are_held_to_their_bounds() {
    for (name, bounds) in [
        ("header_bytes", limits::HEADER_BYTES),
        ("body_bytes", limits::BODY_BYTES),
        ("batch_body_bytes", limits::BATCH_BODY_BYTES),
        ("header_seconds", limits::HEADER_SECONDS),
        ("request_seconds", limits::REQUEST_SECONDS),
        ("stall_seconds", limits::STALL_SECONDS),
        ("connections", limits::CONNECTIONS),
        ("failed_logins_per_minute", limits::FAILED_LOGINS_PER_MINUTE),
        ("writer_queue", limits::WRITER_QUEUE),
        ("password_hashes", limits::PASSWORD_HASHES),
        ("password_queue", limits::PASSWORD_QUEUE),
    ] {
        let text = |value: i128| format!("[limits]\n{name} = {value}");
        let told = format!("2 limits.{name}: must be from {} to {}", bounds.min, bounds.max);
        good(&text(bounds.min.into()));
        good(&text(bounds.max.into()));
        refused(&text(i128::from(bounds.min) - 1), &[&told]);
        refused(&text(i128::from(bounds.max) + 1), &[&told]);
        refused(&text(i128::from(u64::MAX) + 1), &[&told]);
    }
    good("[server]\ndrain_seconds = 600");
    refused("[server]\ndrain_seconds = 601", &["2 server.drain_seconds: must be from 0 to 600"]);
    good("[tokens]\npurge_after = \"1h\"");
    refused("[tokens]\npurge_after = \"59m\"", &["2 tokens.purge_after: \"59m\" must be from 1h to 3650d"]);
    good("[audit]\nretention = \"1s\"");
    refused("[audit]\nretention = \"0s\"", &["2 audit.retention: \"0s\" must be from 1s to 36500d"]);
    refused("[audit]\nretention = \"always\"", &["2 audit.retention: \"always\" is not a span"]);
}

#[test]
fn scopes_and_prefixes_are_judged() {
    refused("[tokens]\nprefix = \"B\"", &["2 tokens.prefix: \"B\" must be 2 to 12"]);
    refused("[scopes.\"a b\"]\nmax_ttl = \"1h\"", &["1 scopes.\"a b\": is not a scope"]);
    refused("[scopes.x]", &["1 scopes.x: has no `max_ttl`"]);
    refused(
        "[scopes.x]\nmax_tll = \"1h\"",
        &["1 scopes.x: has no", "2 scopes.x.max_tll: is not a setting; did you mean"],
    );
    assert_eq!(good("[scopes.x]\nmax_ttl = \"1h\"").scopes.len(), 2, "beside the one that is always there");
}

#[test]
fn a_service_has_one_source_and_no_secret_in_the_file() {
    let told = |settings: &str, what: &str| refused(&format!("[services.a]\n{settings}"), &[what]);
    told("", "1 services.a: names no `secret_file`");
    told("env_file = \"f\"", "1 services.a: has an `env_file` and no `env_key`");
    told("env_key = \"K\"", "1 services.a: has an `env_key` and no `env_file`");
    told("env_file = \"f\"\nenv_key = \"K\"\nsecret_file = \"f\"", "1 services.a: has both");
    told("secret_file = \"\"", "2 services.a.secret_file: \"\" names no file");
    told("secret_file = \"credential:a\"", "2 services.a.secret_file: cannot be a credential");
    told(
        "env_file = \"f\"\nenv_key = \"A-B\"",
        "3 services.a.env_key: \"A-B\" is not the name of a variable",
    );
    told("env_file = \"f\"\nenv_key = []", "3 services.a.env_key: names no variable");
    told("env_file = \"f\"\nenv_key = [\"A\", \"A\"]", "3 services.a.env_key: \"A\" is there twice");
    told("secret_file = \"f\"\ngroups = [\"a b\"]", "3 services.a.groups: \"a b\" is not a group");
    told("secret_file = \"f\"\nsecret = \"hunter2\"", "3 services.a.secret: does not belong here");
    for name in ["A", "1a", "a_b", "-a", "\"\"", &"a".repeat(64)] {
        let text = format!("[services.{name}]\nsecret_file = \"f\"");
        refused(&text, &[&format!("1 services.{name}: the name must be 1 to 63")]);
    }
    good(&format!("[services.{}]\nsecret_file = \"f\"", "a".repeat(63)));
}

#[test]
fn a_misplaced_secret_is_not_repeated() {
    for text in
        ["[services.a]\nsecret = \"hunter2\"", "[services.a]\nsecert = \"hunter2\"", "hunter = \"hunter2\""]
    {
        let faults = parse(text, FOLDER).unwrap_err();
        assert!(!format!("{faults:?}").contains("hunter2"), "{text}");
    }
}

#[test]
fn a_policy_can_be_met_and_named() {
    refused("[authorize.x]\nkinds = []", &["2 authorize.x.kinds: names no kind"]);
    refused("[authorize.x]\nkinds = [\"link\"]", &["2 authorize.x.kinds: \"link\" is none of session, pat"]);
    refused("[authorize.x]\nscopes = [\"\"]", &["2 authorize.x.scopes: \"\" is not a scope"]);
    refused("[authorize.\"a/b\"]", &["1 authorize.\"a/b\": is no name of a policy"]);
    assert_eq!(good("[authorize.x]").policy("x"), Some(&Policy::default()));
    assert_eq!(
        good("[authorize.default]\ngroups = [\"staff\"]").policy("default").unwrap().groups,
        ["staff"]
    );
}

#[test]
fn lists_and_tables_end() {
    let listed = |count: usize| {
        let scopes: Vec<String> = (0..count).map(|number| format!("\"s{number}\"")).collect();
        format!("[authorize.x]\nscopes = [{}]", scopes.join(","))
    };
    good(&listed(ENTRIES_MAX));
    refused(&listed(ENTRIES_MAX + 1), &["2 authorize.x.scopes: has more than 256 elements"]);
    let tables = |count: usize| {
        let tables: Vec<String> = (0..count).map(|number| format!("[authorize.p{number}]")).collect();
        tables.join(
            "
",
        )
    };
    good(&tables(ENTRIES_MAX));
    refused(&tables(ENTRIES_MAX + 1), &["1 authorize: has more than 256 tables"]);
}

#[test]
fn paths_count_from_the_folder_of_the_configuration() {
    for (folder, path, expected) in [
        ("/etc/bearerd", "/a", "/a"),
        ("/etc/bearerd", "a/b", "/etc/bearerd/a/b"),
        ("/etc/bearerd/", "./a", "/etc/bearerd/a"),
        ("/", "a", "/a"),
        ("", "a", "a"),
        ("/etc/bearerd", "../a", "/etc/bearerd/../a"),
    ] {
        assert_eq!(resolve(folder, path), expected, "{folder} {path}");
    }
    refused("[store]\ndir = \"a\\u0000b\"", &["2 store.dir: \"a\\0b\" has a control character"]);
    refused("[keys]\nfile = \"credential:../x\"", &["2 keys.file: \"credential:../x\" names no credential"]);
    let long = "p".repeat(PATH_BYTES_MAX);
    good(&format!("[store]\ndir = \"{long}\""));
    refused(&format!("[store]\ndir = \"{long}p\""), &["2 store.dir: \"ppp"]);
}

#[test]
fn a_text_full_of_faults_is_told_in_part() {
    let text: String =
        (0..FAULTS_MAX + 5).map(|number| format!("k{number} = 1\n")).collect::<Vec<_>>().concat();
    assert_eq!(parse(&text, FOLDER).unwrap_err().len(), FAULTS_MAX);
}

/// The example configuration with every setting in force.
fn example() -> String {
    let text = include_str!("../../../systemd/bearerd.toml");
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(uncommented).collect()
}

#[test]
fn the_example_configuration_sets_nothing_as_it_is_shipped() {
    assert_eq!(good(include_str!("../../../systemd/bearerd.toml")), Settings::default());
}

fn named(service: &str) -> ServiceName {
    ServiceName::new(service).unwrap()
}

#[test]
fn the_example_configuration_shows_the_defaults() {
    let mut settings = good(&example());
    assert_eq!(settings.server.admin_socket.take().as_deref(), Some("/run/bearerd/admin.sock"));
    assert_eq!(settings.server.admin_socket_mode.take(), Some(0o600));
    assert_eq!(settings.store.dir.take().as_deref(), Some("/var/lib/bearerd"));
    assert_eq!(settings.keys.file.take(), Some(KeyFile::Path("/etc/bearerd/keyring".to_owned())));
    assert_eq!(settings.portal.secure.take(), Some(true));
    assert_eq!(settings.authorize.remove("reports").unwrap().scopes, ["reports:read"]);
    assert_eq!(settings.services.remove(&named("scheduler")).unwrap().groups, ["admin"]);
    assert_eq!(settings.services.remove(&named("billing")).unwrap().groups, [""; 0]);
    assert_eq!(settings, Settings::default());
}

/// Takes the settings apart without `..`, so that a new one does not compile until it is looked for here.
#[test]
fn the_example_configuration_has_every_setting() {
    let Settings {
        server,
        store,
        tokens,
        scopes,
        services,
        keys,
        authorize,
        sessions,
        audit,
        portal,
        limits,
    } = good(&example());
    let Server {
        listen: _,
        public_url: _,
        trusted_proxies: _,
        allow_remote: _,
        drain_seconds: _,
        admin_socket: _,
        admin_socket_mode: _,
    } = &server;
    let (Store { dir: _ }, Tokens { prefix: _, purge_after: _ }, Keys { file: _ }) = (&store, &tokens, &keys);
    let (Sessions { ttl: _, idle: _ }, Audit { retention: _ }, Portal { secure: _ }) =
        (&sessions, &audit, &portal);
    let Limits {
        header_bytes: _,
        body_bytes: _,
        batch_body_bytes: _,
        header_seconds: _,
        request_seconds: _,
        stall_seconds: _,
        connections: _,
        failed_logins_per_minute: _,
        writer_queue: _,
        password_hashes: _,
        password_queue: _,
    } = &limits;
    for scope in scopes.values() {
        let Scope { max_ttl: _ } = scope;
    }
    for service in services.values() {
        let Service { source: _, groups: _ } = service;
    }
    for policy in authorize.values() {
        let Policy { kinds: _, scopes: _, groups: _ } = policy;
    }
    let names = "listen public_url trusted_proxies allow_remote drain_seconds admin_socket admin_socket_mode dir \
        prefix purge_after max_ttl env_file env_key secret_file groups file kinds scopes ttl idle retention secure \
        header_bytes body_bytes batch_body_bytes header_seconds request_seconds stall_seconds connections \
        failed_logins_per_minute writer_queue password_hashes password_queue";
    for name in names.split_whitespace() {
        assert!(example().contains(&format!("\n{name} = ")), "{name}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", folder in "[/a-z.]{0,8}") {
        let _ = parse(&text, &folder);
    }

    /// Cuts a piece out of the example and puts another text in its place.
    #[test]
    fn no_damaged_configuration_makes_it_panic(at in 0..5_000_usize, cut in 0..40_usize, instead in "[\\PC\n]{0,12}") {
        let text: Vec<char> = example().chars().collect();
        let at = at.min(text.len());
        let after = at.saturating_add(cut).min(text.len());
        let damaged: String = text[..at].iter().copied().chain(instead.chars()).chain(text[after..].iter().copied()).collect();
        if let Err(faults) = parse(&damaged, FOLDER) {
            let lines = damaged.lines().count() + 1;
            prop_assert!(!faults.is_empty() && faults.iter().all(|fault| (1..=lines).contains(&fault.line)), "{faults:?}");
        }
    }
}
