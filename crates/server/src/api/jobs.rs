//! Long work that goes on by itself: looked at, followed and cancelled.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::Method;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use streamhub::access::{Permission, Principal, Within};
use streamhub::jobs::{Filter, Job, JobState};
use streamhub::{AppId, Hub, Kind, TenantId, Uuid};
use tokio::sync::watch;

use crate::answer::{Answer, Data, List};
use crate::api::{limit, page};
use crate::ask::{Ask, Nothing};
use crate::error::ApiError;
use crate::policy::Caller;
use crate::route::{Route, route};
use crate::service::Service;

const ONE: &str = "/jobs/{id}";

/// How often a client that hears nothing is told that the server is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/jobs", "job.list", (), list)
            .about("List jobs of apps that the caller may see, the newest first"),
        route(Method::GET, ONE, "job.show", (), show).about("Show how a job stands"),
        route(Method::GET, "/jobs/{id}/events", "job.follow", (), follow).about(
            "Follow a job as server-sent events: each `job` event is how it stands, the last that it is over",
        ),
        route(Method::DELETE, ONE, "job.cancel", (), cancel)
            .about("Cancel a job: one that waits at once, one that is at work at its next point"),
    ]
}

/// A job that goes on by itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Started {
    id: Uuid,
    state: JobState,
}

/// Which jobs are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only those of this tenant.
    tenant: Option<TenantId>,
    /// Only those of the app of this name.
    app: Option<AppId>,
    /// Where the part before this one ended: its `nextCursor`.
    cursor: Option<Uuid>,
    /// How many at the most.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// One job.
#[derive(Debug, Deserialize, JsonSchema)]
struct One {
    /// The job's id.
    id: Uuid,
}

/// What becomes of a job, as it does.
struct Events {
    job: watch::Receiver<Job>,
    service: Service,
}

impl From<Job> for Started {
    fn from(job: Job) -> Self {
        Self { id: job.id, state: job.state }
    }
}

impl Answer for Events {
    const MEDIA: &'static [&'static str] = &["text/event-stream"];

    /// Of each event.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        let job = generator.subschema_for::<Job>();
        Some(schemars::json_schema!({
            "type": "object",
            "required": ["event", "data"],
            "properties": {
                "event": { "const": "job" },
                "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": job },
            },
        }))
    }
}

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        let Self { job, service } = self;
        // A server that stops waits for its answers, and this one may go on for hours.
        let events = events(job).take_until(async move { service.stopping().await });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    }
}

/// How the job stands, whenever that changes, until it is over.
fn events(mut job: watch::Receiver<Job>) -> impl Stream<Item = Result<Event, Infallible>> {
    job.mark_changed();
    stream::unfold(Some(job), async |job| {
        let mut job = job?;
        // Whoever reports on it is gone where the server stops.
        job.changed().await.ok()?;
        let (event, is_over) = {
            let now = job.borrow_and_update();
            (Event::default().event("job").json_data(&*now).ok()?, now.state.is_over())
        };
        Some((Ok(event), (!is_over).then_some(job)))
    })
}

async fn list(caller: Caller, ask: Ask<Nothing, Which>) -> Result<List<Job>, ApiError> {
    let Which { tenant, app, cursor, limit } = ask.query;
    page(limit, 0)?;
    let mut app = app.map(String::from);
    let tenant = match caller.principal.within(Permission::AppRead) {
        Within::Everything => tenant,
        Within::Tenants(tenants) => match (tenant, tenants.as_slice()) {
            (Some(tenant), _) if tenants.contains(&tenant) => Some(tenant),
            (None, [only]) => Some(only.clone()),
            (None, [_, _, ..]) => {
                return Err(ApiError::invalid("invalid_query", "tenant: you work for several, so name one"));
            }
            _ => return Ok(List::part(Vec::new(), limit, None)),
        },
        Within::App(only) => {
            let all = caller.hub.on_control(Hub::apps).await?;
            let own = all.into_iter().find(|own| own.id == only);
            match own.filter(|own| app.as_ref().is_none_or(|asked| *asked == own.name)) {
                Some(own) => {
                    app = Some(own.name);
                    Some(TenantId::from_registry(own.tenant_id))
                }
                None => return Ok(List::part(Vec::new(), limit, None)),
            }
        }
    };
    let listed = caller.hub.jobs_async(Filter { tenant, app, cursor, limit }).await?;
    Ok(List::part(listed.jobs, limit, listed.next.map(|next| next.to_string())))
}

async fn show(caller: Caller, ask: Ask<One>) -> Result<Data<Job>, ApiError> {
    Ok(Data(find(&caller, &ask.path.id, Permission::AppRead).await?))
}

async fn follow(caller: Caller, ask: Ask<One>) -> Result<Events, ApiError> {
    find(&caller, &ask.path.id, Permission::AppRead).await?;
    let job = caller.hub.watch_job_async(&ask.path.id).await?;
    Ok(Events { job, service: caller.service })
}

async fn cancel(caller: Caller, ask: Ask<One>) -> Result<Data<Job>, ApiError> {
    // Whoever may not start a purge may not end one either.
    let job = find(&caller, &ask.path.id, Permission::AppWrite).await?;
    if job.kind == "purge" {
        find(&caller, &ask.path.id, Permission::AppDelete).await?;
    }
    Ok(Data(caller.hub.cancel_job_async(&ask.path.id).await?))
}

/// A job that the caller may do this with.
async fn find(caller: &Caller, id: &Uuid, permission: Permission) -> Result<Job, ApiError> {
    let job = caller.hub.job_async(id).await?;
    if !may(&caller.hub, &caller.principal, &job, Permission::AppRead).await? {
        return Err(ApiError::NotFound);
    }
    if !may(&caller.hub, &caller.principal, &job, permission).await? {
        return Err(ApiError::Forbidden);
    }
    Ok(job)
}

/// Whose app it was counts, since its name may be another tenant's.
async fn may(hub: &Hub, principal: &Principal, job: &Job, permission: Permission) -> Result<bool, ApiError> {
    let tenant = job.tenant_id.clone().map(TenantId::from_registry);
    let Within::App(only) = principal.within(permission) else {
        let everything = principal.within(permission) == Within::Everything;
        return Ok(everything || tenant.is_some_and(|tenant| principal.may_in(&tenant, permission)));
    };
    let Some(id) = job.app.as_ref().and_then(|app| app.parse::<AppId>().ok()) else { return Ok(false) };
    match hub.owner_async(&id).await {
        Ok(owner) => Ok(owner.app == only && Some(owner.tenant) == tenant),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
