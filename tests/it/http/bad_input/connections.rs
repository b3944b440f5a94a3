//! What is not even a request, who is slow with one, and who says that it is somebody else.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Place, exchange};

#[test]
fn what_is_no_request_is_refused_and_the_next_client_is_served() {
    let place = Place::new();
    let before = place.contents();
    let long = "a".repeat(70_000);
    let many = "X-A: b\r\n".repeat(150);
    let head = "Host: x\r\nConnection: close\r\n";
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("no request", "\u{16}\u{3}\u{1}\u{2}\0\r\n\r\n".to_owned(), &["400"]),
        ("no path", "GET HTTP/1.1\r\n\r\n".to_owned(), &["400"]),
        ("no version", "GET /health\r\n\r\n".to_owned(), &["400"]),
        ("HTTP/3.0", "GET /health HTTP/3.0\r\n\r\n".to_owned(), &["400", "505"]),
        (
            "two lengths",
            format!("POST /api/v1/apps HTTP/1.1\r\n{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            &["400"],
        ),
        (
            "a length that is none",
            format!("POST /api/v1/apps HTTP/1.1\r\n{head}Content-Length: x\r\n\r\n"),
            &["400"],
        ),
        (
            "a negative length",
            format!("POST /api/v1/apps HTTP/1.1\r\n{head}Content-Length: -1\r\n\r\n"),
            &["400"],
        ),
        (
            "an unknown coding",
            format!("POST /api/v1/apps HTTP/1.1\r\n{head}Transfer-Encoding: gzip\r\n\r\n"),
            &["400", "401"],
        ),
        (
            "chunks that are none",
            format!(
                "POST /api/v1/auth/login HTTP/1.1\r\n{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
            ),
            &["400"],
        ),
        (
            "a body that ends early",
            format!(
                "POST /api/v1/auth/login HTTP/1.1\r\n{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{}}\r\n0\r\n\r\n"
            ),
            &["400"],
        ),
        ("a header without a name", format!("GET /health HTTP/1.1\r\n{head}: x\r\n\r\n"), &["400"]),
        ("a NUL in a header", format!("GET /health HTTP/1.1\r\n{head}X-A: a\0b\r\n\r\n"), &["400"]),
        ("a header that goes on", format!("GET /health HTTP/1.1\r\n{head}X-A: a\r\n b\r\n\r\n"), &["400"]),
        ("a space before the colon", format!("GET /health HTTP/1.1\r\n{head}X-A : a\r\n\r\n"), &["400"]),
        ("many headers", format!("GET /health HTTP/1.1\r\n{head}{many}\r\n"), &["431"]),
        (
            "a long header",
            format!("GET /health HTTP/1.1\r\n{head}X-A: {}\r\n\r\n", &long[..40_000]),
            &["431"],
        ),
        ("a longer header", format!("GET /health HTTP/1.1\r\n{head}X-A: {long}\r\n\r\n"), &["431"]),
        ("a long path", format!("GET /{} HTTP/1.1\r\n{head}\r\n", &long[..9_000]), &["414"]),
        ("a longer path", format!("GET /{long} HTTP/1.1\r\n{head}\r\n"), &["414", "431"]),
        ("a path with a space", format!("GET /a b HTTP/1.1\r\n{head}\r\n"), &["400"]),
        (
            "a body beyond what is taken",
            format!("POST /api/v1/auth/login HTTP/1.1\r\n{head}Content-Length: 1048577\r\n\r\n"),
            &["413"],
        ),
        (
            "a body beyond all",
            format!("POST /api/v1/auth/login HTTP/1.1\r\n{head}Content-Length: 18446744073709551615\r\n\r\n"),
            &["413", "431"],
        ),
        (
            "an absolute place",
            format!("GET http://elsewhere/apps/news-24/app.db HTTP/1.1\r\n{head}\r\n"),
            &["404"],
        ),
    ];
    for (what, request, statuses) in cases {
        let answer = exchange(&place, request.as_bytes());
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(statuses.contains(&status), "{what}: {answer:?}");
        assert_eq!(place.site.get("", "/health").status, 200, "{what}");
    }

    // A request that says its length in two ways is not two requests to anybody.
    let smuggled = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /health HTTP/1.1\r\n{head}\r\n"
    );
    let answer = exchange(&place, smuggled.as_bytes());
    assert!(!answer.contains("\"status\":\"ok\"") || answer.matches("HTTP/1.1").count() == 2, "{answer}");
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");

    // An answer for each of several requests that came at once, in order.
    let three = "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/none HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(&place, three.as_bytes());
    let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200"], "{answer}");

    // An older client is answered, and in its version's way.
    let old = exchange(&place, b"GET /health HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200") && old.contains("\"status\":\"ok\""), "{old}");

    // What is said of the request's id ends in no header and no log line as it is.
    let injected = "evil\"}{%0d%0aX-Evil: 1";
    let answer = place.site.server.request("GET", "/health", &[("X-Request-Id", injected)], "");
    assert_ne!(answer.header("x-request-id"), Some(injected));
    let split = place.site.server.request("GET", "/health", &[("X-Request-Id", "a\r\nX-Evil: 1")], "");
    assert_eq!((split.status, split.header("x-evil")), (200, None));
    place.demand_unchanged(&before);
}

