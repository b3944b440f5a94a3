//! Every older state ends as the final schema has it, and what StreamHub does not know stays as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use streamhub_tests::books::app_db;
use streamhub_tests::fingerprint::control_path;
use streamhub_tests::legacy::Tree;
use streamhub_tests::readonly;
use streamhub_tests::skip::workspace;

use super::{Place, rows_of};

/// The tables and indices that the final state of a schema has, as text without quotes and runs of blanks.
fn final_schema(which: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(workspace().join("migrations").join(which).join("schema.sql"));
    let db = Connection::open_in_memory().expect("a database");
    db.execute_batch(&text.expect("a schema")).expect("a schema");
    db.prepare(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
    )
    .and_then(|mut s| s.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
    .map(normal)
    .expect("a schema to read")
}

fn normal(schema: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let one = |sql: String| sql.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ");
    schema.into_iter().map(|(name, sql)| (name, one(sql))).collect()
}

#[track_caller]
fn demand_final(path: &Path, which: &str, what: &str) {
    let found = normal(readonly::schema(path));
    for (name, sql) in final_schema(which) {
        assert_eq!(found.get(&name), Some(&sql), "{what}: {name}");
    }
    let left = found.keys().filter(|name| name.contains("_streamhub_rebuilt"));
    assert_eq!(left.count(), 0, "{what}: a passing table stayed");
}

#[test]
fn every_older_version_ends_as_the_final_schema_has_it() {
    for version in 0..=8 {
        for late in [true, false] {
            let mut tree = Tree::new().at_version(version).populated();
            tree = if late { tree } else { tree.without_late_columns().without_run_time_tables() };
            let place = Place::of(&tree.app("demo", |a| {
                let a = a.app_db(|d| {
                    let d = d.at_version(version).stream("s1");
                    if version >= 2 { d.vod("a.mp4") } else { d }
                });
                a.global_streams(["s2"])
            }));
            let report = place.taken_over();
            let what = format!("version {version}, late columns {late}");
            assert_eq!(report.outcome("demo"), "adopted", "{what}");
            place.demand_counts(&report, "demo");
            demand_final(&control_path(place.dir()), "control", &what);
            demand_final(&app_db(place.dir(), "demo"), "app", &what);
        }
    }
}

#[test]
fn a_built_database_has_the_final_schema() {
    let place = Place::of(&Tree::small());
    place.taken_over();
    for app in ["demo", "live"] {
        demand_final(&app_db(place.dir(), app), "app", app);
    }
}

#[test]
fn what_nobody_knows_survives_to_the_byte() {
    let strange = [
        "CREATE TABLE \"weird [table]\" (k TEXT PRIMARY KEY COLLATE NOCASE, \"the value\" BLOB DEFAULT (x'00')) WITHOUT ROWID",
        "CREATE  TABLE   plugin_state(a , b TEXT  -- a comment\n, UNIQUE (b, a))",
        "CREATE INDEX 'odd index' ON plugin_state (length(a) DESC) WHERE b IS NOT NULL",
        "CREATE TABLE child (app_id INTEGER REFERENCES apps(id) ON DELETE CASCADE, token REFERENCES api_tokens)",
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, x GENERATED ALWAYS AS (id * 2) VIRTUAL)",
    ];
    let mut tree = Tree::new().populated();
    for sql in strange {
        tree = tree.sql(sql);
    }
    tree = tree.sql(
        "INSERT INTO \"weird [table]\" VALUES ('a', x'00ff'), ('B', CAST(x'ff' AS TEXT));
         INSERT INTO plugin_state VALUES (1, NULL), (1, NULL), ('t', 'x'); INSERT INTO child VALUES (1, 1), (99, NULL);
         INSERT INTO counted (id) VALUES (40); DELETE FROM counted",
    );
    // An app's own database too, whose rowids have gaps.
    let own = "CREATE TABLE notes (t TEXT UNIQUE); INSERT INTO notes (rowid, t) VALUES (7, 'a'), (900, 'b')";
    let tree = tree.app("demo", |a| a.app_db(|d| d.sql(own).stream("s1")));
    let place = Place::of(&tree);
    let (control, own) = (control_path(place.dir()), app_db(place.dir(), "demo"));
    let before = [readonly::schema(&control), readonly::schema(&own)];
    place.taken_over();
    for (path, before) in [(&control, &before[0]), (&own, &before[1])] {
        let (now, known) =
            (readonly::schema(path), final_schema(if path == &own { "app" } else { "control" }));
        for (name, sql) in before {
            let table = sql.split_whitespace().position(|word| word == "ON").map(|at| {
                sql.split_whitespace().nth(at + 1).unwrap_or_default().split('(').next().unwrap_or_default()
            });
            let is_ours = known.contains_key(name) || table.is_some_and(|table| known.contains_key(table));
            assert!(is_ours || now.get(name) == Some(sql), "{name} was {sql}, is {:?}", now.get(name));
        }
    }
    assert_eq!(rows_of(&own, "SELECT rowid, t FROM notes"), ["7 'a'", "900 'b'"]);
    assert_eq!(rows_of(&control, "SELECT seq FROM sqlite_sequence WHERE name = 'counted'"), ["40"]);
}

#[test]
fn references_that_were_always_broken_stop_nothing() {
    // A table that declared none, and one that did.
    let memberships = "DROP TABLE memberships;
        CREATE TABLE memberships (user_id TEXT, tenant_id TEXT, role TEXT, created_at TEXT);
        INSERT INTO memberships VALUES ('nobody', 'nowhere', 'owner', '2026-01-01 00:00:00')";
    let tree = Tree::small().sql(memberships).other("quotas", [("tenant_id", "nobody".into())]).other(
        "api_tokens",
        [
            ("name", "lost".into()),
            ("token_hash", "00".into()),
            ("scope", "app".into()),
            ("app_id", 4711.into()),
        ],
    );
    let place = Place::of(&tree);
    place.taken_over();
    assert_eq!(
        rows_of(&control_path(place.dir()), "SELECT app_id FROM api_tokens WHERE name = 'lost'"),
        ["4711"]
    );
}

#[test]
fn ids_that_were_given_out_once_are_not_given_again() {
    let tree = Tree::new().app("demo", |a| {
        a.vods_db(|v| v.vod("a.mp4").sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('streams', 5000)"))
            .global_streams(["s1"])
    });
    let place = Place::of(&tree.sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('apps', 70)"));
    place.taken_over();
    let counter = |path: &Path, table: &str| {
        rows_of(path, &format!("SELECT seq FROM sqlite_sequence WHERE name = '{table}'"))
    };
    assert_eq!(counter(&app_db(place.dir(), "demo"), "streams"), ["5000"]);
    assert_eq!(counter(&control_path(place.dir()), "apps"), ["70"]);
}
