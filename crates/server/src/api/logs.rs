//! What the server's log says.

use std::time::Instant;

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::{Permission, Within};
use streamhub::logs::{self, Entry, Level};
use streamhub::progress::{Progress, Stop};
use streamhub::time::Moment;
use streamhub::{Hub, HubError, Pruned, TenantId};

use crate::answer::{Found, List};
use crate::api::{self, limit, page};
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::{Caller, OnApp, Platform};
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/logs", "log.list", (), list)
            .about("List what the log says of apps that the caller may see, the newest first; all of it for the platform"),
        route(Method::GET, "/apps/{app}/logs", "log.list-app", Permission::AppRead, of_app)
            .about("List what the log says of an app, the newest first"),
        route(Method::POST, "/logs/prune", "log.prune", (), prune_logs)
            .about("Remove what the log says of before a time; where that takes long, a part of it"),
        route(Method::POST, "/audit/prune", "audit.prune", (), prune_audit)
            .about("Remove what the audit tells of before a time; where that takes long, a part of it"),
    ]
}

/// Which entries are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only those of this tenant's apps.
    tenant: Option<TenantId>,
    /// Only those of the app of this name.
    app: Option<String>,
    /// Only those that matter at least as much.
    level: Option<Level>,
    /// Only those of this part of the program.
    source: Option<String>,
    /// Only those whose message has this in it.
    q: Option<String>,
    /// From this time on.
    since: Option<Moment>,
    /// Before this time.
    until: Option<Moment>,
    /// Where the part before this one ended: its `nextCursor`.
    cursor: Option<String>,
    /// How many at the most.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// What is to be removed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Prune {
    /// What is from before this time goes.
    before: Moment,
    /// Whether it is only counted.
    #[serde(default)]
    dry_run: bool,
}

/// Until when somebody waits for work that can be gone on with.
#[derive(Debug)]
struct Patience(Instant);

/// What was removed, or would be.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Pruned")]
struct Report {
    #[serde(flatten)]
    pruned: Pruned,
    dry_run: bool,
}

impl Progress for Patience {
    fn begin(&self, _: &str, _: Option<u64>) {}

    fn advance(&self, _: u64) {}

    fn end(&self) {}

    fn stop(&self) -> Stop {
        let stop = Stop::default();
        if Instant::now() >= self.0 {
            stop.ask();
        }
        stop
    }
}

async fn list(caller: Caller, ask: Ask<Nothing, Filter>) -> Result<List<Entry>, ApiError> {
    read(&caller.hub, caller.principal.within(Permission::AppRead), ask.query).await
}

async fn of_app(on: OnApp, ask: Ask<Nothing, Filter>) -> Result<List<Entry>, ApiError> {
    read(&on.hub, Within::App(on.app), ask.query).await
}

async fn read(hub: &Hub, within: Within, filter: Filter) -> Result<List<Entry>, ApiError> {
    let Filter { tenant, app, level, source, q, since, until, cursor, limit } = filter;
    page(limit, 0)?;
    let cursor = api::cursor(cursor.as_deref())?;
    let listed = hub.searching(move |hub| {
        hub.registry().logs(&logs::Filter {
            within: &within,
            app: app.as_deref(),
            tenant: tenant.as_ref(),
            level,
            source: source.as_deref(),
            q: q.as_deref(),
            since: since.as_ref(),
            until: until.as_ref(),
            cursor: cursor.as_ref(),
            limit,
        })
    });
    let listed = listed.await?;
    Ok(List::part(listed.entries, limit, listed.next.map(|next| next.to_string())))
}

async fn prune_logs(
    platform: Platform,
    ask: Ask<Nothing, NoFields, Json<Prune>>,
) -> Result<Found<Report>, ApiError> {
    let count = |hub: &Hub, before: &Moment| hub.registry().logs_before(before);
    prune(&platform, ask.body.0, count, |hub, before, patience| hub.prune_logs(before, patience)).await
}

async fn prune_audit(
    platform: Platform,
    ask: Ask<Nothing, NoFields, Json<Prune>>,
) -> Result<Found<Report>, ApiError> {
    let count = |hub: &Hub, before: &Moment| hub.registry().audit_before(before);
    prune(&platform, ask.body.0, count, |hub, before, patience| hub.prune_audit(before, patience)).await
}

async fn prune(
    platform: &Platform,
    Prune { before, dry_run }: Prune,
    count: fn(&Hub, &Moment) -> Result<u64, HubError>,
    remove: fn(&Hub, &Moment, &Patience) -> Result<Pruned, HubError>,
) -> Result<Found<Report>, ApiError> {
    // Whoever asks hears what is done by then, and asks again for the rest.
    let patience = Patience(Instant::now() + platform.service.config().request_timeout / 3);
    let pruned = platform.hub.on_control(move |hub| {
        if !dry_run {
            return remove(hub, &before, &patience);
        }
        let entries = count(hub, &before)?;
        Ok(Pruned { before, entries, left: entries, bytes_given_back: 0, free_bytes: 0 })
    });
    Ok(Found(Report { pruned: pruned.await?, dry_run }))
}
