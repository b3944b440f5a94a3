//! The data directories that the older system itself wrote.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use streamhub_tests::books::{meta, unsound};
use streamhub_tests::files::{copy_tree, tree_changes, tree_digest, tree_digest_except};
use streamhub_tests::fingerprint::{
    CHANGED, Mode, control_path, control_rows, expected, fingerprint, not_preserved,
};
use streamhub_tests::skip::need_fixtures;

use super::Place;

fn takes_over(fixture: &str, adopted: &str) {
    let Some(fixtures) = need_fixtures(&format!("split::fixtures::{fixture}")) else { return };
    let original = fixtures.join(fixture);
    let place = Place::made(|dir| copy_tree(&original, dir));
    let digests = expected(&fixtures.join(format!("{fixture}.expected.json")));
    let before = control_rows(&control_path(place.dir()));

    let dry = place.migrate_with(&["--dry-run"], 0);
    assert_eq!(tree_changes(&tree_digest(&original), &tree_digest(place.dir())), [""; 0], "a dry run");

    let report = place.taken_over();
    assert_eq!(dry.0["apps"], report.0["apps"], "the dry run told something else");
    assert_eq!(fingerprint(place.dir(), Mode::Split), digests);
    for app in digests.keys() {
        assert_eq!(report.outcome(app), adopted, "{app}");
        place.demand_counts(&report, app);
    }

    // The control database's tables, one by one, and the backup beside it.
    let control = control_path(place.dir());
    let after = control_rows(&control);
    assert_eq!(not_preserved(&before, &after, CHANGED), [""; 0]);
    let backup = control.with_file_name(report.0["backup"].as_str().expect("a backup"));
    assert_eq!(
        meta(&control, "per_app_split_backup").as_deref(),
        backup.file_name().and_then(|n| n.to_str())
    );
    assert_eq!(unsound(&backup), [""; 0]);
    assert_eq!(control_rows(&backup), before, "the backup holds other rows");

    // Everything that was there and is not the control database or an app.db is as it was.
    let ours = |path: &str| path.ends_with("app.db") || path.ends_with("streamhub.db");
    let [old, new] = [&original, place.dir()].map(|dir| tree_digest_except(dir, ours));
    let changed = tree_changes(&old, &new).into_iter().filter(|change| !change.starts_with("made "));
    assert_eq!(changed.collect::<Vec<_>>(), [""; 0]);
    opens_for_writing(&backup);
}

fn opens_for_writing(path: &Path) {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).expect("a copy");
    let db = Connection::open(&copy).expect("a backup that opens");
    db.execute_batch("CREATE TABLE probe (a); DROP TABLE probe").expect("a backup that can be used");
}

#[test]
fn a_directory_before_its_split() {
    takes_over("seed-presplit", "built");
}

#[test]
fn a_directory_in_use_since_its_split() {
    takes_over("seed-split", "adopted");
}
