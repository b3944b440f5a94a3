//! Figures for Prometheus, in the `OpenMetrics` text format.
//!
//! What happens is counted where it happens, and costs some tens of nanoseconds. What is so at the moment is
//! looked up when somebody asks, all of it in [`momentary`]. No figure is labelled by app or tenant, of which
//! there may be many thousands.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use streamhub::footprint::Process;
use streamhub::{Hub, Observer};

use crate::service::{Service, Stage};

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
    commits: Histogram,
    writes: Histogram,
    failed_commits: Counter,
    quarantines: Counter,
}

/// One more of something, until this is dropped.
#[derive(Debug)]
pub(crate) struct OneMore(Gauge);

/// All figures, as Prometheus reads them.
pub(crate) async fn render(service: &Service) -> String {
    let (asked, uptime) = (service.clone(), service.uptime_seconds());
    // The control database is asked, and its files are.
    let momentary = tokio::task::spawn_blocking(move || momentary(&asked, uptime)).await;
    let mut text = String::with_capacity(16 << 10);
    // Nothing but a figure that cannot be written fails here, and there is none.
    let _ = momentary.map(|registry| encode_registry(&mut text, &registry));
    let _ = encode(&mut text, &service.metrics().registry);
    text
}

/// What is so at the moment. A figure that somebody else keeps is added here, in one line.
fn momentary(service: &Service, uptime_seconds: u64) -> Registry {
    let mut registry = Registry::with_prefix("streamhub");
    // A gauge and no info, which the older text format does not know.
    let build = Family::<[(&str, &str); 1], Gauge>::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("build_info", "The program that is running", build);
    let mut figures = Figures(registry);
    let stage = service.stage();
    figures.gauge("uptime_seconds", "Since the server began to listen", uptime_seconds);
    figures.gauge("ready", "Whether the databases are open", u64::from(matches!(stage, Stage::Ready(_))));
    let process = Process::look();
    figures.gauge_if("process_resident_memory_bytes", "Memory of the process", process.resident_bytes);
    figures.gauge_if("process_open_fds", "Descriptors that the process has open", process.open_descriptors);
    if let Stage::Ready(hub) = stage {
        of_the_hub(&mut figures, &hub);
    }
    figures.0
}

fn of_the_hub(figures: &mut Figures, hub: &Hub) {
    let cache = hub.cache_stats();
    for (name, help, value) in [
        ("cache_open_apps", "Apps whose database is open", cache.open),
        ("cache_leased_apps", "Of those, apps that are in use", cache.leased),
        ("cache_quarantined_apps", "Apps that are set aside", cache.quarantined),
        ("cache_used_connections", "Connections of open apps", cache.used.connections),
        (
            "cache_budget_connections",
            "The most connections that open apps may have",
            cache.budget.connections,
        ),
        ("cache_used_descriptors", "Descriptors of open apps", cache.used.descriptors),
        (
            "cache_budget_descriptors",
            "The most descriptors that open apps may have",
            cache.budget.descriptors,
        ),
    ] {
        figures.gauge(name, help, value as u64);
    }
    figures.counter("cache_hits", "Leases of apps that were open", cache.hits);
    figures.counter("cache_openings", "Openings of apps", cache.opens);
    figures.counter("cache_evictions", "Idle apps that were closed for others", cache.evictions);
    let jobs = hub.job_stats();
    figures.gauge("jobs_queued", "Jobs that wait", jobs.queued as u64);
    figures.gauge("jobs_running", "Jobs at work", jobs.running as u64);
    figures.counter("jobs_succeeded", "Jobs that succeeded", jobs.succeeded);
    figures.counter("jobs_failed", "Jobs that failed", jobs.failed);
    figures.counter("jobs_cancelled", "Jobs that were cancelled", jobs.cancelled);
    let logs = hub.log_stats();
    figures.gauge("log_records_queued", "Records of the log that are still to be written", logs.queued);
    figures.counter("log_records_written", "Records of the log that were written", logs.written);
    figures.counter("log_records_dropped", "Records of the log that are lost", logs.dropped);
    let control = hub.control_size();
    figures.gauge("control_database_bytes", "The control database", control.bytes);
    figures.gauge("control_database_wal_bytes", "What is not yet copied into it", control.wal_bytes);
    // Where the registry cannot be read its figures are missing, which an alert can be about.
    if let Ok(tally) = hub.tally() {
        figures.gauge("apps", "Apps that are registered", tally.total);
        figures.gauge("apps_out_of_service", "Apps that wait for a person", tally.pending);
        figures.gauge("apps_missing", "Apps that have neither directory nor older data", tally.missing);
    }
}

/// Figures that are asked for once.
struct Figures(Registry);

impl Figures {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstGauge::new(value));
    }

    fn gauge_if(&mut self, name: &str, help: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.gauge(name, help, value);
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstCounter::new(value));
    }
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
        Self { registry, requests, under_way, shed, connections, refused, core }
    }

    /// Who is to be told what the hub's live core does.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.core) as Arc<dyn Observer>
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
            commits: latency(),
            writes: Histogram::new(BATCHES),
            failed_commits: Counter::default(),
            quarantines: Counter::default(),
        };
        registry.register("app_opening_seconds", "How long apps took to open", core.openings.clone());
        registry.register("app_wait_seconds", "How long was waited for an app", core.waits.clone());
        registry.register(
            "app_waits_in_vain",
            "Waits that ended without the app",
            core.waits_in_vain.clone(),
        );
        registry.register("commit_seconds", "How long transactions of apps took", core.commits.clone());
        registry.register("commit_writes", "How many writes one transaction had", core.writes.clone());
        registry.register("commits_failed", "Commits that failed", core.failed_commits.clone());
        registry.register("app_quarantines", "Apps that were set aside", core.quarantines.clone());
        core
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

    #[allow(clippy::cast_precision_loss, reason = "a transaction has no more than some thousand writes")]
    fn committed(&self, writes: usize, took: Duration) {
        self.writes.observe(writes as f64);
        self.commits.observe(took.as_secs_f64());
    }

    fn commit_failed(&self) {
        self.failed_commits.inc();
    }

    fn quarantined(&self) {
        self.quarantines.inc();
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
mod tests;
