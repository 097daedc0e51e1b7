//! The server below the routes, over real sockets, with a handler that knows nothing of tokens.
//!
//! What it must do within a limit is waited for as an event: the server closes, or answers. A limit that
//! is not the subject of a test is far away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bearerd::http::body::RequestBody;
use bearerd::http::reply::Reply;
use bearerd::http::server::{Address, Door, Limits, Listeners, Peer, Request, serve};
use bearerd::metrics::Connections;
use hyper::StatusCode;
use hyper::body::Bytes;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const FAR: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(150);
/// How long a test waits for what must happen, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: usize = 64;
/// More than the kernel keeps for a reader that does not read.
const BIG_BYTES: usize = 32 * 1024 * 1024;

const LIMITS: Limits = Limits {
    head_bytes_max: 1024,
    head: FAR,
    request: FAR,
    stall: FAR,
    drain: FAR,
    connections_max: 100,
    memory_bytes: None,
};

struct Server {
    address: SocketAddr,
    admin: PathBuf,
    counts: Arc<Connections>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
    /// Says when a request for `/wait` has reached its handler.
    entered: mpsc::UnboundedReceiver<()>,
    /// Lets one request for `/wait` go on.
    go: Arc<Notify>,
    _folder: TempDir,
}

async fn start(limits: Limits) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let admin = folder.path().join("admin.sock");
    let mut listeners = Listeners::new();
    listeners.tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    listeners.unix(&admin, 0o600, Door::Admin).await.unwrap();
    let address = match listeners.addresses().next() {
        Some((Door::Public, Address::Tcp(address))) => *address,
        other => panic!("{other:?}"),
    };
    let (entering, entered) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let going = Arc::clone(&go);
    let handler = Arc::new(move |request| handle(request, entering.clone(), Arc::clone(&going)));
    let counts = Arc::new(Connections::default());
    let (stop, stopping) = watch::channel(false);
    let served = tokio::spawn(serve(listeners, limits, Arc::clone(&counts), handler, stopping));
    Server { address, admin, counts, stop, served, entered, go, _folder: folder }
}

async fn handle(request: Request, entering: mpsc::UnboundedSender<()>, go: Arc<Notify>) -> Reply {
    let text = |text: String| Reply::text(StatusCode::OK, "text/plain; charset=utf-8", text);
    match request.parts.uri.path() {
        "/echo" => echo(request.body).await,
        "/wait" => {
            entering.send(()).unwrap();
            go.notified().await;
            text("waited".to_owned())
        }
        "/never" => std::future::pending().await,
        "/panic" => panic!("a handler that panics"),
        "/big" => text("x".repeat(BIG_BYTES)),
        "/whole" => stream(&["one", "two"], true),
        "/cut" => stream(&["one", "two"], false),
        "/endless" => endless(),
        "/who" => text(format!("{:?}", request.from)),
        path => text(path.to_owned()),
    }
}

async fn echo(body: RequestBody) -> Reply {
    match body.read(BODY_BYTES_MAX).await {
        Ok(bytes) => Reply::text(StatusCode::OK, "text/plain; charset=utf-8", bytes),
        Err(problem) => problem.into(),
    }
}

fn stream(parts: &'static [&'static str], finish: bool) -> Reply {
    let (reply, outflow) = Reply::stream("application/octet-stream");
    tokio::spawn(async move {
        for part in parts {
            outflow.send(Bytes::from_static(part.as_bytes())).await.unwrap();
        }
        if finish {
            outflow.finish();
        }
    });
    reply
}

fn endless() -> Reply {
    let (reply, outflow) = Reply::stream("application/octet-stream");
    tokio::spawn(async move { while outflow.send(vec![b'x'; 64 * 1024].into()).await.is_ok() {} });
    reply
}

/// One connection as its client has it.
struct Client<S>(S);

impl Server {
    async fn connect(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn connect_admin(&self) -> Client<UnixStream> {
        Client(UnixStream::connect(&self.admin).await.unwrap())
    }

    /// Sends these bytes on a connection of their own, and returns all that comes back until its end.
    async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.say(bytes).await;
        client.rest().await
    }

