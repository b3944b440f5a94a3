//! A server that is told to stop while it has much to do: what it answered is there afterwards, and it ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use streamhub_tests::command::{Streamhub, ask};

use super::Site;
use super::jobs::Events;

/// How many write.
const CLIENTS: usize = 16;

/// Asks for a recording or a stream after the other until nobody answers; the names of those that were made.
fn write(address: SocketAddr, root: &str, client: usize, made: &AtomicU64) -> Vec<String> {
    let bearer = format!("Bearer {root}");
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let mut names = Vec::new();
    for number in 0.. {
        let name = format!("{client}-{number}");
        let (path, body) = if client.is_multiple_of(2) {
            ("/api/v1/apps/news-24/vods", json!({ "name": name }))
        } else {
            ("/api/v1/apps/news-24/streams", json!({ "streamId": name, "type": "rtmp" }))
        };
        match ask(address, "POST", path, &headers, &body.to_string()) {
            Ok(answer) if answer.status == 201 => {
                made.fetch_add(1, Ordering::SeqCst);
                names.push(name);
            }
            Ok(answer) => {
                assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("stopping")));
                break;
            }
            Err(_) => break,
        }
    }
    names
}

#[test]
fn what_was_answered_is_there_after_a_stop_under_load() {
    let site = Site::served(|streamhub: Streamhub| streamhub.env("STREAMHUB_SHUTDOWN_GRACE_SECONDS", "60"));
    site.tenant("acme");
    for app in ["news-24", "radio-1"] {
        site.app("acme", app);
    }
    let vod = json!({ "name": "a.mp4" });
    site.made("/apps/radio-1/vods", &vod);
    let (address, root, made) = (site.server.address(), site.root.clone(), AtomicU64::new(0));
    let (names, site, job) = thread::scope(|scope| {
        let (root, made) = (&root, &made);
        let writing: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || write(address, root, client, made))).collect();
        while made.load(Ordering::SeqCst) < 200 {
            thread::sleep(Duration::from_millis(1));
        }
        // It has to wait for whoever writes, and is under way or waits when the server stops.
        let job = site.job("optimize", Some(&json!({ "force": true })));
        let (ended, stopped) = site.stopped();
        assert!(!ended.stderr.contains("still under way"), "{}", ended.stderr);
        let names: Vec<_> = writing.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
        (names, stopped, job)
    });
    for app in ["news-24", "radio-1"] {
        assert!(site.data_dir().join("apps").join(app).join("app.seal").exists(), "{app} is not sealed");
    }

    let site = site.started();
    let there = |noun: &str, name: &str| {
        let listed = site.get(&site.root, &format!("/apps/news-24/{noun}?limit=1000")).json();
        let rows = listed["data"].as_array().expect("a list").clone();
        assert!(listed["total"].as_u64().is_some_and(|total| total <= 1000), "all are listed");
        rows.iter().map(|row| row[name].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let (vods, streams) = (there("vods", "name"), there("streams", "streamId"));
    assert!(names.len() >= 200);
    for name in &names {
        let is_vod = vods.iter().filter(|there| *there == name).count();
        let is_stream = streams.iter().filter(|there| *there == name).count();
        assert_eq!(is_vod + is_stream, 1, "{name} was answered with 201");
    }
    let job = site.get(&site.root, &format!("/jobs/{job}")).json();
    let state = job["data"]["state"].as_str().expect("a state");
    assert!(["succeeded", "cancelled"].contains(&state), "it was seen to its end, or told to end: {job}");
}

#[test]
fn whoever_follows_a_job_keeps_no_server_from_stopping() {
    // Longer than anybody waits for this test.
    let site = Site::served(|streamhub: Streamhub| streamhub.env("STREAMHUB_SHUTDOWN_GRACE_SECONDS", "3600"));
    site.tenant("acme");
    site.app("acme", "news-24");
    site.made("/apps/news-24/streams", &json!({ "streamId": "cam", "type": "rtmp" }));
    let job = site.job("check", None);
    let mut events = Events::of(&site, &job);
    assert_eq!(events.next().expect("how it stands")["state"], "queued");
    let (_, stopped) = site.stopped();
    assert!(events.all(|job| job["state"] == "queued"), "the answer ended, and the job had not");

    let site = stopped.started();
    let job = site.get(&site.root, &format!("/jobs/{job}")).json();
    assert_eq!(
        (&job["data"]["state"], &job["data"]["error"]["code"]),
        (&json!("cancelled"), &json!("stopping"))
    );
}
