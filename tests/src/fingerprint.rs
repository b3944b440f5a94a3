//! Content digests of a data directory's app tables, and comparisons of a control database before and after.
//!
//! Two stores that hold the same facts have the same digest whatever their row ids are. The digest's definition is
//! shared with the program that judges a take-over: rows are quoted by SQLite, joined and sorted exactly as there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::files::hex;
use crate::readonly::{self, TableRows, has_table};

/// What counts as an app's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only what is in each `app.db`: a take-over is judged by this.
    Split,
    /// `app.db` where there is one, otherwise what an older system has for the app anywhere, each fact once.
    All,
}

/// By app and table: the number of rows, and the SHA-256 of their content.
pub type Fingerprint = BTreeMap<String, BTreeMap<String, (usize, String)>>;

/// The tables that belong to an app, with the columns that are content: all but the row id and the registry's `app_id`.
pub const CONTENT: [(&str, &[&str]); 3] = [
    (
        "streams",
        &["stream_id", "type", "room", "participant", "status", "started_at", "ended_at", "last_stats_json"],
    ),
    (
        "vods",
        &[
            "stream_id",
            "room",
            "name",
            "file_key",
            "s3_url",
            "public_url",
            "size_bytes",
            "duration_s",
            "width",
            "height",
            "format",
            "status",
            "local_path",
            "started_at",
            "ended_at",
            "metatags_json",
            "snapshot_key",
        ],
    ),
    (
        "ingress_auth",
        &[
            "ingress_id",
            "app",
            "room",
            "stream_key",
            "password_hash",
            "password_salt",
            "requires_password",
            "validated_at",
            "created_at",
        ],
    ),
];

/// The digest of every registered app's tables.
pub fn fingerprint(data_dir: &Path, mode: Mode) -> Fingerprint {
    let control = readonly::open(&control_path(data_dir));
    let apps: Vec<(i64, String)> = control
        .prepare("SELECT id, name FROM apps ORDER BY name")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).and_then(Iterator::collect))
        .expect("a registry to read");
    apps.into_iter()
        .map(|(id, name)| {
            let home = data_dir.join("apps").join(&name);
            let tables = CONTENT
                .iter()
                .map(|(table, columns)| {
                    let mut lines = app_lines(&control, &home, (id, &name), (table, columns), mode);
                    lines.sort_unstable();
                    let digest = hex(&Sha256::digest(lines.join(&b'\n')));
                    ((*table).to_owned(), (lines.len(), digest))
                })
                .collect();
            (name, tables)
        })
        .collect()
}

fn app_lines(
    control: &Connection,
    home: &Path,
    (id, name): (i64, &str),
    (table, columns): (&str, &[&str]),
    mode: Mode,
) -> Vec<Vec<u8>> {
    let own = home.join("app.db");
    if own.exists() {
        return lines(&readonly::open(&own), table, columns, "1", []);
    }
    if mode == Mode::Split {
        return Vec::new();
    }
    let mut found = Vec::new();
    let older = home.join("vods.db");
    if table != "ingress_auth" && older.exists() {
        found = lines(&readonly::open(&older), table, columns, "1", []);
    }
    found.extend(match table {
        "ingress_auth" => lines(control, table, columns, "app = ?1", [name]),
        _ => lines(control, table, columns, "app_id = ?1", [id]),
    });
    found.sort_unstable();
    found.dedup();
    found
}

