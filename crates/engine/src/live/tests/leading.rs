//! Tests of the leadership when something goes wrong: nobody is left without an answer.

use super::*;
use crate::Unopened;

/// A database whose leadership is sent away by `executor`.
fn with_executor(executor: impl Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static) -> Fixture {
    fixture_of(Config { executor: Arc::new(executor), ..Config::default() })
}

fn submit(live: &Live, a: i64) -> mpsc::Receiver<TestResult<usize>> {
    let (answer, answers) = mpsc::channel();
    live.submit(inserting(a), move |result| answer.send(result).unwrap())
        .unwrap_or_else(|error: TestError| panic!("a write was not taken: {error}"));
    answers
}

#[test]
fn an_executor_that_drops_its_work_leaves_nobody_without_an_answer() {
    let fixture = with_executor(drop);
    assert_eq!(submit(&fixture.live, 1).try_recv().unwrap().unwrap(), 1);
    insert(&fixture.live, 2).unwrap();
    assert_eq!(rows(&fixture.live), [1, 2]);
}

#[test]
fn an_executor_whose_threads_are_all_at_work_keeps_nobody_waiting_on_a_thread() {
    let (keep, kept) = mpsc::channel();
    let fixture = with_executor(move |work| keep.send(work).unwrap());
    let answers = submit(&fixture.live, 1);
    assert!(answers.try_recv().is_err(), "nobody leads");
    insert(&fixture.live, 2).unwrap();
    assert_eq!(answers.recv().unwrap().unwrap(), 1, "whoever waits on a thread leads for all");
    let answers = submit(&fixture.live, 3);
    // The first has nothing left to do when it arrives; the second has.
    for work in kept.try_iter() {
        work();
    }
    assert_eq!(answers.try_recv().unwrap().unwrap(), 1);
    assert_eq!(rows(&fixture.live), [1, 2, 3]);
}

#[test]
fn a_caller_that_panics_when_it_is_answered_harms_nobody_else() {
    let fixture = fixture(Limits::default());
    let (go, held) = hold(&fixture.live);
    let panicking = |_: TestResult<usize>| panic!("on purpose");
    let before = submit(&fixture.live, 1);
    fixture.live.submit::<_, TestError, _, _>(inserting(2), panicking).unwrap();
    let after = submit(&fixture.live, 3);
    go.send(()).unwrap();
    held.join().unwrap().unwrap();
    assert_eq!((before.recv().unwrap().unwrap(), after.recv().unwrap().unwrap()), (1, 1));
    insert(&fixture.live, 4).unwrap();
    assert_eq!(rows(&fixture.live), [1, 2, 3, 4]);
}

#[test]
fn an_observer_or_a_first_write_that_panics_does_not_end_the_leadership() {
    struct Panicking;
    impl Observer for Panicking {
        fn committed(&self, _: usize, _: Duration) {
            panic!("on purpose")
        }
    }
    let first = AtomicUsize::new(0);
    let fixture = fixture_of(Config {
        observer: Arc::new(Panicking),
        first_write: Box::new(move || {
            assert!(first.fetch_add(1, Ordering::Relaxed) > 0, "on purpose");
            Ok(Durability::Full)
        }),
        ..Config::default()
    });
    let answer = insert(&fixture.live, 1);
    assert!(matches!(answer, Err(TestError::Live(LiveError::CommitUnknown { .. }))), "{answer:?}");
    insert(&fixture.live, 2).unwrap();
    insert(&fixture.live, 3).unwrap();
    assert_eq!(rows(&fixture.live), [2, 3]);
}

#[test]
fn a_write_inside_of_a_write_is_refused_and_does_not_wait_for_itself() {
    let fixture = fixture(Limits::default());
    let live = fixture.live.clone();
    let inner = fixture.live.write(move |_| Ok::<_, TestError>(insert(&live, 1))).unwrap();
    assert!(matches!(inner, Err(TestError::Live(LiveError::Nested { .. }))), "{inner:?}");
    let (one, other) = (self::fixture(Limits::default()), fixture.live.clone());
    one.live.write(move |_| insert(&other, 2)).unwrap();
    assert_eq!(rows(&fixture.live), [2], "another database is another matter");
}

#[test]
fn what_a_failure_rests_on_is_committed_or_it_is_no_failure() {
    let fixture = fixture(Limits::default());
    let mut is_first_run = true;
    let writes: Vec<Write<usize>> = vec![
        Box::new(move |tx| {
            if !std::mem::take(&mut is_first_run) {
                return Err(TestError::No);
            }
            Ok(tx.execute("INSERT INTO t (a) VALUES (1)", [])?)
        }),
        Box::new(|tx| match tx.query_optional("SELECT 1 FROM t WHERE a = 1", [], |_| Ok(()))? {
            Some(()) => Err(TestError::No),
            None => Ok(tx.execute("INSERT INTO t (a) VALUES (2)", [])?),
        }),
        Box::new(|tx| {
            tx.execute("INSERT INTO t (a) VALUES (3)", [])?;
            Err(TestError::No)
        }),
    ];
    let results = together(&fixture.live, writes);
    assert!(matches!(&results[..], [Err(TestError::No), Ok(1), Err(TestError::No)]), "{results:?}");
    assert_eq!(rows(&fixture.live), [2]);
}

#[test]
fn what_a_closure_writes_after_its_transaction_is_gone_is_not_there() {
    let fixture = fixture(Limits::default());
    let result = fixture.live.write(|tx| {
        let _ = tx.execute("INSERT OR ROLLBACK INTO t (b) VALUES ('bad')", []);
        let _ = tx.execute("INSERT INTO t (a) VALUES (1)", []);
        Ok::<_, TestError>(())
    });
    assert!(matches!(result, Err(TestError::Live(LiveError::TransactionLost { .. }))), "{result:?}");
    assert_eq!(rows(&fixture.live), [0_i64; 0]);
}

#[test]
fn closing_while_it_is_opened_again_leaves_it_closed() {
    let fixture = fixture(Limits::default());
    insert(&fixture.live, 1).unwrap();
    let pool = &fixture.live.shared.pool;
    let taken = pool.take(Role::Reader).unwrap();
    pool.suspend();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| fixture.live.close());
        while !fixture.live.is_condemned() {
            yield_now();
        }
        pool.reopen(taken);
        closing.join().unwrap().unwrap();
    });
    assert_eq!(fixture.live.connections(), 0);
    assert!(matches!(insert(&fixture.live, 2), Err(TestError::Live(LiveError::Closed { .. }))));
    Unopened::claim(&fixture.path).unwrap();
}

#[test]
fn what_is_at_work_too_long_to_be_closed_can_be_closed_later() {
    let fixture = fixture(Limits { wait: Duration::from_millis(20), ..Limits::default() });
    let taken = fixture.live.shared.pool.take(Role::Reader).unwrap();
    assert!(fixture.live.close().is_err());
    assert!(Unopened::claim(&fixture.path).is_err(), "it is still open");
    drop(taken);
    fixture.live.close().unwrap();
    Unopened::claim(&fixture.path).unwrap();
}
