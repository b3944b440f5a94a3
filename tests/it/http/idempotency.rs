//! `Idempotency-Key`: what is sent twice is carried out once.

use std::net::SocketAddr;
use std::{io, thread};

use serde_json::{Value, json};
use streamhub_tests::command::{Response, ask};

use super::jobs::site_with_rows;
use super::{PASSWORD, Site};

/// The path of a purge.
const PURGE: &str = "/apps/news-24/db/purge";

fn send(site: &Site, key: &str, path: &str, body: &Value) -> Response {
    send_as(site, &site.root, key, path, body)
}

fn send_as(site: &Site, credential: &str, key: &str, path: &str, body: &Value) -> Response {
    post(site.server.address(), credential, key, path, body).expect("an answer")
}

/// As [`send_as`], to a server that may end before it answers.
fn post(address: SocketAddr, credential: &str, key: &str, path: &str, body: &Value) -> io::Result<Response> {
    let bearer = format!("Bearer {credential}");
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
    ask(address, "POST", &format!("/api/v1{path}"), &headers, &body.to_string())
}

#[test]
fn a_request_that_is_sent_again_is_answered_as_the_first_was() {
    let site = Site::new();
    let tenant = json!({ "id": "acme" });
    let first = send(&site, "k1", "/tenants", &tenant);
    let second = send(&site, "k1", "/tenants", &tenant);
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json(), second.json());
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(
        site.post(&site.root, "/tenants", &tenant).status,
        409,
        "without the key it is another request"
    );

    // A secret is shown again to whoever has the key, and to nobody else.
    let token = json!({ "name": "ci", "scope": "global", "tenantId": "acme" });
    let made = send(&site, "k2", "/tokens", &token).json();
    assert_eq!(send(&site, "k2", "/tokens", &token).json(), made);
    assert_eq!(site.get(&site.root, "/tokens").json()["total"], 1);

    // What an app's own database holds.
    site.app("acme", "news-24");
    let vod = json!({ "name": "a.mp4" });
    let added = send(&site, "k3", "/apps/news-24/vods", &vod);
    assert_eq!(added.status, 201);
    assert_eq!(send(&site, "k3", "/apps/news-24/vods", &vod).json(), added.json());
    assert_eq!(site.get(&site.root, "/apps/news-24/vods").json()["total"], 1);

    // What it was done to is called something else because of it.
    let name = json!({ "name": "news-25" });
    let renamed = send(&site, "k4", "/apps/news-24/rename", &name);
    assert_eq!(renamed.status, 200);
    assert_eq!(send(&site, "k4", "/apps/news-24/rename", &name).json(), renamed.json());
    assert_eq!(send(&site, "k5", "/apps/news-24/rename", &name).status, 404, "and is not there otherwise");
}

#[test]
fn the_first_answer_about_an_app_is_given_again_whatever_became_of_it_since() {
    let site = Site::new();
    site.made("/tenants", &json!({ "id": "acme" }));
    site.app("acme", "news-24");
    let replayed = |answer: &Response| answer.header("idempotency-replayed") == Some("true");
    for round in 0..5 {
        let key = |what: &str| format!("{what}-{round}");
        let twice = |what: &str, path: &str, body: &Value, meanwhile: &dyn Fn(&Value)| {
            let first = send(&site, &key(what), path, body);
            assert_eq!((first.status, replayed(&first)), (201, false), "{}", first.body);
            meanwhile(&first.json());
            let second = send(&site, &key(what), path, body);
            assert_eq!((second.status, replayed(&second)), (201, true), "{}", second.body);
            assert_eq!(second.json(), first.json());
        };
        // A secret that is shown once.
        twice("ingress", "/apps/news-24/ingress", &json!({ "requiresPassword": true }), &|_| ());
        let stream = json!({ "streamId": key("live"), "type": "rtmp" });
        twice("stream", "/apps/news-24/streams", &stream, &|started| {
            let path = format!("/apps/news-24/streams/{}", started["streamId"].as_str().expect("a stream"));
            assert_eq!(site.ask("DELETE", &path, &site.root, None).status, 204);
        });
        twice("vod", "/apps/news-24/vods", &json!({ "name": "a.mp4" }), &|made| {
            let path = format!("/apps/news-24/vods/{}", made["id"]);
            assert_eq!(site.ask("DELETE", &path, &site.root, None).status, 204);
        });
    }
}

