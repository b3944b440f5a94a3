//! What is shown to people is obeyed by no terminal, whatever rows an older program left.

use rusqlite::Connection;

use super::Place;

#[test]
fn no_text_of_a_database_reaches_the_terminal_as_a_command() {
    let place = Place::with_app("news-24");
    let _ = place.streamhub().run(["token", "create", "ci"]).expect(0);
    let _ = place.streamhub().run(["node", "create", "edge-1"]).expect(0);
    let _ = place.streamhub().run(["user", "create", "anna@example.org"]).expect(0);
    let control = Connection::open(place.path("streamhub.db")).expect("a database");
    let hostile = "\u{1b}]0;pwn\u{7}\r\n\u{9b}31m";
    for sql in [
        "UPDATE api_tokens SET name = ?1",
        "UPDATE nodes SET name = ?1, region = ?1",
        "UPDATE tenants SET name = ?1, plan = ?1",
        "UPDATE users SET name = ?1",
        "UPDATE apps SET display_name = ?1, livekit_room_prefix = ?1, split_detail = ?1",
        "INSERT INTO server_logs (ts, level, source, message) VALUES ('2026-01-01T00:00:00.000Z', 'info', ?1, ?1)",
    ] {
        assert!(control.execute(sql, [hostile]).expect("rows") > 0, "{sql}");
    }
    drop(control);
    for line in [
        &["token", "list"][..],
        &["node", "list"],
        &["tenant", "list"],
        &["tenant", "show", "platform"],
        &["user", "list"],
        &["app", "list"],
        &["app", "show", "news-24"],
        &["logs", "list"],
        &["audit", "list"],
        &["status"],
        &["doctor"],
        &["tenant", "show", "\u{1b}[31m"],
    ] {
        let shown = place.streamhub().run(line);
        let text = [shown.stdout(), shown.stderr()].concat();
        let obeyed = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(obeyed, None, "{line:?}: {text}");
        assert_eq!(shown.stdout().lines().filter(|line| line.starts_with("31m")).count(), 0, "{line:?}");
    }
    let shown = place.streamhub().run(["app", "show", "news-24"]).expect(0);
    assert!(shown.stdout().contains(r"display name  \u{1b}]0;pwn\u{7}\r\n\u{9b}31m"), "{}", shown.stdout());
    let machine = place.streamhub().run(["app", "show", "news-24", "--json"]).expect(0);
    assert_eq!(machine.json()["displayName"], hostile);
}
