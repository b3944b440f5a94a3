//! A small control plane for unit tests.

use rusqlite::{Connection, named_params};
use streamhub_engine::{AppId, Database};

use crate::apps::{self, NewApp};
use crate::quotas::Enforcement;
use crate::schema::FINAL;
use crate::users::{NewUser, User};
use crate::{TenantId, tenants, users};

/// An empty control plane with the platform's tenant.
pub(crate) fn database() -> Database {
    let db = Database::scratch(None).unwrap();
    db.execute_batch(FINAL).unwrap();
    tenants::ensure_platform(&db).unwrap();
    db
}

/// A tenant with default quotas.
pub(crate) fn tenant(db: &Connection, id: &str) -> TenantId {
    let id: TenantId = id.parse().unwrap();
    assert!(tenants::ensure(db, &id).unwrap());
    id
}

/// What an app of this name is registered as.
pub(crate) fn new_app(name: &str, tenant: &TenantId) -> NewApp {
    NewApp {
        name: app_id(name),
        tenant: tenant.clone(),
        display_name: None,
        room_prefix: None,
        uuid: streamhub_engine::Uuid::random(),
    }
}

/// A parsed name.
pub(crate) fn app_id(name: &str) -> AppId {
    name.parse().unwrap()
}

/// An active app; returns its id.
pub(crate) fn app(db: &Connection, name: &str, tenant: &TenantId) -> i64 {
    let id = apps::insert_creating(db, &new_app(name, tenant), Enforcement::On).unwrap().unwrap();
    apps::activate(db, id).unwrap().unwrap();
    id
}

/// The query plan of a statement, whatever its parameters.
pub(crate) fn plan(db: &Connection, sql: &str) -> String {
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    statement.raw_query().mapped(|row| row.get::<_, String>(3)).map(|step| step.unwrap() + "\n").collect()
}

/// An app whose tenant the registry does not name, as an older system may have left it.
pub(crate) fn app_without_tenant(db: &Connection, name: &str) -> i64 {
    db.execute("INSERT INTO apps (name, tenant_id) VALUES (:name, NULL)", named_params! { ":name": name })
        .unwrap();
    db.last_insert_rowid()
}

/// A user who cannot log in.
pub(crate) fn user(db: &Connection, email: &str) -> User {
    let new = NewUser { email: email.parse().unwrap(), name: None, password: None, is_superadmin: false };
    users::create(db, &new).unwrap().unwrap()
}
