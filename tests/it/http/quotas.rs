//! Quotas under HTTP: what is above a limit is refused, also where many ask at once.

use std::thread;

use serde_json::json;

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
        // Apps are made and deleted by several steps, so fewer of them.
        if round % 6 == 0 {
            let make = |name: &str| {
                let name = format!("{name}-{round}");
                (site.post(&site.root, "/apps", &json!({ "name": name, "tenantId": "acme" })).status, name)
            };
            let made = thread::scope(|scope| {
                let other = scope.spawn(|| make("app-b"));
                [make("app-a"), other.join().expect("no panic")]
            });
            let mut statuses = made.each_ref().map(|(status, _)| *status);
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 429], "round {round}");
            let (_, name) = made.iter().find(|(status, _)| *status == 201).expect("one");
            assert_eq!(site.ask("DELETE", &format!("/apps/{name}"), &site.root, None).status, 200);
        }
    }
    let usage = site.get(&site.root, "/tenants/acme/usage").json();
    assert_eq!((&usage["usage"]["apps"], &usage["usage"]["concurrentStreams"]), (&json!(1), &json!(0)));
}
