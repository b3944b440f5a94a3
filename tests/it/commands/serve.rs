//! `serve`: boots, takes over, answers `/health` and `/ready`, and stops in good order.

use std::fs;
use std::net::TcpListener;

use rusqlite::Connection;
use serde_json::Value;
use streamhub_tests::command::{Response, Server};
use streamhub_tests::legacy::Tree;
use streamhub_tests::readonly;

use super::Place;

/// A registry whose superadmin has a password.
fn set_up() -> Tree {
    Tree::small().other(
        "users",
        [
            ("id", "usr_root".into()),
            ("email", "root@example.org".into()),
            ("is_superadmin", 1.into()),
            ("password_hash", "scrypt:00:00".into()),
            ("created_at", "2025-06-01 08:00:00".into()),
        ],
    )
}

/// The set-up token in what a server wrote.
fn token(stderr: &str) -> Option<String> {
    let line = stderr.lines().find(|line| line.contains("set-up token: "))?;
    line.split_once("token: ").map(|(_, token)| token.trim().to_owned())
}

/// An error has one shape, in which nothing but the request's id varies.
fn is_error(response: &Response, status: u16, code: &str) {
    let mut body = response.json();
    assert_eq!((response.status, &body["code"]), (status, &Value::from(code)), "{response:?}");
    let id = body["requestId"].take();
    assert!(id.as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(body["statusCode"], status);
    let keys: Vec<_> = body.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["code", "error", "message", "requestId", "statusCode"]);
    assert!(body["error"].is_string() && body["message"].is_string());
}

#[test]
fn an_older_directory_is_taken_over_and_served() {
    let place = Place::of(&set_up());
    let server = place.streamhub().serve();
    server.wait_until_ready();
    for path in ["/health", "/api/v1/health"] {
        let health = server.get(path);
        assert_eq!(health.status, 200);
        assert_eq!(health.header("content-type"), Some("application/json"));
        let health = health.json();
        assert_eq!(health["status"], "ok");
        assert_eq!(health["up"], true);
        assert!(health["version"].is_string() && health["uptimeSeconds"].is_u64());
        let ts = health["ts"].as_str().expect("a time");
        assert!(ts.len() == 24 && ts.ends_with('Z'), "{ts}");
    }
    for path in ["/ready", "/api/v1/ready"] {
        let ready = server.get(path);
        assert_eq!(ready.status, 200);
        let apps = serde_json::json!({"total": 2, "quarantined": 0, "missing": 0});
        assert_eq!(ready.json()["apps"], apps);
        assert!(!ready.body.contains("demo"), "apps are counted, not named");
    }
    let ended = server.stop();
    assert!(ended.success(), "{}", ended.describe());
    for words in ["listening on http://127.0.0.1:", "backup: ", "demo", "imported", "ready", "stopped"] {
        assert!(ended.stderr.contains(words), "{words:?} is not in {}", ended.stderr);
    }
    assert_eq!(token(&ended.stderr), None, "somebody can log in");
    assert!(ended.stdout.is_empty());
    for file in place.digest().keys() {
        assert!(!["-wal", "-shm", "-journal"].iter().any(|ending| file.ends_with(ending)), "{file} was left");
    }
    let _ = place.streamhub().run(["doctor"]).expect(0);
}

#[test]
fn unknown_paths_and_methods_answer_in_the_shape_of_errors() {
    let place = Place::new();
    let server = place.streamhub().serve();
    server.wait_until_ready();
    for path in ["/", "/nothing", "/api/v1", "/api/v1/nothing", "/health/x", "/ready?x=1&y=2/../.."] {
        let response = server.get(path);
        if path.starts_with("/ready") {
            assert_eq!(response.status, 200);
        } else {
            is_error(&response, 404, "not_found");
        }
    }
    for path in ["/health", "/api/v1/ready"] {
        let response = server.request("POST", path, &[], "{}");
        is_error(&response, 405, "method_not_allowed");
        assert!(response.header("allow").is_some_and(|allow| allow.contains("GET")), "{response:?}");
    }
    let one = server.get("/nothing").json();
    let other = server.get("/nothing").json();
    assert_ne!(one["requestId"], other["requestId"]);
    assert_eq!((&one["message"], &one["error"]), (&other["message"], &other["error"]));
    assert!(server.stop().success());
}

#[test]
fn a_new_installation_gets_a_set_up_token_at_each_start() {
    let place = Place::missing();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let server = place.streamhub().serve();
        server.wait_until_ready();
        let ended = server.stop();
        assert!(ended.success(), "{}", ended.describe());
        let token = token(&ended.stderr).expect("a token");
        assert_eq!(token.len(), 43, "{token}");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert!(!ended.stdout.contains(&token));
        let db = readonly::open(&place.path("streamhub.db"));
        let sql = "SELECT value FROM _streamhub_meta WHERE key = 'setup_token_hash'";
        let hash: String = db.query_row(sql, [], |row| row.get(0)).expect("a hash");
        assert_eq!(hash.len(), 64, "{hash}");
        let bytes = fs::read(place.path("streamhub.db")).expect("the database");
        assert!(!bytes.windows(token.len()).any(|bytes| bytes == token.as_bytes()), "the token is stored");
        tokens.push((token, hash));
    }
    assert!(tokens[0].0 != tokens[1].0 && tokens[0].1 != tokens[1].1);

    // Once somebody can log in there is none, and the last one counts no more.
    let db = Connection::open(place.path("streamhub.db")).expect("the control database");
    db.execute("INSERT INTO users (id, email, is_superadmin, password_hash) VALUES ('u', 'a@b', 1, 'x')", [])
        .expect("a superadmin");
    drop(db);
    let server = place.streamhub().serve();
    server.wait_until_ready();
    assert_eq!(token(&server.stop().stderr), None);
    let db = readonly::open(&place.path("streamhub.db"));
    let sql = "SELECT count(*) FROM _streamhub_meta WHERE key = 'setup_token_hash'";
    assert_eq!(db.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count"), 0);
}

