//! `doctor`: finds what is wrong and nothing else, and changes nothing.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use streamhub_tests::files::tree_changes;
use streamhub_tests::legacy::Tree;

use super::Place;

fn tree() -> Tree {
    Tree::new()
        .app("one", |a| a.tenant("tnt_a").vods_db(|v| v.stream("s1").vod("a.mp4")))
        .app("two", |a| a.tenant("tnt_b").vods_db(|v| v.stream("s2")).ingress(["IN_1"]))
}

fn sql(path: &Path, text: &str) {
    Connection::open(path).and_then(|db| db.execute_batch(text)).expect(text);
}

/// Kinds and paths of all findings; a second look finds the same, and nothing was changed.
fn findings(place: &Place, code: i32) -> Vec<(String, String)> {
    let before = place.digest();
    let people = place.streamhub().run(["doctor"]).expect(code);
    let found = place.streamhub().run(["doctor", "--json"]).expect(code).json();
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "the doctor changed something");
    let all = found["findings"].as_array().expect("findings");
    assert_eq!(found["clean"], all.is_empty());
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().expect(key).to_owned();
    for finding in all {
        assert!(!text(finding, "reason").is_empty() && !text(finding, "wayOut").is_empty(), "{finding}");
        assert!(people.stdout().contains(&text(finding, "path")), "{}", people.stdout());
    }
    all.iter().map(|finding| (text(finding, "kind"), text(finding, "path"))).collect()
}

#[test]
fn a_sound_directory_is_clean() {
    let place = Place::taken_over(&tree());
    assert_eq!(findings(&place, 0), []);
    assert!(place.streamhub().run(["doctor"]).expect(0).stdout().contains("clean: 2 apps"));
    assert_eq!(findings(&Place::new(), 0), []);
}

#[test]
fn what_is_no_finding() {
    let place = Place::taken_over(&tree());
    assert!(place.path("apps/one/vods.db").is_file(), "older sources are still there");
    for path in
        ["apps/one/app.db-wal", "apps/one/app.db-shm", "data/streamhub.db-wal", "data/streamhub.db-shm"]
    {
        fs::write(place.path(path), "").expect(path);
    }
    for dir in ["apps/.trash/x", "backups/y", "apps/.staging"] {
        fs::create_dir_all(place.path(dir)).expect(dir);
    }
    for path in
        ["apps/.trash/x/app.db-wal", "backups/y/z.db-wal", "backups/garbage.db", "apps/one/recordings-wal"]
    {
        fs::write(place.path(path), "x").expect(path);
    }
    assert_eq!(findings(&place, 0), []);
}

