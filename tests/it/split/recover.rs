//! `migrate --recover`: what a person says may come in all the same.

use std::fs;

use streamhub_tests::books::app_db;
use streamhub_tests::files::tree_changes;
use streamhub_tests::fingerprint::control_path;
use streamhub_tests::legacy::{Table, Tree, stream, vod};

use super::{Place, rows_of, sql, tally};

#[test]
fn rows_of_another_number_fail_the_app_until_a_person_says_otherwise() {
    for own in [true, false] {
        let place = Place::of(&Tree::small().app("reused", |a| {
            let mixed = |d: streamhub_tests::legacy::Database| {
                d.stream("s1").row(stream("s2").of_app(77)).row(vod("a.mp4").of_app(77))
            };
            let a = if own { a.app_db(mixed) } else { a.vods_db(mixed) };
            a.global_streams(["s3"])
        }));
        let before = place.digest();
        let report = place.migrate(70);
        assert_eq!(report.failure("reused"), "foreign-rows");
        assert_eq!(report.outcome("demo"), "built");
        let after = place.digest();
        let touched = |change: &String| change.contains("apps/reused");
        assert!(!tree_changes(&before, &after).iter().any(touched), "own {own}: it was changed");
        let way_out = report.app("reused")["error"]["wayOut"].as_str().expect("a way out").to_owned();
        assert!(way_out.contains("--recover reused"), "{way_out}");

        let dry = place.migrate_with(&["--dry-run", "--recover", "reused"], 0);
        assert_eq!(tree_changes(&after, &place.digest()), [""; 0], "a dry run");
        let report = place.migrate_with(&["--recover", "reused"], 0);
        assert_eq!(report.0["apps"], dry.0["apps"]);
        let path = app_db(place.dir(), "reused");
        let id = rows_of(&control_path(place.dir()), "SELECT id FROM apps WHERE name = 'reused'");
        for table in ["streams", "vods"] {
            assert_eq!(rows_of(&path, &format!("SELECT DISTINCT app_id FROM {table}")), id, "{table}");
        }
        assert_eq!(rows_of(&path, "SELECT stream_id FROM streams ORDER BY 1"), ["'s1'", "'s2'", "'s3'"]);
        place.demand_finished();
    }
}

#[test]
fn rows_that_were_deleted_come_back_only_when_asked_for() {
    let place = Place::of(&Tree::new().app("demo", |a| {
        a.vods_db(|v| v.stream("kept").stream("deleted").vod("a.mp4").vod("a.mp4"))
            .app_db(|d| {
                d.stream("kept")
                    .stream("later")
                    .vod("a.mp4")
                    .meta("vods_import_done", "1")
                    .meta("ingress_import_done", "1")
            })
            .global(stream("kept").set("room", "as it once was"))
            .ingress(["IN_deleted"])
    }));
    let report = place.taken_over();
    place.demand_counts(&report, "demo");
    assert_eq!(report.total("demo"), tally([6, 0, 2, 0, 0, 4]));

    // While some are left over, a clean-up keeps them all.
    let report = place.migrate_with(&["--cleanup"], 0);
    assert!(
        report.0["cleanup"]["kept"][0].as_str().is_some_and(|why| why.contains("4 older rows")),
        "{}",
        report.0
    );
    assert!(place.app("demo", "vods.db").exists());

    let report = place.migrate_with(&["--recover", "demo"], 0);
    assert_eq!(report.total("demo"), tally([6, 3, 2, 1, 0, 0]));
    let path = app_db(place.dir(), "demo");
    assert_eq!(
        rows_of(&path, "SELECT stream_id FROM streams ORDER BY 1"),
        ["'deleted'", "'kept'", "'later'"]
    );
    assert_eq!(rows_of(&path, "SELECT count(*) FROM vods"), ["2"]);
    assert_eq!(rows_of(&path, "SELECT room FROM streams WHERE stream_id = 'kept'"), ["'lobby'"]);

    // Asking again brings nothing twice.
    let report = place.migrate_with(&["--recover", "demo"], 0);
    assert_eq!(report.total("demo"), tally([6, 0, 5, 1, 0, 0]));
    let report = place.migrate_with(&["--cleanup"], 0);
    assert_eq!(report.0["cleanup"]["filesRemoved"], serde_json::json!(["apps/demo/vods.db"]));
}

#[test]
fn sources_that_changed_after_the_commit_fail_the_app_until_recovered() {
    let place = Place::of(&Tree::small());
    place.taken_over();
    // As after a kill between the commit and the registry, and the older program started again.
    let control = control_path(place.dir());
    sql(&control, "UPDATE apps SET split_state = 'pending', uuid = NULL, generation = 0");
    sql(&place.app("demo", "vods.db"), "UPDATE vods SET name = 'renamed.mp4' WHERE id = 1");
    let before = fs::read(app_db(place.dir(), "demo")).expect("its database");
    let report = place.migrate(70);
    assert_eq!(report.failure("demo"), "source-changed");
    assert_eq!(report.outcome("live"), "confirmed");
    assert_eq!(fs::read(app_db(place.dir(), "demo")).expect("its database"), before);

    let report = place.migrate_with(&["--recover", "demo"], 0);
    assert_eq!(report.tally("demo", Table::Vods).imported, 1);
    let path = app_db(place.dir(), "demo");
    assert_eq!(rows_of(&path, "SELECT count(*) FROM vods WHERE name = 'renamed.mp4'"), ["1"]);
    place.migrate(0);
}

#[test]
fn a_run_that_was_stopped_before_the_registry_knew_is_confirmed() {
    let place = Place::of(&Tree::small());
    let first = place.taken_over();
    let uuids = rows_of(&control_path(place.dir()), "SELECT name, uuid FROM apps");
    sql(&control_path(place.dir()), "UPDATE apps SET split_state = 'pending', uuid = NULL, generation = 0");
    let again = place.migrate(0);
    for app in ["demo", "live"] {
        assert_eq!(again.outcome(app), "confirmed");
        assert_eq!(again.total(app), first.total(app));
    }
    assert_eq!(rows_of(&control_path(place.dir()), "SELECT name, uuid FROM apps"), uuids);
}

#[test]
fn a_database_of_ours_that_is_another_apps_is_refused() {
    let place = Place::of(&Tree::small());
    place.taken_over();
    fs::copy(app_db(place.dir(), "demo"), app_db(place.dir(), "live")).expect("a swapped file");
    sql(&control_path(place.dir()), "UPDATE apps SET split_state = 'pending'");
    let report = place.migrate(70);
    assert_eq!(report.failure("live"), "other-identity");
    assert_eq!(report.outcome("demo"), "confirmed");
}

#[test]
fn an_unknown_name_is_an_error() {
    let place = Place::of(&Tree::small());
    let output = place.run(&["migrate", "--recover", "nobody"]).expect(1);
    assert!(output.stderr().contains("nobody"), "{}", output.stderr());
    assert_eq!(place.run(&["migrate", "--recover", "../../x"]).code(), Some(2));
}
