//! Goal 8: a hundred thousand apps, of which a few hundred can be open at a time.
//!
//! Start-up is measured in processes of their own, with 10 apps and with 100,000. The mixed load draws apps by
//! Zipf's law from all of them, in a process that may have 1,024 file descriptors: point reads, pages of 20 rows and
//! durable writes from eight threads. In the last part one thread reads apps that are open, all the time, with and
//! without another that leases closed ones one after the other, each of which takes an idle one's place.
//!
//! Every app that is opened has a database as the hub makes them; the others have one of smaller pages.

#![allow(clippy::print_stdout, reason = "this program prints its numbers")]
#![allow(clippy::cast_precision_loss, reason = "small numbers")]

mod support;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streamhub::progress::Silent;
use streamhub::{Hub, HubConfig, HubError, Lease, Page, streams};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Compared, Goal, Needs, by_turns, median, quantile};
use support::child::{self, number};

const APPS: usize = 100_000;
const REQUESTS: usize = 40_000;
const THREADS: usize = 8;
const DESCRIPTORS: u32 = 1024;
const STARTS: usize = 7;
const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(400);
const WARM: usize = 16;
/// Apps that are leased one after the other, more than can be open.
const COLD: std::ops::Range<usize> = 1000..2000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let hub = |dir: &str| open(Path::new(dir));
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["start", dir] => {
            let start = Instant::now();
            let hub = hub(dir);
            println!("{}", json!({ "ms": start.elapsed().as_secs_f64() * 1e3 }));
            hub.close().expect("an end");
        }
        ["mixed", dir] => println!("{}", mixed(&hub(dir))),
        ["churn", dir] => println!("{}", churn(&hub(dir))),
        ["plain-churn", dir] => plain_churn(Path::new(dir)),
        _ => measure(),
    }
}

fn open(dir: &Path) -> Hub {
    Hub::open(&HubConfig::new(dir.join("data")), &Silent).expect("a hub")
}

fn measure() {
    let (few, many) = (scratch(), scratch());
    let drawn: HashSet<usize> = requests().into_iter().collect();
    support::population::populate(few.path(), 10, |_| true);
    support::population::populate(many.path(), APPS, |number| number < COLD.end || drawn.contains(&number));
    let dir = |dir: &tempfile::TempDir| dir.path().to_str().expect("UTF-8").to_owned();
    let (few, many) = (&dir(&few), &dir(&many));

    let start = |dir: &str| number(&child::run(DESCRIPTORS, &["start", dir]), "ms");
    let starts = by_turns(STARTS, || start(many), || start(few));
    let more = median(&starts.ours) - median(&starts.baseline);
    println!("start-up with 100,000 apps {:.1} ms", median(&starts.ours));
    let compared = Compared { ours: vec![more], baseline: starts.baseline };
    let what = "start-up with 100,000 apps: more than with 10, beside that with 10";
    Goal { id: "8a", what, needs: Needs::AtMost(50.0), unit: "ms" }.print_figure(&compared);

    let told = child::run(DESCRIPTORS, &["mixed", many]);
    println!("mixed load: {told}");
    let compared = |name: &str| Compared {
        ours: vec![number(&told, name)],
        baseline: vec![number(&told, &format!("{name} baseline"))],
    };
    let what = "errors in a mixed load over 100,000 apps with 1,024 descriptors, beside the requests";
    Goal { id: "8b", what, needs: Needs::AtMost(0.0), unit: "requests" }.print_figure(&compared("errors"));
    let what = "peak memory in that load, beside that of the hub alone";
    Goal { id: "8c", what, needs: Needs::AtMost(250.0), unit: "MB" }.print_figure(&compared("memory"));

    let told = child::run(DESCRIPTORS, &["churn", many]);
    let values = |name: &str| -> Vec<f64> {
        told[name].as_array().expect("a list").iter().filter_map(Value::as_f64).collect()
    };
    let compared = Compared { ours: values("with"), baseline: values("without") };
    let beside = Compared { ours: values("beside"), baseline: values("without") };
    println!("p99 while another process opens plain databases instead: {:.2} × that without", beside.ratio());
    println!("closed apps that were leased meanwhile: {:.0} per second", number(&told, "leased"));
    let what = "p99 of reads of open apps while closed ones are leased, against p99 without";
    Goal { id: "8d", what, needs: Needs::AtMost(1.2), unit: "µs" }.print_ratio(&compared);
}

