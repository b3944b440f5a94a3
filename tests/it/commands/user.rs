//! `user`: people, their passwords, once on standard output, and the end of their sessions.

use std::io::Write as _;
use std::process::{Output, Stdio};

use rusqlite::Connection;
use streamhub_tests::legacy::Tree;
use streamhub_tests::readonly;

use super::{Place, refused};

fn users() -> Tree {
    let user = |id: &str, email: &str| {
        [("id", id.into()), ("email", email.into()), ("created_at", "2025-06-01 08:00:00".into())]
    };
    Tree::small()
        .other("users", user("usr_1", "Anna@example.org"))
        .other("users", user("usr_2", "twin@example.org"))
        .other("users", user("usr_3", "TWIN@example.org"))
        .other(
            "sessions",
            [
                ("id", "ses_1".into()),
                ("user_id", "usr_1".into()),
                ("created_at", "2025-06-01 08:00:00".into()),
            ],
        )
        .other(
            "sessions",
            [
                ("id", "ses_2".into()),
                ("user_id", "usr_2".into()),
                ("created_at", "2025-06-01 08:00:00".into()),
            ],
        )
}

fn text(place: &Place, sql: &str) -> Option<String> {
    readonly::open(&place.path("data/streamhub.db")).query_row(sql, [], |row| row.get(0)).expect(sql)
}

