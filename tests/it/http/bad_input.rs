//! Whatever is sent: a refusal with a stable code that helps, never a failure of the server, never a change.

mod connections;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use streamhub_tests::books::app_db;
use streamhub_tests::command::{Response, Streamhub};
use streamhub_tests::readonly;

use super::Site;

/// What is no name, in every spelling that somebody might undo.
const HOSTILE: &[&str] = &[
    "..",
    ".",
    "...",
    "../../../../etc/passwd",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fstreamhub.db",
    "..%2f..%2fstreamhub.db",
    "%252e%252e%252fstreamhub.db",
    "%25252e%25252e",
    "..%5c..%5cwindows",
    "..\\..\\",
    "%c0%ae%c0%ae%c0%af",
    "%e0%80%ae",
    "\u{ff0e}\u{ff0e}",
    "%ef%bc%8e%ef%bc%8e%ef%bc%8f",
    "%u002e%u002e",
    "a%00b",
    "%00",
    "%0d%0aSet-Cookie:%20a=b",
    "%ff%fe",
    "%",
    "%zz",
    "~root",
    "app.db",
    "-1",
    "99999999999999999999999999",
    "1%20OR%201=1",
    "'%3b%20DROP%20TABLE%20apps%3b--",
    "%F0%9F%92%A9",
    "NEWS-24",
    "news-24%20",
    ".trash",
    ".staging",
];

/// Tables in which requests that change nothing leave something, and what upkeep notes in others.
const BOOKKEEPING: &[&str] = &[
    "_streamhub_audit",
    "_streamhub_outbox",
    "server_logs",
    "sessions",
    "_streamhub_attention",
    "_streamhub_login_failures",
    "retention_clock",
    "storage_bytes",
];

/// A site with one of everything.
struct Place {
    site: Site,
    node: String,
    /// What stands for each parameter of a path.
    names: BTreeMap<&'static str, String>,
}

impl Place {
    fn new() -> Self {
        Self::served(|streamhub| streamhub)
    }

    fn served(settings: impl FnOnce(Streamhub) -> Streamhub) -> Self {
        let site = Site::served(settings);
        site.tenant("acme");
        site.app("acme", "news-24");
        site.app("acme", "gone-1");
        assert_eq!(site.ask("DELETE", "/apps/gone-1", &site.root, None).status, 200);
        let user = site.made("/users", &json!({ "email": "ana@example.org" }));
        let user = user["id"].as_str().expect("an id").to_owned();
        site.made("/tenants/acme/members", &json!({ "user": user, "role": "viewer" }));
        site.made("/apps/news-24/vods", &json!({ "name": "a.mp4" }));
        site.made("/apps/news-24/streams", &json!({ "streamId": "live/cam", "type": "rtmp" }));
        site.made("/apps/news-24/ingress", &json!({}));
        let node = site.token(&json!({ "name": "node", "scope": "node" }));
        let names =
            [("app", "news-24"), ("tenant", "acme"), ("name", "gone-1"), ("user", &*user), ("id", "1")];
        let names = names.map(|(name, value)| (name, value.to_owned()));
        Self { site, node, names: names.into() }
    }

    /// Asks with the credential of somebody who may everything.
    fn ask(&self, method: &str, path: &str, kind: Option<&str>, body: &str) -> Response {
        self.ask_with(method, path, kind.map(|kind| ("Content-Type", kind)).as_slice(), body)
    }

    fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let bearer = format!("Bearer {}", self.site.root);
        let headers = [&[("X-Cluster-Token", &*self.node), ("Authorization", &*bearer)], headers].concat();
        self.site.server.request(method, &format!("/api/v1{path}"), &headers, body)
    }

    /// A path with what stands for its parameters, but for one.
    fn path(&self, template: &str, other: Option<(&str, &str)>) -> String {
        let parts = template.split('/').map(|part| {
            let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
                return part;
            };
            let name = name.trim_start_matches('*');
            match other {
                Some((replaced, by)) if replaced == name => by,
                _ => self.names.get(name).map_or("none", String::as_str),
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// What must not change: which files there are, and the rows of each table that is no bookkeeping.
    fn contents(&self) -> BTreeMap<String, Vec<String>> {
        let dir = self.site.data_dir();
        let mut contents = BTreeMap::new();
        for database in [dir.join("streamhub.db"), app_db(&dir, "news-24")] {
            let db =
                Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
            for table in readonly::table_names(&db) {
                if !BOOKKEEPING.contains(&&*table) {
                    let mut rows: Vec<_> = readonly::table_rows(&db, &table)
                        .rows
                        .iter()
                        .map(|row| row.join("|"))
                        // Which numbers were given is not what they were given to.
                        .filter(|row| !BOOKKEEPING.iter().any(|table| row.contains(table)))
                        .collect();
                    rows.sort();
                    contents.insert(format!("{}: {table}", database.display()), rows);
                }
            }
        }
        for place in ["", "apps", "apps/news-24", "apps/.trash", "apps/.staging", "backups"] {
            let names = fs::read_dir(dir.join(place)).map(|found| {
                let names =
                    found.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
                names.filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
            });
            contents.insert(
                place.to_owned(),
                names.map(Iterator::collect::<BTreeSet<_>>).unwrap_or_default().into_iter().collect(),
            );
        }
        contents
    }

    fn demand_unchanged(self, before: &BTreeMap<String, Vec<String>>) {
        let after = self.contents();
        for (what, rows) in before {
            assert_eq!(Some(rows), after.get(what), "{what}");
        }
        assert_eq!(before.len(), after.len());
        assert!(!self.site.server.stderr().contains("request failed"), "{}", self.site.server.stderr());
        assert!(self.site.server.stop().success());
    }
}

/// A refusal in our shape; what hyper refuses itself has no body.
fn refusal(response: &Response, what: &str) -> String {
    assert!((400..500).contains(&response.status), "{what}: {response:?}");
    assert_eq!(response.header("set-cookie"), None, "{what}: {response:?}");
    if response.body.is_empty() {
        assert!(matches!(response.status, 400 | 414 | 431), "{what}: {response:?}");
        return String::new();
    }
    let body = response.json();
    let fields: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, ["code", "error", "message", "requestId", "statusCode"], "{what}: {body}");
    assert_eq!(body["statusCode"], response.status, "{what}");
    let code = body["code"].as_str().expect("a code").to_owned();
    assert!(
        !code.is_empty() && body["message"].as_str().is_some_and(|message| message.len() > 8),
        "{what}: {body}"
    );
    code
}

#[test]
#[allow(clippy::print_stdout, reason = "whoever runs it is told how much was asked")]
fn no_path_leads_anywhere_else() {
    let place = Place::new();
    let before = place.contents();
    let long = "a".repeat(3000);
    let mut asked = 0;
    for (method, path, name, _) in streamhub_server::policies() {
        let parameters: Vec<_> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|part| part.trim_start_matches('*'))
            .collect();
        let body = if method == "POST" || method == "PATCH" { "{}" } else { "" };
        for hostile in HOSTILE.iter().copied().chain([&*long]) {
            for parameter in &parameters {
                // That is what it is called.
                let asked_for = place.path(path, Some((parameter, hostile)));
                let answer = place.ask(&method, &asked_for, Some("application/json"), body);
                let code = refusal(&answer, &format!("{name}: {method} {asked_for}"));
                assert!(
                    [
                        "",
                        "invalid_path",
                        "not_found",
                        "method_not_allowed",
                        "invalid_body",
                        "not_confirmed",
                        "invalid_query",
                        "invalid"
                    ]
                    .contains(&&*code),
                    "{method} {asked_for}: {answer:?}"
                );
                asked += 1;
            }
            let beyond = format!("{}/{hostile}/x", place.path(path, None));
            if !path.contains("{*") {
                refusal(&place.ask(&method, &beyond, Some("application/json"), body), &beyond);
                asked += 1;
            }
        }
    }
    println!("{asked} paths");
    place.demand_unchanged(&before);
}

