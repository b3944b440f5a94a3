//! Goal 3: a cold open with all its checks and a first read, beside a plain open with the same pragmas and the
//! same first `SELECT`.
//!
//! Each side goes once through as many apps of its own, which were made alike and are closed, and keeps them open
//! until all are. The checks are those of every opening: registry, stamp, identity, no code in the schema, a
//! place in the cache. Closing is not measured, and both sides' files are sealed between the rounds.

#![allow(clippy::disallowed_methods, reason = "the baseline is plain rusqlite")]

mod support;

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};
use streamhub::{AppId, Hub, HubError, Lease, streams};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Goal, Needs, by_turns};

const APPS: usize = 100;
const ROUNDS: usize = 15;
const FIRST_READ: &str = "live/stream-000007";

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
        || per_open(&hub, leased, |id| leased_open(&hub, id)),
        || per_open(&hub, plain, |id| plain_open(&hub, id)),
    );
    let what = "cold open with all checks and a read, against a plain open with pragmas and a `SELECT`";
    Goal { id: "3", what, needs: Needs::AtMost(1.25), unit: "µs" }.print_ratio(&compared);
}

/// Microseconds of opening one of these, which are closed again afterwards.
fn per_open<T>(hub: &Hub, ids: &[AppId], open: impl Fn(&AppId) -> T) -> f64 {
    let start = Instant::now();
    let opened: Vec<T> = ids.iter().map(open).collect();
    let took = start.elapsed();
    drop(opened);
    for id in ids {
        close(hub, id);
    }
    took.as_secs_f64() * 1e6 / 100.0
}

/// Sealing is the shortest way to have an app closed.
fn close(hub: &Hub, id: &AppId) {
    hub.seal(id).expect("a closed app");
}

fn leased_open(hub: &Hub, id: &AppId) -> Lease {
    let app = hub.app(id).expect("a lease");
    let found = app.get(|tx| streams::by_id(tx, FIRST_READ).map_err(HubError::from)).expect("a read");
    assert!(found.is_some());
    app
}

fn plain_open(hub: &Hub, id: &AppId) -> Connection {
    let db = support::plain(&hub.data().app(id).db());
    let found: Option<String> = db
        .prepare_cached("SELECT status FROM streams WHERE stream_id = ?1")
        .and_then(|mut statement| statement.query_row([FIRST_READ], |row| row.get(0)).optional())
        .expect("a read");
    assert!(found.is_some());
    db
}
