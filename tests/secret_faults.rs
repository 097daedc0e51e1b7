//! What can be wrong with a service's secret, its file and a reload, a row each: at a start its service is off,
//! loudly; a reload is refused and the old secret goes on; and what only looks wrong works (contract 4.6).
//!
//! The rows carry the numbers of the catalogue of attacks and faults, group H. Of that group, stand elsewhere: H8 and
//! H14 (500 reloads under load, the removed secret on open connections), H9 (10,000 signals) and H10 (signals during
//! the start) in `slice_reload.rs`; H13 (a rotated key) in `keys.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::{chown, symlink},
        net::UnixListener,
    },
    path::Path,
    sync::Barrier,
    time::{Duration, Instant},
};
use support::{
    daemon::{set_mode, write_private},
    people::service_secret,
    *,
};

/// What a file means for its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Its secret is accepted.
    Works,
    /// The same, with a warning that names the file.
    WorksWithAWarning,
    /// Taken away: the service is off, also after a reload.
    Off,
    /// A mistake: off at a start, and a reload is refused.
    Mistake,
}
use Meaning::{Mistake, Off, Works, WorksWithAWarning};

/// Puts what is in question at a path where nothing is, for this secret.
type Place = fn(&Path, &str);

/// A fault by its number, what it is, and what it means; the secret has this many bytes.
type Row = (&'static str, &'static str, usize, Place, Meaning);

fn plain(path: &Path, secret: &str) {
    write_private(path, secret);
}

fn with_mode(path: &Path, secret: &str, mode: u32) {
    write_private(path, secret);
    set_mode(path, mode);
}

/// The file in a folder of its own, with this mode, behind a link.
fn in_folder(path: &Path, secret: &str, mode: u32) {
    let folder = path.with_extension("folder");
    fs::create_dir_all(&folder).unwrap();
    write_private(&folder.join("secret"), secret);
    set_mode(&folder, mode);
    symlink(folder.join("secret"), path).unwrap();
}

