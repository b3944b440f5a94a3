//! The audit: who did what to whom, from where, and how it ended.
//!
//! Control mutations append their entry in their own transaction. Those of an app lie in its outbox
//! until they are shipped here, and (uuid, seq) of the outbox row makes that happen once.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result, Row, ToSql, named_params};
use serde::{Deserialize, Serialize};
use streamhub_engine::Uuid;
use streamhub_engine::time::Moment;

use crate::TenantId;

/// The most entries that one call of [`prune`] removes.
pub const PRUNE_CHUNK: usize = 1000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// Whose it was; none where no tenant is concerned.
    pub tenant_id: Option<String>,
    /// The app's name at that time.
    pub app: Option<String>,
    /// Who did it.
    pub principal: String,
    /// From which address.
    pub address: Option<String>,
    /// What was done, as `app.create`.
    pub action: String,
    /// To what.
    pub target: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// Whatever else is worth knowing, as JSON.
    pub detail_json: Option<String>,
}

/// An entry with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Its number.
    pub id: i64,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// A place between two entries of a list, as `2026-11-21T03:54:52.423Z.17`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    at: Moment,
    id: i64,
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no cursor of this list")]
pub struct BadCursor;

/// Which entries a list shows.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// Only this tenant's; none means all.
    pub tenant: Option<&'a TenantId>,
    /// From this time on.
    pub since: Option<&'a Moment>,
    /// Before this time.
    pub until: Option<&'a Moment>,
    /// Only what comes after this place, which was in a list with the same filter.
    pub cursor: Option<&'a Cursor>,
    /// How many at the most.
    pub limit: u32,
}

/// A part of the list, the newest entry first.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The entries.
    pub entries: Vec<Recorded>,
    /// Where the next part begins; none where this is the last.
    pub next: Option<Cursor>,
}

impl Entry {
    /// Something that happens at this moment.
    pub fn now(principal: &str, action: &str, outcome: &str) -> Self {
        Self {
            at: Moment::now(),
            tenant_id: None,
            app: None,
            principal: principal.to_owned(),
            address: None,
            action: action.to_owned(),
            target: None,
            outcome: outcome.to_owned(),
            detail_json: None,
        }
    }
}

/// Appends an entry and returns its number.
pub fn append(db: &Connection, entry: &Entry) -> Result<i64> {
    insert(db, entry, None).map(|_| db.last_insert_rowid())
}

/// Appends the entry that an app's outbox holds under `seq`. Says whether it was not here yet.
pub fn ship(db: &Connection, uuid: &Uuid, seq: i64, entry: &Entry) -> Result<bool> {
    insert(db, entry, Some((uuid, seq)))
}

/// Lists entries, the newest first.
pub fn list(db: &Connection, filter: &Filter<'_>) -> Result<Listed> {
    let wanted = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let (before, before_id) = match (filter.cursor, filter.until) {
        (Some(cursor), _) => (cursor.at.as_str(), cursor.id),
        (None, Some(until)) => (until.as_str(), 0),
        // After every time there is.
        (None, None) => ("~", 0),
    };
    let mut parameters: Vec<(&str, &dyn ToSql)> =
        vec![(":since", &filter.since), (":before", &before), (":before_id", &before_id)];
    if let Some(tenant) = &filter.tenant {
        parameters.push((":tenant", tenant));
    }
    // One more than wanted shows whether there is more.
    let limit = i64::from(filter.limit) + 1;
    parameters.push((":limit", &limit));
    let mut entries: Vec<Recorded> = db
        .prepare_cached(&list_sql(filter.tenant.is_some()))?
        .query_map(&*parameters, read)?
        .collect::<Result<_>>()?;
    let is_more = entries.len() > wanted;
    entries.truncate(wanted);
    let next = entries.last().filter(|_| is_more).map(Cursor::after);
    Ok(Listed { entries, next })
}

/// How many entries [`prune`] would remove in all.
pub fn count_before(db: &Connection, before: &Moment) -> Result<u64> {
    db.query_row(
        "SELECT count(*) FROM _streamhub_audit WHERE at < :before",
        named_params! { ":before": before },
        |row| row.get(0),
    )
}

