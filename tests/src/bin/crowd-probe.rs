//! Very many apps in a process that may open few files.
//!
//! `crowd-probe make DIR APPS` makes them.
//! `crowd-probe open DIR APPS` opens each of them and reads.
//! `crowd-probe starve DIR APPS` keeps each app that it opens, with a budget that promises more files than there are.
//! `crowd-probe storm DIR APPS SECONDS SEED` has many threads read, write and take apps for themselves at random, and
//! then looks whether everything that was acknowledged is there, and in the right app.
//!
//! The last three may open 256 files. Each says what it counted, and fails where the budget was exceeded at any time, or
//! more files were open than follow from it.

#![allow(clippy::print_stdout, reason = "this program tells what it counted")]
#![allow(clippy::disallowed_methods, reason = "the open files of this process are what is counted")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use streamhub::progress::Silent;
use streamhub::vods::{self, NewVod};
use streamhub::{AppId, Busy, Cost, Hub, HubConfig, HubError, Kind, Lease, NewApp, TenantId};
use streamhub_tests::probe::{self, ended};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const FILES: u64 = 256;
const THREADS: u64 = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map_or(0, |text| text.parse().expect("a number"));
    let result = match arguments.first().map(String::as_str) {
        Some("make") => make(Path::new(&arguments[1]), number(2)),
        Some("open") => open_each(Path::new(&arguments[1]), number(2)),
        Some("starve") => starve(Path::new(&arguments[1]), number(2)),
        Some("storm") => storm(Path::new(&arguments[1]), number(2), number(3), number(4)),
        _ => Err("usage: crowd-probe make DIR APPS | open DIR APPS | starve DIR APPS | storm DIR APPS SECONDS SEED".into()),
    };
    ended(result)
}

fn config(dir: &Path) -> HubConfig {
    let mut config = probe::config(dir);
    config.idle = Duration::from_millis(500);
    config
}

fn open(dir: &Path) -> Result<Hub, HubError> {
    Hub::open(&config(dir), &Silent)
}

fn id(number: u64) -> AppId {
    format!("app-{number}").parse().expect("an app's name")
}

fn make(dir: &Path, apps: u64) -> Result<()> {
    let hub = open(dir)?;
    for number in 0..apps {
        hub.create(&NewApp::new(id(number), TenantId::platform()))?;
    }
    Ok(hub.close()?)
}

/// The numbers of files that this process was given, which say nothing about how many it opens.
struct Inherited(Vec<usize>);

impl Inherited {
    fn new() -> Self {
        Self(numbers().collect())
    }

    /// How many files were open when the highest of them was opened: the kernel gives each the lowest number that is
    /// free. To count them takes so long that some would be counted that were never open at the same time.
    fn and_opened(&self) -> usize {
        numbers().filter(|number| !self.0.contains(number)).max().map_or(0, |highest| highest + 1)
    }
}

fn numbers() -> impl Iterator<Item = usize> {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    files.filter_map(|file| file.file_name().to_str()?.parse().ok())
}

/// Refuses a cache that has given out more than there is.
fn within_budget(hub: &Hub) -> Result<()> {
    let stats = hub.cache_stats();
    let fits = stats.used.connections <= stats.budget.connections
        && stats.used.descriptors <= stats.budget.descriptors;
    if fits { Ok(()) } else { Err(format!("over budget: {stats:?}").into()) }
}

/// Refuses more open files than follow from the budget: those of apps, those that were open before any app was, the
/// control database's readers, whoever has an app alone, which is outside of the budget, and one for each thread, which
/// reads a seal or syncs a directory.
fn follows_from_the_budget(
    hub: &Hub,
    files: usize,
    before: usize,
    alone: usize,
    threads: usize,
) -> Result<()> {
    let apps = hub.cache_stats().budget.descriptors;
    let control = 4 * Cost::FURTHER.descriptors;
    let most = apps + before + control + alone * Cost::FIRST.descriptors + threads;
    println!(
        "{files} files open at the most, {most} may be: {apps} of apps, {before} before any was open, {alone} times alone"
    );
    if files <= most { Ok(()) } else { Err("more files were open than follow from the budget".into()) }
}

