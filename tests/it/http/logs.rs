//! The server's log and the audit under HTTP: read in part, and pruned.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Site;

/// Entries of the log as an app's own, of three days.
fn site_with_entries() -> Site {
    let site = Site::new();
    site.tenant("acme");
    site.tenant("globex");
    site.app("acme", "news-24");
    site.app("globex", "radio-1");
    site.killed_and_started(|control| {
        control
            .execute_batch(
                "DELETE FROM server_logs;
                 INSERT INTO server_logs (ts, level, source, app_id, message)
                 SELECT ts, level, source, (SELECT id FROM apps WHERE name = app), message FROM (
                   SELECT '2026-01-01 08:00:00' AS ts, 'info' AS level, 'ingest' AS source, 'news-24' AS app, 'cam is on' AS message
                   UNION ALL SELECT '2026-01-02T08:00:00.000Z', 'warn', 'ingest', 'news-24', 'cam stutters 100%'
                   UNION ALL SELECT '2026-01-03 08:00:00', 'error', 'recorder', 'news-24', 'disk_full'
                   UNION ALL SELECT '2026-01-02 09:00:00', 'warn', 'ingest', 'radio-1', 'mic is off'
                   UNION ALL SELECT '2026-01-02 10:00:00', 'warn', 'core', NULL, 'a fan fails')",
            )
            .expect("entries");
    })
}

fn messages(site: &Site, credential: &str, path: &str) -> Vec<String> {
    let listed = site.get(credential, path);
    assert_eq!(listed.status, 200, "{path}: {listed:?}");
    let listed = listed.json();
    let text = |entry: &Value| entry["message"].as_str().expect("a message").to_owned();
    listed["data"].as_array().expect("a list").iter().map(text).collect()
}