/// Removes the oldest entries from before this time, [`PRUNE_CHUNK`] at the most, and returns how many.
/// To be called again, each time in a transaction of its own, until fewer are removed.
pub fn prune(db: &Connection, before: &Moment) -> Result<usize> {
    db.prepare_cached(
        "DELETE FROM _streamhub_audit WHERE id IN \
         (SELECT id FROM _streamhub_audit WHERE at < :before ORDER BY at, id LIMIT :chunk)",
    )?
    .execute(named_params! { ":before": before, ":chunk": PRUNE_CHUNK })
}

fn insert(db: &Connection, entry: &Entry, origin: Option<(&Uuid, i64)>) -> Result<bool> {
    db.prepare_cached(
        "INSERT INTO _streamhub_audit (at, tenant_id, app, principal, address, action, target, outcome, \
         detail_json, origin_uuid, origin_seq) VALUES (:at, :tenant, :app, :principal, :address, :action, \
         :target, :outcome, :detail, :uuid, :seq) ON CONFLICT (origin_uuid, origin_seq) DO NOTHING",
    )?
    .execute(named_params! {
        ":at": entry.at,
        ":tenant": entry.tenant_id,
        ":app": entry.app,
        ":principal": entry.principal,
        ":address": entry.address,
        ":action": entry.action,
        ":target": entry.target,
        ":outcome": entry.outcome,
        ":detail": entry.detail_json,
        ":uuid": origin.map(|(uuid, _)| uuid),
        ":seq": origin.map(|(_, seq)| seq),
    })
    .map(|inserted| inserted == 1)
}

fn list_sql(of_one_tenant: bool) -> String {
    let tenant = if of_one_tenant { "tenant_id = :tenant AND " } else { "" };
    format!(
        "SELECT id, at, tenant_id, app, principal, address, action, target, outcome, detail_json \
         FROM _streamhub_audit WHERE {tenant}at >= coalesce(:since, '') AND (at, id) < (:before, :before_id) \
         ORDER BY at DESC, id DESC LIMIT :limit"
    )
}

