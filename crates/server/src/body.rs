//! A body of an answer that says when it is whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};

/// A body, and what is done once all of it was read. That may be done more than once, and never where nobody
/// reads to the end or there is nothing to read.
#[derive(Debug)]
pub(crate) struct Watched<F> {
    body: Body,
    whole: F,
}

impl<F: FnMut() + Unpin> Watched<F> {
    pub(crate) fn new(body: Body, whole: F) -> Self {
        Self { body, whole }
    }
}

impl<F: FnMut() + Unpin> hyper::body::Body for Watched<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            (self.whole)();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