const ROWS: &[Row] = &[
    ("H1", "nothing", 0, plain, Off),
    ("H1", "1 byte", 1, plain, Mistake),
    ("H1", "31 bytes", 31, plain, Mistake),
    ("H1", "32 bytes", 32, plain, Works),
    ("H1", "33 bytes", 33, plain, Works),
    ("H1", "4096 bytes", 4096, plain, Works),
    ("H1", "4097 bytes", 4097, plain, Mistake),
    ("H1", "1 MB", 1_000_000, plain, Mistake),
    ("H2", "a newline alone", 0, |path, _| write_private(path, "\n"), Off),
    ("H2", "white space alone", 0, |path, _| write_private(path, " \t\r\n \n"), Off),
    ("H2", "a byte order mark alone", 0, |path, _| write_private(path, "\u{feff}"), Off),
    ("H2", "a newline behind it", 32, |path, secret| write_private(path, format!("{secret}\n")), Works),
    ("H2", "CR LF behind it", 32, |path, secret| write_private(path, format!("{secret}\r\n")), Works),
    (
        "H2",
        "white space around it",
        32,
        |path, secret| write_private(path, format!(" \t{secret} \n\n")),
        Works,
    ),
    (
        "H2",
        "a byte order mark before it",
        32,
        |path, secret| write_private(path, format!("\u{feff}{secret}")),
        Works,
    ),
    ("H2", "31 bytes and a newline", 31, |path, secret| write_private(path, format!("{secret}\n")), Mistake),
    (
        "H2",
        "31 bytes and a byte order mark",
        31,
        |path, secret| write_private(path, format!("\u{feff}{secret}")),
        Mistake,
    ),
    ("H2", "a space inside", 40, |path, secret| write_private(path, format!("{secret} {secret}")), Mistake),
    ("H2", "NUL inside", 40, |path, secret| write_private(path, format!("{secret}\0")), Mistake),
    (
        "H2",
        "bytes that are no text",
        40,
        |path, secret| write_private(path, [secret.as_bytes(), b"\xff"].concat()),
        Mistake,
    ),
    (
        "H2",
        "UTF-16",
        40,
        |path, secret| {
            write_private(path, secret.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
        },
        Mistake,
    ),
    (
        "H2",
        "a good line and a short one",
        40,
        |path, secret| write_private(path, format!("{secret}\nshort\n")),
        Mistake,
    ),
    ("H4", "no file", 0, |_, _| {}, Off),
    ("H4", "a link to nothing", 0, |path, _| symlink("nowhere", path).unwrap(), Off),
    ("H5", "a folder", 0, |path, _| fs::create_dir(path).unwrap(), Mistake),
    (
        "H5",
        "a FIFO that nobody writes to",
        0,
        |path, _| {
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        },
        Mistake,
    ),
    ("H5", "a socket", 0, |path, _| drop(UnixListener::bind(path).unwrap()), Mistake),
    ("H5", "a device without an end", 0, |path, _| symlink("/dev/zero", path).unwrap(), Mistake),
    ("H5", "a link to itself", 0, |path, _| symlink(path, path).unwrap(), Mistake),
    // It opens as a file, and reading its beginning is an I/O error.
    ("H5", "an I/O error", 0, |path, _| symlink("/proc/self/mem", path).unwrap(), Mistake),
    ("H7", "the group can write it", 40, |path, secret| with_mode(path, secret, 0o620), Mistake),
    ("H7", "everybody can write it", 40, |path, secret| with_mode(path, secret, 0o602), Mistake),
    ("H7", "the group can read it", 40, |path, secret| with_mode(path, secret, 0o640), Works),
    ("H7", "everybody can read it", 40, |path, secret| with_mode(path, secret, 0o644), WorksWithAWarning),
    ("H7", "a link to a file", 40, |path, secret| in_folder(path, secret, 0o755), Works),
    (
        "H7",
        "a link into a folder that everybody can write",
        40,
        |path, secret| in_folder(path, secret, 0o777),
        Mistake,
    ),
    ("H7", "the same, where only owners delete", 40, |path, secret| in_folder(path, secret, 0o1777), Works),
];

/// One that needs root: the file of somebody else.
const STRANGERS: Row = (
    "H7",
    "another user's",
    40,
    |path, secret| {
        write_private(path, secret);
        chown(path, Some(12_345), None).unwrap();
    },
    WorksWithAWarning,
);

fn rows() -> Vec<&'static Row> {
    let root = rustix::process::geteuid().is_root();
    ROWS.iter().chain(root.then_some(&STRANGERS)).collect()
}

/// A secret of exactly so many bytes that no other row has.
fn secret(row: usize, bytes: usize) -> String {
    let text = format!("{row:02}{}", sha256_hex(&row.to_string()));
    text.chars().cycle().take(bytes).collect()
}

fn works(daemon: &Daemon, secret: &str) -> bool {
    // What cannot stand in a head is not presented; it is not accepted either.
    let presentable = !secret.is_empty() && secret.len() < 10_000;
    presentable && daemon.bearer(secret).get("/v1/me").status == 200
}

fn status(daemon: &Daemon) -> Value {
    daemon.root().get("/v1/admin/status").expect(200)
}

fn enabled(status: &Value, name: &str) -> bool {
    let services = status["services"].as_array().unwrap();
    services.iter().find(|service| service["name"] == name).unwrap()["enabled"].as_bool().unwrap()
}

#[test]
fn at_a_start_each_fault_turns_its_own_service_off_and_says_so() {
    let setup = Setup::new();
    for (number, (_, _, bytes, place, _)) in rows().into_iter().enumerate() {
        place(&setup.path().join(format!("row-{number}.secret")), &secret(number, *bytes));
    }
    let service = |number| format!("[services.row-{number}]\nsecret_file = \"row-{number}.secret\"\n");
    let config: String = (0..rows().len()).map(service).collect();
    let daemon = setup.config(&config).start();
    let status = status(&daemon);
    for (number, (fault, what, bytes, _, meaning)) in rows().into_iter().enumerate() {
        let on = matches!(meaning, Works | WorksWithAWarning);
        assert_eq!(works(&daemon, &secret(number, *bytes)), on, "{fault} {what}");
        assert_eq!(enabled(&status, &format!("row-{number}")), on, "{fault} {what}");
        let file = format!("row-{number}.secret");
        if *meaning == Works {
            assert!(!daemon.stderr().contains(&file), "{fault} {what}: {}", daemon.stderr());
        } else {
            eventually("the log names the file", || daemon.stderr().contains(&file).then_some(()));
        }
        assert!(!daemon.stderr().contains(&secret(number, 40)), "{fault} {what}: a secret in the log");
    }
}

