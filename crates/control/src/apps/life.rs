//! The steps of an app's life.
//!
//! Every step compares the state it starts from with the row and sets the next one in the same
//! statement. What is refused has changed nothing, so the caller's transaction may commit.
//!
//! ```text
//! insert_creating ─▶ creating ─activate─▶ active ─mark_deleting─▶ deleting ─mark_deleted─▶ deleted
//!                        │                  ▲                        │  ▲                    │
//!                  abort_creating           └────finish_undelete─────┘  └───begin_undelete───┘
//! ```
//!
//! A start that finds an app `deleting` takes it to the trash, whichever way it was going: an undelete
//! that was not answered has not happened.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use schemars::JsonSchema;
use serde::Serialize;
use streamhub_engine::{AppId, Uuid, time};

use super::{App, AppState, TrashName, by_id, by_name, by_uuid};
use crate::deeds::{self, Outcome};
use crate::page::{Page, Part, Query};
use crate::quotas::{Enforcement, Metric, QuotaExceeded};
use crate::{TenantId, Within, tenants};

/// What the audit calls the making of an app.
pub const CREATE: &str = "app.create";
/// What it calls the adoption of one.
pub const ADOPT: &str = "app.adopt";
/// What it calls a renaming.
pub const RENAME: &str = "app.rename";
/// What it calls a deletion.
pub const DELETE: &str = "app.delete";
/// What it calls the way back from the trash.
pub const UNDELETE: &str = "app.undelete";

/// An app that is to be registered.
#[derive(Clone, Debug)]
pub struct NewApp {
    /// Its name.
    pub name: AppId,
    /// Whose it is.
    pub tenant: TenantId,
    /// A name for people.
    pub display_name: Option<String>,
    /// Prefix of its room names.
    pub room_prefix: Option<String>,
    /// The uuid that its database carries.
    pub uuid: Uuid,
}

/// What people may change of an app, as a whole.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// A name for people.
    pub display_name: Option<String>,
    /// Prefix of its room names.
    pub room_prefix: Option<String>,
    /// Settings of the older system.
    pub settings_json: Option<String>,
}

/// An app in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// The registry's number.
    pub id: i64,
    /// The name that it had, which another app may have meanwhile.
    pub name: String,
    /// Whose it is; `platform` where an older registry did not say.
    pub tenant_id: String,
    /// The name of its directory in the trash.
    #[serde(skip)]
    pub trash_name: TrashName,
    /// When it went there.
    pub deleted_at: String,
    /// Until when it is kept; none where that is beyond the calendar.
    pub purged_after: Option<String>,
}

/// Where in the trash an app is, or was before its way back began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trashed {
    /// The registry's number.
    pub app_id: i64,
    /// The name that it had.
    pub name: String,
    /// The name of its directory in the trash.
    pub trash_name: TrashName,
    /// When it went there.
    pub deleted_at: String,
}

/// Why a step was not taken; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another app has the name.
    #[error("there is already an app {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Another app has the uuid, and be it in the trash.
    #[error("an app with the uuid {uuid} is registered already")]
    UuidTaken {
        /// The uuid.
        uuid: Uuid,
    },
    /// There is no such tenant.
    #[error(transparent)]
    UnknownTenant(#[from] tenants::UnknownTenant),
    /// The tenant has as many apps as it may have.
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    /// There is no such app.
    #[error("there is no app {app}")]
    Unknown {
        /// Its name, or its number.
        app: String,
    },
    /// The app is elsewhere in its life.
    #[error("app {id} is {state}")]
    State {
        /// The app.
        id: i64,
        /// Where it is.
        state: AppState,
    },
    /// The registry knows a generation as high as that or higher.
    #[error("app {id} is at generation {current} already")]
    Generation {
        /// The app.
        id: i64,
        /// The registry's generation.
        current: i64,
    },
}

