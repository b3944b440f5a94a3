//! What an app's database may still need of the control plane: work that spans both, and live streams.
//!
//! A row is here before the app's own commit and goes when the work is done, so a start opens only the
//! apps that have one. A row of kind [`STREAM`] reserves one of the tenant's concurrent streams.

use rusqlite::{Connection, Result, Row, named_params};
use streamhub_engine::time;

use crate::TenantId;
use crate::apps::OF_TENANT;
use crate::quotas::{Enforcement, Metric, QuotaExceeded};

/// The kind of a live stream's row; its `ref` is the stream's id.
pub const STREAM: &str = "stream";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// The app.
    pub app_id: i64,
    /// What kind of work it is.
    pub kind: String,
    /// What it is about, unique within app and kind.
    pub reference: String,
    /// Since when.
    pub since: String,
}

/// Adds a row; one that is there already stays as it is. Says whether it was added.
pub fn add(db: &Connection, app_id: i64, kind: &str, reference: &str) -> Result<bool> {
    db.prepare_cached(
        "INSERT INTO _streamhub_attention (app_id, kind, ref, since) VALUES (:app, :kind, :ref, :now) \
         ON CONFLICT DO NOTHING",
    )?
    .execute(named_params! { ":app": app_id, ":kind": kind, ":ref": reference, ":now": time::now() })
    .map(|added| added == 1)
}

/// Whether there is a row.
fn is_there(db: &Connection, app_id: i64, kind: &str, reference: &str) -> Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM _streamhub_attention WHERE app_id = :app AND kind = :kind AND ref = :ref",
    )?
    .exists(named_params! { ":app": app_id, ":kind": kind, ":ref": reference })
}

/// Removes a row. Says whether there was one.
pub fn remove(db: &Connection, app_id: i64, kind: &str, reference: &str) -> Result<bool> {
    db.prepare_cached("DELETE FROM _streamhub_attention WHERE app_id = :app AND kind = :kind AND ref = :ref")?
        .execute(named_params! { ":app": app_id, ":kind": kind, ":ref": reference })
        .map(|removed| removed == 1)
}

/// One app's rows.
pub fn of_app(db: &Connection, app_id: i64) -> Result<Vec<Attention>> {
    db.prepare_cached(
        "SELECT app_id, kind, ref, since FROM _streamhub_attention WHERE app_id = :app ORDER BY kind, ref",
    )?
    .query_map(named_params! { ":app": app_id }, read)?
    .collect()
}

/// All rows, app by app.
pub fn list(db: &Connection) -> Result<Vec<Attention>> {
    db.prepare("SELECT app_id, kind, ref, since FROM _streamhub_attention ORDER BY app_id, kind, ref")?
        .query_map([], read)?
        .collect()
}

