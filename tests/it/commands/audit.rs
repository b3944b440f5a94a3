//! `audit`: who did what, listed and pruned.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Place, json_of, refused};

fn with_audit() -> Place {
    let place = Place::new();
    let db = Connection::open(place.path("streamhub.db")).expect("the control database");
    db.execute_batch(
        "INSERT INTO _streamhub_audit (at, tenant_id, app, principal, address, action, target, outcome)
         VALUES ('2026-01-01T00:00:00.000Z', 'acme', 'news-24', 'user:ana', '192.0.2.1', 'app.create', 'news-24', 'ok'),
                ('2026-01-02T00:00:00.000Z', 'zeta', NULL, 'token:3', NULL, 'token.revoke', '4', 'denied'),
                ('2026-01-03T00:00:00.000Z', 'acme', NULL, 'user:ana', NULL, 'user.create', 'bob', 'ok')",
    )
    .expect("rows");
    place
}

fn actions(list: &Value) -> Vec<&str> {
    let entries = list["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[test]
fn lists_show_what_they_are_asked_for() {
    let place = with_audit();
    let list = |words: &[&str]| json_of(&place, &[&["audit", "list"], words].concat());
    let all = list(&[]);
    assert_eq!(actions(&all), ["user.create", "token.revoke", "app.create"]);
    assert_eq!((&all["count"], all.get("nextCursor")), (&3.into(), None));
    assert_eq!(
        all["entries"][2],
        json!({"id": 1, "at": "2026-01-01T00:00:00.000Z", "tenantId": "acme", "app": "news-24",
               "principal": "user:ana", "address": "192.0.2.1", "action": "app.create", "target": "news-24",
               "outcome": "ok", "detailJson": null})
    );
    assert_eq!(actions(&list(&["--tenant", "acme"])), ["user.create", "app.create"]);
    assert_eq!(actions(&list(&["--since", "2026-01-02", "--until", "2026-01-03"])), ["token.revoke"]);
    let first = list(&["--limit", "2"]);
    let cursor = first["nextCursor"].as_str().expect("there is more");
    assert_eq!(actions(&list(&["--cursor", cursor])), ["app.create"]);
    let people = place.streamhub().run(["audit", "list"]).expect(0);
    for word in ["PRINCIPAL", "user:ana", "192.0.2.1", "denied"] {
        assert!(people.stdout().contains(word), "{}", people.stdout());
    }
}

#[test]
fn pruning_says_first_and_then_does() {
    let place = with_audit();
    let prune =
        |words: &[&str]| json_of(&place, &[&["audit", "prune", "--before", "2026-01-03"], words].concat());
    assert_eq!(prune(&["--dry-run"])["entries"], 2);
    assert_eq!(prune(&["--dry-run"])["entries"], 2, "nothing went");
    assert_eq!(prune(&[])["entries"], 2);
    assert!(!actions(&json_of(&place, &["audit", "list"])).contains(&"app.create"));
    refused(&place, &["audit", "prune", "--before", "-1d"], 2, &["-1"]);
    refused(&place, &["audit", "prune", "--before", "12"], 2, &["12", "2026-11-21"]);
}

#[test]
fn both_work_where_a_server_has_the_directory() {
    let place = with_audit();
    let server = place.streamhub().serve();
    server.wait_until_ready();
    assert_eq!(actions(&json_of(&place, &["audit", "list", "--until", "2026-01-02"])), ["app.create"]);
    let dry = json_of(&place, &["audit", "prune", "--before", "2026-01-02", "--dry-run"]);
    assert_eq!(dry["entries"], 1);
    assert_eq!(json_of(&place, &["audit", "prune", "--before", "2026-01-02"])["entries"], 1);
    assert!(server.stop().success());
}