#[test]
fn at_a_reload_each_fault_is_refused_and_the_old_secret_goes_on() {
    let old = service_secret("old");
    let daemon = Setup::new()
        .config("[services.one]\nsecret_file = \"one.secret\"\n")
        .file("one.secret", &old)
        .start();
    let file = daemon.file("one.secret");
    let reload = || daemon.root().post("/v1/admin/reload", json!({}));
    for (number, (fault, what, bytes, place, meaning)) in rows().into_iter().enumerate() {
        let (new, before, logged) = (secret(number, *bytes), status(&daemon), daemon.stderr().len());
        fs::remove_file(&file).unwrap();
        place(&file, &new);
        let answer = reload();
        let refused = *meaning == Mistake;
        assert_eq!(answer.status, if refused { 422 } else { 200 }, "{fault} {what}: {}", answer.text());
        let on = matches!(meaning, Works | WorksWithAWarning);
        assert_eq!((works(&daemon, &old), works(&daemon, &new)), (refused, on), "{fault} {what}");
        let after = status(&daemon);
        let same = after["reload"]["generation"] == before["reload"]["generation"];
        assert_eq!(same, refused, "{fault} {what}");
        assert_eq!(after["reload"]["error"].is_string(), refused, "{fault} {what}: {after}");
        assert_eq!(enabled(&after, "one"), on || refused, "{fault} {what}");
        if *meaning != Works {
            eventually("the log names the file", || {
                daemon.stderr()[logged..].contains("one.secret").then_some(())
            });
        }
        // Back to where it was, for the next row.
        if file.is_dir() && !file.is_symlink() {
            fs::remove_dir(&file).unwrap();
        }
        let _ = fs::remove_dir_all(file.with_extension("folder"));
        let _ = fs::remove_file(&file);
        write_private(&file, &old);
        reload().expect(200);
        assert!(works(&daemon, &old) && !works(&daemon, &new), "{fault} {what}");
    }
}

#[test]
fn a_secret_that_is_missing_from_its_env_file_is_off_and_no_other_source_is_asked() {
    let text = service_secret("env");
    let cases: [(&str, Option<String>, bool); 5] = [
        ("the key is there", Some(format!("TOKEN={text}\n")), true),
        ("the key is not there", Some(format!("OTHER={text}\n")), false),
        ("the key is empty", Some("TOKEN=\n".to_owned()), false),
        ("the key is a comment", Some(format!("# TOKEN={text}\n")), false),
        ("the file is not there", None, false),
    ];
    for (what, file, on) in cases {
        let mut setup = Setup::new()
            .config("[services.one]\nenv_file = \"product.env\"\nenv_key = \"TOKEN\"\n")
            // The daemon's own environment is no source (P15).
            .variable("TOKEN", &text);
        if let Some(file) = &file {
            setup = setup.file("product.env", file);
        }
        let daemon = setup.start();
        assert_eq!((works(&daemon, &text), enabled(&status(&daemon), "one")), (on, on), "H4, P15: {what}");
        assert_eq!(daemon.stderr().contains("product.env"), !on, "H4, P15: {what}: {}", daemon.stderr());
    }
}

