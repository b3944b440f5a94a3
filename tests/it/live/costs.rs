//! What an open app costs, and what a closed one does not: descriptors, threads, syncs, allocations.

use std::fs;
use std::path::Path;

use streamhub_engine::cache::{Cache, CacheConfig, Grant, Opener};
use streamhub_engine::live::{Config, Live};
use streamhub_engine::{AppId, Database};
use streamhub_tests::faults::Faults;
use streamhub_tests::files::scratch;
use streamhub_tests::live::{database, probe};
use streamhub_tests::process;
use streamhub_tests::skip::need;
use tempfile::TempDir;

/// A directory with so many apps.
fn apps(count: usize) -> TempDir {
    let dir = scratch();
    for number in 0..count {
        let app = dir.path().join(format!("app-{number}"));
        fs::create_dir(&app).expect("an app's directory");
        fs::rename(database(dir.path()), app.join("app.db")).expect("an app's database");
    }
    dir
}

fn told(verb: &str, dir: &Path) -> Vec<String> {
    let ended = process::run(&mut probe(&[verb, dir.to_str().expect("UTF-8")]));
    assert!(ended.success(), "{}", ended.describe());
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn an_open_app_costs_three_descriptors_and_a_closed_one_none() {
    let dir = apps(10);
    assert_eq!(
        told("costs", dir.path()),
        [
            "10 open: 30 descriptors, 0 threads",
            "the budget says: 30",
            "2 more connections: 34 descriptors",
            "the budget says: 34",
            "at rest: 32 descriptors",
            "the budget says: 32",
            "1 again: 33 descriptors",
            "the budget says: 33",
            "1 beside: 34 descriptors",
            "the budget says: 34",
            "closed again: 33 descriptors",
            "the budget says: 33",
            "closed: 0 descriptors, 0 threads",
            "the budget says: 0",
        ]
    );
}

#[test]
fn when_no_file_can_be_opened_any_more_only_who_needs_one_is_told() {
    let dir = apps(30);
    let told = told("descriptors", dir.path());
    let (first, others) = told.split_first().expect("a first line");
    assert!(first.ends_with(" open, then: as many files are open as may be"), "{first}");
    assert_eq!(
        others,
        ["a further connection: as many files are open as may be", "all others write", "serves"]
    );
}

#[test]
fn a_batch_costs_one_sync() {
    let dir = scratch();
    let db = database(dir.path());
    let Some(faults) = need("live::costs::one_sync", Faults::on(dir.path())) else { return };
    let run = faults.count(&mut probe(&["batch", db.to_str().expect("UTF-8")]));
    assert!(run.ended.success(), "{}", run.ended.describe());
    let of_wal = |point: &&streamhub_tests::faults::Point| point.path.to_string_lossy().ends_with("-wal");
    let syncs = run.points.iter().filter(of_wal).filter(|point| point.operation.contains("sync")).count();
    // The head of the -wal, four transactions that change something, of which one holds five writes, and the
    // checkpoint at the end of service.
    assert_eq!(syncs, 6, "{:?}", run.points);
}

/// Opens the one database below a directory, whichever app is asked for.
struct One(TempDir);

impl Opener for One {
    type Handle = Live;
    type Error = streamhub_engine::Error;

    fn open(&self, _: &AppId, grant: Grant) -> Result<Live, Self::Error> {
        grant.live(Database::write(&self.0.path().join("app-0/app.db"))?, Config::default())
    }

    fn is_lasting(&self, _: &Self::Error) -> bool {
        true
    }
}

#[test]
fn a_warm_lease_allocates_nothing() {
    let cache = Cache::new(One(apps(1)), CacheConfig::default());
    let id = "app-0".parse().expect("an app's name");
    drop(cache.lease(&id).expect("it opens"));
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            let lease = cache.lease(&id).expect("it is open");
            drop(lease.clone());
        }
    });
    assert_eq!(counted.count_total, 0);
    let counted = allocation_counter::measure(|| drop(vec![1]));
    assert_eq!(counted.count_total, 1, "allocations are counted");
}
