//! `user reset-password`: a new password, once on standard output, and the end of all sessions.

use std::io::Write as _;
use std::process::{Output, Stdio};

use streamhub_tests::legacy::Tree;
use streamhub_tests::readonly;

use super::Place;

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

fn from_stdin(place: &Place, input: &[u8]) -> Output {
    let mut child = place
        .streamhub()
        .command(["user", "reset-password", "anna@example.org", "--password-stdin"])
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
    let done = place.streamhub().run(["user", "reset-password", "anna@EXAMPLE.org"]).expect(0);
    let password = done.stdout().trim();
    assert_eq!((password.len(), done.stdout().lines().count()), (24, 1), "{}", done.stdout());
    assert!(!done.stderr().contains(password) && done.stderr().contains("1 sessions"), "{}", done.stderr());
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
        let refused = from_stdin(&place, bad);
        assert_eq!(refused.status.code(), Some(1));
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(words.contains("standard input") && words.contains("way out:"), "{words}");
        assert_eq!(hash(), None);
    }
    let mut hashes = Vec::new();
    for good in
        [&b"correct horse battery\n"[..], b"correct horse battery\r\nsecond line\n", b"correct horse battery"]
    {
        let done = from_stdin(&place, good);
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
fn a_running_server_is_in_the_way() {
    let place = Place::taken_over(&users());
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let refused = place.streamhub().run(["user", "reset-password", "anna@example.org"]).expect(75);
    assert!(refused.stderr().contains(&server.pid().to_string()) && refused.stdout().is_empty());
}

#[test]
fn an_app_that_waits_for_its_take_over_is_no_obstacle() {
    let place = Place::of(&users().app("gone", |a| a));
    let _ = place.streamhub().run(["migrate"]).expect(0);
    let _ = place.streamhub().run(["user", "reset-password", "anna@example.org"]).expect(0);
    assert_eq!(text(&place, "SELECT split_state FROM apps WHERE name = 'gone'").as_deref(), Some("missing"));
}
