//! What pruning and retention promise.

use std::cell::RefCell;

use streamhub_control::audit::Entry;
use streamhub_control::logs::{Level, Record};

use super::*;
use crate::progress::Stop;
use crate::{Actor, HubConfig, Volatile};

const DAY: Duration = Duration::from_hours(24);

/// The clock at the tests' beginning.
const NOW: &str = "2026-06-01T00:00:00.000Z";

struct Place {
    dir: tempfile::TempDir,
}

/// Notes how long the work is and each step of it.
#[derive(Default)]
struct Steps(RefCell<Vec<String>>);

impl Progress for Steps {
    fn begin(&self, step: &str, units: Option<u64>) {
        self.0.borrow_mut().push(format!("{step}: {units:?}"));
    }

    fn advance(&self, units: u64) {
        self.0.borrow_mut().push(units.to_string());
    }

    fn end(&self) {
        self.0.borrow_mut().push("end".to_owned());
    }
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn hub(&self) -> Hub {
        self.hub_with(Retention::default())
    }

    fn hub_with(&self, retention: Retention) -> Hub {
        let mut config = HubConfig::new(self.dir.path().join("data"));
        (config.volatile, config.upkeep, config.retention) = (Volatile::Permit, false, retention);
        Hub::open(&config, &Silent).unwrap()
    }

    fn database(&self) -> std::path::PathBuf {
        self.dir.path().join("data/streamhub.db")
    }
}

fn moment(text: &str) -> Moment {
    text.parse().unwrap()
}

fn log(hub: &Hub, ages: &[Duration]) {
    let record = |age: &Duration| Record {
        ts: moment(NOW).before(*age),
        level: Level::Info,
        source: "test".to_owned(),
        app: None,
        message: "x".repeat(500),
        meta_json: None,
    };
    let records: Vec<_> = ages.iter().map(record).collect();
    hub.note_down(move |db| logs::append_all(db, &records)).unwrap();
}

fn note(hub: &Hub, ages: &[Duration]) {
    for age in ages {
        let entry = Entry { at: moment(NOW).before(*age), ..Entry::now("user:ana", "app.create", "ok") };
        hub.note_down(move |db| audit::append(db, &entry)).unwrap();
    }
}

/// Entries of the log and of the audit.
fn left(hub: &Hub) -> (u64, u64) {
    let all = moment("9999-01-01");
    (hub.registry().logs_before(&all).unwrap(), hub.registry().audit_before(&all).unwrap())
}

#[test]
fn pruning_goes_in_small_transactions_and_gives_pages_back() {
    let place = Place::new();
    let hub = place.hub();
    log(&hub, &vec![3 * DAY; 2500]);
    log(&hub, &[DAY, DAY]);
    note(&hub, &[3 * DAY]);
    hub.close().unwrap();
    let before_pruning = std::fs::metadata(place.database()).unwrap().len();

    let hub = place.hub();
    let before = moment(NOW).before(2 * DAY);
    assert_eq!(hub.registry().logs_before(&before).unwrap(), 2500);
    let steps = Steps::default();
    let acting = hub.acting(Actor::new("cli"));
    let pruned = acting.prune_logs(&before, &steps).unwrap();
    assert_eq!(steps.0.into_inner(), ["pruning the logs: Some(2500)", "1000", "1000", "500", "end"]);
    assert_eq!((pruned.entries, pruned.free_bytes), (2500, 0));
    assert_eq!(left(&hub), (2, 2), "the other journal has only the entry of the pruning more");
    let filter = audit::Filter { tenant: None, since: None, until: None, cursor: None, limit: 1 };
    let told = hub.registry().audit(&filter).unwrap().entries.remove(0).entry;
    assert_eq!((&*told.principal, &*told.action), ("cli", "log.prune"));

    // Nothing more is there to be done.
    assert_eq!(hub.prune_logs(&before, &Silent).unwrap().entries, 0);
    assert_eq!(hub.prune_audit(&before, &Silent).unwrap().entries, 1);
    hub.close().unwrap();
    let shrunk = before_pruning - std::fs::metadata(place.database()).unwrap().len();
    assert!(shrunk > 2500 * 500 && shrunk.is_multiple_of(4096), "{shrunk}");
    assert!(pruned.bytes_given_back <= shrunk && pruned.bytes_given_back > 2500 * 500);
}

#[test]
fn a_pruning_that_is_asked_to_end_says_what_is_left() {
    /// Whoever asks for it waits for one transaction only.
    struct Hasty;

    impl Progress for Hasty {
        fn begin(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, _: u64) {}
        fn end(&self) {}
        fn stop(&self) -> Stop {
            let stop = Stop::default();
            stop.ask();
            stop
        }
    }

    let place = Place::new();
    let hub = place.hub();
    log(&hub, &vec![DAY * 3; 2500]);
    let before = moment(NOW);
    let gone = [1000, 1000, 500].map(|entries| {
        let pruned = hub.prune_logs(&before, &Hasty).unwrap();
        assert_eq!(pruned.entries, entries);
        pruned.left
    });
    assert_eq!(gone, [1500, 500, 0]);
    hub.close().unwrap();
}