#[test]
fn a_configuration_with_any_fault_leaves_the_old_one_whole() {
    let good = "[services.one]\nsecret_file = \"one.secret\"\n[authorize.p]\nkinds = [\"service\"]\n";
    let daemon = Setup::new().config(good).file("one.secret", service_secret("one")).start();
    // Each beside a change that would be seen if half of it came through.
    let other = "[services.two]\nsecret_file = \"two.secret\"\n[authorize.p]\nkinds = [\"agent\"]\n";
    daemon.rewrite("two.secret", service_secret("two"));
    let faults = [
        ("an unknown key", format!("{other}surprise = 1\n"), "surprise"),
        ("an unknown table", format!("{other}[surprise]\n"), "surprise"),
        ("no TOML", format!("{other}[[[\n"), "bearerd.toml"),
        (
            "the same table twice",
            format!("{other}[services.two]\nsecret_file = \"two.secret\"\n"),
            "bearerd.toml",
        ),
        ("a value of another type", format!("{other}[limits]\nconnections = \"many\"\n"), "connections"),
        ("a value out of its bounds", format!("{other}[limits]\nconnections = 0\n"), "connections"),
        ("a kind that is none", other.replace("agent", "root"), "kinds"),
        ("a service without a source", format!("{other}[services.three]\n"), "three"),
        (
            "everybody as a proxy",
            format!("{other}[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n"),
            "trusted_proxies",
        ),
        (
            "two services with one secret",
            format!("{other}[services.three]\nsecret_file = \"two.secret\"\n"),
            "three",
        ),
        ("a keyring that is not there", format!("{other}[keys]\nfile = \"nowhere\"\n"), "nowhere"),
        ("bytes that are no text", format!("{other}# \u{0}\n"), "bearerd.toml"),
        ("more than 64 KiB", format!("{other}#{}\n", "x".repeat(70_000)), "bearerd.toml"),
    ];
    let policy = |name: &str| daemon.bearer(&service_secret(name)).get("/v1/authorize/@p").status;
    for (what, config, word) in faults {
        daemon.rewrite("bearerd.toml", &config);
        let before = status(&daemon)["reload"]["generation"].clone();
        let outcome = daemon.cli(&["reload"]);
        assert_eq!(outcome.code, 1, "H11 {what}: {outcome:?}");
        assert!(outcome.stderr.contains(word), "H11 {what}: {outcome:?}");
        let after = status(&daemon)["reload"].clone();
        assert_eq!(after["generation"], before, "H11 {what}");
        assert!(text_of(&after, "error").contains(word), "H11 {what}: {after}");
        assert_eq!((policy("one"), policy("two")), (200, 401), "H11 {what}: half of it came through");
    }
    fs::remove_file(daemon.file("bearerd.toml")).unwrap();
    daemon.cli(&["reload"]).expect(1);
    assert_eq!((policy("one"), policy("two")), (200, 401), "H11: a configuration that went missing");
    daemon.rewrite("bearerd.toml", other);
    daemon.cli(&["reload"]).expect(0);
    assert_eq!((policy("one"), policy("two")), (401, 403));
}

/// How far apart two readings of a file are that have to be alike before it is believed.
const BETWEEN_READINGS: Duration = Duration::from_millis(10);

#[test]
fn a_file_that_is_half_written_is_never_taken_for_a_whole_one() {
    let mut live = service_secret("first");
    let daemon = Setup::new()
        .config("[services.one]\nsecret_file = \"one.secret\"\n")
        .file("one.secret", &live)
        .start();
    let file = daemon.file("one.secret");
    let mut caught = 0;
    for round in 0..60 {
        let whole = service_secret(&format!("round-{round}"));
        // Long enough to be a secret itself.
        let half = &whole[..40];
        let gate = Barrier::new(2);
        let (incomplete_for, answer) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                gate.wait();
                let begun = Instant::now();
                let mut file = fs::File::create(&file).unwrap();
                file.write_all(half.as_bytes()).unwrap();
                while begun.elapsed() < Duration::from_millis(3 + round % 5) {
                    std::hint::spin_loop();
                }
                file.write_all(&whole.as_bytes()[40..]).unwrap();
                begun.elapsed()
            });
            gate.wait();
            let answer = daemon.root().post("/v1/admin/reload", json!({}));
            (writing.join().unwrap(), answer)
        });
        // A writer that was put to sleep half-way looks like one that is done; nobody can tell those apart.
        if incomplete_for < BETWEEN_READINGS {
            caught += 1;
            assert!(
                !works(&daemon, half),
                "H6: half a secret is accepted in round {round}: {}",
                answer.text()
            );
            assert!(
                works(&daemon, &whole) || works(&daemon, &live),
                "H6: an empty file was believed in round {round}: {}",
                answer.text()
            );
        }
        daemon.root().post("/v1/admin/reload", json!({})).expect(200);
        assert!(works(&daemon, &whole) && !works(&daemon, half) && !works(&daemon, &live));
        live = whole;
    }
    assert!(caught > 0, "no round was quick enough to say anything");
}
