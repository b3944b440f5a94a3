//! A small program around engine's writer and cache, for faults that only a process of its own can have.
//!
//! `live-probe writes DB SEED` lets several threads write to the table `t`, and tells of each write how it ended.
//! `live-probe alike DB` writes 1 to 4, as many pages each, of which the last is the same: each finds in the `-wal` what
//! the one before left there. Ends at the first that is not acknowledged, and tidies nothing up.
//! `live-probe batch DB` writes 1 alone, 10 to 14 in one transaction, of which 12 is large, and 20 alone.
//! `live-probe descriptors DIR` opens the databases of a cache until no file can be opened any more.
//! `live-probe costs DIR` counts descriptors and threads while databases are opened and closed.
//!
//! A line says `+ KEY` of a write that was acknowledged, `- KEY WHY` of one that failed, `? KEY` of one that nobody
//! knows of, `= KEY` or `! KEY` of one that a read found or missed afterwards, and `serves` at the end.

#![allow(clippy::print_stdout, reason = "this program tells what happened to its writes")]
#![allow(clippy::disallowed_methods, reason = "the open files of this process are what is counted")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use streamhub_engine::cache::{Cache, CacheConfig, Cost, Grant, Lease, LeaseError, Opener};
use streamhub_engine::live::{Config, Limits, Live, LiveError};
use streamhub_engine::{AppId, Database, Fault, ReadTx, WriteTx};
use streamhub_tests::probe::ended;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// How a write can fail here.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("the closure says no")]
    No,
}

const THREADS: i64 = 3;
const EACH: i64 = 8;
/// The kind of write that is some pages long.
const LARGE: u64 = 2;
/// Above all keys: what a closure wrote after its transaction was gone.
const GHOST: i64 = 1_000_000;

fn main() -> ExitCode {
    // A closure that panics on purpose is no news.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["writes", db, seed] => writes(Path::new(db), seed.parse().expect("a number")),
        ["alike", db] => alike(Path::new(db)),
        ["batch", db] => batch(Path::new(db)),
        ["descriptors", dir] => descriptors(Path::new(dir)),
        ["costs", dir] => costs(Path::new(dir)),
        _ => {
            Err("usage: live-probe writes DB SEED | alike DB | batch DB | descriptors DIR | costs DIR".into())
        }
    };
    ended(result)
}

fn serve(path: &Path, limits: Limits) -> Result<Live> {
    Ok(Live::new(Database::write(path)?, Config { limits, ..Config::default() })?)
}

