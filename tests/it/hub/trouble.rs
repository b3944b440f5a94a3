//! Trouble while apps serve: the right error for exactly the callers concerned, and the others never notice.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use streamhub::progress::Silent;
use streamhub::vods::NewVod;
use streamhub::{AppState, Hub, HubError, Kind, LiveError, LiveStreams, StoreError, streams};
use streamhub_split::Older;
use streamhub_tests::disk::Disk;
use streamhub_tests::files::{copy_tree, tree_changes, tree_digest};
use streamhub_tests::live::program;
use streamhub_tests::process;
use streamhub_tests::skip::{need, workspace};

use super::{Site, created, id, start, streams_of};
use crate::split::sql;

fn serves(hub: &Hub, app: &str) {
    let before = streams_of(hub, app).expect("a read");
    start(hub, app, &format!("more-{before}")).expect("a write");
    assert_eq!(streams_of(hub, app).expect("a read"), before + 1);
}

#[test]
fn d4_a_missing_directory_is_an_error_and_no_empty_database() {
    let site = Site::new();
    site.hub_with("a", &["news-24", "other-one"]).close().expect("closed");
    let place = site.path("a/apps/news-24");
    fs::rename(&place, site.path("unmounted")).expect("unmounted");
    let hub = site.hub("a");
    for is_mount_point in [false, true] {
        if is_mount_point {
            fs::create_dir(&place).expect("an empty mount point");
        }
        for error in [
            hub.app(&id("news-24")).map(drop).expect_err("it is not there"),
            hub.seal(&id("news-24")).map(drop).expect_err("it is not there"),
            hub.optimize(&id("news-24"), &Silent).map(drop).expect_err("it is not there"),
            hub.rename(&id("news-24"), &id("renamed")).map(drop).expect_err("it is not there"),
        ] {
            assert!(!error.way_out().is_empty(), "{error}");
        }
        assert!(!place.join("app.db").exists());
        serves(&hub, "other-one");
    }
    hub.close().expect("closed");
    fs::remove_dir(&place).and_then(|()| fs::rename(site.path("unmounted"), &place)).expect("mounted");
    let hub = site.hub("a");
    assert_eq!(streams_of(&hub, "news-24").expect("it is back"), 1);
    hub.close().expect("closed");
}

#[test]
fn d11_an_app_under_a_deleted_ones_name_sees_nothing_of_it() {
    let site = Site::new();
    let hub = site.hub_with("a", &["news-24"]);
    hub.delete(&id("news-24")).expect("deleted");
    created(&hub, "news-24");
    assert_eq!(streams_of(&hub, "news-24").expect("a read"), 0);
    hub.close().expect("closed");
    // Nor where somebody puts the former one's files back in its place.
    let trash = fs::read_dir(site.path("a/apps/.trash")).expect("trash").next().expect("one").expect("one");
    fs::copy(trash.path().join("app.db"), site.path("a/apps/news-24/app.db")).expect("a copy");
    let hub = site.hub("a");
    let error = hub.app(&id("news-24")).map(drop).expect_err("another's").to_string();
    assert!(error.contains("uuid"), "{error}");
    hub.close().expect("closed");
}

#[test]
fn d12_secrets_that_cannot_be_read_are_an_error_and_stay() {
    let site = Site::new();
    let hub = site.hub("a");
    hub.set_secret("FIRST", "hunter2").expect("written");
    let path = site.path("a/secrets.json");
    for broken in ["", "{\"FIRST\": \"hunter2\"", "[]", "{\"FIRST\": 1}"] {
        fs::write(&path, broken).expect("broken");
        for error in [
            hub.set_secret("SECOND", "x").expect_err("unreadable"),
            hub.remove_secret("FIRST").map(drop).expect_err("unreadable"),
            hub.secret("FIRST").map(drop).expect_err("unreadable"),
        ] {
            assert!(error.kind() == Kind::Configuration && !error.to_string().contains("hunter2"), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).expect("still there"), broken);
    }
    hub.close().expect("closed");
    let error = Hub::open(&site.config("a"), &Silent).map(drop).expect_err("unreadable");
    assert_eq!(error.kind(), Kind::Configuration);
    assert_eq!(fs::read_to_string(&path).expect("still there"), "{\"FIRST\": 1}");
}

