//! Who did what.

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::{Permission, Within};
use streamhub::audit::{self, Recorded};
use streamhub::time::Moment;

use crate::answer::Found;
use crate::api::{self, limit, page};
use crate::ask::{Ask, Nothing};
use crate::error::ApiError;
use crate::policy::Somewhere;
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/audit", "audit.list", Permission::AuditRead, list)
            .about("List what was done, the newest first"),
    ]
}

/// Which entries are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
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

/// A part of the audit.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Part {
    entries: Vec<Recorded>,
    /// Where the next part begins; absent where this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// How many entries this part has.
    count: usize,
}

async fn list(caller: Somewhere, ask: Ask<Nothing, Filter>) -> Result<Found<Part>, ApiError> {
    let Filter { since, until, cursor, limit } = ask.query;
    page(limit, 0)?;
    let cursor = api::cursor(cursor.as_deref())?;
    let tenants = match caller.within {
        Within::Everything => None,
        Within::Tenants(tenants) => Some(tenants),
        Within::App(_) => Some(Vec::new()),
    };
    let listed = caller.hub.searching(move |hub| {
        let filter = audit::Filter {
            tenant: None,
            since: since.as_ref(),
            until: until.as_ref(),
            cursor: cursor.as_ref(),
            limit,
        };
        match &tenants {
            None => hub.registry().audit(&filter),
            Some(tenants) => hub.registry().audit_of(tenants, &filter),
        }
    });
    let audit::Listed { entries, next } = listed.await?;
    let count = entries.len();
    Ok(Found(Part { entries, next_cursor: next.map(|next| next.to_string()), count }))
}
