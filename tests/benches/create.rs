//! Goal 5: creating an app, durable and registered, beside making the same empty database by its DDL.
//!
//! The plain side opens a new file, sets WAL and `synchronous = FULL`, runs the schema and the identity's rows in
//! one transaction, commits, closes and syncs the directory that names the file. It registers nothing and makes
//! no directory.

#![allow(clippy::disallowed_methods, reason = "the baseline is plain rusqlite")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Goal, Needs, by_turns};
use streamhub_tests::skip::workspace;

const APPS: usize = 20;
const ROUNDS: usize = 21;

fn main() {
    let scratch = scratch();
    let hub = support::hub(scratch.path());
    let schema = fs::read_to_string(workspace().join("migrations/app/schema.sql")).expect("the app schema");
    let dir = scratch.path().join("plain");
    fs::create_dir(&dir).expect("a directory");
    let (mut ours, mut plain) = (0.., 0..);
    let compared = by_turns(
        ROUNDS,
        || micros(|| drop(support::create(&hub, ours.next().expect("no end")))),
        || micros(|| by_ddl(&dir.join(format!("{}.db", plain.next().expect("no end"))), &schema)),
    );
    let what = "creating an app, durable and registered, against its DDL in a plain database";
    Goal { id: "5", what, needs: Needs::AtMost(0.5), unit: "µs" }.print_ratio(&compared);
}

fn by_ddl(path: &Path, schema: &str) {
    let make = || -> rusqlite::Result<()> {
        let mut db = Connection::open(path)?;
        db.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
        )?;
        let tx = db.transaction()?;
        tx.execute_batch(schema)?;
        let mut statement = tx.prepare("INSERT INTO _streamhub_meta (key, value) VALUES (?1, ?2)")?;
        for key in ["uuid", "name", "tenant", "installation", "generation", "lineage"] {
            statement.execute([key, "a value of some length"])?;
        }
        drop(statement);
        tx.pragma_update(None, "application_id", 1)?;
        tx.pragma_update(None, "user_version", 100)?;
        tx.commit()?;
        db.close().map_err(|(_, error)| error)
    };
    make().expect("a database");
    let dir = path.parent().expect("it lies in a directory");
    File::open(dir).and_then(|dir| dir.sync_all()).expect("a sync");
}

/// Microseconds of one of some calls.
fn micros(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..APPS).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e6 / 20.0
}
