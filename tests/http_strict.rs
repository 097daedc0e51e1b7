//! Raw requests, each in the bytes that somebody could send, against the real binary.
//!
//! Behind each stands a probe on the same connection. A request with more than one reading gets one answer and
//! the connection ends: the probe is never answered, so nothing after it could have been read as a request. A
//! request with one reading gets its answer, and the probe its own. Nothing is a 5xx, and nothing hangs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "tests"
)]

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use support::*;

/// What is asked behind every request.
const PROBE: &str = "GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
/// How long a connection may take to end; the daemon's own limits are shorter.
const PATIENCE: Duration = Duration::from_secs(20);
const CONFIG: &str = "[limits]\nheader_seconds = 2\nrequest_seconds = 3\n";

/// Header lines that make any request one to be refused: sent, and what is answered.
const BAD_HEADERS: &[(&str, u16)] = &[
    // Not a name, a colon and a value.
    ("X", 400),
    ("X y: z", 400),
    ("X : y", 400),
    ("X\t: y", 400),
    (": y", 400),
    (" X: y", 400),
    ("\tX: y", 400),
    ("X: y\r\n folded", 400),
    ("X: y\r\n\tfolded", 400),
    ("X: y\r\n ", 400),
    ("X(: y", 400),
    ("X): y", 400),
    ("X,: y", 400),
    ("X/: y", 400),
    ("X;: y", 400),
    ("X<: y", 400),
    ("X=: y", 400),
    ("X>: y", 400),
    ("X?: y", 400),
    ("X@: y", 400),
    ("X[: y", 400),
    ("X\\: y", 400),
    ("X]: y", 400),
    ("X{: y", 400),
    ("X}: y", 400),
    ("X\": y", 400),
    ("é: y", 400),
    // Line ends and control characters.
    ("X: y\nY: z", 400),
    ("X: y\rY: z", 400),
    ("X: y\r\r\nY: z", 400),
    ("X: a\0b", 400),
    ("X: a\x01b", 400),
    ("X: a\x08b", 400),
    ("X: a\x0bb", 400),
    ("X: a\x1bb", 400),
    ("X: a\x7fb", 400),
    ("X\0: y", 400),
    ("X\x0b: y", 400),
    ("X: y\n", 400),
    ("X: y\r", 400),
    // Who is asked.
    ("Host: other", 400),
    ("Host: h", 400),
    ("hOST: h", 400),
    ("Host:", 400),
    // Whose request it is.
    ("Authorization: Bearer a\r\nAuthorization: Bearer a", 400),
    ("Authorization: Bearer a\r\nauthorization: Bearer b", 400),
    ("Authorization: Bearer a\r\nAUTHORIZATION:", 400),
    ("Authorization: Basic YTpi\r\nAuthorization: Bearer a", 400),
    // How long the body is.
    ("Content-Length: ", 400),
    ("Content-Length: +0", 400),
    ("Content-Length: -0", 400),
    ("Content-Length: -1", 400),
    ("Content-Length: 0x0", 400),
    ("Content-Length: 0 0", 400),
    ("Content-Length: 0,0", 400),
    ("Content-Length: 0, 0", 400),
    ("Content-Length: 0;q=1", 400),
    ("Content-Length: 0.0", 400),
    ("Content-Length: 1e1", 400),
    ("Content-Length: \"0\"", 400),
    ("Content-Length: ٠", 400),
    ("Content-Length: a", 400),
    ("Content-Length: 0_0", 400),
    ("Content-Length: 18446744073709551615", 400),
    ("Content-Length: 18446744073709551616", 400),
    ("Content-Length: 9223372036854775808", 400),
    ("Content-Length: 99999999999999999999999999999", 400),
    ("Content-Length: 0\r\nContent-Length: 0", 400),
    ("Content-Length: 0\r\nContent-Length: 5", 400),
    ("Content-Length: 5\r\ncontent-length: 0", 400),
    ("Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 0", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
    // In which coding.
    ("Transfer-Encoding: ", 400),
    ("Transfer-Encoding: gzip", 400),
    ("Transfer-Encoding: identity", 400),
    ("Transfer-Encoding: gzip, chunked", 400),
    ("Transfer-Encoding: chunked, gzip", 400),
    ("Transfer-Encoding: chunked, chunked", 400),
    ("Transfer-Encoding: chunked,", 400),
    ("Transfer-Encoding: , chunked", 400),
    ("Transfer-Encoding: chunked;q=1", 400),
    ("Transfer-Encoding: \"chunked\"", 400),
    ("Transfer-Encoding: xchunked", 400),
    ("Transfer-Encoding: chunkedx", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400),
    ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: \x0bchunked", 400),
    ("Transfer-Encoding:\tchunked", 400),
    ("Transfer-Encoding: chunked\t", 400),
    ("Transfer-Encoding: \t chunked \t ", 400),
    ("Transfer-Encoding : chunked", 400),
    ("Transfer-Encoding\t: chunked", 400),
    // Twins of headers that decide.
    ("Content_Length: 0", 400),
    ("Transfer_Encoding: chunked", 400),
    ("X_Forwarded_For: 10.0.0.1", 400),
    ("X-Forwarded_For: 10.0.0.1", 400),
    ("x_forwarded-for: 10.0.0.1", 400),
    ("X.Forwarded.For: 10.0.0.1", 400),
    ("Content.Length: 0", 400),
    // What is expected.
    ("Expect: 200-ok", 417),
    ("Expect: 100-continue, x", 417),
    ("Expect: ", 417),
];

/// Request lines, and what is answered. The rest of the request is in order.
const BAD_LINES: &[(&str, u16)] = &[
    ("GET /healthz", 400),
    ("GET", 400),
    ("/healthz", 400),
    ("GET /healthz HTTP/1.1 x", 400),
    ("GET  /healthz HTTP/1.1", 400),
    ("GET /healthz  HTTP/1.1", 400),
    ("GET /healthz HTTP/1.1 ", 400),
    (" GET /healthz HTTP/1.1", 400),
    ("GET\t/healthz\tHTTP/1.1", 400),
    ("GET /healthz\x0bHTTP/1.1", 400),
    ("GET /healthz HTTP/0.9", 400),
    ("GET /healthz HTTP/1.2", 400),
    ("GET /healthz HTTP/2.0", 400),
    ("GET /healthz HTTP/1", 400),
    ("GET /healthz HTTP/1.1.1", 400),
    ("GET /healthz HTTP/01.1", 400),
    ("GET /healthz HTTP/1.01", 400),
    ("GET /healthz HTTP/1,1", 400),
    ("GET /healthz HTTP/11", 400),
    ("GET /healthz http/1.1", 400),
    ("GET /healthz Http/1.1", 400),
    ("GET /healthz HTTPS/1.1", 400),
    ("GET /healthz ICE/1.0", 400),
    ("GET /healthz HTTP/1.1\0", 400),
    ("GET healthz HTTP/1.1", 400),
    ("GET * HTTP/1.1", 400),
    ("GET ? HTTP/1.1", 400),
    ("GET /heal\u{e9}thz HTTP/1.1", 400),
    ("GET /healthz#x HTTP/1.1", 400),
    ("GET /<b> HTTP/1.1", 400),
    ("GET /a^b HTTP/1.1", 400),
    ("GET /a`b HTTP/1.1", 400),
    ("GET /a?b\"c HTTP/1.1", 400),
    ("GET /a\0b HTTP/1.1", 400),
    ("GET /a\x7fb HTTP/1.1", 400),
    ("GET http://other/healthz HTTP/1.1", 400),
    ("GET http://h:81/healthz HTTP/1.1", 400),
    ("GET http://h@other/healthz HTTP/1.1", 400),
    ("GET http://other@h/healthz HTTP/1.1", 400),
    ("GET http:///healthz HTTP/1.1", 400),
    ("GET http:/healthz HTTP/1.1", 400),
    ("GET ftp://h/healthz HTTP/1.1", 400),
    ("GET file:///etc/passwd HTTP/1.1", 400),
    ("GET //h/healthz@other://x HTTP/1.1", 404),
    ("G(T /healthz HTTP/1.1", 400),
    ("G\0T /healthz HTTP/1.1", 400),
    ("\u{47}\u{c9}T /healthz HTTP/1.1", 400),
    ("GET:/healthz HTTP/1.1", 400),
    ("CONNECT h:443 HTTP/1.1", 405),
    ("CONNECT /healthz HTTP/1.1", 405),
    ("TRACE /healthz HTTP/1.1", 405),
    ("TRACE / HTTP/1.1", 405),
    ("OPTIONS * HTTP/1.1", 405),
    ("get /healthz HTTP/1.1", 405),
    ("Get /healthz HTTP/1.1", 405),
    ("gET /healthz HTTP/1.1", 405),
    ("PRI * HTTP/2.0", 400),
];

/// Whole requests that are no HTTP/1.1 at all, or whose head is not in order.
const BAD_WHOLE: &[(&str, u16)] = &[
    ("GET /healthz HTTP/1.1\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\nHost: h\n\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\n\n", 400),
    ("GET /healthz HTTP/1.1\rHost: h\r\r", 400),
    ("GET /healthz HTTP/1.1\r\nHost:h:\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h:x\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h:65536\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h:80:80\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: a@h\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h/x\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h?x\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h#x\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h x\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: h,x\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: http://h\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: é\r\n\r\n", 400),
    ("GET /healthz HTTP/1.1\r\nHost: <h>\r\n\r\n", 400),
    ("GET /healthz HTTP/1.0\r\n\r\n", 400),
    ("GET /healthz HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("\n\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ("\r\n\r\n\0\r\nQUIT\n!\x11\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n", 400),
    ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
    ("EHLO mail\r\n\r\n", 400),
    ("{\"a\":1}\r\n\r\n", 400),
    ("\0\0\0\0\r\n\r\n", 400),
];

/// Bodies in chunks that have no reading, or more than one.
const BAD_CHUNKS: &[&str] = &[
    "token=abc",
    "g\r\n",
    "-1\r\n",
    "+7\r\ntoken=x\r\n0\r\n\r\n",
    "0x7\r\ntoken=x\r\n0\r\n\r\n",
    "7 \r\ntoken=x\r\n0\r\n\r\n",
    " 7\r\ntoken=x\r\n0\r\n\r\n",
    "7\ntoken=x\r\n0\r\n\r\n",
    "7\r\ntoken=x\n0\r\n\r\n",
    "7\r\ntoken=x0\r\n\r\n",
    "7\r\ntoken=xy\r\n0\r\n\r\n",
    "7\r\ntoken=x\r\n0\r\nX: y\r\n\r\n",
    "7\r\ntoken=x\r\n0\r\nContent-Length: 5\r\n\r\n",
    "7;a=b\r\ntoken=x\r\n0\r\n\r\n",
    "7;\r\ntoken=x\r\n0\r\n\r\n",
    "7\r\ntoken=x\r\n0;a\r\n\r\n",
    "7\r\ntoken=x\r\n\r\n0\r\n\r\n",
    "10000000000000000\r\ntoken=x\r\n0\r\n\r\n",
    "ffffffffffffffff\r\ntoken=x\r\n0\r\n\r\n",
    "fffffffffffffffffffff\r\n\r\n",
    "\r\n0\r\n\r\n",
    "7\r\ntoken=x\r\n0\n\n",
    "7\rtoken=x\r0\r\r",
    "7\0\r\ntoken=x\r\n0\r\n\r\n",
    "\u{ff17}\r\ntoken=x\r\n0\r\n\r\n",
];

/// Requests with one reading, and what each gets; the probe behind it is answered as well.
const GOOD: &[(&str, u16)] = &[
    ("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nhost:h\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHOST: \t h \t\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: h:8420\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: a.b-c.example\r\n\r\n", 200),
    ("GET http://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ("GET http://H/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ("GET /healthz?a=b&access_token=x HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ("GET /healthz? HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nX:\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\tb\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\n!#$%&'*+-.^_`|~: y\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: é\r\n\r\n", 200),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\r\nX: b\r\n\r\n", 200),
    (
        "GET /healthz HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        200,
    ),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 200),
    (
        "GET /healthz HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n\r\n",
        200,
    ),
    (
        "GET /healthz HTTP/1.1\r\nHost: h\r\nX-Auth-Subject: user_0\r\nX-Remote-User: admin\r\nX-Original-URL: /v1/users\r\n\r\n",
        200,
    ),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Real-IP\r\n\r\n", 200),
    ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET //healthz HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /healthz/ HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /%68ealthz HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /./healthz HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /v1/../healthz HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /HEALTHZ HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /healthz;x HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /healthz%00 HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /healthz%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("DELETE /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    ("OPTIONS /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    ("BREW /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    ("PROPFIND /v1/me HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    // Who asks: nobody.
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization:\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer\tx\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer  x\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: bearer x\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: BEARER x, Basic y\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Digest username=x\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Negotiate YII=\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \u{200b}x\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ｂｄｒ\r\n\r\n", 401),
    ("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x%00\r\n\r\n", 401),
    (
        "GET /v1/me HTTP/1.1\r\nHost: h\r\nX-Api-Key: x\r\nCookie: token=x; portal_session=v1.k.x.y\r\n\r\n",
        401,
    ),
    ("GET /v1/me?access_token=x&token=y HTTP/1.1\r\nHost: h\r\n\r\n", 401),
    ("GET /v1/authorize HTTP/1.1\r\nHost: h\r\n\r\n", 401),
    ("BREW /v1/authorize/@default/a/../b%2f%zz{}|\\\"?x=1&x=1 HTTP/1.1\r\nHost: h\r\n\r\n", 401),
    ("GET /v1/authorize/default HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("GET /v1/authorize HTTP/1.1\r\nHost: h\r\nCookie: portal_session=a; portal_session=b\r\n\r\n", 401),
    ("GET /v1/authorize HTTP/1.1\r\nHost: h\r\nCookie: ;;=;portal_session\r\n\r\n", 401),
    // Bodies in chunks.
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ntoken=x\r\n0\r\n\r\n",
        200,
    ),
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: CHUNKED\r\n\r\n03\r\ntok\r\n4\r\nen=x\r\n0\r\n\r\n",
        200,
    ),
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ntoken=x",
        200,
    ),
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 007\r\n\r\ntoken=x",
        200,
    ),
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: 7\r\n\r\ntoken=x",
        200,
    ),
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 15\r\n\r\ntoken=x&token=y",
        400,
    ),
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\ntoken=%z",
        400,
    ),
    (
        "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n",
        400,
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        400,
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
        400,
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"a\":1,\"a\":1}",
        400,
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\":NaN",
        400,
    ),
];

