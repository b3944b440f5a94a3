//! The audit: who did what to whom, from where, and how it ended.
//!
//! Control mutations append their entry in their own transaction. Those of an app lie in its outbox
//! until they are shipped here, and (uuid, seq) of the outbox row makes that happen once.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, ToSql, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::Uuid;
use streamhub_engine::time::Moment;

use crate::TenantId;
use crate::cursor::{self, Cursor};
use crate::journal::Journal;

/// The audit as something that is pruned.
pub static JOURNAL: Journal = Journal::new("audit", "_streamhub_audit", "at");

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Its number.
    pub id: i64,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

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
pub type Listed = cursor::Listed<Recorded>;

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

const COLUMNS: &str = "id, at, tenant_id, app, principal, address, action, target, outcome, detail_json";

/// Appends an entry and returns its number.
pub fn append(db: &Connection, entry: &Entry) -> Result<i64> {
    insert(db, entry, None).map(|_| db.last_insert_rowid())
}

/// The entry of this number.
pub fn get(db: &Connection, id: i64) -> Result<Option<Recorded>> {
    db.query_row(
        &format!("SELECT {COLUMNS} FROM _streamhub_audit WHERE id = :id"),
        named_params! { ":id": id },
        read,
    )
    .optional()
}

/// Appends the entry that an app's outbox holds under `seq`, and returns its number; none where it is here
/// already.
pub fn ship(db: &Connection, uuid: &Uuid, seq: i64, entry: &Entry) -> Result<Option<i64>> {
    Ok(insert(db, entry, Some((uuid, seq)))?.then(|| db.last_insert_rowid()))
}

/// Lists entries, the newest first.
pub fn list(db: &Connection, filter: &Filter<'_>) -> Result<Listed> {
    let (before, before_id) = cursor::start(filter.cursor, filter.until);
    let mut parameters: Vec<(&str, &dyn ToSql)> =
        vec![(":since", &filter.since), (":before", &before), (":before_id", &before_id)];
    if let Some(tenant) = &filter.tenant {
        parameters.push((":tenant", tenant));
    }
    let limit = cursor::one_more(filter.limit);
    parameters.push((":limit", &limit));
    let behind = |recorded: Recorded| {
        let place = Cursor::after(recorded.entry.at.as_str(), recorded.id);
        (recorded, place)
    };
    let rows = db
        .prepare_cached(&list_sql(filter.tenant.is_some()))?
        .query_map(&*parameters, |row| read(row).map(behind))?
        .collect::<Result<_>>()?;
    Ok(Listed::of(rows, filter.limit))
}

/// Lists the entries of some tenants, the newest first.
pub fn list_of(db: &Connection, tenants: &[TenantId], filter: &Filter<'_>) -> Result<Listed> {
    let mut rows = Vec::new();
    for tenant in tenants {
        // Of each as many as it takes to see whether there are more.
        let of_one = Filter { tenant: Some(tenant), limit: filter.limit.saturating_add(1), ..*filter };
        rows.extend(list(db, &of_one)?.entries);
    }
    rows.sort_by(|one, other| (&other.entry.at, other.id).cmp(&(&one.entry.at, one.id)));
    let placed = rows.into_iter().map(|row| {
        let place = Cursor::after(row.entry.at.as_str(), row.id);
        (row, place)
    });
    Ok(Listed::of(placed.collect(), filter.limit))
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
        "SELECT {COLUMNS} FROM _streamhub_audit WHERE {tenant}at >= coalesce(:since, '') AND (at, id) < (:before, :before_id) \
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
        assert!(ship(&db, &one, 7, &happened).unwrap().is_some());
        assert!(ship(&db, &one, 7, &entry("2027-01-01T00:00:00.000Z", None)).unwrap().is_none());
        assert!(ship(&db, &one, 8, &happened).unwrap().is_some());
        assert!(ship(&db, &other, 7, &happened).unwrap().is_some());
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
    fn lists_are_read_from_an_index() {
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