#[test]
fn d13_a_configuration_is_replaced_and_never_written_in_place() {
    let site = Site::new();
    let hub = site.hub_with("a", &["news-24"]);
    let (path, former) = (site.path("a/apps/news-24/config.yaml"), site.path("former"));
    fs::write(&path, "# by hand\nname: news-24\n")
        .and_then(|()| fs::hard_link(&path, &former))
        .expect("written");
    fs::write(path.with_file_name("config.yaml.0123.part"), "name: ne").expect("a killed write's");
    hub.patch_app_config(&id("news-24"), &json!({"x": 1})).expect("changed");
    assert_eq!(fs::read_to_string(&former).expect("the former file"), "# by hand\nname: news-24\n");
    assert_eq!(fs::read_to_string(&path).expect("the file"), "name: news-24\nx: 1\n");
    assert!(!path.with_file_name("config.yaml.0123.part").exists());
    let error = hub.patch_app_config(&id("news-24"), &json!({"recording": {"enabled": 7}})).map(drop);
    assert_eq!(error.expect_err("it is no good").kind(), Kind::Invalid);
    assert_eq!(fs::read_to_string(&path).expect("the file"), "name: news-24\nx: 1\n");
    hub.close().expect("closed");
}

#[test]
fn a_closure_that_panics_or_commits_fails_alone() {
    let site = Site::new();
    let hub = site.hub_with("a", &["news-24", "other-one"]);
    let app = hub.app(&id("news-24")).expect("it opens");
    let insert = "INSERT INTO streams (app_id, stream_id, type) VALUES (1, 'mine', 'rtmp')";
    let panicked = app.write::<(), HubError, _>(move |tx| {
        tx.execute(insert, []).map_err(StoreError::from)?;
        panic!("on purpose");
    });
    assert!(matches!(panicked, Err(HubError::Live(LiveError::Panicked { .. }))), "{panicked:?}");
    let read = app.read::<(), HubError>(|_| Err(HubError::Closed));
    assert!(matches!(read, Err(HubError::Closed)), "its own error comes back");
    for end in [
        "COMMIT",
        "ROLLBACK",
        "END",
        "SAVEPOINT x",
        "ATTACH ':memory:' AS x",
        "PRAGMA synchronous = OFF",
        "CREATE TABLE mine (x)",
        "UPDATE _streamhub_meta SET value = 'x'",
        "DELETE FROM _streamhub_migrations",
    ] {
        let ended = app.write(move |tx| {
            tx.execute(insert, []).map_err(StoreError::from)?;
            tx.execute(end, []).map_err(StoreError::from)?;
            Ok::<_, HubError>(())
        });
        assert!(ended.is_err(), "{end}");
        let ended: Result<(), HubError> =
            app.read(|tx| tx.query_row(end, [], |_| Ok(())).map_err(|error| StoreError::from(error).into()));
        assert!(ended.is_err(), "{end}");
    }
    let mine = "SELECT count(*) FROM streams WHERE stream_id = 'mine'";
    let mine = app.read(|tx| {
        tx.query_row(mine, [], |row| row.get::<_, i64>(0))
            .map_err(|error| HubError::from(StoreError::from(error)))
    });
    assert_eq!(mine.expect("a read"), 0);
    drop(app);
    serves(&hub, "news-24");
    serves(&hub, "other-one");
    hub.close().expect("closed");
}

