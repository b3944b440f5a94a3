//! Tests of one database in service, on a real file.

mod leading;
mod roles;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use super::*;
use crate::error::Fault;
use crate::unopened::sidecar;

/// What a caller's own errors look like.
#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the caller says no")]
    No,
}

type TestResult<T> = Result<T, TestError>;

type Write<T> = Box<dyn FnMut(&mut WriteTx<'_>) -> TestResult<T> + Send>;

struct Fixture {
    live: Live,
    path: PathBuf,
    counts: Arc<Counts>,
    _dir: tempfile::TempDir,
}

#[derive(Default)]
struct Counts {
    transactions: AtomicUsize,
    writes: AtomicUsize,
    first_writes: AtomicU64,
}

impl Observer for Counts {
    fn committed(&self, writes: usize, _: Duration) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes, Ordering::Relaxed);
    }
}

fn fixture(limits: Limits) -> Fixture {
    let counts = Arc::new(Counts::default());
    let first = Arc::clone(&counts);
    let config = Config {
        limits,
        observer: Arc::clone(&counts) as Arc<dyn Observer>,
        first_write: Box::new(move || {
            first.first_writes.fetch_add(1, Ordering::Relaxed);
            Ok(Durability::Full)
        }),
        ..Config::default()
    };
    Fixture { counts, ..fixture_of(config) }
}

fn fixture_of(config: Config) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = std::fs::canonicalize(dir.path()).unwrap().join("app.db");
    let db = Database::build(&path).unwrap();
    db.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b CHECK (b <> 'bad'))").unwrap();
    drop(db.finish().unwrap());
    let live = Live::new(Database::write(&path).unwrap(), config).unwrap();
    Fixture { live, path, counts: Arc::default(), _dir: dir }
}

fn insert(live: &Live, a: i64) -> TestResult<usize> {
    live.write(move |tx| Ok(tx.execute("INSERT INTO t (a) VALUES (?1)", [a])?))
}

fn rows(live: &Live) -> Vec<i64> {
    live.read(|tx| Ok::<_, TestError>(tx.query_all("SELECT a FROM t ORDER BY a", [], |row| row.get(0))?))
        .unwrap()
}

/// Holds the writer until it is told to go on, so that what comes meanwhile shares a transaction.
fn hold(live: &Live) -> (mpsc::Sender<()>, std::thread::JoinHandle<TestResult<()>>) {
    let (go, wait) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let live = live.clone();
    let held = std::thread::spawn(move || {
        live.write(move |_| {
            // It may run again together with others, and then nobody holds it.
            let _ = begun.send(());
            let _ = wait.recv();
            Ok(())
        })
    });
    has_begun.recv().unwrap();
    (go, held)
}

/// Runs all of these writes in one transaction, as far as they let it be one.
fn together<T: Send + 'static>(live: &Live, writes: Vec<Write<T>>) -> Vec<TestResult<T>> {
    let (go, held) = hold(live);
    let (answer, answers) = mpsc::channel();
    let count = writes.len();
    for (number, write) in writes.into_iter().enumerate() {
        let answer = answer.clone();
        live.submit(write, move |result| answer.send((number, result)).unwrap())
            .unwrap_or_else(|error: TestError| panic!("a write was not taken: {error}"));
    }
    drop(go);
    held.join().unwrap().unwrap();
    let mut results: Vec<_> = answers.iter().take(count).collect();
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

fn inserting(a: i64) -> Write<usize> {
    Box::new(move |tx| Ok(tx.execute("INSERT INTO t (a) VALUES (?1)", [a])?))
}

#[test]
fn a_write_is_there_and_the_first_one_was_announced() {
    let fixture = fixture(Limits::default());
    assert_eq!(fixture.counts.first_writes.load(Ordering::Relaxed), 0);
    for a in 0..3 {
        insert(&fixture.live, a).unwrap();
    }
    assert_eq!(rows(&fixture.live), [0, 1, 2]);
    assert_eq!(fixture.counts.first_writes.load(Ordering::Relaxed), 1);
    assert_eq!(fixture.counts.transactions.load(Ordering::Relaxed), 3, "nobody else wrote");
}

#[test]
fn concurrent_writes_share_a_transaction() {
    let fixture = fixture(Limits::default());
    let results = together(&fixture.live, (0..50).map(inserting).collect());
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(rows(&fixture.live).len(), 50);
    // The observer is told after the callers.
    while fixture.counts.writes.load(Ordering::Relaxed) < 51 {
        yield_now();
    }
    let transactions = fixture.counts.transactions.load(Ordering::Relaxed);
    assert_eq!(transactions, 1, "the one that was held open takes all others in");
}

