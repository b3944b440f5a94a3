//! `app health` and `app optimize`.

use std::fs;

use rusqlite::Connection;

use super::super::{Place, refused};

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
    for verb in ["health", "optimize"] {
        refused(&place, &["app", verb, "news-24"], 1, &["news-24", "not an SQLite database", "way out:"]);
    }
    fs::remove_file(&db).expect("the file");
    for verb in ["health", "optimize", "seal"] {
        refused(&place, &["app", verb, "news-24"], 1, &["news-24", "way out:"]);
    }
}
