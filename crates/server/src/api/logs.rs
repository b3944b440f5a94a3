//! What the server's log says.

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::{Permission, Within};
use streamhub::cursor::BadCursor;
use streamhub::logs::{self, Entry, Level};
use streamhub::progress::Silent;
use streamhub::time::Moment;
use streamhub::{Hub, HubError, Pruned, TenantId};

use crate::answer::{Found, List};
use crate::api::{limit, page};
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
            .about("Remove what the log says of before a time"),
        route(Method::POST, "/audit/prune", "audit.prune", (), prune_audit)
            .about("Remove what the audit tells of before a time"),
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

/// What was removed, or would be.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Pruned")]
struct Report {
    #[serde(flatten)]
    pruned: Pruned,
    dry_run: bool,
}

/// Whose entries.
#[derive(Debug)]
enum Of {
    Everybody,
    Tenant(TenantId),
    App(i64),
}

async fn list(caller: Caller, ask: Ask<Nothing, Filter>) -> Result<List<Entry>, ApiError> {
    let mut filter = ask.query;
    let tenant = filter.tenant.take();
    let nothing = |filter: &Filter| Ok(List::part(Vec::new(), filter.limit, None));
    let named = match &filter.app {
        Some(name) => {
            let name = name.clone();
            let all = caller.hub.on_control(Hub::apps).await?;
            match all.into_iter().find(|app| app.name == name) {
                Some(app) => Some((app.id, TenantId::from_registry(app.tenant_id))),
                None => return nothing(&filter),
            }
        }
        None => None,
    };
    let of = match (caller.principal.within(Permission::AppRead), named) {
        (_, Some((app, owner))) => {
            let is_asked = tenant.is_none_or(|tenant| tenant == owner);
            if !is_asked || !caller.principal.may_with(app, &owner, Permission::AppRead) {
                return nothing(&filter);
            }
            Of::App(app)
        }
        (Within::Everything, None) => tenant.map_or(Of::Everybody, Of::Tenant),
        (Within::App(app), None) => Of::App(app),
        (Within::Tenants(tenants), None) => match (tenant, tenants.as_slice()) {
            (Some(tenant), _) if tenants.contains(&tenant) => Of::Tenant(tenant),
            (None, [only]) => Of::Tenant(only.clone()),
            (None, [_, _, ..]) => {
                return Err(ApiError::invalid("invalid_query", "tenant: you work for several, so name one"));
            }
            _ => return nothing(&filter),
        },
    };
    read(&caller.hub, of, filter).await
}

async fn of_app(on: OnApp, ask: Ask<Nothing, Filter>) -> Result<List<Entry>, ApiError> {
    read(&on.hub, Of::App(on.app), ask.query).await
}

async fn read(hub: &Hub, of: Of, filter: Filter) -> Result<List<Entry>, ApiError> {
    let limit = filter.limit;
    page(limit, 0)?;
    let cursor = filter
        .cursor
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|error: BadCursor| ApiError::invalid("invalid_query", format!("cursor: {error}")))?;
    let listed = hub.on_control(move |hub| {
        let (app, tenant) = match &of {
            Of::Everybody => (None, None),
            Of::Tenant(tenant) => (None, Some(tenant)),
            Of::App(app) => (Some(*app), None),
        };
        hub.registry().logs(&logs::Filter {
            app,
            tenant,
            level: filter.level,
            source: filter.source.as_deref(),
            q: filter.q.as_deref(),
            since: filter.since.as_ref(),
            until: filter.until.as_ref(),
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
    prune(&platform.hub, ask.body.0, count, |hub, before| hub.prune_logs(before, &Silent)).await
}

async fn prune_audit(
    platform: Platform,
    ask: Ask<Nothing, NoFields, Json<Prune>>,
) -> Result<Found<Report>, ApiError> {
    let count = |hub: &Hub, before: &Moment| hub.registry().audit_before(before);
    prune(&platform.hub, ask.body.0, count, |hub, before| hub.prune_audit(before, &Silent)).await
}

async fn prune(
    hub: &Hub,
    Prune { before, dry_run }: Prune,
    count: fn(&Hub, &Moment) -> Result<u64, HubError>,
    remove: fn(&Hub, &Moment) -> Result<Pruned, HubError>,
) -> Result<Found<Report>, ApiError> {
    let pruned = hub.on_control(move |hub| {
        if !dry_run {
            return remove(hub, &before);
        }
        let entries = count(hub, &before)?;
        Ok(Pruned { before, entries, bytes_given_back: 0, free_bytes: 0 })
    });
    Ok(Found(Report { pruned: pruned.await?, dry_run }))
}
