//! Who works for a tenant.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use streamhub::access::Permission;
use streamhub::members::{Member, Role};
use streamhub::{Hub, HubError};

use crate::answer::{Created, Done, Found, List};
use crate::api::Paging;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::OnTenant;
use crate::route::{Route, route};

const ALL: &str = "/tenants/{tenant}/members";
const ONE: &str = "/tenants/{tenant}/members/{user}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, ALL, "member.list", Permission::Members, list).about("List a tenant's members"),
        route(Method::POST, ALL, "member.add", Permission::Members, add)
            .about("Make a user a member of a tenant")
            .may(&[StatusCode::CONFLICT]),
        route(Method::PATCH, ONE, "member.change", Permission::Members, change)
            .about("Give a member another role"),
        route(Method::DELETE, ONE, "member.remove", Permission::Members, remove).about("End a membership"),
    ]
}

/// A member that is to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewMember {
    /// The user's key, which the user sees as the `id` of `GET /account`. The platform may name it by its address too:
    /// to others that would tell who has an account.
    user: String,
    role: Role,
}

/// Another role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
}

/// One member.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The user's key.
    user: String,
}

async fn list(on: OnTenant, ask: Ask<Nothing, Paging>) -> Result<List<Member>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let all = on.hub.on_control(move |hub| hub.registry().members(&on.tenant)).await?;
    Ok(List::slice(all, limit, offset))
}

async fn add(
    on: OnTenant,
    ask: Ask<Nothing, NoFields, Json<NewMember>>,
) -> Result<Created<Member>, ApiError> {
    let Json(NewMember { user, role }) = ask.body;
    if user.contains('@') && !on.principal.is_platform() {
        let message = "user: name it by its key, which the user sees as the id of GET /account";
        return Err(ApiError::invalid("invalid_body", message));
    }
    let add = move |on: &OnTenant, user: &str| on.hub.add_member(&on.tenant, user, role);
    Ok(Created(with_user(on, user, add).await?))
}

async fn change(on: OnTenant, ask: Ask<Which, NoFields, Json<NewRole>>) -> Result<Found<Member>, ApiError> {
    let (user, Json(NewRole { role })) = (ask.path.user, ask.body);
    let change = move |on: &OnTenant, user: &str| on.hub.change_member(&on.tenant, user, role);
    Ok(Found(with_user(on, user, change).await?))
}

async fn remove(on: OnTenant, ask: Ask<Which>) -> Result<Done, ApiError> {
    with_user(on, ask.path.user, |on, user| on.hub.remove_member(&on.tenant, user)).await?;
    Ok(Done)
}

/// Does something with the user that is meant: by its key, or by its address where the platform asks. Whoever else
/// names an address hears the same whether or not anybody has it.
async fn with_user(
    on: OnTenant,
    user: String,
    work: impl FnOnce(&OnTenant, &str) -> Result<Member, HubError> + Send + 'static,
) -> Result<Member, HubError> {
    let hub = on.hub.clone();
    let work = move |hub: &Hub| {
        if !on.principal.is_platform() {
            hub.registry().user_of_key(&user)?;
        }
        work(&on, &user)
    };
    hub.on_control(work).await
}
