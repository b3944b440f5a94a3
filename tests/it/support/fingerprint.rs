//! Digests: equal to those of the program that judges a take-over, and reading leaves no trace.

use std::fs;

use rusqlite::Connection;
use streamhub_tests::files::{copy_tree, scratch, tree_changes, tree_digest, tree_digest_except};
use streamhub_tests::fingerprint::{Mode, control_path, control_rows, expected, fingerprint, not_preserved};
use streamhub_tests::legacy::{Tree, stream};
use streamhub_tests::skip::need_fixtures;

#[test]
fn the_fixtures_have_their_expected_digests() {
    let Some(fixtures) = need_fixtures("support::fingerprint::fixtures") else { return };
    for (name, mode) in [("seed-presplit", Mode::All), ("seed-split", Mode::All), ("seed-split", Mode::Split)]
    {
        let copy = scratch();
        copy_tree(&fixtures.join(name), copy.path());
        let before = tree_digest(copy.path());
        let found = fingerprint(copy.path(), mode);
        assert_eq!(found, expected(&fixtures.join(format!("{name}.expected.json"))), "{name} {mode:?}");
        assert_eq!(
            tree_changes(&before, &tree_digest(copy.path())),
            [""; 0],
            "reading left something behind"
        );
    }
}

#[test]
fn an_app_without_its_own_database_has_no_rows_once_split() {
    let dir = scratch();
    Tree::small().build(dir.path());
    let found = fingerprint(dir.path(), Mode::Split);
    assert!(found.values().flat_map(|tables| tables.values()).all(|(rows, _)| *rows == 0), "{found:?}");
    assert_eq!(fingerprint(dir.path(), Mode::All)["demo"]["streams"].0, 4);
}

#[test]
fn commits_in_a_wal_count_and_stay_there() {
    let dir = scratch();
    let tree = |wal: bool| {
        Tree::new().app("demo", |a| {
            a.vods_db(|v| {
                let v = v.stream("s1").stream("s2").vod("a.mp4");
                if wal { v.in_wal() } else { v }
            })
        })
    };
    tree(true).build(&dir.path().join("wal"));
    tree(false).build(&dir.path().join("plain"));
    let before = tree_digest(dir.path());
    assert!(before.contains_key("wal/apps/demo/vods.db-wal"), "{before:?}");
    let [in_wal, plain] = ["wal", "plain"].map(|name| fingerprint(&dir.path().join(name), Mode::All));
    assert_eq!(in_wal, plain);
    assert_eq!(tree_changes(&before, &tree_digest(dir.path())), [""; 0]);

    fs::remove_file(dir.path().join("wal/apps/demo/vods.db-wal")).expect("the -wal");
    assert_ne!(
        fingerprint(&dir.path().join("wal"), Mode::All),
        plain,
        "the last rows were in the main file already"
    );
}

#[test]
fn a_control_table_is_compared_in_the_columns_it_had() {
    let dir = scratch();
    let path = Tree::small().global_tables().unowned(stream("x").of_app(5)).build(dir.path());
    assert_eq!(path, control_path(dir.path()));
    let before = control_rows(&path);
    assert!(before.values().filter(|table| !table.rows.is_empty()).count() >= 15, "{:?}", before.keys());

    let change = |sql: &str| {
        Connection::open(&path).expect("the registry").execute_batch(sql).expect(sql);
        not_preserved(&before, &control_rows(&path), &[])
    };
    assert_eq!(change("ALTER TABLE apps ADD COLUMN state TEXT; CREATE TABLE jobs (id TEXT)"), [""; 0]);
    assert_eq!(change("UPDATE users SET name = 'B' WHERE name = 'Björn'").len(), 2, "one lost, one gained");
    let gone = change("DROP TABLE ip_bans");
    assert!(gone.contains(&"ip_bans: the table is gone".to_owned()), "{gone:?}");
    assert_eq!(not_preserved(&before, &control_rows(&path), &["users", "ip_bans"]), [""; 0]);
}

#[test]
fn a_tree_digest_sees_every_kind_of_change() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a"), "1").expect("a file");
    fs::write(path("b"), "1").expect("a file");
    let before = tree_digest(dir.path());
    fs::write(path("a"), "2").expect("a file");
    fs::remove_file(path("b")).expect("a file");
    fs::create_dir(path("c")).expect("a directory");
    std::os::unix::fs::symlink("a", path("d")).expect("a link");
    let after = tree_digest_except(dir.path(), |path| path == "e");
    assert_eq!(tree_changes(&before, &after), ["removed b", "changed a", "made c", "made d"]);
}
