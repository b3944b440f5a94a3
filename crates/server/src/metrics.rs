//! Figures for Prometheus.
//!
//! What happens is counted here where it happens, and costs some tens of nanoseconds. What is so at the moment is
//! looked up when somebody asks, in [`momentary`], and what costs many looks at the disk at most once a minute, in
//! [`seldom`]. Apps and tenants may be many thousands, so that no figure is labelled by one, but for the few largest
//! apps.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use streamhub::Observer;

pub(crate) use self::format::{Exposition, Format};
use self::seldom::Seldom;
use crate::service::Service;

mod format;
mod momentary;
mod seldom;

/// What is counted while the server runs.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Histogram, fn() -> Histogram>,
    under_way: Gauge,
    shed: Counter,
    connections: Gauge,
    refused: Counter,
    core: Arc<Core>,
    control: Arc<Commits>,
    seldom: Seldom,
}

/// What tells requests apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: Route,
    status: &'static str,
}

/// A route's pattern, of which there are as many as there are routes.
#[derive(Clone, Debug)]
struct Route(Option<MatchedPath>);

/// What the hub's live core says of itself.
#[derive(Debug)]
struct Core {
    openings: Histogram,
    waits: Histogram,
    waits_in_vain: Counter,
    quarantines: Counter,
    commits: Commits,
}

/// What writers say of their transactions.
#[derive(Debug)]
struct Commits {
    seconds: Histogram,
    writes: Histogram,
    failed: Counter,
}

/// One more of something, until this is dropped.
#[derive(Debug)]
pub(crate) struct OneMore(Gauge);

/// All figures, as Prometheus reads them.
pub(crate) async fn render(service: &Service, format: Format) -> Exposition {
    let (asked, uptime) = (service.clone(), service.uptime_seconds());
    // The control database is asked, and its files are.
    let momentary = tokio::task::spawn_blocking(move || momentary::look(&asked, uptime)).await;
    let mut text = momentary.unwrap_or_default();
    // Nothing but a figure that cannot be written fails here, and there is none.
    let _ = encode_registry(&mut text, &service.metrics().registry);
    text.push_str(&service.metrics().seldom.text(service).await);
    Exposition::new(format, text)
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("streamhub");
        let latency: fn() -> Histogram = || Histogram::new(LATENCIES);
        let requests = Family::new_with_constructor(latency);
        let (under_way, connections) = (Gauge::default(), Gauge::default());
        let (shed, refused) = (Counter::default(), Counter::default());
        let help = "How long requests took until their answers began";
        registry.register("http_request_duration_seconds", help, requests.clone());
        registry.register("http_requests_under_way", "Requests that are being answered", under_way.clone());
        registry.register("http_requests_shed", "Requests that were too many at once", shed.clone());
        registry.register("http_connections", "Connections that are open", connections.clone());
        registry.register("http_connections_refused", "Connections that were too many", refused.clone());
        let core = Arc::new(Core::registered(&mut registry));
        let control = Commits::registered(&mut registry, "control_", "the control database");
        Self {
            registry,
            requests,
            under_way,
            shed,
            connections,
            refused,
            core,
            control: Arc::new(control),
            seldom: Seldom::default(),
        }
    }

    /// Who is to be told what the hub's live core does.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.core) as Arc<dyn Observer>
    }

    /// Who is to be told what the control database's writer does.
    pub(crate) fn control_observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.control) as Arc<dyn Observer>
    }

    /// A request is being answered for as long as this is kept.
    pub(crate) fn request(&self) -> OneMore {
        OneMore::of(&self.under_way)
    }

    /// A connection is open for as long as this is kept.
    pub(crate) fn connection(&self) -> OneMore {
        OneMore::of(&self.connections)
    }

    /// A request is over; without a status where its client went away.
    pub(crate) fn answered(
        &self,
        method: &Method,
        route: Option<MatchedPath>,
        status: Option<StatusCode>,
        took: Duration,
    ) {
        let request =
            Request { method: known(method), route: Route(route), status: status.map_or("none", class) };
        self.requests.get_or_create(&request).observe(took.as_secs_f64());
    }

    pub(crate) fn shed(&self) {
        self.shed.inc();
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}

/// Upper bounds in seconds: a read of an open app takes some tens of microseconds, a commit a few milliseconds.
const LATENCIES: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Writes of one transaction.
const BATCHES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

impl Core {
    fn registered(registry: &mut Registry) -> Self {
        let latency = || Histogram::new(LATENCIES);
        let core = Self {
            openings: latency(),
            waits: latency(),
            waits_in_vain: Counter::default(),
            quarantines: Counter::default(),
            commits: Commits::registered(registry, "", "apps"),
        };
        registry.register("app_opening_seconds", "How long apps took to open", core.openings.clone());
        registry.register("app_wait_seconds", "How long was waited for an app", core.waits.clone());
        registry.register(
            "app_waits_in_vain",
            "Waits that ended without the app",
            core.waits_in_vain.clone(),
        );
        registry.register("app_quarantines", "Apps that were set aside", core.quarantines.clone());
        core
    }
}

impl Commits {
    fn registered(registry: &mut Registry, prefix: &str, of: &str) -> Self {
        let commits = Self {
            seconds: Histogram::new(LATENCIES),
            writes: Histogram::new(BATCHES),
            failed: Counter::default(),
        };
        let took = format!("How long transactions of {of} took");
        registry.register(format!("{prefix}commit_seconds"), took, commits.seconds.clone());
        let many = format!("How many writes one transaction of {of} had");
        registry.register(format!("{prefix}commit_writes"), many, commits.writes.clone());
        let failed = format!("Commits of {of} that failed");
        registry.register(format!("{prefix}commits_failed"), failed, commits.failed.clone());
        commits
    }
}

impl Observer for Core {
    fn opened(&self, took: Duration) {
        self.openings.observe(took.as_secs_f64());
    }

    fn waited(&self, took: Duration, got: bool) {
        self.waits.observe(took.as_secs_f64());
        self.waits_in_vain.inc_by(u64::from(!got));
    }

    fn committed(&self, writes: usize, took: Duration) {
        self.commits.committed(writes, took);
    }

    fn commit_failed(&self) {
        self.commits.commit_failed();
    }

    fn quarantined(&self) {
        self.quarantines.inc();
    }
}

impl Observer for Commits {
    #[allow(clippy::cast_precision_loss, reason = "a transaction has no more than some thousand writes")]
    fn committed(&self, writes: usize, took: Duration) {
        self.writes.observe(writes as f64);
        self.seconds.observe(took.as_secs_f64());
    }

    fn commit_failed(&self) {
        self.failed.inc();
    }
}

impl OneMore {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Route {
    fn pattern(&self) -> &str {
        self.0.as_ref().map_or("none", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.pattern() == other.pattern()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pattern().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.pattern().encode(encoder)
    }
}

/// The method, where it is one that HTTP knows: a client can make up others without end.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
pub(crate) mod tests;