#[test]
fn a_failing_write_fails_alone_and_leaves_nothing() {
    let fixture = fixture(Limits::default());
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut writes: Vec<_> = (0..5).map(inserting).collect();
    writes.push(Box::new(move |tx| {
        counted.fetch_add(1, Ordering::Relaxed);
        tx.execute("INSERT INTO t (a) VALUES (100)", [])?;
        Err(TestError::No)
    }));
    writes.push(Box::new(|_| Err(TestError::No)));
    writes.push(inserting(3));
    writes.push(Box::new(|tx| {
        tx.execute("INSERT INTO t (a) VALUES (101)", [])?;
        panic!("on purpose")
    }));
    writes.extend((5..8).map(inserting));
    let results = together(&fixture.live, writes);
    assert!(results[..5].iter().chain(&results[9..]).all(Result::is_ok), "{results:?}");
    assert!(matches!(results[5], Err(TestError::No)));
    assert!(matches!(results[6], Err(TestError::No)));
    assert!(matches!(results[7], Err(TestError::Sqlite(_))), "{:?}", results[7]);
    assert!(
        matches!(&results[8], Err(TestError::Live(LiveError::Panicked { message, .. })) if message == "on purpose")
    );
    assert_eq!(rows(&fixture.live), (0..8).collect::<Vec<_>>());
    assert_eq!(runs.load(Ordering::Relaxed), 2, "once on top of what was not committed, once in the end");
}

#[test]
fn a_closure_cannot_end_the_transaction_or_change_the_schema() {
    let fixture = fixture(Limits::default());
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT x",
        "RELEASE job",
        "ROLLBACK TO job",
        "DROP TABLE t",
        "CREATE TABLE u (a)",
        "CREATE TEMP TABLE u (a)",
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
        "ALTER TABLE t ADD COLUMN c",
        "ATTACH ':memory:' AS x",
        "VACUUM",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA synchronous = OFF",
        "PRAGMA defer_foreign_keys = ON",
        "PRAGMA writable_schema = ON",
    ] {
        let writes: Vec<Write<usize>> = vec![
            inserting(1),
            Box::new(move |tx| Ok(tx.execute(sql, [])?)),
            Box::new(|tx| Ok(tx.execute("DELETE FROM t WHERE a = 1", [])?)),
        ];
        let results = together(&fixture.live, writes);
        assert!(matches!(&results[..], [Ok(1), Err(TestError::Sqlite(_)), Ok(1)]), "{sql}: {results:?}");
        let read = fixture.live.read(|tx| Ok::<_, TestError>(tx.query_optional(sql, [], |_| Ok(()))?));
        assert!(read.is_err(), "{sql}");
    }
    insert(&fixture.live, 9).unwrap();
    assert_eq!(rows(&fixture.live), [9]);
}

#[test]
fn a_lost_transaction_fails_the_culprit_and_runs_the_others_again() {
    let fixture = fixture(Limits::default());
    // `OR ROLLBACK` does to a transaction what a full disk or a failing one does.
    let lose = || -> Write<usize> {
        Box::new(|tx| Ok(tx.execute("INSERT OR ROLLBACK INTO t (b) VALUES ('bad')", [])?))
    };
    let swallow = || -> Write<usize> {
        Box::new(|tx| Ok(tx.execute("INSERT OR ROLLBACK INTO t (b) VALUES ('bad')", []).unwrap_or(0)))
    };
    let writes = vec![
        inserting(1),
        lose(),
        inserting(2),
        swallow(),
        inserting(3),
        lose(),
        inserting(4),
        lose(),
        inserting(5),
    ];
    let results = together(&fixture.live, writes);
    for (number, result) in results.iter().enumerate() {
        let is_lost = matches!(result, Err(TestError::Live(LiveError::TransactionLost { .. })));
        assert_eq!(is_lost, [1, 3, 5, 7].contains(&number), "{number}: {result:?}");
        if let Err(TestError::Live(error)) = result {
            // What the closure kept to itself nobody knows.
            assert_eq!(error.fault(), (number != 3).then_some(Fault::Constraint), "{number}");
        }
        assert_eq!(result.is_ok(), !is_lost, "{number}: {result:?}");
    }
    assert_eq!(rows(&fixture.live), [1, 2, 3, 4, 5]);
}

#[test]
fn a_cap_ends_a_transaction_and_nobody_is_forgotten() {
    let fixture = fixture(Limits { batch_rows: 3, batch: 7, ..Limits::default() });
    let results = together(&fixture.live, (0..40).map(inserting).collect());
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(rows(&fixture.live).len(), 40);
    // The last is counted after its answers are out.
    assert!(fixture.counts.transactions.load(Ordering::Relaxed) >= 13);
}

