//! Random data directories of the older system, for property tests.
//!
//! Keys, ids and variants come from small sets, so that overlaps between sources, collisions of ids, duplicates and
//! second versions of the same stream are common rather than possible.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::database::Database;
use super::rows::{Cell, Row, Table, ingress, stream, vod};
use super::tree::{App, Tree};

/// Any data directory that a take-over must cope with app by app: one to four apps of which at least one has a
/// directory, rows in any of the three sources, every version, with and without markers.
///
/// Every row in an app's database names that app. Rows that name another one fail the whole app and are a test of their
/// own, as are damaged files.
pub fn random_tree() -> impl Strategy<Value = Tree> {
    let registry = (0..=8_u32, any::<[bool; 7]>());
    (registry, btree_map(app_name(), app(), 1..=4), vec(row(Rows::Any), 0..3)).prop_map(
        |((version, [at_root, late, run_time, lax, wal, done, populated]), apps, unowned)| {
            let mut tree = Tree::new().at_version(version);
            tree = if at_root { tree.at_root() } else { tree };
            tree = if late { tree } else { tree.without_late_columns() };
            tree = if run_time { tree } else { tree.without_run_time_tables() };
            tree = if lax { tree.lax() } else { tree };
            tree = if wal { tree.in_wal() } else { tree };
            tree = if done && version >= 7 { tree.done_marker() } else { tree };
            tree = if populated { tree.populated() } else { tree };
            for (place, (name, plan)) in apps.into_iter().enumerate() {
                // No app with a directory at all would be a lost mount.
                tree = tree.app(&name, |a| plan.carry_out(if place == 0 { a.dir() } else { a }));
            }
            for row in unowned {
                let row = if row.table == Table::Ingress { row.set("app", "gone") } else { row.of_app(77) };
                tree = tree.unowned(row);
            }
            tree.settle()
        },
    )
}

/// What an app consists of.
#[derive(Debug, Clone)]
struct Plan {
    dir: bool,
    globals: Vec<Row>,
    vods: Option<(bool, u32, bool, Vec<Row>)>,
    own: Option<(u32, bool, [bool; 2], Vec<Row>)>,
}

impl Plan {
    fn carry_out(self, mut app: App) -> App {
        if self.dir {
            app = app.dir();
        }
        if let Some((lax, version, wal, rows)) = self.vods {
            app = app.vods_db(|db| kept(db.at_version(version), lax, wal).rows(rows));
        }
        if let Some((version, wal, [vods_done, ingress_done], rows)) = self.own {
            app = app.app_db(|db| {
                let mut db = kept(db.at_version(version), false, wal).rows(rows);
                // Before version 3 there is no table for a marker.
                db = if vods_done && version >= 3 { db.meta("vods_import_done", "1") } else { db };
                if ingress_done && version >= 3 { db.meta("ingress_import_done", "1") } else { db }
            });
        }
        app.globals(self.globals)
    }
}

fn kept(db: Database, lax: bool, wal: bool) -> Database {
    let db = if lax { db.lax() } else { db };
    if wal { db.in_wal() } else { db }
}

fn app() -> impl Strategy<Value = Plan> {
    // So many that they travel and are inserted together.
    let many = || vec(row(Rows::Any), 60..150);
    let globals = || prop_oneof![4 => Just(Vec::new()), 7 => vec(row(Rows::Any), 0..8), 1 => many()];
    let rows = || prop_oneof![9 => vec(row(Rows::Any), 0..10), 1 => many()];
    let vods = || (any::<bool>(), 0..=2_u32, any::<bool>(), rows());
    let own = || (0..=8_u32, any::<bool>(), any::<[bool; 2]>(), vec(row(Rows::Sound), 0..8));
    prop_oneof![
        5 => (globals(), vods()).prop_map(|(globals, v)| Plan { dir: true, globals, vods: Some(v), own: None }),
        2 => globals().prop_map(|globals| Plan { dir: true, globals, vods: None, own: None }),
        3 => (globals(), option::of(vods()), own())
            .prop_map(|(globals, vods, own)| Plan { dir: true, globals, vods, own: Some(own) }),
        // Without a directory: missing where there are no rows, failed where there are.
        1 => globals().prop_map(|globals| Plan { dir: false, globals, vods: None, own: None }),
    ]
}

fn app_name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec!["demo", "live", "news-24", "0-0", "a--b"]).prop_map(str::to_owned),
        1 => "[a-z0-9][a-z0-9-]{1,30}[a-z0-9]",
    ]
}

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Also those that violate a constraint.
    Any,
    /// Only those that an `app.db` of any version admits.
    Sound,
}

fn row(which: Rows) -> BoxedStrategy<Row> {
    let violations = u32::from(which == Rows::Any);
    let id = option::weighted(0.5, 1..6_i64);
    let base = prop_oneof![
        4 => select(vec!["s1", "s2", "s3", "größe/参加者"]).prop_map(stream),
        4 => select(vec!["a.mp4", "b.mp4", "it's.mp4"]).prop_map(vod),
        2 => select(vec!["IN_1", "IN_2", "IN_3"]).prop_map(ingress),
    ];
    (base, id, changes(violations)).prop_map(|(row, id, changes)| apply(Row { id, ..row }, changes)).boxed()
}

/// A change that is made to a row where its table has the column.
type Change = (&'static str, Cell);

fn changes(violations: u32) -> impl Strategy<Value = Vec<Change>> {
    let harmless = select(vec![
        ("room", "lobby".into()),
        ("room", Cell::Null),
        ("room", "".into()),
        ("participant", Cell::Null),
        ("started_at", "2026-01-01 00:01:01".into()),
        ("ended_at", Cell::Null),
        ("ended_at", "2026-01-01T00:03:03.000Z".into()),
        ("type", "rtmp".into()),
        ("last_stats_json", r#"{"viewers":1,"q":"it's"}"#.into()),
        ("stream_id", "s1".into()),
        ("size_bytes", Cell::Null),
        ("size_bytes", i64::MAX.into()),
        ("duration_s", 0.1.into()),
        ("duration_s", 1e300.into()),
        ("snapshot_key", "snapshots/ü.jpg".into()),
        ("validated_at", "2026-01-01 00:00:00".into()),
        ("password_hash", "0eb1cf57".into()),
    ]);
    let odd = select(vec![
        ("room", Cell::Blob(vec![0, 255])),
        ("room", Cell::Text(b"nul\0inside".to_vec())),
        ("room", Cell::Text(vec![0xff, b'x'])),
        ("size_bytes", "much".into()),
        ("size_bytes", 0.5.into()),
        ("participant", "\u{fffd}\u{202e}".into()),
    ]);
    let violation = select(vec![
        ("type", "srt".into()),
        ("type", "ws-mjpeg".into()),
        ("status", "paused".into()),
        ("status", Cell::Null),
        ("name", Cell::Null),
        ("stream_id", Cell::Null),
        ("started_at", Cell::Null),
        ("requires_password", Cell::Null),
        ("ingress_id", Cell::Null),
        ("created_at", Cell::Null),
    ]);
    let change = prop_oneof![12 => harmless, 1 => odd, violations => violation];
    prop_oneof![2 => Just(Vec::new()), 1 => vec(change, 1..3)]
}

fn apply(row: Row, changes: Vec<Change>) -> Row {
    changes.into_iter().fold(row, |row, (column, value)| {
        // A recording's stream may be any; a stream's own id is its key and is changed only to NULL.
        let key = row.table == Table::Streams && column == "stream_id" && value != Cell::Null;
        if key || !row.table.columns().contains(&column) { row } else { row.set(column, value) }
    })
}