/// Requests whose body is refused before it is read: one answer, and the connection may end there.
const UNREAD: &[(&str, &[u16])] = &[
    ("POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", &[415]),
    ("POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", &[415]),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json; charset=utf-7\r\nContent-Length: 2\r\n\r\n{}",
        &[415],
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        &[415],
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        &[415],
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 65537\r\n\r\n",
        &[413],
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9223372036854775807\r\n\r\n",
        &[413],
    ),
    (
        "POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n",
        &[413, 400, 408],
    ),
    ("GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &[200]),
    ("GET /v1/authorize HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &[401]),
    (
        "POST /v1/tokens HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n",
        &[401],
    ),
    (
        "POST /v1/introspect HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        &[401],
    ),
];

/// Sends bytes on a connection of their own and reads until it ends: the statuses of the answers. `None` if it
/// did not end in time.
fn ask(address: &str, bytes: &[u8], half_close: bool) -> Option<Vec<u16>> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // A peer that refused hangs up before it has all: what it said is there to be read.
    let _ = stream.write_all(bytes);
    if half_close {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(_) => return None,
    }
    Some(statuses(&received))
}

/// The statuses of the final answers in these bytes.
fn statuses(mut received: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8(received[..end].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1."), "{head}");
        let status: u16 = head[9..12].parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if status >= 200 {
            statuses.push(status);
        }
        received = received.get(end + 4 + length..).unwrap_or_default();
    }
    statuses
}

