//! Tests of the cache with handles that count, and with real files.

mod files;

use std::collections::HashSet;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Barrier, mpsc};

use crate::sync::yield_now;

use super::*;

/// Counts what is open and refuses what it is told to.
#[derive(Default)]
struct Fake {
    open: Arc<AtomicUsize>,
    opened: AtomicUsize,
    /// Whether each opening was of an app that was found damaged before.
    suspected: Mutex<Vec<bool>>,
    refuse: Mutex<HashSet<String>>,
    /// Handles that do not close, and how often that was tried.
    unclosable: Arc<Mutex<HashSet<String>>>,
    in_vain: Arc<AtomicUsize>,
    /// Handles whose disk does not answer when they are closed, until it does.
    hangs: Arc<Mutex<HashSet<String>>>,
    refuses_for_now: AtomicBool,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

struct FakeHandle {
    id: String,
    open: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
    condemned: AtomicBool,
    damage: Mutex<Option<String>>,
    at_work: AtomicBool,
    unclosable: Arc<Mutex<HashSet<String>>>,
    in_vain: Arc<AtomicUsize>,
    hangs: Arc<Mutex<HashSet<String>>>,
    grant: Arc<Mutex<Option<Grant>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("no {0}")]
struct No(String);

impl From<crate::Error> for No {
    fn from(error: crate::Error) -> Self {
        Self(error.to_string())
    }
}

impl FakeHandle {
    fn unfit(&self, detail: &str) -> crate::Error {
        crate::Error::unfit(self.id.as_ref(), crate::Unfit::Mismatch { detail: detail.to_owned() })
    }

    fn is_damaged(&self, what: &str) {
        *lock(&self.damage) = Some(what.to_owned());
        self.condemned.store(true, Ordering::SeqCst);
    }
}

impl Handle for FakeHandle {
    fn close(&self, deadline: Instant) -> crate::Result<()> {
        if lock(&self.unclosable).contains(&self.id) {
            assert!(deadline <= Instant::now(), "others would wait for it");
            self.in_vain.fetch_add(1, Ordering::SeqCst);
            return Err(self.unfit("it does not close"));
        }
        while lock(&self.hangs).contains(&self.id) {
            yield_now();
        }
        assert!(!self.is_at_work(), "closed while something is at work on it");
        assert!(!self.closed.swap(true, Ordering::SeqCst), "closed twice");
        self.open.fetch_sub(1, Ordering::SeqCst);
        lock(&self.grant).take();
        Ok(())
    }

    fn rest(&self) {}

    fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::SeqCst)
    }

    fn is_stuck(&self) -> bool {
        false
    }

    fn queued(&self) -> usize {
        usize::from(self.is_at_work())
    }

    fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::SeqCst)
    }

    fn why_out_of_service(&self) -> Option<crate::Error> {
        lock(&self.damage).as_ref().map(|what| self.unfit(what))
    }
}

impl Opener for Arc<Fake> {
    type Handle = FakeHandle;
    type Error = No;

    fn open(&self, id: &AppId, grant: Grant) -> Result<FakeHandle, No> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        lock(&self.suspected).push(grant.is_suspect());
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.recv().unwrap();
        }
        if self.refuse.lock().unwrap().contains(id.as_str()) {
            return Err(No(id.to_string()));
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(FakeHandle {
            id: id.to_string(),
            open: Arc::clone(&self.open),
            closed: Arc::default(),
            condemned: AtomicBool::default(),
            damage: Mutex::default(),
            at_work: AtomicBool::default(),
            unclosable: Arc::clone(&self.unclosable),
            in_vain: Arc::clone(&self.in_vain),
            hangs: Arc::clone(&self.hangs),
            grant: Arc::new(Mutex::new(Some(grant))),
        })
    }

    fn is_lasting(&self, _: &No) -> bool {
        !self.refuses_for_now.load(Ordering::SeqCst)
    }
}

fn id(name: impl fmt::Display) -> AppId {
    format!("app-{name}").parse().unwrap()
}

fn cache(apps: usize) -> (Cache<Arc<Fake>>, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    let config = CacheConfig {
        budget: Cost { connections: apps, descriptors: 3 * apps },
        wait: Duration::from_millis(50),
        retry_after: Duration::from_millis(30),
        ..CacheConfig::default()
    };
    (Cache::new(Arc::clone(&fake), config), fake)
}

