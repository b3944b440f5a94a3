//! Quotas: how much a tenant may have.
//!
//! What exists above a limit stays and counts; only another reservation is refused. The caller counts
//! and reserves in one transaction, so that two racing requests cannot both take the last place.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result, ToSql, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::change::required;
use streamhub_engine::words;

use crate::TenantId;
use crate::tenants::{self, UnknownTenant};
use crate::usage::{self, GIGABYTE, Month};

/// The most that a tenant may have of something; -1 means that there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = -1))]
pub struct Limit(i64);

/// A number that is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is no limit: 0 or more, or -1 for none")]
pub struct BadLimit {
    /// The number.
    pub number: i64,
}

/// What a tenant may have at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Apps, those in the trash not counted.
    pub max_apps: Limit,
    /// Streams that are live at the same time, over all of its apps.
    pub max_concurrent_streams: Limit,
    /// Minutes recorded in a calendar month.
    pub max_recording_minutes_month: Limit,
    /// Gigabytes (10⁹ bytes) sent in a calendar month.
    pub max_egress_gb_month: Limit,
    /// Gigabytes (10⁹ bytes) stored.
    pub max_storage_gb: Limit,
}

/// Limits to be set; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QuotaChange {
    /// Apps.
    #[serde(deserialize_with = "required", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limit")]
    pub max_apps: Option<Limit>,
    /// Streams that are live at the same time.
    #[serde(deserialize_with = "required", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limit")]
    pub max_concurrent_streams: Option<Limit>,
    /// Minutes recorded in a calendar month.
    #[serde(deserialize_with = "required", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limit")]
    pub max_recording_minutes_month: Option<Limit>,
    /// Gigabytes sent in a calendar month.
    #[serde(deserialize_with = "required", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limit")]
    pub max_egress_gb_month: Option<Limit>,
    /// Gigabytes stored.
    #[serde(deserialize_with = "required", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limit")]
    pub max_storage_gb: Option<Limit>,
}

words! {
    /// What a quota limits.
    pub enum Metric {
        /// Apps.
        Apps = "apps",
        /// Streams that are live at the same time.
        ConcurrentStreams = "concurrentStreams",
        /// Minutes recorded in a calendar month.
        RecordingMinutesMonth = "recordingMinutesMonth",
        /// Gigabytes sent in a calendar month.
        EgressGbMonth = "egressGbMonth",
        /// Gigabytes stored.
        StorageGb = "storageGb",
    }
}

words! {
    /// What becomes of those whose quota is used up.
    pub enum Enforcement {
        /// Nobody asks.
        Off = "off",
        /// They are admitted, and the log says so.
        Log = "log",
        /// They are refused.
        On = "on",
    }
}

/// A tenant has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("the quota of {metric} is used up: {used} of {limit}")]
pub struct QuotaExceeded {
    /// What there is no place for.
    pub metric: Metric,
    /// How much the tenant may have.
    pub limit: Limit,
    /// How much it has.
    pub used: u64,
}

impl Limit {
    /// No limit.
    pub const NONE: Self = Self(-1);

    /// Whether something more may come to what is `used`, in what the metric is counted by.
    fn admit(self, metric: Metric, used: u64) -> Result<(), QuotaExceeded> {
        // A negative number other than -1, which an older registry may hold, admits nothing.
        if self == Self::NONE || i128::from(used) < self.counted(metric) {
            Ok(())
        } else {
            Err(QuotaExceeded { metric, limit: self, used: used / metric.unit() })
        }
    }

    /// Whether more than this is `used`, in what the metric is counted by.
    pub(crate) fn is_below(self, metric: Metric, used: u64) -> bool {
        self != Self::NONE && i128::from(used) > self.counted(metric)
    }

    fn counted(self, metric: Metric) -> i128 {
        i128::from(self.0) * i128::from(metric.unit())
    }
}

impl Metric {
    /// How much of what is counted makes one of a limit: gigabytes are counted in bytes.
    const fn unit(self) -> u64 {
        match self {
            Self::Apps | Self::ConcurrentStreams | Self::RecordingMinutesMonth => 1,
            Self::EgressGbMonth | Self::StorageGb => GIGABYTE,
        }
    }
}