fn entries(of: &str) -> usize {
    std::fs::read_dir(of).map_or(0, Iterator::count)
}

fn open_each(dir: &Path, apps: u64) -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES)?;
    let files = Inherited::new();
    let hub = open(dir)?;
    let before = files.and_opened();
    let (mut read, mut most) = (0, 0);
    for number in 0..apps {
        read += usize::from(hub.app(&id(number)).and_then(|app| count(&app, number)).is_ok());
        within_budget(&hub)?;
        most = most.max(files.and_opened());
    }
    println!("{read} of {apps} apps read");
    follows_from_the_budget(&hub, most, before, 0, 1)?;
    Ok(hub.close()?)
}

fn starve(dir: &Path, apps: u64) -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES)?;
    let hub = Hub::open(&HubConfig { budget: Cost::UNLIMITED, ..config(dir) }, &Silent)?;
    let mut open = Vec::new();
    let refused = loop {
        match hub.app(&id(open.len() as u64)) {
            Ok(app) => open.push(app),
            Err(error) => break error,
        }
    };
    println!("{} open, then {:?}: {refused}", open.len(), refused.kind());
    for (number, app) in (0..).zip(&open) {
        count(app, number)?;
    }
    println!("all that are open are read");
    drop(open);
    // What is idle is closed after a while.
    while hub.cache_stats().open > 0 {
        thread::sleep(Duration::from_millis(10));
    }
    for number in 0..apps.min(40) {
        count(&hub.app(&id(number))?, number)?;
    }
    println!("serves");
    Ok(hub.close()?)
}

/// How many rows the app has; a row of another app is an error.
fn count(app: &Lease, number: u64) -> Result<u64, HubError> {
    let (own, all) = app.read(|tx| {
        let sql = "SELECT count(*) FILTER (WHERE room = ?1), count(*) FROM vods NOT INDEXED";
        let room = id(number).to_string();
        tx.query_row(sql, [room], |row| Ok((row.get(0)?, row.get::<_, u64>(1)?)))
            .map_err(|error| HubError::from(streamhub::StoreError::from(error)))
    })?;
    assert!(own == all && app.id() == &id(number), "app {number} holds rows of another");
    assert!(app.registered().name == id(number).as_str(), "app {number} is another");
    Ok(own)
}

/// What the threads know.
struct Books {
    acknowledged: Vec<AtomicU64>,
    unknown: Vec<AtomicU64>,
    done: [AtomicUsize; 3],
    busy: AtomicUsize,
    /// How many have an app alone, and how many had at the most.
    alone: [AtomicUsize; 2],
    stop: AtomicBool,
}

