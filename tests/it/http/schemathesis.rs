//! The API is as it describes itself: schemathesis makes up requests from `/openapi.json`, fitting and unfitting
//! ones, sends them to a real server, and finds no 5xx, no answer of another shape, and no status that is not
//! described.
//!
//! At least 2,000 cases here; `STREAMHUB_TEST_CASES` says how many, and scripts/torture.sh says 20,000.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use streamhub_server::Policy;
use streamhub_tests::command::Streamhub;
use streamhub_tests::files::scratch;
use streamhub_tests::skip::need;
use streamhub_tests::{process, python};

use super::Site;

/// What is looked for in each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// The same, and that what does not fit the description is refused.
const STRICTER: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                        response_headers_conformance,response_schema_conformance,negative_data_rejection";

/// Routes that take away what the others are asked with.
const ENDING: &[&str] =
    &["token.revoke", "app.delete", "app.rename", "session.logout", "session.revoke", "session.revoke-all"];

/// Requests to a server, made up by schemathesis.
struct Asking<'a> {
    program: &'a Path,
    site: &'a Site,
    node: &'a str,
    /// How many examples are made up for each route.
    examples: usize,
}

fn wanted() -> u64 {
    env::var("STREAMHUB_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000)
}

#[test]
#[allow(clippy::print_stdout, reason = "whoever runs it is told how much was asked")]
fn answers_are_as_the_api_describes_them() {
    let Some(program) = need("http::schemathesis::answers_are", python::program("st")) else { return };
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    let quotas =
        json!({ "quotas": { "maxRecordingMinutesMonth": -1, "maxStorageGb": -1, "maxEgressGbMonth": -1 } });
    assert_eq!(site.ask("PATCH", "/tenants/acme", &site.root, Some(&quotas)).status, 200);
    let platform = site.token(&json!({ "name": "ui", "scope": "global" }));
    let node = site.token(&json!({ "name": "node", "scope": "node" }));
    let wanted = wanted();
    let examples = usize::try_from(wanted / 400).expect("a number").max(5);
    let asking = Asking { program: &program, site: &site, node: &node, examples };
    let routes = |of_sessions: bool| {
        let all = streamhub_server::policies().into_iter();
        let wanted = all.filter(move |(_, _, name, policy)| {
            (*policy == Policy::Session) == of_sessions && !ENDING.contains(name)
        });
        wanted.map(|(_, _, name, _)| name).collect::<Vec<_>>()
    };

    // First, since the others reset passwords.
    let mut cases = asking.run(&site.root, &routes(true), STRICTER, "");
    let rest = routes(false);
    let inside = "[parameters]\n\"path.app\" = \"news-24\"\n\"path.tenant\" = \"acme\"\n";
    while cases < wanted {
        cases += asking.run(&platform, &rest, CHECKS, inside);
        cases += asking.run(&platform, &rest, STRICTER, "");
    }
    println!("schemathesis: {cases} cases of {} routes", rest.len());
    let Site { server, dir, .. } = site;
    assert_eq!(server.get("/ready").status, 200);
    assert!(server.stop().success());
    let _ = Streamhub::new(dir.path().join("data")).run(["doctor"]).expect(0);
}

impl Asking<'_> {
    /// Asks these routes with a credential, and says how many cases there were.
    fn run(&self, credential: &str, routes: &[&str], checks: &str, settings: &str) -> u64 {
        let dir = scratch();
        fs::write(dir.path().join("schemathesis.toml"), settings).expect("a file");
        let mut command = Command::new(self.program);
        command.current_dir(dir.path()).env("NO_COLOR", "1").env("COLUMNS", "200").arg("run");
        command.arg(format!("http://{}/api/v1/openapi.json", self.site.server.address()));
        command.args(["--checks", checks, "--max-examples", &self.examples.to_string()]);
        command.arg("--suppress-health-check=filter_too_much");
        command.args(["-H", &format!("Authorization: Bearer {credential}")]);
        command.args(["-H", &format!("X-Cluster-Token: {}", self.node)]);
        command.args(routes.iter().flat_map(|route| ["--include-operation-id", route]));
        let ended = process::run_within(&mut command, Duration::from_hours(1));
        assert!(ended.success(), "{}\n{}", ended.describe(), self.site.server.stderr());
        let mut summary = ended.stdout.lines().skip_while(|line| *line != "Test cases:").skip(1);
        let cases =
            summary.next().and_then(|line| line.trim().split(' ').next()?.replace(',', "").parse().ok());
        cases.unwrap_or_else(|| panic!("how many cases? {}", ended.stdout))
    }
}
