//! The bodies of requests, taken in whole before anything is decided, within room that all of them share.
//!
//! A small body needs none of it, so that most requests are taken however many large ones are under way. Of a larger
//! one what is there takes room, and not what is announced: who sends slowly holds what it sent, and no more. Nobody
//! has more than an eighth of the room, so that one address cannot keep all others out by sending slowly.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time;

use crate::config::MAX_BODY;
use crate::error::ApiError;
use crate::shares::{Share, Shares};

/// The room, in kibibytes.
const ROOM: usize = 64 << 10;

/// How much of it one client may have.
const SHARE: usize = ROOM / 8;

/// The most bytes of a body that needs no room.
const SMALL: usize = 16 << 10;

/// How long a body is heard out that says itself that it is too large.
const MOMENT: Duration = Duration::from_secs(1);

/// Where bodies are taken in.
#[derive(Debug)]
pub(crate) struct Intake {
    /// Kibibytes that are free.
    room: Semaphore,
    /// Kibibytes that each client has.
    shares: Arc<Shares<IpAddr>>,
}

/// The room that a body takes, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held<'a> {
    room: Option<SemaphorePermit<'a>>,
    share: Option<Share<IpAddr>>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self { room: Semaphore::new(ROOM), shares: Shares::new(SHARE) }
    }

    /// The request, once all of its body is there. Of one that is refused more is read, so that the client can hear the
    /// answer: as much as may be and as much again. What it takes is counted as this client's, where there is one.
    pub(crate) async fn whole(
        &self,
        request: Request,
        client: Option<IpAddr>,
    ) -> Result<(Request, Held<'_>), ApiError> {
        let mut held = Held { room: None, share: client.map(|client| self.shares.begin(client)) };
        let is_too_large = request.body().size_hint().lower() > MAX_BODY as u64;
        let (parts, body) = request.into_parts();
        let mut chunks = body.into_data_stream();
        if is_too_large {
            hear_out(chunks).await;
            return Err(ApiError::BodyTooLarge);
        }
        let (mut whole, mut length) = (Ok(Vec::new()), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| ApiError::unread(StatusCode::BAD_REQUEST))?;
            length += chunk.len();
            if length > MAX_BODY {
                whole = Err(ApiError::BodyTooLarge);
            } else if whole.is_ok() && !held.grow(&self.room, length) {
                whole = Err(ApiError::Overloaded);
            }
            match &mut whole {
                Ok(whole) => whole.extend_from_slice(&chunk),
                Err(_) if length > 2 * MAX_BODY => break,
                // What is not kept takes no room.
                Err(_) => held = Held::default(),
            }
        }
        Ok((Request::from_parts(parts, Body::from(whole?)), held))
    }
}

/// Reads what is refused for a moment, so that the client hears why while it still sends.
async fn hear_out(mut chunks: BodyDataStream) {
    let all = async {
        let mut length = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            length += chunk.len();
            if length > 2 * MAX_BODY {
                break;
            }
        }
    };
    // Who announces much and sends nothing has heard enough then.
    let _ = time::timeout(MOMENT, all).await;
}

impl<'a> Held<'a> {
    /// Takes the room for a body of this length beyond what it has; says whether there is as much.
    fn grow(&mut self, room: &'a Semaphore, length: usize) -> bool {
        let has = self.room.as_ref().map_or(0, SemaphorePermit::num_permits);
        let lacks = length.saturating_sub(SMALL).div_ceil(1 << 10).saturating_sub(has);
        if lacks == 0 {
            return true;
        }
        if self.share.as_mut().is_some_and(|share| !share.grow(lacks)) {
            return false;
        }
        let Some(more) = u32::try_from(lacks).ok().and_then(|lacks| room.try_acquire_many(lacks).ok()) else {
            return false;
        };
        match &mut self.room {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        true
    }
}
