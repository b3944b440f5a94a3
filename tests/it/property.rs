//! Whatever an older data directory holds: every row of it is imported, already there, held, or left over where the app
//! has lived on; the report's numbers are those of the files; and doing it again does nothing.

use proptest::prelude::*;
use streamhub_tests::files::tree_changes;
use streamhub_tests::legacy::{App, Tree, random_tree};

use crate::split::Place;

/// Apps that fail: rows in the registry, and no directory.
fn is_to_fail(place: &Place, app: &App) -> bool {
    !app.has_dir() && place.books.has_rows(app.name())
}

fn check(tree: &Tree) {
    let place = Place::of(tree);
    let failing = tree.apps().filter(|app| is_to_fail(&place, app)).count();
    let code = if failing > 0 { 70 } else { 0 };

    let before = place.digest();
    let dry = place.migrate_with(&["--dry-run"], code);
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "a dry run changed something");

    let report = place.migrate(code);
    assert_eq!(dry.0["apps"], report.0["apps"], "the dry run told something else");
    let wrong =
        if failing > 0 { place.books.in_between(place.dir()) } else { place.books.finished(place.dir()) };
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for app in tree.apps() {
        let expected = match (app.has_dir(), app.has_app_db()) {
            (true, true) => "adopted",
            (true, false) => "built",
            (false, _) if is_to_fail(&place, app) => "failed",
            (false, _) => "missing",
        };
        assert_eq!(report.outcome(app.name()), expected, "{}", app.name());
        if app.has_dir() {
            place.demand_counts(&report, app.name());
        }
    }

    let before = place.digest();
    place.migrate(code);
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "a second run changed something");
}

/// `PROPTEST_CASES` asks for more than a run of all tests has time for.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(96)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_accounted_for(tree in random_tree()) {
        check(&tree);
    }
}
