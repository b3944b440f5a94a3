//! Nodes: the machines of a cluster, as they last spoke of themselves.

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use streamhub_engine::{normalised, time};

use streamhub_engine::words;

/// The most bytes of JSON that a heartbeat may bring.
pub const MAX_STATS: usize = 4096;

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its key.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Where it is reached.
    pub url: Option<String>,
    /// Where it stands.
    pub region: Option<String>,
    /// A [`NodeStatus`]; an older registry may also hold `unknown`.
    pub status: String,
    /// When it was made.
    pub created_at: String,
    /// When it last gave a sign of life.
    pub last_seen_at: Option<String>,
    /// What it said of itself then; none where that cannot be read.
    pub stats: Option<Value>,
    /// Whether the last sign of life is more than 90 seconds old, or there never was one.
    pub stale: bool,
}

/// What a node says of itself when it joins.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// Its name, by which it is known again.
    pub name: String,
    /// Where it is reached.
    pub url: Option<String>,
    /// Where it stands.
    pub region: Option<String>,
}

words! {
    /// What a node is meant to do.
    pub enum NodeStatus {
        /// Take work.
        Active = "active",
        /// Finish its work and take no other.
        Draining = "draining",
        /// Nothing.
        Disabled = "disabled",
    }
}

/// A node's name is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is already a node {name}")]
pub struct NameTaken {
    /// The name.
    pub name: String,
}

/// Why a heartbeat was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// There is no such node.
    #[error("there is no node {id}")]
    UnknownNode {
        /// Its key.
        id: String,
    },
    /// It said too much.
    #[error("stats: it has {bytes} bytes of JSON, at most {MAX_STATS} are kept")]
    TooLarge {
        /// How much it said.
        bytes: usize,
    },
}

/// `:now` less 90 seconds, against the last sign of life.
const COLUMNS: &str = concat!(
    "id, name, url, region, status, created_at, last_seen_at, stats_json, coalesce(",
    normalised!("last_seen_at"),
    " < strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-90 seconds'), 1)"
);

/// All nodes, by name.
pub fn list(db: &Connection) -> Result<Vec<Node>> {
    list_at(db, &time::now())
}

/// The node of this key.
pub fn get(db: &Connection, id: &str) -> Result<Option<Node>> {
    get_at(db, id, &time::now())
}

/// Makes a node that has not been heard of yet, and returns its key.
pub fn create(db: &Connection, new: &NewNode) -> Result<Result<String, NameTaken>> {
    if by_name(db, &new.name)?.is_some() {
        return Ok(Err(NameTaken { name: new.name.clone() }));
    }
    insert(db, new).map(Ok)
}

/// Takes a node into the cluster, or back: one of this name keeps its key and its status. What it does
/// not say of itself stays as it was. Returns its key.
pub fn join(db: &Connection, new: &NewNode) -> Result<String> {
    let id = match by_name(db, &new.name)? {
        Some(id) => id,
        None => insert(db, new)?,
    };
    db.execute(
        "UPDATE nodes SET url = coalesce(:url, url), region = coalesce(:region, region), last_seen_at = :now \
         WHERE id = :id",
        named_params! { ":id": id, ":url": new.url, ":region": new.region, ":now": time::now() },
    )?;
    Ok(id)
}

/// Records a sign of life. A node that drains or is disabled stays so, and so does what it said of itself before, where
/// it says nothing.
pub fn heartbeat(db: &Connection, id: &str, stats: Option<&Value>) -> Result<Result<(), NotRecorded>> {
    let stats = stats.map(Value::to_string);
    if let Some(bytes) = stats.as_ref().map(String::len).filter(|bytes| *bytes > MAX_STATS) {
        return Ok(Err(NotRecorded::TooLarge { bytes }));
    }
    let recorded = db.execute(
        "UPDATE nodes SET last_seen_at = :now, stats_json = coalesce(:stats, stats_json), \
         status = CASE status WHEN 'unknown' THEN 'active' ELSE status END WHERE id = :id",
        named_params! { ":id": id, ":stats": stats, ":now": time::now() },
    )?;
    Ok(if recorded == 1 { Ok(()) } else { Err(NotRecorded::UnknownNode { id: id.to_owned() }) })
}

/// Says what a node is meant to do. Says whether there is such a node.
pub fn set_status(db: &Connection, id: &str, status: NodeStatus) -> Result<bool> {
    db.execute(
        "UPDATE nodes SET status = :status WHERE id = :id",
        named_params! { ":id": id, ":status": status },
    )
    .map(|changed| changed == 1)
}

/// Removes a node. Says whether there was one.
pub fn delete(db: &Connection, id: &str) -> Result<bool> {
    db.execute("DELETE FROM nodes WHERE id = :id", named_params! { ":id": id }).map(|deleted| deleted == 1)
}

fn insert(db: &Connection, new: &NewNode) -> Result<String> {
    let id = format!("node_{}", streamhub_engine::new_uuid());
    db.execute(
        "INSERT INTO nodes (id, name, url, region, status, created_at) \
         VALUES (:id, :name, :url, :region, :status, :now)",
        named_params! {
            ":id": id,
            ":name": new.name,
            ":url": new.url,
            ":region": new.region,
            ":status": NodeStatus::Active,
            ":now": time::now(),
        },
    )?;
    Ok(id)
}

