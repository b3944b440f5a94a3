//! Goal 3: a cold open with all its checks and a first read, beside a plain open with the same pragmas and the
//! same first `SELECT`.
//!
//! Each side goes once through as many apps of its own, which were made alike and are closed. The checks are
//! those of every opening: registry, stamp, identity, no code in the schema, a place in the cache. Closing is
//! not measured: the lease side closes by draining the app afterwards.

#![allow(clippy::disallowed_methods, reason = "the baseline is plain rusqlite")]

mod support;

use std::time::Instant;

use rusqlite::OptionalExtension;
use streamhub::{AppId, Hub, HubError, streams};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Goal, Needs, by_turns};

const APPS: usize = 100;
const ROUNDS: usize = 15;

fn main() {
    let scratch = scratch();
    let hub = support::hub(scratch.path());
    let ids: Vec<AppId> = (0..2 * APPS).map(|number| support::create(&hub, number)).collect();
    for id in &ids {
        support::fill(&hub, id, 20);
        close(&hub, id);
    }
    let (leased, plain) = ids.split_at(APPS);
    let compared = by_turns(
        ROUNDS,
        || leased.iter().map(|id| open(&hub, id)).sum::<f64>() / 100.0,
        || plain.iter().map(|id| plain_open(&hub, id)).sum::<f64>() / 100.0,
    );
    let what = "cold open with all checks and a read, against a plain open with pragmas and a `SELECT`";
    Goal { id: "3", what, needs: Needs::AtMost(1.25), unit: "µs" }.print_ratio(&compared);
}

/// Microseconds to a lease and an answer.
fn open(hub: &Hub, id: &AppId) -> f64 {
    let start = Instant::now();
    let app = hub.app(id).expect("a lease");
    let found = app.get(|tx| streams::by_id(tx, "live/stream-000007").map_err(HubError::from)).expect("a read");
    let took = start.elapsed();
    assert!(found.is_some());
    drop(app);
    close(hub, id);
    took.as_secs_f64() * 1e6
}

/// Sealing is the shortest way to have an app closed.
fn close(hub: &Hub, id: &AppId) {
    hub.seal(id).expect("a closed app");
}

fn plain_open(hub: &Hub, id: &AppId) -> f64 {
    let path = hub.data().app(id).db();
    let start = Instant::now();
    let db = support::plain(&path);
    let found: Option<String> = db
        .prepare_cached("SELECT status FROM streams WHERE stream_id = ?1")
        .and_then(|mut statement| statement.query_row(["live/stream-000007"], |row| row.get(0)).optional())
        .expect("a read");
    let took = start.elapsed();
    assert!(found.is_some());
    took.as_secs_f64() * 1e6
}
