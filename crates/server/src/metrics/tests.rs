//! Tests of the figures.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use streamhub::progress::Silent;
use streamhub::{Hub, HubConfig, HubError, NewApp, TenantId, Volatile};

use super::*;
use crate::layers::layers;

/// The value of a series, by its name and labels as they are written.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(name, _)| *name == series).map(|(_, value)| value.parse().unwrap())
}

/// All figures as `OpenMetrics`.
pub(crate) async fn figures(service: &Service) -> String {
    render(service, Format::OpenMetrics).await.text
}

#[tokio::test]
async fn requests_are_counted_by_method_pattern_and_class() {
    let service = Service::booting();
    let routes = Router::new().route("/apps/{app}", get(async || "x"));
    let routes = TowerToHyperService::new(layers(routes, &service));
    let requests = [
        ("GET", "/apps/a"),
        ("GET", "/apps/b"),
        ("PATCH", "/apps/a"),
        ("BREW", "/apps/a"),
        ("GET", "/nothing"),
    ];
    for (method, path) in requests {
        let request = axum::http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let _ = routes.call(request).await;
    }
    let text = figures(&service).await;
    let count = |method, route, status| {
        let name = "streamhub_http_request_duration_seconds_count";
        value(&text, &format!("{name}{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"))
    };
    assert_eq!(count("GET", "/apps/{app}", "2xx"), Some(2.0), "{text}");
    assert_eq!(count("PATCH", "/apps/{app}", "4xx"), Some(1.0));
    assert_eq!(count("other", "/apps/{app}", "4xx"), Some(1.0));
    assert_eq!(count("GET", "none", "4xx"), Some(1.0));
    for absent in ["BREW", "/apps/a\"", "/nothing"] {
        assert!(!text.contains(absent), "{absent}");
    }
    assert_eq!(value(&text, "streamhub_http_requests_under_way"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_seen_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::booting();
    let text = figures(&service).await;
    assert_eq!(value(&text, "streamhub_ready"), Some(0.0));
    assert_eq!(value(&text, "streamhub_apps"), None);

    let mut config = HubConfig::new(dir.path().join("data"));
    config.volatile = Volatile::Permit;
    config.observer = service.observer();
    config.control_observer = service.control_observer();
    let hub = Hub::open(&config, &Silent).unwrap();
    service.ready(hub.clone());
    hub.create(&NewApp::new("news-24".parse().unwrap(), TenantId::platform())).unwrap();
    let app = hub.app(&"news-24".parse().unwrap()).unwrap();
    app.write(|_| Ok::<_, HubError>(())).unwrap();
    let text = figures(&service).await;
    for (series, expected) in [
        ("streamhub_ready", 1.0),
        ("streamhub_apps", 1.0),
        ("streamhub_apps_out_of_service", 0.0),
        ("streamhub_cache_open_apps", 1.0),
        ("streamhub_cache_leased_apps", 1.0),
        ("streamhub_cache_openings_total", 1.0),
        ("streamhub_cache_used_connections", 1.0),
        ("streamhub_jobs_running", 0.0),
        ("streamhub_log_records_dropped_total", 0.0),
        ("streamhub_app_opening_seconds_count", 1.0),
        ("streamhub_commit_writes_sum", 1.0),
        ("streamhub_commit_seconds_count", 1.0),
        ("streamhub_commits_failed_total", 0.0),
        ("streamhub_control_commits_failed_total", 0.0),
        ("streamhub_writes_queued", 0.0),
        ("streamhub_control_writes_queued", 0.0),
        ("streamhub_password_hashes_total", 0.0),
        ("streamhub_tenants_above_quota{metric=\"apps\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in {text}");
    }
    for series in [
        "streamhub_apps_database_bytes",
        "streamhub_app_database_bytes{app=\"news-24\"}",
        "streamhub_control_commit_writes_count",
        "streamhub_control_database_bytes",
        "streamhub_cache_budget_descriptors",
        "streamhub_process_resident_memory_bytes",
        "streamhub_process_open_fds",
    ] {
        assert!(value(&text, series).is_some_and(|value| value > 0.0), "{series} in {text}");
    }
    drop(app);
    hub.close().unwrap();
}

/// What the format asks for: a type before each family's samples, no family twice, and an end.
#[tokio::test]
async fn the_text_is_well_formed() {
    let text = figures(&Service::booting()).await;
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
    let mut families = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            families.push(described.split_once(' ').unwrap().0);
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = families.last().expect("a type comes first");
            assert!(name.starts_with(family), "{line} is not of {family}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count, "{families:?}");
    assert!(
        value(&text, &format!("streamhub_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))).is_some()
    );
}

#[test]
fn what_a_core_says_is_counted() {
    let metrics = Metrics::new();
    let observer = metrics.observer();
    observer.waited(Duration::from_millis(3), true);
    observer.waited(Duration::from_secs(5), false);
    observer.commit_failed();
    observer.quarantined();
    let mut text = String::new();
    encode_registry(&mut text, &metrics.registry).unwrap();
    for (series, expected) in [
        ("streamhub_app_wait_seconds_count", 2.0),
        ("streamhub_app_wait_seconds_sum", 5.003),
        ("streamhub_app_waits_in_vain_total", 1.0),
        ("streamhub_commits_failed_total", 1.0),
        ("streamhub_app_quarantines_total", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_apps_have_figures_of_their_own_which_are_taken_once_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::booting();
    let mut config = HubConfig::new(dir.path().join("data"));
    config.volatile = Volatile::Permit;
    let hub = Hub::open(&config, &Silent).unwrap();
    service.ready(hub.clone());
    let make = |name: String| hub.create(&NewApp::new(name.parse().unwrap(), TenantId::platform())).unwrap();
    let quotas = streamhub::quotas::QuotaChange {
        max_apps: Some(30_i64.try_into().unwrap()),
        ..streamhub::quotas::QuotaChange::default()
    };
    hub.set_quotas(&TenantId::platform(), &quotas).unwrap();
    for number in 0..25 {
        make(format!("app-{number}"));
    }
    let each = "streamhub_app_database_bytes{";
    let text = figures(&service).await;
    let bytes: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with(each))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(bytes.len(), 20, "{text}");
    assert_eq!(value(&text, "streamhub_apps_database_bytes"), Some(bytes[0] * 25.0));
    make("one-more".to_owned());
    let again = figures(&service).await;
    assert_eq!(value(&again, "streamhub_apps"), Some(26.0));
    assert_eq!(value(&again, "streamhub_apps_database_bytes"), Some(bytes[0] * 25.0));
    hub.close().unwrap();
}
