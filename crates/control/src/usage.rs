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
use crate::{TenantId, apps, attention, tenants};

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
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fixture::{app, database, plan, tenant};
    use crate::quotas;

    #[test]
    fn what_is_metered_adds_up_per_tenant_and_month() {
        let db = database();
        let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
        let [october, november, december] =
            ["2026-10-01T00:00:00.000Z", "2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00.000Z"]
                .map(Month::of);
        // Two short recordings are one minute, not two.
        for seconds in [100 * 60 + 1, 149 * 60 + 1] {
            add(&db, &acme, &november, Metered::RecordingSeconds, seconds).unwrap();
        }
        add(&db, &acme, &october, Metered::RecordingSeconds, 7).unwrap();
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
        let expected = [("2026-11", 249 * 60 + 2), ("2026-10", 7), ("2026-10", 5_000_000_001)];
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

    fn piece(seq: i64, amount: u64) -> Piece {
        let uuid = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        Piece { uuid, seq, month: "2026-11".parse().unwrap(), metric: Metered::EgressBytes, amount }
    }

    #[test]
    fn a_tenant_that_is_not_there_is_not_metered() {
        let db = database();
        let nobody: TenantId = "nobody".parse().unwrap();
        let piece = piece(1, 5);
        assert!(!ship(&db, &nobody, &piece).unwrap());
        assert_eq!(of(&db, &nobody, &piece.month).unwrap(), Usage::default());
        assert!(add(&db, &nobody, &piece.month, Metered::EgressBytes, 1).is_err());
    }

    #[test]
    fn what_no_row_can_hold_counts_as_much_as_one_can() {
        let db = database();
        let acme = tenant(&db, "acme");
        for seq in 1..4 {
            assert!(ship(&db, &acme, &piece(seq, u64::MAX)).unwrap());
        }
        let most = i64::MAX.unsigned_abs();
        assert_eq!(of(&db, &acme, &piece(1, 0).month).unwrap().egress_bytes_month, most);
        set_storage(&db, &acme, &Month::current(), u64::MAX).unwrap();
        assert_eq!(of(&db, &acme, &Month::current()).unwrap().storage_bytes, most);
    }

    #[test]
    fn a_month_is_a_month() {
        for text in ["2026-11", "1999-01"] {
            assert_eq!(text.parse::<Month>().unwrap().to_string(), text);
        }
        for text in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "-026-11", "2026-11 "]
        {
            assert!(text.parse::<Month>().is_err(), "{text:?}");
        }
        assert_eq!(Month::current().to_string().parse(), Ok(Month::current()));
    }

    #[test]
    fn what_was_added_long_ago_is_forgotten() {
        let db = database();
        let acme = tenant(&db, "acme");
        for seq in 0..i64::try_from(PRUNE_CHUNK).unwrap() + 1 {
            ship(&db, &acme, &piece(seq, 1)).unwrap();
        }
        let now = Moment::now();
        assert_eq!(prune(&db, &now.before(std::time::Duration::from_mins(1))).unwrap(), 0);
        let later = now.after(std::time::Duration::from_mins(1));
        assert_eq!([(); 3].map(|()| prune(&db, &later).unwrap()), [PRUNE_CHUNK, 1, 0]);
        assert_eq!(of(&db, &acme, &piece(1, 0).month).unwrap().egress_bytes_month, PRUNE_CHUNK as u64 + 1);
        let sql = "SELECT origin_uuid FROM _streamhub_metered WHERE at < 'x' ORDER BY at LIMIT 1";
        assert!(plan(&db, sql).contains("_streamhub_metered_by_time"));
    }

    /// What happens to a piece of an app's outbox.
    #[derive(Clone, Debug)]
    enum Event {
        Shipped {
            app: usize,
            piece: usize,
        },
        /// The transaction that shipped it did not commit.
        Lost {
            app: usize,
            piece: usize,
        },
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let which = || (0..2_usize, 0..8_usize);
        let event = prop_oneof![
            3 => which().prop_map(|(app, piece)| Event::Shipped { app, piece }),
            1 => which().prop_map(|(app, piece)| Event::Lost { app, piece }),
        ];
        proptest::collection::vec(event, 0..60)
    }

    proptest! {
        /// Two apps of one tenant, whose outboxes give the same places.
        #[test]
        fn in_any_order_and_however_often_each_piece_counts_once(
            amounts in proptest::collection::vec((0..1_000_000_u64, 1..4_u8, any::<bool>()), 16),
            events in events(),
        ) {
            let mut db = database();
            let acme = tenant(&db, "acme");
            let uuids = [Uuid::random(), Uuid::random()];
            let pieces: Vec<Piece> = amounts.iter().enumerate().map(|(index, (amount, month, is_egress))| Piece {
                uuid: uuids[index / 8].clone(),
                seq: i64::try_from(index % 8).unwrap(),
                month: format!("2026-0{month}").parse().unwrap(),
                metric: if *is_egress { Metered::EgressBytes } else { Metered::RecordingSeconds },
                amount: *amount,
            }).collect();
            let mut counted = BTreeMap::new();
            let mut seen = BTreeSet::new();
            for event in events {
                let tx = db.transaction().unwrap();
                match event {
                    Event::Shipped { app, piece } => {
                        let index = app * 8 + piece;
                        let (is_first, piece) = (seen.insert(index), &pieces[index]);
                        prop_assert_eq!(ship(&tx, &acme, piece).unwrap(), is_first);
                        if is_first {
                            let key = (piece.month.to_string(), piece.metric.as_str());
                            *counted.entry(key).or_insert(0) += piece.amount;
                        }
                        tx.commit().unwrap();
                    }
                    Event::Lost { app, piece } => {
                        ship(&tx, &acme, &pieces[app * 8 + piece]).unwrap();
                        tx.rollback().unwrap();
                    }
                }
            }
            let read: BTreeMap<_, _> = history(&db, &acme)
                .unwrap()
                .into_iter()
                .map(|reading| ((reading.month, reading.metric.as_str()), reading.amount))
                .collect();
            prop_assert_eq!(read, counted);
        }
    }
}
