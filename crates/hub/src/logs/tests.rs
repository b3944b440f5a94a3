//! What the way of the log promises: nobody waits, nothing is counted twice, nothing goes round in circles.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tracing::subscriber::{set_default, with_default};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::HubConfig;
use crate::progress::Silent;

const PATIENCE: Duration = Duration::from_secs(30);

fn record(message: impl Into<String>) -> Record {
    Record {
        ts: Moment::now(),
        level: Level::Info,
        source: "test".to_owned(),
        app: None,
        message: message.into(),
        meta_json: None,
    }
}

/// Those that are about others.
fn losses(records: &[Record]) -> Vec<&str> {
    records.iter().filter(|record| record.source == SOURCE).map(|record| &*record.message).collect()
}

fn end(sink: &LogSink) -> LogStats {
    sink.end(Instant::now() + PATIENCE);
    sink.stats()
}

fn config(dir: &tempfile::TempDir) -> HubConfig {
    let mut config = HubConfig::new(dir.path().join("data"));
    config.volatile = crate::Volatile::Permit;
    config.upkeep = false;
    config
}

fn logged(hub: &Hub) -> Vec<Entry> {
    let mut entries = hub.registry().logs(&Filter::newest(10_000)).unwrap().entries;
    entries.reverse();
    entries
}

#[test]
fn many_threads_and_a_slow_writer_lose_nothing_that_is_not_counted() {
    const THREADS: usize = 8;
    const EACH: usize = 12_500;
    let sink = LogSink::default();
    let written = Arc::new(Mutex::new(Vec::new()));
    let slow = {
        let written = Arc::clone(&written);
        move |batch: &Arc<[Record]>| {
            assert!(batch.len() <= BATCH + 1);
            thread::sleep(Duration::from_millis(1));
            written.lock().unwrap().extend(batch.iter().cloned());
            Ok(())
        }
    };
    sink.start_with(slow).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let sink = &sink;
            scope.spawn(move || (0..EACH).for_each(|at| sink.push(record(format!("{thread} {at}")))));
        }
    });
    let stats = end(&sink);
    assert_eq!(stats.queued, 0);
    assert_eq!(stats.written + stats.dropped, (THREADS * EACH) as u64);
    let written = written.lock().unwrap();
    let told = losses(&written);
    assert_eq!(written.len() - told.len(), usize::try_from(stats.written).unwrap());
    let sum: u64 = told.iter().map(|text| text.split_once(' ').unwrap().0.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, stats.dropped, "{told:?}");
    assert!(stats.dropped > 0, "the writer was not slow enough for the queue's {QUEUED}");
}

#[test]
fn what_does_not_fit_is_dropped_and_told_of_once_it_flows() {
    let sink = LogSink::default();
    for at in 0..QUEUED + 3 {
        sink.push(record(at.to_string()));
    }
    assert_eq!(sink.stats(), LogStats { written: 0, dropped: 3, queued: QUEUED as u64 });
    let (sent, batches) = mpsc::channel();
    sink.start_with(move |batch| {
        sent.send(Arc::clone(batch)).unwrap();
        Ok(())
    })
    .unwrap();
    let first = batches.recv_timeout(PATIENCE).unwrap();
    assert_eq!((first.len(), losses(&first).len()), (BATCH + 1, 1));
    assert!(losses(&first)[0].starts_with("3 records"));
    assert_eq!(end(&sink), LogStats { written: QUEUED as u64, dropped: 3, queued: 0 });
    assert!(batches.try_iter().all(|batch| losses(&batch).is_empty()), "once");
}

#[test]
fn large_records_take_more_of_the_queue() {
    let sink = LogSink::default();
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..10 {
        sink.push(record(&*megabyte));
    }
    sink.push(record("small"));
    let stats = sink.stats();
    assert_eq!((stats.queued, stats.dropped), (8, 3));
}

#[test]
fn what_cannot_be_written_is_tried_again_and_dropped_in_the_end() {
    let sink = LogSink::default();
    let tries = Arc::new(AtomicUsize::new(0));
    let (sent, first) = mpsc::channel();
    let failing = {
        let tries = Arc::clone(&tries);
        move |_: &Arc<[Record]>| {
            tries.fetch_add(1, Ordering::Relaxed);
            let _ = sent.send(());
            Err(Unwritten::Yet(HubError::Closed))
        }
    };
    sink.push(record("one"));
    sink.start_with(failing).unwrap();
    first.recv_timeout(PATIENCE).unwrap();
    for at in 0..100 {
        sink.push(record(at.to_string()));
    }
    assert_eq!(sink.stats(), LogStats { written: 0, dropped: 0, queued: 101 });
    assert_eq!(end(&sink), LogStats { written: 0, dropped: 101, queued: 0 });
    // The second time because the end is near, where that was not known at the first.
    assert!(tries.load(Ordering::Relaxed) <= 2);
    sink.push(record("late"));
    assert_eq!(sink.stats().dropped, 102);
}

#[test]
fn what_is_tried_again_comes_in_its_order_and_with_what_it_tells() {
    let sink = LogSink::default();
    for at in 0..QUEUED + 3 {
        sink.push(record(at.to_string()));
    }
    let (sent, batches) = mpsc::channel();
    let mut tries = 0;
    sink.start_with(move |batch| {
        tries += 1;
        if tries == 1 {
            return Err(Unwritten::Yet(HubError::Closed));
        }
        sent.send(Arc::clone(batch)).unwrap();
        Ok(())
    })
    .unwrap();
    let first = batches.recv_timeout(PATIENCE).unwrap();
    assert_eq!(losses(&first).len(), 1);
    assert_eq!(end(&sink), LogStats { written: QUEUED as u64, dropped: 3, queued: 0 });
    let all: Vec<Record> =
        [first].into_iter().chain(batches.try_iter()).flat_map(|batch| batch.to_vec()).collect();
    let numbers: Vec<usize> = all.iter().filter_map(|record| record.message.parse().ok()).collect();
    assert!(numbers.iter().copied().eq(0..QUEUED));
}