fn busy<T: fmt::Debug>(result: Result<T, LeaseError<No>>) -> Busy {
    match result {
        Err(LeaseError::Busy { reason, .. }) => reason,
        other => panic!("expected busy: {other:?}"),
    }
}

#[test]
fn the_least_recently_used_goes_first_and_a_lease_never() {
    let (cache, fake) = cache(3);
    let kept = cache.lease(&id(1)).unwrap();
    drop(cache.lease(&id(2)).unwrap());
    drop(cache.lease(&id(3)).unwrap());
    drop(cache.lease(&id(2)).unwrap());
    drop(cache.lease(&id(4)).unwrap());
    let open = |n| cache.state(&id(n)) == AppState::Open;
    assert_eq!([open(1), open(2), open(3), open(4)], [true, true, false, true]);
    assert_eq!(fake.open.load(Ordering::SeqCst), 3);
    let others = (cache.lease(&id(5)).unwrap(), cache.lease(&id(6)).unwrap());
    assert_eq!(busy(cache.lease(&id(7))), Busy::Budget);
    drop(kept);
    assert_eq!(cache.lease(&id(7)).unwrap().id, "app-7");
    drop(others);
    let stats = cache.stats();
    assert_eq!((stats.open, stats.leased, stats.opens, stats.evictions), (3, 0, 7, 4));
    assert_eq!(stats.used, Cost { connections: 3, descriptors: 9 });
    assert_eq!(stats.hits, 1);
}

#[test]
fn whoever_waits_gets_what_is_let_go() {
    let (cache, _) = cache(1);
    let held = cache.lease(&id(1)).unwrap();
    let waiting = {
        let mut config = cache.shared.config.clone();
        config.wait = Duration::from_secs(20);
        let cache = cache.clone();
        std::thread::spawn(move || {
            cache.lease_until(&id(2), Instant::now() + config.wait).map(|lease| lease.id.clone())
        })
    };
    while cache.shared.meter.budget.waiting() == 0 {
        yield_now();
    }
    drop(held);
    assert_eq!(waiting.join().unwrap().unwrap(), "app-2");
}

#[test]
fn an_app_is_opened_once_however_many_ask() {
    let (cache, fake) = cache(8);
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                cache.lease(&id(1)).map(drop).unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(fake.opened.load(Ordering::SeqCst), 1);
}

#[test]
fn a_slow_opening_outlives_those_who_gave_up() {
    let (cache, fake) = cache(8);
    let (go, gate) = mpsc::channel();
    *fake.gate.lock().unwrap() = Some(gate);
    let opening = {
        let cache = cache.clone();
        std::thread::spawn(move || cache.lease(&id(1)).map(drop))
    };
    while fake.opened.load(Ordering::SeqCst) == 0 {
        yield_now();
    }
    assert_eq!(busy(cache.lease(&id(1))), Busy::Opening);
    cache.lease(&id(2)).unwrap();
    go.send(()).unwrap();
    opening.join().unwrap().unwrap();
    assert!(cache.try_lease(&id(1)).is_some());
    assert_eq!(fake.opened.load(Ordering::SeqCst), 2);
}

#[test]
fn an_app_that_cannot_be_opened_is_set_aside_for_a_while() {
    let (cache, fake) = cache(1);
    fake.refuse.lock().unwrap().insert("app-1".to_owned());
    for _ in 0..3 {
        assert!(matches!(cache.lease(&id(1)), Err(LeaseError::Quarantined { .. })));
    }
    assert_eq!(fake.opened.load(Ordering::SeqCst), 1, "it is not tried at every call");
    cache.lease(&id(2)).unwrap();
    assert_eq!(cache.stats().used, Cost { connections: 1, descriptors: 3 });
    fake.refuse.lock().unwrap().clear();
    std::thread::sleep(Duration::from_millis(40));
    cache.lease(&id(1)).unwrap();
    // A failure of the moment is not held against it.
    fake.refuses_for_now.store(true, Ordering::SeqCst);
    fake.refuse.lock().unwrap().insert("app-3".to_owned());
    assert!(matches!(cache.lease(&id(3)), Err(LeaseError::Open(No(_)))));
    assert_eq!(cache.state(&id(3)), AppState::Closed);
}

#[test]
fn a_condemned_app_is_opened_again_when_its_leases_are_gone() {
    let (cache, fake) = cache(2);
    let lease = cache.lease(&id(1)).unwrap();
    lease.condemned.store(true, Ordering::SeqCst);
    assert_eq!(busy(cache.lease(&id(1))), Busy::Stuck);
    drop(lease);
    assert!(!cache.lease(&id(1)).unwrap().condemned.load(Ordering::SeqCst));
    assert_eq!(fake.open.load(Ordering::SeqCst), 1);
    assert_eq!(*lock(&fake.suspected), [false, false]);
}

