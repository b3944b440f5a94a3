//! Apps that were deleted, and the way back.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use streamhub::AppId;
use streamhub::access::Permission;
use streamhub::apps::Deleted;
use streamhub::page::Page;

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
            .about("Bring the app of this name that was deleted last, of those that the caller sees, back from the trash")
            .may(&[StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS]),
    ]
}

/// A deleted app.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The name that it had.
    name: AppId,
}

async fn list(caller: Somewhere, ask: Ask<Nothing, Paging>) -> Result<List<Deleted>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let (within, page) = (caller.within, Page { limit, offset });
    let part = caller.hub.on_control(move |hub| hub.page_of_deleted_apps(&within, page)).await?;
    Ok(List::page(part.rows, part.total, limit, offset))
}

async fn restore(caller: Somewhere, ask: Ask<Which>) -> Result<Found<View>, ApiError> {
    let Which { name } = ask.path;
    let (named, within) = (name.clone(), caller.within);
    let last = caller.hub.on_control(move |hub| hub.last_deleted(&named, &within)).await?;
    let last = last.ok_or(ApiError::NotFound)?;
    let hub = caller.hub.meaning(&name, last.id);
    Ok(Found(hub.undelete_async(&name).await?.into()))
}