/// Registers an app as `creating` and returns its number.
pub fn insert_creating(db: &Connection, new: &NewApp, quotas: Enforcement) -> Result<Result<i64, Refused>> {
    if !tenants::exists(db, &new.tenant)? {
        return Ok(Err(tenants::UnknownTenant { tenant: new.tenant.clone() }.into()));
    }
    if by_name(db, new.name.as_str())?.is_some() {
        return Ok(Err(Refused::NameTaken { name: new.name.to_string() }));
    }
    if by_uuid(db, &new.uuid)?.is_some() {
        return Ok(Err(Refused::UuidTaken { uuid: new.uuid.clone() }));
    }
    if let Err(exceeded) = quotas.admit(db, &new.tenant, Metric::Apps)? {
        return Ok(Err(exceeded.into()));
    }
    db.prepare_cached(
        "INSERT INTO apps (name, tenant_id, display_name, livekit_room_prefix, uuid, state, created_at, updated_at) \
         VALUES (:name, :tenant, :display_name, :room_prefix, :uuid, :state, :now, :now) RETURNING id",
    )?
    .query_row(
        named_params! {
            ":name": new.name.as_str(),
            ":tenant": new.tenant,
            ":display_name": new.display_name,
            ":room_prefix": new.room_prefix,
            ":uuid": new.uuid,
            ":state": AppState::Creating,
            ":now": time::now(),
        },
        |row| row.get(0),
    )
    .map(Ok)
}

/// Puts an app into service whose directory is in place.
pub fn activate(db: &Connection, id: i64) -> Result<Result<(), Refused>> {
    let stepped = step(db, id, AppState::Creating, AppState::Active)?;
    if stepped.is_ok() {
        deeds::conclude(db, id, &[CREATE, ADOPT], Outcome::Done)?;
    }
    Ok(stepped)
}

/// Removes the row of an app that was never in service. A deleted app whose uuid it had gets that back.
pub fn abort_creating(db: &Connection, id: i64) -> Result<Result<(), Refused>> {
    let creating = by_id(db, id)?.filter(|app| app.state == AppState::Creating);
    if creating.is_some() {
        // Before the row goes, which takes along what names the deed.
        deeds::conclude(db, id, &[CREATE, ADOPT], Outcome::Failed)?;
    }
    let uuid = creating.and_then(|app| app.uuid());
    let removed = remove(db, id, AppState::Creating)?;
    if let (Ok(()), Some(Ok(uuid))) = (&removed, uuid) {
        give_back(db, &uuid)?;
    }
    Ok(removed)
}

/// Sets a deleted app's uuid aside, because a later copy of the same app is to be registered. What is in the
/// trash stays there for as long as that is kept, and cannot be undeleted meanwhile.
pub fn set_aside(db: &Connection, id: i64) -> Result<Result<(), Refused>> {
    let set_aside = db.execute(
        "UPDATE apps SET uuid = uuid || '~' || id WHERE id = :id AND state = 'deleted'",
        named_params! { ":id": id },
    )?;
    done_or_why(db, id, set_aside)
}

/// Gives a uuid that was set aside back to the app that was deleted last of those that had it, unless
/// another app has it.
pub fn give_back(db: &Connection, uuid: &Uuid) -> Result<()> {
    db.execute(
        "UPDATE apps SET uuid = :uuid WHERE NOT EXISTS (SELECT 1 FROM apps WHERE uuid = :uuid) AND id = \
         (SELECT max(id) FROM apps WHERE state = 'deleted' AND uuid = :uuid || '~' || id)",
        named_params! { ":uuid": uuid },
    )
    .map(drop)
}

/// Takes an app out of service, before its directory goes to the trash.
pub fn mark_deleting(db: &Connection, id: i64) -> Result<Result<(), Refused>> {
    step(db, id, AppState::Active, AppState::Deleting)
}

/// Frees the name of an app whose directory is in the trash under `trash_name`.
pub fn mark_deleted(db: &Connection, id: i64, trash_name: &TrashName) -> Result<Result<(), Refused>> {
    let stepped = step(db, id, AppState::Deleting, AppState::Deleted)?;
    if stepped.is_ok() {
        db.execute(
            "INSERT INTO _streamhub_trash (app_id, name, trash_name, deleted_at) \
             SELECT id, name, :trash_name, :now FROM apps WHERE id = :id \
             ON CONFLICT (app_id) DO UPDATE SET name = excluded.name, trash_name = excluded.trash_name",
            named_params! { ":id": id, ":trash_name": trash_name, ":now": time::now() },
        )?;
        db.execute("UPDATE apps SET name = name || '~' || id WHERE id = :id", named_params! { ":id": id })?;
        deeds::conclude(db, id, &[DELETE], Outcome::Done)?;
        deeds::conclude(db, id, &[UNDELETE], Outcome::Failed)?;
    }
    Ok(stepped)
}