#[test]
fn a_key_stands_for_one_request() {
    let site = Site::new();
    assert_eq!(send(&site, "k1", "/tenants", &json!({ "id": "acme" })).status, 201);
    let another = send(&site, "k1", "/tenants", &json!({ "id": "globex" }));
    assert_eq!((another.status, &another.json()["code"]), (409, &json!("idempotency_key_reused")));
    for bad in ["with space", &"x".repeat(256)] {
        let refused = send(&site, bad, "/tenants", &json!({ "id": "globex" }));
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_idempotency_key")));
    }
    // Who is not known has none, and it is not looked at before that is found out.
    let (bad, new) = ("with space", json!({ "name": "a-1" }));
    assert_eq!(send_as(&site, "sk_nobody", bad, "/apps", &new).status, 401);
    let login = json!({ "email": "root@example.org", "password": PASSWORD });
    assert_eq!(send_as(&site, "", bad, "/auth/login", &login).status, 200);
    // What was refused was not carried out, and may be tried again with the same key.
    site.app("acme", "a-1");
    site.app("acme", "a-2");
    let third = json!({ "name": "a-3", "tenantId": "acme" });
    assert_eq!(send(&site, "k4", "/apps", &third).status, 429);
    assert_eq!(site.ask("DELETE", "/apps/a-1", &site.root, None).status, 200);
    assert_eq!(send(&site, "k4", "/apps", &third).status, 201);
    assert_eq!(send(&site, "k4", "/apps", &third).status, 201, "and is answered again");
}

#[test]
fn who_lost_access_hears_no_more_of_what_was_answered() {
    let site = Site::new();
    site.tenant("acme");
    site.tenant("globex");
    site.app("acme", "news-24");
    let eva = site.person("eva@example.org", Some(("acme", "owner")));
    let key = site.get(&eva, "/account").json()["id"].as_str().expect("a key").to_owned();
    site.made("/tenants/globex/members", &json!({ "user": key, "role": "owner" }));
    let vod = json!({ "name": "a.mp4" });
    let token = json!({ "name": "ci", "scope": "global", "tenantId": "acme" });
    let rename = json!({ "name": "news-25" });
    let send = |key, path, body| send_as(&site, &eva, key, path, body);
    let all = || {
        [
            send("k1", "/apps/news-24/rename", &rename).status,
            send("k2", "/apps/news-25/vods", &vod).status,
            send("k3", "/tokens", &token).status,
        ]
    };
    assert_eq!((all(), all()), ([200, 201, 201], [200, 201, 201]), "and is answered again");

    // A viewer may not what it did as an owner, and somebody from elsewhere sees nothing of it.
    let member = format!("/tenants/acme/members/{key}");
    assert_eq!(site.ask("PATCH", &member, &site.root, Some(&json!({ "role": "viewer" }))).status, 200);
    assert_eq!(all(), [404, 403, 404]);
    assert_eq!(site.ask("DELETE", &member, &site.root, None).status, 204);
    assert_eq!(all(), [404, 404, 404]);
    site.made("/tenants/acme/members", &json!({ "user": key, "role": "owner" }));
    assert_eq!(all(), [200, 201, 201], "rights count, whenever they are");
}

#[test]
fn a_kill_before_the_answer_does_not_carry_it_out_twice() {
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    let stream = json!({ "streamId": "live/cam", "type": "rtmp" });
    assert_eq!(send(&site, "k1", "/apps/news-24/streams", &stream).status, 201);
    let made = send(&site, "k2", "/apps", &json!({ "name": "radio-1", "tenantId": "acme" })).json();
    // The answers are lost, and what upkeep had not shipped is still in the app's outbox.
    let site = site.killed_and_started(|control| {
        control
            .execute("UPDATE _streamhub_idempotency SET status = NULL, answer = NULL", [])
            .expect("a table");
    });
    let again = send(&site, "k1", "/apps/news-24/streams", &stream);
    assert_eq!((again.status, &again.json()["streamId"]), (201, &json!("live/cam")));
    let again = send(&site, "k2", "/apps", &json!({ "name": "radio-1", "tenantId": "acme" }));
    assert_eq!((again.status, again.json()), (201, made));
}

