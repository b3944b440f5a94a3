//! Removing older rows and files once they are safe.
//!
//! Only what was imported or is held goes, and only while the sources are still, row for row, the
//! ones that were taken over; and everything is backed up first. Tables stay, empty.

use std::collections::BTreeMap;
use std::path::PathBuf;

use streamhub::HubError;
use streamhub::legacy::Site;
use streamhub::progress::{Progress, Silent};
use streamhub::report::{CleanupReport, SplitReport};
use streamhub_control::Control;
use streamhub_control::apps::{self, App, SplitState};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::reshape::has_table;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{Database, Result, durable, meta, snapshot, time};

use crate::app::{self, Mode, Run};
use crate::blank::Blank;
use crate::crew;
use crate::cursor::Select;
use crate::fill::HighestIds;
use crate::older::TABLES;

/// Decides what would go, and changes nothing.
pub(crate) fn plan(site: &Site, control: &Database, report: &mut SplitReport) -> Result<(), HubError> {
    let decided = decide(site, control)?;
    let mut cleanup = CleanupReport { kept: decided.kept, ..CleanupReport::default() };
    cleanup.files_removed = decided.files.iter().map(|(_, path)| shown(site, path)).collect();
    for table in &TABLES {
        let rows = count_rows(control, table, &decided.apps).of(control.path())?;
        if rows > 0 {
            cleanup.rows_removed.insert(table.name.to_owned(), rows);
        }
    }
    report.cleanup = Some(cleanup);
    Ok(())
}

/// Backs up and removes.
pub(crate) fn run(
    site: &Site,
    control: &mut Control,
    progress: &dyn Progress,
    report: &mut SplitReport,
) -> Result<(), HubError> {
    let decided = decide(site, control.database())?;
    let mut cleanup = CleanupReport { kept: decided.kept, ..CleanupReport::default() };
    let mut rows = BTreeMap::new();
    for table in &TABLES {
        let found = control.query(|db| count_rows(db, table, &decided.apps))?;
        if found > 0 {
            rows.insert(table.name.to_owned(), found);
        }
    }
    if rows.is_empty() && decided.files.is_empty() {
        report.cleanup = Some(cleanup);
        return Ok(());
    }
    progress.begin("backing up before the clean-up", Some(1 + decided.files.len() as u64));
    let dir = back_up(site, control.database(), &decided.files, progress).map_err(HubError::Backup)?;
    progress.end();
    control.write(|tx| {
        for table in &TABLES {
            delete_rows(tx, table, &decided.apps)?;
        }
        Ok(())
    })?;
    for (_, path) in &decided.files {
        // A -wal must not outlive its database, nor a database lose the commits in its -wal. So these
        // become part of the file first, and whenever this is interrupted, the file is whole or gone.
        if durable::exists(&sidecar(path, "-wal"))? {
            let whole = Database::write(path)?;
            whole.checkpoint()?;
            whole.close()?;
        }
        for ending in ["-shm", "-wal", ""] {
            durable::remove_file(&sidecar(path, ending))?;
        }
        cleanup.files_removed.push(shown(site, path));
    }
    cleanup.backup = Some(shown(site, &dir));
    cleanup.rows_removed = rows;
    report.cleanup = Some(cleanup);
    Ok(())
}

/// Copies everything that is about to go. The directory has its name once all of it is proven.
fn back_up(
    site: &Site,
    control: &Database,
    files: &[(App, PathBuf)],
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let dir = site.data.backups().join(format!("cleanup-{}", time::file_stamp()));
    let part = snapshot::part_of(&dir);
    durable::create_dir_all(&part)?;
    snapshot::take(control, &part.join("streamhub.db"))?;
    progress.advance(1);
    for (app, path) in files {
        let source = Database::inspect(path)?;
        snapshot::take(&source, &part.join(format!("{}-vods.db", app.name)))?;
        progress.advance(1);
    }
    durable::rename_new(&part, &dir)?;
    Ok(dir)
}

struct Decided {
    apps: Vec<App>,
    files: Vec<(App, PathBuf)>,
    kept: Vec<String>,
}

fn decide(site: &Site, control: &Database) -> Result<Decided, HubError> {
    let path = &site.control;
    let mut decided = Decided { apps: Vec::new(), files: Vec::new(), kept: Vec::new() };
    let installation = meta::get(control, streamhub_control::db::INSTALLATION).of(path)?.unwrap_or_default();
    let run = Run {
        site,
        highest_ids: HighestIds::find(control).of(path)?,
        blank: Blank::new()?,
        installation: &installation,
        recover: None,
        mode: Mode::DryRun,
    };
    let registered = apps::list_by_id(control).of(path)?;
    let (done, others): (Vec<_>, Vec<_>) =
        registered.iter().partition(|app| app.split_state == Some(SplitState::Done));
    let open = others.into_iter().filter(|app| app.split_state.is_some());
    decided.kept.extend(open.map(|app| format!("app {}: it is not taken over", app.name)));
    let mut all = BTreeMap::new();
    crew::each_app(
        control,
        &Select::All,
        &done,
        &Silent,
        |app, incoming| app::settled(&run, app, incoming),
        |settled| {
            all.extend(settled);
            Ok(())
        },
    )?;
    for (at, settled) in all {
        let app = done[at];
        match settled {
            Ok(Some(settled)) => {
                decided.apps.push(app.clone());
                decided.files.extend(settled.vods_db.map(|path| (app.clone(), path)));
            }
            Ok(None) => {}
            Err(why) => decided.kept.push(format!("app {}: {why}", app.name)),
        }
    }
    Ok(decided)
}

fn shown(site: &Site, path: &std::path::Path) -> String {
    site.data.shown(path).display().to_string()
}

/// The apps' rows, chosen through one temporary table so that each table is read once.
fn owners(
    db: &rusqlite::Connection,
    table: &crate::older::Table,
    chosen: &[App],
) -> rusqlite::Result<&'static str> {
    db.execute_batch(
        "DROP TABLE IF EXISTS temp.chosen; CREATE TEMP TABLE chosen (owner PRIMARY KEY) WITHOUT ROWID",
    )?;
    let mut insert = db.prepare("INSERT INTO temp.chosen VALUES (?1)")?;
    for app in chosen {
        if table.numbered {
            insert.execute([app.id])?;
        } else {
            insert.execute([&app.name])?;
        }
    }
    Ok(if table.numbered { "app_id" } else { "app" })
}

fn count_rows(
    db: &rusqlite::Connection,
    table: &crate::older::Table,
    chosen: &[App],
) -> rusqlite::Result<u64> {
    if !has_table(db, table.name)? {
        return Ok(0);
    }
    let owner = owners(db, table, chosen)?;
    let sql = format!(
        "SELECT count(*) FROM {} NOT INDEXED WHERE {owner} IN (SELECT owner FROM temp.chosen)",
        table.name
    );
    db.query_row(&sql, [], |row| row.get(0))
}

fn delete_rows(
    db: &rusqlite::Connection,
    table: &crate::older::Table,
    chosen: &[App],
) -> rusqlite::Result<()> {
    if !has_table(db, table.name)? {
        return Ok(());
    }
    let owner = owners(db, table, chosen)?;
    let sql =
        format!("DELETE FROM {} NOT INDEXED WHERE {owner} IN (SELECT owner FROM temp.chosen)", table.name);
    db.execute(&sql, []).map(drop)
}
