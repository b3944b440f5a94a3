//! What the older system gets wrong, by the name of each defect: here it must not happen.

mod served;

use std::fs;
use std::process::Command;
use std::thread;

use rusqlite::Connection;
use streamhub_tests::books::{APP_ID, app_db, meta, number, unsound};
use streamhub_tests::command::Streamhub;
use streamhub_tests::disk::Disk;
use streamhub_tests::faults::{Faults, Mode};
use streamhub_tests::files::tree_changes;
use streamhub_tests::fingerprint::{control_path, control_rows};
use streamhub_tests::legacy::{App, Table, Tree, stream, vod};
use streamhub_tests::readonly;
use streamhub_tests::skip::need;

use crate::powercut::acknowledged_rows;
use crate::split::{Place, reasons, rows_of, sql, tally};

#[test]
fn d1_a_failed_app_is_not_marked_done_and_is_tried_again() {
    let place = Place::of(&Tree::small().done_marker());
    let vods_db = place.app("demo", "vods.db");
    let whole = fs::read(&vods_db).expect("its rows");
    fs::write(&vods_db, "not a database").expect("damage");
    for _ in 0..2 {
        let report = place.migrate(70);
        assert_eq!(report.failure("demo"), "not-a-database");
        assert_eq!(meta(&control_path(place.dir()), "per_app_split_done"), None, "marked done all the same");
        assert!(!app_db(place.dir(), "demo").exists());
    }
    let states = "SELECT name, split_state FROM apps ORDER BY name";
    assert_eq!(rows_of(&control_path(place.dir()), states), ["'demo' 'pending'", "'live' 'done'"]);

    fs::write(&vods_db, whole).expect("the file is mended");
    let report = place.migrate(0);
    place.demand_counts(&report, "demo");
    place.demand_finished();
    assert_eq!(meta(&control_path(place.dir()), "per_app_split_done").as_deref(), Some("1"));
}

#[test]
fn d2_rows_that_a_constraint_refuses_are_held_and_told() {
    let place = Place::of(&Tree::new().app("demo", |a| {
        a.vods_db(|v| {
            v.lax()
                .stream("good")
                .row(stream("check").set("type", "srt"))
                .row(stream("null").null("status"))
                .row(vod("v").null("name"))
        })
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.total("demo"), tally([4, 1, 0, 0, 3, 0]));
    let reasons = reasons(&place, "demo");
    for (reason, words) in
        reasons.iter().zip(["CHECK constraint", "NOT NULL constraint", "NOT NULL constraint"])
    {
        assert!(reason.contains(words), "{reasons:?}");
    }
    let held =
        rows_of(&app_db(place.dir(), "demo"), "SELECT row_json FROM _streamhub_unimported ORDER BY id");
    assert!(
        held[0].contains(r#""stream_id":{"text":"check"}"#) && held[0].contains(r#""type":{"text":"srt"}"#),
        "{held:?}"
    );
}

#[test]
fn d3_rows_that_come_late_get_other_ids_and_none_is_lost() {
    let rows = |prefix: &'static str| (1..=10).map(move |n| vod(&format!("{prefix}-{n}.mp4")).id(n));
    let place = Place::of(
        &Tree::new().app("demo", |a| a.vods_db(|v| v.rows(rows("old"))).app_db(|d| d.rows(rows("new")))),
    );
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.tally("demo", Table::Vods), tally([10, 10, 0, 0, 0, 0]));
    let own = app_db(place.dir(), "demo");
    assert_eq!(rows_of(&own, "SELECT count(*), count(DISTINCT id) FROM vods"), ["20 20"]);
    assert_eq!(rows_of(&own, "SELECT count(*) FROM vods WHERE id <= 10 AND name LIKE 'new-%'"), ["10"]);
}

#[test]
fn d4_a_missing_directory_is_an_error_and_no_empty_database() {
    let place = Place::of(&Tree::small().app("unmounted", |a| a.global_streams(["u1"])));
    let report = place.migrate(70);
    assert_eq!(report.failure("unmounted"), "no-directory");
    assert!(report.app("unmounted")["error"]["wayOut"].as_str().is_some_and(|way| way.contains("mounted")));
    assert!(!place.dir().join("apps/unmounted").exists());

    // Taken over, then not mounted: the pointer knows that there was a database.
    fs::rename(place.dir().join("apps/demo"), place.dir().join("elsewhere")).expect("unmounted");
    sql(&control_path(place.dir()), "UPDATE apps SET split_state = 'pending' WHERE name = 'demo'");
    assert_eq!(place.migrate(70).failure("demo"), "no-directory");
    fs::create_dir(place.dir().join("apps/demo")).expect("an empty mount point");
    assert_eq!(place.migrate(70).failure("demo"), "missing-database");
    assert!(!app_db(place.dir(), "demo").exists());
}

#[test]
fn d5_where_the_backup_fails_nothing_happens() {
    let place = Place::of(&Tree::small());
    let before = place.digest();
    let unchanged = |what: &str| {
        assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "{what}");
    };
    let Some(faults) = need("defects::d5", Faults::on(".bak-")) else { return };
    let points = {
        let copy = Place::of(&Tree::small());
        faults.count(&mut Streamhub::new(copy.dir()).command(["migrate"])).points.len()
    };
    assert!(points > 5, "{points} points");
    for at in 1..=points {
        let run = faults.run_from(&mut Streamhub::new(place.dir()).command(["migrate"]), at, Mode::Enospc);
        // What gives room back is done even on a full disk.
        if !run.injected {
            assert!(run.ended.success(), "{}: {}", run.at(at), run.ended.describe());
            break;
        }
        assert_eq!(run.ended.code, Some(1), "{}: {}", run.at(at), run.ended.describe());
        assert!(run.ended.stderr.contains("nothing was changed"), "{}", run.ended.describe());
        unchanged(&run.at(at));
    }

    // A directory in which nothing can be made.
    let place = Place::of(&Tree::small());
    let before = place.digest();
    let data = place.dir().join("data");
    let flag = |flag: &str| match Command::new("chattr").arg(flag).arg(&data).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let Some(()) = need("defects::d5_immutable", flag("+i")) else { return };
    let output = place.run(&["migrate"]);
    flag("-i").expect("writable again");
    let output = output.expect(1);
    assert!(
        output.stderr().contains(".bak-") && output.stderr().contains("nothing was changed"),
        "{}",
        output.stderr()
    );
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);
    place.taken_over();
}