#[test]
fn the_end_waits_no_longer_than_it_may() {
    let sink = LogSink::default();
    let (sent, in_hand) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    sink.start_with(move |_| {
        sent.send(()).unwrap();
        gone.recv().unwrap();
        Ok(())
    })
    .unwrap();
    sink.push(record("in hand"));
    in_hand.recv_timeout(PATIENCE).unwrap();
    sink.push(record("queued"));
    sink.end(Instant::now());
    assert_eq!(sink.stats(), LogStats { written: 0, dropped: 1, queued: 1 });
    assert!(sink.start_with(|_| Ok(())).is_err(), "its writer is still there");
    go.send(()).unwrap();
    let began = Instant::now();
    while sink.stats().queued > 0 && began.elapsed() < PATIENCE {
        thread::yield_now();
    }
    assert_eq!(sink.stats(), LogStats { written: 1, dropped: 1, queued: 0 });
}

#[test]
fn what_is_logged_is_in_the_database_with_its_fields() {
    let dir = tempfile::tempdir().unwrap();
    let sink = LogSink::default();
    let log = tracing_subscriber::registry().with(sink.layer());
    let _log = set_default(log);
    tracing::info!("before the hub is open");
    let config = HubConfig { logs: Some(sink.clone()), ..config(&dir) };
    let hub = Hub::open(&config, &Silent).unwrap();
    hub.create(&crate::NewApp::new("news-24".parse().unwrap(), crate::TenantId::platform())).unwrap();
    let number = hub.registered("news-24").unwrap().id;
    tracing::debug!("nobody wants to know");
    let request = tracing::info_span!("request", request.id = "r-1", app.id = "other-app", status = 0);
    request.record("status", 500);
    request.in_scope(|| {
        tracing::warn!(target: "server", { app.id = %"news-24", duration_ms = 7, fine = false }, "slow: {}", "x");
    });
    tracing::error!(app.id = "gone-away", error = %"it broke", "{}", "y".repeat(10_000));
    hub.close().unwrap();
    let stats = sink.stats();
    assert_eq!((stats.dropped, stats.queued), (0, 0));

    let hub = Hub::open(&HubConfig { logs: None, ..config }, &Silent).unwrap();
    let entries: Vec<Entry> = logged(&hub).into_iter().filter(|entry| !entry.message.is_empty()).collect();
    assert_eq!(entries.len() as u64, stats.written);
    let find = |message: &str| entries.iter().find(|entry| entry.message.starts_with(message)).unwrap();
    assert_eq!(find("before the hub").meta, None);
    assert!(entries.iter().all(|entry| entry.message != "nobody wants to know"));
    let slow = find("slow: x");
    assert_eq!((slow.app_id, slow.level.as_str()), (Some(number), "warn"));
    assert_eq!(slow.source.as_deref(), Some("server"));
    let fields = serde_json::json!({
        "app.id": "news-24", "request.id": "r-1", "duration_ms": 7, "fine": false, "status": 500,
    });
    assert_eq!(slow.meta.as_ref(), Some(&fields));
    let cut = find("yyy");
    assert_eq!((cut.message.len(), cut.app_id), (8 << 10, None));
    assert_eq!(cut.meta.as_ref().unwrap()["error"], "it broke");
    hub.close().unwrap();
}

#[test]
fn fields_are_cut_where_they_are_too_long() {
    let sink = LogSink::default();
    with_default(tracing_subscriber::registry().with(sink.layer()), || {
        tracing::info!(a = "ä".repeat(5000), b = 1, c = "left out", "m");
    });
    let queue = sink.shared.queue();
    let meta: serde_json::Value = serde_json::from_str(queue.records[0].meta_json.as_ref().unwrap()).unwrap();
    let a = meta["a"].as_str().unwrap();
    assert!(a.len() > 8000 && a.len() <= 8192 && a.chars().all(|c| c == 'ä'), "{}", a.len());
    assert_eq!(meta.get("b"), None);
}

#[test]
fn what_happens_while_the_log_is_written_is_not_logged() {
    let sink = LogSink::default();
    let (sent, written) = mpsc::channel();
    let chatty = {
        let subscriber: Arc<dyn tracing::Subscriber + Send + Sync> =
            Arc::new(tracing_subscriber::registry().with(sink.layer()));
        move |batch: &Arc<[Record]>| {
            with_default(Arc::clone(&subscriber), || tracing::error!("a disk is full"));
            sent.send(batch.len()).unwrap();
            Ok(())
        }
    };
    sink.start_with(chatty).unwrap();
    sink.push(record("one"));
    assert_eq!(written.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(end(&sink), LogStats { written: 1, dropped: 0, queued: 0 });
}

#[test]
fn a_hub_that_nobody_closed_ends_its_writer() {
    let dir = tempfile::tempdir().unwrap();
    let sink = LogSink::default();
    let config = HubConfig { logs: Some(sink.clone()), ..config(&dir) };
    drop(Hub::open(&config, &Silent).unwrap());
    let began = Instant::now();
    while sink.shared.queue().has_writer && began.elapsed() < PATIENCE {
        thread::yield_now();
    }
    // The same sink serves the next one.
    let other = tempfile::tempdir().unwrap();
    let hub = Hub::open(&HubConfig { data_dir: other.path().join("data"), ..config }, &Silent).unwrap();
    sink.push(record("again"));
    hub.close().unwrap();
    assert_eq!(hub.log_stats().written, 1);
}
