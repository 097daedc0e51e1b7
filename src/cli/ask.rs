//! What every command that asks the daemon shares: where it is, how its refusals become exit codes, how a list is
//! read to its end, how a secret comes in.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use hyper::{Method, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    Exit,
    client::{Answer, AskError, Client},
    output::{self, Column},
};
use crate::{
    config::{load, load::ConfigError, locate, span},
    settings::{Bounds, Settings},
    token::{TokenId, text::PRESENTED_BYTES_MAX},
};

/// The longest id that is repeated in an error, in bytes.
const ID_BYTES_MAX: usize = 40;
/// The most bytes that are read of a secret from a file or standard input.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// What asks for a token at a terminal.
const TOKEN_PROMPT: &str = "Token: ";

/// What the options are listed under that every command takes, apart from those that are its own.
const EVERYWHERE: &str = "Options of every command";

/// Options that every command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// The admin socket of the daemon to ask
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The configuration file of the daemon
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory of the daemon; the package's is /var/lib/bearerd
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = EVERYWHERE, overrides_with = "json")]
    pub json: bool,
    /// Do not ask for confirmation; where there is no terminal, nobody is asked
    #[arg(long, short = 'y', global = true, help_heading = EVERYWHERE, overrides_with = "yes")]
    pub yes: bool,
}

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub struct Stop {
    /// How it ends.
    pub exit: Exit,
    /// What it says on standard error; nothing where there is nothing to say.
    pub says: String,
}

impl Stop {
    /// It failed.
    pub fn failed(says: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, says: says.into() }
    }

    /// It was called wrongly.
    pub fn usage(says: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, says: says.into() }
    }

    /// What was asked for is not there.
    pub fn not_found(says: impl Into<String>) -> Self {
        Self { exit: Exit::NotFound, says: says.into() }
    }

    /// A file that cannot be used, named, with what the system says.
    pub fn of_file(path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::PermissionDenied => Exit::Denied,
            _ => Exit::Failed,
        };
        Self { exit, says: format!("{}: {error}", path.display()) }
    }

    /// A configuration that cannot be used, and what is said of it.
    pub fn of_config(error: &ConfigError, says: String) -> Self {
        let exit = match error {
            error if error.is_missing_file() => Exit::NotFound,
            error if error.is_kept_from_us() => Exit::Denied,
            _ => Exit::Failed,
        };
        Self { exit, says }
    }

    /// Nobody listens any more: `bearerd token list | head`.
    pub const fn quietly() -> Self {
        Self { exit: Exit::Done, says: String::new() }
    }

    /// Says on standard error what there is to say.
    pub fn tell(&self) {
        if !self.says.is_empty() {
            output::tell(&format!("bearerd: {}", self.says));
        }
    }

    /// What the daemon's refusal is as an exit code.
    fn refused(answer: &Answer) -> Self {
        let exit = match answer.status {
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
            StatusCode::CONFLICT => Exit::Conflict,
            _ => Exit::Failed,
        };
        Self { exit, says: answer.detail() }
    }
}

impl From<AskError> for Stop {
    fn from(error: AskError) -> Self {
        let exit = match error {
            AskError::System(error) if error.kind() == io::ErrorKind::BrokenPipe => return Self::quietly(),
            AskError::Unreachable(_) => Exit::Unreachable,
            AskError::NotLetIn(_) => Exit::Denied,
            AskError::Broken(_) | AskError::System(_) => Exit::Failed,
        };
        Self { exit, says: error.to_string() }
    }
}

impl Common {
    /// The daemon.
    pub fn client(&self) -> Result<Client, Stop> {
        Ok(Client::find(&self.places()?)?)
    }

    /// Where the daemon should be.
    pub fn places(&self) -> Result<Vec<PathBuf>, Stop> {
        let environment = locate::Environment::of_process();
        let file = self.config.as_deref().unwrap_or(Path::new(locate::SYSTEM_CONFIG));
        let settings = match load::read_settings(file) {
            Ok(settings) => settings,
            Err(error) => self.places_despite(file, &error, &environment)?,
        };
        let asked = locate::Asked {
            socket: self.socket.as_deref(),
            config: self.config.as_deref(),
            data: self.data.as_deref(),
        };
        Ok(locate::admin_sockets(asked, &settings, &environment))
    }

