//! `data-example/`: the numbers that a stranger sees.

use serde_json::json;
use streamhub_tests::books::{app_db, unsound};
use streamhub_tests::files::{copy_tree, tree_changes, tree_digest};
use streamhub_tests::fingerprint::{Mode, control_path, control_rows, fingerprint};
use streamhub_tests::legacy::Table;
use streamhub_tests::skip::workspace;

use super::{Place, reasons, rows_of, tally};

#[test]
fn every_row_of_the_example_is_accounted_for() {
    let original = workspace().join("data-example");
    let place = Place::made(|dir| copy_tree(&original, dir));
    let before = control_rows(&control_path(place.dir()));
    let dry = place.migrate_with(&["--dry-run"], 0);
    assert_eq!(tree_changes(&tree_digest(&original), &tree_digest(place.dir())), [""; 0], "a dry run");

    let report = place.taken_over();
    assert_eq!(dry.0["apps"], report.0["apps"], "the dry run told something else");
    let expected = [
        ("demo", [763, 752, 10, 1, 0, 0]),
        ("radio", [422, 422, 0, 0, 0, 0]),
        ("news-24", [803, 802, 0, 0, 1, 0]),
        ("archive", [661, 661, 0, 0, 0, 0]),
        ("camera-wall", [191, 191, 0, 0, 0, 0]),
    ];
    assert_eq!(report.apps().count(), expected.len());
    for (app, numbers) in expected {
        assert_eq!(report.total(app), tally(numbers), "{app}");
        assert_eq!(report.outcome(app), "built", "{app}");
        place.demand_counts(&report, app);
        assert_eq!(unsound(&app_db(place.dir(), app)), [""; 0]);
    }
    assert_eq!(report.0["orphanDirectories"], json!(["old-festival"]));
    assert_eq!(report.0["orphanRows"], json!({"ingress_auth": 1, "streams": 2}));

    // The conflict and the row that a constraint refuses are kept whole.
    assert_eq!(reasons(&place, "demo"), ["'conflict: another version of this key is there'"]);
    let held = rows_of(
        &app_db(place.dir(), "demo"),
        "SELECT source, source_table, row_json FROM _streamhub_unimported",
    );
    assert!(held[0].starts_with("'control' 'streams' ") && held[0].contains("another room"), "{held:?}");
    assert!(
        reasons(&place, "news-24")[0].contains("CHECK constraint failed"),
        "{:?}",
        reasons(&place, "news-24")
    );

    // What collided got other ids; what was shown to the world kept its own.
    let demo = app_db(place.dir(), "demo");
    let moved = "SELECT count(*) FROM streams WHERE stream_id LIKE 'demo-older-%' AND id > 400";
    assert_eq!(rows_of(&demo, moved), ["60"]);
    assert_eq!(
        rows_of(&demo, "SELECT count(*) FROM streams WHERE stream_id LIKE 'demo-st-%' AND id <= 400"),
        ["400"]
    );

    let backup = control_path(place.dir()).with_file_name(report.0["backup"].as_str().expect("a backup"));
    assert_eq!(unsound(&backup), [""; 0]);
    assert_eq!(control_rows(&backup), before, "the backup holds other rows");
}

#[test]
fn the_report_for_people_has_a_line_for_each_app() {
    let place = Place::made(|dir| copy_tree(&workspace().join("data-example"), dir));
    let output = place.run(&["migrate"]).expect(0);
    let has_line = |wanted: &[&str]| {
        output.stdout().lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == wanted)
    };
    assert!(has_line(&["demo", "built", "763", "752", "10", "1", "0", "0"]), "{}", output.stdout());
    assert!(has_line(&["camera-wall", "built", "191", "191", "0", "0", "0", "0"]), "{}", output.stdout());
    let total = "5 apps, 0 failed: 2840 rows found, 2828 imported";
    assert!(output.stdout().contains(total), "{}", output.stdout());
    let demo = &fingerprint(place.dir(), Mode::Split)["demo"];
    assert_eq!((demo[Table::Streams.name()].0, demo[Table::Vods.name()].0), (460, 290));
}
