//! Long work under HTTP: it is followed while it goes on, goes on whoever goes away, and can be ended.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streamhub_tests::command::Response;

use super::Site;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is heard of a job, event by event, until the server ends the answer.
pub(super) struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    pub(super) fn of(site: &Site, job: &str) -> Self {
        Self::heard_by(&site.root, site, job)
    }

    pub(super) fn heard_by(credential: &str, site: &Site, job: &str) -> Self {
        let mut stream = TcpStream::connect(site.server.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // An answer over HTTP/1.0 ends with its connection and has no chunks.
        let asked = format!(
            "GET /api/v1/jobs/{job}/events HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {credential}\r\n\r\n"
        );
        stream.write_all(asked.as_bytes()).expect("a request");
        let mut lines = BufReader::new(stream).lines();
        let head: Vec<_> =
            lines.by_ref().map(|line| line.expect("a line")).take_while(|line| !line.is_empty()).collect();
        assert!(head[0].contains(" 200 "), "{head:?}");
        assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
        Self(lines)
    }
}

impl Iterator for Events {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.0.by_ref().map(|line| line.expect("the answer ends in good order")).find_map(|line| {
            let data = line.strip_prefix("data: ")?;
            Some(serde_json::from_str(data).expect("JSON"))
        })
    }
}

/// A site with an app that has as many recordings, half of which were deleted.
pub(super) fn site_with_rows(rows: u32) -> Site {
    Site::with_rows(&format!(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO vods (app_id, name, status, metatags_json) SELECT 1, i, 'ready', hex(zeroblob(200)) FROM n; \
         DELETE FROM vods WHERE id > {rows} / 2"
    ))
}

impl Site {
    pub(super) fn live(&self, is_live: bool) {
        let (status, due) = if is_live {
            let body = json!({ "streamId": "cam", "type": "rtmp" });
            (self.post(&self.root, "/apps/news-24/streams", &body).status, 201)
        } else {
            (self.ask("DELETE", "/apps/news-24/streams/cam", &self.root, None).status, 204)
        };
        assert_eq!(status, due);
    }

    /// Starts a job and gives its id.
    pub(super) fn job(&self, what: &str, body: Option<&Value>) -> String {
        let started = self.ask("POST", &format!("/apps/news-24/db/{what}"), &self.root, body);
        assert_eq!(started.status, 202, "{started:?}");
        let started = started.json();
        assert_eq!((&started["data"]["state"], &started["error"]), (&json!("queued"), &Value::Null));
        started["data"]["id"].as_str().expect("an id").to_owned()
    }

    fn shown(&self, job: &str) -> Value {
        let shown = self.get(&self.root, &format!("/jobs/{job}"));
        assert_eq!(shown.status, 200, "{shown:?}");
        shown.json()["data"].take()
    }

