//! Ingress of an app: who may publish into it.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::HubError;
use streamhub::access::Permission;
use streamhub::ingress::{self, Ingress, NewIngress, Password, StreamKey};

use crate::answer::{Created, Done, Found, List};
use crate::api::Paging;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::OnApp;
use crate::route::{Route, route};

const ALL: &str = "/apps/{app}/ingress";
const ONE: &str = "/apps/{app}/ingress/{id}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, ALL, "ingress.list", Permission::AppRead, list)
            .about("List ingress; stream keys are shown to those who may change the app"),
        route(Method::POST, ALL, "ingress.create", Permission::AppWrite, create)
            .about("Make an ingress; a password that was not chosen is shown this once")
            .may(&[StatusCode::CONFLICT]),
        route(Method::GET, ONE, "ingress.show", Permission::AppRead, show).about("Show an ingress"),
        route(Method::DELETE, ONE, "ingress.delete", Permission::AppWrite, delete).about("Remove an ingress"),
    ]
}

/// An ingress that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "NewIngress")]
#[derive(Default)]
struct New {
    /// The room that is published into.
    room: Option<String>,
    /// The stream key; a random one where none is given.
    stream_key: Option<StreamKey>,
    /// The password.
    password: Option<Password>,
    /// Whether a password is needed; where none is given, a random one is made and shown.
    requires_password: bool,
}

/// An ingress that was made.
#[derive(Debug, Serialize, JsonSchema)]
struct Made {
    #[serde(flatten)]
    ingress: Ingress,
    /// The password, where it was not chosen. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// One ingress.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The ingress's name.
    id: String,
}

/// Whoever knows the key may publish, which is more than to look.
fn shown(on: &OnApp, ingress: Ingress) -> Ingress {
    let may = on.principal.may_with(on.app, &on.tenant, Permission::AppWrite);
    Ingress { stream_key: ingress.stream_key.filter(|_| may), ..ingress }
}

async fn list(on: OnApp, ask: Ask<Nothing, Paging>) -> Result<List<Ingress>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let page = crate::api::page(limit, offset)?;
    let listed = on.lease().await?.peek(move |tx| Ok::<_, HubError>(ingress::list(tx, page)?)).await?;
    let data = listed.data.into_iter().map(|ingress| shown(&on, ingress)).collect();
    Ok(List::page(data, listed.total, limit, offset))
}

async fn create(on: OnApp, ask: Ask<Nothing, NoFields, Json<New>>) -> Result<Created<Made>, ApiError> {
    let Json(New { room, stream_key, password, requires_password }) = ask.body;
    let random = (requires_password && password.is_none()).then(Password::random);
    let password = password.or_else(|| random.clone());
    let new = NewIngress { room, stream_key, password, ..NewIngress::default() };
    let ingress = on.lease().await?.create_ingress_async(new).await?;
    Ok(Created(Made { ingress, password: random.map(|password| password.reveal().to_owned()) }))
}

async fn show(on: OnApp, ask: Ask<Which>) -> Result<Found<Ingress>, ApiError> {
    let id = ask.path.id;
    let found = on.lease().await?.peek_one(move |tx| Ok::<_, HubError>(ingress::by_id(tx, &id)?)).await?;
    found.map(|ingress| Found(shown(&on, ingress))).ok_or(ApiError::NotFound)
}

async fn delete(on: OnApp, ask: Ask<Which>) -> Result<Done, ApiError> {
    on.lease().await?.delete_ingress_async(&ask.path.id).await?;
    Ok(Done)
}
