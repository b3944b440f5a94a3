//! What splitting older data costs per row, beside a plain program that copies the same rows.
//!
//! The plain program has an app.db of the final schema, all indices in place, in WAL mode with
//! `synchronous = FULL`. It attaches the older registry, does one `INSERT … SELECT` for each table in one
//! transaction, commits and closes. The split is what a boot does for each app after the registry was
//! adopted: read, convert, insert, account for every row, finish, sync, read back, rename and point. The
//! backup and the adoption come before it and belong to the registry, not to any app; they are timed by
//! themselves and are no part of the ratio.
//!
//! Goal 7a is one app with a million rows. Goal 7b is a thousand apps with a thousand rows each, mixed in a
//! registry without any index, measured against the same plain copy: a plain program for each app would
//! have to read the whole registry a thousand times. Each measurement is a process of its own, so that the
//! peak of its memory is its own too; a tenth of the rows of 7a shows whether memory grows with the rows.
//!
//! `STREAMHUB_BENCH_ROWS` (1,000,000), `STREAMHUB_BENCH_APPS` (1,000) and `STREAMHUB_BENCH_ROUNDS` (3) set the
//! size.

#![allow(clippy::print_stdout, reason = "this program prints its numbers")]
#![allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
#![allow(clippy::cast_precision_loss, reason = "rates are rounded anyway")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use streamhub::progress::Progress;
use streamhub::{Hub, HubConfig};
use streamhub_split::Older;
use streamhub_tests::files::{copy_tree, scratch};
use streamhub_tests::legacy::{App, Tree};
use streamhub_tests::measure::{Compared, Goal, Needs, median};
use streamhub_tests::process::run_within;
use streamhub_tests::skip::workspace;

const PATIENCE: Duration = Duration::from_mins(10);

/// Where the registry lies in a data directory.
const CONTROL: &str = "data/streamhub.db";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["take-over", home] => println!("{}", take_over(Path::new(home))),
        ["older", home, apps, rows] => older(Path::new(home), number(apps), number(rows)),
        ["plain", control, target] => println!("{}", plain(Path::new(control), Path::new(target))),
        _ => compare(),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn compare() {
    let size = |name: &str, default: u64| std::env::var(name).map_or(default, |text| number(&text));
    let rows = size("STREAMHUB_BENCH_ROWS", 1_000_000);
    let apps = size("STREAMHUB_BENCH_APPS", 1_000);
    let scratch = scratch();
    let older = |name: &str, apps: u64, rows: u64| {
        let home = scratch.path().join(name);
        older(&home, apps, rows);
        home
    };
    let (one, tenth, many) = (older("one", 1, rows), older("tenth", 1, rows / 10), older("many", apps, rows));
    let mut plain = Vec::new();
    let mut split = [Vec::new(), Vec::new()];
    let mut adoption = Vec::new();
    let mut peak = Vec::new();
    for _ in 0..size("STREAMHUB_BENCH_ROUNDS", 3) {
        plain.push(rate(rows, &copied(&one, scratch.path())));
        for (rates, home) in split.iter_mut().zip([&one, &many]) {
            let taken = taken(home, rows, scratch.path());
            rates.push(rate(rows, &taken));
            adoption.push(taken["adoption"].as_f64().expect("seconds"));
            peak.push(mebibytes(&taken));
        }
    }
    let goals = [
        ("7a", 1.5, "rows per second of a split of one app, against a plain `INSERT … SELECT`"),
        ("7b", 0.9, "rows per second of a split of many apps, against the same plain copy"),
    ];
    for ((id, needs, what), ours) in goals.into_iter().zip(split) {
        let compared = Compared { ours, baseline: plain.clone() };
        Goal { id, what, needs: Needs::AtLeast(needs), unit: "rows/s" }.print_ratio(&compared);
    }
    let small = mebibytes(&taken(&tenth, rows / 10, scratch.path()));
    println!(
        "split memory: peak {:.1} MiB for {rows} rows, {small:.1} MiB for {} rows",
        peak.iter().copied().fold(0.0, f64::max),
        rows / 10
    );
    println!("backup and adoption of the registry before it: {:.2} s", median(&adoption));
}

/// An older data directory whose registry holds all rows itself, those of all apps mixed, half streams and
/// half recordings, without an index. The rows are like those that the older system wrote.
fn older(home: &Path, apps: u64, rows: u64) {
    let mut tree = Tree::new().lax().global_tables();
    for n in 1..=apps {
        tree = tree.app(&format!("app-{n}"), App::dir);
    }
    fs::create_dir_all(home).expect("a data directory");
    let control = tree.build(home);
    assert_eq!(control, home.join(CONTROL));
    let half = rows / 2;
    let numbers = |count: u64| {
        format!(
            "WITH RECURSIVE n (i, start) AS (SELECT 0, '2026-01-01' UNION ALL
               SELECT i + 1, datetime('2026-01-01', (i * 61) || ' seconds') FROM n WHERE i + 1 < {count})"
        )
    };
    Connection::open(&control)
        .and_then(|db| {
            db.execute_batch(&format!(
                "PRAGMA synchronous = OFF; BEGIN;
                 {} INSERT INTO streams (app_id, stream_id, type, room, participant, status, started_at, ended_at,
                     last_stats_json)
                   SELECT 1 + i % {apps}, 'live-st-' || i, 'webrtc', 'live-room-' || i % 40, 'p' || i, 'ended',
                     CASE i % 2 WHEN 0 THEN start ELSE replace(start, ' ', 'T') || '.000Z' END, start,
                     '{{\"viewers\":' || i % 90 || ',\"q\":\"it''s\"}}' FROM n;
                 {} INSERT INTO vods (app_id, stream_id, room, name, file_key, size_bytes, duration_s, width, height,
                     format, status, local_path, started_at, metatags_json)
                   SELECT 1 + i % {apps}, 'live-st-' || i, 'live-room-' || i % 40, 'rec-' || i || '.mp4',
                     'streamhub/live/rec-' || i || '.mp4', i * 7919, i * 0.25, 1920, 1080, 'mp4', 'ready',
                     'recordings/rec-' || i || '.mp4', replace(start, ' ', 'T') || '.000Z',
                     '{{\"title\":\"Stream №' || i || '\"}}' FROM n;
                 COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
                numbers(half),
                numbers(rows - half)
            ))
        })
        .expect("the rows");
}