#[test]
fn a_write_that_does_not_come_back_holds_up_its_own_app_only() {
    let site = Site::new();
    let mut config = site.config("a");
    (config.limits.wait, config.limits.stuck_after) =
        (Duration::from_millis(200), Duration::from_millis(100));
    let hub = Hub::open(&config, &Silent).expect("a hub");
    for app in ["news-24", "other-one"] {
        created(&hub, app);
        start(&hub, app, app).expect("a stream");
    }
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let stuck = {
        let app = hub.app(&id("news-24")).expect("it opens");
        thread::spawn(move || {
            app.write::<(), HubError, _>(move |_| {
                let _ = begun.send(());
                let _ = wait.recv();
                Ok(())
            })
        })
    };
    has_begun.recv().expect("it is at work");
    // Who comes before it is known to be stuck waits for it.
    while hub.app_state(&id("news-24")) != AppState::Stuck {
        thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..3 {
        let error = start(&hub, "news-24", "late").expect_err("it does not come back");
        assert!(matches!(error, HubError::Busy { .. }) && error.kind() == Kind::Unavailable, "{error}");
        serves(&hub, "other-one");
    }
    assert!(matches!(hub.delete(&id("news-24")), Err(HubError::Busy { .. })));
    go.send(()).expect("it waits");
    stuck.join().expect("no panic").expect("it was only slow");
    serves(&hub, "news-24");
    hub.close().expect("closed");
}

#[test]
fn a_corrupt_app_is_out_of_service_among_others_that_serve() {
    let site = Site::new();
    let hub = site.hub_with("a", &["news-24", "other-one"]);
    let path = site.path("a/apps/news-24/app.db");
    let rows = "INSERT INTO vods (app_id, name, metatags_json) \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
                SELECT 1, 'v' || i, '\"' || hex(zeroblob(500)) || '\"' FROM n";
    // So that the next start has nothing to end, and to write.
    hub.app(&id("news-24")).and_then(|app| app.end_stream("news-24")).expect("ended");
    hub.close().expect("closed");
    sql(&path, rows);
    let mut bytes = fs::read(&path).expect("read");
    let half = bytes.len() / 4096 / 2;
    for page in bytes.chunks_mut(4096).skip(half) {
        page[..64].fill(0xEE);
    }
    fs::write(&path, &bytes).expect("written");
    let hub = site.hub("a");
    let damaged = hub.app(&id("news-24")).and_then(|app| {
        app.read(|tx| {
            tx.query_row("SELECT sum(length(metatags_json)) FROM vods NOT INDEXED", [], |row| {
                row.get::<_, i64>(0)
            })
            .map_err(|error| HubError::from(StoreError::from(error)))
        })
    });
    let error = damaged.expect_err("it is damaged").to_string();
    assert!(error.contains("malformed") || error.contains("damaged"), "{error}");
    for _ in 0..2 {
        let error = start(&hub, "news-24", "late").expect_err("it is set aside");
        assert!(
            matches!(error, HubError::OutOfService { .. }) && error.kind() == Kind::Unavailable,
            "{error:?}"
        );
        assert!(error.to_string().contains("app.db: it is damaged: "), "{error}");
        let state = hub.app_state(&id("news-24"));
        assert!(
            matches!(&state, AppState::Quarantined { reason, .. } if reason.contains("app.db: it is damaged: ")),
            "{state:?}"
        );
        serves(&hub, "other-one");
    }
    assert_eq!(hub.cache_stats().quarantined, 1);
    assert!(fs::read(&path).expect("read") == bytes, "nothing is written to it any more");
    // Damaged or not, it can be deleted, and what is left of it is kept.
    hub.delete(&id("news-24")).expect("deleted");
    let kept = fs::read_dir(site.path("a/apps/.trash")).expect("trash").next().expect("one").expect("one");
    assert!(fs::metadata(kept.path().join("app.db")).is_ok_and(|found| found.len() == bytes.len() as u64));
    serves(&hub, "other-one");
    hub.close().expect("closed");
}

#[test]
fn a_lock_that_another_program_holds_is_named_and_waited_out() {
    let site = Site::new();
    let hub = site.hub_with("a", &["news-24", "other-one"]);
    let path = site.path("a/apps/news-24/app.db");
    // To SQLite another connection is another program.
    let other = rusqlite::Connection::open(&path).expect("another connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("its lock");
    let error = start(&hub, "news-24", "late").expect_err("it is locked");
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    let words = error.to_string();
    assert!(words.contains(&*path.to_string_lossy()) && words.contains("another program"), "{words}");
    serves(&hub, "other-one");
    drop(other);
    serves(&hub, "news-24");
    hub.close().expect("closed");
}

#[test]
fn on_a_disk_that_is_full_writes_fail_reads_go_on_and_then_all_is_well() {
    let Some(disk) = need("hub::trouble::full_disk", Disk::make(16)) else { return };
    let mut config = Site::new().config("unused");
    config.data_dir = disk.path().join("data");
    let hub = Hub::open(&config, &Silent).expect("a hub");
    for app in ["news-24", "other-one"] {
        created(&hub, app);
        start(&hub, app, app).expect("a stream");
    }
    let filler = disk.fill(0);
    let large = |hub: &Hub| {
        hub.app(&id("news-24"))?.write(|tx| {
            let sql = "UPDATE streams SET last_stats_json = hex(zeroblob(400000))";
            tx.execute(sql, []).map_err(StoreError::from)?;
            Ok::<_, HubError>(())
        })
    };
    let error = large(&hub).expect_err("there is no room");
    assert!(matches!(error.kind(), Kind::Failed | Kind::Unknown | Kind::Unavailable), "{error}");
    let made = hub.create(&streamhub::NewApp::new(id("made-one"), streamhub::TenantId::platform()));
    assert!(made.is_err(), "an app of 150 KB on a disk without room");
    for app in ["news-24", "other-one"] {
        assert_eq!(streams_of(&hub, app).expect("reads go on"), 1, "{app}");
    }
    drop(filler);
    large(&hub).expect("there is room again");
    serves(&hub, "news-24");
    serves(&hub, "other-one");
    hub.close().expect("closed");
    let hub = Hub::open(&config, &Silent).expect("a hub");
    if hub.registered("made-one").is_err() {
        created(&hub, "made-one");
    }
    serves(&hub, "made-one");
    hub.close().expect("closed");
}

#[test]
fn a_file_that_cannot_be_removed_keeps_no_other_in_the_outbox() {
    let Some(disk) = need("hub::trouble::immovable_file", Disk::make(32)) else { return };
    let mut config = Site::new().config("unused");
    config.data_dir = disk.path().join("data");
    config.idle = Duration::from_millis(50);
    let hub = Hub::open(&config, &Silent).expect("a hub");
    created(&hub, "news-24");
    let folder = config.data_dir.join("apps/news-24/recordings");
    fs::create_dir(&folder).expect("a folder");
    let files = ["first.mp4", "second.mp4"].map(|name| folder.join(name));
    for file in &files {
        fs::write(file, "film").expect("a file");
    }
    let protect = |how: &str| {
        let done = Command::new("chattr").arg(how).arg(&files[0]).status();
        assert!(done.is_ok_and(|status| status.success()), "chattr {how}");
    };
    protect("+i");
    let lease = hub.app(&id("news-24")).expect("it is there");
    for file in &files {
        let local_path = file.file_name().map(|name| format!("recordings/{}", name.to_string_lossy()));
        let vod = lease.create_vod(NewVod { local_path, ..NewVod::named("x") }).expect("a row");
        lease.delete_vod(vod.id).expect("no row");
    }
    drop(lease);
    let gone_soon = |file: &Path| {
        let began = Instant::now();
        while file.exists() && began.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(5));
        }
        !file.exists()
    };
    assert!(gone_soon(&files[1]) && files[0].exists());
    protect("-i");
    assert!(gone_soon(&files[0]), "it is tried again");
    hub.close().expect("closed");
}

