//! A blocking HTTP/1.1 client of the few pages that the tests need, over TCP and Unix sockets.
//!
//! Whatever it receives through [`Caller`] it holds to the rules that bind every answer: problems
//! have their members, a 401 has its challenge, an answer with a token in it is never stored.

use super::openapi;
use super::text::tokens_in;
use super::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than any limit of the daemon, so that a hang shows as a failure and not as a wait.
const ANSWER_SECONDS_MAX: u64 = 40;

/// Where requests go. The address changes when the daemon restarts, hence the shared cell.
#[derive(Clone)]
pub enum Target {
    Tcp(Arc<Mutex<String>>),
    Unix(PathBuf),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(from),
            Self::Unix(stream) => stream.write(from),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One open connection; requests on it may be raw bytes.
pub struct Connection {
    stream: BufReader<Stream>,
}

impl Connection {
    /// Opens a connection.
    pub fn open(target: &Target) -> io::Result<Self> {
        let patience = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
        let stream = match target {
            Target::Tcp(address) => {
                let address = address.lock().unwrap().clone();
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)?;
                Stream::Tcp(stream)
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)?;
                Stream::Unix(stream)
            }
        };
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends exactly these bytes. A peer that has already hung up is not an error here: its answer
    /// may still be waiting to be read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        let _ = match self.stream.get_mut() {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }

    /// Reads one answer; fails the test where there is none.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        match self.try_answer(false) {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("the connection was closed without an answer"),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Reads one answer, or `None` where the connection ends instead. `bodiless` after a HEAD.
    pub fn try_answer(&mut self, bodiless: bool) -> io::Result<Option<Answer>> {
        loop {
            let Some(mut answer) = self.head()? else { return Ok(None) };
            if answer.status == 100 {
                continue;
            }
            if !bodiless && answer.status != 204 && answer.status != 304 {
                answer.body = self.body(&answer)?;
            }
            return Ok(Some(answer));
        }
    }

