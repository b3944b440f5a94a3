//! Goal 2: typed reads through a lease, beside the same statements, cached, on a plain connection.
//!
//! Both sides read the same rows of the same file with the same pragmas, and make the same values of
//! them. The list is a page of 20 rows with the number of all rows, in one transaction, as the contract
//! wants it. Reads of one closure share a transaction; one by one they are what the point read is.

mod support;

use std::cell::Cell;
use std::hint::black_box;

use rusqlite::{Connection, OptionalExtension, Row};
use streamhub::streams::{self, Kind, Status, Stream, StreamFilter};
use streamhub::{HubError, Lease, Page};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Goal, Needs, by_turns, ns_per_call};

const ROWS: usize = 1000;
const CALLS: u32 = 5000;
const TOGETHER: u32 = 20;
const ROUNDS: usize = 21;

fn main() {
    let scratch = scratch();
    let hub = support::hub(scratch.path());
    let id = support::create(&hub, 1);
    support::fill(&hub, &id, ROWS);
    let app = hub.app(&id).expect("a lease");
    let db = support::plain(&hub.data().app(&id).db());
    let names: Vec<String> = (0..ROWS).map(support::stream_id).collect();
    let next = Cell::new(0);
    let name = || {
        next.set((next.get() + 7) % ROWS);
        names[next.get()].as_str()
    };
    assert_eq!(get(&app, &names[7]), plain_get(&db, &names[7]));
    assert_eq!(list(&app), plain_list(&db));

    let compared = by_turns(
        ROUNDS,
        || ns_per_call(CALLS, || drop(black_box(get(&app, name())))),
        || ns_per_call(CALLS, || drop(black_box(plain_get(&db, name())))),
    );
    let what = "typed point read through a lease, against the cached statement";
    Goal { id: "2a", what, needs: Needs::AtMost(1.15), unit: "ns" }.print_ratio(&compared);

    let compared = by_turns(
        ROUNDS,
        || ns_per_call(CALLS / 5, || drop(black_box(list(&app)))),
        || ns_per_call(CALLS / 5, || drop(black_box(plain_list(&db)))),
    );
    let what = "typed page of 20 rows through a lease, against the cached statements";
    Goal { id: "2b", what, needs: Needs::AtMost(1.15), unit: "ns" }.print_ratio(&compared);

    let together = || {
        app.read(|tx| -> Result<(), HubError> {
            for _ in 0..TOGETHER {
                drop(black_box(streams::by_id(tx, name())?));
            }
            Ok(())
        })
        .expect("a read");
    };
    let compared = by_turns(
        ROUNDS,
        || ns_per_call(CALLS / TOGETHER, together) / f64::from(TOGETHER),
        || ns_per_call(CALLS, || drop(black_box(get(&app, name())))),
    );
    let what = "point read among 20 in one closure, against one in a closure of its own";
    Goal { id: "2c", what, needs: Needs::AtMost(0.4), unit: "ns" }.print_ratio(&compared);
}

fn get(app: &Lease, name: &str) -> Option<Stream> {
    app.get(|tx| streams::by_id(tx, name).map_err(HubError::from)).expect("a read")
}

fn list(app: &Lease) -> (Vec<Stream>, u64) {
    let filter = StreamFilter { page: Page::new(20, 0).expect("a page"), ..StreamFilter::default() };
    let listed = app.read(|tx| streams::list(tx, &filter).map_err(HubError::from)).expect("a read");
    (listed.data, listed.total)
}

fn plain_get(db: &Connection, name: &str) -> Option<Stream> {
    const SQL: &str = "SELECT id, app_id, stream_id, type, room, participant, status, started_at, ended_at, \
        last_stats_json FROM streams WHERE stream_id = ?1";
    db.prepare_cached(SQL).expect("a statement").query_row([name], stream).optional().expect("a read")
}

fn plain_list(db: &Connection) -> (Vec<Stream>, u64) {
    const SQL: &str = "SELECT id, app_id, stream_id, type, room, participant, status, started_at, ended_at, \
        last_stats_json FROM streams ORDER BY coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN started_at GLOB \
        '[0-9][0-9][0-9][0-9]-*' THEN started_at END), started_at) DESC, id DESC LIMIT ?1 OFFSET ?2";
    let read = || -> rusqlite::Result<(Vec<Stream>, u64)> {
        db.prepare_cached("BEGIN")?.execute([])?;
        let rows = db.prepare_cached(SQL)?.query_map([20, 0], stream)?.collect::<rusqlite::Result<_>>()?;
        let total = db.prepare_cached("SELECT count(*) FROM streams")?.query_row([], |row| row.get(0))?;
        db.prepare_cached("COMMIT")?.execute([])?;
        Ok((rows, total))
    };
    read().expect("a list")
}

fn stream(row: &Row<'_>) -> rusqlite::Result<Stream> {
    Ok(Stream {
        id: row.get(0)?,
        app_id: row.get(1)?,
        stream_id: row.get(2)?,
        kind: row.get::<_, Kind>(3)?,
        room: row.get(4)?,
        participant: row.get(5)?,
        status: row.get::<_, Status>(6)?,
        started_at: row.get(7)?,
        ended_at: row.get(8)?,
        last_stats_json: row.get(9)?,
    })
}