#[test]
fn a_damaged_app_is_set_aside_with_its_reason_and_checked_before_it_serves_again() {
    let (cache, fake) = cache(2);
    let is_set_aside = || {
        let refused = cache.lease(&id(1)).map(drop).unwrap_err().to_string();
        assert!(refused.contains("app-1") && refused.contains("rotten"), "{refused}");
        let state = cache.state(&id(1));
        assert!(
            matches!(&state, AppState::Quarantined { reason, .. } if reason.contains("rotten")),
            "{state:?}"
        );
        assert_eq!((cache.stats().quarantined, cache.set_aside()), (1, vec![id(1)]));
        cache.lease(&id(2)).unwrap();
    };
    let lease = cache.lease(&id(1)).unwrap();
    lease.is_damaged("rotten");
    is_set_aside();
    drop(lease);
    is_set_aside();
    assert_eq!(fake.open.load(Ordering::SeqCst), 1, "the other one");
    std::thread::sleep(Duration::from_millis(40));
    let lease = cache.lease(&id(1)).unwrap();
    assert_eq!(cache.stats().quarantined, 0);
    lease.is_damaged("rotten again");
    drop(lease);
    is_set_aside();
    // Whoever has it alone may have mended it, or not.
    drop(cache.exclusive(&id(1)).unwrap());
    drop(cache.lease(&id(1)).unwrap());
    drop(cache.exclusive(&id(1)).unwrap());
    drop(cache.lease(&id(1)).unwrap());
    assert_eq!(*lock(&fake.suspected), [false, false, true, true, false]);
}

#[test]
fn a_handle_that_does_not_close_takes_no_room_but_its_own() {
    let (cache, fake) = cache(3);
    lock(&fake.unclosable).insert("app-1".to_owned());
    for number in 1..10 {
        drop(cache.lease(&id(number)).unwrap());
        assert!(fake.open.load(Ordering::SeqCst) <= 3);
    }
    assert_eq!(cache.state(&id(1)), AppState::Open);
    // It counts as just used, so that every second of the others' openings finds one before it.
    assert_eq!(fake.in_vain.load(Ordering::SeqCst), 3);
    for _ in 0..3 {
        cache.sweep();
    }
    assert_eq!(fake.open.load(Ordering::SeqCst), 1, "nor does it keep a sweep from the others");
    lock(&fake.unclosable).clear();
    cache.sweep();
    cache.sweep();
    assert_eq!(cache.stats().used, Cost::default());
}

