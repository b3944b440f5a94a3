//! Long work that goes on by itself: looked at, followed and cancelled.

mod events;

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::{Permission, Principal, Within};
use streamhub::jobs::{Filter, Job, JobState};
use streamhub::{AppId, TenantId, Uuid};

use self::events::follow;
use crate::answer::{Data, List};
use crate::api::{self, limit, page};
use crate::ask::{Ask, Nothing};
use crate::error::ApiError;
use crate::policy::Caller;
use crate::route::{Route, route};

const ONE: &str = "/jobs/{id}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/jobs", "job.list", (), list)
            .about("List jobs of apps that the caller may see, the newest first"),
        route(Method::GET, ONE, "job.show", (), show).about("Show how a job stands"),
        route(Method::GET, "/jobs/{id}/events", "job.follow", (), follow).about(
            "Follow a job as server-sent events: each `job` event is how it stands, the last that it is over",
        )
        .may(&[StatusCode::TOO_MANY_REQUESTS]),
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
    cursor: Option<String>,
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

impl From<Job> for Started {
    fn from(job: Job) -> Self {
        Self { id: job.id, state: job.state }
    }
}

async fn list(caller: Caller, ask: Ask<Nothing, Which>) -> Result<List<Job>, ApiError> {
    let Which { tenant, app, cursor, limit } = ask.query;
    page(limit, 0)?;
    let cursor = api::cursor(cursor.as_deref())?;
    let within = caller.principal.within(Permission::AppRead);
    let app = app.map(String::from);
    let listed = caller.hub.jobs_async(Filter { within, tenant, app, cursor, limit }).await?;
    Ok(List::part(listed.entries, limit, listed.next.map(|next| next.to_string())))
}

async fn show(caller: Caller, ask: Ask<One>) -> Result<Data<Job>, ApiError> {
    Ok(Data(find(&caller, &ask.path.id, Permission::AppRead).await?))
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
    if !may(&caller.principal, &job, Permission::AppRead) {
        return Err(ApiError::NotFound);
    }
    if !may(&caller.principal, &job, permission) {
        return Err(ApiError::Forbidden);
    }
    Ok(job)
}

/// Which app it is about counts, not what that was called.
fn may(principal: &Principal, job: &Job, permission: Permission) -> bool {
    match principal.within(permission) {
        Within::Everything => true,
        Within::Tenants(tenants) => {
            tenants.iter().any(|tenant| job.tenant_id.as_deref() == Some(tenant.as_str()))
        }
        Within::App(only) => job.app_id == Some(only),
    }
}