/// In the child: every request of the load, from several threads.
fn mixed(hub: &Hub) -> Value {
    let (requests, next, errors) = (requests(), AtomicUsize::new(0), AtomicUsize::new(0));
    let alone = megabytes();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(app) = requests.get(at) else { break };
                    if let Err(error) = request(hub, *app, at) {
                        eprintln_once(&errors, &error);
                    }
                }
            });
        }
    });
    let (took, stats) = (start.elapsed().as_secs_f64(), hub.cache_stats());
    let descriptors = child::descriptors();
    json!({
        "errors": errors.into_inner(), "errors baseline": requests.len(),
        "memory": megabytes(), "memory baseline": alone,
        "requests per second": requests.len() as f64 / took,
        "openings": stats.opens, "evictions": stats.evictions, "open": stats.open, "descriptors": descriptors,
    })
}

#[allow(clippy::print_stderr, reason = "what went wrong is not a result")]
fn eprintln_once(errors: &AtomicUsize, error: &HubError) {
    if errors.fetch_add(1, Ordering::Relaxed) == 0 {
        eprintln!("{error}");
    }
}

/// One in ten writes, three list, the others read one row.
fn request(hub: &Hub, app: usize, at: usize) -> Result<(), HubError> {
    let app = hub.app(&support::app_id(app))?;
    match at % 10 {
        0 => app.write(move |tx| {
            let stats = format!(r#"{{"viewers":{at}}}"#);
            streams::update_stats(tx, &support::stream_id(at % 20), &stats).map_err(HubError::from)
        }),
        1..=3 => {
            let filter =
                streams::StreamFilter { page: Page::new(20, 0).expect("a page"), ..Default::default() };
            let listed = app.read(|tx| streams::list(tx, &filter).map_err(HubError::from))?;
            assert_eq!(listed.data.len(), 20);
            Ok(())
        }
        _ => point(&app),
    }
}

fn point(app: &Lease) -> Result<(), HubError> {
    let found = app.get(|tx| streams::by_id(tx, &support::stream_id(7)).map_err(HubError::from))?;
    assert!(found.is_some());
    Ok(())
}

/// The apps that are asked for, in this order: by Zipf's law, the same in every run.
fn requests() -> Vec<usize> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=APPS)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut draw = || {
        let at = uniform() * sum;
        sums.partition_point(|below| *below < at) + 1
    };
    (0..REQUESTS).map(|_| draw().min(APPS)).collect()
}

/// In the child: reads of apps that are open, with and without others being opened and closed.
fn churn(hub: &Hub) -> Value {
    COLD.for_each(|app| drop(hub.app(&support::app_id(app)).expect("a lease")));
    let leased = AtomicUsize::new(0);
    let took = AtomicUsize::new(0);
    let compared = by_turns(
        ROUNDS,
        || {
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let start = Instant::now();
                    for app in COLD.cycle().skip(leased.load(Ordering::Relaxed)) {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        drop(hub.app(&support::app_id(app)).expect("a lease"));
                        leased.fetch_add(1, Ordering::Relaxed);
                    }
                    let millis = usize::try_from(start.elapsed().as_millis()).expect("some");
                    took.fetch_add(millis, Ordering::Relaxed);
                });
                let p99 = p99_of_reads(hub);
                stop.store(true, Ordering::Relaxed);
                p99
            })
        },
        || p99_of_reads(hub),
    );
    // What the machine itself does to a reader when files are opened and closed beside it, by no thread of ours.
    let beside: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let dir = hub.data().root().parent().expect("a parent");
            let program = std::env::current_exe().expect("the path of the running program");
            let mut other = Command::new(program).arg("plain-churn").arg(dir).spawn().expect("a process");
            let p99 = p99_of_reads(hub);
            other.kill().and_then(|()| other.wait()).expect("an end");
            p99
        })
        .collect();
    let leased = leased.into_inner() as f64 * 1e3 / took.into_inner() as f64;
    json!({ "with": compared.ours, "without": compared.baseline, "beside": beside, "leased": leased })
}

/// Opens, reads and closes the same closed apps with plain connections, until it is killed.
fn plain_churn(dir: &Path) {
    for app in COLD.cycle() {
        let db = support::plain(&dir.join(format!("data/apps/{}/app.db", support::app_id(app))));
        db.query_row("SELECT count(*) FROM streams", [], |_| Ok(())).expect("a count");
        db.close().expect("an end");
    }
}

/// Microseconds below which 99 of 100 reads, a lease included, end.
fn p99_of_reads(hub: &Hub) -> f64 {
    let ids: Vec<_> = (1..=WARM).map(support::app_id).collect();
    let mut took = Vec::new();
    let start = Instant::now();
    while start.elapsed() < SLICE {
        for id in &ids {
            let start = Instant::now();
            point(&hub.app(id).expect("a lease")).expect("a read");
            took.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    quantile(&took, 0.99)
}

fn megabytes() -> f64 {
    child::peak_memory() * 1024.0 / 1e6
}
