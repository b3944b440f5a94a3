//! Sources as they are found in the field: overlapping, half done, oddly made, or not there.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use streamhub_tests::books::{APP_ID, app_db, meta, number};
use streamhub_tests::fingerprint::control_path;
use streamhub_tests::legacy::{Cell, Table, Tree, ingress, stream, vod};
use streamhub_tests::readonly;

use super::{Place, reasons, rows_of, sql, tally};

#[test]
fn equal_rows_count_within_a_source_and_the_larger_count_holds() {
    let place = Place::of(&Tree::new().app("demo", |a| {
        a.vods_db(|v| v.vod("a.mp4").vod("a.mp4").vod("b.mp4"))
            .app_db(|d| d.vod("a.mp4").vod("c.mp4"))
            .global_vods(["a.mp4", "a.mp4", "a.mp4", "b.mp4"])
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.tally("demo", Table::Vods), tally([7, 3, 4, 0, 0, 0]));
    let names = rows_of(&app_db(place.dir(), "demo"), "SELECT name, count(*) FROM vods GROUP BY name");
    assert_eq!(names, ["'a.mp4' 3", "'b.mp4' 1", "'c.mp4' 1"]);
}

#[test]
fn rows_whose_key_is_null_are_told_apart_by_content() {
    let anonymous = |room: &str| ingress("IN_x").null("ingress_id").set("room", room);
    let place = Place::of(&Tree::new().lax().app("demo", |a| {
        a.app_db(|d| d.row(anonymous("c")))
            .globals([anonymous("a"), anonymous("a"), anonymous("b"), anonymous("c")])
            .global(stream("s").null("stream_id"))
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.tally("demo", Table::Ingress), tally([4, 3, 1, 0, 0, 0]));
    assert_eq!(report.tally("demo", Table::Streams), tally([1, 0, 0, 0, 1, 0]));
    assert!(reasons(&place, "demo")[0].contains("NOT NULL"), "{:?}", reasons(&place, "demo"));
}

#[test]
fn values_of_every_kind_survive() {
    let odd = |row: streamhub_tests::legacy::Row| {
        row.set("room", Cell::Text(b"nul\0inside".to_vec())).set("started_at", Cell::Text(vec![0xff, 0xfe]))
    };
    let blob =
        vod("blob.mp4").set("room", Cell::Blob(vec![0, 255])).set("size_bytes", "much").set("width", 0.5);
    let place = Place::of(&Tree::new().lax().app("demo", |a| {
        a.vods_db(|v| {
            v.row(odd(stream("s1"))).row(odd(vod("a.mp4"))).row(blob.clone()).stream("\u{202e}größe/参加者")
        })
        .globals([odd(stream("s1")), odd(vod("a.mp4")), blob.clone().set("duration_s", 1e300)])
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.total("demo"), tally([7, 5, 2, 0, 0, 0]));
}

#[test]
fn ids_at_the_edges_are_kept() {
    let place = Place::of(&Tree::new().app("demo", |a| {
        a.vods_db(|v| v.row(vod("first.mp4").id(-3)).row(vod("zero.mp4").id(0)).row(vod("five.mp4").id(5)))
            .global(vod("other.mp4").id(5))
            .global(vod("minus.mp4").id(-3))
            .global(vod("new.mp4").id(4))
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    let ids = rows_of(&app_db(place.dir(), "demo"), "SELECT id, name FROM vods ORDER BY name");
    let expected =
        ["-3 'first.mp4'", "5 'five.mp4'", "6 'minus.mp4'", "4 'new.mp4'", "7 'other.mp4'", "0 'zero.mp4'"];
    assert_eq!(ids, expected);
}

#[test]
fn among_many_rows_each_that_is_refused_is_held_and_no_other() {
    const ROWS: i64 = 300;
    let bad = |n: i64| [0, 1, 31, 32, 63, 130, 299].contains(&n);
    let second = |n: i64| [33, 70, 255, 256].contains(&n);
    let row = |n: i64| match (bad(n), second(n)) {
        (true, _) => stream(&format!("s{n}")).set("status", "strange"),
        (_, true) => stream("s3").set("room", n),
        _ => stream(&format!("s{n}")),
    };
    let place = Place::of(&Tree::new().lax().app("demo", |a| {
        (0..ROWS).fold(a.dir(), |a, n| a.global(row(n).id(n)).global(vod(&format!("{n}.mp4"))))
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.tally("demo", Table::Streams), tally([300, 289, 0, 4, 7, 0]));
    assert_eq!(report.tally("demo", Table::Vods), tally([300, 300, 0, 0, 0, 0]));
    let good = "SELECT count(*) FROM streams WHERE stream_id = 's' || id AND status <> 'strange'";
    assert_eq!(rows_of(&app_db(place.dir(), "demo"), good), ["289"]);
}

#[test]
fn where_no_id_is_left_the_row_is_held() {
    let place = Place::of(&Tree::new().app("demo", |a| {
        a.vods_db(|v| v.row(vod("last.mp4").id(i64::MAX)).row(vod("one.mp4").id(1)))
            .global(vod("other.mp4").id(1))
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.tally("demo", Table::Vods), tally([3, 2, 0, 0, 1, 0]));
}

/// A `vods.db` with tables as nobody expects them.
fn strange_vods_db(path: &Path, before: &str, streams: &str, vods: &str) {
    let db = Connection::open(path).expect("a vods.db");
    db.execute_batch(&format!("{before}; {streams}; {vods}; PRAGMA user_version = 2")).expect("its tables");
    db.close().map_err(|(_, e)| e).expect("closing it");
}

#[test]
fn tables_of_other_shapes_are_read_all_the_same() {
    let place = Place::made(|dir| {
        Tree::new().app("demo", |a| a.dir().global_streams(["s1"])).build(dir);
        strange_vods_db(
            &dir.join("apps/demo/vods.db"),
            "PRAGMA encoding = 'UTF-16le'; PRAGMA page_size = 512",
            // Columns in another order and another spelling, without rowids, one that nobody knows, two missing.
            "CREATE TABLE Streams (started_at TEXT, Status TEXT, type VARCHAR(9), stream_id TEXT PRIMARY KEY, app_id INT,
               id INT, rowid TEXT, color TEXT DEFAULT 'red', room CLOB) WITHOUT ROWID;
             INSERT INTO Streams VALUES ('2026-01-01', 'ended', 'rtmp', 'größe', 1, 7, 'x', 'blue', NULL),
               ('2026-01-02', 'ended', 'rtmp', 'z', 1, NULL, NULL, NULL, 'lobby')",
            // Types that store the same value in another way.
            "CREATE TABLE vods (id INTEGER PRIMARY KEY, app_id INTEGER, name TEXT, status TEXT, size_bytes TEXT,
               duration_s INTEGER, width, started_at DATETIME, oid INTEGER);
             INSERT INTO vods VALUES (1, 1, 'a.mp4', 'ready', '42', 5, 1920, '2026-01-01 00:00:00', 3)",
        );
    });
    let report = place.migrate(0);
    assert_eq!(report.total("demo"), tally([4, 4, 0, 0, 0, 0]));
    let own = app_db(place.dir(), "demo");
    let streams = rows_of(
        &own,
        "SELECT stream_id, color, room, \"rowid\", participant FROM streams ORDER BY stream_id",
    );
    assert_eq!(
        streams,
        ["'größe' 'blue' NULL 'x' NULL", "'s1' NULL 'lobby' NULL 'p1'", "'z' NULL 'lobby' NULL NULL"]
    );
    let vods = rows_of(&own, "SELECT name, size_bytes, duration_s, width, \"oid\" FROM vods");
    assert_eq!(vods, ["'a.mp4' 42 5.0 1920 3"]);
    // What was brought in is recognised: with nothing new a clean-up may remove the file.
    let report = place.migrate_with(&["--cleanup"], 0);
    assert_eq!(report.0["cleanup"]["kept"], serde_json::json!([]));
    assert!(!place.app("demo", "vods.db").exists());
}

#[test]
fn an_older_app_db_of_another_shape_is_adopted() {
    let place = Place::made(|dir| {
        Tree::new().app("demo", |a| a.dir().global_streams(["s2"]).global_vods(["b.mp4"])).build(dir);
        strange_vods_db(
            &dir.join("apps/demo/app.db"),
            "PRAGMA encoding = 'UTF-16be'; PRAGMA page_size = 65536",
            "CREATE TABLE streams (stream_id TEXT PRIMARY KEY, app_id INTEGER, id INTEGER, type TEXT, status TEXT,
               started_at TEXT, color TEXT) WITHOUT ROWID;
             INSERT INTO streams VALUES ('s1', 1, 10, 'rtmp', 'ended', '2026', 'größe')",
            "CREATE TABLE vods (id INTEGER PRIMARY KEY, app_id INTEGER, name TEXT, status TEXT, duration_s INTEGER);
             INSERT INTO vods VALUES (3, 1, 'a.mp4', 'ready', 5)",
        );
    });
    let report = place.migrate(0);
    assert_eq!(report.outcome("demo"), "adopted");
    assert_eq!(report.total("demo"), tally([2, 2, 0, 0, 0, 0]));
    let own = app_db(place.dir(), "demo");
    assert_eq!(rows_of(&own, "SELECT id, stream_id, color FROM streams"), ["1 's2' NULL", "10 's1' 'größe'"]);
    assert_eq!(rows_of(&own, "SELECT id, name, duration_s FROM vods"), ["1 'b.mp4' 667.04", "3 'a.mp4' 5.0"]);
}

#[test]
fn a_half_done_run_of_the_older_system_is_finished() {
    let tree = Tree::new().done_marker().app("demo", |a| {
        a.vods_db(|v| v.stream("s1").stream("s2").vod("a.mp4").vod("b.mp4"))
            .app_db(|d| d.in_wal().stream("s1").row(vod("later.mp4").id(1)))
            .ingress(["IN_1"])
    });
    let place = Place::of(&tree);
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.total("demo"), tally([5, 4, 1, 0, 0, 0]));
    let control = control_path(place.dir());
    assert_eq!(meta(&control, "per_app_split_done").as_deref(), Some("1"));
    assert_eq!(meta(&control, "legacy_per_app_split_done").as_deref(), Some("1"));
    assert!(meta(&control, "legacy_per_app_split_backup").is_some_and(|path| path.starts_with("/srv/")));
}

#[test]
fn one_marker_speaks_for_its_own_tables_only() {
    let place = Place::of(&Tree::new().app("demo", |a| {
        a.vods_db(|v| v.stream("s1").stream("deleted").vod("a.mp4"))
            .app_db(|d| d.stream("s1").vod("a.mp4").meta("vods_import_done", "1"))
            .ingress(["IN_1"])
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.tally("demo", Table::Streams), tally([2, 0, 1, 0, 0, 1]));
    assert_eq!(report.tally("demo", Table::Ingress), tally([1, 1, 0, 0, 0, 0]));
    assert!(report.notes("demo").contains("--recover demo"), "{}", report.0);
}

#[test]
fn a_marker_that_does_not_say_1_says_nothing() {
    let place = Place::of(
        &Tree::new()
            .app("demo", |a| a.vods_db(|v| v.stream("s1")).app_db(|d| d.meta("vods_import_done", "0"))),
    );
    let report = place.taken_over();
    assert_eq!(report.tally("demo", Table::Streams), tally([1, 1, 0, 0, 0, 0]));
}

#[test]
fn commits_that_only_a_wal_has_are_taken_over() {
    let place = Place::of(&Tree::small().in_wal().app("walled", |a| {
        a.vods_db(|v| v.in_wal().stream("w1").stream("w2")).app_db(|d| d.in_wal().stream("w3").stream("w4"))
    }));
    assert!(place.app("walled", "app.db-wal").exists() && place.app("walled", "vods.db-wal").exists());
    let report = place.taken_over();
    place.demand_counts(&report, "walled");
    assert_eq!(rows_of(&app_db(place.dir(), "walled"), "SELECT count(*) FROM streams"), ["4"]);
}

#[test]
fn names_that_are_none_fail_alone_and_lead_nowhere() {
    let tree = Tree::small()
        .sql("INSERT INTO apps (id, name) VALUES (50, '../../outside'), (51, 'Demo'), (52, 'a b'), (53, ''), (54, '.staging')");
    let place = Place::of(&tree);
    fs::create_dir(place.dir().join("apps/Demo")).expect("a directory");
    let report = place.migrate(70);
    for name in ["../../outside", "Demo", "a b", "", ".staging"] {
        assert_eq!(report.failure(name), "bad-name", "{name:?}");
    }
    for app in ["demo", "live"] {
        assert_eq!(report.outcome(app), "built");
        place.demand_counts(&report, app);
    }
    assert!(!place.dir().join("apps/Demo/app.db").exists());
    assert!(!place.dir().parent().expect("a scratch directory").join("outside").exists());
}

#[test]
fn an_app_without_a_directory_waits_for_it() {
    let tree = Tree::small().app("idle", |a| a).app("gone", |a| a.global_streams(["g1"]));
    let place = Place::of(&tree);
    let report = place.migrate(70);
    assert_eq!(report.outcome("idle"), "missing");
    assert_eq!(report.failure("gone"), "no-directory");
    assert!(!place.dir().join("apps/idle").exists() && !place.dir().join("apps/gone").exists());
    assert_eq!(meta(&control_path(place.dir()), "per_app_split_done"), None, "not all are done");

    for app in ["idle", "gone"] {
        fs::create_dir(place.dir().join("apps").join(app)).expect("a directory");
    }
    let report = place.migrate(0);
    assert_eq!(report.apps().count(), 2, "the others are done");
    assert_eq!(report.outcome("idle"), "missing", "an empty directory may be a mount point");
    assert_eq!(report.total("gone"), tally([1, 1, 0, 0, 0, 0]));
    fs::write(place.app("idle", "config.yaml"), "name: idle\n").expect("something in it");
    assert_eq!(place.migrate(0).outcome("idle"), "built");
    place.demand_finished();
    assert_eq!(meta(&control_path(place.dir()), "per_app_split_done").as_deref(), Some("1"));
}

#[test]
fn no_directory_at_all_means_a_lost_disk() {
    let place = Place::of(&Tree::new().app("demo", |a| a).app("live", |a| a.global_streams(["s1"])));
    let before = place.digest();
    let output = place.run(&["migrate"]).expect(78);
    assert!(output.stderr().contains("mounted"), "{}", output.stderr());
    let mut after = place.digest();
    after.remove("streamhub.lock");
    assert_eq!(before, after);
}

#[test]
fn a_pointer_whose_database_is_gone_is_an_error_and_never_a_new_one() {
    let place = Place::of(&Tree::small());
    place.taken_over();
    fs::remove_file(app_db(place.dir(), "demo")).expect("its database");
    // Even if the registry were set back: the sources are still there and must not rise again.
    sql(&control_path(place.dir()), "UPDATE apps SET split_state = 'pending'");
    let report = place.migrate(70);
    assert_eq!(report.failure("demo"), "missing-database");
    assert_eq!(report.outcome("live"), "confirmed");
    assert!(!app_db(place.dir(), "demo").exists());
}

#[test]
fn an_orphaned_wal_of_an_app_db_does_not_shine_through() {
    let place = Place::of(
        &Tree::new().app("demo", |a| a.app_db(|d| d.in_wal().stream("old")).vods_db(|v| v.stream("s1"))),
    );
    fs::remove_file(app_db(place.dir(), "demo")).expect("its database");
    let report = place.migrate(0);
    assert_eq!(report.outcome("demo"), "built");
    assert!(report.notes("demo").contains("trash"), "{}", report.0);
    let own = app_db(place.dir(), "demo");
    assert_eq!(rows_of(&own, "SELECT stream_id FROM streams"), ["'s1'"]);
    assert_eq!(number(&readonly::open(&own), "application_id"), APP_ID);
}

#[test]
fn a_wal_that_lost_its_vods_db_is_spoken_of() {
    let place = Place::of(
        &Tree::new().app("demo", |a| a.vods_db(|v| v.in_wal().stream("s1")).global_streams(["s2"])),
    );
    fs::remove_file(place.app("demo", "vods.db")).expect("its file");
    let report = place.migrate(0);
    assert!(report.notes("demo").contains("vods.db-wal"), "{}", report.0);
    assert!(place.app("demo", "vods.db-wal").exists());
}
