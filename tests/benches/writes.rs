//! Goal 4: durable writes through leases, beside the same `INSERT` on plain connections.
//!
//! Each write is a closure of its own, and its caller goes on when the commit is durable. The plain side commits
//! once for each row, or once for 64 rows, with `synchronous = FULL` and nothing around it. What a first write
//! costs once for each opening comes before the measured rounds on both sides.
//!
//! Many callers on one app are measured both as a media server has them, tasks of an async runtime, and as
//! threads, of which each has to be woken by the kernel for every answer.

mod support;

use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rusqlite::{Connection, params};
use streamhub::{AppId, Hub, HubError, Lease};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Goal, Needs, by_turns};
use tokio::runtime::Runtime;

const CALLERS: usize = 64;
const ROUNDS: usize = 11;
const INSERT: &str = "INSERT INTO streams (app_id, stream_id, type, room, participant, status, started_at) \
    VALUES (1, ?1, 'webrtc', 'room-1', 'participant-1', 'active', ?2)";
const STARTED: &str = "2026-01-01T00:00:00.000Z";

/// So that no two rows have one name.
static NEXT: AtomicUsize = AtomicUsize::new(0);

fn main() {
    let scratch = scratch();
    let runtime = Runtime::new().expect("a runtime");
    // A media server opens its hub inside its runtime, whose threads then do the hub's blocking work.
    let entered = runtime.enter();
    let hub = support::hub(scratch.path());
    drop(entered);
    let ids: Vec<AppId> = (0..2 * CALLERS).map(|number| support::create(&hub, number)).collect();
    let (ours, plain) = ids.split_at(CALLERS);
    let leases: Vec<Lease> = ours.iter().map(|id| hub.app(id).expect("a lease")).collect();
    let path = |hub: &Hub, id: &AppId| -> PathBuf { hub.data().app(id).db() };
    let mut files: Vec<Connection> = plain.iter().map(|id| support::plain(&path(&hub, id))).collect();

    let on_one: Vec<&Lease> = vec![&leases[0]; CALLERS];
    let by_tasks = || tasks(&runtime, &leases[0], 100);
    let by_threads = || leased(&on_one, 100);
    let single = || one_by_one(&files[0], 400);
    let batches = || in_batches(&files[0], 100);
    let eight = |id, what| Goal { id, what, needs: Needs::AtLeast(8.0), unit: "writes/s" };
    eight("4a", "64 tasks on one app, against one commit for each row")
        .print_ratio(&by_turns(ROUNDS, by_tasks, single));
    eight("4e", "64 threads on one app, against one commit for each row")
        .print_ratio(&by_turns(ROUNDS, by_threads, single));
    let most = |id, what| Goal { id, what, needs: Needs::AtLeast(0.8), unit: "writes/s" };
    most("4b", "64 tasks on one app, against commits of 64 rows")
        .print_ratio(&by_turns(ROUNDS, by_tasks, batches));
    most("4f", "64 threads on one app, against commits of 64 rows")
        .print_ratio(&by_turns(ROUNDS, by_threads, batches));

    let compared = by_turns(ROUNDS, || leased(&[&leases[0]], 400), || one_by_one(&files[0], 400));
    let what = "one caller, against one commit for each row";
    Goal { id: "4c", what, needs: Needs::AtLeast(0.9), unit: "writes/s" }.print_ratio(&compared);

    let on_all: Vec<&Lease> = leases.iter().collect();
    let compared = by_turns(ROUNDS, || leased(&on_all, 20), || threads(&mut files, 20));
    let what = "64 callers on 64 apps, against 64 threads on 64 files";
    Goal { id: "4d", what, needs: Needs::AtLeast(0.9), unit: "writes/s" }.print_ratio(&compared);
}

fn name() -> String {
    format!("live/stream-{:09}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes per second of one thread for each lease.
fn leased(leases: &[&Lease], writes: usize) -> f64 {
    at_once(leases.iter(), writes, |lease| {
        let name = name();
        lease
            .write(move |tx| -> Result<(), HubError> {
                tx.execute(INSERT, [&name, STARTED]).expect("a new row");
                Ok(())
            })
            .expect("a durable write");
    })
}

/// Writes per second of 64 tasks on one app.
fn tasks(runtime: &Runtime, lease: &Lease, writes: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let tasks: Vec<_> = (0..CALLERS)
            .map(|_| {
                let lease = lease.clone();
                tokio::spawn(async move {
                    for _ in 0..writes {
                        let name = name();
                        let write = lease.write_async(move |tx| -> Result<(), HubError> {
                            tx.execute(INSERT, [&name, STARTED]).expect("a new row");
                            Ok(())
                        });
                        write.await.expect("a durable write");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
        per_second(CALLERS * writes, start)
    })
}

/// Writes per second of one thread for each file.
fn threads(files: &mut [Connection], writes: usize) -> f64 {
    at_once(files.iter_mut(), writes, |db| insert(db))
}

/// Calls per second of one thread for each of these.
fn at_once<T: Send>(
    each: impl ExactSizeIterator<Item = T>,
    calls: usize,
    call: impl Fn(&mut T) + Sync,
) -> f64 {
    let total = each.len() * calls;
    let barrier = Barrier::new(each.len() + 1);
    std::thread::scope(|scope| {
        for mut one in each {
            let (barrier, call) = (&barrier, &call);
            scope.spawn(move || {
                barrier.wait();
                (0..calls).for_each(|_| call(&mut one));
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        per_second(total, start)
    })
}

fn one_by_one(db: &Connection, writes: usize) -> f64 {
    let start = Instant::now();
    (0..writes).for_each(|_| insert(db));
    per_second(writes, start)
}

fn in_batches(db: &Connection, batches: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..batches {
        control(db, "BEGIN IMMEDIATE");
        (0..CALLERS).for_each(|_| insert(db));
        control(db, "COMMIT");
    }
    per_second(batches * CALLERS, start)
}

fn insert(db: &Connection) {
    db.prepare_cached(INSERT)
        .and_then(|mut statement| statement.execute(params![name(), STARTED]))
        .expect("a new row");
}

fn control(db: &Connection, sql: &str) {
    db.prepare_cached(sql).and_then(|mut statement| statement.execute([])).expect(sql);
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand writes")]
fn per_second(writes: usize, start: Instant) -> f64 {
    writes as f64 / start.elapsed().as_secs_f64()
}