    /// Asks until the job is as wanted.
    pub(super) fn polled(&self, job: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.shown(job);
            if is_so(&shown) {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "{shown}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn over(&self, job: &str) -> Value {
        self.polled(job, |job| !matches!(job["state"].as_str(), Some("queued" | "running")))
    }
}

pub(super) fn waits(job: &Value) -> bool {
    job["progress"]["step"].as_str().is_some_and(|step| step.starts_with("waiting for 1 live stream"))
}

#[test]
fn a_vacuum_is_followed_to_its_end() {
    let site = site_with_rows(40_000);
    // It begins once somebody follows it: when the stream has ended.
    site.live(true);
    let job = site.job("optimize", None);
    site.polled(&job, waits);
    let mut events = Events::of(&site, &job);
    let first = events.next().expect("how it stands");
    assert!(first["state"] == "queued" && waits(&first), "{first}");
    site.live(false);

    let heard: Vec<Value> = events.collect();
    let last = heard.last().expect("its end");
    let (before, own) = heard.split_at(heard.len() - 1);
    assert!(before.iter().all(|job| job["state"] != "succeeded"), "its end comes once: {heard:?}");
    assert!(heard.iter().any(|job| job["state"] == "running"), "{heard:?}");
    let step = |name: &str| heard.iter().any(|job| job["progress"]["step"] == name);
    assert!(step("VACUUM"), "{heard:?}");
    let at = |job: &Value| job["progress"]["stepIndex"].as_u64().expect("a number");
    assert!(heard.windows(2).all(|two| at(&two[0]) <= at(&two[1])), "{heard:?}");
    assert_eq!(own[0], site.shown(&job), "what is heard is what is asked for");

    assert_eq!(
        (&last["state"], &last["kind"], &last["app"]),
        (&json!("succeeded"), &json!("optimize"), &json!("news-24"))
    );
    let result = &last["result"];
    let steps = ["PRAGMA optimize", "ANALYZE", "REINDEX", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"];
    assert_eq!(result["steps"], json!(steps));
    assert_eq!(result["path"], "apps/news-24/app.db");
    let number = |part: &str, field: &str| result[part][field].as_u64().expect("a number");
    assert_eq!((number("after", "walSizeBytes"), number("after", "freelistCount")), (0, 0));
    assert!(number("before", "freelistCount") > 0, "{result}");
    let bytes = |part: &str| number(part, "sizeBytes") + number(part, "walSizeBytes");
    assert_eq!(result["reclaimedBytes"], bytes("before") - bytes("after"));

    // Who comes later hears its end, and no more.
    assert_eq!(Events::of(&site, &job).collect::<Vec<_>>(), std::slice::from_ref(last));
    let health = site.get(&site.root, "/apps/news-24/db/health").json();
    assert_eq!(health["data"]["freelistCount"], 0, "{health}");
    assert!(site.server.stop().success());
}

#[test]
fn a_job_goes_on_when_whoever_follows_it_goes_away() {
    let site = site_with_rows(4_000);
    site.live(true);
    let job = site.job("optimize", None);
    let mut gone = Events::of(&site, &job);
    assert!(gone.next().is_some());
    drop(gone);
    site.live(false);
    assert_eq!(site.over(&job)["state"], "succeeded");
    assert_eq!(site.get(&site.root, "/apps/news-24/vods?limit=1").json()["total"], 2_000);
}

#[test]
fn a_job_that_waits_is_cancelled_and_one_that_is_forced_does_not_wait() {
    let site = site_with_rows(2_000);
    site.live(true);
    let job = site.job("check", None);
    site.polled(&job, waits);
    let events = Events::of(&site, &job);
    let cancelled = site.ask("DELETE", &format!("/jobs/{job}"), &site.root, None);
    assert_eq!((cancelled.status, &cancelled.json()["data"]["state"]), (200, &json!("cancelled")));
    assert_eq!(events.last().expect("its end")["state"], "cancelled");
    assert_eq!(site.shown(&job)["state"], "cancelled");
    // What is over stays as it is.
    let again = site.ask("DELETE", &format!("/jobs/{job}"), &site.root, None);
    assert_eq!((again.status, again.json()), (200, cancelled.json()));

    for what in ["check", "optimize"] {
        let forced = site.over(&site.job(what, Some(&json!({ "force": true }))));
        assert_eq!(forced["state"], "succeeded", "{forced}");
    }
    // A checkpoint keeps no disk busy, and waits for nobody.
    assert_eq!(site.over(&site.job("checkpoint", None))["state"], "succeeded");
    let streams = site.get(&site.root, "/apps/news-24/streams?status=active").json();
    assert_eq!(streams["total"], 1, "the stream was live all the time");
    let listed = site.get(&site.root, "/jobs").json();
    let kinds: Vec<_> = listed["data"].as_array().expect("a list").iter().map(|job| &job["kind"]).collect();
    assert_eq!(kinds, ["checkpoint", "optimize", "check", "check"]);
}

#[test]
fn a_body_that_may_be_absent_may_be_announced_and_empty() {
    let site = site_with_rows(10);
    let bearer = format!("Bearer {}", site.root);
    for media in ["application/json", "text/plain", ""] {
        let headers = [("Authorization", &*bearer), ("Content-Type", media)];
        let started = site.server.request("POST", "/api/v1/apps/news-24/db/checkpoint", &headers, "");
        assert_eq!(started.status, 202, "{media}: {started:?}");
        let refused = site.server.request("POST", "/api/v1/apps/news-24/db/checkpoint", &headers, " ");
        assert!(matches!(refused.status, 400 | 415), "{media}: {refused:?}");
    }
}

#[test]
fn a_purge_is_confirmed_literally() {
    let site = site_with_rows(3_000);
    let purge = |body: &Value| site.post(&site.root, "/apps/news-24/db/purge", body);
    for confirm in
        [json!("true"), json!(1), json!(false), json!([true]), json!({ "confirm": true }), Value::Null]
    {
        let refused = purge(&json!({ "scope": "all", "confirm": confirm }));
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("not_confirmed")), "{confirm}");
    }
    let refused = purge(&json!({ "scope": "all" }));
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_body")));
    assert_eq!(site.get(&site.root, "/apps/news-24/vods?limit=1").json()["total"], 1_500);

