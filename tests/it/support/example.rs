//! `data-example/` is what its generator makes, and holds what it is said to hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use streamhub_tests::files::{scratch, tree_changes, tree_digest, tree_digest_except};
use streamhub_tests::legacy::{Source, Table, example, sources};
use streamhub_tests::readonly;
use streamhub_tests::skip::workspace;

fn made() -> tempfile::TempDir {
    let dir = scratch();
    example::write(dir.path());
    dir
}

#[test]
fn the_committed_example_is_what_the_generator_makes() {
    let (committed, made) = (workspace().join("data-example"), made());
    let is_database = |path: &str| Path::new(path).extension().is_some_and(|e| e == "db");
    let [kept, fresh] = [&committed, made.path()].map(|dir| tree_digest_except(dir, is_database));
    assert_eq!(tree_changes(&kept, &fresh), [""; 0], "make it again with make-data-example");

    // Databases by content: SQLite leaves its version in the file.
    let databases = |dir: &Path| -> Vec<String> {
        tree_digest(dir).into_keys().filter(|path| is_database(path)).collect()
    };
    assert_eq!(databases(&committed), databases(made.path()));
    for path in databases(made.path()) {
        let [kept, fresh] = [&committed, made.path()].map(|dir| dir.join(&path));
        assert_eq!(readonly::user_version(&kept), readonly::user_version(&fresh), "{path}");
        assert_eq!(readonly::schema(&kept), readonly::schema(&fresh), "{path}");
        assert!(readonly::all_rows(&kept) == readonly::all_rows(&fresh), "{path} has other rows");
        assert_eq!(fs::read(&kept).expect("a database")[18..20], [2, 2], "{path} is not in WAL mode");
    }
}

#[test]
fn the_example_has_one_of_everything() {
    let dir = made();
    let digest = tree_digest(dir.path());
    assert!(digest.keys().all(|path| !path.ends_with("-wal") && !path.ends_with("-shm")));
    let size: u64 =
        digest.keys().filter_map(|path| fs::metadata(dir.path().join(path)).ok()).map(|m| m.len()).sum();
    assert!(size < 2 << 20, "{size} bytes");
    for app in fs::read_dir(dir.path().join("apps")).expect("apps") {
        let home = app.expect("an app").path();
        assert!(home.join("config.yaml").is_file());
        for media in ["recordings", "hls", "snapshots", "samples"] {
            assert!(fs::read_dir(home.join(media)).expect(media).next().is_some(), "nothing in {media}");
        }
    }

    let found = sources(dir.path());
    assert_eq!(found.apps.len(), 5);
    assert_eq!(found.unowned.len(), 3);
    let rows: usize = found.apps.values().map(Vec::len).sum();
    assert!((2_000..5_000).contains(&rows), "{rows} rows");
    let all: Vec<_> = found.apps.values().flatten().collect();
    assert_eq!(all.iter().filter(|row| row.content.contains(&"'paused'".to_owned())).count(), 1);
    assert!(all.iter().any(|row| row.content.contains(&"NULL".to_owned())));
    assert!(all.iter().any(|row| row.content.iter().any(|value| value.contains("参加者"))));

    let demo = &found.apps["demo"];
    let of =
        |source: Source, table: Table| demo.iter().filter(move |r| r.source == source && r.table == table);
    let ids = |source, table| of(source, table).map(|row| row.rowid).collect::<BTreeSet<_>>();
    for table in [Table::Streams, Table::Vods] {
        assert!(ids(Source::Control, table).intersection(&ids(Source::Vods, table)).count() >= 40);
    }
    let second = of(Source::Control, Table::Streams).filter(|row| {
        of(Source::Vods, Table::Streams).any(|o| o.content[0] == row.content[0] && o.content != row.content)
    });
    assert_eq!(second.count(), 1, "one stream in two versions");
}