impl Enforcement {
    /// Whether a tenant may have more of something. Whoever takes a place does so in the same transaction. A
    /// warning tells of what is only logged: one for each admission, and another where its transaction is run
    /// again.
    pub fn admit(
        self,
        db: &Connection,
        tenant: &TenantId,
        metric: Metric,
    ) -> Result<Result<(), QuotaExceeded>> {
        if self == Self::Off {
            return Ok(Ok(()));
        }
        let used = usage::used(db, tenant, &Month::current(), metric)?;
        let admitted = of(db, tenant)?.limit(metric).admit(metric, used);
        match admitted {
            Err(QuotaExceeded { limit, used, .. }) if self == Self::Log => {
                tracing::warn!(target: "quota", %tenant, %metric, %limit, used, "admitted above a quota");
                Ok(Ok(()))
            }
            decided => Ok(decided),
        }
    }
}

impl Quotas {
    pub(crate) fn limit(&self, metric: Metric) -> Limit {
        match metric {
            Metric::Apps => self.max_apps,
            Metric::ConcurrentStreams => self.max_concurrent_streams,
            Metric::RecordingMinutesMonth => self.max_recording_minutes_month,
            Metric::EgressGbMonth => self.max_egress_gb_month,
            Metric::StorageGb => self.max_storage_gb,
        }
    }
}

impl TryFrom<i64> for Limit {
    type Error = BadLimit;

