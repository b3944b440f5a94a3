//! `migrate --cleanup`: older rows and files go once they are safe, and only then.

use std::path::PathBuf;

use serde_json::json;
use streamhub_tests::books::{Books, app_db, unsound};
use streamhub_tests::command::Streamhub;
use streamhub_tests::faults::{Faults, Mode};
use streamhub_tests::files::{copy_tree, scratch, tree_changes, tree_digest, tree_digest_except};
use streamhub_tests::fingerprint::{self, control_path, control_rows, fingerprint};
use streamhub_tests::legacy::{Tree, stream, vod};
use streamhub_tests::readonly;
use streamhub_tests::skip::need;

use super::{Place, rows_of, sql};

fn three_apps() -> Tree {
    Tree::small()
        .app("failing", |a| a.vods_db(|v| v.row(stream("f1").of_app(77))).global_streams(["f2"]))
        .unowned(stream("orphan").of_app(99))
}

#[test]
fn only_what_is_imported_or_held_goes() {
    let place = Place::of(&three_apps().lax().app("held", |a| {
        a.vods_db(|v| v.in_wal().row(vod("bad.mp4").set("status", "paused"))).global_streams(["h1"])
    }));
    place.migrate(70);
    let before = place.digest();
    let dry = place.migrate_with(&["--cleanup", "--dry-run"], 70);
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "a dry run");
    let digests = fingerprint(place.dir(), fingerprint::Mode::Split);
    let rows = [
        readonly::all_rows(&place.app("demo", "vods.db")),
        readonly::all_rows(&place.app("held", "vods.db")),
    ];
    let control = control_rows(&control_path(place.dir()));

    let report = place.migrate_with(&["--cleanup"], 70);
    let cleanup = &report.0["cleanup"];
    for key in ["rowsRemoved", "filesRemoved", "kept"] {
        assert_eq!(dry.0["cleanup"][key], cleanup[key], "the dry run told something else");
    }
    assert_eq!(cleanup["rowsRemoved"], json!({"streams": 5, "vods": 3, "ingress_auth": 3}));
    assert_eq!(cleanup["filesRemoved"], json!(["apps/demo/vods.db", "apps/held/vods.db"]));
    assert_eq!(cleanup["kept"], json!(["app failing: it is not taken over"]));
    assert!(!place.app("demo", "vods.db").exists() && !place.app("held", "vods.db-wal").exists());
    assert!(place.app("failing", "vods.db").exists());
    let left = rows_of(&control_path(place.dir()), "SELECT stream_id FROM streams ORDER BY 1");
    assert_eq!(left, ["'f2'", "'orphan'"]);
    assert_eq!(fingerprint(place.dir(), fingerprint::Mode::Split), digests);

    // The backup holds all that went, commits of a -wal included.
    let backup = place.dir().join(cleanup["backup"].as_str().expect("a backup"));
    for (name, rows) in [("demo-vods.db", &rows[0]), ("held-vods.db", &rows[1])] {
        assert_eq!(unsound(&backup.join(name)), [""; 0]);
        assert_eq!(&readonly::all_rows(&backup.join(name)), rows, "{name}");
    }
    assert_eq!(control_rows(&backup.join("streamhub.db")), control);

    let before = place.digest();
    let report = place.migrate_with(&["--cleanup"], 70);
    assert_eq!(report.0["cleanup"]["filesRemoved"], json!([]));
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "a second clean-up");
}

#[test]
fn sources_that_changed_since_stay() {
    let place = Place::of(&Tree::small());
    place.taken_over();
    sql(
        &place.app("demo", "vods.db"),
        "INSERT INTO vods (app_id, name, status) VALUES (1, 'new.mp4', 'ready')",
    );
    sql(&control_path(place.dir()), "UPDATE streams SET room = 'moved' WHERE stream_id = 'l1'");
    let report = place.migrate_with(&["--cleanup"], 0);
    let kept = report.0["cleanup"]["kept"].to_string();
    assert!(kept.contains("app demo") && kept.contains("app live"), "{kept}");
    assert_eq!(report.0["cleanup"]["filesRemoved"], json!([]));
    assert_eq!(rows_of(&control_path(place.dir()), "SELECT count(*) FROM streams"), ["4"]);
}

#[test]
fn a_backup_that_fails_keeps_everything() {
    let place = Place::of(&Tree::small());
    place.taken_over();
    let mut command = Streamhub::new(place.dir()).command(["migrate", "--cleanup"]);
    let Some(faults) = need("split::cleanup::backup", Faults::on("demo-vods.db.part")) else { return };
    let is_backup =
        |path: &str| path == "streamhub.lock" || path == "apps/.staging" || path.starts_with("backups");
    let before = tree_digest_except(place.dir(), is_backup);
    let run = faults.run_from(&mut command, 2, Mode::Enospc);
    assert!(run.injected && run.ended.code == Some(1), "{}", run.ended.describe());
    assert!(run.ended.stderr.contains("demo-vods.db.part"), "{}", run.ended.describe());
    assert_eq!(tree_changes(&before, &tree_digest_except(place.dir(), is_backup)), [""; 0]);
}

#[test]
fn a_kill_at_any_operation_of_a_clean_up_loses_nothing() {
    let original = scratch();
    Tree::new()
        .app("demo", |a| {
            a.vods_db(|v| v.in_wal().stream("d1").stream("d2").vod("a.mp4")).global_streams(["d3"])
        })
        .build(original.path());
    let books = Books::open(original.path());
    drop(Streamhub::new(original.path()).run(["migrate"]).expect(0));
    let expected = fingerprint(original.path(), fingerprint::Mode::Split);
    let copy = || {
        let dir = scratch();
        copy_tree(original.path(), dir.path());
        dir
    };
    let clean = |dir: &std::path::Path| Streamhub::new(dir).command(["migrate", "--cleanup", "--json"]);
    let counted = copy();
    let Some(faults) = need("split::cleanup::kill", Faults::on(counted.path())) else { return };
    let points = faults.count(&mut clean(counted.path())).points.len();
    assert!(points > 20, "{points} points");
    for at in 1..=points {
        let dir = copy();
        let faults = Faults::on(dir.path()).expect("compiled");
        let run = faults.run(&mut clean(dir.path()), at, Mode::Kill);
        let what = || format!("{}: {}", run.at(at), run.ended.describe());
        assert!(run.injected && run.ended.killed(), "{}", what());
        let again = Streamhub::new(dir.path()).run(["migrate", "--cleanup", "--json"]).expect(0);
        assert_eq!(again.json()["cleanup"]["kept"], json!([]), "{}", what());
        assert_eq!(fingerprint(dir.path(), fingerprint::Mode::Split), expected, "{}", what());
        let files: Vec<PathBuf> = tree_digest(dir.path()).into_keys().map(PathBuf::from).collect();
        let sources = files
            .iter()
            .filter(|path| path.starts_with("apps/demo") && path.to_string_lossy().contains("vods.db"));
        assert_eq!(sources.count(), 0, "{}", what());
        assert!(!files.iter().any(|path| path.to_string_lossy().contains(".part")), "{}: {files:?}", what());
        assert_eq!(unsound(&app_db(dir.path(), "demo")), [""; 0]);
        assert_eq!(rows_of(&control_path(dir.path()), "SELECT count(*) FROM streams"), ["0"], "{}", what());
    }
    assert_eq!(books.apps().collect::<Vec<_>>(), ["demo"]);
}
