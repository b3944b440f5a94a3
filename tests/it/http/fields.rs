//! What a field may hold: how long a name may be, what `null` means, and that a refusal names the field as it is
//! spelled.

use std::fmt::Write as _;

use serde_json::{Value, json};
use streamhub_tests::command::Response;

use super::{PASSWORD, Site};

/// A site with something of everything that has a name.
fn site() -> Site {
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    site
}

/// Demands a refusal whose message begins with this field.
#[track_caller]
fn refused(answer: &Response, field: &str) {
    let message = answer.json()["message"].clone();
    let names_it = message.as_str().is_some_and(|message| message.starts_with(&format!("{field}: ")));
    assert!(answer.status == 400 && names_it, "{field}: {answer:?}");
}

fn patch(site: &Site, path: &str, body: &Value) -> Response {
    site.ask("PATCH", path, &site.root, Some(body))
}

#[test]
fn a_name_is_short_and_obeyed_by_no_terminal() {
    let site = site();
    let node = site.token(&json!({ "name": "node", "scope": "node" }));
    let join = |body: &Value| {
        let headers = [("X-Cluster-Token", node.as_str()), ("Content-Type", "application/json")];
        site.server.request("POST", "/api/v1/cluster/join", &headers, &body.to_string())
    };
    let with = |body: Value, field: &str, text: &str| {
        let mut body = body;
        body[field] = text.into();
        body
    };
    for (bad, what) in [("x".repeat(257), "257 bytes"), ("\u{1b}[31mRED".to_owned(), "control")] {
        let bad = bad.as_str();
        let answers = [
            ("name", site.post(&site.root, "/tokens", &json!({ "name": bad, "scope": "global" }))),
            ("name", site.post(&site.root, "/tenants", &json!({ "id": "other", "name": bad }))),
            ("plan", site.post(&site.root, "/tenants", &json!({ "id": "other", "plan": bad }))),
            ("name", patch(&site, "/tenants/acme", &json!({ "name": bad }))),
            ("plan", patch(&site, "/tenants/acme", &json!({ "plan": bad }))),
            ("name", site.post(&site.root, "/users", &json!({ "email": "a@b.c", "name": bad }))),
            ("name", patch(&site, "/account", &json!({ "name": bad }))),
            ("displayName", site.post(&site.root, "/apps", &json!({ "name": "one-1", "displayName": bad }))),
            ("roomPrefix", site.post(&site.root, "/apps", &json!({ "name": "one-1", "roomPrefix": bad }))),
            ("displayName", patch(&site, "/apps/news-24", &json!({ "displayName": bad }))),
            ("roomPrefix", patch(&site, "/apps/news-24", &json!({ "livekitRoomPrefix": bad }))),
            ("name", site.post(&site.root, "/cluster/nodes", &with(json!({}), "name", bad))),
            ("region", site.post(&site.root, "/cluster/nodes", &with(json!({ "name": "n" }), "region", bad))),
            ("name", join(&with(json!({}), "name", bad))),
        ];
        for (field, answer) in answers {
            refused(&answer, field);
            assert!(answer.json()["message"].as_str().is_some_and(|said| said.contains(what)), "{answer:?}");
        }
    }
    let most = "x".repeat(256);
    site.made("/tokens", &json!({ "name": most, "scope": "global" }));
    site.made("/apps", &json!({ "name": "one-1", "displayName": most, "roomPrefix": most }));
    let many: Vec<_> = (0..257).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let list = json!({ "name": "ci", "scope": "global", "allowedIps": many });
    refused(&site.post(&site.root, "/tokens", &list), "allowedIps");
}

#[test]
fn the_document_says_how_much_a_field_may_hold() {
    let site = Site::new();
    let paths = site.get("", "/openapi.json").json()["paths"].clone();
    let mut missing = String::new();
    for (method, path, field, bound, most) in [
        ("post", "/tokens", "name", "maxLength", 256),
        ("post", "/tenants", "name", "maxLength", 256),
        ("post", "/tenants", "plan", "maxLength", 256),
        ("patch", "/tenants/{tenant}", "name", "maxLength", 256),
        ("patch", "/tenants/{tenant}", "plan", "maxLength", 256),
        ("post", "/users", "name", "maxLength", 256),
        ("patch", "/account", "name", "maxLength", 256),
        ("post", "/setup", "name", "maxLength", 256),
        ("post", "/apps", "displayName", "maxLength", 256),
        ("post", "/apps", "roomPrefix", "maxLength", 256),
        ("patch", "/apps/{app}", "displayName", "maxLength", 256),
        ("patch", "/apps/{app}", "roomPrefix", "maxLength", 256),
        ("post", "/cluster/join", "name", "maxLength", 256),
        ("post", "/cluster/nodes", "region", "maxLength", 256),
        ("post", "/cluster/nodes", "url", "maxLength", 4096),
        ("post", "/apps/{app}/vods", "durationS", "maximum", 2_678_400),
        ("patch", "/apps/{app}/vods/{id}", "durationS", "maximum", 2_678_400),
    ] {
        let body = &paths[path][method]["requestBody"]["content"]["application/json"]["schema"];
        let schema = &body["properties"][field];
        if schema[bound].as_f64() != Some(f64::from(most)) {
            let _ = writeln!(missing, "{method} {path} {field}: {schema}");
        }
    }
    assert!(missing.is_empty(), "{missing}");
}

