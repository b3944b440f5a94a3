//! What a take-over costs per row, beside one plain `INSERT … SELECT` of the same rows in the same run.
//!
//! The older rows lie in the registry without any index. The same number of rows is spread over many apps and over a
//! tenth as many, so that a cost per app and row would show. `STREAMHUB_BENCH_APPS` (200) and `STREAMHUB_BENCH_ROWS`
//! (1,000 for each app) set the size.

#![allow(clippy::print_stdout, reason = "this program prints its numbers")]
#![allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
#![allow(clippy::cast_precision_loss, reason = "rates are rounded anyway")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use streamhub_tests::command::{Streamhub, binary};
use streamhub_tests::files::scratch;
use streamhub_tests::legacy::Tree;
use streamhub_tests::skip::workspace;

fn main() {
    let size = |name: &str, default: u64| {
        std::env::var(name)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let (apps, rows) = (size("STREAMHUB_BENCH_APPS", 200), size("STREAMHUB_BENCH_ROWS", 1_000));
    binary();
    for (apps, rows) in [(apps, rows), ((apps / 10).max(1), rows * 10)] {
        let all = apps * rows;
        let home = scratch();
        let control = build(home.path(), apps, rows);
        let plain = plain_copy(&control, &home.path().join("plain.db"), all);
        let start = Instant::now();
        let patience = Duration::from_mins(30);
        let output =
            Streamhub::new(home.path()).within(patience).run(["migrate", "--json", "--quiet"]).expect(0);
        let taken = start.elapsed();
        let found: u64 = output.json()["apps"]
            .as_array()
            .map_or(0, |apps| apps.iter().filter_map(|app| app["imported"].as_u64()).sum());
        assert_eq!(found, all, "rows were left out");
        let rate = |time: Duration| all as f64 / time.as_secs_f64();
        println!(
            "{apps:>5} apps of {rows:>6} rows: take-over {:>8.0} rows/s ({taken:.2?}), one INSERT SELECT {:>8.0} rows/s ({plain:.2?}), ratio {:.2}",
            rate(taken),
            rate(plain),
            taken.as_secs_f64() / plain.as_secs_f64()
        );
    }
}

/// A registry that holds all rows itself, those of all apps mixed, half streams and half recordings.
fn build(dir: &Path, apps: u64, rows: u64) -> std::path::PathBuf {
    let mut tree = Tree::new().lax().global_tables();
    for n in 1..=apps {
        tree = tree.app(&format!("app-{n}"), streamhub_tests::legacy::App::dir);
    }
    let control = tree.build(dir);
    let db = Connection::open(&control).expect("the registry");
    let half = apps * rows / 2;
    db.execute_batch(&format!(
        "PRAGMA synchronous = OFF; BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {half})
           INSERT INTO streams (app_id, stream_id, type, room, participant, status, started_at, last_stats_json)
           SELECT 1 + i % {apps}, 'stream-' || i, 'webrtc', 'room-' || i % 40, 'participant ' || i, 'ended',
             '2026-01-01 00:00:00', '{{\"viewers\":' || i % 90 || '}}' FROM n;
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {})
           INSERT INTO vods (app_id, stream_id, room, name, file_key, size_bytes, duration_s, format, status, local_path, started_at)
           SELECT 1 + i % {apps}, 'stream-' || i, 'room-' || i % 40, 'rec-' || i || '.mp4', 'prefix/rec-' || i || '.mp4', i * 7919,
             i * 0.25, 'mp4', 'ready', 'recordings/rec-' || i || '.mp4', '2026-01-01T00:00:00.000Z' FROM n;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
        apps * rows - half
    ))
    .expect("the rows");
    control
}

/// The same rows into one database with the app schema and its indices, in one durable transaction.
fn plain_copy(control: &Path, target: &Path, rows: u64) -> Duration {
    let schema = fs::read_to_string(workspace().join("migrations/app/schema.sql")).expect("the app schema");
    let db = Connection::open(target).expect("a database");
    db.execute_batch(&schema).expect("the app schema");
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").expect("WAL mode");
    db.execute("ATTACH ?1 AS older", [control.to_str().expect("UTF-8")]).expect("the registry");
    let start = Instant::now();
    db.execute_batch(
        "BEGIN IMMEDIATE; INSERT INTO main.streams SELECT * FROM older.streams;
         INSERT INTO main.vods SELECT * FROM older.vods; COMMIT",
    )
    .expect("a copy");
    let taken = start.elapsed();
    let copied: u64 = db
        .query_row("SELECT (SELECT count(*) FROM main.streams) + (SELECT count(*) FROM main.vods)", [], |r| {
            r.get(0)
        })
        .expect("a count");
    assert_eq!(copied, rows);
    taken
}