#[test]
#[allow(clippy::print_stdout, reason = "whoever runs it is told how much was asked")]
fn no_body_that_does_not_fit_changes_anything() {
    let place = Place::new();
    let before = place.contents();
    let document = place.site.get("", "/openapi.json").json();
    let bodies: Vec<(&str, String, &[&str])> = vec![
        ("malformed", "{".to_owned(), &["invalid_body"]),
        ("without a value", r#"{"name":}"#.to_owned(), &["invalid_body"]),
        ("two", "{}{}".to_owned(), &["invalid_body"]),
        ("a list", "[]".to_owned(), &["invalid_body"]),
        ("a list of fields", r#"["news-25","acme"]"#.to_owned(), &["invalid_body"]),
        ("nothing", String::new(), &["invalid_body"]),
        ("null", "null".to_owned(), &["invalid_body"]),
        ("a text", "\"name\"".to_owned(), &["invalid_body"]),
        ("a number", "1".to_owned(), &["invalid_body"]),
        ("unknown field", r#"{"noSuchField":1}"#.to_owned(), &["invalid_body"]),
        ("wrong types", r#"{"name":{},"email":[],"streamId":7,"status":true,"role":0,"id":{},"force":"yes","before":9,"note":"","token":1}"#.to_owned(), &["invalid_body"]),
        ("huge number", r#"{"name":1e999999}"#.to_owned(), &["invalid_body"]),
        ("lone surrogate", r#"{"name":"\ud800"}"#.to_owned(), &["invalid_body"]),
        ("raw control", "{\"name\":\"a\u{1}\"}".to_owned(), &["invalid_body"]),
        ("deep lists", "[".repeat(100_000), &["invalid_body"]),
        ("deep objects", r#"{"a":"#.repeat(100_000), &["invalid_body"]),
        ("deep in a field", format!(r#"{{"name":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), &["invalid_body"]),
        ("too large", format!("{{\"name\":\"{}\"}}", "a".repeat((1 << 20) + 1 - 11)), &["body_too_large"]),
    ];
    // A merge patch takes any object, and JSON's own rules are all that it can break.
    let any_object = ["unknown field", "wrong types"];
    let mut asked = 0;
    for (method, path, name, _) in streamhub_server::policies() {
        let documented = path.replace("{*", "{");
        let operation = &document["paths"][&documented][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {documented} is documented");
        let Some(takes) = operation.get("requestBody") else { continue };
        let path = place.path(path, None);
        for (what, body, codes) in &bodies {
            if name == "app.configure" && any_object.contains(what)
                || *what == "nothing" && takes["required"] == false
            {
                continue;
            }
            let answer = place.ask(&method, &path, Some("application/json"), body);
            let what = format!("{name}: {method} {path}: {what}");
            let code = refusal(&answer, &what);
            assert!(codes.contains(&&*code), "{what}: {answer:?}");
            asked += 1;
        }
        for kind in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data"),
            Some("json"),
            Some("application/xml"),
            Some(""),
        ] {
            let answer = place.ask(&method, &path, kind, r#"{"name":"x"}"#);
            let what = format!("{name}: {method} {path}: {kind:?}");
            assert_eq!((answer.status, &*refusal(&answer, &what)), (415, "unsupported_media_type"), "{what}");
            asked += 1;
        }
        for coding in ["gzip", "identity, br"] {
            let headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)];
            let answer = place.ask_with(&method, &path, &headers, r#"{"name":"x"}"#);
            let what = format!("{name}: {method} {path}: {coding}");
            assert_eq!(
                (answer.status, &*refusal(&answer, &what)),
                (415, "unsupported_content_encoding"),
                "{what}"
            );
        }
        for (what, raw) in [("broken UTF-8", &b"{\"name\":\"\xff\xfe\"}"[..]), ("UTF-16", b"\xff\xfe{\0}\0")]
        {
            let answer = raw_request(&place, &method, &path, raw);
            let what = format!("{name}: {method} {path}: {what}");
            assert_eq!(refusal(&answer, &what), "invalid_body", "{what}: {answer:?}");
            asked += 1;
        }
    }
    let twice = place.ask("POST", "/tenants", Some("application/json"), r#"{"id":"one-1","id":"two-2"}"#);
    assert_eq!(refusal(&twice, "a field twice"), "invalid_body");
    println!("{asked} bodies");
    place.demand_unchanged(&before);
}

#[test]
fn no_query_is_ignored_or_carried_out_in_part() {
    let place = Place::new();
    let before = place.contents();
    let document = place.site.get("", "/openapi.json").json();
    for (method, path, name, _) in streamhub_server::policies() {
        let operation = &document["paths"][&path.replace("{*", "{")][method.to_lowercase()];
        let named = |wanted: &str| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            parameters.into_iter().any(|parameter| parameter["in"] == "query" && parameter["name"] == wanted)
        };
        let path = place.path(path, None);
        let mut queries: Vec<&str> = Vec::new();
        if named("limit") {
            queries.extend([
                "limit=0",
                "limit=-1",
                "limit=1001",
                "limit=abc",
                "limit=",
                "limit=1&limit=2",
                "limit=99999999999999999999",
                "limit=1e2",
                "unknown=1",
                "Limit=1",
            ]);
        }
        if named("offset") {
            queries.extend(["offset=-1", "offset=x", "offset=4294967296"]);
        }
        if named("cursor") {
            queries.extend(["cursor=x", "cursor=%00", "cursor=1'--"]);
        }
        if named("since") {
            queries.extend(["since=yesterday", "until=9999-99-99", "since=%ff"]);
        }
        for query in queries {
            let answer = place.ask(&method, &format!("{path}?{query}"), None, "");
            let what = format!("{name}: {method} {path}?{query}");
            assert_eq!(
                (answer.status, &*refusal(&answer, &what)),
                (400, "invalid_query"),
                "{what}: {answer:?}"
            );
        }
    }
    place.demand_unchanged(&before);
}

#[test]
fn a_method_that_a_path_does_not_take_is_refused() {
    let place = Place::new();
    let before = place.contents();
    let routes = streamhub_server::policies();
    let paths: BTreeSet<_> = routes.iter().map(|(_, path, ..)| *path).collect();
    for template in paths {
        let path = place.path(template, None);
        let taken: BTreeSet<_> =
            routes.iter().filter(|(_, path, ..)| *path == template).map(|(method, ..)| &**method).collect();
        for method in ["OPTIONS", "PUT", "TRACE", "CONNECT", "PROPFIND", "get", "POST", "PATCH", "DELETE"] {
            if taken.contains(method)
                || template.contains("{*")
                    && routes.iter().any(|(own, path, ..)| own == method && template.starts_with(path))
            {
                continue;
            }
            let answer = place.ask(method, &path, None, "");
            let code = refusal(&answer, &format!("{method} {path}"));
            assert!(["method_not_allowed", "not_found", ""].contains(&&*code), "{method} {path}: {answer:?}");
        }
        // The head of the answer to a GET, and nothing of its body.
        let asked = format!(
            "HEAD /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
            place.site.root
        );
        let head = exchange(&place, asked.as_bytes());
        let (status, rest) = (&head[9..10], head.split_once("\r\n\r\n").map(|(_, rest)| rest));
        assert!(["2", "4"].contains(&status) && rest == Some(""), "{path}: {head}");
        assert_eq!(head.starts_with("HTTP/1.1 405"), !taken.contains("GET"), "{path}: {head}");
    }
    place.demand_unchanged(&before);
}

/// Sends bytes, and reads whatever comes until the server closes or says nothing more.
fn exchange(place: &Place, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(place.site.server.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // It may answer and close before all of it was sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn raw_request(place: &Place, method: &str, path: &str, body: &[u8]) -> Response {
    let mut request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         X-Cluster-Token: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        place.site.root,
        place.node,
        body.len()
    )
    .into_bytes();
    request.extend(body);
    Response::parse(exchange(place, &request).as_bytes()).expect("a whole answer")
}
