//! Apps as the registry knows them: a name, a tenant, and the pointer to the app's own database.
//!
//! A deleted app keeps its row, so that its tokens survive an undelete, and gives its name away. Only
//! [`by_id`], [`by_uuid`] and [`deleted`] show such rows; everything else here passes over them.

mod life;
mod trash_name;

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use schemars::JsonSchema;
use serde::Serialize;

use crate::page::{Page, Part, Query};
use crate::{TenantId, Within};
use streamhub_engine::uuid::BadUuid;
use streamhub_engine::{Uuid, words};

pub use life::{
    ADOPT, CREATE, DELETE, Deleted, Details, NewApp, RENAME, Refused, Trashed, UNDELETE, abort_creating,
    activate, begin_undelete, deleted, deleted_page, finish_undelete, forget, give_back, insert_creating,
    last_deleted, mark_deleted, mark_deleting, rename, set_aside, set_generation, trashed, update,
};
pub use trash_name::TrashName;

/// One app of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// The registry's number; rows of an app carry it as `app_id`.
    pub id: i64,
    /// The name as the registry has it. Older registries may hold names that are no `AppId`.
    pub name: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// Prefix of the app's room names.
    pub livekit_room_prefix: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When its registry row last changed.
    pub updated_at: String,
    /// Settings of the older system, kept as they are.
    pub settings_json: Option<String>,
    /// Whose it is; `platform` where an older registry did not say.
    pub tenant_id: String,
    /// The registry's text, which [`uuid`](Self::uuid) parses.
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    /// Raised by every move, so that the side that was moved away can be told.
    pub generation: i64,
    /// Where in its life it is.
    pub state: AppState,
    /// How far the take-over of older data is; none for apps that never had any.
    pub split_state: Option<SplitState>,
    /// Why the take-over is not done, or what it left over.
    pub split_detail: Option<String>,
}

words! {
    /// Where in its life an app is.
    pub enum AppState {
        /// Registered; its directory is being made.
        Creating = "creating",
        /// In service.
        Active = "active",
        /// On its way to another machine.
        Moving = "moving",
        /// In service on another machine; what is here is a tombstone.
        Moved = "moved",
        /// On its way to the trash, or back from there.
        Deleting = "deleting",
        /// In the trash.
        Deleted = "deleted",
    }
}

words! {
    /// How far an app's take-over is.
    pub enum SplitState {
        /// To be done, or failed and to be tried again at the next start.
        Pending = "pending",
        /// There was neither a directory nor a row; done when the directory appears.
        Missing = "missing",
        /// Everything is accounted for.
        Done = "done",
    }
}

/// Numbers of apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// All that are registered.
    pub total: u64,
    /// Those that wait for a person. To the registry they are those whose take-over is to be tried again at the next
    /// start; to a hub also those that cannot be opened.
    pub pending: u64,
    /// Those that are not there. To the registry they are those with neither a directory nor a row of older data; to a
    /// hub also those whose database was lost since.
    pub missing: u64,
}

impl App {
    /// The uuid that its database must carry; none before it has one, and an error where the registry's text
    /// is none: that of a deleted app was set aside.
    pub fn uuid(&self) -> Option<std::result::Result<Uuid, BadUuid>> {
        self.uuid.as_deref().map(str::parse)
    }

    /// The registry's text of the uuid, for people.
    pub fn uuid_text(&self) -> Option<&str> {
        self.uuid.as_deref()
    }

    /// Whether the database of this uuid is the one that the registry points at.
    pub fn points_at(&self, uuid: &Uuid) -> bool {
        self.uuid().is_some_and(|own| own.as_ref() == Ok(uuid))
    }

    /// What is said of the app in one word: an open take-over, otherwise its state.
    pub fn standing(&self) -> &str {
        match self.split_state {
            Some(open @ (SplitState::Pending | SplitState::Missing)) => open.as_str(),
            Some(SplitState::Done) | None => self.state.as_str(),
        }
    }
}

const COLUMNS: &str = "id, name, display_name, livekit_room_prefix, created_at, updated_at, settings_json, \
    coalesce(tenant_id, 'platform'), uuid, generation, state, split_state, split_detail";

pub(crate) const BY_NAME: &str = "SELECT id FROM apps WHERE name = :name AND state <> 'deleted'";

pub(crate) const OPEN_SPLITS: &str =
    "SELECT count(*) FROM apps WHERE split_state IN ('pending', 'missing') AND state <> 'deleted'";

/// Spelt as the small index spells it, so that it serves.
pub(crate) const UNFINISHED: &str = "state IN ('creating', 'moving', 'deleting')";

/// A condition: the app is this tenant's. Where an older registry names none, it is the platform's.
pub(crate) const OF_TENANT: &str =
    "(apps.tenant_id = :tenant OR (apps.tenant_id IS NULL AND :tenant = 'platform'))";

const TALLY: &str = "SELECT count(*), count(*) FILTER (WHERE split_state = 'pending'), \
    count(*) FILTER (WHERE split_state = 'missing') FROM apps WHERE state <> 'deleted'";

/// All apps, by name.
pub fn list(db: &Connection) -> Result<Vec<App>> {
    select(db, "WHERE state <> 'deleted' ORDER BY name")
}