    site.live(true);
    let purged = purge(&json!({ "scope": "all", "confirm": true }));
    let body: Value = purged.json();
    assert_eq!(purged.status, 200, "{body}");
    let data = json!({ "scope": "all", "vodsDeleted": 1_500, "streamsDeleted": 0, "logsDeleted": body["data"]["logsDeleted"],
                       "s3Deleted": 0, "localDeleted": 0 });
    assert_eq!(body, json!({ "data": data, "error": null }));
    assert_eq!(site.get(&site.root, "/apps/news-24/streams").json()["total"], 1, "what is live stays");
    assert_eq!(site.get(&site.root, "/apps/news-24").status, 200);
}

#[test]
fn another_tenants_job_is_not_there() {
    let site = site_with_rows(10);
    let job = site.job("check", None);
    site.over(&job);
    let shape = |answer: Response| {
        let mut body = answer.json();
        body["requestId"].take();
        (answer.status, body)
    };
    let nobody = "00000000-0000-4000-8000-000000000000";
    site.tenant("globex");
    let stranger = site.person("eve@example.org", Some(("globex", "owner")));
    for (method, rest) in [("GET", ""), ("GET", "/events"), ("DELETE", "")] {
        let [its, none] =
            [&*job, nobody].map(|id| shape(site.ask(method, &format!("/jobs/{id}{rest}"), &stranger, None)));
        assert_eq!((its.0, &its), (404, &none), "{method} {rest}");
    }
    assert_eq!(site.get(&stranger, "/jobs").json()["data"], json!([]));
    let ids = |who: &str, query: &str| -> Vec<Value> {
        let listed = site.get(who, &format!("/jobs{query}")).json();
        listed["data"].as_array().expect("jobs").iter().map(|job| job["id"].clone()).collect()
    };
    // A list is behind nothing but its own places.
    for bad in [nobody, "x", "2026-11-21T00:00:00.000Z.17"] {
        let refused = site.get(&site.root, &format!("/jobs?cursor={bad}"));
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_query")), "{bad}");
    }
    // An app is known by its number, and who works for several tenants sees the jobs of all.
    let token = site.token(&json!({ "name": "t", "scope": "app", "app": "news-24", "tenantId": "acme" }));
    let renamed = site.post(&site.root, "/apps/news-24/rename", &json!({ "name": "news-25" }));
    assert_eq!(renamed.status, 200, "{renamed:?}");
    site.app("globex", "news-24");
    let other = json!(site.job("check", None));
    assert_eq!((ids(&token, ""), ids(&token, "?app=news-24")), (vec![json!(job)], vec![]));
    assert_eq!(
        (ids(&site.root, "?app=news-25"), ids(&site.root, "?app=news-24")),
        (vec![json!(job)], vec![other.clone()])
    );
    assert_eq!(site.get(&token, &format!("/jobs/{job}")).status, 200);
    let body = json!({ "user": "eve@example.org", "role": "viewer" });
    assert_eq!(site.post(&site.root, "/tenants/acme/members", &body).status, 201);
    assert_eq!(ids(&stranger, ""), [other.clone(), json!(job)]);
    assert_eq!(ids(&stranger, "?tenant=globex"), std::slice::from_ref(&other));
    let first = site.get(&stranger, "/jobs?limit=1").json();
    let next = first["nextCursor"].as_str().expect("there is more");
    let rest = site.get(&stranger, &format!("/jobs?limit=1&cursor={next}")).json();
    assert_eq!((&first["data"][0]["id"], &rest["data"][0]["id"]), (&other, &json!(job)));
    assert_eq!(rest.get("nextCursor"), None);
    let viewer = site.person("ana@example.org", Some(("acme", "viewer")));
    assert_eq!(site.get(&viewer, &format!("/jobs/{job}")).status, 200);
    assert_eq!(site.ask("DELETE", &format!("/jobs/{job}"), &viewer, None).status, 403);
}