#[test]
fn a_disk_that_hangs_at_a_close_keeps_only_those_who_want_that_app() {
    let fake = Arc::new(Fake::default());
    let config = CacheConfig {
        budget: Cost { connections: 2, descriptors: 6 },
        wait: Duration::from_millis(200),
        stuck_after: Duration::from_millis(20),
        ..CacheConfig::default()
    };
    let cache = Cache::new(Arc::clone(&fake), config);
    drop(cache.lease(&id(1)).unwrap());
    drop(cache.lease(&id(2)).unwrap());
    lock(&fake.hangs).insert(id(1).to_string());
    // The first is the one to go; when its disk does not answer, the second.
    drop(cache.lease(&id(3)).unwrap());
    assert_eq!(busy(cache.lease(&id(1))), Busy::Draining);
    cache.sweep();
    cache.sweep();
    assert_eq!(fake.open.load(Ordering::SeqCst), 1, "only the one that hangs");
    drop(cache.lease(&id(2)).unwrap());
    lock(&fake.hangs).clear();
    while cache.lease(&id(1)).is_err() {
        yield_now();
    }
    drop((cache.lease(&id(1)).unwrap(), cache.lease(&id(2)).unwrap()));
    assert_eq!(cache.close(Instant::now() + Duration::from_secs(10)), 0);
    assert_eq!(fake.open.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_at_work_without_a_lease_is_closed_when_that_ends() {
    let (cache, fake) = cache(2);
    let working = cache.lease(&id(1)).unwrap();
    let slot = Arc::clone(&working.slot);
    slot.open().at_work.store(true, Ordering::SeqCst);
    assert_eq!(cache.stats().queued, 1);
    drop(working);
    let other = cache.lease(&id(2)).unwrap();
    assert_eq!(busy(cache.lease(&id(3))), Busy::Budget);
    let waiting = {
        let cache = cache.clone();
        std::thread::spawn(move || {
            cache.lease_until(&id(3), Instant::now() + Duration::from_secs(20)).map(drop)
        })
    };
    while cache.shared.meter.budget.waiting() == 0 {
        yield_now();
    }
    slot.open().at_work.store(false, Ordering::SeqCst);
    assert_eq!(cache.stats().queued, 0);
    cache.shared.meter.budget.poke();
    waiting.join().unwrap().unwrap();
    drop(other);
    assert_eq!(fake.open.load(Ordering::SeqCst), 2);
}

#[test]
fn exclusive_work_waits_for_leases_and_keeps_others_out() {
    let (cache, fake) = cache(2);
    let lease = cache.lease(&id(1)).unwrap();
    let second = lease.clone();
    assert_eq!(busy(cache.exclusive(&id(1))), Busy::InUse);
    cache.lease(&id(1)).unwrap();
    drop(lease);
    assert_eq!(busy(cache.exclusive(&id(1))), Busy::InUse, "a clone is a lease too");
    drop(second);
    let alone = cache.exclusive(&id(1)).unwrap();
    assert_eq!(fake.open.load(Ordering::SeqCst), 0);
    assert_eq!(busy(cache.lease(&id(1))), Busy::Draining);
    assert_eq!(busy(cache.exclusive(&id(1))), Busy::Draining);
    drop(alone);
    cache.lease(&id(1)).unwrap();
    drop(cache.exclusive(&id(2)).unwrap());
    assert_eq!(cache.stats().open, 1);
}

#[test]
fn an_app_that_could_not_be_drained_can_still_be_evicted() {
    let (cache, _) = cache(1);
    let lease = cache.lease(&id(1)).unwrap();
    assert_eq!(busy(cache.exclusive(&id(1))), Busy::InUse);
    drop(lease);
    cache.lease(&id(2)).unwrap();
}

#[test]
fn a_sweep_closes_what_was_idle_for_a_whole_round() {
    let (cache, fake) = cache(4);
    drop(cache.lease(&id(1)).unwrap());
    let leased = cache.lease(&id(2)).unwrap();
    cache.sweep();
    drop(cache.lease(&id(1)).unwrap());
    cache.sweep();
    assert_eq!(fake.open.load(Ordering::SeqCst), 2, "both were used since the sweep before");
    cache.sweep();
    assert_eq!(cache.state(&id(1)), AppState::Closed);
    drop(leased);
    cache.sweep();
    cache.sweep();
    assert_eq!(fake.open.load(Ordering::SeqCst), 0);
    assert_eq!(cache.stats().used, Cost::default());
}

#[test]
fn closing_ends_everything_but_what_is_leased() {
    let (cache, fake) = cache(4);
    let leased = cache.lease(&id(1)).unwrap();
    drop(cache.lease(&id(2)).unwrap());
    assert_eq!(cache.close(Instant::now() + Duration::from_millis(20)), 1);
    assert_eq!(fake.open.load(Ordering::SeqCst), 1);
    assert!(matches!(cache.lease(&id(3)), Err(LeaseError::Closed)));
    drop(leased);
    assert_eq!(cache.close(Instant::now() + Duration::from_millis(20)), 0);
    assert_eq!(fake.open.load(Ordering::SeqCst), 0);
}

#[test]
fn many_threads_never_exceed_the_budget_or_get_a_wrong_handle() {
    let (cache, fake) = cache(5);
    let threads: Vec<_> = (0..8_u64)
        .map(|thread| {
            let (cache, fake) = (cache.clone(), Arc::clone(&fake));
            std::thread::spawn(move || {
                let mut random = thread + 1;
                for _ in 0..2000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let number = (random >> 33) % 40;
                    if random >> 60 == 0 {
                        drop(cache.exclusive(&id(number)));
                    } else if let Ok(lease) = cache.lease(&id(number)) {
                        assert_eq!(lease.id, format!("app-{number}"));
                        assert!(!lease.closed.load(Ordering::SeqCst), "a lease on a closed handle");
                        assert!(fake.open.load(Ordering::SeqCst) <= 5);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(cache.close(Instant::now() + Duration::from_secs(5)), 0);
    assert_eq!(fake.open.load(Ordering::SeqCst), 0);
    assert_eq!(cache.stats().used, Cost::default());
    assert_eq!(cache.shared.slots.len(), 0);
}
