//! An app's database: how it is, and looking after it. Long work is a job, which goes on whoever goes away.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value;
use streamhub::access::Permission;
use streamhub::jobs::{Job, JobError, JobState, NewJob, Work};
use streamhub::purge::Scope;
use streamhub::{AppBackup, Health, Purged, Uuid};

use crate::answer::{Accepted, Alternative, Answer, Data, List};
use crate::api::Paging;
use crate::api::jobs::Started;
use crate::ask::{Ask, Json, NoFields, Nothing, Optional};
use crate::error::ApiError;
use crate::policy::OnApp;
use crate::route::{Route, repeatable, route};

pub(super) fn routes() -> Vec<Route> {
    let write = Permission::AppWrite;
    vec![
        route(Method::GET, "/apps/{app}/db/health", "db.health", Permission::UsageRead, health)
            .about("Look at an app's database; reads each of its pages once"),
        repeatable(Method::POST, "/apps/{app}/db/optimize", "db.optimize", write, optimize, started).about(
            "Make an app's database small and fast again, as a job; waits for live streams unless forced",
        )
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        repeatable(Method::POST, "/apps/{app}/db/check", "db.check", write, check, started).about(
            "Look through an app's database for damage, as a job; waits for live streams unless forced",
        )
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        repeatable(Method::POST, "/apps/{app}/db/checkpoint", "db.checkpoint", write, checkpoint, started)
            .about("Copy what an app's -wal holds into its database, as a job")
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        repeatable(Method::POST, "/apps/{app}/db/purge", "db.purge", Permission::AppDelete, purge, purging).about(
            "Remove what an app has gathered; the app and its configuration stay. 202 where it takes long",
        )
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        route(Method::GET, "/apps/{app}/db/backups", "db.backups", Permission::AppRead, backups)
            .about("List the copies of an app's database, the newest first"),
    ]
}

/// How a job is started.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Start {
    /// Whether it is done although the app has live streams.
    force: bool,
}

/// What is to be removed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Purge {
    scope: Scope,
    /// `true`: what is removed does not come back.
    #[schemars(extend("const" = true))]
    confirm: Value,
}

/// What was removed, or the job that removes it.
#[derive(Debug)]
enum Purging {
    Over(Value),
    UnderWay(Started),
}

impl Answer for Purging {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Data::<Purged>::schema(generator)
    }

    fn or_else(generator: &mut SchemaGenerator) -> Option<Alternative> {
        Some((StatusCode::ACCEPTED, Accepted::<Started>::schema(generator)))
    }
}

impl IntoResponse for Purging {
    fn into_response(self) -> Response {
        match self {
            Self::Over(purged) => Data(purged).into_response(),
            Self::UnderWay(started) => Accepted(started).into_response(),
        }
    }
}

async fn health(on: OnApp, _: Ask) -> Result<Data<Health>, ApiError> {
    Ok(Data(on.hub.health_async(&on.id).await?))
}

async fn optimize(
    on: OnApp,
    ask: Ask<Nothing, NoFields, Optional<Start>>,
) -> Result<Accepted<Started>, ApiError> {
    start(&on, Work::Optimize, ask.body).await
}

async fn check(
    on: OnApp,
    ask: Ask<Nothing, NoFields, Optional<Start>>,
) -> Result<Accepted<Started>, ApiError> {
    start(&on, Work::Check, ask.body).await
}

async fn checkpoint(
    on: OnApp,
    ask: Ask<Nothing, NoFields, Optional<Start>>,
) -> Result<Accepted<Started>, ApiError> {
    start(&on, Work::Checkpoint, ask.body).await
}

async fn start(on: &OnApp, work: Work, body: Optional<Start>) -> Result<Accepted<Started>, ApiError> {
    let force = body.0.unwrap_or_default().force;
    let job = on.hub.start_job_async(&NewJob { force, ..NewJob::new(work, on.id.clone()) }).await?;
    Ok(Accepted(job.into()))
}

/// The job that was started, where the answer that said so was lost.
async fn started(on: OnApp, id: String) -> Result<Accepted<Started>, ApiError> {
    Ok(Accepted(again(&on, &id).await?.into()))
}

/// The job that the audit names as what the request was done to.
async fn again(on: &OnApp, id: &str) -> Result<Job, ApiError> {
    let id: Uuid = id.parse().map_err(|_| ApiError::AnswerLost)?;
    Ok(on.hub.job_async(&id).await?)
}

async fn purge(on: OnApp, ask: Ask<Nothing, NoFields, Json<Purge>>) -> Result<Purging, ApiError> {
    let Json(Purge { scope, confirm }) = ask.body;
    if confirm != Value::Bool(true) {
        return Err(ApiError::invalid(
            "not_confirmed",
            "confirm: it has to be true, since nothing comes back",
        ));
    }
    let job = on.hub.start_job_async(&NewJob::new(Work::Purge(scope), on.id.clone())).await?;
    waited_for(&on, job).await
}

/// What became of a purge whose answer was lost.
async fn purging(on: OnApp, id: String) -> Result<Purging, ApiError> {
    let job = again(&on, &id).await?;
    waited_for(&on, job).await
}

/// What a purge removed, unless it takes long or ends otherwise.
async fn waited_for(on: &OnApp, job: Job) -> Result<Purging, ApiError> {
    let mut watched = on.hub.watch_job_async(&job.id).await?;
    // Most take far less.
    let patience = on.service.config().request_timeout / 3;
    let over = tokio::time::timeout(patience, watched.wait_for(|job| job.state.is_over())).await;
    let Ok(Ok(over)) = over.map(|over| over.map(|job| Job::clone(&job))) else {
        return Ok(Purging::UnderWay(job.into()));
    };
    match (over.state, over.result, over.error) {
        (JobState::Succeeded, Some(purged), _) => Ok(Purging::Over(purged)),
        (_, _, Some(JobError { code, message })) => Err(ApiError::Ended { code, message }),
        (state, ..) => Err(ApiError::Ended { code: state.to_string(), message: String::new() }),
    }
}

async fn backups(on: OnApp, ask: Ask<Nothing, Paging>) -> Result<List<AppBackup>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    Ok(List::slice(on.hub.app_backups_async(&on.id).await?, limit, offset))
}
