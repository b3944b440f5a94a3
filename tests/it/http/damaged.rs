//! What somebody broke on the server's disk is no fault of whoever asks, and no failure of the server.

use std::fs;

use serde_json::{Value, json};
use streamhub_tests::books::app_db;

use super::Site;

fn site_with_apps() -> Site {
    let site = Site::new();
    site.tenant("acme");
    for app in ["news-24", "radio-1"] {
        site.app("acme", app);
    }
    site
}

#[test]
fn a_broken_configuration_says_where_it_is_broken() {
    let site = site_with_apps();
    let config = site.data_dir().join("apps/news-24/config.yaml");
    let ask = |method: &str, body: Option<&Value>| site.ask(method, "/apps/news-24/config", &site.root, body);
    let patch = json!({ "display_name": "News" });
    for (content, place) in [
        ("name: news-24\ncallbacks:\n  secret: hunter2\n   url: x\n", "apps/news-24/config.yaml:4:"),
        ("", "apps/news-24/config.yaml: it does not hold keys and values"),
        (
            "recording: {enabled: hunter2}\n",
            "apps/news-24/config.yaml: recording.enabled must be true or false",
        ),
    ] {
        fs::write(&config, content).expect("a file");
        for (method, body) in [("GET", None), ("PATCH", Some(&patch))] {
            let refused = ask(method, body);
            let said = refused.json();
            assert_eq!((refused.status, &said["code"]), (409, &json!("config_broken")), "{said}");
            let message = said["message"].as_str().expect("a text");
            assert!(message.starts_with(place) && !message.contains("hunter2"), "{message}");
        }
        assert_eq!(fs::read_to_string(&config).expect("a file"), content, "it is left for a person to mend");
    }
    fs::write(&config, "name: news-24\n").expect("a file");
    assert_eq!(ask("PATCH", Some(&patch)).json()["display_name"], "News");
    // What the caller sent is the caller's to correct.
    let unfit = ask("PATCH", Some(&json!({ "recording": { "enabled": "maybe" } })));
    assert_eq!((unfit.status, &unfit.json()["code"]), (400, &json!("invalid")));
}

#[test]
fn an_app_whose_files_are_gone_is_out_of_service_whatever_is_asked_for() {
    let site = site_with_apps();
    // Apps that nobody uses are on the disk alone.
    let site = site.stopped_and_started();
    fs::remove_dir_all(site.data_dir().join("apps/news-24")).expect("a directory");
    fs::remove_file(app_db(&site.data_dir(), "radio-1")).expect("a file");
    let name = json!({ "name": "news-25" });
    for app in ["news-24", "radio-1"] {
        for (method, path, body) in [
            ("GET", "/streams", None),
            ("POST", "/seal", None),
            ("POST", "/rename", Some(&name)),
            ("GET", "/db/health", None),
        ] {
            let refused = site.ask(method, &format!("/apps/{app}{path}"), &site.root, body);
            let said = refused.json();
            assert_eq!(
                (refused.status, &said["code"]),
                (503, &json!("out_of_service")),
                "{app} {path}: {said}"
            );
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
    }
}
