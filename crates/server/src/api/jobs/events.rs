//! Following a job: an answer that goes on for as long as the job, and for as long as the caller may see it.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use schemars::{Schema, SchemaGenerator};
use streamhub::access::Permission;
use streamhub::jobs::Job;
use tokio::sync::watch;
use tokio::time;

use super::{One, find, may};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::error::ApiError;
use crate::following::Following;
use crate::policy::Caller;
use crate::shares::Share;

/// How often a client that hears nothing is told that the server is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often it is looked whether the caller may still hear more, where nothing happens. What a credential stands for is
/// remembered for half a second, so that both together are less than one.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What becomes of a job, as it does.
pub(super) struct Events {
    follower: Following<Caller>,
    /// As it was at first: whose it is does not change.
    about: Job,
    job: watch::Receiver<Job>,
    _place: Share<String>,
}

pub(super) async fn follow(follower: Following<Caller>, ask: Ask<One>) -> Result<Events, ApiError> {
    let about = find(&follower.on, &ask.path.id, Permission::AppRead).await?;
    let place = follower.place()?;
    let mut job = follower.on.hub.watch_job_async(&ask.path.id).await?;
    // How it stands comes first.
    job.mark_changed();
    Ok(Events { follower, about, job, _place: place })
}

impl Events {
    /// How the job stands, whenever that changes, until it is over.
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), async |events| {
            let mut events = events?;
            let (event, is_over) = events.next().await?;
            Some((Ok(event), (!is_over).then_some(events)))
        })
        .fuse()
    }

    /// The next event, and whether it is the last; none where the caller may hear no more, or nobody is there who
    /// reports on the job, as where the server stops.
    async fn next(&mut self) -> Option<(Event, bool)> {
        loop {
            let changed = match time::timeout(LOOK_EVERY, self.job.changed()).await {
                Ok(changed) => changed.map(|()| true).ok()?,
                Err(_) => false,
            };
            // Who cannot be asked for the rights lets nobody hear more either.
            if !self.may_hear_more().await.unwrap_or(false) {
                return None;
            }
            if changed {
                let now = self.job.borrow_and_update();
                return Some((Event::default().event("job").json_data(&*now).ok()?, now.state.is_over()));
            }
        }
    }

    /// Whether the credential is still accepted, and still permits to see the job.
    async fn may_hear_more(&self) -> Result<bool, ApiError> {
        let principal = self.follower.principal().await?;
        Ok(principal.is_some_and(|principal| may(&principal, &self.about, Permission::AppRead)))
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
        // A server that stops waits for its answers, and this one may go on for hours.
        let service = self.follower.service().clone();
        let events = self.stream().take_until(async move { service.stopping().await });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    }
}