#[test]
fn what_the_server_tells_of_is_soon_to_be_read() {
    let site = Site::new();
    let begun = Instant::now();
    loop {
        let listed = site.get(&site.root, "/logs?level=info&q=serving").json();
        if let Some(entry) = listed["data"].as_array().and_then(|entries| entries.first()) {
            assert_eq!((&entry["level"], &entry["message"]), (&json!("info"), &json!("serving")), "{listed}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{listed}");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(messages(&site, &site.root, "/logs?level=error&q=serving"), [""; 0]);
}

#[test]
fn entries_are_found_by_what_is_said_of_them() {
    let site = site_with_entries();
    let of_app = |query: &str| messages(&site, &site.root, &format!("/apps/news-24/logs{query}"));
    assert_eq!(of_app("?limit=3"), ["disk_full", "cam stutters 100%", "cam is on"]);
    assert_eq!(of_app("?level=warn"), ["disk_full", "cam stutters 100%"]);
    assert_eq!(of_app("?level=error"), ["disk_full"]);
    assert_eq!(of_app("?source=recorder"), ["disk_full"]);
    assert_eq!(of_app("?q=cam"), ["cam stutters 100%", "cam is on"]);
    // What stands for anything elsewhere stands for itself here.
    assert_eq!(of_app("?q=0%25"), ["cam stutters 100%"]);
    assert_eq!(of_app("?q=k_f"), ["disk_full"]);
    assert_eq!(of_app("?q=%25"), ["cam stutters 100%"]);
    // Whichever way a time was written.
    assert_eq!(of_app("?since=2026-01-02T08:00:00.000Z&until=2026-01-03T08:00:00Z"), ["cam stutters 100%"]);
    assert_eq!(of_app("?level=warn&source=ingest&q=stutters"), ["cam stutters 100%"]);
    let first = site.get(&site.root, "/apps/news-24/logs?limit=2&until=2026-02-01T00:00:00Z").json();
    let cursor = first["nextCursor"].as_str().expect("there is more");
    assert_eq!(of_app(&format!("?limit=2&until=2026-02-01T00:00:00Z&cursor={cursor}")), ["cam is on"]);
    for bad in ["level=loud", "since=yesterday", "cursor=x", "limit=0", "tenant=*"] {
        let refused = site.get(&site.root, &format!("/apps/news-24/logs?{bad}"));
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_query")), "{bad}");
    }

    // Everybody sees of the log what is about the own apps.
    let until = "until=2026-02-01T00:00:00Z";
    let all = messages(&site, &site.root, &format!("/logs?{until}"));
    assert_eq!(all, ["disk_full", "a fan fails", "mic is off", "cam stutters 100%", "cam is on"]);
    assert_eq!(messages(&site, &site.root, &format!("/logs?{until}&app=radio-1")), ["mic is off"]);
    let viewer = site.person("ana@example.org", Some(("acme", "viewer")));
    assert_eq!(messages(&site, &viewer, &format!("/logs?{until}")).len(), 3);
    assert_eq!(messages(&site, &viewer, &format!("/logs?{until}&app=radio-1")), [""; 0]);
    assert_eq!(site.get(&viewer, "/apps/radio-1/logs").status, 404);
    let body = json!({ "user": "ana@example.org", "role": "viewer" });
    assert_eq!(site.post(&site.root, "/tenants/globex/members", &body).status, 201);
    let both = messages(&site, &viewer, &format!("/logs?{until}"));
    assert_eq!(both, ["disk_full", "mic is off", "cam stutters 100%", "cam is on"]);
    assert_eq!(messages(&site, &viewer, &format!("/logs?{until}&tenant=globex")), ["mic is off"]);
    assert_eq!(messages(&site, &viewer, &format!("/apps/news-24/logs?{until}&app=radio-1")), [""; 0]);
}

#[test]
fn a_search_looks_at_a_part_of_a_long_log_and_says_where_to_go_on() {
    let site = Site::new();
    let site = site.killed_and_started(|control| {
        control
            .execute_batch(
                "INSERT INTO server_logs (ts, level, message) VALUES ('2026-01-01 08:00:00', 'info', 'a needle');
                 WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 110000)
                 INSERT INTO server_logs (ts, level, message) SELECT '2026-01-02 08:00:00', 'info', 'hay' FROM n",
            )
            .expect("entries");
    });
    let path = "/logs?q=needle&until=2026-02-01T00:00:00Z";
    let first = site.get(&site.root, path).json();
    assert_eq!(first["data"], json!([]), "{first}");
    let cursor = first["nextCursor"].as_str().expect("it has not looked at everything");
    let second = site.get(&site.root, &format!("{path}&cursor={cursor}")).json();
    assert_eq!((&second["data"][0]["message"], second.get("nextCursor")), (&json!("a needle"), None));

    // The command goes on by itself.
    let words = ["logs", "list", "--query", "needle", "--until", "2026-02-01"];
    let listed = site.streamhub.run(words).expect(0);
    assert!(
        listed.stdout().contains("a needle") && !listed.stdout().contains("more:"),
        "{}",
        listed.stdout()
    );
}

#[test]
fn pruning_counts_before_it_removes() {
    let site = site_with_entries();
    let prune = |what: &str, dry_run: bool| {
        let body = json!({ "before": "2026-01-02T09:30:00.000Z", "dryRun": dry_run });
        let pruned = site.post(&site.root, &format!("/{what}/prune"), &body);
        assert_eq!(pruned.status, 200, "{pruned:?}");
        let pruned = pruned.json();
        assert_eq!(pruned["dryRun"], dry_run);
        pruned["entries"].as_u64().expect("a number")
    };
    let old = || messages(&site, &site.root, "/logs?until=2026-02-01T00:00:00Z");
    assert_eq!((prune("logs", true), old().len()), (3, 5));
    assert_eq!((prune("logs", false), old()), (3, vec!["disk_full".to_owned(), "a fan fails".to_owned()]));
    assert_eq!(prune("logs", true), 0);

    let audit =
        |site: &Site| site.get(&site.root, "/audit?limit=1000").json()["count"].as_u64().expect("a number");
    let before = audit(&site);
    assert!(before > 4);
    assert_eq!(prune("audit", true), 0, "nothing is as old");
    let body = |dry_run: bool| json!({ "before": "2100-01-01T00:00:00.000Z", "dryRun": dry_run });
    let all = site.post(&site.root, "/audit/prune", &body(true)).json();
    assert!(all["entries"].as_u64().is_some_and(|entries| entries >= before), "{all} {before}");
    assert!(audit(&site) >= before, "a dry run removes nothing");
    let pruned = site.post(&site.root, "/audit/prune", &body(false));
    assert_eq!(pruned.status, 200, "{pruned:?}");
    // That it was pruned stays in it.
    let left = site.get(&site.root, "/audit").json();
    let actions: Vec<_> =
        left["entries"].as_array().expect("a list").iter().map(|entry| &entry["action"]).collect();
    assert!(actions.iter().all(|action| **action == "audit.prune"), "{actions:?}");

    for (what, body) in [
        ("logs", json!({})),
        ("logs", json!({ "before": "yesterday" })),
        ("audit", json!({ "before": "2026-01-01T00:00:00Z", "dryRun": "yes" })),
        ("audit", json!({ "before": "2026-01-01T00:00:00Z", "dryrun": true })),
    ] {
        let refused = site.post(&site.root, &format!("/{what}/prune"), &body);
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_body")), "{body}");
    }
    let owner = site.person("own@example.org", Some(("acme", "owner")));
    assert_eq!(site.post(&owner, "/logs/prune", &body(true)).status, 403);
}
