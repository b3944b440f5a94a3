//! Whoever had access to an older system has it here, and no more: its tokens, its allow-lists, its users.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use streamhub_tests::command::{Response, Server, Streamhub};
use streamhub_tests::files::{copy_tree, scratch};
use streamhub_tests::fingerprint::control_path;
use streamhub_tests::legacy::example;
use streamhub_tests::skip::need_fixtures;

/// What the older system's people and programs show: passwords by address, tokens by name.
struct Credentials {
    users: BTreeMap<String, String>,
    tokens: BTreeMap<String, String>,
}

/// Where the forwarding header of these tests is believed.
const PROXY: &str = "127.0.0.1";

#[test]
fn credentials_of_a_real_older_system_are_accepted() {
    let Some(fixtures) = need_fixtures("http::older::credentials_of_a_real_older_system") else { return };
    let text = fs::read_to_string(fixtures.join("credentials.json")).expect("the credentials");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let named = |key: &str| {
        let all = json[key].as_object().expect("an object").iter();
        all.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
    };
    let credentials = Credentials { users: named("users"), tokens: named("tokens") };
    accepted(|dir| copy_tree(&fixtures.join("seed-split"), dir), &credentials, ["demo", "news-24"]);
}

#[test]
fn credentials_of_the_example_are_accepted() {
    let write = |dir: &Path| example::write(dir);
    let dir = scratch();
    write(dir.path());
    let page = fs::read_to_string(dir.path().join("README.md")).expect("the example's page");
    let rows = |title: &str| -> BTreeMap<String, String> {
        let table = page.split_once(title).expect("a table").1.lines();
        let rows = table.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let cells = rows.filter_map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
            Some((cells.nth(1)?, cells.rfind(|cell| !cell.is_empty())?))
        });
        cells.skip(2).collect()
    };
    let credentials = Credentials { users: rows("## Passwords of users"), tokens: rows("## API tokens") };
    assert_eq!((credentials.users.len(), credentials.tokens.len()), (3, 4), "{page}");
    accepted(write, &credentials, ["demo", "news-24"]);
}

/// Takes an older directory over and asks as everybody who is known there. `reached` are the apps of the tokens
/// `ci` and `news`.
fn accepted(write: impl FnOnce(&Path), credentials: &Credentials, reached: [&str; 2]) {
    let dir = scratch();
    write(dir.path());
    let server = Streamhub::new(dir.path()).env("STREAMHUB_TRUSTED_PROXIES", PROXY).serve();
    server.wait_until_ready();
    let token = |name: &str| credentials.tokens[name].as_str();
    let status = |token: &str, path: &str| get(&server, token, path, None).status;

    let everything = get(&server, token("ui"), "/apps", None).json();
    let apps: Vec<_> = names(&everything);
    assert!(apps.len() >= 5, "{everything}");
    for app in &apps {
        assert_eq!(status(token("ui"), &format!("/apps/{app}/vods?limit=1")), 200, "{app}");
    }
    assert_eq!(["/users", "/tenants", "/system/sizes"].map(|path| status(token("ui"), path)), [200; 3]);

    for (name, own) in ["ci", "news"].into_iter().zip(reached) {
        assert_eq!(names(&get(&server, token(name), "/apps", None).json()), [own], "{name}");
        for app in &apps {
            let expected = if app == own { 200 } else { 404 };
            assert_eq!(
                status(token(name), &format!("/apps/{app}/streams?limit=1")),
                expected,
                "{name} {app}"
            );
        }
        assert_eq!(status(token(name), "/users"), 403, "{name}");
    }
    let from = |address| get(&server, token("ci"), "/apps", Some(address)).status;
    assert_eq!(["10.1.2.3", "203.0.113.7", "11.0.0.1"].map(from), [200, 401, 401]);
    assert_eq!(status(token("old"), "/apps"), 401);

    for (email, password) in &credentials.users {
        assert!(hash(dir.path(), email).starts_with("scrypt$"), "{email}");
        assert_eq!(log_in(&server, email, "a wrong guess").status, 401, "{email}");
        // The first login hashes the password anew, and the second one goes by that.
        for _ in 0..2 {
            let answer = log_in(&server, email, password);
            assert_eq!(answer.status, 200, "{email}: {answer:?}");
            let session = answer.json()["token"].as_str().expect("a token").to_owned();
            assert_eq!(get(&server, &session, "/account", None).json()["email"], json!(email));
            assert!(hash(dir.path(), email).starts_with("$argon2id$"), "{email}");
        }
        assert_eq!(log_in(&server, email, "a wrong guess").status, 401, "{email}");
    }
    assert!(server.stop().success());
}

fn get(server: &Server, token: &str, path: &str, forwarded: Option<&str>) -> Response {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("Authorization", bearer.as_str())];
    headers.extend(forwarded.map(|address| ("X-Forwarded-For", address)));
    server.request("GET", &format!("/api/v1{path}"), &headers, "")
}

fn log_in(server: &Server, email: &str, password: &str) -> Response {
    let body = json!({ "email": email, "password": password }).to_string();
    server.request("POST", "/api/v1/auth/login", &[("Content-Type", "application/json")], &body)
}

fn names(listed: &Value) -> Vec<String> {
    let data = listed["data"].as_array().expect("a list").iter();
    data.map(|app| app["name"].as_str().expect("a name").to_owned()).collect()
}

/// What is kept of a user's password.
fn hash(dir: &Path, email: &str) -> String {
    let db =
        Connection::open_with_flags(control_path(dir), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
    let found = db.query_row("SELECT password_hash FROM users WHERE email = ?1", [email], |row| row.get(0));
    found.expect("a user with a password")
}
