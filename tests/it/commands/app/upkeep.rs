//! `app health`, `optimize`, `check`, `checkpoint` and `purge`.

use std::fs;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::json;
use streamhub_tests::files::tree_changes;

use super::super::{Place, json_of, refused};

/// An app whose database has much that nobody needs.
fn bloated() -> Place {
    let place = Place::with_app("news-24");
    let db = Connection::open(place.path("apps/news-24/app.db")).expect("the database");
    db.execute_batch(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
         INSERT INTO streams (app_id, stream_id, type, started_at) SELECT 1, 'live/' || i, 'rtmp', '2026-01-01' FROM n; \
         DELETE FROM streams WHERE id > 10",
    )
    .expect("rows");
    drop(db);
    fs::remove_file(place.path("apps/news-24/app.seal")).ok();
    place
}

#[test]
fn health_counts_rows_bytes_and_free_pages() {
    let place = bloated();
    let answer = place.streamhub().run(["app", "health", "news-24", "--json"]).expect(0).json();
    assert_eq!(answer["error"], serde_json::Value::Null);
    let health = &answer["data"];
    assert_eq!(health["path"], "apps/news-24/app.db");
    assert_eq!(health["walSizeBytes"], 0);
    let number = |key: &str| health[key].as_f64().expect(key);
    assert!(number("sizeBytes") > 0.0 && number("fragmentationPct") > 50.0, "{health}");
    assert!(number("freelistCount") > 0.0 && number("freelistCount") < number("pageCount"), "{health}");
    let tables = health["tables"].as_array().expect("tables");
    let streams = tables.iter().find(|table| table["name"] == "streams").expect("streams");
    assert_eq!(streams["rows"], 10);
    assert!(streams["bytes"].as_u64().expect("bytes") >= 4096);
    let people = place.streamhub().run(["app", "health", "news-24"]).expect(0);
    assert!(people.stdout().contains("streams") && people.stdout().contains(" %\n"), "{}", people.stdout());
}

#[test]
fn optimising_gives_space_back_and_says_how_far_it_is() {
    let place = bloated();
    let done = place.streamhub().run(["app", "optimize", "news-24", "--json"]).expect(0);
    assert!(done.stderr().contains("VACUUM"), "no progress: {}", done.stderr());
    let answer = done.json();
    let report = &answer["data"];
    let steps = ["PRAGMA optimize", "ANALYZE", "REINDEX", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"];
    assert_eq!(report["steps"], serde_json::json!(steps));
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    assert!(number(&report["reclaimedBytes"]) > 0, "{report}");
    assert_eq!((number(&report["after"]["freelistCount"]), number(&report["after"]["walSizeBytes"])), (0, 0));
    assert!(number(&report["before"]["sizeBytes"]) > number(&report["after"]["sizeBytes"]));
    let size = fs::metadata(place.path("apps/news-24/app.db")).expect("the file").len();
    assert_eq!(size, number(&report["after"]["sizeBytes"]));
    let quiet = place.streamhub().run(["app", "optimize", "news-24", "-q"]).expect(0);
    assert!(quiet.stderr().is_empty() && quiet.stdout().contains("apps/news-24/app.db"));
}

#[test]
fn an_app_that_is_damaged_or_gone_is_named() {
    let place = Place::with_app("news-24");
    let db = place.path("apps/news-24/app.db");
    fs::write(&db, "this is no database").expect("a file");
    for verb in ["health", "optimize", "checkpoint"] {
        refused(&place, &["app", verb, "news-24"], 1, &["news-24", "not an SQLite database", "way out:"]);
    }
    fs::remove_file(&db).expect("the file");
    for verb in ["health", "optimize", "checkpoint", "seal"] {
        refused(&place, &["app", verb, "news-24"], 1, &["news-24", "way out:"]);
    }
}

#[test]
fn a_check_says_what_it_finds_and_changes_nothing() {
    let place = bloated();
    let whole =
        json!({ "data": { "path": "apps/news-24/app.db", "ok": true, "problems": [] }, "error": null });
    assert_eq!(json_of(&place, &["app", "check", "news-24"]), whole);
    let people = place.streamhub().run(["app", "check", "news-24"]).expect(0);
    assert!(people.stdout().contains("whole") && people.stderr().contains("integrity_check"));
    fs::remove_file(place.path("apps/news-24/app.seal")).ok();
    let path = place.path("apps/news-24/app.db");
    let root: usize = Connection::open(&path)
        .and_then(|db| {
            db.query_row("SELECT rootpage FROM sqlite_master WHERE name = 'streams'", [], |row| row.get(0))
        })
        .expect("a page");
    let mut bytes = fs::read(&path).expect("the database");
    bytes[(root - 1) * 4096..][..2048].fill(0xee);
    fs::write(&path, &bytes).expect("damage");
    for damage in [bytes, b"this is no database".to_vec()] {
        fs::write(&path, damage).expect("damage");
        let before = place.digest();
        let found = place.streamhub().run(["app", "check", "news-24", "--json"]).expect(1);
        let data = &found.json()["data"];
        assert_eq!(data["ok"], false);
        let problems = data["problems"].as_array().expect("problems");
        assert!(problems.iter().all(|problem| !problem.as_str().expect("a text").is_empty()), "{data}");
        for word in ["apps/news-24/app.db", "problem", "way out: restore"] {
            assert!(found.stderr().contains(word), "{word}: {}", found.stderr());
        }
        let changes = tree_changes(&before, &place.digest());
        assert!(changes.iter().all(|change| !change.contains("news-24/app.db")), "{changes:?}");
    }
}

#[test]
fn a_checkpoint_empties_the_wal() {
    let place = bloated();
    let db = Connection::open(place.path("apps/news-24/app.db")).expect("the database");
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("no checkpoint");
    db.execute_batch("UPDATE streams SET room = 'lobby'").expect("a write");
    drop(db);
    let answer = json_of(&place, &["app", "checkpoint", "news-24"]);
    let data = &answer["data"];
    assert_eq!(data["path"], "apps/news-24/app.db");
    assert!(data["before"]["walSizeBytes"].as_u64().expect("bytes") > 4096, "{data}");
    assert_eq!(data["after"]["walSizeBytes"], 0);
    let people = place.streamhub().run(["app", "checkpoint", "news-24"]).expect(0);
    assert!(people.stdout().contains("0 after"), "{}", people.stdout());
    let told = json_of(&place, &["audit", "list"]);
    let actions: Vec<_> =
        told["entries"].as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions.iter().filter(|action| **action == "db.checkpoint").count(), 2, "{told}");
}

