//! What a tenant uses: counted where it can be counted, metered by the month where it cannot.

use std::fmt;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, Result, ToSql, named_params};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use streamhub_engine::time;

use crate::quotas::Quotas;
use crate::{TenantId, apps, attention};
use streamhub_engine::words;

/// Bytes of a gigabyte, as quotas mean it.
const GIGABYTE: u64 = 1_000_000_000;

/// A calendar month in UTC, as `2026-11`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Month(String);

words! {
    /// What is metered, for it cannot be counted in the control plane.
    pub enum Metered {
        /// Minutes recorded in the month.
        RecordingMinutes = "recording_minutes",
        /// Bytes sent in the month.
        EgressBytes = "egress_bytes",
        /// Bytes stored, as last measured in the month.
        StorageBytes = "storage_bytes",
    }
}

/// One row of the meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// The month.
    pub month: String,
    /// What was metered.
    pub metric: Metered,
    /// How much, in the metric's unit.
    pub amount: u64,
}

/// What a tenant uses, in the order of its quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Apps.
    pub apps: u64,
    /// Streams that are live at the same time.
    pub concurrent_streams: u64,
    /// Minutes recorded in the month.
    pub recording_minutes_month: u64,
    /// Bytes sent in the month; shown in gigabytes.
    #[serde(rename = "egressGbMonth", serialize_with = "in_gigabytes")]
    #[schemars(with = "f64")]
    pub egress_bytes_month: u64,
    /// Bytes stored; shown in gigabytes.
    #[serde(rename = "storageGb", serialize_with = "in_gigabytes")]
    #[schemars(with = "f64")]
    pub storage_bytes: u64,
}

/// Of what a tenant has more than it may have; a place that is just taken is not too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "one per quota, as the HTTP API shows it")]
pub struct Exceeded {
    /// Apps.
    pub apps: bool,
    /// Streams that are live at the same time.
    pub concurrent_streams: bool,
    /// Minutes recorded in the month.
    pub recording_minutes_month: bool,
    /// Gigabytes sent in the month.
    pub egress_gb_month: bool,
    /// Gigabytes stored.
    pub storage_gb: bool,
}

impl Month {
    /// The present one.
    pub fn current() -> Self {
        Self::of(&time::now())
    }

    /// The month of a time as [`time::now`] writes it.
    fn of(time: &str) -> Self {
        Self(time.chars().take("2026-11".len()).collect())
    }
}

impl Usage {
    /// Compares with the quotas.
    pub fn exceeded(&self, quotas: &Quotas) -> Exceeded {
        Exceeded {
            apps: quotas.max_apps.is_below(self.apps, 1),
            concurrent_streams: quotas.max_concurrent_streams.is_below(self.concurrent_streams, 1),
            recording_minutes_month: quotas
                .max_recording_minutes_month
                .is_below(self.recording_minutes_month, 1),
            egress_gb_month: quotas.max_egress_gb_month.is_below(self.egress_bytes_month, GIGABYTE),
            storage_gb: quotas.max_storage_gb.is_below(self.storage_bytes, GIGABYTE),
        }
    }
}

/// What a tenant uses in a month; apps and live streams are those of the present.
pub fn of(db: &Connection, tenant: &TenantId, month: &Month) -> Result<Usage> {
    Ok(Usage {
        apps: apps::count_of(db, tenant)?,
        concurrent_streams: attention::streams_of(db, tenant)?,
        recording_minutes_month: amount(db, tenant, month, Metered::RecordingMinutes)?,
        egress_bytes_month: amount(db, tenant, month, Metered::EgressBytes)?,
        storage_bytes: stored(db, tenant, month)?,
    })
}

/// Adds to what a tenant used in a month. The tenant has to be there.
pub fn add(db: &Connection, tenant: &TenantId, month: &Month, metric: Metered, amount: u64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO _streamhub_usage (tenant_id, month, metric, amount) \
         VALUES (:tenant, :month, :metric, :amount) \
         ON CONFLICT (tenant_id, month, metric) DO UPDATE SET amount = _streamhub_usage.amount + excluded.amount",
    )?
    .execute(named_params! { ":tenant": tenant, ":month": month, ":metric": metric, ":amount": amount })
    .map(drop)
}

/// Records how many bytes a tenant stores. The tenant has to be there.
pub fn set_storage(db: &Connection, tenant: &TenantId, month: &Month, bytes: u64) -> Result<()> {
    db.execute(
        "INSERT INTO _streamhub_usage (tenant_id, month, metric, amount) \
         VALUES (:tenant, :month, :metric, :bytes) \
         ON CONFLICT (tenant_id, month, metric) DO UPDATE SET amount = excluded.amount",
        named_params! {
            ":tenant": tenant,
            ":month": month,
            ":metric": Metered::StorageBytes,
            ":bytes": bytes,
        },
    )
    .map(drop)
}