#[test]
fn null_empties_what_may_be_empty_and_is_refused_elsewhere() {
    let site = site();
    for (path, field, body) in [
        ("/tenants/acme", "name", json!({ "name": null })),
        ("/tenants/acme", "plan", json!({ "plan": null })),
        ("/tenants/acme", "quotas", json!({ "quotas": null })),
        ("/tenants/acme", "quotas.maxApps", json!({ "quotas": { "maxApps": null } })),
        ("/account", "email", json!({ "email": null })),
        ("/account", "password", json!({ "password": null })),
    ] {
        refused(&patch(&site, path, &body), field);
    }
    let name = |body: &Value| {
        let answer = patch(&site, "/account", body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["name"].clone()
    };
    assert_eq!(name(&json!({ "name": "Root" })), "Root");
    assert_eq!(name(&json!({})), "Root");
    assert_eq!(name(&json!({ "name": null })), Value::Null);
}

#[test]
fn an_app_is_changed_by_the_fields_that_it_shows() {
    let site = site();
    let app = |body: &Value| {
        let answer = patch(&site, "/apps/news-24", body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    assert_eq!(app(&json!({ "livekitRoomPrefix": "n-" }))["livekitRoomPrefix"], "n-");
    assert_eq!(app(&json!({ "roomPrefix": "m-" }))["livekitRoomPrefix"], "m-");
    let emptied = app(&json!({ "livekitRoomPrefix": null, "displayName": null }));
    assert_eq!((&emptied["livekitRoomPrefix"], &emptied["displayName"]), (&Value::Null, &Value::Null));
    let both = json!({ "livekitRoomPrefix": "a", "roomPrefix": "b" });
    assert_eq!(patch(&site, "/apps/news-24", &both).status, 400);
}

#[test]
fn a_heartbeat_that_says_nothing_keeps_what_was_said() {
    let site = Site::new();
    let token = site.token(&json!({ "name": "node", "scope": "node" }));
    let id = site.made("/cluster/nodes", &json!({ "name": "edge-1" }))["id"].clone();
    let beat = |stats: Option<Value>| {
        let mut body = json!({ "nodeId": id });
        if let Some(stats) = stats {
            body["stats"] = stats;
        }
        let headers = [("X-Cluster-Token", token.as_str()), ("Content-Type", "application/json")];
        site.server.request("POST", "/api/v1/cluster/heartbeat", &headers, &body.to_string())
    };
    let stats = || site.get(&site.root, "/cluster/nodes").json()["data"][0]["stats"].clone();
    assert_eq!(beat(Some(json!({ "cpu": 0.5 }))).status, 204);
    assert_eq!(beat(None).status, 204);
    assert_eq!(stats(), json!({ "cpu": 0.5 }));
    refused(&beat(Some(Value::Null)), "stats");
    refused(&beat(Some(json!({ "x": "y".repeat(5000) }))), "stats");
    assert_eq!(beat(Some(json!({}))).status, 204);
    assert_eq!(stats(), json!({}));
}

#[test]
fn a_refusal_names_the_field_as_callers_write_it() {
    let site = site();
    let vods = "/apps/news-24/vods";
    let vod = site.made(vods, &json!({ "name": "a.mp4" }))["id"].clone();
    for (field, value) in [
        ("sizeBytes", json!(-1)),
        ("durationS", json!(-0.5)),
        ("durationS", json!(2_678_401)),
        ("durationS", json!(1e300)),
        ("localPath", json!("../app.db")),
        ("streamId", json!("")),
        ("metatagsJson", json!("{")),
    ] {
        let mut body = json!({ "name": "b.mp4" });
        body[field] = value.clone();
        refused(&site.post(&site.root, vods, &body), field);
        refused(&patch(&site, &format!("{vods}/{vod}"), &body), field);
    }
    let stream = json!({ "streamId": "", "type": "rtmp" });
    refused(&site.post(&site.root, "/apps/news-24/streams", &stream), "streamId");
    let passwords = json!({ "oldPassword": PASSWORD, "newPassword": "short" });
    refused(&site.post(&site.root, "/account/password", &passwords), "newPassword");
    for path in [format!("{vods}/abc"), format!("{vods}/99999999999999999999"), "/tokens/abc".to_owned()] {
        let answer = site.ask("DELETE", &path, &site.root, None);
        refused(&answer, "id");
        let message = answer.json()["message"].clone();
        assert!(
            message.as_str().is_some_and(|said| said.contains("number") && !said.contains("i64")),
            "{message}"
        );
    }
}