    /// What is still known of where the daemon is where its configuration is not good. One that runs must be
    /// reached, however broken that is now; but whoever names one means the daemon it is of, and no other.
    fn places_despite(
        &self,
        file: &Path,
        error: &ConfigError,
        environment: &locate::Environment,
    ) -> Result<Settings, Stop> {
        if let Some(places) = load::read_places(file) {
            return Ok(places);
        }
        let is_said_elsewhere = self.socket.is_some() || environment.socket.is_some() || self.data.is_some();
        if self.config.is_none() || is_said_elsewhere {
            return Ok(Settings::default());
        }
        Err(Stop::of_config(error, format!("{error}\nname the daemon by --socket or --data instead")))
    }

    /// Asks, and hands over what a good answer says.
    pub fn ask(&self, method: Method, target: &str, body: Option<&Value>) -> Result<Value, Stop> {
        let answer = self.client()?.ask(method, target, body)?;
        good(answer).map_err(|stop| match missing(target) {
            Some(says) if stop.exit == Exit::NotFound => Stop { says, ..stop },
            _ => stop,
        })
    }

    /// Asks for something.
    pub fn get(&self, target: &str) -> Result<Value, Stop> {
        self.ask(Method::GET, target, None)
    }

    /// Shows one thing: its facts for people, as it is for programs.
    pub fn show(&self, item: &Value) -> Result<(), Stop> {
        if self.json { output::json(item) } else { output::facts(item) }
    }

    /// Says that it was done, to people; shows what came of it, to programs.
    pub fn done(&self, item: &Value, said: &str) -> Result<(), Stop> {
        if self.json {
            return output::json(item);
        }
        output::tell(said);
        Ok(())
    }

    /// Shows a new secret: alone on standard output, and what belongs to it on standard error. For programs,
    /// all of it is one object on standard output.
    pub fn minted(&self, answer: &Value, secret: &str) -> Result<(), Stop> {
        if self.json {
            return output::json(answer);
        }
        let Some(text) = answer.get(secret).and_then(Value::as_str) else {
            return Err(Stop::failed("the daemon's answer holds no secret"));
        };
        output::tell_facts(answer, secret);
        output::line(text)
    }

    /// Shows a list to its end, or its first `limit` items.
    pub fn list(&self, target: &str, columns: &[Column], limit: Option<usize>) -> Result<(), Stop> {
        let items = self.items(target, limit)?;
        if self.json { output::json(&Value::Array(items)) } else { output::table(columns, &items) }
    }

    /// The id of the first item of a list whose `member` is `name`, in whatever case.
    pub fn id_by_name(&self, target: &str, member: &str, name: &str) -> Result<Option<String>, Stop> {
        let is_it = |item: &&Value| {
            item.get(member).and_then(Value::as_str).is_some_and(|other| other.eq_ignore_ascii_case(name))
        };
        let items = self.items(target, None)?;
        let found = items.iter().find(is_it).and_then(|item| item.get("id")).and_then(Value::as_str);
        Ok(found.map(str::to_owned))
    }

    /// The items of a list, page by page.
    pub fn items(&self, target: &str, limit: Option<usize>) -> Result<Vec<Value>, Stop> {
        const PAGE: usize = 500;
        let client = self.client()?;
        let most = limit.unwrap_or(usize::MAX);
        let mut items: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let size = PAGE.min(most.saturating_sub(items.len()));
            let joint = if target.contains('?') { '&' } else { '?' };
            let mut page = good(client.get(&format!("{target}{joint}limit={size}{cursor}"))?)?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) if items.len() < most => cursor = format!("&cursor={}", encoded(next)),
                _ => return Ok(items),
            }
        }
    }

    /// Asks whether what destroys is meant, where there is somebody to ask and `--yes` has not said so already. A
    /// script means what it says.
    pub fn confirm(&self, what: &str) -> Result<(), Stop> {
        if self.yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(());
        }
        output::tell(&format!("{what}. Go on? [y/N]"));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        match (read, answer.trim()) {
            (Ok(_), "y" | "Y" | "yes") => Ok(()),
            _ => Err(Stop::failed("left as it was")),
        }
    }
}

/// What a good answer says; a refusal stops the command.
pub fn good(answer: Answer) -> Result<Value, Stop> {
    if answer.is_good() { Ok(answer.body) } else { Err(Stop::refused(&answer)) }
}