#[test]
fn a_slow_client_is_cut_off_and_keeps_nobody() {
    let place = Place::served(|streamhub| {
        streamhub
            .env("STREAMHUB_HEADER_TIMEOUT_SECONDS", "1")
            .env("STREAMHUB_REQUEST_TIMEOUT_SECONDS", "1")
            .env("STREAMHUB_IDLE_TIMEOUT_SECONDS", "2")
    });
    let before = place.contents();
    // One byte after the other, for as long as somebody takes them.
    let trickle = |head: &str, drop_by_drop: &str| {
        let mut stream = TcpStream::connect(place.site.server.address()).expect("a connection");
        stream.write_all(head.as_bytes()).expect("the server listens");
        for byte in drop_by_drop.bytes().cycle().take(2_000) {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(25));
            stream.set_nonblocking(true).expect("a socket");
            let is_silent =
                matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
            stream.set_nonblocking(false).expect("a socket");
            if !is_silent {
                break;
            }
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let bearer = &place.site.root;
    let body = format!(
        "POST /api/v1/tenants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{\"id\":\"slow-1\",\"name\":\""
    );
    thread::scope(|scope| {
        let slow: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| [trickle("GET /health HTTP/1.1\r\nX-A: ", "a"), trickle(&body, "a")]))
            .collect();
        for _ in 0..20 {
            assert_eq!(place.site.get(bearer, "/apps").status, 200);
        }
        for one in slow {
            let [head, body] = one.join().expect("no panic");
            assert_eq!(head, "", "one that does not say what it wants is not answered");
            assert!(body.starts_with("HTTP/1.1 408") && body.contains("request_timeout"), "{body:?}");
        }
    });
    place.demand_unchanged(&before);
}

#[test]
fn who_says_that_it_is_somebody_else_is_nobody() {
    let place = Place::served(|streamhub| streamhub.env("STREAMHUB_METRICS_LOOPBACK", "true"));
    let metrics = |headers: &[(&str, &str)]| place.site.server.request("GET", "/metrics", headers, "").status;
    assert_eq!(metrics(&[]), 200);
    for header in
        ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"]
    {
        for value in ["127.0.0.1", "::1", "for=127.0.0.1", "", "127.0.0.1, 127.0.0.1", "x'--"] {
            assert_eq!(metrics(&[(header, value)]), 401, "{header}: {value}");
        }
    }
    assert_eq!(metrics(&[("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "127.0.0.1")]), 401);
    for header in ["X-Forwarded-Host", "X-Forwarded-Proto", "Via"] {
        assert_eq!(metrics(&[(header, "x")]), 401, "{header}: a proxy asks for somebody");
    }
}