    async fn end(self) {
        // Nobody listens any more where the server has ended.
        let _ = self.stop.send(true);
        timeout(PATIENCE, self.served).await.expect("the server ends").unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> String {
        self.say(get(path)).await;
        self.answer().await
    }

    /// One whole answer: its head, and as many bytes as it says.
    async fn answer(&mut self) -> String {
        let answer = async {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\r\n\r\n") {
                bytes.push(self.0.read_u8().await.expect("the connection ended within an answer's head"));
            }
            let head = String::from_utf8(bytes).unwrap();
            let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.expect("the connection ended within an answer");
            head + &String::from_utf8(body).unwrap()
        };
        timeout(PATIENCE, answer).await.expect("an answer")
    }

    /// All that comes until the connection ends, by a reset as well.
    async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("the connection ends");
        String::from_utf8(bytes).unwrap()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{more}")
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// The one answer in a text: this status, and the connection ends with it.
#[track_caller]
fn refused(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer:?}");
    assert_eq!(header(answer, "connection"), Some("close"), "{answer:?}");
    assert_eq!(header(answer, "content-type"), Some("application/problem+json"), "{answer:?}");
}

#[track_caller]
fn body_is(answer: &str, body: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body, "{answer:?}");
}

#[tokio::test]
async fn a_kept_connection_answers_one_request_after_the_other() {
    let server = start(LIMITS).await;
    let mut client = server.connect().await;
    for path in ["/a", "/b", "/c"] {
        body_is(&client.get(path).await, path);
    }
    client.say(post("/echo", "Content-Length: 2\r\n\r\nhi")).await;
    body_is(&client.answer().await, "hi");
    client.say(post("/echo", "Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n")).await;
    body_is(&client.answer().await, "hi");
    client.say([get("/a"), post("/echo", "Content-Length: 1\r\n\r\nb"), get("/c")].concat()).await;
    for body in ["/a", "b", "/c"] {
        body_is(&client.answer().await, body);
    }
    server.end().await;
}

