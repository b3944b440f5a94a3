//! Recordings of an app.

use std::future;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use futures_util::stream::{self, StreamExt as _};
use schemars::JsonSchema;
use serde::Deserialize;
use streamhub::access::Permission;
use streamhub::time::Moment;
use streamhub::vods::{self, Dir, NewVod, Order, Place, Status, Vod, VodFilter, VodPatch};
use streamhub::{HubError, ReadTx};

use crate::answer::{Created, Done, Found, List};
use crate::api::{Flag, flag, limit, page};
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::following::Following;
use crate::listing::Listing;
use crate::policy::OnApp;
use crate::route::{Route, repeatable, route};

const ALL: &str = "/apps/{app}/vods";
const ONE: &str = "/apps/{app}/vods/{id}";

/// Recordings that are read at once of a list that is asked for as a whole.
const AT_ONCE: u32 = 500;

/// The same in an order that no index has, where each part looks at all of them.
const AT_ONCE_UNSORTED: u32 = 10_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, ALL, "vod.list", Permission::AppRead, list)
            .about("List recordings")
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        repeatable(Method::POST, ALL, "vod.create", Permission::AppWrite, create, created)
            .about("Add a recording; one that begins has to be within the tenant's quotas")
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        route(Method::GET, ONE, "vod.show", Permission::AppRead, show).about("Show a recording"),
        route(Method::PATCH, ONE, "vod.update", Permission::AppWrite, update)
            .about("Change a recording")
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        route(Method::DELETE, ONE, "vod.delete", Permission::AppWrite, delete)
            .about("Remove a recording and its local file"),
    ]
}

/// Which recordings are listed, and in which order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only those of this room.
    room: Option<String>,
    /// Only those that are this far.
    status: Option<Status>,
    /// Only those that began then or later.
    since: Option<Moment>,
    /// Only those that began then or earlier.
    until: Option<Moment>,
    /// What they are ordered by.
    #[serde(default)]
    order: Order,
    /// In which direction.
    #[serde(default)]
    dir: Dir,
    /// `1`: all of them, whatever the limit.
    #[serde(default, deserialize_with = "flag")]
    #[schemars(with = "Flag")]
    all: bool,
    /// How many at the most.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// How many are passed over.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    offset: u32,
}

/// One recording.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The recording's number.
    id: i64,
}

async fn list(follower: Following<OnApp>, ask: Ask<Nothing, Filter>) -> Result<Listing<Vod>, ApiError> {
    let Filter { room, status, since, until, order, dir, all, limit, offset } = ask.query;
    let filter = VodFilter { room, status, since, until, order, dir, page: page(limit, offset)? };
    if !all {
        let read = move |tx: &ReadTx<'_>| Ok::<_, HubError>(vods::list(tx, &filter)?);
        let listed = follower.on.lease().await?.peek(read).await?;
        return Ok(Listing::Part(List::page(listed.data, listed.total, limit, offset)));
    }
    // What can be refused is, as long as it can be said.
    let share = follower.place()?;
    let (first, place) = behind(&follower.on, &filter, None).await?;
    let following = Arc::new((follower, filter, share));
    let others = stream::unfold(place, move |place| {
        let following = Arc::clone(&following);
        async move {
            let (follower, filter, _share) = &*following;
            let place = place?;
            Some(match still(follower, filter, place).await {
                Ok((vods, place)) => (Ok(vods), place),
                Err(error) => (Err(error), None),
            })
        }
    });
    Ok(Listing::whole(limit, stream::once(future::ready(Ok(first))).chain(others)))
}

/// Another part of the whole list, for who may still read it.
async fn still(
    follower: &Following<OnApp>,
    filter: &VodFilter,
    place: Place,
) -> Result<(Vec<Vod>, Option<Place>), ApiError> {
    // A server that stops is waited for by nobody who reads slowly.
    follower.service().hub()?;
    let principal = follower.principal().await?.ok_or(ApiError::Unauthorized)?;
    let OnApp { app, tenant, .. } = &follower.on;
    if !principal.may_with(*app, tenant, Permission::AppRead) {
        return Err(ApiError::NotFound);
    }
    behind(&follower.on, filter, Some(place)).await
}

/// A part of the whole list. Nothing is held between two of them, for as long as a client takes to read: neither a
/// snapshot nor the app.
async fn behind(
    on: &OnApp,
    filter: &VodFilter,
    place: Option<Place>,
) -> Result<(Vec<Vod>, Option<Place>), ApiError> {
    let most = if filter.order == Order::SizeBytes { AT_ONCE_UNSORTED } else { AT_ONCE };
    let filter = filter.clone();
    let read = move |tx: &ReadTx<'_>| Ok::<_, HubError>(vods::behind(tx, &filter, place.as_ref(), most)?);
    Ok(on.lease().await?.read_async(read).await?)
}

async fn create(on: OnApp, ask: Ask<Nothing, NoFields, Json<NewVod>>) -> Result<Created<Vod>, ApiError> {
    let Json(mut new) = ask.body;
    // A recording of which nothing else is said begins as it is announced.
    new.started_at.get_or_insert_with(Moment::now);
    Ok(Created(on.lease().await?.create_vod_async(new).await?))
}

/// What was added, where the answer that said so was lost.
async fn created(on: OnApp, id: String) -> Result<Created<Vod>, ApiError> {
    Ok(Created(find(&on, id.parse().map_err(|_| ApiError::AnswerLost)?).await?))
}

async fn show(on: OnApp, ask: Ask<Which>) -> Result<Found<Vod>, ApiError> {
    Ok(Found(find(&on, ask.path.id).await?))
}

async fn find(on: &OnApp, id: i64) -> Result<Vod, ApiError> {
    let found = on.lease().await?.peek_one(move |tx| Ok::<_, HubError>(vods::by_id(tx, id)?)).await?;
    found.ok_or(ApiError::NotFound)
}

async fn update(on: OnApp, ask: Ask<Which, NoFields, Json<VodPatch>>) -> Result<Found<Vod>, ApiError> {
    Ok(Found(on.lease().await?.update_vod_async(ask.path.id, ask.body.0).await?))
}

async fn delete(on: OnApp, ask: Ask<Which>) -> Result<Done, ApiError> {
    on.lease().await?.delete_vod_async(ask.path.id).await?;
    Ok(Done)
}
