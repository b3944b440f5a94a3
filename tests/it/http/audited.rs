//! Each route that changes something leaves exactly one entry in the audit: who did it, from where, what it is
//! called, to what, and how it ended.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use streamhub_tests::command::Response;

use super::matrix::Everybody;
use super::{PASSWORD, Site, unique};

/// What an entry names as what something was done to.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// The last parameter of the path.
    Path,
    /// A field of the answer.
    Answer(&'static str),
    /// Whoever asks.
    Caller,
    /// This.
    Text(&'static str),
    /// Something that the answer does not tell.
    Some,
    /// Nothing.
    None,
}

/// Each route that changes something, and what its entry names.
const ROUTES: &[(&str, Target)] = &[
    ("account.change", Target::Caller),
    ("account.change-password", Target::Caller),
    ("app.adopt", Target::Answer("/app/name")),
    ("app.configure", Target::Text("config.yaml")),
    ("app.create", Target::Answer("/name")),
    ("app.delete", Target::Path),
    ("app.rename", Target::Answer("/name")),
    ("app.seal", Target::Path),
    ("app.undelete", Target::Path),
    ("app.update", Target::Path),
    ("audit.prune", Target::None),
    ("db.check", Target::Answer("/data/id")),
    ("db.checkpoint", Target::Answer("/data/id")),
    ("db.optimize", Target::Answer("/data/id")),
    ("db.purge", Target::Some),
    ("ingress.create", Target::Answer("/ingressId")),
    ("ingress.delete", Target::Path),
    ("job.cancel", Target::Path),
    ("log.prune", Target::None),
    ("member.add", Target::Answer("/userId")),
    ("member.change", Target::Path),
    ("member.remove", Target::Path),
    ("node.create", Target::Answer("/id")),
    ("node.delete", Target::Path),
    ("node.join", Target::Answer("/nodeId")),
    ("node.set-status", Target::Path),
    ("session.login", Target::Answer("/user/id")),
    ("session.logout", Target::Some),
    ("session.revoke", Target::Path),
    ("session.revoke-all", Target::Caller),
    ("stream.end", Target::Path),
    ("stream.start", Target::Answer("/streamId")),
    ("tenant.create", Target::Answer("/id")),
    ("tenant.update", Target::Path),
    ("token.create", Target::Answer("/id")),
    ("token.revoke", Target::Path),
    ("usage.meter", Target::Path),
    ("user.create", Target::Answer("/id")),
    ("user.delete", Target::Path),
    ("user.remove-second-factor", Target::Path),
    ("user.reset-password", Target::Path),
    ("user.set-status", Target::Path),
    ("vod.create", Target::Answer("/id")),
    ("vod.delete", Target::Path),
    ("vod.update", Target::Path),
];

/// Routes that change something without an entry of their own here.
const OTHERS: &[&str] = &[
    // Counts once, before there is anybody to ask for it again.
    "setup.redeem",
    // A sign of life every few seconds: the node's own row says when the last one came.
    "node.heartbeat",
];

/// A request, what came of it, and what its entry has to name.
struct Asked {
    route: &'static str,
    answer: Response,
    principal: String,
    app: Option<String>,
    target: Target,
    /// The last parameter of the path.
    last: String,
}

fn send(
    site: &Site,
    id: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Response {
    let mut headers = headers.to_vec();
    headers.push(("X-Request-Id", id));
    if body.is_some() {
        headers.push(("Content-Type", "application/json"));
    }
    site.server.request(
        method,
        &format!("/api/v1{path}"),
        &headers,
        &body.map(Value::to_string).unwrap_or_default(),
    )
}

/// The entries by their requests, once each of these has one.
fn entries(site: &Site, requests: &[&str]) -> BTreeMap<String, Vec<Value>> {
    loop {
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let mut part = site.get(&site.root, &format!("/audit?limit=1000{cursor}")).json();
            let Value::Array(entries) = part["entries"].take() else { panic!("no list") };
            for entry in entries {
                let detail = entry["detailJson"].as_str().unwrap_or("{}");
                let detail: Value = serde_json::from_str(detail).expect("JSON");
                let request = detail["requestId"].as_str().unwrap_or_default().to_owned();
                found.entry(request).or_default().push(entry);
            }
            match part["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if requests.iter().all(|request| found.contains_key(*request)) {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A job that waits for a stream to end, and can be cancelled.
fn waiting(site: &Site) -> String {
    let app = format!("busy-{}", unique());
    site.app("acme", &app);
    site.made(&format!("/apps/{app}/streams"), &json!({ "streamId": "live/cam", "type": "rtmp" }));
    let started = site.post(&site.root, &format!("/apps/{app}/db/optimize"), &json!({}));
    assert_eq!(started.status, 202, "{started:?}");
    started.json()["data"]["id"].as_str().expect("an id").to_owned()
}

impl Asked {
    fn of(everybody: &Everybody, route: &'static str, target: Target) -> Self {
        let site = &everybody.site;
        let (method, path, ..) =
            streamhub_server::policies().into_iter().find(|(_, _, name, _)| *name == route).expect("a route");
        let app = everybody.app_for(route);
        let session = everybody.credential("superadmin", &app);
        let account = site.get(&session, "/account").json()["id"].as_str().expect("an id").to_owned();
        let (mut last, mut body) = everybody.prepared(route, "superadmin", &session);
        match route {
            "app.rename" => body = Some(json!({ "name": format!("{app}-b") })),
            "job.cancel" => last = waiting(site),
            _ => {}
        }
        let mut asked = path.replace("{app}", &app).replace("{tenant}", "acme");
        if let (Some(at), Some(end)) = (asked.find('{'), asked.find('}')) {
            asked.replace_range(at..=end, &last);
        } else if path.contains("{app}") {
            last.clone_from(&app);
        } else if path.contains("{tenant}") {
            "acme".clone_into(&mut last);
        }
        let bearer = format!("Bearer {session}");
        let (header, principal) = match route {
            "node.join" => (("X-Cluster-Token", &*everybody.node), "token:".to_owned()),
            "session.login" => (("Accept", "*/*"), "user:".to_owned()),
            _ => (("Authorization", &*bearer), format!("user:{account}")),
        };
        let answer = send(site, route, &method, &asked, &[header], body.as_ref());
        assert!((200..300).contains(&answer.status), "{route}: {answer:?}");
        let app = path.contains("{app}").then_some(app);
        Self { route, answer, principal, app, target, last: last.replace("%2F", "/") }
    }

    fn check(&self, entries: &[Value]) -> Result<(), String> {
        let [entry] = entries else {
            return Err(format!("{}: {} entries: {entries:#?}", self.route, entries.len()));
        };
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let target = match self.target {
            Target::Path => Some(self.last.clone()),
            Target::Answer(field) => {
                let body = self.answer.json();
                let named = body.pointer(field).unwrap_or_else(|| panic!("{}: {body}", self.route));
                Some(named.as_str().map_or_else(|| named.to_string(), str::to_owned))
            }
            Target::Caller => self.principal.split_once(':').map(|(_, id)| id.to_owned()),
            Target::Text(text) => Some(text.to_owned()),
            Target::Some => entry["target"]
                .as_str()
                .filter(|target| !target.is_empty())
                .map_or(Some("something".to_owned()), |target| Some(target.to_owned())),
            Target::None => None,
        };
        let is_right = text("action") == self.route
            && text("outcome") == "ok"
            && text("address") == "127.0.0.1"
            && text("principal").starts_with(&self.principal)
            && entry["target"].as_str() == target.as_deref()
            // One that is renamed may be told of under either name.
            && (self.app.is_none() || entry["tenantId"] == "acme" && (entry["app"] == json!(self.app) || self.route == "app.rename"));
        if is_right {
            Ok(())
        } else {
            Err(format!("{} by {} to {target:?}: {entry}", self.route, self.principal))
        }
    }
}

#[test]
fn each_route_that_changes_something_leaves_one_entry() {
    let everybody = Everybody::new();
    let mut changing: Vec<_> = streamhub_server::policies()
        .iter()
        .filter(|(method, ..)| *method != "GET")
        .map(|(_, _, name, _)| *name)
        .collect();
    changing.sort_unstable();
    let mut written: Vec<_> = ROUTES.iter().map(|(name, _)| *name).chain(OTHERS.iter().copied()).collect();
    written.sort_unstable();
    assert_eq!(written, changing);

    let asked: Vec<_> = ROUTES.iter().map(|(route, target)| Asked::of(&everybody, route, *target)).collect();
    // What an app's outbox holds is shipped in its order, so when this one is there all before it are.
    let last = send(
        &everybody.site,
        "last",
        "POST",
        "/apps/news-24/usage",
        &[("Authorization", &format!("Bearer {}", everybody.site.root))],
        Some(&json!({ "egressBytes": 1 })),
    );
    assert_eq!(last.status, 204);
    let mut requests: Vec<_> = ROUTES.iter().map(|(route, _)| *route).collect();
    requests.push("last");
    let entries = entries(&everybody.site, &requests);
    let wrong: Vec<_> = asked.iter().filter_map(|asked| asked.check(&entries[asked.route]).err()).collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), asked.len(), wrong.join("\n"));
    let set_up = entries
        .values()
        .flatten()
        .filter(|entry| entry["action"] == "setup.redeem" && entry["outcome"] == "ok");
    assert_eq!(set_up.count(), 1);
}

#[test]
fn what_is_refused_leaves_one_entry_that_says_why() {
    let everybody = Everybody::new();
    let site = &everybody.site;
    let viewer = format!("Bearer {}", everybody.credential("viewer", "news-24"));
    let root = format!("Bearer {}", site.root);
    // In the trash, and not what it was.
    site.app("acme", "spoilt-1");
    assert_eq!(site.ask("DELETE", "/apps/spoilt-1", &site.root, None).status, 200);
    let trash = site.data_dir().join("apps/.trash");
    let spoilt = fs::read_dir(&trash).expect("a trash").next().expect("an app").expect("an entry").path();
    fs::write(spoilt.join("app.db"), "not a database").expect("a file");
    fs::create_dir(site.data_dir().join("apps/in-the-way")).expect("a directory");

    let cases = [
        (
            "stream.start",
            "POST",
            "/apps/news-24/streams",
            &viewer,
            Some(json!({ "streamId": "a", "type": "rtmp" })),
            403,
            "denied",
        ),
        ("app.create", "POST", "/apps", &root, Some(json!({ "name": "news-24" })), 409, "refused"),
        ("app.create", "POST", "/apps", &root, Some(json!({ "name": "in-the-way" })), 409, "refused"),
        ("vod.update", "PATCH", "/apps/news-24/vods/99", &root, Some(json!({ "name": "a" })), 404, "refused"),
        ("user.create", "POST", "/users", &root, Some(json!({ "email": 7 })), 400, "refused"),
        // It is begun and taken back.
        ("app.undelete", "POST", "/trash/spoilt-1/restore", &root, Some(json!({})), 503, "failed"),
    ];
    let mut requests = Vec::new();
    for (number, (route, method, path, bearer, body, status, _)) in cases.iter().enumerate() {
        let id = format!("refused-{number}");
        let answer = send(site, &id, method, path, &[("Authorization", bearer)], body.as_ref());
        assert_eq!(answer.status, *status, "{route}: {answer:?}");
        requests.push(id);
    }
    let entries = entries(site, &requests.iter().map(String::as_str).collect::<Vec<_>>());
    for ((route, .., status, outcome), request) in cases.iter().zip(&requests) {
        let [entry] = &*entries[request] else { panic!("{route}: {:#?}", entries[request]) };
        let detail = entry["detailJson"].as_str().unwrap_or_default();
        assert_eq!((&entry["action"], &entry["outcome"]), (&json!(route), &json!(outcome)), "{entry}");
        assert!(detail.contains("\"code\":"), "{status}: {entry}");
        assert_eq!(entry["address"], "127.0.0.1");
    }
}

#[test]
fn it_says_what_somebody_was_given() {
    let site = Site::new();
    site.made("/tenants", &json!({ "id": "acme" }));
    let person = site.made("/users", &json!({ "email": "ana@example.org", "password": PASSWORD }));
    let member = json!({ "user": person["id"], "role": "viewer" });
    site.made("/tenants/acme/members", &member);
    let change = json!({ "plan": "pro", "quotas": { "maxApps": 3 } });
    assert_eq!(site.ask("PATCH", "/tenants/acme", &site.root, Some(&change)).status, 200);
    let audit = site.get(&site.root, "/audit").json();
    let detail = |action: &str| -> Value {
        let all = audit["entries"].as_array().expect("entries");
        let entry = all.iter().find(|entry| entry["action"] == action).expect(action);
        serde_json::from_str(entry["detailJson"].as_str().expect("a detail")).expect("JSON")
    };
    assert_eq!(detail("member.add")["role"], "viewer");
    let given = detail("tenant.update");
    assert_eq!(
        (&given["plan"], &given["quotas"], &given["name"]),
        (&json!("pro"), &json!({ "maxApps": 3 }), &Value::Null)
    );
}

#[test]
fn an_app_comes_back_although_somebody_elses_of_its_name_was_deleted_since() {
    let site = Site::new();
    for tenant in ["acme", "beta"] {
        site.made("/tenants", &json!({ "id": tenant }));
    }
    let ana = site.person("ana@example.org", Some(("acme", "owner")));
    for tenant in ["acme", "beta"] {
        site.app(tenant, "news-24");
        assert_eq!(site.ask("DELETE", "/apps/news-24", &site.root, None).status, 200);
    }
    let back = site.ask("POST", "/trash/news-24/restore", &ana, None);
    assert_eq!((back.status, &back.json()["tenantId"]), (200, &json!("acme")));
    // Its name is taken by then, and no other of that name is the caller's.
    assert_eq!(site.ask("POST", "/trash/news-24/restore", &ana, None).status, 404);
    assert_eq!(site.ask("POST", "/trash/news-24/restore", &site.root, None).status, 409);
}

#[test]
fn a_deleted_app_whose_name_is_taken_does_not_come_back_and_says_why() {
    let site = Site::new();
    site.app("platform", "news-24");
    assert_eq!(site.ask("DELETE", "/apps/news-24", &site.root, None).status, 200);
    site.app("platform", "news-24");
    let refused = site.ask("POST", "/trash/news-24/restore", &site.root, None);
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("name_taken")));
    let renamed = site.post(&site.root, "/apps/news-24/rename", &json!({ "name": "news-25" }));
    assert_eq!(renamed.status, 200, "{renamed:?}");
    assert_eq!(site.ask("POST", "/trash/news-24/restore", &site.root, None).status, 200);
}