/// The rows of a table as bytes: quoted values with `|` between them. A column that the table lacks counts as NULL, a
/// table that is not there has no rows.
fn lines(
    db: &Connection,
    table: &str,
    columns: &[&str],
    condition: &str,
    parameters: impl rusqlite::Params,
) -> Vec<Vec<u8>> {
    if !has_table(db, table) {
        return Vec::new();
    }
    let have = column_names(db, table);
    let picked: Vec<String> = columns
        .iter()
        .map(|c| if have.iter().any(|h| h == c) { format!("quote({c})") } else { "'NULL'".to_owned() })
        .collect();
    let sql = format!("SELECT {} FROM {table} WHERE {condition}", picked.join(", "));
    let count = columns.len();
    db.prepare(&sql)
        .and_then(|mut statement| {
            statement
                .query_map(parameters, |row| {
                    let mut line = Vec::new();
                    for i in 0..count {
                        if i > 0 {
                            line.push(b'|');
                        }
                        line.extend_from_slice(
                            row.get_ref(i)?.as_bytes().expect("quote() answers with text"),
                        );
                    }
                    Ok(line)
                })
                .and_then(Iterator::collect)
        })
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

fn column_names(db: &Connection, table: &str) -> Vec<String> {
    let statement = db.prepare(&format!("SELECT * FROM {table} LIMIT 0"));
    let statement = statement.unwrap_or_else(|e| panic!("{table}: {e}"));
    statement.column_names().into_iter().map(str::to_owned).collect()
}

/// Where a data directory's control database is: at its top, else in `data/`.
///
/// # Panics
/// Where there is none.
pub fn control_path(data_dir: &Path) -> PathBuf {
    [data_dir.join("streamhub.db"), data_dir.join("data/streamhub.db")]
        .into_iter()
        .find(|p| p.exists())
        .unwrap_or_else(|| panic!("no control database in {}", data_dir.display()))
}

/// Reads an `expected.json` beside a fixture: `{app: {table: {"rows": n, "sha256": hex}}}`.
pub fn expected(path: &Path) -> Fingerprint {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let json: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let table = |(name, entry): (String, serde_json::Value)| {
        let rows = entry["rows"].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number of rows");
        (name, (rows, entry["sha256"].as_str().expect("a digest").to_owned()))
    };
    json.into_iter().map(|(app, tables)| (app, tables.into_iter().map(table).collect())).collect()
}

/// Every row of every table of a control database, values as SQL literals.
pub fn control_rows(path: &Path) -> BTreeMap<String, TableRows> {
    readonly::all_rows(path)
}

/// What a take-over changes in tables of the older system's: markers, and the ends of its sessions.
pub const CHANGED: &[&str] = &["_streamhub_meta", "sessions.revoked_at"];

/// What of `before` is not in `after` exactly so: a table that is gone, a column that is gone, rows that differ in the
/// columns that were there before. Tables and columns that came with `after` are no difference. One line each, empty
/// where everything survived; tables, and columns such as `sessions.revoked_at`, that are named in `except` are left out.
pub fn not_preserved(
    before: &BTreeMap<String, TableRows>,
    after: &BTreeMap<String, TableRows>,
    except: &[&str],
) -> Vec<String> {
    let mut differences = Vec::new();
    for (table, old) in before.iter().filter(|(name, _)| !except.contains(&name.as_str())) {
        let Some(new) = after.get(table) else {
            differences.push(format!("{table}: the table is gone"));
            continue;
        };
        let counts = |column: &&String| !except.contains(&&*format!("{table}.{column}"));
        let columns: Vec<String> = old.columns.iter().filter(counts).cloned().collect();
        let Some(now) = new.project(&columns) else {
            differences.push(format!("{table}: had {columns:?}, has {:?}", new.columns));
            continue;
        };
        let was = old.project(&columns).expect("a table has its own columns");
        differences.extend(missing(&was, &now).map(|row| format!("{table}: lost {row:?}")));
        differences.extend(missing(&now, &was).map(|row| format!("{table}: gained {row:?}")));
    }
    differences
}

/// The rows of one sorted list that another lacks, counted as multisets.
fn missing<'a>(of: &'a [Vec<&'a str>], from: &'a [Vec<&'a str>]) -> impl Iterator<Item = &'a Vec<&'a str>> {
    let mut left = from.iter().peekable();
    of.iter().filter(move |row| {
        while left.peek().is_some_and(|other| other < row) {
            left.next();
        }
        left.next_if(|other| other == row).is_none()
    })
}