/// An older registry may hold a name twice; the node that was made first is meant.
fn by_name(db: &Connection, name: &str) -> Result<Option<String>> {
    db.query_row(
        concat!(
            "SELECT id FROM nodes WHERE name = :name ORDER BY ",
            normalised!("created_at"),
            ", id LIMIT 1"
        ),
        named_params! { ":name": name },
        |row| row.get(0),
    )
    .optional()
}

fn list_at(db: &Connection, now: &str) -> Result<Vec<Node>> {
    db.prepare(&format!("SELECT {COLUMNS} FROM nodes ORDER BY name, id"))?
        .query_map(named_params! { ":now": now }, read)?
        .collect()
}

fn get_at(db: &Connection, id: &str, now: &str) -> Result<Option<Node>> {
    db.query_row(
        &format!("SELECT {COLUMNS} FROM nodes WHERE id = :id"),
        named_params! { ":id": id, ":now": now },
        read,
    )
    .optional()
}

fn read(row: &Row<'_>) -> Result<Node> {
    Ok(Node {
        id: row.get(0)?,
        name: row.get(1)?,
        url: row.get(2)?,
        region: row.get(3)?,
        status: row.get(4)?,
        created_at: row.get(5)?,
        last_seen_at: row.get(6)?,
        stats: row.get::<_, Option<String>>(7)?.and_then(|json| serde_json::from_str(&json).ok()),
        stale: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::database;

    fn new(name: &str) -> NewNode {
        NewNode { name: name.to_owned(), url: Some("https://one.example".to_owned()), region: None }
    }

    #[test]
    fn a_node_that_joins_again_is_the_same() {
        let db = database();
        let id = join(&db, &new("one")).unwrap();
        assert_eq!(create(&db, &new("one")).unwrap(), Err(NameTaken { name: "one".to_owned() }));
        set_status(&db, &id, NodeStatus::Draining).unwrap();
        let again = NewNode { name: "one".to_owned(), url: None, region: Some("north".to_owned()) };
        assert_eq!(join(&db, &again).unwrap(), id);
        let node = get(&db, &id).unwrap().unwrap();
        assert_eq!(node.status, "draining");
        assert_eq!(
            (node.url.as_deref(), node.region.as_deref()),
            (Some("https://one.example"), Some("north"))
        );
        assert_ne!(join(&db, &new("two")).unwrap(), id);
        assert_eq!(list(&db).unwrap().len(), 2);
        assert!(delete(&db, &id).unwrap());
        assert!(!delete(&db, &id).unwrap());
        assert_eq!(get(&db, &id).unwrap(), None);
    }

    #[test]
    fn a_heartbeat_never_puts_a_node_back_to_work() {
        let db = database();
        let id = create(&db, &new("one")).unwrap().unwrap();
        let status = || get(&db, &id).unwrap().unwrap().status;
        for status_set in NodeStatus::ALL {
            assert!(set_status(&db, &id, *status_set).unwrap());
            heartbeat(&db, &id, Some(&json!({ "cpu": 0.5 }))).unwrap().unwrap();
            assert_eq!(status(), status_set.as_str());
        }
        heartbeat(&db, &id, None).unwrap().unwrap();
        assert_eq!(get(&db, &id).unwrap().unwrap().stats, Some(json!({ "cpu": 0.5 })));
        // An older system's node, of which it never heard.
        db.execute("UPDATE nodes SET status = 'unknown', stats_json = '{'", []).unwrap();
        assert_eq!(get(&db, &id).unwrap().unwrap().stats, None);
        heartbeat(&db, &id, Some(&json!({}))).unwrap().unwrap();
        assert_eq!(status(), "active");
        assert!(!set_status(&db, "nobody", NodeStatus::Active).unwrap());
    }

    #[test]
    fn a_heartbeat_of_nobody_or_of_too_much_is_not_recorded() {
        let db = database();
        let id = create(&db, &new("one")).unwrap().unwrap();
        // Two of the bytes are quotation marks.
        let text = |bytes: usize| Value::from("x".repeat(bytes - 2));
        heartbeat(&db, &id, Some(&text(MAX_STATS))).unwrap().unwrap();
        let refused = heartbeat(&db, &id, Some(&text(MAX_STATS + 1))).unwrap();
        assert_eq!(refused, Err(NotRecorded::TooLarge { bytes: MAX_STATS + 1 }));
        assert_eq!(get(&db, &id).unwrap().unwrap().stats, Some(text(MAX_STATS)));
        let refused = heartbeat(&db, "nobody", None).unwrap();
        assert_eq!(refused, Err(NotRecorded::UnknownNode { id: "nobody".to_owned() }));
    }

    #[test]
    fn a_node_is_stale_after_ninety_seconds_in_either_spelling() {
        let db = database();
        let id = create(&db, &new("one")).unwrap().unwrap();
        let stale = |now: &str| {
            let listed = list_at(&db, now).unwrap().remove(0).stale;
            assert_eq!(get_at(&db, &id, now).unwrap().unwrap().stale, listed);
            listed
        };
        assert!(stale("2026-11-21T12:00:00.000Z"));
        for seen in ["2026-11-21T12:00:00.000Z", "2026-11-21 12:00:00"] {
            db.execute("UPDATE nodes SET last_seen_at = ?1", [seen]).unwrap();
            assert!(!stale("2026-11-21T12:00:00.000Z"));
            assert!(!stale("2026-11-21T12:01:30.000Z"));
            assert!(stale("2026-11-21T12:01:30.001Z"));
        }
    }
}
