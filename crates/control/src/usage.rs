//! What a tenant uses: counted where it can be counted, metered by the month where it cannot.
//!
//! What is metered in an app comes through its outbox, from where it may arrive more than once and in any
//! order. Where it came from is kept beside it, so that each piece counts once.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, Result, ToSql, named_params};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use streamhub_engine::time::{self, Moment};
use streamhub_engine::{Uuid, words};

use crate::quotas::{Metric, Quotas};
use crate::{TenantId, apps, attention, quotas, tenants};

/// How many pieces are forgotten at a time.
pub const PRUNE_CHUNK: usize = 1000;

/// Bytes of a gigabyte, as quotas mean it.
pub(crate) const GIGABYTE: u64 = 1_000_000_000;

/// A calendar month in UTC, as `2026-11`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Month(String);

/// A text is no month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no month such as 2026-11")]
pub struct BadMonth {
    /// The text.
    pub text: String,
}

words! {
    /// What is metered, for it cannot be counted in the control plane.
    pub enum Metered {
        /// Seconds recorded in the month.
        RecordingSeconds = "recording_seconds",
        /// Bytes sent in the month.
        EgressBytes = "egress_bytes",
        /// Bytes stored, as last measured in the month.
        StorageBytes = "storage_bytes",
    }
}

/// A piece of what is metered, where it was metered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The uuid of the app's database, in whose outbox it lies.
    pub uuid: Uuid,
    /// Its place there.
    pub seq: i64,
    /// When it was metered.
    pub month: Month,
    /// What was metered.
    pub metric: Metered,
    /// How much, in the metric's unit.
    pub amount: u64,
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
    /// Minutes recorded in the month, rounded up.
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
        let minutes = quotas.max_recording_minutes_month;
        Exceeded {
            apps: quotas.max_apps.is_below(Metric::Apps, self.apps),
            concurrent_streams: quotas
                .max_concurrent_streams
                .is_below(Metric::ConcurrentStreams, self.concurrent_streams),
            recording_minutes_month: minutes
                .is_below(Metric::RecordingMinutesMonth, self.recording_minutes_month),
            egress_gb_month: quotas
                .max_egress_gb_month
                .is_below(Metric::EgressGbMonth, self.egress_bytes_month),
            storage_gb: quotas.max_storage_gb.is_below(Metric::StorageGb, self.storage_bytes),
        }
    }
}

/// How many tenants have more of something than they may have, for each thing that is limited.
pub fn tenants_above(db: &Connection, month: &Month) -> Result<Vec<(Metric, u64)>> {
    let mut above: Vec<_> = Metric::ALL.iter().map(|metric| (*metric, 0)).collect();
    for tenant in tenants::list(db)? {
        let quotas = quotas::of(db, &tenant.id)?;
        for (metric, tenants) in &mut above {
            let used = used(db, &tenant.id, month, *metric)?;
            *tenants += u64::from(quotas.limit(*metric).is_below(*metric, used));
        }
    }
    Ok(above)
}

/// What a tenant uses in a month; apps and live streams are those of the present.
pub fn of(db: &Connection, tenant: &TenantId, month: &Month) -> Result<Usage> {
    let used = |metric| used(db, tenant, month, metric);
    Ok(Usage {
        apps: used(Metric::Apps)?,
        concurrent_streams: used(Metric::ConcurrentStreams)?,
        recording_minutes_month: used(Metric::RecordingMinutesMonth)?,
        egress_bytes_month: used(Metric::EgressGbMonth)?,
        storage_bytes: used(Metric::StorageGb)?,
    })
}

/// How much of one thing a tenant uses, as it is counted.
pub(crate) fn used(db: &Connection, tenant: &TenantId, month: &Month, metric: Metric) -> Result<u64> {
    match metric {
        Metric::Apps => apps::count_of(db, tenant),
        Metric::ConcurrentStreams => attention::streams_of(db, tenant),
        Metric::RecordingMinutesMonth => {
            Ok(amount(db, tenant, month, Metered::RecordingSeconds)?.div_ceil(60))
        }
        Metric::EgressGbMonth => amount(db, tenant, month, Metered::EgressBytes),
        Metric::StorageGb => stored(db, tenant, month),
    }
}

/// Adds a piece to what its tenant used, unless that was done before. Says whether it was added. What belongs
/// to no tenant of the registry is nobody's usage.
pub fn ship(db: &Connection, tenant: &TenantId, piece: &Piece) -> Result<bool> {
    let is_first = db
        .prepare_cached(
            "INSERT INTO _streamhub_metered (origin_uuid, origin_seq, at) VALUES (:uuid, :seq, :now) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(named_params! { ":uuid": piece.uuid, ":seq": piece.seq, ":now": time::now() })?
        == 1;
    let counts = is_first && tenants::exists(db, tenant)?;
    if counts {
        add(db, tenant, &piece.month, piece.metric, piece.amount)?;
    }
    Ok(counts)
}

/// Forgets some of the pieces that were added before this time, and says how many. Nothing may send them again.
pub fn prune(db: &Connection, before: &Moment) -> Result<usize> {
    db.prepare_cached(
        "DELETE FROM _streamhub_metered WHERE (origin_uuid, origin_seq) IN \
         (SELECT origin_uuid, origin_seq FROM _streamhub_metered WHERE at < :before \
         ORDER BY at LIMIT :chunk)",
    )?
    .execute(named_params! { ":before": before, ":chunk": PRUNE_CHUNK })
}

/// Adds to what a tenant used in a month, up to what a row can hold.
pub(crate) fn add(
    db: &Connection,
    tenant: &TenantId,
    month: &Month,
    metric: Metered,
    amount: u64,
) -> Result<()> {
    let amount = i64::try_from(amount).unwrap_or(i64::MAX);
    db.prepare_cached(
        "INSERT INTO _streamhub_usage (tenant_id, month, metric, amount) \
         VALUES (:tenant, :month, :metric, :amount) \
         ON CONFLICT (tenant_id, month, metric) \
         DO UPDATE SET amount = min(9223372036854775807, _streamhub_usage.amount + excluded.amount)",
    )?
    .execute(named_params! { ":tenant": tenant, ":month": month, ":metric": metric, ":amount": amount })
    .map(drop)
}

/// Records how many bytes a tenant stores. The tenant has to be there.
pub fn set_storage(db: &Connection, tenant: &TenantId, month: &Month, bytes: u64) -> Result<()> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    db.prepare_cached(
        "INSERT INTO _streamhub_usage (tenant_id, month, metric, amount) \
         VALUES (:tenant, :month, :metric, :bytes) \
         ON CONFLICT (tenant_id, month, metric) DO UPDATE SET amount = excluded.amount \
         WHERE amount <> excluded.amount",
    )?
    .execute(named_params! {
        ":tenant": tenant,
        ":month": month,
        ":metric": Metered::StorageBytes,
        ":bytes": bytes,
    })
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

impl FromStr for Month {
    type Err = BadMonth;

    fn from_str(text: &str) -> Result<Self, BadMonth> {
        match format!("{text}-01").parse::<Moment>() {
            Ok(first) if Self::of(first.as_str()).0 == text => Ok(Self(text.to_owned())),
            _ => Err(BadMonth { text: text.chars().take(64).collect() }),
        }
    }
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
mod tests;