#[test]
fn many_threads_lose_no_write() {
    let fixture = fixture(Limits::default());
    let barrier = Arc::new(Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|thread| {
            let (live, barrier) = (fixture.live.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                for number in 0..50 {
                    insert(&live, thread * 1000 + number).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(rows(&fixture.live).len(), 800);
    assert_eq!(fixture.counts.writes.load(Ordering::Relaxed), 800);
}

#[test]
fn readers_see_one_snapshot_and_nothing_uncommitted() {
    let fixture = fixture(Limits::default());
    insert(&fixture.live, 1).unwrap();
    let live = fixture.live.clone();
    let seen = fixture
        .live
        .read(|tx| {
            let before: i64 = tx.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
            std::thread::spawn(move || insert(&live, 2).unwrap()).join().unwrap();
            let after: i64 = tx.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
            Ok::<_, TestError>((before, after))
        })
        .unwrap();
    assert_eq!(seen, (1, 1));
    let (go, held) = hold(&fixture.live);
    assert_eq!(rows(&fixture.live), [1, 2], "a reader does not wait for the writer");
    go.send(()).unwrap();
    held.join().unwrap().unwrap();
    assert_eq!(fixture.live.connections(), 2);
    fixture.live.rest();
    assert_eq!(fixture.live.connections(), 1);
}

#[test]
fn a_read_that_takes_too_long_is_stopped_and_a_write_is_not() {
    const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT count(*) FROM n";
    let fixture = fixture(Limits { read_time: Duration::from_millis(20), ..Limits::default() });
    let read = fixture.live.read(|tx| Ok::<i64, TestError>(tx.query_row(ENDLESS, [], |row| row.get(0))?));
    assert!(matches!(read, Err(TestError::Live(LiveError::TooLong { .. }))), "{read:?}");
    let written = fixture.live.write(|tx| Ok::<i64, TestError>(tx.query_row(ENDLESS, [], |row| row.get(0))?));
    assert_eq!(written.unwrap(), 3_000_000);
}

#[test]
fn a_panicking_read_gives_its_connection_back() {
    let fixture = fixture(Limits { connections: 1, ..Limits::default() });
    insert(&fixture.live, 1).unwrap();
    let live = fixture.live.clone();
    let panicked = std::thread::spawn(move || {
        live.read(|tx| -> TestResult<()> {
            tx.query_row("SELECT a FROM t", [], |_| Ok(()))?;
            panic!("on purpose")
        })
    });
    assert!(panicked.join().is_err());
    insert(&fixture.live, 2).unwrap();
    assert_eq!(rows(&fixture.live), [1, 2]);
}

#[test]
fn an_operation_that_does_not_come_back_turns_others_away() {
    let limits = Limits { connections: 1, stuck_after: Duration::from_millis(50), ..Limits::default() };
    let fixture = fixture(limits);
    let (go, held) = hold(&fixture.live);
    while !fixture.live.is_stuck() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let read = fixture.live.read(|_| Ok::<_, TestError>(()));
    let stuck =
        |error: &TestError| matches!(error, TestError::Live(LiveError::Busy { reason: Busy::Stuck, .. }));
    assert!(stuck(&read.unwrap_err()));
    assert!(stuck(&insert(&fixture.live, 1).unwrap_err()));
    go.send(()).unwrap();
    held.join().unwrap().unwrap();
    insert(&fixture.live, 1).unwrap();
}

#[test]
fn a_long_wal_is_emptied_between_transactions() {
    let fixture = fixture(Limits { checkpoint_pages: 20, ..Limits::default() });
    for a in 0..200 {
        insert(&fixture.live, a).unwrap();
    }
    let pages = std::fs::metadata(sidecar(&fixture.path, "-wal")).unwrap().len() / 4096;
    assert!(pages < 60, "{pages} pages");
}

#[test]
fn closing_waits_and_leaves_a_whole_file() {
    let fixture = fixture(Limits::default());
    let (go, held) = hold(&fixture.live);
    let answers = Arc::new(Mutex::new(Vec::new()));
    for a in 0..3 {
        let answers = Arc::clone(&answers);
        let write = move |tx: &mut WriteTx<'_>| -> TestResult<usize> {
            Ok(tx.execute("INSERT INTO t (a) VALUES (?1)", [a])?)
        };
        let submitted: TestResult<()> =
            fixture.live.submit(write, move |answer| answers.lock().unwrap().push(answer.is_ok()));
        submitted.unwrap();
    }
    let closing = {
        let live = fixture.live.clone();
        std::thread::spawn(move || live.close())
    };
    go.send(()).unwrap();
    held.join().unwrap().unwrap();
    closing.join().unwrap().unwrap();
    let closed = insert(&fixture.live, 9).unwrap_err();
    assert!(matches!(closed, TestError::Live(LiveError::Closed { .. })), "{closed}");
    while answers.lock().unwrap().len() < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let acknowledged = answers.lock().unwrap().iter().filter(|ok| **ok).count();
    assert!(!sidecar(&fixture.path, "-wal").exists());
    let db = Database::inspect(&fixture.path).unwrap();
    let there: usize = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(there, acknowledged);
}

#[test]
fn statements_are_prepared_once() {
    let fixture = fixture(Limits::default());
    let prepared = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&prepared);
    {
        let conn = fixture.live.shared.pool.take(Role::Reader).unwrap();
        conn.db
            .authorizer(Some(move |_: rusqlite::hooks::AuthContext<'_>| {
                counter.fetch_add(1, Ordering::Relaxed);
                rusqlite::hooks::Authorization::Allow
            }))
            .unwrap();
    }
    let once = || {
        let _ = insert(&fixture.live, i64::try_from(prepared.load(Ordering::Relaxed)).unwrap() + 1000);
        rows(&fixture.live);
    };
    once();
    let after_first = prepared.load(Ordering::Relaxed);
    assert!(after_first > 0, "the authorizer is asked at each preparation");
    for _ in 0..10 {
        once();
    }
    assert_eq!(prepared.load(Ordering::Relaxed), after_first);
}
