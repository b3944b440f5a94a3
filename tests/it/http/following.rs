//! Who follows a job hears of it for as long as that is permitted, and takes nothing from others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streamhub_tests::command::Response;

use super::Site;
use super::jobs::{Events, site_with_rows, waits};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A job that waits until its app streams no more.
fn waiting_job(site: &Site) -> String {
    site.live(true);
    let job = site.job("optimize", None);
    site.polled(&job, waits);
    job
}

/// Whether an answer with events begins, which ends with this.
fn begins(site: &Site, credential: &str, job: &str) -> bool {
    let mut stream = TcpStream::connect(site.server.address()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let asked = format!(
        "GET /api/v1/jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credential}\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).expect("a request");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer");
    status == *b"HTTP/1.1 200"
}

fn id_of(made: &Value) -> String {
    made["id"].as_str().map_or_else(|| made["id"].to_string(), str::to_owned)
}

#[test]
fn who_may_not_see_a_job_any_more_hears_no_more_of_it() {
    let site = site_with_rows(10);
    let job = waiting_job(&site);
    let ask = |method: &str, path: String, body: Option<&Value>| {
        let answered = site.ask(method, &path, &site.root, body);
        assert!((200..300).contains(&answered.status), "{method} {path}: {answered:?}");
    };
    let token = site.made("/tokens", &json!({ "name": "t", "scope": "app", "app": "news-24" }));
    let logged_out = site.person("ana@example.org", Some(("acme", "viewer")));
    let disabled = site.person("ben@example.org", Some(("acme", "editor")));
    let dismissed = site.person("cem@example.org", Some(("acme", "owner")));
    let stays = site.person("dea@example.org", Some(("acme", "viewer")));
    let user = |email: &str| id_of(&site.get(&site.root, &format!("/users/{email}")).json());

    let follow = |credential: &str| {
        let mut events = Events::heard_by(credential, &site, &job);
        assert_eq!(events.next().expect("how it stands")["state"], "queued");
        events
    };
    let mut heard =
        [token["token"].as_str().expect("a token"), &logged_out, &disabled, &dismissed].map(follow);
    let other = follow(&stays);

    ask("DELETE", format!("/tokens/{}", id_of(&token)), None);
    assert_eq!(site.ask("POST", "/auth/logout", &logged_out, None).status, 204);
    ask("PATCH", format!("/users/{}", user("ben@example.org")), Some(&json!({ "status": "disabled" })));
    ask("DELETE", format!("/tenants/acme/members/{}", user("cem@example.org")), None);
    for (index, events) in heard.iter_mut().enumerate() {
        // Nothing happens to the job meanwhile; the answer ends by itself.
        assert_eq!(events.next(), None, "{index}");
    }
    site.live(false);
    assert_eq!(other.last().expect("its end")["state"], "succeeded");
}

#[test]
fn one_caller_follows_so_much_and_no_more_and_keeps_nobody_from_asking() {
    let site = Site::served(|streamhub| streamhub.env("STREAMHUB_MAX_REQUESTS", "1"));
    site.tenant("acme");
    site.app("acme", "news-24");
    let job = waiting_job(&site);
    let path = format!("/jobs/{job}/events");
    let viewer = site.person("ana@example.org", Some(("acme", "viewer")));
    // Another session of the same person's.
    let again = site.log_in("ana@example.org");
    let mut heard: Vec<_> = (0..16)
        .map(|number| Events::heard_by(if number % 2 == 0 { &viewer } else { &again }, &site, &job))
        .collect();
    let refused = |credential: &str| -> Response { site.get(credential, &path) };
    for credential in [&viewer, &again] {
        let refused = refused(credential);
        assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_followers")));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    let document = site.get("", "/openapi.json").json();
    let described = &document["paths"]["/jobs/{id}/events"]["get"]["responses"]["429"];
    assert!(described["headers"]["Retry-After"].is_object(), "{described}");

    // Others follow too, and whoever asks is answered.
    let mut others = Events::of(&site, &job);
    assert!(others.next().is_some());
    for credential in [&viewer, &site.root] {
        assert_eq!(site.get(credential, "/apps").status, 200);
    }
    // Who ends one may begin another, once the server saw that.
    heard.pop();
    let begun = Instant::now();
    while !begins(&site, &viewer, &job) {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
    site.live(false);
    assert_eq!(others.last().expect("its end")["state"], "succeeded");
    for events in heard {
        assert_eq!(events.last().expect("its end")["state"], "succeeded");
    }
}