#[test]
fn a_database_without_auto_vacuum_keeps_its_free_pages_and_says_so() {
    let place = Place::new();
    place.hub().close().unwrap();
    let path = place.database();
    let db = streamhub_engine::Database::write(&path).unwrap();
    db.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    db.close().unwrap();
    let hub = place.hub();
    log(&hub, &vec![3 * DAY; 1000]);
    let pruned = hub.prune_logs(&moment(NOW), &Silent).unwrap();
    assert_eq!((pruned.entries, pruned.bytes_given_back), (1000, 0));
    assert!(pruned.free_bytes > 1000 * 500, "{pruned:?}");
    hub.close().unwrap();
}

#[test]
fn what_is_too_old_goes_and_what_is_too_much() {
    let place = Place::new();
    let retention = Retention {
        logs: Bounds { age: 30 * DAY, rows: 3 },
        audit: Bounds { age: 400 * DAY, rows: 1_000_000 },
    };
    let hub = place.hub_with(retention);
    log(&hub, &[29 * DAY, 31 * DAY, 2 * DAY, DAY]);
    note(&hub, &[401 * DAY, 399 * DAY, 31 * DAY]);
    assert_eq!(hub.retain_at(&moment(NOW), Duration::ZERO).unwrap(), None);
    assert_eq!(left(&hub), (2, 2));
    hub.close().unwrap();
}

#[test]
fn upkeep_sees_to_it() {
    let place = Place::new();
    let hub = place.hub();
    log(&hub, &[DAY; 10]);
    let mut config = hub.shared.config.clone();
    hub.close().unwrap();
    (config.upkeep, config.idle) = (true, Duration::from_millis(10));
    config.retention.logs.rows = 4;
    let hub = Hub::open(&config, &Silent).unwrap();
    let began = Instant::now();
    while left(&hub).0 > 4 && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(left(&hub).0, 4);
    hub.close().unwrap();
}

#[test]
fn nothing_goes_for_its_age_while_the_clock_is_far_ahead_and_too_much_goes_all_the_same() {
    let place = Place::new();
    let hub = place.hub();
    assert_eq!(hub.retain_at(&moment(NOW), Duration::ZERO).unwrap(), None);
    log(&hub, &[DAY; 10]);
    note(&hub, &[DAY]);
    hub.close().unwrap();

    let hub = place.hub_with(Retention {
        logs: Bounds { rows: 4, ..Retention::default().logs },
        ..Retention::default()
    });
    let ahead = moment(NOW).after(3650 * DAY);
    for hours in 0..50 {
        let now = ahead.after(Duration::from_hours(hours));
        let passed = Duration::from_hours(hours.min(1));
        assert!(hub.retain_at(&now, passed).unwrap().is_some());
    }
    assert_eq!(left(&hub), (4, 1));
    // It stands right again.
    let right = moment(NOW).after(Duration::from_hours(50));
    assert_eq!(hub.retain_at(&right, Duration::from_hours(1)).unwrap(), None);
    assert_eq!(left(&hub), (4, 1));
    hub.close().unwrap();
}

#[test]
fn the_first_run_on_older_data_goes_by_its_newest_entry() {
    let place = Place::new();
    let hub = place.hub();
    log(&hub, &[29 * DAY, DAY]);
    hub.close().unwrap();
    let hub = place.hub();
    // What this process writes says nothing of the time.
    let ahead = moment(NOW).after(3650 * DAY);
    let entry = Entry { at: ahead.clone(), ..Entry::now("user:ana", "app.create", "ok") };
    hub.note_down(move |db| audit::append(db, &entry)).unwrap();
    assert!(hub.retain_at(&ahead, Duration::ZERO).unwrap().is_some());
    assert_eq!(left(&hub), (2, 1));
    hub.close().unwrap();
}

#[test]
fn a_pause_of_months_ends_in_days() {
    let place = Place::new();
    let hub = place.hub();
    assert_eq!(hub.retain_at(&moment(NOW), Duration::ZERO).unwrap(), None);
    log(&hub, &[DAY]);
    hub.close().unwrap();
    let hub = place.hub();
    let back = moment(NOW).after(91 * DAY);
    let jump = hub.retain_at(&back, Duration::ZERO).unwrap().expect("it is doubted");
    assert_eq!((jump.by, jump.rest), (90 * DAY, 9 * DAY));
    assert_eq!(left(&hub).0, 1);
    assert_eq!(hub.retain_at(&back.after(9 * DAY), 9 * DAY).unwrap(), None);
    assert_eq!(left(&hub).0, 0);
    hub.close().unwrap();
}

#[test]
fn a_hub_that_is_closed_prunes_nothing() {
    let place = Place::new();
    let hub = place.hub();
    hub.close().unwrap();
    assert!(matches!(hub.prune_logs(&moment(NOW), &Silent), Err(HubError::Closed)));
}
