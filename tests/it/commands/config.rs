//! `config show` and `config check`: effective values with their sources, and every problem at once.

use std::fs;

use serde_json::Value;
use streamhub_tests::legacy::{App, Tree};

use super::Place;

fn entry<'a>(shown: &'a Value, key: &str) -> &'a Value {
    let settings = shown["settings"].as_array().expect("settings");
    settings.iter().find(|entry| entry["key"] == key).unwrap_or_else(|| panic!("no {key} in {shown}"))
}

#[test]
fn values_and_where_they_came_from() {
    let place = Place::missing();
    fs::create_dir(&place.dir).expect("a directory");
    fs::write(place.path("streamhub.yaml"), "listen: 0.0.0.0:1\nshutdown_grace_seconds: 3\n")
        .expect("settings");
    fs::write(place.path("secrets.json"), "{\"S3_KEY\": \"hunter2\"}").expect("secrets");
    let streamhub =
        place.streamhub().env("STREAMHUB_LISTEN", "0.0.0.0:2").env("DATABASE_URL", "sqlite:/x/c.db");
    let output = streamhub.run(["config", "show", "--json", "--allow-volatile"]).expect(0);
    let shown = output.json();
    assert_eq!(entry(&shown, "listen")["value"], "0.0.0.0:2");
    assert_eq!(entry(&shown, "listen")["source"]["env"], "STREAMHUB_LISTEN");
    assert_eq!(entry(&shown, "shutdown_grace_seconds")["value"], 3);
    assert!(entry(&shown, "shutdown_grace_seconds")["source"]["file"].as_str().is_some());
    assert_eq!(entry(&shown, "allow_volatile")["source"]["flag"], "--allow-volatile");
    assert_eq!(entry(&shown, "log_format")["source"], "default");
    assert_eq!(entry(&shown, "data_dir")["source"]["flag"], "--data-dir");
    assert_eq!(entry(&shown, "database_url")["value"], "sqlite:/x/c.db");
    assert_eq!(
        (&shown["secrets"][0]["name"], &shown["secrets"][0]["value"]),
        (&"S3_KEY".into(), &"***".into())
    );
    let people = streamhub.run(["config", "show"]).expect(0);
    assert!(people.stdout().contains("STREAMHUB_LISTEN (environment)"), "{}", people.stdout());
    for text in [output.stdout(), people.stdout(), people.stderr()] {
        assert!(!text.contains("hunter2"));
    }
    let volatile = place.streamhub().env("STREAMHUB_ALLOW_VOLATILE", "1").run(["config", "show", "--json"]);
    assert_eq!(entry(&volatile.expect(0).json(), "allow_volatile")["value"], true);
}