/// All that was metered of a tenant, the newest month first.
pub fn history(db: &Connection, tenant: &TenantId) -> Result<Vec<Reading>> {
    db.prepare(
        "SELECT month, metric, amount FROM _streamhub_usage WHERE tenant_id = :tenant \
         ORDER BY month DESC, metric",
    )?
    .query_map(named_params! { ":tenant": tenant }, |row| {
        Ok(Reading { month: row.get(0)?, metric: row.get(1)?, amount: row.get(2)? })
    })?
    .collect()
}

fn amount(db: &Connection, tenant: &TenantId, month: &Month, metric: Metered) -> Result<u64> {
    db.prepare_cached(
        "SELECT amount FROM _streamhub_usage WHERE tenant_id = :tenant AND month = :month AND metric = :metric",
    )?
    .query_row(named_params! { ":tenant": tenant, ":month": month, ":metric": metric }, |row| row.get(0))
    .optional()
    .map(Option::unwrap_or_default)
}

/// What is stored stays stored when a month ends, so the last measurement counts.
fn stored(db: &Connection, tenant: &TenantId, month: &Month) -> Result<u64> {
    db.query_row(
        "SELECT amount FROM _streamhub_usage WHERE tenant_id = :tenant AND month <= :month \
         AND metric = :metric ORDER BY month DESC LIMIT 1",
        named_params! { ":tenant": tenant, ":month": month, ":metric": Metered::StorageBytes },
        |row| row.get(0),
    )
    .optional()
    .map(Option::unwrap_or_default)
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people, exact to the byte below nine petabytes")]
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn in_gigabytes<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(*bytes as f64 / GIGABYTE as f64)
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ToSql for Month {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::{app, database, tenant};
    use crate::quotas;

    #[test]
    fn what_is_metered_adds_up_per_tenant_and_month() {
        let db = database();
        let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
        let [october, november, december] =
            ["2026-10-01T00:00:00.000Z", "2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00.000Z"]
                .map(Month::of);
        for minutes in [100, 150] {
            add(&db, &acme, &november, Metered::RecordingMinutes, minutes).unwrap();
        }
        add(&db, &acme, &october, Metered::RecordingMinutes, 7).unwrap();
        add(&db, &zeta, &november, Metered::EgressBytes, 1).unwrap();
        set_storage(&db, &acme, &october, 9_000_000_000).unwrap();
        set_storage(&db, &acme, &october, 5_000_000_001).unwrap();
        app(&db, "one", &acme);

        let used = of(&db, &acme, &november).unwrap();
        let wanted =
            Usage { apps: 1, recording_minutes_month: 250, storage_bytes: 5_000_000_001, ..Usage::default() };
        assert_eq!(used, wanted);
        assert_eq!(of(&db, &acme, &december).unwrap().recording_minutes_month, 0);
        assert_eq!(of(&db, &acme, &Month::of("2026-09")).unwrap().storage_bytes, 0);
        let readings: Vec<_> =
            history(&db, &acme).unwrap().into_iter().map(|r| (r.month, r.amount)).collect();
        let expected = [("2026-11", 250), ("2026-10", 7), ("2026-10", 5_000_000_001)];
        assert_eq!(readings, expected.map(|(month, amount)| (month.to_owned(), amount)));
        assert_eq!(
            serde_json::to_value(used).unwrap(),
            json!({
                "apps": 1, "concurrentStreams": 0, "recordingMinutesMonth": 250,
                "egressGbMonth": 0.0, "storageGb": 5.000_000_001,
            })
        );

        let exceeded = used.exceeded(&quotas::of(&db, &acme).unwrap());
        assert_eq!(exceeded, Exceeded { storage_gb: true, ..Exceeded::default() });
    }

    #[test]
    fn what_just_fits_is_not_too_much() {
        let quotas = Quotas::default();
        let full = Usage {
            apps: 2,
            concurrent_streams: 2,
            recording_minutes_month: 300,
            egress_bytes_month: 5_000_000_000,
            storage_bytes: 5_000_000_000,
        };
        assert_eq!(full.exceeded(&quotas), Exceeded::default());
        let more = Usage { apps: 3, egress_bytes_month: 5_000_000_001, ..full };
        let exceeded = Exceeded { apps: true, egress_gb_month: true, ..Exceeded::default() };
        assert_eq!(more.exceeded(&quotas), exceeded);
        let unlimited = Quotas { max_apps: quotas::Limit::NONE, ..quotas };
        assert!(!more.exceeded(&unlimited).apps);
    }

    #[test]
    fn a_tenant_that_is_not_there_is_not_metered() {
        let db = database();
        let nobody: TenantId = "nobody".parse().unwrap();
        assert!(add(&db, &nobody, &Month::current(), Metered::EgressBytes, 1).is_err());
        assert_eq!(of(&db, &nobody, &Month::current()).unwrap(), Usage::default());
    }
}
