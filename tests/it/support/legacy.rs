//! The generated older data directories: what was described is what lies there, and the books can be wrong.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rusqlite::Connection;
use streamhub_tests::files::{scratch, tree_digest};
use streamhub_tests::legacy::{
    App, Cell, Source, Table, Tree, accounting, app_rows, ingress, random_tree, sources, stream, vod,
};
use streamhub_tests::readonly;

#[test]
fn each_version_has_the_tables_of_that_version() {
    let tables = |version: u32| {
        let dir = scratch();
        let tree = Tree::new().at_version(version).without_run_time_tables();
        let tree = tree.app("demo", |a| a.app_db(|d| d.at_version(version)));
        let control = tree.build(dir.path());
        [control, dir.path().join("apps/demo/app.db")].map(|path| {
            assert_eq!(readonly::user_version(&path), i64::from(version));
            readonly::table_names(&readonly::open(&path)).len() - 1
        })
    };
    // Without `sqlite_sequence`.
    assert_eq!((0..=8).map(|v| tables(v)[0]).collect::<Vec<_>>(), [1, 1, 2, 3, 4, 8, 8, 10, 10]);
    assert_eq!((0..=8).map(|v| tables(v)[1]).collect::<Vec<_>>(), [1, 1, 2, 4, 4, 5, 6, 7, 7]);
}

#[test]
fn late_columns_can_be_missing() {
    let dir = scratch();
    let control = Tree::small().without_late_columns().build(dir.path());
    let columns = |table: &str| readonly::table_rows(&readonly::open(&control), table).columns;
    assert!(!columns("apps").contains(&"tenant_id".to_owned()));
    assert!(!columns("users").contains(&"password_hash".to_owned()));
}

#[test]
fn the_same_description_gives_the_same_bytes() {
    let [one, other] = [(); 2].map(|()| {
        let dir = scratch();
        Tree::small().build(dir.path());
        tree_digest(dir.path())
    });
    assert_eq!(one, other);
    assert!(one.keys().all(|path| !path.ends_with("-wal") && !path.ends_with("-shm")), "{one:?}");
}

#[test]
fn sources_are_found_where_they_are() {
    let dir = scratch();
    Tree::new()
        .at_root()
        .in_wal()
        .lax()
        .done_marker()
        .sql("CREATE TABLE plugin_state (k TEXT, v TEXT); CREATE INDEX plugin_state_by_v ON plugin_state(v)")
        .app("demo", |a| {
            a.tenant("tnt_a")
                .vods_db(|v| {
                    v.in_wal()
                        .stream("s1")
                        .row(vod("a.mp4").set("status", "paused"))
                        .row(stream("s2").of_app(9))
                })
                .app_db(|d| d.at_version(3).meta("vods_import_done", "1").stream("s1"))
                .global(stream("s1").id(4).null("type"))
                .ingress(["IN_1"])
        })
        .app("gone", |a| a.id(40).global_streams(["g1"]))
        .orphan("lost", |a| a.vods_db(|v| v.stream("l1")))
        .unowned(stream("x").of_app(Cell::Null))
        .unowned(ingress("IN_x").set("app", "nobody"))
        .build(dir.path());
    assert!(dir.path().join("streamhub.db-wal").exists());
    assert!(!dir.path().join("apps/gone").exists());

    let found = sources(dir.path());
    let keys = |app: &str| -> BTreeSet<_> {
        found.apps[app].iter().map(|row| (row.source, row.table, row.rowid, row.owner.as_str())).collect()
    };
    let demo = [
        (Source::Control, Table::Streams, 4, "1"),
        (Source::Control, Table::Ingress, 2, "'demo'"),
        (Source::Vods, Table::Streams, 1, "1"),
        (Source::Vods, Table::Streams, 2, "9"),
        (Source::Vods, Table::Vods, 1, "1"),
        (Source::App, Table::Streams, 1, "1"),
    ];
    assert_eq!(keys("demo"), demo.into());
    assert_eq!(keys("gone").len(), 1);
    assert_eq!(found.unowned.len(), 2, "{:?}", found.unowned);
    assert!(!found.apps.contains_key("lost"));
}

#[test]
fn the_books_notice_what_is_lost_made_up_or_doubled() {
    let dir = scratch();
    Tree::new()
        .app("demo", |a| {
            a.vods_db(|v| v.stream("s1").vod("a.mp4").vod("a.mp4")).global_vods(["a.mp4", "b.mp4"])
        })
        .app("split", |a| a.app_db(|d| d.stream("s1").vod("a.mp4").vod("a.mp4").vod("b.mp4")))
        .build(dir.path());
    let before = &sources(dir.path()).apps["demo"];
    let path = dir.path().join("apps/split/app.db");
    let check = |held: &[(Source, Table, i64)]| {
        let held = held.iter().copied().collect();
        accounting(before, &app_rows(&path), &held).len()
    };
    let change = |sql: &str| Connection::open(&path).expect("app.db").execute_batch(sql).expect(sql);
    assert_eq!(check(&[]), 0);
    assert_eq!(check(&[(Source::Vods, Table::Streams, 1)]), 0, "both held and there is no loss");
    assert_eq!(check(&[(Source::Vods, Table::Streams, 2)]), 1, "there is no such row");
    change("DELETE FROM streams");
    assert_eq!(check(&[]), 1, "lost");
    assert_eq!(check(&[(Source::Vods, Table::Streams, 1)]), 0, "held");
    change("DELETE FROM vods WHERE id = 1");
    assert_eq!(check(&[(Source::Vods, Table::Streams, 1)]), 1, "one of two equal rows is lost");
    change("INSERT INTO vods (app_id, name) VALUES (2, 'c.mp4')");
    assert_eq!(check(&[(Source::Vods, Table::Streams, 1)]), 2, "a row from nowhere");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_can_be_built(tree in random_tree()) {
        let dir = scratch();
        tree.build(dir.path());
        let found = sources(dir.path());
        prop_assert!(tree.apps().any(App::has_dir));
        prop_assert_eq!(found.apps.len(), tree.apps().count());
        for app in tree.apps() {
            let home = dir.path().join("apps").join(app.name());
            prop_assert_eq!(home.is_dir(), app.has_dir());
            prop_assert_eq!(home.join("app.db").exists(), app.has_app_db());
        }
    }
}
