//! Tenants and what they may have.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::Permission;
use streamhub::change::required;
use streamhub::page::Page;
use streamhub::quotas::{QuotaChange, Quotas};
use streamhub::tenants::Tenant;
use streamhub::{Hub, TenantChange, TenantId};

use crate::answer::{Created, Found, List};
use crate::api::Paging;
use crate::ask::{Ask, Json, NoFields, Nothing, Object};
use crate::error::ApiError;
use crate::policy::{OnTenant, Platform, Somewhere};
use crate::route::{Route, repeatable, route};

const ALL: &str = "/tenants";
const ONE: &str = "/tenants/{tenant}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, ALL, "tenant.list", Permission::Members, list)
            .about("List the tenants that the caller administrates"),
        repeatable(Method::POST, ALL, "tenant.create", (), create, created)
            .about("Make a tenant with default quotas")
            .may(&[StatusCode::CONFLICT]),
        route(Method::GET, ONE, "tenant.show", Permission::Members, show)
            .about("Show a tenant and its quotas"),
        route(Method::PATCH, ONE, "tenant.update", Permission::Members, update)
            .about("Change a tenant's name; its plan and quotas are the platform's to change"),
    ]
}

/// A tenant with its quotas.
#[derive(Debug, Serialize, JsonSchema)]
struct View {
    #[serde(flatten)]
    tenant: Tenant,
    quotas: Quotas,
}

/// A tenant that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewTenant")]
struct New {
    /// Its key; a random one where none is given.
    #[serde(default)]
    id: Option<TenantId>,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    name: Option<String>,
    /// The plan's name.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    plan: Option<String>,
}

/// What is to be changed of a tenant; what is absent stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TenantPatch")]
struct Patch {
    /// A name for people.
    #[serde(default, deserialize_with = "required")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    name: Option<String>,
    /// The plan's name.
    #[serde(default, deserialize_with = "required")]
    #[schemars(with = "String", length(min = 1, max = 256))]
    plan: Option<String>,
    /// Limits; -1 is none.
    #[serde(default, deserialize_with = "required")]
    #[schemars(with = "QuotaChange")]
    quotas: Option<Object<QuotaChange>>,
}

async fn list(caller: Somewhere, ask: Ask<Nothing, Paging>) -> Result<List<Tenant>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let (within, page) = (caller.within, Page { limit, offset });
    let part = caller.hub.on_control(move |hub| hub.registry().page_of_tenants(&within, page)).await?;
    Ok(List::page(part.rows, part.total, limit, offset))
}

async fn create(
    platform: Platform,
    ask: Ask<Nothing, NoFields, Json<New>>,
) -> Result<Created<View>, ApiError> {
    let Json(New { id, name, plan }) = ask.body;
    let id = id.unwrap_or_else(TenantId::generate);
    let made = platform.hub.on_control(move |hub| {
        let tenant = hub.create_tenant(&id, &TenantChange { name, plan })?;
        Ok(View { quotas: hub.registry().quotas(&id)?, tenant })
    });
    Ok(Created(made.await?))
}

/// What was made, where the answer that said so was lost.
async fn created(platform: Platform, id: String) -> Result<Created<View>, ApiError> {
    Ok(Created(view(&platform.hub, TenantId::from_registry(id)).await?))
}

async fn show(on: OnTenant, _: Ask) -> Result<Found<View>, ApiError> {
    Ok(Found(view(&on.hub, on.tenant).await?))
}

async fn view(hub: &Hub, id: TenantId) -> Result<View, ApiError> {
    let found = hub.on_control(move |hub| {
        let registry = hub.registry();
        Ok(View { tenant: registry.tenant(&id)?, quotas: registry.quotas(&id)? })
    });
    Ok(found.await?)
}

async fn update(on: OnTenant, ask: Ask<Nothing, NoFields, Json<Patch>>) -> Result<Found<View>, ApiError> {
    let Json(Patch { name, plan, quotas }) = ask.body;
    if (plan.is_some() || quotas.is_some()) && !on.principal.is_platform() {
        return Err(ApiError::Forbidden);
    }
    let changed = on.hub.on_control(move |hub| {
        let (tenant, quotas) = hub.change_tenant(
            &on.tenant,
            &TenantChange { name, plan },
            &quotas.map(|quotas| quotas.0).unwrap_or_default(),
        )?;
        Ok(View { tenant, quotas })
    });
    Ok(Found(changed.await?))
}
