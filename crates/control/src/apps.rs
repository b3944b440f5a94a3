//! Apps as the registry knows them: a name, a tenant, and the pointer to the app's own database.

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use serde::Serialize;

/// One app of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The uuid that its database must carry; none before it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Raised by every move, so that the side that was moved away can be told.
    pub generation: i64,
    /// `creating`, `active`, `moving`, `moved`, `deleting` or `deleted`.
    pub state: String,
    /// How far the take-over of older data is; none for apps that never had any.
    pub split_state: Option<SplitState>,
    /// Why the take-over is not done, or what it left over.
    pub split_detail: Option<String>,
}

/// How far an app's take-over is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitState {
    /// To be done, or failed and to be tried again at the next start.
    Pending,
    /// There was neither a directory nor a row; done when the directory appears.
    Missing,
    /// Everything is accounted for.
    Done,
}

impl SplitState {
    /// As the database spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Missing => "missing",
            Self::Done => "done",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "missing" => Self::Missing,
            _ => Self::Done,
        }
    }
}

/// Numbers of apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// All that are registered.
    pub total: u64,
    /// Those whose take-over is to be tried again at the next start.
    pub pending: u64,
    /// Those with neither a directory nor a row of older data.
    pub missing: u64,
}

impl App {
    /// What is said of the app in one word: an open take-over, otherwise its state.
    pub fn standing(&self) -> &str {
        match self.split_state {
            Some(open @ (SplitState::Pending | SplitState::Missing)) => open.as_str(),
            Some(SplitState::Done) | None => &self.state,
        }
    }
}

const COLUMNS: &str = "id, name, display_name, livekit_room_prefix, created_at, updated_at, settings_json, \
    coalesce(tenant_id, 'platform'), uuid, generation, state, split_state, split_detail";

pub(crate) const BY_NAME: &str = "SELECT id FROM apps WHERE name = :name";

pub(crate) const OPEN_SPLITS: &str = "SELECT count(*) FROM apps WHERE split_state IN ('pending', 'missing')";

const TALLY: &str = "SELECT count(*), count(*) FILTER (WHERE split_state = 'pending'), \
    count(*) FILTER (WHERE split_state = 'missing') FROM apps";

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
        split_state: row.get::<_, Option<String>>(11)?.as_deref().map(SplitState::parse),
        split_detail: row.get(12)?,
    })
}

/// All apps, by name.
pub fn list(db: &Connection) -> Result<Vec<App>> {
    db.prepare(&format!("SELECT {COLUMNS} FROM apps ORDER BY name"))?.query_map([], read)?.collect()
}

/// All apps by their number: the order in which older rows are read.
pub fn list_by_id(db: &Connection) -> Result<Vec<App>> {
    db.prepare(&format!("SELECT {COLUMNS} FROM apps ORDER BY id"))?.query_map([], read)?.collect()
}

/// The app of this name.
pub fn by_name(db: &Connection, name: &str) -> Result<Option<App>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE id = ({BY_NAME})"))?
        .query_row(named_params! { ":name": name }, read)
        .optional()
}

/// How many apps the take-over is not done for; one read of a small index.
pub fn open_splits(db: &Connection) -> Result<u64> {
    db.query_row(OPEN_SPLITS, [], |row| row.get(0))
}

/// Whether any app's take-over is still to be done, or to be tried again.
pub fn any_pending(db: &Connection) -> Result<bool> {
    // The first term is the small index's own, so that it serves.
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM apps WHERE split_state IN ('pending', 'missing') AND split_state = 'pending')",
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

/// How many apps a registry has, an older system's too.
pub fn count(db: &Connection) -> Result<u64> {
    db.query_row("SELECT count(*) FROM apps", [], |row| row.get(0))
}

/// Marks every app for the take-over; part of adopting an older registry.
pub fn mark_all_pending(db: &Connection) -> Result<usize> {
    db.execute("UPDATE apps SET split_state = 'pending', split_detail = NULL", [])
}

/// Records how an app's take-over ended, and why.
pub fn set_split(db: &Connection, id: i64, state: SplitState, detail: Option<&str>) -> Result<()> {
    db.execute(
        "UPDATE apps SET split_state = :state, split_detail = :detail WHERE id = :id",
        named_params! { ":id": id, ":state": state.as_str(), ":detail": detail },
    )
    .map(drop)
}

/// Points an app at its database: the last step of the take-over.
pub fn point(db: &Connection, id: i64, uuid: &str, generation: i64) -> Result<()> {
    db.execute(
        "UPDATE apps SET uuid = :uuid, generation = :generation WHERE id = :id",
        named_params! { ":id": id, ":uuid": uuid, ":generation": generation },
    )
    .map(drop)
}
