//! Making an older control database ours: backup first, then one transaction.
//!
//! Until that transaction commits, the older system could go on as if nothing had happened; after it,
//! every app is marked to be taken over and the backup's name is on record.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use streamhub::HubError;
use streamhub::legacy::Site;
use streamhub_control::db::identify;
use streamhub_control::schema::SCHEMA;
use streamhub_control::{apps, sessions, tenants};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge;
use streamhub_engine::migrate::From;
use streamhub_engine::reshape::refuse_none;
use streamhub_engine::unopened::Protection;
use streamhub_engine::{Database, durable, meta, snapshot, time};

use crate::older;
use crate::space;

/// What adopting did.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The older schema's version.
    pub(crate) version: u32,
    /// The backup's name, beside the control database.
    pub(crate) backup: String,
}

/// Backs an older control database up and adopts it; `inspected` is what [`judge`] found fit for that.
pub(crate) fn adopt(site: &Site, inspected: Database, version: u32) -> Result<Adopted, HubError> {
    space::require(site)?;
    let backup = backup_name(&site.control);
    snapshot::take(&inspected, &backup).map_err(HubError::Backup)?;
    drop(inspected);
    let name = backup.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let adopted = Database::write(&site.control).and_then(|mut db| {
        migrate(&mut db, &name)?;
        db.checkpoint()?;
        db.close()
    });
    if adopted.is_err() {
        remove_unused(&backup, &site.control);
    }
    adopted.map_err(HubError::control)?;
    Ok(Adopted { version, backup: name })
}

/// Removes a copy that was made before a change which then did not happen: a start that fails every
/// time must not fill the disk. Where the change may have happened all the same, the copy stays.
pub(crate) fn remove_unused(copy: &Path, of: &Path) {
    let unchanged =
        judge::stamp_with(of, Protection::Overridden).is_ok_and(|stamp| stamp.application_id == 0);
    if unchanged && let Err(error) = durable::remove_file(copy) {
        tracing::warn!(path = %copy.display(), %error, "a copy that is of no use could not be removed");
    }
}

/// An older control database, opened without leaving a trace, once everything speaks for adopting it.
pub(crate) fn judge(site: &Site, version: u32) -> Result<Database, HubError> {
    let inspected = Database::inspect(&site.control).map_err(HubError::control)?;
    older::judge_control(&inspected, version).map_err(HubError::control)?;
    refuse_no_directory(site, &names(&inspected)?)?;
    Ok(inspected)
}

/// Adopts the open database and remembers the backup's name in the same transaction.
pub(crate) fn migrate(db: &mut Database, backup: &str) -> streamhub_engine::Result<()> {
    let path = db.path().to_owned();
    SCHEMA.migrate(db, From::Older(&mut refuse_none(&path)), |tx| {
        for key in [older::SPLIT_DONE, older::SPLIT_BACKUP, streamhub_control::db::INSTALLATION] {
            meta::set_aside(tx, key, older::LEGACY).of(&path)?;
        }
        meta::set(tx, older::SPLIT_BACKUP, backup).of(&path)?;
        tenants::ensure_platform(tx).of(&path)?;
        identify(tx).of(&path)?;
        apps::mark_all_pending(tx).of(&path)?;
        // Their cookies are no credentials here, and a list must not show them as open.
        sessions::revoke_older(tx).of(&path)?;
        Ok(())
    })
}

/// The names that a registry holds, an older system's too.
pub(crate) fn names(control: &Database) -> Result<BTreeSet<String>, HubError> {
    control
        .prepare("SELECT name FROM apps")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .of(control.path())
        .map_err(HubError::control)
}

/// Refuses where apps are registered and none of them has a directory: then a disk is missing, not
/// every app.
pub(crate) fn refuse_no_directory(site: &Site, names: &BTreeSet<String>) -> Result<(), HubError> {
    // Older names may be none that a path can be made of; they are looked for in a listing.
    let present = durable::names_in(&site.data.apps())?;
    if names.is_empty() || present.iter().any(|name| names.contains(name)) {
        return Ok(());
    }
    Err(HubError::NoAppDirectory { apps: site.data.apps(), registered: names.len() })
}

fn backup_name(control: &Path) -> PathBuf {
    let name = control.file_name().unwrap_or_default().to_string_lossy().into_owned();
    control.with_file_name(format!("{name}.bak-{}", time::file_stamp()))
}
