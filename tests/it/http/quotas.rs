//! Quotas under HTTP: what is above a limit is refused, also where many ask at once.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Site;

/// How often two race for the last place.
fn rounds() -> usize {
    std::env::var("STREAMHUB_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60)
}

#[test]
fn two_that_race_for_the_last_place_are_one_that_gets_it_and_one_that_does_not() {
    let site = Site::new();
    site.made("/tenants", &json!({ "id": "acme" }));
    site.app("acme", "news-24");
    let limit = json!({ "quotas": { "maxConcurrentStreams": 1, "maxApps": 2 } });
    assert_eq!(site.ask("PATCH", "/tenants/acme", &site.root, Some(&limit)).status, 200);
    for round in 0..rounds() {
        let start = |name: &str| {
            let body = json!({ "streamId": format!("{name}/{round}"), "type": "rtmp" });
            site.post(&site.root, "/apps/news-24/streams", &body)
        };
        let answers = thread::scope(|scope| {
            let other = scope.spawn(|| start("b"));
            [start("a"), other.join().expect("no panic")]
        });
        let mut statuses = answers.each_ref().map(|answer| answer.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 429], "round {round}");
        for answer in answers {
            let body = answer.json();
            if answer.status == 429 {
                assert_eq!(body["error"], "quota_exceeded");
                assert_eq!(
                    (&body["metric"], &body["limit"], &body["used"]),
                    (&json!("concurrentStreams"), &json!(1), &json!(1))
                );
            } else {
                let id = body["streamId"].as_str().expect("an id").replace('/', "%2F");
                let ended = site.ask("DELETE", &format!("/apps/news-24/streams/{id}"), &site.root, None);
                assert_eq!(ended.status, 204);
            }
        }
        let create = |name: &str| {
            let name = format!("{name}-{round}");
            (site.post(&site.root, "/apps", &json!({ "name": name, "tenantId": "acme" })).status, name)
        };
        let made = thread::scope(|scope| {
            let other = scope.spawn(|| create("app-b"));
            [create("app-a"), other.join().expect("no panic")]
        });
        let mut statuses = made.each_ref().map(|(status, _)| *status);
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 429], "round {round}");
        let (_, name) = made.iter().find(|(status, _)| *status == 201).expect("one");
        assert_eq!(site.ask("DELETE", &format!("/apps/{name}"), &site.root, None).status, 200);
    }
    let usage = site.get(&site.root, "/tenants/acme/usage").json();
    assert_eq!((&usage["usage"]["apps"], &usage["usage"]["concurrentStreams"]), (&json!(1), &json!(0)));
}

/// What a tenant that may have nothing is answered where an app, a stream and a recording begin.
fn asked_above_every_limit(site: &Site) -> [(u16, Value); 3] {
    site.made("/tenants", &json!({ "id": "acme" }));
    site.app("acme", "news-24");
    let none =
        json!({ "quotas": { "maxApps": 0, "maxConcurrentStreams": 0, "maxRecordingMinutesMonth": 0 } });
    assert_eq!(site.ask("PATCH", "/tenants/acme", &site.root, Some(&none)).status, 200);
    let asked = [
        ("/apps", json!({ "name": "radio-1", "tenantId": "acme" })),
        ("/apps/news-24/streams", json!({ "streamId": "live/cam", "type": "rtmp" })),
        ("/apps/news-24/vods", json!({ "name": "a.mp4" })),
    ];
    asked.map(|(path, body)| {
        let answer = site.post(&site.root, path, &body);
        (answer.status, answer.json())
    })
}

fn warnings(site: &Site) -> usize {
    site.server.stderr().lines().filter(|line| line.contains("admitted above a quota")).count()
}