/// A span of time as an argument: seconds, or as people write it, such as `90s`, `12h` or `30d`.
pub fn span(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) => span::parse(text, Bounds::new(0, u64::MAX)).map_err(|fault| fault.to_string()),
    }
}

/// How many rows a list is to have, as an argument: at least one.
pub fn rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(rows) => Ok(rows),
        Err(error) => Err(error.to_string()),
    }
}

/// What is not there, where the daemon says that there is nothing at a target: `there is no host host_…`.
fn missing(target: &str) -> Option<String> {
    let path = target.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').skip_while(|segment| noun(segment).is_none());
    let noun = noun(segments.next()?)?;
    let id = form_urlencoded::parse(segments.next()?.as_bytes()).next()?.0.into_owned();
    match (noun, id.as_str()) {
        ("token", "lookup") => Some(
            "that is no token of this daemon; the secret of a service is in no store, and is ended in its file"
                .to_owned(),
        ),
        // These routes know no other kind, and the token may well be there.
        ("token", id) if path.starts_with("/v1/tokens/") => Some(format!(
            "there is no personal access token {}; tokens of other kinds can only be shown and revoked",
            output::shown(id)
        )),
        _ => Some(format!("there is no {noun} {}", output::shown(&id))),
    }
}

/// The id of a token, as an argument.
pub fn token_id(text: &str) -> Result<TokenId, Stop> {
    TokenId::parse(text)
        .map_err(|_| no_id(text, "is not the id of a token, which is token_ and 26 characters"))
}

/// An argument that is no id, and therefore of nothing that is there. Nothing is asked by it.
pub fn no_id(text: &str, why: &str) -> Stop {
    // So long is no id: it may be a token, which is not to be repeated.
    if text.len() > ID_BYTES_MAX {
        return Stop::not_found(format!("that {why}; the text of a token is read from standard input alone"));
    }
    Stop::not_found(format!("{} {why}", output::shown(text)))
}

/// A name that nobody has. One that is as long as a token may be one, and is not repeated.
pub fn nobody(noun: &str, name: &str) -> Stop {
    let name = if name.len() > ID_BYTES_MAX { "of that name".to_owned() } else { output::shown(name) };
    Stop::not_found(format!("there is no {noun} {name}"))
}

fn noun(collection: &str) -> Option<&'static str> {
    let nouns = [
        ("users", "user"),
        ("tokens", "token"),
        ("hosts", "host"),
        ("clients", "client"),
        ("links", "link"),
        ("enrollments", "enrollment"),
    ];
    nouns.into_iter().find(|(plural, _)| *plural == collection).map(|(_, noun)| noun)
}

/// Text as it goes into a query or a path.
pub fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A secret from a file, from standard input (`-`), or typed without echo, without the white space around it. Never
/// from an argument.
pub fn secret(from: Option<&Path>, prompt: &str) -> Result<Zeroizing<String>, Stop> {
    let text = secret_text(from, prompt)?;
    something(from, text.trim())
}

/// A token, read as a secret is. Whoever gave it as an argument, where a file is named, does not see it repeated.
pub fn token(from: Option<&Path>) -> Result<Zeroizing<String>, Stop> {
    secret(from, TOKEN_PROMPT).map_err(|stop| not_as_an_argument(from, stop))
}