fn storm(dir: &Path, apps: u64, seconds: u64, seed: u64) -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES)?;
    let before = (entries("/proc/self/fd"), entries("/proc/self/task"));
    let inherited = Inherited::new();
    let hub = open(dir)?;
    let before_apps = inherited.and_opened();
    let numbers = || (0..apps).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let books = Arc::new(Books {
        acknowledged: numbers(),
        unknown: numbers(),
        done: Default::default(),
        busy: AtomicUsize::new(0),
        alone: Default::default(),
        stop: AtomicBool::new(false),
    });
    let had: Vec<u64> =
        (0..apps).map(|number| count(&hub.app(&id(number))?, number)).collect::<Result<_, HubError>>()?;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (hub, books) = (hub.clone(), Arc::clone(&books));
            thread::spawn(move || work(&hub, &books, apps, seed.wrapping_mul(THREADS) + thread + 1))
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut files, mut tasks) = (0, 0);
    while Instant::now() < end && !threads.iter().any(thread::JoinHandle::is_finished) {
        files = files.max(inherited.and_opened());
        within_budget(&hub)?;
        tasks = tasks.max(entries("/proc/self/task"));
        thread::sleep(Duration::from_millis(1));
    }
    books.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    let [reads, writes, alone] = &books.done;
    println!(
        "{} reads, {} writes, {} times alone, {} times told to wait",
        reads.load(Ordering::Relaxed),
        writes.load(Ordering::Relaxed),
        alone.load(Ordering::Relaxed),
        books.busy.load(Ordering::Relaxed)
    );
    let mut lost = 0;
    for (number, had) in (0..apps).zip(had) {
        let at = usize::try_from(number)?;
        let least = had + books.acknowledged[at].load(Ordering::Relaxed);
        let most = least + books.unknown[at].load(Ordering::Relaxed);
        let found = count(&hub.app(&id(number))?, number)?;
        lost += usize::from(!(least..=most).contains(&found));
    }
    println!("{lost} apps lack or have too much");
    if lost > 0 {
        return Err("acknowledged writes are lost, or others are there".into());
    }
    let stats = hub.cache_stats();
    let alone = books.alone[1].load(Ordering::Relaxed);
    follows_from_the_budget(&hub, files, before_apps, alone, usize::try_from(THREADS)?)?;
    println!("{tasks} threads at the most, {THREADS} of them here");
    println!("{} opened, {} evicted", stats.opens, stats.evictions);
    hub.close()?;
    drop(hub);
    let left = || {
        let now = (entries("/proc/self/fd"), entries("/proc/self/task"));
        (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1))
    };
    // A thread that has been told to end takes a moment to.
    let patience = Instant::now() + Duration::from_secs(5);
    while left() != (0, 0) && Instant::now() < patience {
        thread::sleep(Duration::from_millis(5));
    }
    println!("left over: {} files, {} threads", left().0, left().1);
    Ok(())
}

fn work(hub: &Hub, books: &Books, apps: u64, seed: u64) -> Result<(), String> {
    let mut random = seed;
    while !books.stop.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (kind, draw) = ((random >> 33) % 100, (random >> 40) % 1_000_000);
        // Few are asked for often, most seldom.
        let number = draw % apps.min([5, 60, apps][usize::try_from(draw % 3).unwrap_or(0)]);
        let (which, result) = match kind {
            0 => {
                let now = books.alone[0].fetch_add(1, Ordering::Relaxed) + 1;
                books.alone[1].fetch_max(now, Ordering::Relaxed);
                let result = alone(hub, number, draw);
                books.alone[0].fetch_sub(1, Ordering::Relaxed);
                (2, result)
            }
            1..30 => (1, write(hub, books, number)),
            _ => (0, hub.app(&id(number)).and_then(|app| count(&app, number)).map(drop)),
        };
        match result {
            Ok(()) => books.done[which].fetch_add(1, Ordering::Relaxed),
            // Whoever wants an app alone may find it in use, and others may find it taken.
            Err(HubError::Busy { reason: Busy::InUse | Busy::Draining, .. }) => {
                books.busy.fetch_add(1, Ordering::Relaxed)
            }
            Err(error) => return Err(format!("app {number}: {error}")),
        };
    }
    Ok(())
}

fn write(hub: &Hub, books: &Books, number: u64) -> Result<(), HubError> {
    let at = usize::try_from(number).unwrap_or(0);
    let written = hub.app(&id(number)).and_then(|app| {
        app.write(move |tx| {
            let row = NewVod { app_id: 1, room: Some(id(number).to_string()), ..NewVod::named("x") };
            vods::create(tx, &row)?;
            Ok::<_, HubError>(())
        })
    });
    match &written {
        Ok(()) => books.acknowledged[at].fetch_add(1, Ordering::Relaxed),
        Err(error) if error.kind() == Kind::Unknown => books.unknown[at].fetch_add(1, Ordering::Relaxed),
        Err(_) => 0,
    };
    written
}

fn alone(hub: &Hub, number: u64, draw: u64) -> Result<(), HubError> {
    match draw % 3 {
        0 => hub.seal(&id(number)).map(drop),
        1 => hub.optimize(&id(number), &Silent).map(drop),
        _ => hub.health(&id(number)).map(drop),
    }
}