fn writes(path: &Path, seed: u64) -> Result<()> {
    // Few pages, so that the `-wal` is emptied now and then.
    let limits = Limits { checkpoint_pages: 12, batch: 5, ..Limits::default() };
    let live = serve(path, limits)?;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let live = live.clone();
            thread::spawn(move || {
                let mut random = seed.wrapping_mul(1000) + u64::try_from(thread).unwrap_or(0) + 1;
                for number in 0..EACH {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let key = thread * 1000 + number;
                    tell(&live, key, write_one(&live, key, random >> 33));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    settle(&live)?;
    // What is acknowledged needs no orderly end, and what failed must not come back without one.
    if seed % 2 == 1 {
        std::process::exit(0);
    }
    Ok(live.close()?)
}

/// One write of some kind, waited for or not.
fn write_one(live: &Live, key: i64, random: u64) -> Result<(), Failed> {
    let kind = random % 16;
    let work = move |tx: &mut WriteTx<'_>| work(tx, key, kind);
    if random >> 8 & 1 == 0 {
        return live.write(work);
    }
    let (answer, answers) = mpsc::channel();
    live.submit::<_, Failed, _, _>(work, move |result| {
        let _ = answer.send(result);
        // The leader has others to answer, whatever happens here.
        assert!(key % 3 != 0, "on purpose");
    })?;
    answers.recv().expect("every write is answered")
}

fn work(tx: &mut WriteTx<'_>, key: i64, kind: u64) -> Result<(), Failed> {
    match kind {
        0 => return Err(Failed::No),
        1 => panic!("on purpose"),
        _ => {}
    }
    let pages = if kind == LARGE { 30 } else { 0 };
    tx.execute("INSERT INTO t (key, pad) VALUES (?1, zeroblob(?2))", [key, 10 + pages * 4096])?;
    match kind {
        3 => return Err(Failed::No),
        4 => panic!("on purpose"),
        // Does to a transaction what a full disk or a failing one does.
        5 => drop(tx.execute("INSERT OR ROLLBACK INTO t (key) VALUES (-1)", [])?),
        6 => {
            let _ = tx.execute("INSERT OR ROLLBACK INTO t (key) VALUES (-1)", []);
            let _ = tx.execute("INSERT INTO t (key) VALUES (?1)", [key + GHOST]);
            return Ok(());
        }
        _ => {}
    }
    tx.execute("UPDATE total SET rows = rows + 1", [])?;
    Ok(())
}

/// Says how a write ended, and what a read finds afterwards.
fn tell(live: &Live, key: i64, result: Result<(), Failed>) {
    match result {
        Ok(()) => println!("+ {key}"),
        Err(Failed::Live(LiveError::CommitUnknown { .. })) => println!("? {key}"),
        Err(error) => println!("- {key} {}", why(&error)),
    }
    let found = live.read(|tx: &ReadTx<'_>| {
        Ok::<_, Failed>(tx.query_optional("SELECT 1 FROM t WHERE key = ?1", [key], |_| Ok(()))?.is_some())
    });
    match found {
        Ok(true) => println!("= {key}"),
        Ok(false) => println!("! {key}"),
        Err(error) => println!("unread {key} {}", why(&error)),
    }
}

fn why(error: &Failed) -> String {
    match error {
        Failed::No => "no".to_owned(),
        Failed::Live(LiveError::Panicked { .. }) => "panicked".to_owned(),
        Failed::Live(LiveError::TransactionLost { .. }) => "lost".to_owned(),
        Failed::Live(LiveError::Failed(error)) => error.fault().to_string(),
        Failed::Live(error) => error.to_string(),
        Failed::Sqlite(error) => Fault::of_sqlite(error).to_string(),
    }
}

/// After the trouble: the database serves again, if not at the first try, then at the second.
fn settle(live: &Live) -> Result<()> {
    let last = || live.write::<_, Failed, _>(|tx| work(tx, THREADS * 1000, 15));
    let first = last();
    let served = first.is_ok();
    tell(live, THREADS * 1000, first);
    if !served {
        last()?;
        println!("+ {}", THREADS * 1000);
    }
    println!("serves");
    Ok(())
}

fn alike(path: &Path) -> Result<()> {
    // The `-wal` is emptied after each, so that the next one begins at its front.
    let live = serve(path, Limits { checkpoint_pages: 1, ..Limits::default() })?;
    for key in 1..5 {
        let result = live.write(move |tx| work(tx, key, LARGE));
        let goes_on = result.is_ok();
        tell(&live, key, result);
        if !goes_on {
            break;
        }
    }
    // What failed must not be found by whoever opens the file next.
    std::process::exit(0)
}

fn batch(path: &Path) -> Result<()> {
    let live = serve(path, Limits::default())?;
    // One of them writes more than the cache holds.
    let insert = |key: i64| move |tx: &mut WriteTx<'_>| work(tx, key, if key == 12 { LARGE } else { 15 });
    tell(&live, 1, live.write(insert(1)));
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let holder = {
        let live = live.clone();
        thread::spawn(move || {
            live.write::<(), Failed, _>(move |_| {
                let _ = begun.send(());
                let _ = wait.recv();
                Ok(())
            })
        })
    };
    has_begun.recv()?;
    let (answer, answers) = mpsc::channel();
    for key in 10..15 {
        let answer = answer.clone();
        live.submit::<_, Failed, _, _>(insert(key), move |result| drop(answer.send((key, result))))?;
    }
    // It may run again together with the others, and shares their fate.
    drop(go);
    let _ = holder.join().map_err(|_| "the holder panicked")?;
    let batch: Vec<_> = answers.iter().take(5).collect();
    for (key, result) in batch {
        tell(&live, key, result);
    }
    tell(&live, 20, live.write(insert(20)));
    settle(&live)?;
    Ok(live.close()?)
}

/// Opens the database of each app's directory below this one.
struct Apps(PathBuf);

impl Opener for Apps {
    type Handle = Live;
    type Error = streamhub_engine::Error;

    fn open(&self, id: &AppId, grant: Grant) -> Result<Live, Self::Error> {
        grant.live(Database::write(&self.0.join(id.as_str()).join("app.db"))?, Config::default())
    }

    fn is_lasting(&self, error: &Self::Error) -> bool {
        error.fault() != Fault::TooManyFiles
    }
}

fn cache(dir: &Path, budget: Cost) -> Cache<Apps> {
    let config = CacheConfig { budget, wait: Duration::from_millis(200), ..CacheConfig::default() };
    Cache::new(Apps(dir.to_owned()), config)
}

fn app(number: usize) -> AppId {
    format!("app-{number}").parse().expect("an app's name")
}

fn insert(lease: &Lease<Apps>, key: i64) -> Result<(), Failed> {
    lease.write(move |tx| work(tx, key, 15))
}

fn descriptors(dir: &Path) -> Result<()> {
    const MOST: u64 = 40;
    // A budget that promises more than there is, as where somebody else takes the process's descriptors.
    let cache = cache(dir, Cost::UNLIMITED);
    setrlimit(Resource::RLIMIT_NOFILE, MOST, MOST)?;
    let mut leases = Vec::new();
    let refused = loop {
        match cache.lease(&app(leases.len())) {
            Ok(lease) => leases.push(lease),
            Err(LeaseError::Open(error)) => break error,
            Err(error) => return Err(error.into()),
        }
    };
    println!("{} open, then: {}", leases.len(), refused.fault());
    // A further connection cannot be had either, and only who needs one is told.
    let lease = leases[0].clone();
    let nested = lease.read(|_| {
        let further = lease.read(|tx| Ok::<_, Failed>(tx.query_row("SELECT 1", [], |_| Ok(()))?));
        Ok::<_, Failed>(further.map_err(|error| why(&error)))
    })?;
    println!("a further connection: {}", nested.err().unwrap_or_else(|| "opened".to_owned()));
    for (number, lease) in leases.iter().enumerate() {
        insert(lease, 1)?;
        assert!(lease.connections() == 1, "{number} has more connections than one");
    }
    println!("all others write");
    let next = app(leases.len());
    drop(lease);
    leases.truncate(2);
    cache.sweep();
    cache.sweep();
    cache.sweep();
    insert(&cache.lease(&next)?, 1)?;
    println!("serves");
    Ok(())
}

fn costs(dir: &Path) -> Result<()> {
    let open_files = || std::fs::read_dir("/proc/self/fd").map(|entries| entries.count() - 1);
    let threads = || std::fs::read_dir("/proc/self/task").map(Iterator::count);
    let cache = cache(dir, Cost::UNLIMITED);
    let before = (open_files()?, threads()?);
    let leases = (0..10).map(|number| cache.lease(&app(number))).collect::<Result<Vec<_>, _>>()?;
    for lease in &leases {
        insert(lease, 1)?;
    }
    println!("10 open: {} descriptors, {} threads", open_files()? - before.0, threads()? - before.1);
    println!("the budget says: {}", cache.stats().used.descriptors);
    let nested = |depth: &dyn Fn() -> Result<(), Failed>| leases[0].read(|_| depth());
    nested(&|| nested(&|| nested(&|| Ok(()))))?;
    println!("2 more connections: {} descriptors", open_files()? - before.0);
    println!("the budget says: {}", cache.stats().used.descriptors);
    leases[0].rest();
    println!("at rest: {} descriptors", open_files()? - before.0);
    println!("the budget says: {}", cache.stats().used.descriptors);
    nested(&|| nested(&|| Ok(())))?;
    println!("1 again: {} descriptors", open_files()? - before.0);
    println!("the budget says: {}", cache.stats().used.descriptors);
    let beside = leases[0].beside()?;
    beside.query_row("SELECT count(*) FROM t", [], |_| Ok(()))?;
    println!("1 beside: {} descriptors", open_files()? - before.0);
    println!("the budget says: {}", cache.stats().used.descriptors);
    drop(beside);
    println!("closed again: {} descriptors", open_files()? - before.0);
    println!("the budget says: {}", cache.stats().used.descriptors);
    drop(leases);
    for _ in 0..3 {
        cache.sweep();
    }
    println!("closed: {} descriptors, {} threads", open_files()? - before.0, threads()? - before.1);
    println!("the budget says: {}", cache.stats().used.descriptors);
    Ok(())
}