/// The apps that have any row.
pub fn apps(db: &Connection) -> Result<Vec<i64>> {
    db.prepare("SELECT DISTINCT app_id FROM _streamhub_attention ORDER BY app_id")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Reserves one of the tenant's concurrent streams, as long as it may send more in this month: a stream is what
/// sends. A stream that is reserved already needs no more. Says whether there was none before.
pub fn reserve_stream(
    db: &Connection,
    app_id: i64,
    stream_id: &str,
    quotas: Enforcement,
) -> Result<Result<bool, QuotaExceeded>> {
    if is_there(db, app_id, STREAM, stream_id)? {
        return Ok(Ok(false));
    }
    let tenant: TenantId = db
        .prepare_cached("SELECT coalesce(tenant_id, 'platform') FROM apps WHERE id = :app")?
        .query_row(named_params! { ":app": app_id }, |row| row.get(0))?;
    for metric in [Metric::ConcurrentStreams, Metric::EgressGbMonth] {
        if let Err(exceeded) = quotas.admit(db, &tenant, metric)? {
            return Ok(Err(exceeded));
        }
    }
    add(db, app_id, STREAM, stream_id)?;
    Ok(Ok(true))
}

/// Gives a reservation back. Says whether there was one.
pub fn release_stream(db: &Connection, app_id: i64, stream_id: &str) -> Result<bool> {
    remove(db, app_id, STREAM, stream_id)
}

/// How many streams a tenant has reserved, over all of its apps.
pub fn streams_of(db: &Connection, tenant: &TenantId) -> Result<u64> {
    db.prepare_cached(&streams_of_sql())?
        .query_row(named_params! { ":kind": STREAM, ":tenant": tenant }, |row| row.get(0))
}

/// `CROSS JOIN` keeps the order: all live streams are fewer than the apps that a tenant may have.
fn streams_of_sql() -> String {
    format!(
        "SELECT count(*) FROM _streamhub_attention AS attention CROSS JOIN apps ON apps.id = attention.app_id \
         WHERE attention.kind = :kind AND {OF_TENANT}"
    )
}

fn read(row: &Row<'_>) -> Result<Attention> {
    Ok(Attention { app_id: row.get(0)?, kind: row.get(1)?, reference: row.get(2)?, since: row.get(3)? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::apps::{self, NewApp};
    use crate::fixture::{app, app_without_tenant, database, new_app, plan, tenant};
    use crate::quotas::{self, Limit, QuotaChange};

    #[test]
    fn a_row_is_there_once_and_goes_with_its_app() {
        let db = database();
        let acme = tenant(&db, "acme");
        let (one, other) = (app(&db, "one", &acme), app(&db, "other", &acme));
        assert!(add(&db, one, "outbox", "").unwrap());
        let first = of_app(&db, one).unwrap();
        assert!(!add(&db, one, "outbox", "").unwrap());
        assert!(add(&db, other, "outbox", "").unwrap());
        assert!(add(&db, other, "move", "x").unwrap());
        assert_eq!(of_app(&db, one).unwrap(), first);
        assert_eq!(list(&db).unwrap().len(), 3);
        assert_eq!(apps(&db).unwrap(), [one, other]);
        assert!(remove(&db, one, "outbox", "").unwrap());
        assert!(!remove(&db, one, "outbox", "").unwrap());
        assert_eq!(apps(&db).unwrap(), [other]);
        db.execute("DELETE FROM apps WHERE id = ?1", [other]).unwrap();
        assert_eq!(list(&db).unwrap(), []);
    }

    #[test]
    fn a_row_needs_an_app() {
        let db = database();
        assert!(add(&db, 404, "outbox", "").is_err());
        assert!(reserve_stream(&db, 404, "s", Enforcement::On).is_err());
    }

    #[test]
    fn an_app_without_a_tenant_counts_for_the_platform() {
        let db = database();
        let id = app_without_tenant(&db, "older");
        reserve_stream(&db, id, "s", Enforcement::On).unwrap().unwrap();
        assert_eq!(streams_of(&db, &TenantId::platform()).unwrap(), 1);
    }

    #[test]
    fn counting_begins_with_the_live_streams() {
        let plan = plan(&database(), &streams_of_sql());
        assert!(plan.contains("_streamhub_attention_by_kind"), "{plan}");
        assert!(plan.contains("SEARCH apps USING INTEGER PRIMARY KEY"), "{plan}");
    }

    #[derive(Clone, Debug)]
    enum Act {
        Reserve(usize, u8),
        Release(usize, u8),
        Limit(usize, i64),
        Other(usize, u8),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            6 => (0..4_usize, 0..5_u8).prop_map(|(app, stream)| Act::Reserve(app, stream)),
            3 => (0..4_usize, 0..5_u8).prop_map(|(app, stream)| Act::Release(app, stream)),
            1 => (0..2_usize, -1..4_i64).prop_map(|(tenant, limit)| Act::Limit(tenant, limit)),
            1 => (0..4_usize, 0..5_u8).prop_map(|(app, stream)| Act::Other(app, stream)),
        ];
        proptest::collection::vec(act, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Two tenants with two apps each, beside a model that knows who has what.
        #[test]
        fn reservations_are_counted_per_tenant(acts in acts()) {
            let db = database();
            let tenants = ["acme", "zeta"].map(|id| tenant(&db, id));
            let ids: Vec<i64> = (0..4)
                .map(|n| app(&db, &format!("app-{n}"), &tenants[n % 2]))
                .collect();
            let mut live = BTreeSet::new();
            let mut limits = [2, 2];
            for act in acts {
                match act {
                    Act::Reserve(app, stream) => {
                        let used = live.iter().filter(|(other, _)| other % 2 == app % 2).count();
                        let limit = limits[app % 2];
                        let free = limit == -1 || i64::try_from(used).unwrap() < limit;
                        let wanted = if free || live.contains(&(app, stream)) {
                            Ok(live.insert((app, stream)))
                        } else {
                            let limit = Limit::try_from(limit).unwrap();
                            Err(QuotaExceeded {
                                metric: Metric::ConcurrentStreams,
                                limit,
                                used: used as u64,
                            })
                        };
                        let reserved = reserve_stream(&db, ids[app], &stream.to_string(), Enforcement::On);
                        prop_assert_eq!(reserved.unwrap(), wanted);
                    }
                    Act::Release(app, stream) => {
                        let there = release_stream(&db, ids[app], &stream.to_string()).unwrap();
                        prop_assert_eq!(there, live.remove(&(app, stream)));
                    }
                    Act::Limit(tenant, limit) => {
                        limits[tenant] = limit;
                        let max_concurrent_streams = Some(Limit::try_from(limit).unwrap());
                        let change = QuotaChange { max_concurrent_streams, ..QuotaChange::default() };
                        quotas::set(&db, &tenants[tenant], &change).unwrap().unwrap();
                    }
                    // Other work on the same subject takes no place.
                    Act::Other(app, stream) => {
                        add(&db, ids[app], "outbox", &stream.to_string()).unwrap();
                    }
                }
                for (number, tenant) in tenants.iter().enumerate() {
                    let used = live.iter().filter(|(app, _)| app % 2 == number).count();
                    prop_assert_eq!(streams_of(&db, tenant).unwrap(), used as u64);
                }
            }
        }
    }

    #[test]
    fn a_reservation_ends_with_an_app_that_was_never_in_service() {
        let db = database();
        let acme = tenant(&db, "acme");
        let new: NewApp = new_app("one", &acme);
        let id = apps::insert_creating(&db, &new, Enforcement::On).unwrap().unwrap();
        reserve_stream(&db, id, "s", Enforcement::On).unwrap().unwrap();
        apps::abort_creating(&db, id).unwrap().unwrap();
        assert_eq!(streams_of(&db, &acme).unwrap(), 0);
    }
}