#[test]
fn a_failed_app_does_not_stop_the_server() {
    let place = Place::of(
        &Tree::new()
            .app("good", |a| a.vods_db(|v| v.stream("s1")))
            .app("bad", |a| a.file("vods.db", "this is no database")),
    );
    for _ in 0..2 {
        let server = place.streamhub().serve();
        server.wait_until_ready();
        let ready = server.get("/ready");
        assert_eq!(ready.json()["apps"]["quarantined"], 1);
        assert!(!ready.body.contains("bad"));
        let ended = server.stop();
        assert!(ended.success(), "{}", ended.describe());
        assert!(ended.stderr.contains("bad") && ended.stderr.contains("vods.db"), "{}", ended.stderr);
    }
    let list = place.streamhub().run(["app", "list", "--json"]).expect(0).json();
    let state = |name: &str| {
        let apps = list["data"].as_array().expect("apps");
        apps.iter().find(|app| app["name"] == name).expect(name)["splitState"].clone()
    };
    assert_eq!((state("good"), state("bad")), ("done".into(), "pending".into()));
}

#[test]
fn a_taken_port_is_said_before_anything_is_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let place = Place::missing();
    let refused = place.streamhub().run(["serve", "--listen", &address]).expect(1);
    assert!(refused.stderr().contains(&address) && refused.stderr().contains("--listen"));
    assert!(!place.dir.exists());
}

#[test]
fn a_server_that_is_refused_does_not_say_that_it_listens() {
    let place = Place::ours();
    let server = place.streamhub().serve();
    let refused = place.streamhub().run(["serve", "--listen", "127.0.0.1:0"]).expect(75);
    for word in ["listening", "ask the running server"] {
        assert!(!refused.stderr().contains(word), "{word}: {}", refused.stderr());
    }
    assert!(refused.stderr().contains(&server.pid().to_string()), "{}", refused.stderr());
    assert!(server.stop().success());
}

#[test]
fn programs_can_read_log_and_result() {
    let place = Place::of(&Tree::small());
    let server = place.streamhub().env("STREAMHUB_LOG_FORMAT", "json").serve();
    server.wait_until_ready();
    let ended = server.stop();
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let says = |words: &str| {
        let mut messages = lines.iter().filter_map(|line| line["fields"]["message"].as_str());
        assert!(messages.any(|message| message.contains(words)), "{words:?} is not in {}", ended.stderr);
    };
    for words in ["listening on http://", "set-up token: ", "app taken over", "ready", "stopped"] {
        says(words);
    }
    assert!(lines.iter().any(|line| line["fields"]["app"] == "demo"));
    assert!(ended.stdout.is_empty());

    let place = Place::of(&Tree::small());
    let server = place.streamhub().env("STREAMHUB_LISTEN", "127.0.0.1:0").serve_with(["--json"]);
    server.wait_until_ready();
    let address = server.address();
    let ended = server.stop();
    let started: Value = serde_json::from_str(&ended.stdout).expect("one JSON value");
    assert_eq!(started["address"], format!("http://{address}"));
    assert_eq!(started["takeOver"]["apps"].as_array().expect("apps").len(), 2);
    assert!(!ended.stdout.contains("token"));
}

#[test]
fn a_server_that_is_stopped_while_it_boots_ends_in_good_order() {
    let place = Place::of(&Tree::small());
    let free = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
    let command = place.streamhub().command(["serve", "--listen", &free.to_string()]);
    let ended = Server::booting(command, free).stop();
    assert!(ended.success(), "{}", ended.describe());
    assert!(ended.stderr.contains("stopped"), "{}", ended.stderr);
    let _ = place.streamhub().run(["migrate"]).expect(0);
    let _ = place.streamhub().run(["doctor"]).expect(0);
}

#[test]
fn a_killed_server_leaves_a_directory_that_starts_again() {
    let place = Place::of(&Tree::small());
    let server = place.streamhub().serve();
    server.wait_until_ready();
    assert!(server.kill().killed());
    // What it left in the `-wal` is no finding, and the lock went with the process.
    let _ = place.streamhub().run(["doctor"]).expect(0);
    assert_eq!(place.streamhub().run(["status", "--json"]).expect(0).json()["holder"], Value::Null);
    let server = place.streamhub().serve();
    server.wait_until_ready();
    assert!(server.stop().success());
}
