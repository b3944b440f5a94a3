//! What is so at the moment, and is looked up when somebody asks. A figure that somebody else keeps is added here,
//! in one line.

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use streamhub::Hub;
use streamhub::footprint::Process;

use crate::service::{Service, Stage};

/// Figures that are asked for once.
pub(super) struct Figures(Registry);

/// All of them.
pub(super) fn look(service: &Service, uptime_seconds: u64) -> String {
    let mut figures = Figures::new();
    // A gauge and no info, which the classic format does not know.
    let version = (env!("CARGO_PKG_VERSION").to_owned(), 1);
    figures.labelled("build_info", "The program that is running", "version", [version]);
    let stage = service.stage();
    figures.gauge("uptime_seconds", "Since the server began to listen", uptime_seconds);
    figures.gauge("ready", "Whether the databases are open", u64::from(matches!(stage, Stage::Ready(_))));
    let process = Process::look();
    figures.gauge_if("process_resident_memory_bytes", "Memory of the process", process.resident_bytes);
    figures.gauge_if("process_open_fds", "Descriptors that the process has open", process.open_descriptors);
    if let Stage::Ready(hub) = stage {
        of_the_hub(&mut figures, &hub);
    }
    figures.text()
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
        ("writes_queued", "Writes that wait for a transaction of their app", cache.queued),
        ("control_writes_queued", "Writes that wait for one of the control database", hub.control_queued()),
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
    figures.counter("password_hashes", "Passwords that were hashed", hub.password_hashes());
    let control = hub.control_size();
    figures.gauge("control_database_bytes", "The control database", control.bytes);
    figures.gauge("control_database_wal_bytes", "What is not yet copied into it", control.wal_bytes);
    // Where the registry cannot be read its figures are missing, which an alert can be about.
    if let Ok(tally) = hub.tally() {
        figures.gauge("apps", "Apps that are registered", tally.total);
        figures.gauge("apps_out_of_service", "Apps that wait for a person", tally.pending);
        figures.gauge("apps_missing", "Apps whose databases are not there", tally.missing);
    }
}

impl Figures {
    pub(super) fn new() -> Self {
        Self(Registry::with_prefix("streamhub"))
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
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

    /// A gauge for each value of a label.
    pub(super) fn labelled(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, u64)>,
    ) {
        let family = Family::<[(&str, String); 1], Gauge>::default();
        for (of, value) in values {
            family.get_or_create(&[(label, of)]).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(name, help, family);
    }

    /// As `OpenMetrics` has them, without its end.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Nothing but a figure that cannot be written fails here, and there is none.
        let _ = encode_registry(&mut text, &self.0);
        text
    }
}