fn with_header(line: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n")
}

fn with_line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n")
}

fn with_chunks(body: &str) -> String {
    let form = "Content-Type: application/x-www-form-urlencoded";
    format!("POST /v1/revoke HTTP/1.1\r\nHost: h\r\n{form}\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// Every request by hand, with the answers that are right: any of the lists.
fn corpus() -> Vec<(String, Vec<Vec<u16>>)> {
    let mut corpus: Vec<(String, Vec<Vec<u16>>)> = Vec::new();
    corpus.extend(BAD_HEADERS.iter().map(|(line, status)| (with_header(line), vec![vec![*status]])));
    corpus.extend(BAD_LINES.iter().map(|(line, status)| {
        let answers = if *status == 404 { vec![404, 200] } else { vec![*status] };
        (with_line(line), vec![answers])
    }));
    corpus.extend(BAD_WHOLE.iter().map(|(whole, status)| ((*whole).to_owned(), vec![vec![*status]])));
    corpus.extend(BAD_CHUNKS.iter().map(|body| (with_chunks(body), vec![vec![400]])));
    corpus.extend(GOOD.iter().map(|(whole, status)| ((*whole).to_owned(), vec![vec![*status, 200]])));
    corpus.extend(UNREAD.iter().map(|(whole, allowed)| {
        let answers = allowed.iter().flat_map(|status| [vec![*status], vec![*status, 200]]).collect();
        ((*whole).to_owned(), answers)
    }));
    let long = |bytes: usize| "a".repeat(bytes);
    corpus.push((with_line(&format!("GET /{} HTTP/1.1", long(20_000))), vec![vec![414]]));
    corpus.push((with_line(&format!("{} / HTTP/1.1", long(5_000).to_uppercase())), vec![vec![405]]));
    corpus.push((with_header(&format!("X: {}", long(20_000))), vec![vec![431]]));
    corpus.push((with_header(&format!("{}: x", long(20_000))), vec![vec![431]]));
    corpus.push((with_header(&vec!["X: y"; 100].join("\r\n")), vec![vec![431]]));
    corpus.push((with_header(&vec!["X: y"; 99].join("\r\n")), vec![vec![200, 200]]));
    corpus.push((with_header(&format!("Authorization: Bearer {}", long(15_000))), vec![vec![200, 200]]));
    corpus.push((
        format!("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", long(15_000)),
        vec![vec![401, 200]],
    ));
    corpus
}

#[test]
fn every_raw_request_gets_the_answer_that_it_must_and_no_second_reading() {
    let daemon = Daemon::configured(CONFIG);
    let corpus = corpus();
    assert!(corpus.len() >= 250, "{}", corpus.len());
    let address = daemon.address();
    let share = corpus.len().div_ceil(8);
    let wrong: Vec<String> = at_once(8, |part| {
        let own = corpus.iter().skip(part * share).take(share);
        own.filter_map(|(request, right)| {
            let got = ask(&address, (request.clone() + PROBE).as_bytes(), false);
            let fine = got.as_ref().is_some_and(|got| right.contains(got));
            let shown: String = request.chars().take(160).collect();
            (!fine).then(|| format!("{shown:?}: {got:?}, not one of {right:?}"))
        })
        .collect::<Vec<_>>()
    })
    .concat();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    assert_eq!(daemon.nobody().get("/healthz").status, 200);
}

/// For `tests/thorough/parts/differences.py`, which holds the same requests against other readers: writes them to
/// the file that `BEARERD_REQUESTS` names, one JSON string a line.
#[test]
#[ignore = "writes the requests for readers other than the daemon"]
fn the_requests_are_written_for_other_readers() {
    let file = std::env::var_os("BEARERD_REQUESTS").expect("BEARERD_REQUESTS");
    let lines: String = corpus().into_iter().map(|(request, _)| json!(request).to_string() + "\n").collect();
    std::fs::write(file, lines).unwrap();
}

/// Numbers from a fixed seed (xorshift), so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// One to three small changes: a byte, a piece twice, a piece gone, a piece of another request.
fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    const SHARP: &[u8] = b"\r\n\0\t :;,_-%\"@/\x0b\x7f\xff0aA";
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(12)).min(bytes.len());
        match dice.below(5) {
            0 => bytes[at] = SHARP[dice.below(SHARP.len())],
            1 => bytes.insert(at, SHARP[dice.below(SHARP.len())]),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &corpus[dice.below(corpus.len())];
                let from = dice.below(other.len());
                let to = (from + dice.below(40)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// `BEARERD_TEST_MUTATIONS` requests, 2,000 without. `tests/thorough/parts/differences.py` sends many more.
#[test]
fn no_mutated_request_is_a_5xx_or_hangs() {
    let mutations =
        std::env::var("BEARERD_TEST_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let daemon = Daemon::configured(CONFIG);
    let address = daemon.address();
    let corpus: Vec<Vec<u8>> = corpus().into_iter().map(|(request, _)| request.into_bytes()).collect();
    let threads = 16;
    let wrong: Vec<String> = at_once(threads, |thread| {
        let mut dice = Dice(0x5eed + u64::try_from(thread).unwrap());
        let mut wrong = Vec::new();
        for _ in 0..usize::div_ceil(mutations, threads) {
            let request = mutated(&mut dice, &corpus);
            let got = ask(&address, &request, true);
            if got.as_ref().is_none_or(|got| got.iter().any(|status| *status >= 500)) {
                wrong.push(format!("{:?}: {got:?}", String::from_utf8_lossy(&request)));
            }
        }
        wrong
    })
    .concat();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(daemon.nobody().get("/healthz").status, 200);
}
