//! Trouble that passes, and what is done then.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use streamhub_control::attention;
use streamhub_engine::durable;

use super::*;

/// A hub with an app that had a live stream, and whose directory was away at the start and is back.
fn back_after_the_start(site: &Site, idle: Duration) -> Hub {
    let mut config = site.config("a");
    let hub = site.hub("a");
    created(&hub, "news-24");
    // Where all were away, the disk would be missed.
    created(&hub, "third-one");
    hub.app(&id("news-24")).unwrap().start_stream(stream("live")).unwrap();
    hub.close().unwrap();
    let place = site.path("a/apps/news-24");
    durable::rename_new(&place, &site.path("away")).unwrap();
    config.idle = idle;
    let hub = Hub::open(&config, &Silent).unwrap();
    while !matches!(hub.app_state(&id("news-24")), AppState::Quarantined { .. }) {
        thread::sleep(Duration::from_millis(1));
    }
    durable::rename_new(&site.path("away"), &place).unwrap();
    hub
}

/// It may be set aside for some seconds first.
fn is_attended_to(hub: &Hub) {
    let (asking, began) = (|| hub.read(attention::list).unwrap().len(), Instant::now());
    while asking() > 0 && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(hub.read(attention::list).unwrap(), []);
}

#[test]
fn an_app_whose_disk_comes_back_after_the_start_is_attended_to() {
    let site = Site::new();
    let hub = back_after_the_start(&site, Duration::from_millis(20));
    is_attended_to(&hub);
    hub.close().unwrap();
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_of_before_live() {
    const LATER: &str = "'2999-01-01T00:00:00.000Z'";
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    for name in ["gone", "comes-back"] {
        lease.start_stream(stream(name)).unwrap();
    }
    hub.write(|db| db.execute(&format!("UPDATE _streamhub_attention SET since = {LATER}"), [])).unwrap();
    let later = |tx: &mut WriteTx<'_>| {
        tx.execute(&format!("UPDATE streams SET started_at = {LATER}"), []).map_err(StoreError::from)?;
        Ok::<_, HubError>(())
    };
    lease.write(later).unwrap();
    drop(lease);
    hub.close().unwrap();

    let hub = site.hub("a");
    let lease = hub.app(&id("news-24")).unwrap();
    lease.start_stream(stream("comes-back")).unwrap();
    hub.attend().unwrap();
    let live = |name: &'static str| lease.read(|tx| Ok::<_, HubError>(streams::by_id(tx, name)?)).unwrap();
    assert_eq!(live("gone").unwrap().status, streams::Status::Ended);
    assert_eq!(live("comes-back").unwrap().status, streams::Status::Active);
    let asked = hub.read(attention::list).unwrap();
    let asked: Vec<_> = asked.iter().map(|row| (&*row.kind, &*row.reference)).collect();
    assert!(matches!(asked[..], [("outbox", _), ("stream", "comes-back")]), "{asked:?}");
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn where_the_control_database_is_busy_a_first_write_is_to_be_tried_again() {
    let site = Site::new();
    let mut config = site.config("a");
    config.limits.stuck_after = Duration::from_millis(20);
    let hub = Hub::open(&config, &Silent).unwrap();
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    let write = || lease.write(|_| Ok::<_, HubError>(()));
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let occupied = thread::spawn({
        let hub = hub.clone();
        move || {
            hub.write(move |_| {
                let _ = (begun.send(()), wait.recv());
                Ok(())
            })
        }
    });
    has_begun.recv().unwrap();
    thread::sleep(config.limits.stuck_after * 3);
    let refused = write().unwrap_err();
    go.send(()).unwrap();
    occupied.join().unwrap().unwrap();
    assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("streamhub.db"), "{refused}");
    write().unwrap();
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn a_deletion_that_cannot_be_finished_is_taken_up_again() {
    for asks_again in [false, true] {
        let site = Site::new();
        let mut config = site.config("a");
        config.idle = Duration::from_millis(20);
        let hub = Hub::open(&config, &Silent).unwrap();
        created(&hub, "news-24");
        let trash = site.path("a/apps/.trash");
        durable::write(&trash, b"in the way").unwrap();
        for _ in 0..2 {
            let error = hub.delete(&id("news-24")).unwrap_err();
            assert!(matches!(error, HubError::Unfinished { .. }) && error.kind() == Kind::Unknown, "{error}");
        }
        durable::remove_file(&trash).unwrap();
        if asks_again {
            // Upkeep may have been faster.
            let again = hub.delete(&id("news-24"));
            assert!(matches!(again, Ok(_) | Err(HubError::UnknownApp { .. })), "{again:?}");
        }
        while hub.deleted_apps().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(hub.undelete(&id("news-24")).unwrap().name, "news-24");
        hub.close().unwrap();
    }
}

#[test]
fn what_an_app_needs_is_done_under_its_next_name_too() {
    let site = Site::new();
    let hub = back_after_the_start(&site, Duration::from_millis(300));
    hub.rename(&id("news-24"), &id("other-one")).unwrap();
    is_attended_to(&hub);
    hub.close().unwrap();
}

#[test]
fn a_database_that_is_damaged_is_not_sealed() {
    let site = Site::new();
    let hub = site.hub("a");
    let app = created(&hub, "news-24").id;
    let dir = site.path("a/apps/news-24");
    let read = || durable::read_capped(&dir.join("app.db"), 1 << 30).unwrap();
    let rowless = read().len() / 4096;
    let lease = hub.app(&id("news-24")).unwrap();
    let fill = move |tx: &mut WriteTx<'_>| {
        for at in 0..500 {
            vods::create(tx, &NewVod { app_id: app, ..NewVod::named(format!("{at}.mp4")) })?;
        }
        Ok::<_, HubError>(())
    };
    lease.write(fill).unwrap();
    drop(lease);
    hub.close().unwrap();
    let mut bytes = read();
    for page in rowless..bytes.len() / 4096 {
        bytes[page * 4096..][..64].fill(0xff);
    }
    durable::write(&dir.join("app.db"), &bytes).unwrap();
    durable::remove_file(&dir.join("app.seal")).unwrap();

    let hub = site.hub("a");
    let lease = hub.app(&id("news-24")).unwrap();
    let list = lease.read(|tx| vods::list(tx, &vods::VodFilter::default()).map_err(HubError::from));
    assert!(list.is_err(), "{list:?}");
    drop(lease);
    assert!(hub.seal(&id("news-24")).is_err());
    hub.close().unwrap();
    assert!(!durable::exists(&dir.join("app.seal")).unwrap(), "a stop has sealed it");
}