#[test]
fn d6_the_backup_survives_a_power_cut_before_anything_is_touched() {
    let Some(disk) = need("defects::d6", Disk::make(64)) else { return };
    let dir = disk.path().join("data");
    let control = Tree::small().build(&dir);
    let before = control_rows(&control);
    let synced = Command::new("sync").arg("-f").arg(disk.path()).status();
    assert!(synced.is_ok_and(|status| status.success()));
    let Some(faults) = need("defects::d6", Faults::on(&dir)) else { return };
    // The first operation on the control database itself comes when the backup counts as made.
    let wal = "streamhub.db-wal";
    let faults_on_wal = Faults::on(wal).expect("compiled");
    let run = faults_on_wal.run(&mut Streamhub::new(&dir).command(["migrate"]), 1, Mode::Kill);
    assert!(run.ended.killed(), "{}", run.ended.describe());
    disk.cut();
    disk.back();
    let backups: Vec<_> = fs::read_dir(control.parent().expect("data"))
        .expect("data")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains(".bak-"))
        .collect();
    assert_eq!(backups.len(), 1, "{backups:?}");
    assert_eq!(unsound(&backups[0]), [""; 0]);
    assert_eq!(control_rows(&backups[0]), before);
    assert_eq!(control_rows(&control), before);
    drop(faults);
}

#[test]
fn d7_fifty_acknowledged_commits_are_fifty_after_a_power_cut() {
    let Some(disk) = need("defects::d7", Disk::make(64)) else { return };
    let (acknowledged, path) = acknowledged_rows(&disk, 50);
    assert_eq!(acknowledged, 50);
    assert_eq!(rows_of(&path, "SELECT count(*) FROM log"), ["50"]);
}

#[test]
fn d9_newer_and_foreign_databases_are_refused_untouched() {
    let place = Place::of(
        &Tree::small()
            .app("newer", |a| a.app_db(|d| d.stream("n1").sql("PRAGMA user_version = 99")))
            .app("foreign", |a| a.dir().global_streams(["f1"])),
    );
    sql(&app_db(place.dir(), "newer"), "PRAGMA user_version = 99");
    sql(
        &app_db(place.dir(), "foreign"),
        "CREATE TABLE invoices (id INTEGER PRIMARY KEY); INSERT INTO invoices VALUES (1)",
    );
    let before = place.digest();
    let report = place.migrate(70);
    assert_eq!(report.failure("newer"), "too-new");
    assert_eq!(report.failure("foreign"), "foreign-database");
    for app in ["newer", "foreign"] {
        let changed = tree_changes(&before, &place.digest());
        assert!(!changed.iter().any(|change| change.contains(&format!("apps/{app}"))), "{changed:?}");
        assert_ne!(number(&readonly::open(&app_db(place.dir(), app)), "application_id"), APP_ID);
    }
    assert_eq!(report.outcome("demo"), "built");

    let place = Place::of(&Tree::small());
    sql(&control_path(place.dir()), "PRAGMA user_version = 99");
    let before = place.digest();
    let output = place.run(&["migrate"]).expect(78);
    assert!(output.stderr().contains("99") && output.stderr().contains("way out"), "{}", output.stderr());
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);
}

#[test]
fn d14_of_several_at_once_one_works_and_the_others_say_who_it_is() {
    for _ in 0..5 {
        let place = Place::of(&Tree::small());
        let outputs: Vec<_> = thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| place.run(&["migrate"]))).collect();
            runs.into_iter().map(|run| run.join().expect("a run")).collect()
        });
        for output in &outputs {
            match output.code() {
                Some(0) => {}
                Some(75) => assert!(output.stderr().contains("pid "), "{}", output.stderr()),
                _ => panic!("{}", output.ended.describe()),
            }
        }
        assert!(outputs.iter().any(|output| output.code() == Some(0)));
        place.demand_finished();
        let backups = fs::read_dir(place.dir().join("data")).expect("data");
        let backups = backups
            .filter(|entry| entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().contains(".bak-")));
        assert_eq!(backups.count(), 1, "adopted more than once");
    }
}

#[test]
fn d14_an_error_is_not_swallowed() {
    // Rows that the registry's own new shape cannot hold: an error, and no registry without them.
    let nodes =
        "DROP TABLE nodes; CREATE TABLE nodes (id TEXT, status TEXT); INSERT INTO nodes VALUES ('n', NULL)";
    let place = Place::of(&Tree::new().sql(nodes).app("demo", App::dir));
    let before = place.digest();
    let output = place.run(&["migrate"]).expect(78);
    assert!(
        output.stderr().contains("nodes") && output.stderr().contains("does not fit"),
        "{}",
        output.stderr()
    );
    let changed = tree_changes(&before, &place.digest());
    assert!(changed.iter().all(|change| change.contains(".bak-")), "{changed:?}");
    let db = Connection::open(control_path(place.dir())).expect("the registry");
    assert_eq!(number(&db, "user_version"), 8);
}
