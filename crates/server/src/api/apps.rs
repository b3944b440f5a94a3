//! Apps: the registry's view of them, and their life.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::Permission;
use streamhub::apps::{App, AppState};
use streamhub::page::Page;
use streamhub::{AppChange, AppId, HubError, NewApp, Seal, TenantId};

use crate::answer::{Created, Found, List};
use crate::api::{Flag, Paging, flag};
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::{Caller, OnApp, Somewhere};
use crate::route::{Route, repeatable, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/apps", "app.list", (), list).about("List the apps that the caller may see"),
        repeatable(Method::POST, "/apps", "app.create", Permission::AppCreate, create, created)
            .about("Make an app with an empty database")
            .may(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS]),
        route(Method::GET, "/apps/{app}", "app.show", Permission::AppRead, show).about("Show an app"),
        route(Method::PATCH, "/apps/{app}", "app.update", Permission::AppWrite, update)
            .about("Change an app's names and settings"),
        route(Method::DELETE, "/apps/{app}", "app.delete", Permission::AppDelete, delete)
            .about("Move an app to the trash"),
        route(Method::POST, "/apps/{app}/seal", "app.seal", Permission::AppDelete, seal).about(
            "Write everything of an app into its files and seal them, so that its directory can be copied",
        ),
        route(Method::POST, "/apps/{app}/rename", "app.rename", Permission::AppDelete, rename)
            .about("Give an app another name")
            .may(&[StatusCode::CONFLICT]),
    ]
}

/// An app as the registry knows it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "App")]
pub(super) struct View {
    /// The registry's number; rows of an app carry it as `appId`.
    id: i64,
    name: String,
    display_name: Option<String>,
    livekit_room_prefix: Option<String>,
    created_at: String,
    updated_at: String,
    /// Settings that dashboards keep with the app, as a JSON text.
    settings_json: Option<String>,
    tenant_id: String,
    state: AppState,
}

/// An app that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewApp")]
struct New {
    name: AppId,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(max = 256))]
    display_name: Option<String>,
    /// Prefix of its room names; `livekitRoomPrefix`, as it is shown, says the same.
    #[serde(default, alias = "livekitRoomPrefix")]
    #[schemars(length(max = 256))]
    room_prefix: Option<String>,
    /// Whose it is; where nothing is said, the caller's tenant, and `platform` for those who may everything.
    #[serde(default)]
    tenant_id: Option<TenantId>,
}

/// Another name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rename {
    name: AppId,
}

/// How an app is deleted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lost {
    /// `1`: its directory is lost, so that nothing goes to the trash.
    #[serde(default, deserialize_with = "flag")]
    #[schemars(with = "Flag")]
    lost: bool,
}

/// What was deleted.
#[derive(Debug, Serialize, JsonSchema)]
struct Gone {
    deleted: bool,
    name: String,
    /// What is wrong with its database, where something is: it does not come back until that is mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    flaw: Option<String>,
}

impl From<App> for View {
    fn from(app: App) -> Self {
        Self {
            id: app.id,
            name: app.name,
            display_name: app.display_name,
            livekit_room_prefix: app.livekit_room_prefix,
            created_at: app.created_at,
            updated_at: app.updated_at,
            settings_json: app.settings_json,
            tenant_id: app.tenant_id,
            state: app.state,
        }
    }
}

async fn list(caller: Caller, ask: Ask<Nothing, Paging>) -> Result<List<View>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let within = caller.principal.within(Permission::AppRead);
    let page = Page { limit, offset };
    let part = caller.hub.on_control(move |hub| hub.registry().page_of_apps(&within, page)).await?;
    Ok(List::page(part.rows.into_iter().map(View::from).collect(), part.total, limit, offset))
}

async fn create(
    caller: Somewhere,
    ask: Ask<Nothing, NoFields, Json<New>>,
) -> Result<Created<View>, ApiError> {
    let Json(New { name, display_name, room_prefix, tenant_id }) = ask.body;
    let tenant = caller.tenant(tenant_id)?;
    let new = NewApp { name, tenant, display_name, room_prefix };
    let made = caller.hub.create_async(&new).await.map_err(|error| match error {
        HubError::Refused(streamhub::apps::Refused::NameTaken { .. }) => ApiError::Conflict {
            code: "name_taken",
            message: "there is an app of this name already".to_owned(),
        },
        error => error.into(),
    })?;
    Ok(Created(made.into()))
}

/// What was made, where the answer that said so was lost.
async fn created(caller: Somewhere, name: String) -> Result<Created<View>, ApiError> {
    let app = caller.hub.on_control(move |hub| hub.registered(&name)).await?;
    // The name may be somebody else's since.
    if !caller.within.has(&app) {
        return Err(ApiError::AnswerLost);
    }
    Ok(Created(app.into()))
}

async fn show(on: OnApp, _: Ask) -> Result<Found<View>, ApiError> {
    let app = on.hub.on_control(move |hub| hub.registered(on.id.as_str())).await?;
    Ok(Found(app.into()))
}

async fn update(on: OnApp, ask: Ask<Nothing, NoFields, Json<AppChange>>) -> Result<Found<View>, ApiError> {
    let Json(change) = ask.body;
    let app = on.hub.on_control(move |hub| hub.update_app(&on.id, &change)).await?;
    Ok(Found(app.into()))
}

async fn delete(on: OnApp, ask: Ask<Nothing, Lost>) -> Result<Found<Gone>, ApiError> {
    let flaw = if ask.query.lost {
        on.hub.forget_lost_async(&on.id).await?;
        None
    } else {
        on.hub.delete_async(&on.id).await?.flaw.map(|flaw| on.hub.without_places(flaw))
    };
    Ok(Found(Gone { deleted: true, name: on.id.to_string(), flaw }))
}

async fn seal(on: OnApp, _: Ask) -> Result<Found<Seal>, ApiError> {
    Ok(Found(on.hub.seal_async(&on.id).await?))
}

async fn rename(on: OnApp, ask: Ask<Nothing, NoFields, Json<Rename>>) -> Result<Found<View>, ApiError> {
    let Json(Rename { name }) = ask.body;
    Ok(Found(on.hub.rename_async(&on.id, &name).await?.into()))
}