    /// Whether the daemon has closed this connection (or does, within the client's patience).
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Everything that comes until the daemon closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn head(&mut self) -> io::Result<Option<Answer>> {
        let first = match self.line() {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        };
        if first.is_empty() {
            return Ok(None);
        }
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {first}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("not a header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Answer { status, headers, body: Vec::new() }))
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = self.line()?;
                let size = usize::from_str_radix(size.split(';').next().unwrap_or(""), 16)
                    .map_err(|_| io::Error::other("not a chunk size"))?;
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk)?;
                body.append(&mut chunk);
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        if let Some(length) = answer.header("content-length") {
            body.resize(length.parse().map_err(|_| io::Error::other("not a length"))?, 0);
            self.stream.read_exact(&mut body)?;
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, if it was sent (the first, if several).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` where there is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Fails unless the status is this one; gives the body.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{:?}", self.text(), self.headers);
        self.json()
    }

    /// Fails unless this is a problem of this status with this code; gives it.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// Fails unless this is a 400 that names the field.
    #[track_caller]
    pub fn names_field(&self, field: &str) -> Value {
        let problem = self.expect(400);
        assert!(problem["code"] == "invalid_field" || problem["code"] == "missing_field", "{problem}");
        assert_eq!(problem["field"], field, "{problem}");
        problem
    }

    /// Fails unless `Cache-Control` has `no-store`.
    #[track_caller]
    pub fn is_never_stored(&self) {
        let control = self.all("cache-control").join(", ").to_ascii_lowercase();
        assert!(control.contains("no-store"), "no no-store in {:?}", self.headers);
    }

    #[track_caller]
    fn keeps_the_house_rules(&self, request: &Request<'_>) {
        assert_ne!(
            self.status,
            500,
            "a 500 is always a bug: {} {}: {}",
            request.method,
            request.path,
            self.text()
        );
        let document = openapi::document(|| openapi::ask(&request.caller.target));
        openapi::describes(document, request.method, request.path, self);
        if matches!(self.status, 200..300) {
            openapi::describes_granted(document, request.method, request.path, &request.body);
        }
        if !tokens_in(&self.text()).is_empty() {
            self.is_never_stored();
        }
        if self.status == 401 {
            let challenge = self.header("www-authenticate").unwrap_or("");
            assert!(challenge.starts_with("Bearer"), "{} {}: no challenge", request.method, request.path);
        }
        if self.status == 405 {
            assert!(
                self.header("allow").is_some(),
                "{} {}: a 405 names what is allowed",
                request.method,
                request.path
            );
        }
        if self.status == 429 {
            assert!(self.header("retry-after").is_some(), "a 429 says when to come back");
        }
        let path = request.path.split('?').next().unwrap_or("");
        let oauth = path == "/v1/introspect" || path == "/v1/revoke";
        let other = oauth || path.starts_with("/portal") || path.starts_with("/v1/authorize");
        if self.status >= 400 && request.method != "HEAD" && !other {
            let kind = self.header("content-type").unwrap_or("");
            assert!(
                kind.starts_with("application/problem+json"),
                "{} {}: {kind}",
                request.method,
                request.path
            );
            let problem = self.json();
            for member in ["type", "title", "detail", "code"] {
                assert!(problem[member].is_string(), "no {member} in {problem}");
            }
            assert_eq!(problem["status"], self.status, "{problem}");
        }
    }
}

/// Somebody who asks: a target and what they show to it.
#[derive(Clone)]
pub struct Caller {
    target: Target,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// Somebody without any credential.
    pub fn new(target: Target) -> Self {
        Self { target, headers: Vec::new() }
    }

    /// The same caller, also sending this header with each request.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same target with this bearer and nothing else.
    pub fn bearer(&self, token: &str) -> Self {
        Self::new(self.target.clone()).with("authorization", &format!("Bearer {token}"))
    }

    /// The bearer this caller presents.
    #[track_caller]
    pub fn token(&self) -> &str {
        let shown = self.headers.iter().find(|(name, _)| name == "authorization");
        shown.and_then(|(_, value)| value.strip_prefix("Bearer ")).expect("a caller with a bearer")
    }

    /// A connection of one's own.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(&self.target).expect("connecting")
    }

    /// Begins a request.
    pub fn request<'a>(&'a self, method: &'a str, path: &'a str) -> Request<'a> {
        Request { caller: self, method, path, headers: self.headers.clone(), body: Vec::new() }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    #[track_caller]
    pub fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path).send()
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.request("POST", path).json(body).send()
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Answer {
        self.request("PATCH", path).json(body).send()
    }

    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.request("PUT", path).json(body).send()
    }

    /// POSTs a form.
    #[track_caller]
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.request("POST", path).form(fields).send()
    }

    /// All pages of a list, a page of `limit` at a time.
    #[track_caller]
    pub fn pages(&self, path: &str, limit: usize) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut cursor: Option<String> = None;
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let more = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page = self.get(&format!("{path}{joint}limit={limit}{more}")).expect(200);
            pages.push(super::items(&page).clone());
            assert!(pages.len() < 1_000, "a list without an end: {path}");
            match &page["next_cursor"] {
                Value::Null => return pages,
                next => cursor = Some(next.as_str().expect("a cursor is text").to_owned()),
            }
        }
    }

    /// A whole list, whatever its length.
    #[track_caller]
    pub fn all(&self, path: &str) -> Vec<Value> {
        self.pages(path, 500).into_iter().flatten().collect()
    }

    /// What introspection says of a token when this caller asks.
    #[track_caller]
    pub fn introspect(&self, token: &str) -> Value {
        self.form("/v1/introspect", &[("token", token)]).expect(200)
    }

    /// Mints a PAT for oneself; gives the whole 201.
    #[track_caller]
    pub fn mint_pat(&self, body: Value) -> Value {
        self.post("/v1/tokens", body).expect(201)
    }

    /// Mints a PAT for oneself that says no more than its name; gives the token.
    #[track_caller]
    pub fn any_pat(&self) -> String {
        super::text_of(&self.mint_pat(json!({"name": "any"})), "token")
    }
}

/// A request being put together.
pub struct Request<'a> {
    caller: &'a Caller,
    pub method: &'a str,
    pub path: &'a str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request<'_> {
    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a body of this type.
    #[must_use]
    pub fn body(mut self, kind: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.with("content-type", kind)
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(self, body: Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Adds a form body.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// The bytes that will be sent, without a wish to close afterwards.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: bearerd.test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() || matches!(self.method, "POST" | "PUT" | "PATCH") {
            head.extend(["content-length: ", &self.body.len().to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own and reads the answer.
    #[track_caller]
    pub fn send(self) -> Answer {
        match self.try_send() {
            Ok(answer) => answer,
            Err(error) => panic!("{} {}: {error}", self.method, self.path),
        }
    }

    /// Like [`Request::send`], for when the daemon may be gone.
    #[track_caller]
    pub fn try_send(&self) -> io::Result<Answer> {
        let mut connection = Connection::open(&self.caller.target)?;
        connection.send(self.bytes());
        let answer = connection.try_answer(self.method == "HEAD")?;
        let answer = answer.ok_or_else(|| io::Error::other("closed without an answer"))?;
        answer.keeps_the_house_rules(self);
        Ok(answer)
    }

    /// Sends it on a connection that stays open and reads the answer.
    #[track_caller]
    pub fn send_on(&self, connection: &mut Connection) -> Answer {
        connection.send(self.bytes());
        let answer = connection.answer();
        answer.keeps_the_house_rules(self);
        answer
    }
}
