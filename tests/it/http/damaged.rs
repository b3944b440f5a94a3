//! What somebody broke on the server's disk is no fault of whoever asks, and no failure of the server.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
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
fn an_app_whose_files_are_gone_is_missing_whatever_is_asked_for() {
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
            assert_eq!((refused.status, &said["code"]), (503, &json!("app_missing")), "{app} {path}: {said}");
            assert_eq!(refused.header("retry-after"), None, "it waits for a person");
        }
    }
    let missing = json!({ "total": 2, "quarantined": 0, "missing": 2 });
    assert_eq!(site.server.get("/ready").json()["apps"], missing);
    // They are missed also where nobody asks for them.
    let site = site.stopped_and_started();
    while site.server.get("/ready").json()["apps"] != missing {
        thread::sleep(Duration::from_millis(20));
    }
    let figures = site.get(&site.root, "/metrics").body;
    assert!(figures.contains("\nstreamhub_apps_missing 2\n"), "{figures}");
}

#[test]
fn a_purge_that_meets_damage_says_so_and_its_job_too() {
    let site = Site::with_rows(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
         INSERT INTO vods (app_id, name, status) SELECT 1, i, 'ready' FROM n; \
         PRAGMA wal_checkpoint(TRUNCATE)",
    );
    let (_, left) = site.stopped();
    let path = app_db(&left.data_dir(), "news-24");
    let root: u64 = Connection::open(&path)
        .and_then(|db| {
            db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'vods'", [], |row| row.get(0))
        })
        .expect("a table");
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.write_all_at(&[0xEE; 64], (root - 1) * 4096).expect("damage");
    let site = left.started();
    let purged =
        site.post(&site.root, "/apps/news-24/db/purge", &json!({ "scope": "vods", "confirm": true }));
    let said = purged.json();
    assert_eq!((purged.status, &said["code"]), (503, &json!("damaged")), "{said}");
    assert_eq!(purged.header("retry-after"), None, "it waits for a person");
    let job = site.get(&site.root, "/jobs").json()["data"][0].take();
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("damaged")), "{job}");
    let told = site.get(&site.root, "/audit").json();
    let told: Vec<_> = told["entries"].as_array().expect("entries").iter().collect();
    let of_purge: Vec<_> = told.iter().filter(|entry| entry["action"] == "db.purge").collect();
    assert_eq!(of_purge.len(), 1, "{told:?}");
    assert_eq!(of_purge[0]["target"], job["id"], "as with other jobs, the job says what came of it");
}
