//! Putting a finished database file into service.
//!
//! A new database renamed beside some other file's `-wal` would show that other file's tables and
//! call itself sound. So sidecars of the target are moved away, durably, *before* the rename.

use std::path::Path;

use crate::durable;
use crate::error::{Error, Result, Unfit};
use crate::time;
use crate::unopened::{Unopened, sidecar};

/// What an installation moved out of the way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Names of orphaned sidecars now in the trash, relative to it.
    pub moved_away: Vec<String>,
}

/// Renames a file that [`Database::finish`](crate::Database::finish) made durable to a name that is free, and
/// makes that durable too. That the old name is gone need not last: it is staging's.
///
/// Sidecars that lie at the target go to a dated folder in `trash`, which is created when needed and
/// must be on the same filesystem. Nothing is ever replaced.
pub fn install_new(staged: &Unopened, target: &Path, trash: &Path) -> Result<Installed> {
    if !staged.header()?.wal {
        let detail = "a staged database is not in WAL mode".to_owned();
        return Err(Error::unfit(staged.path(), Unfit::Mismatch { detail }));
    }
    staged.require_whole()?;
    if durable::exists(target)? {
        return Err(Error::unfit(target, Unfit::Exists));
    }
    let moved_away = move_sidecars_away(target, trash)?;
    durable::move_new(staged.path(), target)?;
    Ok(Installed { moved_away })
}

fn move_sidecars_away(target: &Path, trash: &Path) -> Result<Vec<String>> {
    let mut moved = Vec::new();
    for ending in ["-wal", "-shm", "-journal"] {
        let path = sidecar(target, ending);
        if !durable::exists(&path)? {
            continue;
        }
        let mut name = time::file_stamp();
        for part in [durable::parent(target), &path].iter().filter_map(|part| part.file_name()) {
            name.push('-');
            name.push_str(&part.to_string_lossy());
        }
        durable::create_dir(trash)?;
        durable::rename_new(&path, &trash.join(&name))?;
        moved.push(name);
    }
    Ok(moved)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use super::*;
    use crate::connect::Database;
    use std::fs;

    fn built(path: &Path, rows: i64) -> Unopened {
        let db = Database::build(path).unwrap();
        db.execute_batch("CREATE TABLE t (a)").unwrap();
        for row in 0..rows {
            db.execute("INSERT INTO t VALUES (?1)", [row]).unwrap();
        }
        db.finish().unwrap()
    }

    fn rows(path: &Path) -> i64 {
        Database::write(path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_orphaned_wal_does_not_shine_through() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (target, trash) = (root.join("app.db"), root.join("trash"));
        // The wal of a database of ours that somebody removed.
        drop(built(&target, 1));
        let db = Database::write(&target).unwrap();
        db.execute_batch("CREATE TABLE old (a); DROP TABLE t").unwrap();
        fs::copy(sidecar(&target, "-wal"), root.join("kept")).unwrap();
        drop(db);
        fs::remove_file(&target).unwrap();
        fs::rename(root.join("kept"), sidecar(&target, "-wal")).unwrap();

        let installed = install_new(&built(&root.join("staged.db"), 3), &target, &trash).unwrap();
        assert_eq!(installed.moved_away.len(), 1);
        assert!(trash.join(&installed.moved_away[0]).exists(), "the wal is kept");
        assert_eq!(rows(&target), 3);
    }

    #[test]
    fn nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let target = root.join("app.db");
        drop(built(&target, 2));
        let refused = install_new(&built(&root.join("staged.db"), 3), &target, &root.join("trash"));
        assert!(matches!(refused, Err(Error::Unfit { unfit: Unfit::Exists, .. })));
        assert_eq!(rows(&target), 2);
    }
}
