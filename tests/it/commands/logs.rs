//! `logs`: what the server told of itself, listed beside it and pruned without it.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use super::{Place, json_of, refused};

/// Writes into the log as an older system and as this one would, an entry a day.
fn fill(place: &Place, sql: &str) {
    let db = Connection::open(place.path("streamhub.db")).expect("the control database");
    db.execute_batch(sql).expect("rows");
}

fn messages(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("entries").iter().map(|entry| entry["message"].as_str().unwrap()).collect()
}

/// Five entries of January 2026, in both spellings of a time.
fn with_log() -> Place {
    let place = Place::with_app("news-24");
    fill(
        &place,
        "INSERT INTO server_logs (ts, level, source, app_id, message, meta_json) VALUES
            ('2026-01-01 00:00:00', 'info', 'ingest', NULL, 'one', NULL),
            ('2026-01-02T00:00:00.000Z', 'warn', 'ingest', (SELECT id FROM apps), 'two', '{\"a\": 1}'),
            ('2026-01-03 00:00:00', 'error', NULL, NULL, '100% full', NULL),
            ('2026-01-04T00:00:00.000Z', 'debug', 'server', NULL, 'four', NULL),
            ('2026-01-05 00:00:00', 'info', 'server', NULL, 'five', NULL)",
    );
    place
}

#[test]
fn lists_show_what_they_are_asked_for() {
    let place = with_log();
    let list = |words: &[&str]| json_of(&place, &[&["logs", "list"], words].concat());
    let all = list(&[]);
    assert_eq!(messages(&all), ["five", "four", "100% full", "two", "one"]);
    assert_eq!((&all["limit"], &all["error"], all.get("nextCursor")), (&200.into(), &Value::Null, None));
    let two = &all["data"][3];
    assert_eq!((&two["app"], &two["meta"]["a"]), (&"news-24".into(), &1.into()));

    assert_eq!(messages(&list(&["--level", "warn"])), ["100% full", "two"]);
    assert_eq!(messages(&list(&["--app", "news-24"])), ["two"]);
    assert_eq!(messages(&list(&["--tenant", "platform"])), ["two"]);
    assert_eq!(messages(&list(&["--source", "server"])), ["five", "four"]);
    assert_eq!(messages(&list(&["--query", "0% F"])), ["100% full"]);
    assert_eq!(messages(&list(&["--since", "2026-01-02", "--until", "2026-01-04"])), ["100% full", "two"]);
    assert!(messages(&list(&["--since", "30m"])).is_empty());

    let first = list(&["--limit", "2"]);
    let cursor = first["nextCursor"].as_str().expect("there is more");
    assert_eq!(messages(&list(&["--limit", "2", "--cursor", cursor])), ["100% full", "two"]);
    let people = place.streamhub().run(["logs", "list", "--limit", "1"]).expect(0);
    assert!(people.stdout().contains("five") && people.stdout().contains("more: --cursor 2026-01-05T"));
    let none = place.streamhub().run(["logs", "list", "--app", "news-24", "--level", "error"]).expect(0);
    assert_eq!(none.stdout(), "no entries\n");

    refused(&place, &["logs", "list", "--level", "loud"], 2, &["loud", "trace, debug, info, warn, error"]);
    refused(&place, &["logs", "list", "--cursor", "x"], 2, &["no cursor"]);
    refused(&place, &["logs", "list", "--since", "yesterday"], 2, &["yesterday", "30d"]);
    refused(&place, &["logs", "list", "--app", "nobodys-app"], 1, &["nobodys-app"]);
}

#[test]
fn pruning_says_first_and_then_does() {
    let place = with_log();
    let before = ["--before", "2026-01-03"];
    let prune = |words: &[&str]| json_of(&place, &[&["logs", "prune"], &before[..], words].concat());
    let digest = place.digest();
    let dry = prune(&["--dry-run"]);
    assert_eq!((&dry["entries"], &dry["dryRun"]), (&2.into(), &true.into()));
    assert_eq!(dry["before"], "2026-01-03T00:00:00.000Z");
    assert!(place.changes(&digest).is_empty());

    let done = prune(&[]);
    assert_eq!((&done["entries"], &done["before"]), (&2.into(), &"2026-01-03T00:00:00.000Z".into()));
    assert_eq!(prune(&[])["entries"], 0);
    let people = place.streamhub().run(["logs", "prune", "--before", "2026-01-04"]).expect(0);
    assert!(people.stdout().contains("1 entries from before 2026-01-04"), "{}", people.stdout());
    assert_eq!(messages(&json_of(&place, &["logs", "list"])), ["five", "four"]);

    refused(&place, &["logs", "prune"], 2, &["--before"]);
    refused(&place, &["logs", "prune", "--before", "soon"], 2, &["soon"]);
    let _ = Place::missing().streamhub().run(["logs", "prune", "--before", "30d"]).expect(5);
}