/// Runs this program's plain copy in a process of its own.
fn copied(home: &Path, scratch: &Path) -> Value {
    let target = scratch.join("plain.db");
    let schema = fs::read_to_string(workspace().join("migrations/app/schema.sql")).expect("the app schema");
    let db = Connection::open(&target).expect("a database");
    db.execute_batch(&schema).and_then(|()| db.execute_batch("PRAGMA journal_mode = WAL")).expect("a schema");
    drop(db);
    File::open(&target).and_then(|file| file.sync_all()).expect("a sync");
    let control = home.join(CONTROL);
    let copied = child(&["plain", control.to_str().expect("UTF-8"), target.to_str().expect("UTF-8")]);
    fs::remove_file(target).expect("the copy is there");
    copied
}

/// Runs a take-over of a copy of this data directory in a process of its own.
///
/// The copy stays: for seconds after a file is removed, ext4 makes the next ones only slowly.
fn taken(home: &Path, rows: u64, scratch: &Path) -> Value {
    static COPIES: AtomicU64 = AtomicU64::new(0);
    let copy = scratch.join(format!("copy-{}", COPIES.fetch_add(1, Ordering::Relaxed)));
    copy_tree(home, &copy);
    File::open(copy.join(CONTROL)).and_then(|file| file.sync_all()).expect("a sync");
    let taken = child(&["take-over", copy.to_str().expect("UTF-8")]);
    assert_eq!(taken["rows"], rows, "rows were left out");
    taken
}

fn child(args: &[&str]) -> Value {
    let program = std::env::current_exe().expect("the path of the running program");
    let ended = run_within(Command::new(program).args(args), PATIENCE);
    assert!(ended.success(), "{}", ended.describe());
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.describe()))
}

/// In the child: the rows of one app into one app.db, in one durable transaction.
fn plain(control: &Path, target: &Path) -> Value {
    let start = Instant::now();
    let db = Connection::open(target).expect("a database");
    db.execute_batch("PRAGMA synchronous = FULL").expect("a pragma");
    db.execute("ATTACH ?1 AS older", [control.to_str().expect("UTF-8")]).expect("the registry");
    db.execute_batch(
        "BEGIN IMMEDIATE;
         INSERT INTO main.streams SELECT * FROM older.streams WHERE app_id = 1;
         INSERT INTO main.vods SELECT * FROM older.vods WHERE app_id = 1;
         COMMIT",
    )
    .expect("a copy");
    db.close().expect("a checkpoint");
    json!({ "seconds": start.elapsed().as_secs_f64() })
}

/// In the child: a boot that takes a data directory over.
fn take_over(home: &Path) -> Value {
    let stopwatch = Stopwatch::default();
    let mut config = HubConfig::new(home);
    config.legacy = Some(Arc::new(Older::default()));
    let hub = Hub::open(&config, &stopwatch).expect("a take-over");
    let end = Instant::now();
    let [begun, adopted] = stopwatch.adoption.into_inner().expect("no thread panicked")[..] else {
        panic!("the registry was not adopted")
    };
    let rows: u64 = hub.split().expect("a report").apps.iter().map(|app| app.total.imported).sum();
    json!({
        "adoption": (adopted - begun).as_secs_f64(),
        "seconds": (end - adopted).as_secs_f64(),
        "peak": peak(),
        "rows": rows,
    })
}

/// Notes when the first step, the registry's adoption, begins and ends.
#[derive(Default)]
struct Stopwatch {
    adoption: Mutex<Vec<Instant>>,
}

impl Stopwatch {
    fn note(&self) {
        let mut noted = self.adoption.lock().expect("no thread panicked");
        if noted.len() < 2 {
            noted.push(Instant::now());
        }
    }
}

impl Progress for Stopwatch {
    fn begin(&self, _: &str, _: Option<u64>) {
        self.note();
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {
        self.note();
    }
}

/// The most memory that this process had at once, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn mebibytes(taken: &Value) -> f64 {
    taken["peak"].as_f64().expect("KiB") / 1024.0
}

fn rate(rows: u64, measured: &Value) -> f64 {
    rows as f64 / measured["seconds"].as_f64().expect("seconds")
}
