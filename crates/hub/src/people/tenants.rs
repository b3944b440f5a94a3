//! Tenants and their quotas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use streamhub_control::quotas::{self, QuotaChange, Quotas};
use streamhub_control::tenants::{self, Tenant, TenantExists, UnknownTenant};
use streamhub_control::{Connection, SqlResult, TenantId};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::check_name;

/// What is to be changed of a tenant; what is absent stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantChange {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The plan's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl TenantChange {
    fn check(&self) -> Result<()> {
        check_name("name", self.name.as_ref())?;
        check_name("plan", self.plan.as_ref())
    }
}

impl Hub {
    /// Makes a tenant with default quotas; its key is its name and its plan `free` where nothing else is said.
    pub fn create_tenant(&self, id: &TenantId, details: &TenantChange) -> Result<Tenant> {
        details.check()?;
        let (id, TenantChange { name, plan }) = (id.clone(), details.clone());
        let name = name.unwrap_or_else(|| id.to_string());
        let plan = plan.unwrap_or_else(|| tenants::DEFAULT_PLAN.to_owned());
        let deed = Deed::of("tenant.create").tenant(&id).target(&id);
        self.change(deed, move |db, _| tenants::create(db, &id, &name, &plan))
    }

    /// Changes a tenant's name or plan.
    pub fn update_tenant(&self, id: &TenantId, change: &TenantChange) -> Result<Tenant> {
        change.check()?;
        let (id, change) = (id.clone(), change.clone());
        let deed = Deed::of("tenant.update").tenant(&id).target(&id).detail(json!(change));
        self.change(deed, move |db, _| updated(db, &id, &change))
    }

    /// Changes a tenant's name or plan, and those limits that are given, at once.
    pub fn change_tenant(
        &self,
        id: &TenantId,
        change: &TenantChange,
        limits: &QuotaChange,
    ) -> Result<(Tenant, Quotas)> {
        change.check()?;
        let (id, change, limits) = (id.clone(), change.clone(), *limits);
        let mut detail = json!(change);
        if limits != QuotaChange::default() {
            detail["quotas"] = json!(limits);
        }
        let deed = Deed::of("tenant.update").tenant(&id).target(&id).detail(detail);
        self.change(deed, move |db, _| match updated(db, &id, &change)? {
            Ok(tenant) => Ok(quotas::set(db, &id, &limits)?.map(|limits| (tenant, limits))),
            Err(unknown) => Ok(Err(unknown)),
        })
    }

    /// Sets those limits that are given and returns them all. What a tenant has above a limit stays.
    pub fn set_quotas(&self, tenant: &TenantId, change: &QuotaChange) -> Result<Quotas> {
        let (tenant, change) = (tenant.clone(), *change);
        let deed = Deed::of("tenant.set-quotas").tenant(&tenant).target(&tenant);
        let deed = deed.detail(json!({ "quotas": change }));
        self.change(deed, move |db, _| quotas::set(db, &tenant, &change))
    }
}

fn updated(
    db: &Connection,
    id: &TenantId,
    change: &TenantChange,
) -> SqlResult<Result<Tenant, UnknownTenant>> {
    let Some(tenant) = tenants::get(db, id)? else {
        return Ok(Err(UnknownTenant { tenant: id.clone() }));
    };
    let name = change.name.as_ref().unwrap_or(&tenant.name);
    let plan = change.plan.as_ref().unwrap_or(&tenant.plan);
    tenants::update(db, id, name, plan)
}

impl From<TenantExists> for HubError {
    fn from(TenantExists { tenant }: TenantExists) -> Self {
        Self::Exists { noun: "tenant", name: tenant.into() }
    }
}

impl From<UnknownTenant> for HubError {
    fn from(UnknownTenant { tenant }: UnknownTenant) -> Self {
        Self::NotFound { noun: "tenant", name: tenant.into() }
    }
}