#[test]
fn a_purge_takes_what_is_named_with_its_files_and_nothing_unless_it_is_meant() {
    let place = bloated();
    let recordings = place.path("apps/news-24/recordings");
    fs::create_dir(&recordings).expect("a directory");
    let db = Connection::open(place.path("apps/news-24/app.db")).expect("the database");
    for name in ["one", "two"] {
        fs::write(recordings.join(name), "film").expect("a file");
        let sql = "INSERT INTO vods (app_id, name, status, local_path) VALUES (1, ?1, 'ready', 'recordings/' || ?1)";
        db.execute(sql, [name]).expect("a row");
    }
    db.execute_batch("UPDATE streams SET status = 'ended' WHERE id < 10").expect("ended streams");
    drop(db);
    refused(&place, &["app", "purge", "news-24"], 2, &["--confirm"]);
    refused(
        &place,
        &["app", "purge", "news-24", "--confirm", "--scope", "all-of-it"],
        2,
        &["vods, logs, all"],
    );
    let purge = |scope: &str| json_of(&place, &["app", "purge", "news-24", "--confirm", "--scope", scope]);
    let counts = |answer: serde_json::Value| {
        ["vodsDeleted", "localDeleted", "streamsDeleted", "logsDeleted", "s3Deleted"]
            .map(|key| answer["data"][key].as_u64().expect(key))
    };
    assert_eq!(counts(purge("logs")), [0; 5]);
    assert_eq!(fs::read_dir(&recordings).expect("files").count(), 2);
    assert_eq!(counts(purge("vods")), [2, 2, 0, 0, 0]);
    assert_eq!(fs::read_dir(&recordings).expect("files").count(), 0);
    let people = place.streamhub().run(["app", "purge", "news-24", "--confirm"]).expect(0);
    assert!(people.stdout().contains("9 removed"), "{}", people.stdout());
    let left = Connection::open(place.path("apps/news-24/app.db"))
        .and_then(|db| db.query_row("SELECT count(*) FROM streams", [], |row| row.get::<_, i64>(0)))
        .expect("a count");
    assert_eq!(left, 1, "what is live stays");
}