#[test]
fn when_no_file_can_be_opened_any_more_open_apps_serve_and_then_all_do() {
    let site = Site::new();
    site.hub_with("a", &[]).close().expect("closed");
    let dir = site.path("a");
    let told = |verb: &str| {
        let ended = process::run(&mut program("crowd-probe", &[verb, dir.to_str().expect("UTF-8"), "120"]));
        assert!(ended.success(), "{}", ended.describe());
        ended.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    told("make");
    let told = told("starve");
    assert!(told[0].contains("then Unavailable: ") && told[0].contains("Too many open files"), "{told:?}");
    assert_eq!(told[1..], ["all that are open are read", "serves"]);
    // What was refused meanwhile was left as it was.
    let before = tree_digest(&dir.join("apps"));
    site.hub("a").close().expect("closed");
    assert_eq!(tree_changes(&before, &tree_digest(&dir.join("apps"))), [""; 0]);
}

#[test]
fn streams_that_an_older_system_left_as_live_end_unless_they_go_on() {
    for (policy, live) in [(LiveStreams::Keep, 10), (LiveStreams::End, 0)] {
        let site = Site::new();
        copy_tree(&workspace().join("data-example"), &site.path("a"));
        let mut config = site.config("a");
        config.legacy = Some(Arc::new(Older::default()));
        config.live_streams = policy;
        // The take-over keeps the rows as they are, and so does a start that uses no app.
        Hub::open(&config, &Silent).expect("taken over").close().expect("closed");
        let hub = Hub::open(&config, &Silent).expect("a hub");
        let app = hub.app(&id("news-24")).expect("an app");
        start(&hub, "news-24", "mine").expect("a stream of this process");
        let count = || app.read(|tx| Ok::<_, HubError>(streams::count_active(tx)?)).expect("a read");
        let began = Instant::now();
        while count() != live + 1 && began.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(count(), live + 1, "{policy:?}");
        drop(app);
        hub.close().expect("closed");
    }
}