#[test]
fn on_refuses_what_is_above_a_limit() {
    let site = Site::new();
    let refused = [("apps", 1), ("concurrentStreams", 0), ("recordingMinutesMonth", 0)];
    for ((status, body), (metric, used)) in asked_above_every_limit(&site).into_iter().zip(refused) {
        assert_eq!(status, 429, "{body}");
        assert_eq!((&body["error"], &body["code"]), (&json!("quota_exceeded"), &json!("quota_exceeded")));
        assert_eq!(
            (&body["metric"], &body["limit"], &body["used"]),
            (&json!(metric), &json!(0), &json!(used))
        );
    }
    // What is over is taken all the same, and what is there goes on.
    let done = json!({ "name": "b.mp4", "status": "ready", "durationS": 61.5 });
    assert_eq!(site.post(&site.root, "/apps/news-24/vods", &done).status, 201);
    assert_eq!(warnings(&site), 0);
}

#[test]
fn log_admits_and_warns_of_each() {
    let site = Site::served(|streamhub| streamhub.env("STREAMHUB_QUOTAS", "log"));
    for (status, body) in asked_above_every_limit(&site) {
        assert_eq!(status, 201, "{body}");
    }
    assert_eq!(warnings(&site), 3, "{}", site.server.stderr());
    let usage = site.get(&site.root, "/tenants/acme/usage").json();
    assert_eq!((&usage["usage"]["apps"], &usage["exceeded"]["apps"]), (&json!(2), &json!(true)));
    let settings = site.get(&site.root, "/system/settings").body;
    assert!(settings.contains("STREAMHUB_QUOTAS"), "{settings}");
}

#[test]
fn off_asks_nobody() {
    let site = Site::served(|streamhub| streamhub.env("STREAMHUB_QUOTAS", "off"));
    for (status, body) in asked_above_every_limit(&site) {
        assert_eq!(status, 201, "{body}");
    }
    assert_eq!(warnings(&site), 0);
}

