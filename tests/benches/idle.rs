//! Goal 6: what an open app costs while nobody uses it, and what a closed one does.
//!
//! A thousand apps are opened and read from in a process of its own, then left alone for the hub to let them
//! rest. Memory is what the process has for itself, before and after. The plain side has a connection with the same
//! pragmas for each file and reads the same. Closed apps are measured by opening and closing another thousand:
//! what the process has more after that, a closed app has left behind.

#![allow(clippy::print_stdout, reason = "this program prints its numbers")]
#![allow(clippy::cast_precision_loss, reason = "small numbers")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use streamhub::progress::Silent;
use streamhub::{AppId, Cost, Hub, HubConfig, HubError, Lease, Page, streams};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Compared, Goal, Needs};
use support::child::{self, number};

const APPS: usize = 1000;
const REGISTERED: usize = 10_000;
const ROUNDS: usize = 3;
const DESCRIPTORS: u32 = 8192;
/// An app that nobody uses rests after this time, and is closed after twice as much.
const IDLE: Duration = Duration::from_secs(3);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ours", dir, apps] => println!("{}", ours(Path::new(dir), apps.parse().expect("a number"))),
        ["plain", dir] => println!("{}", plain(Path::new(dir))),
        _ => compare(),
    }
}

fn compare() {
    let (one, many) = (scratch(), scratch());
    support::population::populate(one.path(), 1, |_| true);
    support::population::populate(many.path(), REGISTERED, |number| number <= 2 * APPS);
    let dir = |dir: &tempfile::TempDir| dir.path().to_str().expect("UTF-8").to_owned();
    let apps = APPS.to_string();
    let (mut ours, mut plain, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(child::run(DESCRIPTORS, &["ours", &dir(&many), &apps]));
        plain.push(child::run(DESCRIPTORS, &["plain", &dir(&many)]));
        single.push(child::run(DESCRIPTORS, &["ours", &dir(&one), "1"]));
    }
    let told = |ours: &[Value], name: &str, plain: &[Value], other: &str| Compared {
        ours: ours.iter().map(|told| number(told, name)).collect(),
        baseline: plain.iter().map(|told| number(told, other)).collect(),
    };
    let memory = told(&ours, "memory", &plain, "memory");
    let what = "memory of an open app at rest, beside an idle plain connection";
    Goal { id: "6a", what, needs: Needs::AtMost(150.0), unit: "KiB" }.print_figure(&memory);
    let descriptors = told(&ours, "descriptors", &plain, "descriptors");
    let what = "file descriptors of an open app";
    Goal { id: "6b", what, needs: Needs::AtMost(3.0), unit: "descriptors" }.print_figure(&descriptors);
    let closed = told(&ours, "closed descriptors", &plain, "descriptors");
    let what = "file descriptors of a closed app, beside an open connection";
    Goal { id: "6c", what, needs: Needs::AtMost(0.0), unit: "descriptors" }.print_figure(&closed);
    let left = told(&ours, "left behind", &plain, "memory");
    let what = "memory that a closed app leaves behind, beside an idle plain connection";
    Goal { id: "6d", what, needs: Needs::AtMost(1.0), unit: "KiB" }.print_figure(&left);
    let threads = told(&ours, "threads", &single, "threads");
    let what = "threads with 10,000 apps of which 1,000 are open, against 1 app";
    Goal { id: "6e", what, needs: Needs::AtMost(1.0), unit: "threads" }.print_ratio(&threads);
}

/// In the child: what so many open apps cost at rest.
fn ours(dir: &Path, apps: usize) -> Value {
    let mut config = HubConfig::new(dir.join("data"));
    config.budget = Cost::UNLIMITED;
    config.idle = IDLE;
    let hub = Hub::open(&config, &Silent).expect("a hub");
    warm_up(&hub);
    let before = (child::private_memory(), child::descriptors());
    let leases = opened(&hub, 1, apps);
    let descriptors = child::descriptors() - before.1;
    std::thread::sleep(2 * IDLE);
    let (memory, threads) = (child::private_memory() - before.0, child::threads());
    assert_eq!(hub.cache_stats().open, apps);
    drop(leases);
    wait_until_closed(&hub);
    let closed = (child::private_memory(), child::descriptors() - before.1);
    if apps > 1 {
        drop(opened(&hub, 1 + apps, apps));
        wait_until_closed(&hub);
    }
    let left = child::private_memory() - closed.0;
    hub.close().expect("an end");
    let each = apps as f64;
    json!({
        "memory": memory / each,
        "descriptors": descriptors as f64 / each,
        "closed descriptors": closed.1 as f64 / each,
        "left behind": left / each,
        "threads": threads,
    })
}

/// What is there once for all apps is there before anything is measured.
fn warm_up(hub: &Hub) {
    drop(opened(hub, 0, 1));
    wait_until_closed(hub);
}

fn opened(hub: &Hub, first: usize, apps: usize) -> Vec<Lease> {
    let read = |number: usize| {
        let id: AppId = support::app_id(number);
        let app = hub.app(&id).expect("a lease");
        app.get(|tx| streams::by_id(tx, &support::stream_id(7)).map_err(HubError::from)).expect("a stream");
        let filter = streams::StreamFilter { page: Page::new(20, 0).expect("a page"), ..Default::default() };
        app.read(|tx| streams::list(tx, &filter).map_err(HubError::from)).expect("a list");
        app
    };
    (first..first + apps).map(read).collect()
}

fn wait_until_closed(hub: &Hub) {
    let start = Instant::now();
    while hub.cache_stats().open > 0 {
        assert!(start.elapsed() < 10 * IDLE, "idle apps are not closed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// In the child: what as many plain connections cost.
fn plain(dir: &Path) -> Value {
    let data = dir.join("data/apps");
    let open = |number: usize| -> Connection {
        let db = support::plain(&data.join(support::app_id(number).as_str()).join("app.db"));
        for sql in
            ["SELECT * FROM streams WHERE stream_id = 'live/stream-000007'", "SELECT * FROM streams LIMIT 20"]
        {
            let mut statement = db.prepare_cached(sql).expect("a statement");
            let mut rows = statement.query([]).expect("rows");
            while rows.next().expect("a row").is_some() {}
        }
        db
    };
    drop(open(0));
    let before = (child::private_memory(), child::descriptors());
    let connections: Vec<Connection> = (1..=APPS).map(open).collect();
    let (memory, descriptors) = (child::private_memory() - before.0, child::descriptors() - before.1);
    drop(connections);
    json!({ "memory": memory / APPS as f64, "descriptors": descriptors as f64 / APPS as f64 })
}
