//! Tenants: who owns apps, and whom a quota binds.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::time;

use crate::page::{Page, Part, Query};
use crate::{Within, quotas};

/// A tenant's key: 1 to 64 letters, digits, `-`, `_` and `.` of ASCII, beginning with a letter or digit.
///
/// A registry may hold other keys; they are taken as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("pattern" = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
pub struct TenantId(String);

/// A text is no tenant's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key:?} is not a tenant key: 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.', beginning with a letter or digit"
)]
pub struct BadTenantId {
    /// The text that was refused, shortened where it is long.
    pub key: String,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// A tenant's key is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is already a tenant {tenant}")]
pub struct TenantExists {
    /// The key.
    pub tenant: TenantId,
}

/// Nobody has that key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no tenant {tenant}")]
pub struct UnknownTenant {
    /// The key.
    pub tenant: TenantId,
}

impl TenantId {
    /// The tenant that owns the installation itself.
    pub fn platform() -> Self {
        Self("platform".to_owned())
    }

    /// A key as a registry holds it.
    pub fn from_registry(key: String) -> Self {
        Self(key)
    }

    /// A random key for a tenant that nobody named.
    pub fn generate() -> Self {
        Self(format!("tnt_{}", streamhub_engine::new_uuid()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The plan of a tenant for which none was chosen.
pub const DEFAULT_PLAN: &str = "free";

/// All tenants, by key.
pub fn list(db: &Connection) -> Result<Vec<Tenant>> {
    db.prepare("SELECT id, name, plan, created_at FROM tenants ORDER BY id")?.query_map([], read)?.collect()
}

/// A page of those tenants that somebody sees, by key.
pub fn page(db: &Connection, within: &Within, page: Page) -> Result<Part<Tenant>> {
    // No tenant is one app's.
    let from = format!("tenants WHERE {}", within.condition("id", "NULL"));
    let query = Query { columns: "id, name, plan, created_at", from: &from, order: "id" };
    query.page(db, page, &[(":within", within)], read)
}

/// The tenant of this key.
pub fn get(db: &Connection, id: &TenantId) -> Result<Option<Tenant>> {
    db.prepare_cached("SELECT id, name, plan, created_at FROM tenants WHERE id = :id")?
        .query_row(named_params! { ":id": id }, read)
        .optional()
}

/// Whether there is such a tenant.
pub fn exists(db: &Connection, id: &TenantId) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM tenants WHERE id = :id)")?
        .query_row(named_params! { ":id": id }, |row| row.get(0))
}

/// Makes a tenant with the schema's default quotas.
pub fn create(
    db: &Connection,
    id: &TenantId,
    name: &str,
    plan: &str,
) -> Result<Result<Tenant, TenantExists>> {
    let tenant =
        Tenant { id: id.clone(), name: name.to_owned(), plan: plan.to_owned(), created_at: time::now() };
    if insert(db, &tenant)? {
        quotas::grant_defaults(db, id)?;
        Ok(Ok(tenant))
    } else {
        Ok(Err(TenantExists { tenant: id.clone() }))
    }
}

/// Makes a tenant that is not there yet, with its key for a name and default quotas; says whether it did.
pub fn ensure(db: &Connection, id: &TenantId) -> Result<bool> {
    create(db, id, id.as_str(), DEFAULT_PLAN).map(|created| created.is_ok())
}

/// Gives a tenant a name and a plan.
pub fn update(
    db: &Connection,
    id: &TenantId,
    name: &str,
    plan: &str,
) -> Result<Result<Tenant, UnknownTenant>> {
    db.execute(
        "UPDATE tenants SET name = :name, plan = :plan WHERE id = :id",
        named_params! { ":id": id, ":name": name, ":plan": plan },
    )?;
    get(db, id).map(|tenant| tenant.ok_or_else(|| UnknownTenant { tenant: id.clone() }))
}

/// The platform's own tenant with quotas that never bind, where it is not there yet.
pub fn ensure_platform(db: &Connection) -> Result<()> {
    insert(
        db,
        &Tenant {
            id: TenantId::platform(),
            name: "Platform".to_owned(),
            plan: "platform".to_owned(),
            created_at: time::now(),
        },
    )?;
    db.execute(
        "INSERT INTO quotas (tenant_id, max_apps, max_concurrent_streams, max_recording_minutes_month, \
         max_egress_gb_month, max_storage_gb) VALUES ('platform', 100000, 100000, 100000000, 100000, 100000) \
         ON CONFLICT DO NOTHING",
        [],
    )
    .map(drop)
}

/// Says whether the key was free.
fn insert(db: &Connection, tenant: &Tenant) -> Result<bool> {
    db.execute(
        "INSERT INTO tenants (id, name, plan, created_at) VALUES (:id, :name, :plan, :created) \
         ON CONFLICT DO NOTHING",
        named_params! {
            ":id": tenant.id,
            ":name": tenant.name,
            ":plan": tenant.plan,
            ":created": tenant.created_at,
        },
    )
    .map(|inserted| inserted == 1)
}

fn read(row: &Row<'_>) -> Result<Tenant> {
    Ok(Tenant { id: row.get(0)?, name: row.get(1)?, plan: row.get(2)?, created_at: row.get(3)? })
}

impl FromStr for TenantId {
    type Err = BadTenantId;

    fn from_str(key: &str) -> Result<Self, BadTenantId> {
        let fits = (1..=64).contains(&key.len())
            && key.starts_with(|first: char| first.is_ascii_alphanumeric())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if fits { Ok(Self(key.to_owned())) } else { Err(BadTenantId { key: key.chars().take(64).collect() }) }
    }
}

streamhub_engine::parsed_text!(TenantId);

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ToSql for TenantId {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for TenantId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        String::column_result(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::database;

    #[test]
    fn keys_that_fit_and_keys_that_do_not() {
        for key in ["a", "platform", "tnt_28e66b0c-ba87-439f-9ccd-881f6340a9a2", "Acme.2", &"a".repeat(64)] {
            assert_eq!(key.parse::<TenantId>().unwrap().as_str(), key);
        }
        for key in ["", "-a", "_a", ".", "..", "a/b", "a b", "ä", "a\0", "a%2F", &"a".repeat(65)] {
            assert!(key.parse::<TenantId>().is_err(), "{key:?} was taken");
        }
        assert!(serde_json::from_str::<TenantId>("\"../x\"").is_err());
        assert!(TenantId::generate().as_str().parse::<TenantId>().is_ok());
    }

    #[test]
    fn a_key_is_given_once() {
        let db = database();
        let acme: TenantId = "acme".parse().unwrap();
        assert_eq!(get(&db, &acme).unwrap(), None);
        let made = create(&db, &acme, "Acme", "gold").unwrap().unwrap();
        assert_eq!(create(&db, &acme, "Other", "free").unwrap(), Err(TenantExists { tenant: acme.clone() }));
        assert!(!ensure(&db, &acme).unwrap());
        assert_eq!(get(&db, &acme).unwrap(), Some(made));
        assert!(ensure(&db, &"other".parse().unwrap()).unwrap());
        let keys: Vec<_> = list(&db).unwrap().into_iter().map(|tenant| tenant.id.0).collect();
        assert_eq!(keys, ["acme", "other", "platform"]);
        let quotas: i64 = db.query_row("SELECT count(*) FROM quotas", [], |row| row.get(0)).unwrap();
        assert_eq!(quotas, 3);
    }

    #[test]
    fn name_and_plan_change() {
        let db = database();
        let acme: TenantId = "acme".parse().unwrap();
        assert_eq!(update(&db, &acme, "Acme", "gold").unwrap(), Err(UnknownTenant { tenant: acme.clone() }));
        create(&db, &acme, "Acme", "free").unwrap().unwrap();
        let changed = update(&db, &acme, "ACME", "gold").unwrap().unwrap();
        assert_eq!((&*changed.name, &*changed.plan), ("ACME", "gold"));
    }
}
