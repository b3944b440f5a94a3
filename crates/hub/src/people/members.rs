//! Members: which user is what in which tenant.

use serde_json::json;
use streamhub_control::members::{self, Member, NotAdded, Role};
use streamhub_control::{Connection, SqlResult, TenantId, tenants};

use super::found_user;
use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;

const MEMBER: &str = "tenant member";

impl Hub {
    /// Makes the user of this key or address a member of a tenant.
    pub fn add_member(&self, tenant: &TenantId, who: &str, role: Role) -> Result<Member> {
        let deed = Deed::of("member.add").detail(json!({ "role": role }));
        self.of_member(deed, tenant, who, move |db, tenant, user| {
            if let Err(refused) = members::add(db, tenant, user, role)? {
                return Ok(Err(refused.into()));
            }
            member(db, tenant, user)
        })
    }

    /// Gives a member another role.
    pub fn change_member(&self, tenant: &TenantId, who: &str, role: Role) -> Result<Member> {
        let deed = Deed::of("member.change").detail(json!({ "role": role }));
        self.of_member(deed, tenant, who, move |db, tenant, user| {
            members::change(db, tenant, user, role)?;
            member(db, tenant, user)
        })
    }

    /// Ends a membership, and returns it.
    pub fn remove_member(&self, tenant: &TenantId, who: &str) -> Result<Member> {
        self.of_member(Deed::of("member.remove"), tenant, who, |db, tenant, user| {
            let member = member(db, tenant, user)?;
            members::remove(db, tenant, user)?;
            Ok(member)
        })
    }

    fn of_member<T: Send + 'static>(
        &self,
        deed: Deed,
        tenant: &TenantId,
        who: &str,
        work: impl Fn(&Connection, &TenantId, &str) -> SqlResult<Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (tenant, who) = (tenant.clone(), who.to_owned());
        self.change(deed.tenant(&tenant), move |db, deed| {
            if !tenants::exists(db, &tenant)? {
                return Ok(Err(tenants::UnknownTenant { tenant: tenant.clone() }.into()));
            }
            match found_user(db, &who)? {
                Ok(user) => {
                    deed.aim(&user.id);
                    work(db, &tenant, &user.id)
                }
                Err(refused) => Ok(Err(refused)),
            }
        })
    }
}

fn member(db: &Connection, tenant: &TenantId, user: &str) -> SqlResult<Result<Member>> {
    let found = members::get(db, tenant, user)?;
    Ok(found.ok_or_else(|| HubError::NotFound { noun: MEMBER, name: user.to_owned() }))
}

impl From<NotAdded> for HubError {
    fn from(refused: NotAdded) -> Self {
        match refused {
            NotAdded::UnknownTenant(unknown) => unknown.into(),
            NotAdded::UnknownUser { user_id } => Self::NotFound { noun: "user", name: user_id },
            NotAdded::Already { user_id, .. } => Self::Exists { noun: MEMBER, name: user_id },
        }
    }
}
