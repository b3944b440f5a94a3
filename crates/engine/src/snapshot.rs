//! A copy of a database that counts only once it is proven.
//!
//! `VACUUM INTO` writes a consistent copy, but does not make it durable: after a power cut it can be
//! missing, empty or rolled back. So the copy is built under a `.part` name, synced, opened again and
//! checked in full, and only then given its name, with the directory synced after it.

use std::path::{Path, PathBuf};

use crate::connect::Database;
use crate::durable;
use crate::error::{Error, Result, SqliteContext, Unfit};
use crate::judge::{self, Check};
use crate::names::quoted;
use crate::unopened::{Unopened, sidecar};

/// Ending of a snapshot that is not proven yet.
pub const PART: &str = ".part";

/// A proven copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Every table with its number of rows.
    pub tables: Vec<(String, u64)>,
}

/// Copies the database that `source` has open to `target`, which must not exist.
///
/// The caller keeps others from writing to the source meanwhile: the copy's row counts are compared
/// with the source's, table by table.
pub fn take(source: &Database, target: &Path) -> Result<Snapshot> {
    if durable::exists(target)? {
        return Err(Error::unfit(target, Unfit::Exists));
    }
    let part = part_of(target);
    remove(&part)?;
    let taken = copy_and_prove(source, &part).and_then(|(bytes, tables)| {
        durable::rename_new(&part, target)?;
        Ok(Snapshot { path: target.to_owned(), bytes, tables })
    });
    if taken.is_err() {
        // The first error is the one that matters; a part that stays is removed at the next start.
        let _ = remove(&part);
    }
    taken
}

/// Removes a part and the journal of a copy that was broken off, which would be played back into the next.
fn remove(part: &Path) -> Result<()> {
    durable::remove_file(&sidecar(part, "-journal"))?;
    durable::remove_file(part)
}

fn copy_and_prove(source: &Database, part: &Path) -> Result<(u64, Vec<(String, u64)>)> {
    // SQLite fills an empty file, and this one already has the right permissions.
    drop(durable::create_new(part)?);
    let name = part.to_str().ok_or_else(|| {
        let detail = "the path is not UTF-8, which VACUUM INTO needs".to_owned();
        Error::unfit(part, Unfit::Mismatch { detail })
    })?;
    let query_only: bool =
        source.pragma_query_value(None, "query_only", |row| row.get(0)).of(source.path())?;
    // VACUUM INTO only reads the source, but a query-only connection refuses every VACUUM.
    source.pragma_update(None, "query_only", false).of(source.path())?;
    let copied = source.execute("VACUUM INTO ?1", [name]).of(part);
    source.pragma_update(None, "query_only", query_only).of(source.path())?;
    copied?;
    let file = Unopened::claim(part)?;
    file.sync()?;
    durable::sync_dir(durable::parent(part))?;
    let bytes = file.file_len();
    drop(file);
    let copy = Database::inspect(part)?;
    judge::refuse_damage(&copy, Check::Full)?;
    let (found, expected) = (row_counts(&copy)?, row_counts(source)?);
    if found != expected {
        let detail = format!("the copy's row counts {found:?} are not the source's {expected:?}");
        return Err(Error::unfit(part, Unfit::Mismatch { detail }));
    }
    Ok((bytes, found))
}

/// Every table with its number of rows, counted in the table itself and not in an index.
pub fn row_counts(db: &Database) -> Result<Vec<(String, u64)>> {
    let names: Vec<String> = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .of(db.path())?;
    names
        .into_iter()
        .map(|name| {
            let sql = format!("SELECT count(*) FROM {} NOT INDEXED", quoted(&name));
            let rows = db.query_row(&sql, [], |row| row.get(0)).of(db.path())?;
            Ok((name, rows))
        })
        .collect()
}

/// The name of a snapshot while it is not proven.
pub fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(PART);
    PathBuf::from(name)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_snapshot_is_whole_private_and_leaves_its_source_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let path = root.join("x.db");
        let db = Database::build(&path).unwrap();
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2); PRAGMA user_version = 8")
            .unwrap();
        drop(db.finish().unwrap());
        let before = fs::read(&path).unwrap();
        let target = root.join("x.bak");
        fs::write(part_of(&target), b"left behind by a kill").unwrap();
        fs::write(sidecar(&part_of(&target), "-journal"), b"and its journal").unwrap();
        let taken = take(&Database::inspect(&path).unwrap(), &target).unwrap();
        assert_eq!(taken.tables, [("t".to_owned(), 2)]);
        assert_eq!(judge::stamp(&target).unwrap().user_version, 8);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(take(&Database::inspect(&path).unwrap(), &target).is_err(), "it would have been replaced");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
    }
}