/// Gives the app of this name that was [deleted last](last_deleted) its name back, as `deleting`, before its directory
/// leaves the trash; [`trashed`] says where it is.
pub fn begin_undelete(
    db: &Connection,
    name: &AppId,
    within: &Within,
    quotas: Enforcement,
) -> Result<Result<App, Refused>> {
    let Some(app) = last_deleted(db, name, within)?.map(|id| by_id(db, id)).transpose()?.flatten() else {
        return Ok(Err(Refused::Unknown { app: name.to_string() }));
    };
    if by_name(db, name.as_str())?.is_some() {
        return Ok(Err(Refused::NameTaken { name: name.to_string() }));
    }
    if let Err(exceeded) = quotas.admit(db, &TenantId::from_registry(app.tenant_id), Metric::Apps)? {
        return Ok(Err(exceeded.into()));
    }
    db.execute(
        "UPDATE apps SET name = :name, state = :state, updated_at = :now WHERE id = :id",
        named_params! {
            ":id": app.id,
            ":name": name.as_str(),
            ":state": AppState::Deleting,
            ":now": time::now(),
        },
    )?;
    by_id(db, app.id).map(|app| app.ok_or_else(|| Refused::Unknown { app: name.to_string() }))
}

/// The number of the app of this name that was deleted last, of those among `within` that can come back.
pub fn last_deleted(db: &Connection, name: &AppId, within: &Within) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT app_id FROM _streamhub_trash AS trash JOIN apps ON apps.id = trash.app_id \
         WHERE trash.name = :name AND apps.state = 'deleted' AND {} \
         AND coalesce(apps.uuid, '') NOT LIKE '%~%' ORDER BY deleted_at DESC, app_id DESC LIMIT 1",
        within.apps()
    );
    db.query_row(&sql, named_params! { ":name": name.as_str(), ":within": within }, |row| row.get(0))
        .optional()
}

/// Puts an app back into service whose directory came back from the trash.
pub fn finish_undelete(db: &Connection, id: i64) -> Result<Result<(), Refused>> {
    let stepped = step(db, id, AppState::Deleting, AppState::Active)?;
    if stepped.is_ok() {
        db.execute("DELETE FROM _streamhub_trash WHERE app_id = :id", named_params! { ":id": id })?;
        deeds::conclude(db, id, &[UNDELETE], Outcome::Done)?;
    }
    Ok(stepped)
}

/// Removes a deleted app's row and all that hangs on it, once the trash no longer holds its directory.
pub fn forget(db: &Connection, id: i64) -> Result<Result<(), Refused>> {
    remove(db, id, AppState::Deleted)
}

const TRASH: &str =
    "_streamhub_trash AS trash JOIN apps ON apps.id = trash.app_id WHERE apps.state = 'deleted'";

/// The deleted apps, those that were deleted first before others, and until when each is kept.
pub fn deleted(db: &Connection, keep: Duration) -> Result<Vec<Deleted>> {
    let columns = deleted_columns(keep);
    db.prepare(&format!("SELECT {columns} FROM {TRASH} ORDER BY deleted_at, app_id"))?
        .query_map([], read_deleted)?
        .collect()
}

/// A page of those of them that somebody sees.
pub fn deleted_page(db: &Connection, within: &Within, keep: Duration, page: Page) -> Result<Part<Deleted>> {
    let (columns, from) = (deleted_columns(keep), format!("{TRASH} AND {}", within.apps()));
    let query = Query { columns: &columns, from: &from, order: "deleted_at, app_id" };
    query.page(db, page, &[(":within", within)], read_deleted)
}