#[test]
fn pages_go_back_to_the_disk() {
    let place = Place::new();
    fill(
        &place,
        "WITH RECURSIVE n (at) AS (VALUES (1) UNION ALL SELECT at + 1 FROM n WHERE at < 5000)
         INSERT INTO server_logs (ts, level, message)
         SELECT '2026-01-01 00:00:00', 'info', hex(zeroblob(250)) FROM n",
    );
    let size = || std::fs::metadata(place.path("streamhub.db")).expect("the control database").len();
    let before = size();
    let done = json_of(&place, &["logs", "prune", "--before", "2026-01-02"]);
    assert_eq!((&done["entries"], &done["freeBytes"]), (&5000.into(), &0.into()));
    let given_back = done["bytesGivenBack"].as_u64().expect("bytes");
    assert_eq!(before - size(), given_back);
    assert!(given_back > 5000 * 500, "{given_back}");
}

#[test]
fn a_server_writes_its_log_down_and_others_read_it_beside_it() {
    let place = Place::with_app("news-24");
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let began = Instant::now();
    let listed = loop {
        let list = json_of(&place, &["logs", "list", "--query", "serving"]);
        if !messages(&list).is_empty() || began.elapsed() > Duration::from_secs(20) {
            break list;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(listed["data"][0]["level"], "info", "{listed}");
    assert!(listed["data"][0]["meta"]["address"].as_str().is_some_and(|url| url.starts_with("http://127.")));
    assert_eq!(json_of(&place, &["logs", "prune", "--before", "1970-01-01", "--dry-run"])["entries"], 0);
    assert_eq!(json_of(&place, &["logs", "prune", "--before", "30d"])["entries"], 0);
    assert!(server.stop().success());
    assert_eq!(messages(&json_of(&place, &["logs", "list", "--limit", "1"])), ["stopping"]);
}

#[test]
fn the_set_up_token_is_not_written_down() {
    let place = Place::missing();
    let server = place.streamhub().serve_with(["--listen", "127.0.0.1:0", "--log-format", "json"]);
    server.wait_until_ready();
    assert!(server.stderr().contains("set-up token"), "{}", server.stderr());
    assert!(server.stop().success());
    let list = json_of(&place, &["logs", "list"]);
    assert!(messages(&list).contains(&"serving") && !list.to_string().contains("set-up token"), "{list}");
}

#[test]
fn each_request_is_a_line_for_programs_and_for_people_who_ask_for_it() {
    for (options, is_there) in [
        (&["--log-format", "json"][..], true),
        (&["--log-format", "json", "-q"], false),
        (&[], false),
        (&["-v"], true),
    ] {
        let place = Place::new();
        let server = place.streamhub().serve_with(["--listen", "127.0.0.1:0"].iter().chain(options));
        server.wait_until_ready();
        let id = server
            .get("/api/v1/apps/news-24?token=hunter2")
            .header("x-request-id")
            .expect("an id")
            .to_owned();
        let logged = server.stop().stderr;
        let line = logged.lines().find(|line| line.contains("access") && line.contains(&id));
        assert_eq!(line.is_some(), is_there, "{options:?}: {logged}");
        assert!(!logged.contains("hunter2"), "{logged}");
        if let Some(line) = line.filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let fields = &line["fields"];
            assert_eq!((&line["target"], &fields["status"]), (&"access".into(), &401.into()), "{line}");
            assert_eq!(fields["route"], "/api/v1/apps/{app}");
            assert!(fields["duration_ms"].is_f64() && fields["client.address"] == "127.0.0.1", "{line}");
        }
    }
}
