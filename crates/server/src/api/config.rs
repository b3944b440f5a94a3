//! An app's own configuration. Secrets are never shown.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value};
use streamhub::access::Permission;

use crate::answer::Found;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::OnApp;
use crate::route::{Route, route};

const PATH: &str = "/apps/{app}/config";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, PATH, "app.show-config", Permission::AppRead, show)
            .about("Show an app's configuration, secrets masked")
            .may(&[StatusCode::CONFLICT]),
        route(Method::PATCH, PATH, "app.configure", Permission::AppWrite, patch)
            .about("Change an app's configuration by a JSON merge patch")
            .may(&[StatusCode::CONFLICT]),
    ]
}

async fn show(on: OnApp, _: Ask) -> Result<Found<Value>, ApiError> {
    Ok(Found(on.hub.app_config_async(&on.id).await?.masked()))
}

async fn patch(
    on: OnApp,
    ask: Ask<Nothing, NoFields, Json<Map<String, Value>>>,
) -> Result<Found<Value>, ApiError> {
    let Json(patch) = ask.body;
    Ok(Found(on.hub.patch_app_config_async(&on.id, Value::Object(patch)).await?.masked()))
}