fn deleted_columns(keep: Duration) -> String {
    let keep = keep.as_secs_f64();
    format!(
        "app_id, trash.name, coalesce(apps.tenant_id, 'platform'), trash_name, deleted_at, \
         strftime('%Y-%m-%dT%H:%M:%fZ', deleted_at, '+{keep:.3} seconds')"
    )
}

fn read_deleted(row: &Row<'_>) -> Result<Deleted> {
    Ok(Deleted {
        id: row.get(0)?,
        name: row.get(1)?,
        tenant_id: row.get(2)?,
        trash_name: row.get(3)?,
        deleted_at: row.get(4)?,
        purged_after: row.get(5)?,
    })
}

/// Where in the trash an app is, or was before its undelete began.
pub fn trashed(db: &Connection, id: i64) -> Result<Option<Trashed>> {
    db.query_row(
        "SELECT app_id, name, trash_name, deleted_at FROM _streamhub_trash WHERE app_id = :id",
        named_params! { ":id": id },
        |row| {
            let (app_id, name) = (row.get(0)?, row.get(1)?);
            Ok(Trashed { app_id, name, trash_name: row.get(2)?, deleted_at: row.get(3)? })
        },
    )
    .optional()
}

/// Gives an app in service another name.
pub fn rename(db: &Connection, id: i64, name: &AppId) -> Result<Result<(), Refused>> {
    if by_name(db, name.as_str())?.is_some_and(|holder| holder.id != id) {
        return Ok(Err(Refused::NameTaken { name: name.to_string() }));
    }
    let renamed = db.execute(
        "UPDATE apps SET name = :name, updated_at = :now WHERE id = :id AND state = 'active'",
        named_params! { ":id": id, ":name": name.as_str(), ":now": time::now() },
    )?;
    done_or_why(db, id, renamed)
}

/// Replaces what people may change of an app in service.
pub fn update(db: &Connection, id: i64, details: &Details) -> Result<Result<(), Refused>> {
    let updated = db.execute(
        "UPDATE apps SET display_name = :display_name, livekit_room_prefix = :room_prefix, \
         settings_json = :settings, updated_at = :now WHERE id = :id AND state = 'active'",
        named_params! {
            ":id": id,
            ":display_name": details.display_name,
            ":room_prefix": details.room_prefix,
            ":settings": details.settings_json,
            ":now": time::now(),
        },
    )?;
    done_or_why(db, id, updated)
}

/// Raises an app's generation, which fences off whoever still holds a lower one.
pub fn set_generation(db: &Connection, id: i64, generation: i64) -> Result<Result<(), Refused>> {
    let raised = db.execute(
        "UPDATE apps SET generation = :generation, updated_at = :now WHERE id = :id AND generation < :generation",
        named_params! { ":id": id, ":generation": generation, ":now": time::now() },
    )?;
    if raised == 1 {
        return Ok(Ok(()));
    }
    by_id(db, id).map(|app| match app {
        Some(app) => Err(Refused::Generation { id, current: app.generation }),
        None => Err(Refused::Unknown { app: id.to_string() }),
    })
}

fn step(db: &Connection, id: i64, from: AppState, to: AppState) -> Result<Result<(), Refused>> {
    let stepped = db
        .prepare_cached("UPDATE apps SET state = :to, updated_at = :now WHERE id = :id AND state = :from")?
        .execute(named_params! { ":id": id, ":from": from, ":to": to, ":now": time::now() })?;
    done_or_why(db, id, stepped)
}

fn remove(db: &Connection, id: i64, from: AppState) -> Result<Result<(), Refused>> {
    let removed = db.execute(
        "DELETE FROM apps WHERE id = :id AND state = :from",
        named_params! { ":id": id, ":from": from },
    )?;
    done_or_why(db, id, removed)
}

/// Tells a step that changed the app's row from one that its state did not allow.
fn done_or_why(db: &Connection, id: i64, changed: usize) -> Result<Result<(), Refused>> {
    if changed == 1 {
        return Ok(Ok(()));
    }
    by_id(db, id).map(|app| match app {
        Some(app) => Err(Refused::State { id, state: app.state }),
        None => Err(Refused::Unknown { app: id.to_string() }),
    })
}
