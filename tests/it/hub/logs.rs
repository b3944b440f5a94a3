//! The log of a hub on a disk that is full: nobody who logs waits, nothing goes round in circles, nothing is
//! missing afterwards without being told of.

use std::thread;
use std::time::{Duration, Instant};

use streamhub::logs::Filter;
use streamhub::progress::Silent;
use streamhub::{Hub, HubConfig, LogSink};
use streamhub_tests::disk::Disk;
use streamhub_tests::skip::need;
use tracing::subscriber::set_default;
use tracing_subscriber::layer::SubscriberExt as _;

use super::{Site, created, id, start, streams_of};

#[test]
fn on_a_disk_that_is_full_the_log_waits_and_nobody_else_does() {
    let Some(disk) = need("hub::logs::full_disk", Disk::make(16)) else { return };
    let sink = LogSink::default();
    let _log = set_default(tracing_subscriber::registry().with(sink.layer()));
    let mut config = Site::new().config("unused");
    config.data_dir = disk.path().join("data");
    config.wait = Duration::from_secs(10);
    config.logs = Some(sink.clone());
    let hub = Hub::open(&config, &Silent).expect("a hub");
    created(&hub, "news-24");
    start(&hub, "news-24", "one").expect("a stream");

    let filler = disk.fill(0);
    let text = "x".repeat(4000);
    let mut sent = 0;
    // More than the `-wal` has room for in its place.
    for _ in 0..1500 {
        tracing::info!(text, "it happened");
        sent += 1;
    }
    thread::sleep(Duration::from_secs(3));
    assert_eq!(streams_of(&hub, "news-24").expect("reads go on"), 1);
    let stuck = hub.log_stats();
    assert!(stuck.written < sent, "the disk was not full: {stuck:?}");
    // What the failures themselves told, if anything, does not grow with the tries.
    assert!(stuck.written + stuck.dropped + stuck.queued < sent + 100, "{stuck:?}");

    drop(filler);
    let began = Instant::now();
    while hub.log_stats().queued > 0 && began.elapsed() < Duration::from_mins(1) {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(hub.log_stats().queued, 0);
    hub.close().expect("closed");
    let stats = sink.stats();

    let hub = Hub::open(&HubConfig { logs: None, ..config }, &Silent).expect("a hub");
    let mine = Filter { q: Some("it happened"), ..Filter::newest(10_000) };
    let found = hub.registry().logs(&mine).expect("the log").entries.len() as u64;
    assert!(found + stats.dropped >= sent, "{found} and {stats:?} of {sent}");
    assert!(hub.app(&id("news-24")).is_ok());
    hub.close().expect("closed");
}
