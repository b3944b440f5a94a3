//! A full disk is nobody's bug: what cannot be written is told so, and is done again once there is room.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streamhub_tests::disk::Disk;
use streamhub_tests::skip::need;

use super::Site;

/// What writes a little, by the route's path; `{}` is a number that no other request has.
const WRITES: &[(&str, &str, &str)] = &[
    ("POST", "/tenants", r#"{ "id": "t-{}", "name": "{text}" }"#),
    ("POST", "/apps", r#"{ "name": "a-{}", "tenantId": "acme", "displayName": "{text}" }"#),
    ("POST", "/tokens", r#"{ "name": "t-{}", "scope": "global", "tenantId": "acme" }"#),
    ("POST", "/apps/news-24/vods", r#"{ "name": "{}.mp4", "metatagsJson": "{\"a\":\"{text}\"}" }"#),
    ("POST", "/apps/news-24/streams", r#"{ "streamId": "live/{}", "type": "rtmp", "room": "{text}" }"#),
    ("PATCH", "/apps/news-24/config", r#"{ "note{}": "{text}" }"#),
    ("POST", "/apps/news-24/db/optimize", r#"{ "force": true }"#),
    ("POST", "/apps/news-24/db/purge", r#"{ "scope": "logs", "confirm": true }"#),
];

/// More than any of these routes can write into what the files have room for.
const ATTEMPTS: usize = 2_000;

/// How long it may take until there is room again for everybody.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_full_disk_is_told_as_one_whatever_is_asked_for() {
    let Some(disk) = need("http::full_disk", Disk::make(64)) else { return };
    let dir = tempfile::tempdir_in(disk.path()).expect("a directory");
    let site = Site::within(dir, |streamhub| streamhub);
    site.tenant("acme");
    site.app("acme", "news-24");
    site.made("/apps/news-24/vods", &json!({ "name": "a.mp4" }));
    let filler = disk.fill(0);
    let mut told = Vec::new();
    for (method, path, body) in WRITES {
        for number in 0..ATTEMPTS {
            let body = body.replace("{text}", &"x".repeat(200)).replacen("{}", &number.to_string(), 1);
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let answer = site.ask(method, path, &site.root, Some(&body));
            if answer.status >= 400 {
                told.push((*path, answer.status, answer.json()["code"].clone()));
                break;
            }
        }
    }
    let paths: Vec<_> = WRITES.iter().map(|(_, path, _)| (*path, 507, json!("no_space"))).collect();
    assert_eq!(told, paths);
    assert_eq!(site.get(&site.root, "/apps").status, 200, "what is there can be read");
    drop(filler);
    // An app that could not be opened for lack of room is tried again after a while.
    for (path, body) in
        [("/tenants", json!({ "id": "globex" })), ("/apps/news-24/vods", json!({ "name": "b.mp4" }))]
    {
        let begun = Instant::now();
        while site.post(&site.root, path, &body).status != 201 {
            assert!(begun.elapsed() < PATIENCE, "{path}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