fn read(row: &Row<'_>) -> Result<Recorded> {
    Ok(Recorded {
        id: row.get(0)?,
        entry: Entry {
            at: row
                .get::<_, String>(1)?
                .parse()
                .map_err(|error| Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?,
            tenant_id: row.get(2)?,
            app: row.get(3)?,
            principal: row.get(4)?,
            address: row.get(5)?,
            action: row.get(6)?,
            target: row.get(7)?,
            outcome: row.get(8)?,
            detail_json: row.get(9)?,
        },
    })
}

impl Cursor {
    fn after(recorded: &Recorded) -> Self {
        Self { at: recorded.entry.at.clone(), id: recorded.id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.as_str(), self.id)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> std::result::Result<Self, BadCursor> {
        let (at, id) = text.rsplit_once('.').ok_or(BadCursor)?;
        Ok(Self { at: at.parse().map_err(|_| BadCursor)?, id: id.parse().map_err(|_| BadCursor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{database, plan};

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    fn entry(at: &str, tenant: Option<&str>) -> Entry {
        Entry {
            at: moment(at),
            tenant_id: tenant.map(str::to_owned),
            ..Entry::now("user:anna", "app.create", "done")
        }
    }

    fn all(limit: u32) -> Filter<'static> {
        Filter { tenant: None, since: None, until: None, cursor: None, limit }
    }

    fn ids(listed: &Listed) -> Vec<i64> {
        listed.entries.iter().map(|recorded| recorded.id).collect()
    }

    #[test]
    fn what_is_shipped_twice_arrives_once() {
        let db = database();
        let happened = entry("2026-11-21T03:54:52.423Z", Some("acme"));
        let (one, other) = (Uuid::random(), Uuid::random());
        assert!(ship(&db, &one, 7, &happened).unwrap());
        assert!(!ship(&db, &one, 7, &entry("2027-01-01T00:00:00.000Z", None)).unwrap());
        assert!(ship(&db, &one, 8, &happened).unwrap());
        assert!(ship(&db, &other, 7, &happened).unwrap());
        // Entries of the control plane itself have no origin, and are never each other's double.
        let own = [append(&db, &happened).unwrap(), append(&db, &happened).unwrap()];
        let listed = list(&db, &all(10)).unwrap();
        assert_eq!(listed.entries.len(), 5);
        assert!(own.iter().all(|id| ids(&listed).contains(id)));
        assert!(listed.entries.iter().all(|recorded| recorded.entry == happened));
    }

    #[test]
    fn paging_shows_every_entry_once_though_late_ones_arrive() {
        let db = database();
        let at = |second: usize| format!("2026-11-21T00:00:{second:02}.000Z");
        // Three entries of each moment, so that pages end within one.
        for number in 0..30 {
            append(&db, &entry(&at(number % 10), Some(["acme", "zeta"][number % 2]))).unwrap();
        }
        let whole = ids(&list(&db, &all(1000)).unwrap());
        assert_eq!(whole.len(), 30);
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(&db, &Filter { cursor: cursor.as_ref(), ..all(4) }).unwrap();
            seen.extend(ids(&page));
            // What happens meanwhile comes before the first page.
            append(&db, &entry(&at(59), None)).unwrap();
            let Some(next) = page.next else { break };
            cursor = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(seen, whole);
        let page = list(&db, &Filter { until: Some(&moment(&at(59))), ..all(30) }).unwrap();
        assert_eq!((ids(&page), page.next), (whole, None));
    }

    #[test]
    fn a_filter_takes_in_its_beginning_and_not_its_end() {
        let db = database();
        for (second, tenant) in [(1, "acme"), (2, "zeta"), (3, "acme")] {
            append(&db, &entry(&format!("2026-11-21T00:00:0{second}.000Z"), Some(tenant))).unwrap();
        }
        let acme: TenantId = "acme".parse().unwrap();
        let [two, three] = [2, 3].map(|second| moment(&format!("2026-11-21T00:00:0{second}.000Z")));
        let of = |filter: Filter<'_>| ids(&list(&db, &filter).unwrap());
        assert_eq!(of(Filter { since: Some(&two), ..all(9) }), [3, 2]);
        assert_eq!(of(Filter { until: Some(&two), ..all(9) }), [1]);
        assert_eq!(of(Filter { tenant: Some(&acme), ..all(9) }), [3, 1]);
        assert_eq!(of(Filter { tenant: Some(&acme), until: Some(&three), ..all(9) }), [1]);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for bad in ["", "x", ".", "x.1", "2026-11-21T00:00:00.000Z", "2026-11-21T00:00:00.000Z.x"] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }

    #[test]
    fn pruning_goes_in_chunks_from_the_oldest_on() {
        let db = database();
        for _ in 0..PRUNE_CHUNK {
            append(&db, &entry("2026-01-02T00:00:00.000Z", None)).unwrap();
        }
        let oldest = append(&db, &entry("2026-01-01T00:00:00.000Z", None)).unwrap();
        let kept = append(&db, &entry("2026-01-03T00:00:00.000Z", None)).unwrap();
        let before = &moment("2026-01-03T00:00:00.000Z");
        assert_eq!(count_before(&db, before).unwrap(), 1001);
        assert_eq!(prune(&db, before).unwrap(), PRUNE_CHUNK);
        assert!(!ids(&list(&db, &all(2)).unwrap()).contains(&oldest));
        assert_eq!(prune(&db, before).unwrap(), 1);
        assert_eq!(prune(&db, before).unwrap(), 0);
        assert_eq!(ids(&list(&db, &all(9)).unwrap()), [kept]);
    }

    #[test]
    fn lists_and_chunks_are_read_from_an_index() {
        let db = database();
        for (of_one_tenant, index) in [
            (false, "_streamhub_audit_by_time (at>? AND at<?)"),
            (true, "_streamhub_audit_by_tenant_and_time (tenant_id=? AND at>? AND at<?)"),
        ] {
            let plan = plan(&db, &list_sql(of_one_tenant));
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
            assert!(plan.contains(index), "{plan}");
        }
    }
}
