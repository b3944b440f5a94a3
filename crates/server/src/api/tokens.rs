//! API tokens. A token is shown once, when it is made.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::{Permission, Within};
use streamhub::allow_list::AllowList;
use streamhub::page::Page;
use streamhub::tokens::{ApiToken, NewToken, Reach, TokenScope};
use streamhub::{AppId, TenantId};

use crate::answer::{Created, Done, List};
use crate::api::Paging;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::Somewhere;
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/tokens", "token.list", Permission::Tokens, list)
            .about("List tokens; neither they nor their hashes are shown"),
        route(Method::POST, "/tokens", "token.create", Permission::Tokens, create)
            .about("Make a token, which is shown this once")
            .may(&[StatusCode::NOT_FOUND]),
        route(Method::DELETE, "/tokens/{id}", "token.revoke", Permission::Tokens, revoke)
            .about("Revoke a token")
            .may(&[StatusCode::NOT_FOUND]),
    ]
}

/// A token that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewToken")]
struct New {
    /// A name for people.
    #[schemars(length(min = 1, max = 256))]
    name: String,
    /// How far it reaches.
    scope: TokenScope,
    /// The app that a token of the scope `app` reaches.
    #[serde(default)]
    app: Option<AppId>,
    /// Whose it is; where nothing is said, the app's or the caller's tenant.
    #[serde(default)]
    tenant_id: Option<TenantId>,
    /// Addresses and networks from which it may be used; everywhere where nothing is said.
    #[serde(default)]
    allowed_ips: AllowList,
}

/// A token that was made.
#[derive(Debug, Serialize, JsonSchema)]
struct Made {
    id: i64,
    /// The token itself. It is not shown again.
    token: String,
}

/// One token.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The token's number.
    id: i64,
}

async fn list(caller: Somewhere, ask: Ask<Nothing, Paging>) -> Result<List<ApiToken>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let (within, page) = (caller.within, Page { limit, offset });
    let part = caller.hub.on_control(move |hub| hub.registry().page_of_tokens(&within, page)).await?;
    Ok(List::page(part.rows, part.total, limit, offset))
}

async fn create(
    caller: Somewhere,
    ask: Ask<Nothing, NoFields, Json<New>>,
) -> Result<Created<Made>, ApiError> {
    let Json(New { name, scope, app, tenant_id, allowed_ips }) = ask.body;
    let (reach, tenant) = match (scope, app) {
        (TokenScope::App, Some(app)) => {
            let owner = caller.hub.owner_async(&app).await?;
            if !caller.principal.may_with(owner.app, &owner.tenant, Permission::AppRead) {
                return Err(ApiError::NotFound);
            }
            if tenant_id.is_some_and(|tenant| tenant != owner.tenant) {
                return Err(ApiError::invalid("invalid_body", "tenantId: the app is another tenant's"));
            }
            (Reach::App(owner.app), caller.tenant(Some(owner.tenant))?)
        }
        (TokenScope::App, None) => {
            return Err(ApiError::invalid("invalid_body", "app: a token of the scope app names one"));
        }
        (_, Some(_)) => {
            return Err(ApiError::invalid("invalid_body", "app: only a token of the scope app names one"));
        }
        (TokenScope::Node, None) if caller.within != Within::Everything => return Err(ApiError::Forbidden),
        (TokenScope::Node, None) => (Reach::Node, caller.tenant(tenant_id)?),
        (TokenScope::Global, None) => {
            let tenant = caller.tenant(tenant_id)?;
            // Such a token may everything, which only those may give who have it.
            if tenant == TenantId::platform() && caller.within != Within::Everything {
                return Err(ApiError::Forbidden);
            }
            (Reach::Global, tenant)
        }
    };
    let new = NewToken { name, reach, tenant, allowed_ips };
    let (id, token) = caller.hub.on_control(move |hub| hub.create_token(&new)).await?;
    Ok(Created(Made { id, token: token.reveal().to_owned() }))
}

async fn revoke(caller: Somewhere, ask: Ask<Which>) -> Result<Done, ApiError> {
    let Which { id } = ask.path;
    let within = caller.within;
    let revoked = caller.hub.on_control(move |hub| {
        let token = hub.registry().token(id)?;
        if token.is_some_and(|token| is_theirs(&within, &token)) {
            hub.revoke_token(id).map(Some)
        } else {
            Ok(None)
        }
    });
    revoked.await?.map(|_| Done).ok_or(ApiError::NotFound)
}

fn is_theirs(within: &Within, token: &ApiToken) -> bool {
    match within {
        Within::Everything => true,
        Within::Tenants(tenants) => token.tenant_id.as_ref().is_some_and(|tenant| tenants.contains(tenant)),
        Within::App(_) => false,
    }
}