#[tokio::test]
async fn a_head_may_arrive_in_any_pieces() {
    let server = start(LIMITS).await;
    let mut client = server.connect().await;
    client.0.set_nodelay(true).unwrap();
    for byte in
        [get("/a"), post("/echo", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")].concat().bytes()
    {
        client.say([byte]).await;
        tokio::task::yield_now().await;
    }
    body_is(&client.answer().await, "/a");
    body_is(&client.answer().await, "hi");
    server.end().await;
}

#[tokio::test]
async fn what_has_two_readings_is_refused_and_the_connection_closed() {
    let server = start(LIMITS).await;
    let long = "a".repeat(1024);
    for (request, status) in [
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(), 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: a\r\n\r\n".to_owned(), 400),
        (post("/echo", "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"), 400),
        (post("/echo", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (post("/echo", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}".to_owned(), 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(), 405),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("! / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        (get(&format!("/{long}")), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n".to_owned(), 417),
    ] {
        refused(&server.exchange(&request).await, status);
    }
    assert_eq!(server.counts.refused.load(Relaxed), 22);
    server.end().await;
}

#[tokio::test]
async fn a_refusal_comes_in_its_turn_and_names_nothing_that_was_sent() {
    let mut server = start(LIMITS).await;
    let mut client = server.connect().await;
    client
        .say([get("/wait"), get("/b"), "canary / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), get("/d")].concat())
        .await;
    server.entered.recv().await.unwrap();
    server.go.notify_one();
    body_is(&client.answer().await, "waited");
    body_is(&client.answer().await, "/b");
    let last = client.rest().await;
    refused(&last, 405);
    assert_eq!(header(&last, "allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
    assert!(!last.contains("canary"));
    server.end().await;
}

#[tokio::test]
async fn a_head_answer_has_the_length_and_not_the_body() {
    let server = start(LIMITS).await;
    let answer = server.exchange("HEAD /abc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(header(&answer, "content-length"), Some("4"));
    assert!(answer.ends_with("\r\n\r\n"), "{answer:?}");
    server.end().await;
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let server = start(LIMITS).await;
    let answer = server.exchange("GET /a HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(answer.contains(" 200 ") && answer.ends_with("/a"), "{answer:?}");
    server.end().await;
}

#[tokio::test]
async fn a_body_ends_at_its_limit_however_it_is_delimited() {
    let server = start(LIMITS).await;
    let sized =
        |bytes: usize| post("/echo", &format!("Content-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes)));
    let chunked = |bytes: usize| {
        let body = "1\r\nx\r\n".repeat(bytes);
        post("/echo", &format!("Transfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n"))
    };
    let mut client = server.connect().await;
    for request in [sized(BODY_BYTES_MAX), chunked(BODY_BYTES_MAX)] {
        client.say(request).await;
        body_is(&client.answer().await, &"x".repeat(BODY_BYTES_MAX));
    }
    refused(&server.exchange(sized(BODY_BYTES_MAX + 1)).await, 413);
    refused(&server.exchange(post("/echo", "Content-Length: 4294967296\r\n\r\n")).await, 413);
    let over = server.exchange(chunked(BODY_BYTES_MAX + 1)).await;
    assert!(over.starts_with("HTTP/1.1 413 "), "{over:?}");
    server.end().await;
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_gets_to_read_why() {
    let server = start(LIMITS).await;
    let megabyte = 1024 * 1024;
    let request = post("/echo", &format!("Content-Length: {megabyte}\r\n\r\n{}", "x".repeat(megabyte)));
    refused(&server.exchange(request).await, 413);
    refused(&server.exchange(format!("GET / HTTP/1.1\n{}", "x".repeat(megabyte))).await, 400);
    server.end().await;
}

#[tokio::test]
async fn a_broken_body_is_never_taken_for_a_whole_one() {
    let server = start(LIMITS).await;
    for broken in [
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nA: b\r\n\r\n",
    ] {
        let request = post("/echo", &format!("Transfer-Encoding: chunked\r\n\r\n{broken}"));
        refused(&server.exchange(request).await, 400);
    }
    for cut in ["Content-Length: 5\r\n\r\nhell", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = server.connect().await;
        client.say(post("/echo", cut)).await;
        client.0.shutdown().await.unwrap();
        refused(&client.rest().await, 400);
    }
    server.end().await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_ends_the_connection() {
    let server = start(LIMITS).await;
    let smuggled = get("/smuggled");
    let request = post("/ignored", &format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len()));
    let answer = server.exchange(request).await;
    body_is(&answer, "/ignored");
    assert_eq!(header(&answer, "connection"), Some("close"));
    server.end().await;
}

#[tokio::test]
async fn a_body_is_invited_only_by_who_reads_it() {
    let server = start(LIMITS).await;
    let expecting = |path| post(path, "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    let mut client = server.connect().await;
    client.say(expecting("/echo")).await;
    assert_eq!(client.answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.say("hi").await;
    body_is(&client.answer().await, "hi");
    let uninvited = server.exchange(expecting("/ignored")).await;
    body_is(&uninvited, "/ignored");
    server.end().await;
}

#[tokio::test]
async fn an_upgrade_is_ignored() {
    let server = start(LIMITS).await;
    let mut client = server.connect().await;
    for protocol in ["h2c", "websocket"] {
        let upgrade = format!("Connection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        client.say(format!("GET /a HTTP/1.1\r\nHost: a\r\n{upgrade}")).await;
        body_is(&client.answer().await, "/a");
    }
    body_is(&client.get("/b").await, "/b");
    server.end().await;
}

#[tokio::test]
async fn a_client_that_has_said_all_it_has_to_say_is_answered() {
    let mut server = start(LIMITS).await;
    let mut client = server.connect().await;
    client.say(get("/wait")).await;
    client.0.shutdown().await.unwrap();
    server.entered.recv().await.unwrap();
    server.go.notify_one();
    body_is(&client.rest().await, "waited");
    server.end().await;
}

#[tokio::test]
async fn a_stream_that_was_cut_short_does_not_look_whole() {
    let server = start(LIMITS).await;
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let whole = server.exchange(request("/whole")).await;
    assert!(whole.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{whole:?}");
    let cut = server.exchange(request("/cut")).await;
    assert!(cut.contains("chunked\r\n") && !cut.ends_with("\r\n0\r\n\r\n"), "{cut:?}");
    server.end().await;
}

#[tokio::test]
async fn who_says_nothing_or_not_all_of_it_is_not_waited_for() {
    let server = start(Limits { head: SHORT, ..LIMITS }).await;
    assert_eq!(server.connect().await.rest().await, "");
    refused(&server.exchange("GET / HTT").await, 408);
    let mut idle = server.connect().await;
    body_is(&idle.get("/a").await, "/a");
    assert_eq!(idle.rest().await, "");
    let mut idle_after_body = server.connect().await;
    idle_after_body.say(post("/echo", "Content-Length: 2\r\n\r\nhi")).await;
    body_is(&idle_after_body.answer().await, "hi");
    assert_eq!(idle_after_body.rest().await, "");
    let mut partial_behind = server.connect().await;
    partial_behind.say(get("/a") + "GET /b").await;
    body_is(&partial_behind.answer().await, "/a");
    refused(&partial_behind.rest().await, 408);
    server.end().await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_at_the_limit_of_the_whole_head() {
    let server = start(Limits { head: SHORT, ..LIMITS }).await;
    let (mut reading, mut writing) = server.connect().await.0.into_split();
    let dripping = tokio::spawn(async move {
        while writing.write_all(b"G").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("the connection ends");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    dripping.abort();
    server.end().await;
}

#[tokio::test]
async fn a_request_that_is_being_worked_on_is_not_one_that_is_waited_for() {
    let mut server = start(Limits { head: SHORT, ..LIMITS }).await;
    let mut client = server.connect().await;
    client.say(get("/wait")).await;
    server.entered.recv().await.unwrap();
    // Others are cut for their silence meanwhile.
    assert_eq!(server.connect().await.rest().await, "");
    assert_eq!(server.connect().await.rest().await, "");
    server.go.notify_one();
    body_is(&client.answer().await, "waited");
    server.end().await;
}

#[tokio::test]
async fn a_body_that_drips_is_a_408_and_a_handler_that_never_ends_a_503() {
    let server = start(Limits { request: SHORT, ..LIMITS }).await;
    refused(&server.exchange(post("/echo", "Content-Length: 2\r\n\r\nh")).await, 408);
    refused(&server.exchange(post("/echo", "Transfer-Encoding: chunked\r\n\r\n5\r\nh")).await, 408);
    let never = server.exchange(get("/never")).await;
    refused(&never, 503);
    assert_eq!(header(&never, "retry-after"), Some("1"));
    assert_eq!(server.counts.timed_out.load(Relaxed), 3);
    server.end().await;
}

#[tokio::test]
async fn what_an_operator_has_done_takes_as_long_as_it_takes() {
    let mut server = start(Limits { request: SHORT, ..LIMITS }).await;
    let mut operator = server.connect_admin().await;
    operator.say(get("/wait")).await;
    server.entered.recv().await.unwrap();
    // What came after it has reached its limit, and so had it, if it had one.
    refused(&server.exchange(get("/never")).await, 503);
    server.go.notify_one();
    body_is(&operator.answer().await, "waited");
    let mut slow = server.connect_admin().await;
    slow.say(post("/echo", "Content-Length: 2\r\n\r\nh")).await;
    refused(&slow.answer().await, 408);
    server.end().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut() {
    let server = start(Limits { request: SHORT, stall: SHORT, ..LIMITS }).await;
    for path in ["/big", "/endless"] {
        let mut client = server.connect().await;
        client.say(get(path)).await;
        client.0.readable().await.unwrap();
        while server.counts.open.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, client.0.read_to_end(&mut answer)).await.expect("the connection ends");
        assert!(answer.len() < BIG_BYTES, "{path}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_connection_is_waited_for_again_after_an_answer_that_was_slow_to_leave() {
    let server = start(Limits { head: SHORT, ..LIMITS }).await;
    let mut client = server.connect().await;
    client.say(get("/big")).await;
    client.0.readable().await.unwrap();
    // The answer stands still for longer than a head may take, and is not cut for that: others, who say nothing, are.
    for _ in 0..2 {
        assert_eq!(server.connect().await.rest().await, "");
    }
    assert_eq!(client.answer().await.matches('x').count(), BIG_BYTES + "text".matches('x').count());
    assert_eq!(client.rest().await, "");
    server.end().await;
}

#[tokio::test]
async fn beyond_the_limit_who_is_served_stays_and_the_operator_gets_in() {
    let mut server = start(Limits { connections_max: 2, ..LIMITS }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for client in [&mut first, &mut second] {
        client.say(get("/wait")).await;
        server.entered.recv().await.unwrap();
    }
    // Also one that says nothing, and one that says more than is ever read.
    let more = post("/a", "Content-Length: 100000\r\n\r\n") + &"x".repeat(100_000);
    for request in ["", &get("/a"), &more] {
        let answer = server.exchange(request).await;
        refused(&answer, 429);
        assert_eq!(header(&answer, "retry-after"), Some("1"));
        assert_eq!(header(&answer, "connection"), Some("close"));
        assert!(answer.contains(r#""code":"rate_limited""#) && answer.ends_with('}'), "{answer}");
    }
    assert_eq!((server.counts.turned_away.load(Relaxed), server.counts.refused.load(Relaxed)), (3, 0));
    body_is(&server.connect_admin().await.get("/admin").await, "/admin");
    for client in [&mut first, &mut second] {
        server.go.notify_one();
        body_is(&client.answer().await, "waited");
    }
    server.end().await;
}

#[tokio::test]
async fn who_has_just_connected_to_the_admin_socket_is_not_sent_away_for_the_next() {
    let server = start(LIMITS).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(server.connect_admin().await);
    }
    for mut client in crowd {
        body_is(&client.get("/admin").await, "/admin");
    }
    server.end().await;
}

#[tokio::test]
async fn beyond_the_limit_who_is_idle_the_longest_makes_room() {
    let server = start(Limits { connections_max: 2, ..LIMITS }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    body_is(&first.get("/a").await, "/a");
    body_is(&second.get("/b").await, "/b");
    body_is(&first.get("/a").await, "/a");
    body_is(&server.connect().await.get("/c").await, "/c");
    assert_eq!(second.rest().await, "");
    body_is(&first.get("/a").await, "/a");
    assert_eq!(server.counts.turned_away.load(Relaxed), 0);
    server.end().await;
}

#[tokio::test]
async fn a_flood_of_silence_locks_nobody_out() {
    let server = start(Limits { connections_max: 4, ..LIMITS }).await;
    let mut flood = Vec::new();
    for _ in 0..40 {
        let mut client = server.connect().await;
        client.say("GET / HTTP/1.1\r\n").await;
        flood.push(client);
    }
    body_is(&server.connect().await.get("/in").await, "/in");
    drop(flood);
    server.end().await;
}

#[tokio::test]
async fn a_handler_that_panics_loses_its_connection_and_nothing_else() {
    let server = start(LIMITS).await;
    let mut other = server.connect().await;
    body_is(&other.get("/a").await, "/a");
    assert_eq!(server.exchange(get("/panic")).await, "");
    body_is(&other.get("/b").await, "/b");
    body_is(&server.connect().await.get("/c").await, "/c");
    drop(other);
    server.end().await;
}

#[tokio::test]
async fn the_kernel_says_who_is_at_the_other_end() {
    let server = start(LIMITS).await;
    let mut client = server.connect().await;
    let facts = client.get("/who").await;
    let peer = Peer::Tcp(client.0.local_addr().unwrap());
    assert!(facts.contains(&format!("{peer:?}")) && facts.contains("Public"), "{facts:?}");
    let facts = server.connect_admin().await.get("/who").await;
    let (uid, pid) = (rustix::process::getuid().as_raw(), std::process::id());
    let peer = Peer::Unix { uid, pid: i32::try_from(pid).ok() };
    assert!(facts.contains(&format!("{peer:?}")) && facts.contains("Admin"), "{facts:?}");
    server.end().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let mut server = start(LIMITS).await;
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    body_is(&idle.get("/a").await, "/a");
    busy.say(get("/wait")).await;
    server.entered.recv().await.unwrap();
    server.stop.send(true).unwrap();
    assert_eq!(idle.rest().await, "");
    assert!(!server.served.is_finished());
    server.go.notify_one();
    body_is(&busy.rest().await, "waited");
    timeout(PATIENCE, server.served).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!server.admin.exists());
    assert_eq!(server.counts.cut.load(Relaxed), 0);
}

#[tokio::test]
async fn a_stop_loses_no_request_that_is_on_its_way() {
    let server = start(LIMITS).await;
    // Accepted and silent; begun; and connected when nobody accepts any more.
    let (mut silent, mut begun) = (server.connect().await, server.connect().await);
    begun.say("GET /begun HTTP/1.1\r\n").await;
    while server.counts.open.load(Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let mut late = server.connect().await;
    late.say(get("/late")).await;
    server.stop.send(true).unwrap();
    silent.say(get("/silent")).await;
    body_is(&late.rest().await, "/late");
    body_is(&silent.rest().await, "/silent");
    begun.say("Host: a\r\n\r\n").await;
    body_is(&begun.rest().await, "/begun");
    server.end().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_beyond_the_drain() {
    let server = start(Limits { drain: SHORT, ..LIMITS }).await;
    let mut client = server.connect().await;
    client.say(get("/never")).await;
    while server.counts.open.load(Relaxed) < 1 {
        tokio::task::yield_now().await;
    }
    let counts = Arc::clone(&server.counts);
    server.end().await;
    assert_eq!(client.rest().await, "");
    assert_eq!((counts.cut.load(Relaxed), counts.open.load(Relaxed)), (1, 0));
}

#[tokio::test]
async fn a_stop_ends_silent_connections_too() {
    let server = start(LIMITS).await;
    let mut silent = server.connect().await;
    let mut begun = server.connect().await;
    begun.say("GET /").await;
    begun.0.shutdown().await.unwrap();
    server.end().await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(begun.rest().await, "");
}

/// What a panic says, with its whole backtrace, holds nothing of the request that led to it.
#[test]
fn a_panic_tells_nothing_of_the_request() {
    const NAME: &str = "a_panic_tells_nothing_of_the_request";
    const CHILD: &str = "BEARERD_TEST_CHILD_PANICS";
    let canaries =
        ["canary-in-query", "canary-in-header", "canary-in-bearer", "canary-in-cookie", "canary-in-body"];
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let server = start(LIMITS).await;
            let [query, header, bearer, cookie, body] = canaries;
            let request = format!(
                "POST /panic?{query} HTTP/1.1\r\nHost: a\r\nX: {header}\r\nAuthorization: Bearer {bearer}\r\n\
                 Cookie: a={cookie}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            assert_eq!(server.exchange(request).await, "");
            server.end().await;
        });
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").env("RUST_BACKTRACE", "full");
    let outcome = child.output().unwrap();
    let said = String::from_utf8(outcome.stdout).unwrap() + &String::from_utf8(outcome.stderr).unwrap();
    assert!(outcome.status.success(), "{said}");
    assert!(said.contains("a handler that panics") && said.contains("stack backtrace"), "{said}");
    for canary in canaries {
        assert!(!said.contains(canary), "{canary}: {said}");
    }
}
