//! Streams of an app. A stream's id may hold slashes, raw or as `%2F`.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use streamhub::HubError;
use streamhub::access::Permission;
use streamhub::streams::{self, NewStream, Status, Stream, StreamFilter};

use crate::answer::{Created, Done, Found, List};
use crate::api::{limit, page};
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::OnApp;
use crate::route::{Route, repeatable, route};

const ALL: &str = "/apps/{app}/streams";
const ONE: &str = "/apps/{app}/streams/{*streamId}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, ALL, "stream.list", Permission::AppRead, list)
            .about("List streams, those that were started last before others"),
        repeatable(Method::POST, ALL, "stream.start", Permission::AppWrite, start, started)
            .about("Start a stream, within the tenant's quota")
            .may(&[StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS]),
        route(Method::GET, ONE, "stream.show", Permission::AppRead, show).about("Show a stream"),
        route(Method::DELETE, ONE, "stream.end", Permission::AppWrite, end).about("End a stream"),
    ]
}

/// Which streams are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only those that are live, or over.
    status: Option<Status>,
    /// Only those of this room.
    room: Option<String>,
    /// How many at the most.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// How many are passed over.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    offset: u32,
}

/// One stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Which {
    /// The media server's name for the stream.
    stream_id: String,
}

async fn list(on: OnApp, ask: Ask<Nothing, Filter>) -> Result<List<Stream>, ApiError> {
    let Filter { status, room, limit, offset } = ask.query;
    let filter = StreamFilter { status, room, page: page(limit, offset)? };
    let listed = on.lease().await?.peek(move |tx| Ok::<_, HubError>(streams::list(tx, &filter)?)).await?;
    Ok(List::page(listed.data, listed.total, limit, offset))
}

async fn start(on: OnApp, ask: Ask<Nothing, NoFields, Json<NewStream>>) -> Result<Created<Stream>, ApiError> {
    Ok(Created(on.lease().await?.start_stream_async(ask.body.0).await?))
}

/// What was started, where the answer that said so was lost.
async fn started(on: OnApp, stream_id: String) -> Result<Created<Stream>, ApiError> {
    Ok(Created(find(&on, stream_id).await?))
}

async fn show(on: OnApp, ask: Ask<Which>) -> Result<Found<Stream>, ApiError> {
    Ok(Found(find(&on, ask.path.stream_id).await?))
}

async fn find(on: &OnApp, stream_id: String) -> Result<Stream, ApiError> {
    let found =
        on.lease().await?.peek_one(move |tx| Ok::<_, HubError>(streams::by_id(tx, &stream_id)?)).await?;
    found.ok_or(ApiError::NotFound)
}

async fn end(on: OnApp, ask: Ask<Which>) -> Result<Done, ApiError> {
    on.lease().await?.end_stream_async(&ask.path.stream_id).await?;
    Ok(Done)
}