#[test]
fn streams_that_began_in_the_future_end_where_they_cannot_go_on() {
    let site = Site::new();
    let (hub, there) = (site.hub("a"), site.hub("b"));
    created(&hub, "news-24");
    let ahead = |tx: &mut WriteTx<'_>| {
        let sql = "UPDATE streams SET started_at = '2999-01-01T00:00:00.000Z'";
        tx.execute(sql, []).map_err(StoreError::from)?;
        Ok::<_, HubError>(())
    };
    let begin = || {
        let lease = hub.app(&id("news-24")).unwrap();
        lease.start_stream(stream("live")).unwrap();
        lease.write(ahead).unwrap();
        lease
    };
    let active = |hub: &Hub| {
        let lease = hub.app(&id("news-24")).unwrap();
        lease.read(|tx| streams::count_active(tx).map_err(HubError::from)).unwrap()
    };
    assert_eq!(begin().reconcile_streams(Vec::new()).unwrap(), ["live"]);
    drop(begin());
    hub.delete(&id("news-24")).unwrap();
    hub.undelete(&id("news-24")).unwrap();
    assert_eq!(active(&hub), 0);
    drop(begin());
    hub.seal(&id("news-24")).unwrap();
    there.adopt(&site.path("a/apps/news-24"), &Adoption::default()).unwrap();
    assert_eq!(active(&there), 0);
    there.close().unwrap();
    hub.close().unwrap();
}

#[test]
fn a_write_whose_caller_goes_away_is_followed_up() {
    let site = Site::new();
    let mut config = site.config("a");
    config.idle = Duration::from_hours(1);
    let hub = Hub::open(&config, &Silent).unwrap();
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    let folder = site.path("a/apps/news-24/recordings");
    durable::create_new_dir(&folder).unwrap();
    durable::write_new_in(&folder, "x.mp4", b"film").unwrap();
    let local_path = Some("recordings/x.mp4".to_owned());
    let vod = lease.create_vod(NewVod { local_path, ..NewVod::named("x") }).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut deletion = Box::pin(lease.delete_vod_async(vod.id));
        std::future::poll_fn(|context| {
            let _ = deletion.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    });
    let began = Instant::now();
    while folder.join("x.mp4").exists() && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!folder.join("x.mp4").exists(), "nobody removed the file");
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn one_app_that_cannot_be_removed_does_not_keep_others_in_the_trash() {
    let site = Site::new();
    let mut config = site.config("a");
    config.keep.trash = Duration::ZERO;
    let hub = Hub::open(&config, &Silent).unwrap();
    for name in ["news-24", "other-one"] {
        created(&hub, name);
        hub.delete(&id(name)).unwrap();
    }
    let trashed = hub.deleted_apps().unwrap();
    let obstacle = site.path("a/apps/.staging").join(&trashed[0].trash_name);
    durable::write(&obstacle, b"").unwrap();
    hub.prune().unwrap();
    assert_eq!(hub.deleted_apps().unwrap(), trashed[..1]);
    durable::remove_file(&obstacle).unwrap();
    hub.prune().unwrap();
    assert!(hub.deleted_apps().unwrap().is_empty());
    hub.close().unwrap();
}

#[test]
fn a_look_at_every_page_takes_as_long_as_it_takes_and_holds_up_nobody() {
    const ROWS: u64 = 5_000;
    let site = Site::new();
    let mut config = site.config("a");
    config.limits.connections = 1;
    let hub = Hub::open(&config, &Silent).unwrap();
    let app = created(&hub, "news-24").id;
    let lease = hub.app(&id("news-24")).unwrap();
    let fill = move |tx: &mut WriteTx<'_>| {
        for at in 0..ROWS {
            vods::create(tx, &NewVod { app_id: app, ..NewVod::named(format!("{at}.mp4")) })?;
        }
        Ok::<_, HubError>(())
    };
    lease.write(fill).unwrap();
    drop(lease);
    hub.close().unwrap();

    config.limits.read_time = Duration::from_millis(1);
    let hub = Hub::open(&config, &Silent).unwrap();
    let lease = hub.app(&id("news-24")).unwrap();
    let health = || hub.health(&id("news-24")).unwrap();
    for health in [health(), lease.read(|_| Ok::<_, HubError>(health())).unwrap()] {
        assert_eq!(health.tables.iter().find(|table| table.name == "vods").unwrap().rows, ROWS);
    }
    drop(lease);
    hub.close().unwrap();
}