/// The same to be judged: none where what is there can be no token, because it is longer than any or no text.
pub fn token_if_any(from: Option<&Path>) -> Result<Option<Zeroizing<String>>, Stop> {
    let bytes = secret_bytes(from, TOKEN_PROMPT).map_err(|stop| not_as_an_argument(from, stop))?;
    match judged(&bytes).map(str::trim) {
        Ok(text) if text.len() <= PRESENTED_BYTES_MAX => something(from, text).map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

fn not_as_an_argument(from: Option<&Path>, stop: Stop) -> Stop {
    match from {
        Some(path) if path != Path::new("-") && path.symlink_metadata().is_err() => Stop::not_found(
            "there is no such file; a token is read from standard input or a file, never from an argument",
        ),
        Some(_) | None => stop,
    }
}

/// A password, read as a secret is: all of it up to the end of the line that it may stand on, since white space
/// counts in a password.
pub fn password(from: Option<&Path>, prompt: &str) -> Result<Zeroizing<String>, Stop> {
    let text = secret_text(from, prompt)?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    something(from, line.unwrap_or(&text))
}

/// What was read for a secret, if that is anything.
fn something(from: Option<&Path>, text: &str) -> Result<Zeroizing<String>, Stop> {
    if !text.is_empty() {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    Err(Stop::usage(match from {
        Some(path) if path != Path::new("-") => format!("{} is empty", path.display()),
        Some(_) | None => "nothing came on standard input, where a secret is expected".to_owned(),
    }))
}

fn secret_text(from: Option<&Path>, prompt: &str) -> Result<Zeroizing<String>, Stop> {
    let bytes = secret_bytes(from, prompt)?;
    match judged(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(what) => Err(Stop::usage(format!("{} {what}", source(from)))),
    }
}

/// Where a secret comes from, for people.
pub fn source(from: Option<&Path>) -> String {
    match from {
        Some(path) if path != Path::new("-") => path.display().to_string(),
        Some(_) | None => "standard input".to_owned(),
    }
}

/// The text of a secret, or why it is none.
fn judged(bytes: &[u8]) -> Result<&str, &'static str> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        return Err("is longer than 64 KiB");
    }
    str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")
}

/// What is there, one byte beyond the most at which a secret ends included, so that nobody takes a part for it.
fn secret_bytes(from: Option<&Path>, prompt: &str) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let unreadable = |what: &str, error: io::Error| Stop::failed(format!("{what}: {error}"));
    let most = SECRET_BYTES_MAX.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::new());
    match from {
        Some(path) if path != Path::new("-") => {
            let file = fs::File::open(path).map_err(|error| Stop::of_file(path, &error))?;
            file.take(most).read_to_end(&mut bytes).map_err(|error| Stop::of_file(path, &error))?;
        }
        None if io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password(prompt);
            *bytes = typed.map_err(|error| unreadable("the terminal", error))?.into_bytes();
        }
        Some(_) | None => {
            let read = io::stdin().take(most).read_to_end(&mut bytes);
            read.map_err(|error| unreadable("standard input", error))?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named() {
        let told = |target: &str| missing(target).unwrap_or_default();
        assert_eq!(told("/v1/hosts/host_1/rotate"), "there is no host host_1");
        assert_eq!(told("/v1/admin/tokens/a%20b"), "there is no token a b");
        assert_eq!(told("/v1/users/user_1/tokens?limit=1"), "there is no user user_1");
        assert!(told("/v1/admin/tokens/lookup").starts_with("that is no token of this daemon"));
        for target in ["/v1/tokens/token_1", "/v1/tokens/token_1/rotate"] {
            assert!(told(target).starts_with("there is no personal access token token_1;"), "{target}");
        }
        assert_eq!(missing("/v1/users?limit=1"), None);
        assert_eq!(missing("/v1/admin/status"), None);
    }

    #[test]
    fn what_is_no_id_is_not_found_and_not_repeated_where_it_may_be_a_token() {
        assert!(token_id("token_01jd8w3m5ze8vr3pa0n2q9k6ms").is_ok());
        for text in ["", "revoke", "a/b", "user_01jd8w3m5ze8vr3pa0n2q9k6ms", &"x".repeat(40)] {
            let stop = token_id(text).unwrap_err();
            assert_eq!(stop.exit, Exit::NotFound);
            assert!(stop.says.starts_with(&format!("{text} is not the id")), "{}", stop.says);
        }
        let long = token_id(&"x".repeat(41)).unwrap_err().says;
        assert!(long.starts_with("that is not the id") && !long.contains("xx"), "{long}");
        assert!(long.ends_with("read from standard input alone"), "{long}");
    }

    #[test]
    fn a_name_that_nobody_has_is_not_repeated_where_it_may_be_a_token() {
        let told = |name: &str| nobody("host", name).says;
        assert_eq!(told("web-1"), "there is no host web-1");
        assert_eq!(told(&"x".repeat(41)), "there is no host of that name");
    }

    #[test]
    fn a_span_is_seconds_or_what_people_write() {
        assert_eq!(span("0"), Ok(0));
        assert_eq!(span("90"), Ok(90));
        assert_eq!(span("90s"), Ok(90));
        assert_eq!(span("1h 30m"), Ok(5_400));
        assert!(span("soon").is_err());
        assert!(span("-1").is_err());
    }
}
