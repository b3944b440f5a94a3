//! Streams that are live at a media server: what each program that opens the data directory does with them.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use streamhub::progress::Silent;
use streamhub::streams::{Kind, NewStream};
use streamhub::{Hub, HubConfig, Volatile};

use super::Place;

/// An app with a live stream.
fn with_live_stream() -> Place {
    let place = Place::with_app("news-24");
    let mut config = HubConfig::new(&place.dir);
    (config.volatile, config.upkeep) = (Volatile::Permit, false);
    let hub = Hub::open(&config, &Silent).expect("a hub");
    let app = hub.app(&"news-24".parse().expect("a name")).expect("it opens");
    app.start_stream(NewStream::named("live/cam", Kind::Rtmp)).expect("a stream");
    drop(app);
    hub.close().expect("closed");
    place
}

fn live(place: &Place) -> u64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(place.path("apps/news-24/app.db"), flags).expect("the database");
    db.query_row("SELECT count(*) FROM streams WHERE status = 'active'", [], |row| row.get(0))
        .expect("a count")
}

#[test]
fn an_errand_leaves_them_live() {
    let place = with_live_stream();
    for errand in [
        &["app", "health", "news-24"][..],
        &["app", "optimize", "news-24"],
        &["app", "check", "news-24"],
        &["app", "checkpoint", "news-24"],
        &["app", "purge", "news-24", "--confirm"],
        &["app", "seal", "news-24"],
        &["app", "create", "other-one"],
        &["migrate"],
    ] {
        let _ = place.streamhub().run(errand).expect(0);
        assert_eq!(live(&place), 1, "{errand:?}");
    }
}

#[test]
fn a_server_ends_them_unless_it_is_told_that_they_go_on() {
    let place = with_live_stream();
    let server = place.streamhub().env("STREAMHUB_LIVE_STREAMS", "keep").serve();
    server.wait_until_ready();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(live(&place), 1);
    let ended = server.stop();
    assert!(ended.success(), "{}", ended.describe());

    let server = place.streamhub().serve();
    server.wait_until_ready();
    let began = Instant::now();
    while live(&place) > 0 && began.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(live(&place), 0);
    let ended = server.stop();
    assert!(ended.success(), "{}", ended.describe());
}