    fn try_from(number: i64) -> Result<Self, BadLimit> {
        if number >= -1 { Ok(Self(number)) } else { Err(BadLimit { number }) }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ToSql for Limit {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for Limit {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

/// The schema's own defaults.
impl Default for Quotas {
    fn default() -> Self {
        Self {
            max_apps: Limit(2),
            max_concurrent_streams: Limit(2),
            max_recording_minutes_month: Limit(300),
            max_egress_gb_month: Limit(5),
            max_storage_gb: Limit(5),
        }
    }
}

/// A tenant's quotas; the defaults where the registry does not say.
pub fn of(db: &Connection, tenant: &TenantId) -> Result<Quotas> {
    db.prepare_cached(
        "SELECT max_apps, max_concurrent_streams, max_recording_minutes_month, max_egress_gb_month, \
         max_storage_gb FROM quotas WHERE tenant_id = :tenant",
    )?
    .query_row(named_params! { ":tenant": tenant }, |row| {
        Ok(Quotas {
            max_apps: row.get(0)?,
            max_concurrent_streams: row.get(1)?,
            max_recording_minutes_month: row.get(2)?,
            max_egress_gb_month: row.get(3)?,
            max_storage_gb: row.get(4)?,
        })
    })
    .optional()
    .map(Option::unwrap_or_default)
}

/// Sets those limits that are given and returns them all.
pub fn set(
    db: &Connection,
    tenant: &TenantId,
    change: &QuotaChange,
) -> Result<Result<Quotas, UnknownTenant>> {
    if !tenants::exists(db, tenant)? {
        return Ok(Err(UnknownTenant { tenant: tenant.clone() }));
    }
    grant_defaults(db, tenant)?;
    db.execute(
        "UPDATE quotas SET max_apps = coalesce(:apps, max_apps), \
         max_concurrent_streams = coalesce(:streams, max_concurrent_streams), \
         max_recording_minutes_month = coalesce(:minutes, max_recording_minutes_month), \
         max_egress_gb_month = coalesce(:egress, max_egress_gb_month), \
         max_storage_gb = coalesce(:storage, max_storage_gb) WHERE tenant_id = :tenant",
        named_params! {
            ":tenant": tenant,
            ":apps": change.max_apps,
            ":streams": change.max_concurrent_streams,
            ":minutes": change.max_recording_minutes_month,
            ":egress": change.max_egress_gb_month,
            ":storage": change.max_storage_gb,
        },
    )?;
    of(db, tenant).map(Ok)
}

/// Gives a tenant the schema's default quotas, where it has none.
pub(crate) fn grant_defaults(db: &Connection, tenant: &TenantId) -> Result<()> {
    db.execute(
        "INSERT INTO quotas (tenant_id) VALUES (:tenant) ON CONFLICT DO NOTHING",
        named_params! { ":tenant": tenant },
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{app, database, tenant};
    use crate::usage::Metered;

    #[test]
    fn the_defaults_are_the_schemas() {
        let db = database();
        let acme = tenant(&db, "acme");
        assert_eq!(of(&db, &acme).unwrap(), Quotas::default());
        db.execute("DELETE FROM quotas", []).unwrap();
        assert_eq!(of(&db, &acme).unwrap(), Quotas::default());
    }

    #[test]
    fn only_what_is_given_is_set() {
        let db = database();
        let acme = tenant(&db, "acme");
        db.execute("DELETE FROM quotas WHERE tenant_id = 'acme'", []).unwrap();
        let change: QuotaChange = serde_json::from_str(r#"{"maxApps": -1, "maxStorageGb": 0}"#).unwrap();
        let wanted = Quotas { max_apps: Limit::NONE, max_storage_gb: Limit(0), ..Quotas::default() };
        assert_eq!(set(&db, &acme, &change).unwrap().unwrap(), wanted);
        assert_eq!(of(&db, &acme).unwrap(), wanted);
        assert_ne!(of(&db, &TenantId::platform()).unwrap(), wanted);

        let nobody: TenantId = "nobody".parse().unwrap();
        assert!(set(&db, &nobody, &change).unwrap().is_err());
    }

    #[test]
    fn a_limit_admits_up_to_its_number_and_none_admits_all() {
        let exceeded = |limit, used| QuotaExceeded { metric: Metric::Apps, limit, used };
        for (limit, used, admitted) in [(2, 1, true), (2, 2, false), (2, 7, false), (0, 0, false)] {
            let limit = Limit::try_from(limit).unwrap();
            let wanted = if admitted { Ok(()) } else { Err(exceeded(limit, used)) };
            assert_eq!(limit.admit(Metric::Apps, used), wanted);
        }
        assert_eq!(Limit::NONE.admit(Metric::Apps, u64::MAX), Ok(()));
        // What an older registry may hold, and nobody may set.
        assert!(Limit(-2).admit(Metric::Apps, 0).is_err());
        assert_eq!(Limit::try_from(-2), Err(BadLimit { number: -2 }));
        assert!(serde_json::from_str::<QuotaChange>(r#"{"maxApps": -2}"#).is_err());
        assert!(serde_json::from_str::<QuotaChange>(r#"{"maxAps": 2}"#).is_err());
        let answer = serde_json::to_value(exceeded(Limit(2), 2)).unwrap();
        assert_eq!(answer, serde_json::json!({ "metric": "apps", "limit": 2, "used": 2 }));
    }

    #[test]
    fn off_never_asks_log_admits_and_on_refuses() {
        let db = database();
        let acme = tenant(&db, "acme");
        let asked = |enforcement: Enforcement, metric| enforcement.admit(&db, &acme, metric).unwrap();
        for metric in Metric::ALL {
            assert_eq!(asked(Enforcement::On, *metric), Ok(()), "{metric}");
        }
        for name in ["one", "other"] {
            app(&db, name, &acme);
        }
        let month = Month::current();
        // A minute that has begun counts as one, a gigabyte once it is whole.
        usage::add(&db, &acme, &month, Metered::RecordingSeconds, 299 * 60 + 1).unwrap();
        usage::add(&db, &acme, &month, Metered::EgressBytes, 5 * GIGABYTE - 1).unwrap();
        usage::set_storage(&db, &acme, &month, 7 * GIGABYTE + 1).unwrap();
        let used_up =
            [(Metric::Apps, 2, 2), (Metric::RecordingMinutesMonth, 300, 300), (Metric::StorageGb, 5, 7)];
        for (metric, limit, used) in used_up {
            let exceeded = QuotaExceeded { metric, limit: Limit(limit), used };
            assert_eq!(asked(Enforcement::On, metric), Err(exceeded));
            assert_eq!(asked(Enforcement::Log, metric), Ok(()));
            assert_eq!(asked(Enforcement::Off, metric), Ok(()));
        }
        assert_eq!(asked(Enforcement::On, Metric::EgressGbMonth), Ok(()));
        usage::add(&db, &acme, &month, Metered::EgressBytes, 1).unwrap();
        assert!(asked(Enforcement::On, Metric::EgressGbMonth).is_err());

        // What nobody asks for cannot fail either.
        db.execute_batch("DROP TABLE quotas").unwrap();
        assert_eq!(asked(Enforcement::Off, Metric::Apps), Ok(()));
        assert!(Enforcement::On.admit(&db, &acme, Metric::Apps).is_err());
    }
}