#[test]
fn what_the_audit_tells_of_no_more_is_not_done_again() {
    let site = Site::new();
    let token = json!({ "name": "ci", "scope": "global" });
    assert_eq!(send(&site, "k1", "/tokens", &token).status, 201);
    let everything = json!({ "before": "2100-01-01T00:00:00.000Z" });
    assert_eq!(site.post(&site.root, "/audit/prune", &everything).status, 200);
    let told = site.get(&site.root, "/audit").json();
    assert_eq!((&told["count"], &told["entries"][0]["action"]), (&json!(1), &json!("audit.prune")));
    let again = send(&site, "k1", "/tokens", &token);
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("answer_lost")));
    assert_eq!(site.get(&site.root, "/tokens").json()["total"], 1);
}

/// Waits until a purge has removed rows and goes on, and gives its job; those of before are over.
fn begun(site: &Site, before: usize) -> String {
    loop {
        let listed = site.get(&site.root, "/jobs").json();
        let job = &listed["data"][0];
        let is_over = !["queued", "running"].map(Value::from).contains(&job["state"]);
        assert!(listed["data"].as_array().map(Vec::len) == Some(before) || !is_over, "too few rows: {job}");
        if job["state"] == "running"
            && job["kind"] == "purge"
            && job["progress"]["percent"].as_u64() > Some(0)
        {
            return job["id"].as_str().expect("an id").to_owned();
        }
        thread::yield_now();
    }
}

fn recordings(site: &Site) -> u64 {
    site.get(&site.root, "/apps/news-24/vods?limit=1").json()["total"].as_u64().expect("a number")
}

#[test]
fn a_purge_that_ended_early_is_never_said_to_be_done() {
    let site = site_with_rows(1_000_000);
    let purge = json!({ "scope": "vods", "confirm": true });
    let ended = |answer: &Response| (answer.status, answer.json()["code"].clone());
    let cancelled = (409, json!("cancelled"));
    thread::scope(|scope| {
        let first = scope.spawn(|| send(&site, "k1", PURGE, &purge));
        let job = begun(&site, 0);
        assert_eq!(site.ask("DELETE", &format!("/jobs/{job}"), &site.root, None).status, 200);
        assert_eq!(ended(&first.join().expect("an answer")), cancelled);
    });
    assert!(recordings(&site) > 0, "it was cancelled half-way");
    assert_eq!(ended(&send(&site, "k1", PURGE, &purge)), cancelled);
    let told = site.get(&site.root, "/audit").json();
    let told = told["entries"].as_array().expect("entries");
    assert_eq!(told.iter().filter(|entry| entry["action"] == "db.purge").count(), 1, "{told:?}");

    // Its server is killed.
    let (address, root, asked) = (site.server.address(), site.root.clone(), purge.clone());
    let second = thread::spawn(move || post(address, &root, "k2", PURGE, &asked));
    begun(&site, 1);
    let site = site.killed_and_started(|_| {});
    assert!(second.join().expect("a thread").is_err(), "its server was killed");
    let left = recordings(&site);
    assert!(left > 0, "it was killed half-way");
    for _ in 0..2 {
        assert_eq!(ended(&send(&site, "k2", PURGE, &purge)), (409, json!("interrupted")));
    }
    assert_eq!(recordings(&site), left, "nothing is done by asking what became of it");

    // One that was done is answered as it would have been.
    let done = send(&site, "k3", PURGE, &purge);
    assert_eq!((done.status, &done.json()["data"]["vodsDeleted"]), (200, &json!(left)));
    let site = site.killed_and_started(|control| {
        let forget = "UPDATE _streamhub_idempotency SET status = NULL, answer = NULL";
        control.execute(forget, []).expect("a table");
    });
    let again = send(&site, "k3", PURGE, &purge);
    assert_eq!((again.status, again.json()), (200, done.json()));
}