/// Waits for what upkeep does after a commit.
fn usage_once(site: &Site, is_there: impl Fn(&Value) -> bool) -> Value {
    loop {
        let usage = site.get(&site.root, "/tenants/acme/usage").json();
        if is_there(&usage["usage"]) {
            return usage;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_sent_and_recorded_is_metered_once_with_history() {
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    let bearer = format!("Bearer {}", site.root);
    let headers =
        [("Authorization", &*bearer), ("Content-Type", "application/json"), ("Idempotency-Key", "k1")];
    for _ in 0..2 {
        let body = json!({ "egressBytes": 1_500_000_000 }).to_string();
        let answer = site.server.request("POST", "/api/v1/apps/news-24/usage", &headers, &body);
        assert_eq!((answer.status, &*answer.body), (204, ""));
    }
    assert_eq!(site.post(&site.root, "/apps/news-24/usage", &json!({ "egressBytes": 1 })).status, 204);
    let vod = site.made("/apps/news-24/vods", &json!({ "name": "a.mp4" }))["id"].to_string();
    for seconds in [30, 90, 61] {
        let longer = json!({ "durationS": seconds });
        let path = format!("/apps/news-24/vods/{vod}");
        assert_eq!(site.ask("PATCH", &path, &site.root, Some(&longer)).status, 200);
    }
    // A kill loses nothing, and what was shipped twice counts once.
    let site = site.killed_and_started(|_| {});
    let usage =
        usage_once(&site, |usage| usage["egressGbMonth"] != 0.0 && usage["recordingMinutesMonth"] == 2);
    assert_eq!(usage["usage"]["egressGbMonth"], json!(1.500_000_001));
    let history = site.get(&site.root, "/tenants/acme/usage/history").json();
    let amount = |metric: &str| {
        let row = history["data"].as_array().expect("a list").iter().find(|row| row["metric"] == metric);
        row.unwrap_or_else(|| panic!("no {metric}: {history}"))["amount"].clone()
    };
    assert_eq!((amount("egress_bytes"), amount("recording_seconds")), (json!(1_500_000_001), json!(90)));

    // A stream that begins would send more; one that is live goes on.
    let start = |name: &str| {
        site.post(&site.root, "/apps/news-24/streams", &json!({ "streamId": name, "type": "rtmp" }))
    };
    assert_eq!(start("one").status, 201);
    let limit = json!({ "quotas": { "maxEgressGbMonth": 1 } });
    assert_eq!(site.ask("PATCH", "/tenants/acme", &site.root, Some(&limit)).status, 200);
    let refused = start("two");
    assert_eq!((refused.status, &refused.json()["metric"]), (429, &json!("egressGbMonth")));
    assert_eq!(site.get(&site.root, "/apps/news-24/streams?status=active").json()["total"], 1);
    assert_eq!(site.post(&site.root, "/apps/news-24/usage", &json!({ "egressBytes": 1 })).status, 204);

    for bad in
        [json!({}), json!({ "egressBytes": -1 }), json!({ "egressBytes": 1.5 }), json!({ "egress": 1 })]
    {
        assert_eq!(site.post(&site.root, "/apps/news-24/usage", &bad).status, 400, "{bad}");
    }
}

#[test]
fn what_is_stored_is_measured_soon_after_a_start_and_counts() {
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    let recordings = site.control().with_file_name("apps").join("news-24/recordings");
    let limit = json!({ "quotas": { "maxStorageGb": 0 } });
    assert_eq!(site.ask("PATCH", "/tenants/acme", &site.root, Some(&limit)).status, 200);
    let site = site.stopped_and_started();
    fs::create_dir_all(&recordings).expect("a directory");
    fs::write(recordings.join("a.mp4"), vec![0; 3_000_000]).expect("a file");
    // Upkeep does what it does once an hour when there is something to do for the first time.
    site.made("/apps/news-24/streams", &json!({ "streamId": "live/cam", "type": "rtmp" }));
    let usage = usage_once(&site, |usage| usage["storageGb"] != 0.0);
    assert!(usage["usage"]["storageGb"].as_f64() > Some(0.003), "{usage}");
    assert_eq!(usage["exceeded"]["storageGb"], true);
    let refused = site.post(&site.root, "/apps/news-24/vods", &json!({ "name": "b.mp4" }));
    assert_eq!((refused.status, &refused.json()["metric"]), (429, &json!("storageGb")));
}

/// How long a recording becomes is known at its end, so nothing of the minutes is reserved at its beginning.
#[test]
fn what_is_under_way_when_the_minutes_are_used_up_goes_on_and_counts() {
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    let limit = json!({ "quotas": { "maxRecordingMinutesMonth": 1 } });
    assert_eq!(site.ask("PATCH", "/tenants/acme", &site.root, Some(&limit)).status, 200);
    let begin = || site.made("/apps/news-24/vods", &json!({ "name": "a.mp4" }))["id"].to_string();
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(begin);
        (begin(), other.join().expect("both begin with one minute left"))
    });
    let longer = |vod: &str, seconds: u64| {
        let body = json!({ "durationS": seconds });
        assert_eq!(
            site.ask("PATCH", &format!("/apps/news-24/vods/{vod}"), &site.root, Some(&body)).status,
            200
        );
    };
    longer(&one, 60);
    let usage = usage_once(&site, |usage| usage["recordingMinutesMonth"] == 1);
    assert_eq!(
        usage["exceeded"]["recordingMinutesMonth"], false,
        "a minute that is just taken is not too much"
    );
    let refused = site.post(&site.root, "/apps/news-24/vods", &json!({ "name": "b.mp4" }));
    assert_eq!((refused.status, &refused.json()["metric"]), (429, &json!("recordingMinutesMonth")));

    longer(&other, 90);
    longer(&one, 120);
    let usage = usage_once(&site, |usage| usage["recordingMinutesMonth"] == 4);
    assert_eq!(usage["exceeded"]["recordingMinutesMonth"], true);
    for vod in [one, other] {
        let done = json!({ "status": "ready" });
        assert_eq!(
            site.ask("PATCH", &format!("/apps/news-24/vods/{vod}"), &site.root, Some(&done)).status,
            200
        );
    }
}