fn from_stdin(place: &Place, verb: &str, input: &[u8]) -> Output {
    let mut child = place
        .streamhub()
        .command(["user", verb, "anna@example.org", "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It may have ended already, where the input is refused.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_random_password_is_printed_once() {
    let place = Place::taken_over(&users());
    // A take-over ends the sessions of before.
    let control = Connection::open(place.path("data/streamhub.db")).expect("the database");
    let begun = "UPDATE sessions SET revoked_at = NULL WHERE id IN ('ses_1', 'ses_2')";
    assert_eq!(control.execute(begun, []).expect("sessions"), 2);
    drop(control);
    let done = place.streamhub().run(["user", "reset-password", "anna@EXAMPLE.org"]).expect(0);
    let password = done.stdout().trim();
    assert_eq!((password.len(), done.stdout().lines().count()), (24, 1), "{}", done.stdout());
    assert!(
        !done.stderr().contains(password) && done.stderr().contains("1 session ended"),
        "{}",
        done.stderr()
    );
    let hash = text(&place, "SELECT password_hash FROM users WHERE id = 'usr_1'").expect("a hash");
    assert!(hash.starts_with("$argon2id$") && !hash.contains(password));
    assert!(text(&place, "SELECT revoked_at FROM sessions WHERE id = 'ses_1'").is_some());
    assert_eq!(text(&place, "SELECT revoked_at FROM sessions WHERE id = 'ses_2'"), None);
    assert_eq!(text(&place, "SELECT password_hash FROM users WHERE id = 'usr_2'"), None);

    let done =
        place.streamhub().run(["user", "reset-password", "anna@example.org", "--json"]).expect(0).json();
    assert_eq!((&done["id"], &done["sessionsEnded"]), (&"usr_1".into(), &0.into()));
    assert_ne!(done["password"], password);
}

#[test]
fn a_chosen_password_is_read_from_standard_input() {
    let place = Place::taken_over(&users());
    let hash = || text(&place, "SELECT password_hash FROM users WHERE id = 'usr_1'");
    for bad in [&b""[..], b"short\n", b"\xff\xfe is not UTF-8\n"] {
        let refused = from_stdin(&place, "reset-password", bad);
        assert_eq!(refused.status.code(), Some(1));
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(words.contains("standard input") && words.contains("way out:"), "{words}");
        assert_eq!(hash(), None);
    }
    let mut hashes = Vec::new();
    for good in
        [&b"correct horse battery\n"[..], b"correct horse battery\r\nsecond line\n", b"correct horse battery"]
    {
        let done = from_stdin(&place, "reset-password", good);
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(done.stdout.is_empty(), "what the caller chose is not repeated");
        hashes.push(hash().expect("a hash"));
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3, "each has a salt of its own");
}

#[test]
fn who_is_unknown_or_ambiguous_is_refused() {
    let place = Place::taken_over(&users());
    let before = readonly::all_rows(&place.path("data/streamhub.db"));
    for (email, words) in
        [("nobody@example.org", "no user"), ("twin@example.org", "several users"), ("", "no user")]
    {
        let refused = place.streamhub().run(["user", "reset-password", email]).expect(1);
        assert!(refused.stderr().contains(words), "{}", refused.stderr());
        assert!(refused.stdout().is_empty(), "a password that nobody has was printed");
    }
    assert!(readonly::all_rows(&place.path("data/streamhub.db")) == before);
}

#[test]
fn an_app_that_waits_for_its_take_over_is_no_obstacle() {
    let place = Place::of(&users().app("gone", |a| a));
    let _ = place.streamhub().run(["migrate"]).expect(0);
    let _ = place.streamhub().run(["user", "reset-password", "anna@example.org"]).expect(0);
    assert_eq!(text(&place, "SELECT split_state FROM apps WHERE name = 'gone'").as_deref(), Some("missing"));
}

#[test]
fn a_user_is_made_with_a_random_or_a_chosen_password() {
    let place = Place::missing();
    let made = place.streamhub().run(["user", "create", "anna@example.org", "--superadmin"]).expect(0);
    let password = made.stdout().trim();
    assert_eq!((password.len(), made.stdout().lines().count()), (24, 1), "{}", made.stdout());
    assert!(!made.stderr().contains(password) && made.stderr().contains("anna@example.org"));
    let line = ["user", "create", "bert@example.org", "--name", "Bert", "--json"];
    let made = place.streamhub().run(line).expect(0).json();
    for (key, value) in [("email", "bert@example.org"), ("name", "Bert"), ("status", "active")] {
        assert_eq!(made[key], value);
    }
    assert_eq!((&made["isSuperadmin"], made["password"].as_str().map(str::len)), (&false.into(), Some(24)));
    let list = place.streamhub().run(["user", "list", "--json"]).expect(0);
    assert!(!list.stdout().contains("argon2"));
    assert_eq!(list.json()["total"], 2);
    refused(&place, &["user", "create", "ANNA@example.org"], 6, &["ANNA@example.org", "user list"]);

    let place = Place::missing();
    let short = from_stdin(&place, "create", b"short\n");
    assert_eq!(short.status.code(), Some(1));
    assert!(!place.dir.exists(), "a refusal made the data directory");
    let made = from_stdin(&place, "create", b"correct horse battery\n");
    assert_eq!((made.status.code(), &*made.stdout), (Some(0), &b""[..]));
}

#[test]
fn a_user_is_disabled_and_removed_by_address_or_key() {
    let place = Place::taken_over(&users());
    let disabled =
        place.streamhub().run(["user", "status", "anna@EXAMPLE.org", "disabled", "--json"]).expect(0);
    assert_eq!(disabled.json()["status"], "disabled");
    assert!(text(&place, "SELECT revoked_at FROM sessions WHERE id = 'ses_1'").is_some());
    for verb in
        [&["user", "status", "twin@example.org", "active"][..], &["user", "delete", "twin@example.org"]]
    {
        refused(&place, verb, 1, &["several users", "way out:"]);
    }
    let gone = place.streamhub().run(["user", "delete", "usr_2", "--json"]).expect(0).json();
    assert_eq!(gone, serde_json::json!({"deleted": true, "id": "usr_2", "email": "twin@example.org"}));
    let _ = place.streamhub().run(["user", "delete", "twin@example.org"]).expect(0);
    refused(&place, &["user", "delete", "twin@example.org"], 1, &["no user", "twin@example.org"]);
    refused(&place, &["user", "status", "nobody", "active"], 1, &["no user", "nobody"]);
}

#[test]
fn the_last_superadmin_cannot_be_shut_out() {
    let place = Place::missing();
    let _ = place.streamhub().run(["user", "create", "anna@example.org", "--superadmin"]).expect(0);
    let lines =
        [&["user", "delete", "anna@example.org"][..], &["user", "status", "anna@example.org", "disabled"]];
    for line in lines {
        refused(&place, line, 1, &["anna@example.org", "only superadmin", "user create"]);
    }
    let _ = place.streamhub().run(["user", "create", "bert@example.org", "--superadmin"]).expect(0);
    let _ = place.streamhub().run(["user", "delete", "anna@example.org"]).expect(0);
    let server = place.streamhub().serve();
    server.wait_until_ready();
    assert!(!server.stderr().contains("set-up token"), "{}", server.stderr());
}
