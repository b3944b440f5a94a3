//! Tenants and the quotas that come with them.

use std::fmt;

use rusqlite::{Connection, Result, named_params};
use serde::Serialize;
use streamhub_engine::time;

/// A tenant's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// The tenant that owns the installation itself.
    pub fn platform() -> Self {
        Self("platform".to_owned())
    }

    /// A key as a registry holds it.
    pub fn from_registry(key: String) -> Self {
        Self(key)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// Its key.
    pub id: TenantId,
    /// A name for people.
    pub name: String,
    /// The plan's name.
    pub plan: String,
    /// When it was made.
    pub created_at: String,
}

/// All tenants, by key.
pub fn list(db: &Connection) -> Result<Vec<Tenant>> {
    db.prepare("SELECT id, name, plan, created_at FROM tenants ORDER BY id")?
        .query_map([], |row| {
            Ok(Tenant {
                id: TenantId(row.get(0)?),
                name: row.get(1)?,
                plan: row.get(2)?,
                created_at: row.get(3)?,
            })
        })?
        .collect()
}

/// The platform's own tenant with quotas that never bind, where it is not there yet.
pub fn ensure_platform(db: &Connection) -> Result<()> {
    db.execute(
        "INSERT INTO tenants (id, name, plan, created_at) VALUES ('platform', 'Platform', 'platform', :now) \
         ON CONFLICT DO NOTHING",
        named_params! { ":now": time::now() },
    )?;
    db.execute(
        "INSERT INTO quotas (tenant_id, max_apps, max_concurrent_streams, max_recording_minutes_month, \
         max_egress_gb_month, max_storage_gb) VALUES ('platform', 100000, 100000, 100000000, 100000, 100000) \
         ON CONFLICT DO NOTHING",
        [],
    )
    .map(drop)
}
