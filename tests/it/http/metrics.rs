//! `/metrics` is what Prometheus reads, in both of its text formats, as its own parsers see it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use streamhub_tests::files::scratch;
use streamhub_tests::skip::need;
use streamhub_tests::{process, python};

use super::Site;

/// Parses a file and says what is in it: the type of each family, and all samples.
const PARSE: &str = r#"
import json, sys
import prometheus_client.parser, prometheus_client.openmetrics.parser
parser = {"classic": prometheus_client.parser, "open": prometheus_client.openmetrics.parser}[sys.argv[1]]
families = list(parser.text_string_to_metric_families(open(sys.argv[2]).read()))
json.dump({
    "types": {family.name: family.type for family in families},
    "samples": sorted(sample.name for family in families for sample in family.samples),
}, sys.stdout)
"#;

#[test]
fn prometheus_parses_both_formats_and_sees_the_same_figures() {
    let Some(python) = need("http::metrics::prometheus_parses", python::program("python")) else { return };
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    site.made("/apps/news-24/vods", &json!({ "name": "a.mp4" }));
    let dir = scratch();
    let parsed = |format: &str, accept: &str, media: &str| -> Value {
        let bearer = format!("Bearer {}", site.root);
        let headers = [("Authorization", bearer.as_str()), ("Accept", accept)];
        let answer = site.server.request("GET", "/metrics", &headers, "");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media)));
        assert_eq!(answer.header("vary").map(str::to_lowercase).as_deref(), Some("accept"));
        let file = dir.path().join(format);
        fs::write(&file, &answer.body).expect("a file");
        let ended = process::run(Command::new(&python).args(["-c", PARSE, format]).arg(&file));
        assert!(ended.success(), "{}\n{}", ended.describe(), answer.body);
        serde_json::from_str(&ended.stdout).expect("JSON")
    };
    // The first request of a route adds its series.
    parsed("classic", "*/*", "text/plain; version=0.0.4; charset=utf-8");
    let classic = parsed("classic", "text/plain", "text/plain; version=0.0.4; charset=utf-8");
    let open = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open = parsed("open", open, "application/openmetrics-text; version=1.0.0; charset=utf-8");

    assert_eq!(classic["samples"], open["samples"]);
    let types = |parsed: &Value| -> Vec<String> {
        let all = parsed["types"].as_object().expect("an object").values();
        all.map(|kind| kind.as_str().expect("a type").to_owned()).collect()
    };
    for kind in types(&classic).iter().chain(&types(&open)) {
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{kind}");
    }
    let samples = classic["samples"].as_array().expect("a list");
    for sample in [
        "streamhub_http_request_duration_seconds_bucket",
        "streamhub_cache_hits_total",
        "streamhub_commit_writes_sum",
        "streamhub_control_commit_seconds_count",
        "streamhub_password_hashes_total",
        "streamhub_app_database_bytes",
        "streamhub_apps_wal_bytes",
        "streamhub_tenants_above_quota",
        "streamhub_jobs_running",
    ] {
        assert!(samples.iter().any(|name| name == sample), "{sample} in {samples:?}");
    }
    assert!(site.server.stop().success());
}