#[test]
fn what_the_server_takes_is_shown_and_checked() {
    let place = Place::ours();
    let yaml = "trusted_proxies: [10.0.0.0/8, '::1']\ncors_origins:\n- https://console.example.org\n";
    fs::write(place.path("streamhub.yaml"), yaml).expect("settings");
    let streamhub =
        place.streamhub().env("STREAMHUB_CORS_ORIGINS", "https://a.example, https://b.example:8443");
    let shown = streamhub.run(["config", "show", "--json"]).expect(0).json();
    assert_eq!(entry(&shown, "trusted_proxies")["value"], serde_json::json!(["10.0.0.0/8", "::1/128"]));
    let origins = serde_json::json!(["https://a.example", "https://b.example:8443"]);
    assert_eq!(entry(&shown, "cors_origins")["value"], origins);
    for (key, value) in [
        ("max_connections", 1024),
        ("max_connections_per_peer", 256),
        ("max_requests", 256),
        ("request_timeout_seconds", 60),
        ("header_timeout_seconds", 10),
        ("idle_timeout_seconds", 75),
    ] {
        assert_eq!(entry(&shown, key)["value"], value);
    }
    assert_eq!(entry(&shown, "metrics_loopback")["value"], false);
    let yaml = "trusted_proxies: [10.0.0.0/99]\ncors_origins: [example.org]\nmax_requests: 0\n";
    fs::write(place.path("streamhub.yaml"), yaml).expect("settings");
    let found = place.streamhub().run(["config", "check", "--json"]).expect(78).json();
    let problems = found["problems"].to_string();
    assert_eq!(found["problems"].as_array().expect("problems").len(), 3, "{problems}");
    for word in ["10.0.0.0/99", "example.org", "from 1"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
}

#[test]
fn a_valid_configuration() {
    let place = Place::of(
        &Tree::new()
            .app("one", |a| {
                a.config("name: one\ns3: {access_key_env: KNOWN, secret_key_env: UNKNOWN}\nshiny: 1\n")
            })
            .app("two", App::dir),
    );
    fs::write(place.path("secrets.json"), "{\"KNOWN\": \"x\"}").expect("secrets");
    let before = place.digest();
    let found = place.streamhub().run(["config", "check", "--json"]).expect(0).json();
    assert_eq!(found["valid"], true);
    assert_eq!(
        found["files"],
        serde_json::json!(["secrets.json", "apps/one/config.yaml", "apps/two/config.yaml"])
    );
    assert_eq!(found["problems"], serde_json::json!([]));
    let warnings = found["warnings"].to_string();
    assert_eq!(found["warnings"].as_array().expect("warnings").len(), 2, "{warnings}");
    assert!(warnings.contains("UNKNOWN") && warnings.contains("shiny"), "{warnings}");
    let people = place.streamhub().run(["config", "check"]).expect(0);
    assert!(people.stdout().starts_with("valid"), "{}", people.stdout());
    assert!(people.stderr().contains("way out:"));
    let set = place.streamhub().env("UNKNOWN", "x").run(["config", "check", "--json"]).expect(0).json();
    assert_eq!(set["warnings"].as_array().expect("warnings").len(), 1);
    assert_eq!(place.changes(&before), [""; 0]);
}

#[test]
fn every_problem_is_listed() {
    let place = Place::of(
        &Tree::new()
            .app("one", |a| a.config("name: 1\nrecording: {enabled: 'hunter2'}\n"))
            .app("two", |a| a.config("name: &x two\n"))
            .app("three", |a| a.config("a: [\n"))
            .app("four", |a| a.config("name: four\nname: five\n"))
            .app("five", |a| a.config(&format!("name: five\nx: {}\n", "y".repeat(70_000))))
            .app("six", |a| a.config(""))
            .app("fine", |a| a.config("name: fine\n")),
    );
    fs::write(place.path("streamhub.yaml"), "listn: x\nlog_format: xml\n").expect("settings");
    fs::write(place.path("secrets.json"), "{\"A\": \"hunter2\"").expect("secrets");
    let before = place.digest();
    let output = place.streamhub().run(["config", "check", "--json"]).expect(78);
    let found = output.json();
    assert_eq!(found["valid"], false);
    let problems = found["problems"].as_array().expect("problems");
    let about = |path: &str| {
        let of = |problem: &&Value| problem["message"].as_str().is_some_and(|message| message.contains(path));
        problems.iter().filter(of).count()
    };
    for (path, count) in [
        ("streamhub.yaml", 2),
        ("secrets.json", 1),
        ("apps/one/config.yaml", 2),
        ("apps/two/config.yaml", 1),
        ("apps/three/config.yaml", 1),
        ("apps/four/config.yaml", 1),
        ("apps/five/config.yaml", 1),
        ("apps/six/config.yaml", 1),
        ("apps/fine/config.yaml", 0),
    ] {
        assert_eq!(about(path), count, "{path}: {found}");
    }
    assert!(problems.iter().all(|problem| problem["wayOut"].as_str().is_some_and(|way| !way.is_empty())));
    let people = place.streamhub().run(["config", "check"]).expect(78);
    assert!(
        people.stderr().contains("apps/one/config.yaml") && people.stderr().contains("did you mean listen?")
    );
    for text in [output.stdout(), people.stdout(), people.stderr()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(place.changes(&before), [""; 0]);
}
