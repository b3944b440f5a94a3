//! Apps that were deleted, and the way back.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use streamhub::AppId;
use streamhub::Hub;
use streamhub::access::{Permission, Within};
use streamhub::apps::Deleted;

use crate::answer::{Found, List};
use crate::api::Paging;
use crate::api::apps::View;
use crate::ask::{Ask, Nothing};
use crate::error::ApiError;
use crate::policy::Somewhere;
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/trash", "trash.list", Permission::AppDelete, list)
            .about("List deleted apps, and until when each is kept"),
        route(Method::POST, "/trash/{name}/restore", "app.undelete", Permission::AppDelete, restore)
            .about("Bring the app of this name that was deleted last back from the trash")
            .may(&[StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS]),
    ]
}

/// A deleted app.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The name that it had.
    name: AppId,
}

fn is_theirs(within: &Within, deleted: &Deleted) -> bool {
    match within {
        Within::Everything => true,
        Within::Tenants(tenants) => tenants.iter().any(|tenant| tenant.as_str() == deleted.tenant_id),
        Within::App(_) => false,
    }
}

async fn list(caller: Somewhere, ask: Ask<Nothing, Paging>) -> Result<List<Deleted>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let all = caller.hub.on_control(Hub::deleted_apps).await?;
    Ok(List::slice(all.into_iter().filter(|deleted| is_theirs(&caller.within, deleted)), limit, offset))
}

async fn restore(caller: Somewhere, ask: Ask<Which>) -> Result<Found<View>, ApiError> {
    let Which { name } = ask.path;
    let all = caller.hub.on_control(Hub::deleted_apps).await?;
    // The one that was deleted last is the last of that name.
    let last = all.iter().rev().find(|deleted| deleted.name == name.as_str());
    let last = last.filter(|deleted| is_theirs(&caller.within, deleted)).ok_or(ApiError::NotFound)?;
    let hub = caller.hub.meaning(&name, last.id);
    Ok(Found(hub.undelete_async(&name).await?.into()))
}
