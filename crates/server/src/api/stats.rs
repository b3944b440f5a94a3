//! An app in numbers.

use axum::http::Method;
use streamhub::HubError;
use streamhub::access::Permission;
use streamhub::stats::{self, AppStats};

use crate::answer::Found;
use crate::ask::Ask;
use crate::error::ApiError;
use crate::policy::OnApp;
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/apps/{app}/stats", "app.stats", Permission::AppRead, of_app)
            .about("Count what is in an app"),
    ]
}

async fn of_app(on: OnApp, _: Ask) -> Result<Found<AppStats>, ApiError> {
    Ok(Found(on.lease().await?.read_async(|tx| Ok::<_, HubError>(stats::of(tx)?)).await?))
}
