//! Members: which user is what in which tenant.

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::time;

use crate::{TenantId, tenants, users};
use streamhub_engine::words;

words! {
    /// What a member may do, from the most to the least.
    pub enum Role {
        /// Everything in the tenant.
        Owner = "owner",
        /// Read and change apps.
        Editor = "editor",
        /// Read apps.
        Viewer = "viewer",
    }
}

/// One user's membership of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The user's key.
    pub user_id: String,
    /// The address that it logs in with.
    pub email: Option<String>,
    /// The tenant.
    pub tenant_id: TenantId,
    /// What it may do there.
    pub role: Role,
    /// Since when it is a member.
    pub created_at: String,
}

/// Why nobody became a member; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// There is no such tenant.
    #[error(transparent)]
    UnknownTenant(#[from] tenants::UnknownTenant),
    /// There is no such user.
    #[error("there is no user {user_id}")]
    UnknownUser {
        /// The user's key.
        user_id: String,
    },
    /// The user is one already.
    #[error("{user_id} is a member already, as {role}")]
    Already {
        /// The user's key.
        user_id: String,
        /// What it may do.
        role: Role,
    },
}

const SELECT: &str = "SELECT memberships.user_id, users.email, memberships.tenant_id, role, memberships.created_at \
    FROM memberships JOIN users ON users.id = memberships.user_id";

/// Makes a user a member.
pub fn add(db: &Connection, tenant: &TenantId, user_id: &str, role: Role) -> Result<Result<(), NotAdded>> {
    if !tenants::exists(db, tenant)? {
        return Ok(Err(tenants::UnknownTenant { tenant: tenant.clone() }.into()));
    }
    if users::get(db, user_id)?.is_none() {
        return Ok(Err(NotAdded::UnknownUser { user_id: user_id.to_owned() }));
    }
    if let Some(member) = get(db, tenant, user_id)? {
        return Ok(Err(NotAdded::Already { user_id: user_id.to_owned(), role: member.role }));
    }
    db.execute(
        "INSERT INTO memberships (user_id, tenant_id, role, created_at) VALUES (:user, :tenant, :role, :now)",
        named_params! { ":user": user_id, ":tenant": tenant, ":role": role, ":now": time::now() },
    )
    .map(|_| Ok(()))
}

/// Gives a member another role. Says whether there is such a member.
pub fn change(db: &Connection, tenant: &TenantId, user_id: &str, role: Role) -> Result<bool> {
    db.execute(
        "UPDATE memberships SET role = :role WHERE user_id = :user AND tenant_id = :tenant",
        named_params! { ":user": user_id, ":tenant": tenant, ":role": role },
    )
    .map(|changed| changed == 1)
}

/// Ends a membership. Says whether there was one.
pub fn remove(db: &Connection, tenant: &TenantId, user_id: &str) -> Result<bool> {
    db.execute(
        "DELETE FROM memberships WHERE user_id = :user AND tenant_id = :tenant",
        named_params! { ":user": user_id, ":tenant": tenant },
    )
    .map(|removed| removed == 1)
}

/// A user's membership of a tenant.
pub fn get(db: &Connection, tenant: &TenantId, user_id: &str) -> Result<Option<Member>> {
    db.prepare_cached(&format!(
        "{SELECT} WHERE memberships.user_id = :user AND memberships.tenant_id = :tenant"
    ))?
    .query_row(named_params! { ":user": user_id, ":tenant": tenant }, read)
    .optional()
}

/// A tenant's members, by key.
pub fn of_tenant(db: &Connection, tenant: &TenantId) -> Result<Vec<Member>> {
    db.prepare_cached(&format!(
        "{SELECT} WHERE memberships.tenant_id = :tenant ORDER BY memberships.user_id"
    ))?
    .query_map(named_params! { ":tenant": tenant }, read)?
    .collect()
}

/// A user's memberships, by tenant.
pub fn of_user(db: &Connection, user_id: &str) -> Result<Vec<Member>> {
    db.prepare_cached(&format!("{SELECT} WHERE memberships.user_id = :user ORDER BY memberships.tenant_id"))?
        .query_map(named_params! { ":user": user_id }, read)?
        .collect()
}

fn read(row: &Row<'_>) -> Result<Member> {
    Ok(Member {
        user_id: row.get(0)?,
        email: row.get(1)?,
        tenant_id: row.get(2)?,
        role: row.get(3)?,
        created_at: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{database, tenant};
    use crate::users::NewUser;

    #[test]
    fn a_membership_from_beginning_to_end() {
        let db = database();
        let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
        let [anna, bert] = ["anna@b.c", "bert@b.c"].map(|email| {
            let new =
                NewUser { email: email.parse().unwrap(), name: None, password: None, is_superadmin: false };
            users::create(&db, &new).unwrap().unwrap().id
        });
        for (tenant, user, role) in
            [(&acme, &anna, Role::Owner), (&acme, &bert, Role::Viewer), (&zeta, &anna, Role::Editor)]
        {
            add(&db, tenant, user, role).unwrap().unwrap();
        }
        let again = add(&db, &acme, &anna, Role::Viewer).unwrap().unwrap_err();
        assert_eq!(again, NotAdded::Already { user_id: anna.clone(), role: Role::Owner });

        assert!(change(&db, &acme, &bert, Role::Editor).unwrap());
        assert!(!change(&db, &zeta, &bert, Role::Editor).unwrap());
        let mut roles: Vec<_> =
            of_tenant(&db, &acme).unwrap().into_iter().map(|m| (m.email.unwrap(), m.role)).collect();
        roles.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(roles, [("anna@b.c".to_owned(), Role::Owner), ("bert@b.c".to_owned(), Role::Editor)]);
        let tenants: Vec<_> =
            of_user(&db, &anna).unwrap().into_iter().map(|member| member.tenant_id).collect();
        assert_eq!(tenants, [acme.clone(), zeta.clone()]);

        assert!(remove(&db, &acme, &anna).unwrap());
        assert!(!remove(&db, &acme, &anna).unwrap());
        assert_eq!(get(&db, &acme, &anna).unwrap(), None);
        assert_eq!(get(&db, &zeta, &anna).unwrap().unwrap().role, Role::Editor);
    }

    #[test]
    fn both_sides_have_to_be_there() {
        let db = database();
        let acme = tenant(&db, "acme");
        let refused = |tenant: &TenantId| add(&db, tenant, "usr_x", Role::Owner).unwrap().unwrap_err();
        assert_eq!(refused(&acme), NotAdded::UnknownUser { user_id: "usr_x".to_owned() });
        assert!(matches!(refused(&"nobody".parse().unwrap()), NotAdded::UnknownTenant(_)));
    }
}