/// All apps by their number: the order in which older rows are read.
pub fn list_by_id(db: &Connection) -> Result<Vec<App>> {
    select(db, "WHERE state <> 'deleted' ORDER BY id")
}

/// A page of the apps that somebody sees, by name.
pub fn page(db: &Connection, within: &Within, page: Page) -> Result<Part<App>> {
    let query = Query { columns: COLUMNS, from: &seen(within), order: "name" };
    query.page(db, page, &[(":within", within)], read)
}

/// How many apps somebody sees.
pub fn count_within(db: &Connection, within: &Within) -> Result<u64> {
    Query { columns: "", from: &seen(within), order: "" }.count(db, &[(":within", within)])
}

fn seen(within: &Within) -> String {
    format!("apps WHERE state <> 'deleted' AND {}", within.apps())
}

/// The apps in the middle of a step, which a start finishes or takes back.
pub fn unfinished(db: &Connection) -> Result<Vec<App>> {
    select(db, &format!("WHERE {UNFINISHED} ORDER BY id"))
}

/// The app of this name.
pub fn by_name(db: &Connection, name: &str) -> Result<Option<App>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE id = ({BY_NAME})"))?
        .query_row(named_params! { ":name": name }, read)
        .optional()
}

/// The app of this number. A deleted one is shown too, with the name that its row has meanwhile.
pub fn by_id(db: &Connection, id: i64) -> Result<Option<App>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE id = :id"))?
        .query_row(named_params! { ":id": id }, read)
        .optional()
}

/// The app whose database carries this uuid. A deleted one is shown too, with the name that its row
/// has meanwhile.
pub fn by_uuid(db: &Connection, uuid: &Uuid) -> Result<Option<App>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE uuid = :uuid"))?
        .query_row(named_params! { ":uuid": uuid }, read)
        .optional()
}

/// How many apps count against a tenant's quota: those here, and neither deleted nor moved away.
pub fn count_of(db: &Connection, tenant: &TenantId) -> Result<u64> {
    db.prepare_cached(&format!(
        "SELECT count(*) FROM apps WHERE state NOT IN ('deleted', 'moved') AND {OF_TENANT}"
    ))?
    .query_row(named_params! { ":tenant": tenant }, |row| row.get(0))
}

/// How many apps the take-over is not done for; one read of a small index.
pub fn open_splits(db: &Connection) -> Result<u64> {
    db.query_row(OPEN_SPLITS, [], |row| row.get(0))
}

/// Whether any app's take-over is still to be done, or to be tried again.
pub fn any_pending(db: &Connection) -> Result<bool> {
    // The first term is the small index's own, so that it serves.
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM apps WHERE split_state IN ('pending', 'missing') \
         AND split_state = 'pending' AND state <> 'deleted')",
        [],
        |row| row.get(0),
    )
}

/// How many apps are registered; of those, how many could not be taken over and how many are missing.
pub fn tally(db: &Connection) -> Result<Tally> {
    db.query_row(TALLY, [], |row| {
        Ok(Tally { total: row.get(0)?, pending: row.get(1)?, missing: row.get(2)? })
    })
}

/// How many apps the registry of an older system has.
pub fn count(db: &Connection) -> Result<u64> {
    db.query_row("SELECT count(*) FROM apps", [], |row| row.get(0))
}

/// The names of the apps that are in service.
pub fn in_service(db: &Connection) -> Result<Vec<String>> {
    db.prepare("SELECT name FROM apps WHERE state = 'active' AND coalesce(split_state, 'done') = 'done'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Whether the app of this name is in service.
pub fn is_in_service(db: &Connection, name: &str) -> Result<bool> {
    Ok(by_name(db, name)?.is_some_and(|app| app.standing() == AppState::Active.as_str()))
}

/// Marks every app for the take-over; part of adopting an older registry.
pub fn mark_all_pending(db: &Connection) -> Result<usize> {
    db.execute("UPDATE apps SET split_state = 'pending', split_detail = NULL", [])
}

/// Records how an app's take-over ended, and why.
pub fn set_split(db: &Connection, id: i64, state: SplitState, detail: Option<&str>) -> Result<()> {
    db.execute(
        "UPDATE apps SET split_state = :state, split_detail = :detail WHERE id = :id",
        named_params! { ":id": id, ":state": state, ":detail": detail },
    )
    .map(drop)
}

/// Points an app at its database: the last step of the take-over.
pub fn point(db: &Connection, id: i64, uuid: &Uuid, generation: i64) -> Result<()> {
    db.execute(
        "UPDATE apps SET uuid = :uuid, generation = :generation WHERE id = :id",
        named_params! { ":id": id, ":uuid": uuid, ":generation": generation },
    )
    .map(drop)
}

fn select(db: &Connection, which: &str) -> Result<Vec<App>> {
    db.prepare(&format!("SELECT {COLUMNS} FROM apps {which}"))?.query_map([], read)?.collect()
}

fn read(row: &Row<'_>) -> Result<App> {
    Ok(App {
        id: row.get(0)?,
        name: row.get(1)?,
        display_name: row.get(2)?,
        livekit_room_prefix: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
        settings_json: row.get(6)?,
        tenant_id: row.get(7)?,
        uuid: row.get(8)?,
        generation: row.get(9)?,
        state: row.get(10)?,
        split_state: row.get(11)?,
        split_detail: row.get(12)?,
    })
}

#[cfg(test)]
mod tests;
