//! Tests of who gets a connection: readers and the writer, whoever closes, and who is told to come back later.

use super::*;
use std::fmt::Debug;
use std::time::Instant;

/// Keeps so many readers at their work until the sender is dropped.
fn hold_readers(live: &Live, readers: usize) -> (mpsc::Sender<()>, Vec<std::thread::JoinHandle<()>>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let (begun, has_begun) = mpsc::channel();
    let threads = (0..readers)
        .map(|_| {
            let (live, wait, begun) = (live.clone(), Arc::clone(&wait), begun.clone());
            std::thread::spawn(move || {
                live.read(|_| {
                    begun.send(()).unwrap();
                    let _ = wait.lock().unwrap().recv();
                    Ok::<_, TestError>(())
                })
                .unwrap();
            })
        })
        .collect();
    for _ in 0..readers {
        has_begun.recv().unwrap();
    }
    (go, threads)
}

fn wait_until_stuck(live: &Live) {
    while !live.is_stuck() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // All that were begun before are as old, but for a moment.
    std::thread::sleep(Duration::from_millis(60));
}

fn is_stuck<T: Debug>(result: &TestResult<T>) -> bool {
    matches!(result, Err(TestError::Live(LiveError::Busy { reason: Busy::Stuck, .. })))
}

#[test]
fn slow_readers_leave_a_connection_to_the_writer() {
    let limits = Limits { stuck_after: Duration::from_millis(50), ..Limits::default() };
    let fixture = fixture(limits);
    let (go, readers) = hold_readers(&fixture.live, limits.readers());
    wait_until_stuck(&fixture.live);
    for a in 0..3 {
        insert(&fixture.live, a).unwrap();
    }
    let one_more = fixture.live.read(|_| Ok::<_, TestError>(()));
    assert!(is_stuck(&one_more), "{one_more:?}");
    assert_eq!(fixture.live.connections(), limits.connections);
    drop(go);
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(rows(&fixture.live), [0, 1, 2]);
}

#[test]
fn a_slow_reader_or_writer_turns_nobody_away_while_there_are_other_connections() {
    let fixture = fixture(Limits { stuck_after: Duration::from_millis(50), ..Limits::default() });
    let (go, readers) = hold_readers(&fixture.live, 1);
    wait_until_stuck(&fixture.live);
    insert(&fixture.live, 1).unwrap();
    let (go_on, held) = hold(&fixture.live);
    wait_until_stuck(&fixture.live);
    assert_eq!(rows(&fixture.live), [1]);
    let late = insert(&fixture.live, 2);
    assert!(is_stuck(&late), "{late:?}");
    drop((go, go_on));
    held.join().unwrap().unwrap();
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn whoever_waits_for_readers_that_are_not_all_slow_gets_the_next_connection() {
    let limits = Limits { connections: 3, stuck_after: Duration::from_millis(500), ..Limits::default() };
    let fixture = fixture(limits);
    let (slow, slow_readers) = hold_readers(&fixture.live, 1);
    wait_until_stuck(&fixture.live);
    let (quick, quick_readers) = hold_readers(&fixture.live, 1);
    let live = fixture.live.clone();
    let waiting = std::thread::spawn(move || live.read(|_| Ok::<_, TestError>(())));
    // It is turned away at once or not at all.
    std::thread::sleep(Duration::from_millis(50));
    drop(quick);
    waiting.join().unwrap().unwrap();
    drop(slow);
    for reader in slow_readers.into_iter().chain(quick_readers) {
        reader.join().unwrap();
    }
}

#[test]
fn whoever_has_no_time_closes_nothing_that_is_at_work() {
    let fixture = fixture(Limits::default());
    let (go, held) = hold(&fixture.live);
    assert!(fixture.live.is_at_work());
    assert!(fixture.live.close_until(Instant::now()).is_err());
    assert!(!fixture.live.is_condemned());
    assert_eq!(rows(&fixture.live), [0_i64; 0]);
    drop(go);
    held.join().unwrap().unwrap();
    while fixture.live.is_at_work() {
        yield_now();
    }
    fixture.live.close_until(Instant::now()).unwrap();
    assert!(fixture.live.is_condemned());
    assert_eq!(fixture.live.connections(), 0);
}

#[test]
fn the_end_of_all_work_is_told_to_whoever_waits_for_room() {
    let budget = Budget::new(Cost::FIRST);
    let base = budget.try_reserve(Cost::FIRST).unwrap();
    let built = fixture(Limits::default());
    built.live.close().unwrap();
    let db = Database::write(&built.path).unwrap();
    let live = Live::within(db, Config::default(), Arc::clone(&budget), base).unwrap();
    let evicted = live.clone();
    budget.evict_by(move || !evicted.is_at_work() && evicted.close_until(Instant::now()).is_ok());
    let (go, readers) = hold_readers(&live, 1);
    let waiting = {
        let budget = Arc::clone(&budget);
        std::thread::spawn(move || {
            budget.reserve(Cost::FIRST, Instant::now() + Duration::from_secs(20)).is_some()
        })
    };
    while budget.waiting() == 0 {
        yield_now();
    }
    drop(go);
    assert!(waiting.join().unwrap(), "it was not told");
    for reader in readers {
        reader.join().unwrap();
    }
}
