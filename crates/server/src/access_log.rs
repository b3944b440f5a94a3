//! The access log and the figures of requests: a line and an observation for each.

use std::time::Instant;

use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;

use crate::address::ClientAddress;
use crate::metrics::OneMore;
use crate::request::RequestId;
use crate::service::Service;

/// The target of the access log's events.
pub const ACCESS_LOG: &str = "access";

/// What is said of a request once it is over, which is when this is dropped. Nothing of it can hold a secret: of
/// the path it has the pattern only.
#[derive(Debug)]
pub(crate) struct Line {
    service: Service,
    began: Instant,
    method: Method,
    route: Option<MatchedPath>,
    id: RequestId,
    address: ClientAddress,
    principal: Option<String>,
    /// None where the client went away before there was an answer.
    answer: Option<(StatusCode, Option<u64>)>,
    _under_way: OneMore,
}

impl Line {
    pub(crate) fn begin(service: Service, request: &Request, id: RequestId, address: ClientAddress) -> Self {
        Self {
            began: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            id,
            address,
            principal: None,
            answer: None,
            _under_way: service.metrics().request(),
            service,
        }
    }

    /// Writes the line.
    pub(crate) fn answered(mut self, response: &Response, principal: Option<String>) {
        self.answer = Some((response.status(), response.body().size_hint().exact()));
        self.principal = principal;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let status = self.answer.map(|(status, _)| status);
        tracing::info!(
            target: ACCESS_LOG,
            method = self.method.as_str(),
            route = self.route.as_ref().map_or("-", MatchedPath::as_str),
            status = status.map(|status| status.as_u16()),
            duration_ms = took.as_secs_f64() * 1000.0,
            bytes = self.answer.and_then(|(_, bytes)| bytes),
            request.id = self.id.as_str(),
            client.address = self.address.client.map(tracing::field::display),
            principal = self.principal,
            "{}",
            if status.is_some() { "answered" } else { "abandoned" }
        );
        self.service.metrics().answered(&self.method, self.route.take(), status, took);
    }
}
