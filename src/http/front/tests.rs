use super::*;

const BYTES_MAX: usize = 16 * 1024;

#[track_caller]
fn check(head: impl AsRef<[u8]>, expected: Result<Framing, Refusal>) {
    let head = head.as_ref();
    let shown = String::from_utf8_lossy(&head[..head.len().min(300)]);
    let whole = read(head, 0, BYTES_MAX);
    let judged = whole.map(|head| match head {
        Head::Whole { framing, .. } => framing,
        Head::Partial { .. } => panic!("not whole: {shown}"),
    });
    assert_eq!(judged, expected, "{shown}");
    // Arriving byte by byte changes nothing.
    let mut scanned = 0;
    for arrived in 1..=head.len() {
        match read(&head[..arrived], scanned, BYTES_MAX) {
            Ok(Head::Partial { scanned: so_far }) => scanned = so_far,
            last => return assert_eq!(last, whole, "byte by byte: {shown}"),
        }
    }
    panic!("never whole: {shown}");
}

/// A head with everything it needs and these lines beside it.
fn with(lines: &str) -> String {
    format!("POST /v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A head with this request line.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

const NO_BODY: Result<Framing, Refusal> = Ok(Framing::Length(0));

#[test]
fn a_plain_request_is_let_through_with_its_framing() {
    check("GET / HTTP/1.1\r\nHost: 127.0.0.1:8420\r\n\r\n", NO_BODY);
    check("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", NO_BODY);
    check(with("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
    check(with("content-length:\t007 \r\n"), Ok(Framing::Length(7)));
    check(with("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    check(with("Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(Framing::Length(1)));
    check(with("Upgrade: h2c, websocket\r\nConnection: upgrade, X-Real-IP\r\n"), NO_BODY);
    check(with("User-Agent: Grüße\r\nX-Empty:\r\nx_harmless: 1\r\n"), NO_BODY);
}

#[test]
fn lines_end_in_cr_lf_and_hold_no_control_character() {
    check("GET / HTTP/1.1\nHost: a\n\n", Err(Refusal::BareLineFeed));
    check("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(Refusal::BareLineFeed));
    check("GET / HTTP/1.1\r\nHost: a\r\n\n", Err(Refusal::BareLineFeed));
    check("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Err(Refusal::BareCarriageReturn));
    check("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Err(Refusal::BareCarriageReturn));
    for control in (0..b' ').chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')) {
        check(with(&format!("A: b{}c\r\n", char::from(control))), Err(Refusal::ControlByte));
    }
    check(with("A: b\tc\r\n"), NO_BODY);
    check(b"\x16\x03\x01\x02\x00\x01", Err(Refusal::ControlByte));
}

#[test]
fn the_request_line_is_three_words() {
    for wrong in
        ["GET /", "GET", "", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET\t/ HTTP/1.1"]
    {
        check(line(wrong), Err(Refusal::RequestLine));
    }
    check(line("G@T / HTTP/1.1"), Err(Refusal::RequestLine));
    check(line("GÉT / HTTP/1.1"), Err(Refusal::RequestLine));
    check(line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2"), Err(Refusal::RequestLine));
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "http/1.1", "HTTP/1", "HTTPS/1.1"] {
        check(line(&format!("GET / {version}")), Err(Refusal::Version));
    }
    check("PRI * HTTP/2.0\r\n\r\n", Err(Refusal::Version));
}

#[test]
fn methods_that_nobody_answers_are_refused_and_others_left_to_the_routes() {
    for method in ["GET", "HEAD", "OPTIONS", "PROPFIND", "BASELINE-CONTROL", &"A".repeat(METHOD_CHARS_MAX)] {
        check(line(&format!("{method} /v1/authorize HTTP/1.1")), NO_BODY);
    }
    for method in ["CONNECT", "TRACE", "get", "Get", "!", "G1", "-A", &"A".repeat(METHOD_CHARS_MAX + 1)] {
        check(line(&format!("{method} / HTTP/1.1")), Err(Refusal::Method));
    }
    check(line("CONNECT a:443 HTTP/1.1"), Err(Refusal::Method));
    check(line("OPTIONS * HTTP/1.1"), Err(Refusal::Method));
    check(line("GET * HTTP/1.1"), Err(Refusal::Target));
}

#[test]
fn a_target_is_a_path_or_a_url_for_the_same_host() {
    for target in
        ["/", "/a//b/../%2e", "/?a=b&c[]=|^`{}", "/v1/authorize/@x/a:b@c;d={}|\\~\"", "/a?b?c", "*a"]
    {
        let expected = if target == "*a" { Err(Refusal::Target) } else { NO_BODY };
        check(line(&format!("GET {target} HTTP/1.1")), expected);
    }
    for target in ["http://a/", "HTTP://A", "https://a?x", "http://a"] {
        check(line(&format!("GET {target} HTTP/1.1")), NO_BODY);
    }
    for target in ["http://b/", "http://a:80/", "http://u@a/", "http:///", "http://a\\b/", "http://"] {
        check(line(&format!("GET {target} HTTP/1.1")), Err(Refusal::Authority));
    }
    for target in ["a", "ftp://a/", "://a/", "//a", "/#a", "/?#", "/<", "/é", "/a\u{a0}", "?a", "a:80", "/^"]
    {
        let expected = if target == "//a" { NO_BODY } else { Err(Refusal::Target) };
        check(line(&format!("GET {target} HTTP/1.1")), expected);
    }
    check(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", Err(Refusal::Target));
}

#[test]
fn whatever_target_is_let_through_the_http_library_reads_too() {
    for byte in 0..=u8::MAX {
        for target in [[b"/a", &[byte][..]].concat(), [b"/?a", &[byte][..]].concat()] {
            let head = [b"GET ", &target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            if let Ok(Head::Whole { .. }) = read(&head, 0, BYTES_MAX) {
                let uri = hyper::Uri::try_from(&target[..]).unwrap();
                assert_eq!(uri.path_and_query().unwrap().as_str().as_bytes(), target);
            }
        }
    }
}

#[test]
fn there_is_one_host_and_it_is_one() {
    let host = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    for good in
        ["a", "A.b-c_d.example", "127.0.0.1", "a:0", "a:65535", "[::1]", "[::1]:8420", &"a".repeat(255)]
    {
        check(host(&format!("Host: {good}\r\n")), NO_BODY);
    }
    let bad =
        ["", "a b", "a@b", "a:", "a:65536", "a:1:2", "a:+1", "[::1", "::1", "[::1]x", "[a]", "[::1%eth0]"];
    for bad in bad.into_iter().chain(["a,b", "a/b", "é", "a%41", "http://a", &"a".repeat(256)]) {
        check(host(&format!("Host: {bad}\r\n")), Err(Refusal::Host));
    }
    check(host("A: b\r\n"), Err(Refusal::Host));
    check(host("Host: a\r\nHost: a\r\n"), Err(Refusal::Host));
    check(host("Host: a\r\nhOST: b\r\n"), Err(Refusal::Host));
    check("GET / HTTP/1.0\r\n\r\n", Err(Refusal::Host));
}

#[test]
fn a_header_is_a_name_a_colon_and_a_value() {
    for wrong in ["A", "A : b", ": b", " A: b", "\tA: b", "A b: c", "Ä: b", "A(: b"] {
        check(with(&format!("{wrong}\r\n")), Err(Refusal::HeaderLine));
    }
    check(with("A: b\r\n c\r\n"), Err(Refusal::HeaderLine));
}

#[test]
fn a_value_that_is_no_text_is_refused_where_it_decides() {
    for name in ["Host", "Authorization", "Content-Length", "Transfer-Encoding", "expect"] {
        let head = [b"GET / HTTP/1.1\r\n", name.as_bytes(), b": \xff\r\n\r\n"].concat();
        check(head, Err(Refusal::HeaderValue));
    }
    check(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=\xfc\r\nUser-Agent: \xe9\r\n\r\n", NO_BODY);
    check(b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: \xff\r\n\r\n", Err(Refusal::TwinHeader));
}

#[test]
fn a_body_is_delimited_in_one_way_only() {
    for length in ["", "+3", "-1", "0x3", "3 3", "3,3", "3.0", "9223372036854775808", "18446744073709551615"]
    {
        check(with(&format!("Content-Length: {length}\r\n")), Err(Refusal::ContentLength));
    }
    check(with("Content-Length: 9223372036854775807\r\n"), Ok(Framing::Length(CONTENT_LENGTH_MAX)));
    check(with("Content-Length: 3\r\nContent-Length: 3\r\n"), Err(Refusal::ContentLength));
    for coding in
        ["", "gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked", "chunked;a=b", "chunked,"]
    {
        check(with(&format!("Transfer-Encoding: {coding}\r\n")), Err(Refusal::TransferCoding));
    }
    for tabbed in ["\tchunked", "chunked\t", " \t chunked", "chunked \t "] {
        check(with(&format!("Transfer-Encoding:{tabbed}\r\n")), Err(Refusal::TransferCoding));
    }
    check(with("Transfer-Encoding:  chunked  \r\n"), Ok(Framing::Chunked));
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    check(with(twice), Err(Refusal::TransferCoding));
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    check(with(both), Err(Refusal::LengthAndCoding));
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(old, Err(Refusal::TransferCoding));
}

#[test]
fn credentials_and_expectations_stand_once() {
    check(with("Authorization: Bearer x\r\n"), NO_BODY);
    check(with("Authorization: Bearer x\r\nauthorization: Bearer x\r\n"), Err(Refusal::Authorization));
    for expectation in ["", "200-ok", "100-continue, x"] {
        check(with(&format!("Expect: {expectation}\r\n")), Err(Refusal::Expectation));
    }
}

#[test]
fn twins_of_headers_that_decide_are_refused() {
    for name in ["X_Forwarded_For", "x.forwarded.for", "X-Forwarded_Proto", "X_Auth_User", "X-Remote.User"] {
        check(with(&format!("{name}: x\r\n")), Err(Refusal::TwinHeader));
    }
    for name in ["Content_Length", "Transfer_Encoding", "content.type", "X_Real-IP", "X_Original_URL"] {
        check(with(&format!("{name}: 1\r\n")), Err(Refusal::TwinHeader));
    }
    for name in ["X-Forwarded-For", "X-Auth-User", "my_header", "a.b", "hos_t"] {
        check(with(&format!("{name}: x\r\n")), NO_BODY);
    }
}

#[test]
fn a_head_ends_at_its_limit() {
    let head = |bytes: usize| {
        let frame = with("A: \r\n").len();
        with(&format!("A: {}\r\n", "a".repeat(bytes - frame)))
    };
    check(head(BYTES_MAX), NO_BODY);
    check(head(BYTES_MAX + 1), Err(Refusal::TooLarge));
    check(line(&format!("GET /{} HTTP/1.1", "a".repeat(BYTES_MAX))), Err(Refusal::TargetTooLong));
    let headers = |count: usize| with(&"A: b\r\n".repeat(count - 1));
    check(headers(HEADERS_MAX), NO_BODY);
    check(headers(HEADERS_MAX + 1), Err(Refusal::TooManyHeaders));
}

#[test]
fn a_target_ends_at_the_limit_of_the_library() {
    for (bytes, expected) in
        [(TARGET_BYTES_MAX, NO_BODY), (TARGET_BYTES_MAX + 1, Err(Refusal::TargetTooLong))]
    {
        let target = format!("/{}", "a".repeat(bytes - 1));
        let head = line(&format!("GET {target} HTTP/1.1"));
        let judged = read(head.as_bytes(), 0, 1 << 20).map(|_| Framing::Length(0));
        assert_eq!(judged, expected);
        assert_eq!(hyper::Uri::try_from(target).is_ok(), expected.is_ok());
    }
}

#[test]
fn an_unfinished_head_is_neither_good_nor_bad() {
    assert_eq!(read(b"", 0, BYTES_MAX), Ok(Head::Partial { scanned: 0 }));
    assert_eq!(read(b"GET / HT", 0, BYTES_MAX), Ok(Head::Partial { scanned: 0 }));
    assert_eq!(read(b"GET / HTTP/1.1\r\nHo", 0, BYTES_MAX), Ok(Head::Partial { scanned: 16 }));
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r", 16, BYTES_MAX), Ok(Head::Partial { scanned: 16 }));
    assert_eq!(read(b"\r", 0, BYTES_MAX), Ok(Head::Partial { scanned: 0 }));
}

#[test]
fn refusals_are_4xx() {
    for refusal in [Refusal::Method, Refusal::Host, Refusal::TooLarge, Refusal::TooSlow, Refusal::Expectation]
    {
        assert!(refusal.problem().status().is_client_error(), "{}", refusal.name());
    }
}