#[test]
fn each_kind_of_trouble_is_found() {
    type Damage = fn(&Place);
    let cases: &[(&str, &str, Damage)] = &[
        ("missing", "apps/one", |p| fs::remove_dir_all(p.path("apps/one")).expect("a directory")),
        ("missing", "apps/one/app.db", |p| fs::remove_file(p.path("apps/one/app.db")).expect("a file")),
        ("orphaned", "apps/stray", |p| fs::create_dir(p.path("apps/stray")).expect("a directory")),
        ("orphaned", "apps/stray.txt", |p| fs::write(p.path("apps/stray.txt"), "x").expect("a file")),
        ("foreign", "apps/one/app.db", |p| sql(&p.path("apps/one/app.db"), "PRAGMA application_id = 7")),
        ("foreign", "apps/one/app.db", |p| {
            sql(&p.path("apps/one/app.db"), "PRAGMA application_id = 0; PRAGMA user_version = 8");
        }),
        ("too-new", "apps/one/app.db", |p| sql(&p.path("apps/one/app.db"), "PRAGMA user_version = 999")),
        ("corrupt", "apps/one/app.db", |p| fs::write(p.path("apps/one/app.db"), "").expect("a file")),
        ("corrupt", "apps/one/app.db", |p| fs::write(p.path("apps/one/app.db"), "text").expect("a file")),
        ("corrupt", "apps/one/app.db", |p| {
            let file = fs::OpenOptions::new().write(true).open(p.path("apps/one/app.db")).expect("a file");
            file.set_len(8192).expect("a shorter file");
        }),
        ("corrupt", "apps/one/app.db", |p| {
            // A page in the middle: the header says nothing, only the check finds it.
            let path = p.path("apps/one/app.db");
            let root: usize = Connection::open(&path)
                .and_then(|db| {
                    db.query_row("SELECT rootpage FROM sqlite_master WHERE name = 'streams'", [], |row| {
                        row.get(0)
                    })
                })
                .expect("a root page");
            let mut bytes = fs::read(&path).expect("a file");
            bytes[(root - 1) * 4096..][..64].fill(0xee);
            fs::write(&path, bytes).expect("a file");
        }),
        ("stale-sidecar", "apps/one/old.db-wal", |p| {
            fs::write(p.path("apps/one/old.db-wal"), "x").expect("a file");
        }),
        ("stale-sidecar", "data/other.db-journal", |p| {
            fs::write(p.path("data/other.db-journal"), "").expect("a file");
        }),
        ("stale-sidecar", "apps/one/app.db", |p| {
            fs::write(p.path("apps/one/app.db-journal"), "half done").expect("a file");
        }),
        ("identity", "apps/one/app.db", |p| {
            sql(&p.path("apps/one/app.db"), "UPDATE _streamhub_meta SET value = 'x' WHERE key = 'uuid'");
        }),
        ("identity", "apps/one/app.db", |p| {
            sql(&p.path("apps/one/app.db"), "UPDATE _streamhub_meta SET value = 'x' WHERE key = 'name'");
        }),
        ("identity", "apps/one/app.db", |p| {
            sql(
                &p.path("apps/one/app.db"),
                "UPDATE _streamhub_meta SET value = 'tnt_b' WHERE key = 'tenant'",
            );
        }),
        ("identity", "apps/one/app.db", |p| {
            sql(
                &p.path("apps/one/app.db"),
                "UPDATE _streamhub_meta SET value = '9' WHERE key = 'generation'",
            );
        }),
        ("staging", "apps/.staging/one-x.db", |p| {
            fs::create_dir_all(p.path("apps/.staging")).expect("staging");
            fs::write(p.path("apps/.staging/one-x.db"), "x").expect("a file");
        }),
        ("staging", "data/streamhub.db.bak-x.part", |p| {
            fs::write(p.path("data/streamhub.db.bak-x.part"), "x").expect("a file");
        }),
        ("unfit", "apps/one/app.db", |p| {
            fs::rename(p.path("apps/one/app.db"), p.path("apps/one/x")).expect("a move");
            std::os::unix::fs::symlink("x", p.path("apps/one/app.db")).expect("a link");
        }),
        ("unfit", "apps/one/app.db", |p| {
            fs::hard_link(p.path("apps/one/app.db"), p.path("apps/one/x")).expect("a second name");
        }),
        ("unfit", "secrets.json", |p| fs::write(p.path("secrets.json"), "[").expect("a file")),
        ("misplaced", "data/streamhub.db", |p| {
            fs::copy(p.path("data/streamhub.db"), p.path("streamhub.db")).expect("a second one");
        }),
        ("too-new", "data/streamhub.db", |p| sql(&p.path("data/streamhub.db"), "PRAGMA user_version = 999")),
        ("missing", "streamhub.db", |p| fs::remove_file(p.path("data/streamhub.db")).expect("a file")),
    ];
    for (kind, path, damage) in cases {
        let place = Place::taken_over(&tree());
        damage(&place);
        let found = findings(&place, 1);
        assert_eq!(found, [((*kind).to_owned(), (*path).to_owned())]);
    }
}

#[test]
fn a_database_in_another_apps_place_is_told_from_a_foreign_one() {
    let place = Place::taken_over(&tree());
    let [one, two, aside] = ["apps/one/app.db", "apps/two/app.db", "aside"].map(|path| place.path(path));
    for (from, to) in [(&one, &aside), (&two, &one), (&aside, &two)] {
        fs::rename(from, to).expect("a move");
    }
    let misplaced = |path: &str| ("misplaced".to_owned(), path.to_owned());
    assert_eq!(findings(&place, 1), [misplaced("apps/one/app.db"), misplaced("apps/two/app.db")]);

    let place = Place::taken_over(&tree());
    fs::rename(place.path("apps/one"), place.path("apps/renamed")).expect("a move");
    let missing = ("missing".to_owned(), "apps/one".to_owned());
    assert_eq!(findings(&place, 1), [missing, misplaced("apps/renamed")]);
}

#[test]
fn data_that_was_not_taken_over_is_a_finding() {
    let place = Place::of(&tree());
    let expected = ("not-taken-over".to_owned(), "data/streamhub.db".to_owned());
    assert_eq!(findings(&place, 1), [expected]);
    let place = Place::of(&tree().app("bad", |a| a.file("vods.db", "this is no database")));
    let _ = place.streamhub().run(["migrate"]).expect(70);
    assert_eq!(findings(&place, 1), [("not-taken-over".to_owned(), "apps/bad".to_owned())]);
}
