//! Who may what: every kind of principal asks for every route, and each answer is compared with what is
//! written here by hand.
//!
//! What is there belongs to the tenant `acme`; `stranger` and `other-app` belong to another.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use streamhub_tests::command::Streamhub;
use tempfile::TempDir;

use super::{PASSWORD, Site, unique};

/// The columns.
const PRINCIPALS: [&str; 16] = [
    "anonymous",
    "garbage",
    "revoked",
    "elsewhere",
    "superadmin",
    "platform",
    "owner",
    "editor",
    "viewer",
    "stranger",
    "nobody",
    "tenant",
    "app",
    "other-app",
    "node",
    "local",
];

/// What each principal gets of a kind of route: `+` what it asked for, and else the status without its first `40`.
const RULES: &[(&str, &str)] = &[
    //                 no, garbage, revoked, elsewhere | superadmin, platform | owner, editor, viewer |
    //                 stranger, nobody | tenant, app, other-app, node | a command on this machine
    ("public", "++++ ++ +++ ++ ++++ +"),
    ("authenticated", "1111 ++ +++ ++ ++++ +"),
    ("session", "1111 +3 +++ ++ 3333 3"),
    ("platform", "1111 ++ 333 33 3333 +"),
    ("owner somewhere", "1111 ++ +33 +3 3333 +"),
    ("tenant: any role", "1111 ++ +++ 44 +444 +"),
    ("tenant: owner", "1111 ++ +33 44 3444 +"),
    ("app: read", "1111 ++ +++ 44 ++44 +"),
    ("app: write", "1111 ++ ++3 44 ++44 +"),
    ("app: owner", "1111 ++ +33 44 3344 +"),
    // Of a job of the app: what is there is seen by those who see the app.
    ("job: read", "1111 ++ +++ 44 ++44 +"),
    ("job: write", "1111 ++ ++3 44 ++44 +"),
    ("node", "1111 11 111 11 111+ 1"),
    ("never", "1111 11 111 11 1111 1"),
];

/// What the rule of each route is.
const ROUTES: &[(&str, &str)] = &[
    ("server.health", "public"),
    ("server.ready", "public"),
    ("server.openapi", "public"),
    ("server.docs", "public"),
    ("server.metrics", "platform"),
    // The set-up token counts no more once there is a superadmin.
    ("setup.redeem", "never"),
    ("session.login", "public"),
    ("session.logout", "session"),
    ("session.list", "session"),
    ("session.revoke-all", "session"),
    ("session.revoke", "session"),
    ("account.show", "session"),
    ("account.change", "session"),
    ("account.change-password", "session"),
    ("tenant.list", "owner somewhere"),
    ("tenant.create", "platform"),
    ("tenant.show", "tenant: owner"),
    ("tenant.update", "tenant: owner"),
    ("tenant.usage", "tenant: any role"),
    ("tenant.usage-history", "tenant: any role"),
    ("usage.meter", "app: write"),
    ("member.list", "tenant: owner"),
    ("member.add", "tenant: owner"),
    ("member.change", "tenant: owner"),
    ("member.remove", "tenant: owner"),
    ("user.list", "platform"),
    ("user.create", "platform"),
    ("user.show", "platform"),
    ("user.set-status", "platform"),
    ("user.delete", "platform"),
    ("token.list", "owner somewhere"),
    ("token.create", "owner somewhere"),
    ("token.revoke", "owner somewhere"),
    ("app.list", "authenticated"),
    ("app.create", "owner somewhere"),
    ("app.show", "app: read"),
    ("app.update", "app: write"),
    ("app.delete", "app: owner"),
    ("app.rename", "app: owner"),
    ("app.show-config", "app: read"),
    ("app.configure", "app: write"),
    ("stream.list", "app: read"),
    ("stream.start", "app: write"),
    ("stream.show", "app: read"),
    ("stream.end", "app: write"),
    ("vod.list", "app: read"),
    ("vod.create", "app: write"),
    ("vod.show", "app: read"),
    ("vod.update", "app: write"),
    ("vod.delete", "app: write"),
    ("ingress.list", "app: read"),
    ("ingress.create", "app: write"),
    ("ingress.show", "app: read"),
    ("ingress.delete", "app: write"),
    ("server.stats", "authenticated"),
    ("app.stats", "app: read"),
    ("app.seal", "app: owner"),
    ("app.adopt", "platform"),
    ("app.undelete", "owner somewhere"),
    ("trash.list", "owner somewhere"),
    ("db.health", "app: read"),
    ("db.optimize", "app: write"),
    ("db.check", "app: write"),
    ("db.checkpoint", "app: write"),
    ("db.purge", "app: owner"),
    ("db.backups", "app: read"),
    ("job.list", "authenticated"),
    ("job.show", "job: read"),
    ("job.follow", "job: read"),
    ("job.cancel", "job: write"),
    ("log.list", "authenticated"),
    ("log.list-app", "app: read"),
    ("log.prune", "platform"),
    ("audit.prune", "platform"),
    ("user.reset-password", "platform"),
    ("user.remove-second-factor", "platform"),
    ("node.create", "platform"),
    ("audit.list", "owner somewhere"),
    ("node.join", "node"),
    ("node.heartbeat", "node"),
    ("node.list", "platform"),
    ("node.set-status", "platform"),
    ("node.delete", "platform"),
    ("system.db-health", "platform"),
    ("system.sizes", "platform"),
    ("system.settings", "platform"),
];

/// A site with one of each kind of principal.
pub(super) struct Everybody {
    pub(super) site: Site,
    pub(super) node: String,
    /// Another installation.
    elsewhere: TempDir,
}

impl Everybody {
    pub(super) fn new() -> Self {
        let site = Site::new();
        site.tenant("acme");
        site.tenant("globex");
        site.app("acme", "news-24");
        site.app("globex", "radio-1");
        let node = site.token(&json!({ "name": "node", "scope": "node" }));
        let heard = [("X-Cluster-Token", node.as_str()), ("Content-Type", "application/json")];
        let joined = site.server.request(
            "POST",
            "/api/v1/cluster/join",
            &heard,
            &json!({ "name": "edge" }).to_string(),
        );
        assert_eq!(joined.status, 200, "{joined:?}");
        Self { site, node, elsewhere: tempfile::tempdir().expect("a directory") }
    }

    /// A credential of a principal that asks for nothing else with it, since some routes end sessions.
    pub(super) fn credential(&self, principal: &str, app: &str) -> String {
        let site = &self.site;
        let person = |role| site.person(&format!("p{}@example.org", unique()), role);
        let token = |new: Value| site.token(&new);
        match principal {
            "anonymous" => String::new(),
            "garbage" => "sk_garbage".to_owned(),
            "revoked" => {
                let made = site.made("/tokens", &json!({ "name": "t", "scope": "global" }));
                let revoked = site.ask("DELETE", &format!("/tokens/{}", made["id"]), &site.root, None);
                assert_eq!(revoked.status, 204);
                made["token"].as_str().expect("a token").to_owned()
            }
            "elsewhere" => token(
                json!({ "name": "t", "scope": "global", "allowedIps": ["192.0.2.0/24", "2001:db8::/32"] }),
            ),
            "superadmin" => {
                let email = format!("s{}@example.org", unique());
                site.made("/users", &json!({ "email": email, "password": PASSWORD, "isSuperadmin": true }));
                site.log_in(&email)
            }
            "platform" => token(json!({ "name": "t", "scope": "global" })),
            "owner" => person(Some(("acme", "owner"))),
            "editor" => person(Some(("acme", "editor"))),
            "viewer" => person(Some(("acme", "viewer"))),
            "stranger" => person(Some(("globex", "owner"))),
            "nobody" => person(None),
            "tenant" => token(json!({ "name": "t", "scope": "global", "tenantId": "acme" })),
            "app" => token(json!({ "name": "t", "scope": "app", "app": app })),
            "other-app" => token(json!({ "name": "t", "scope": "app", "app": "radio-1" })),
            "node" => self.node.clone(),
            "local" => {
                let said = std::fs::read(site.data_dir().join("streamhub.server.json")).expect("a file");
                let said: Value = serde_json::from_slice(&said).expect("JSON");
                said["token"].as_str().expect("a token").to_owned()
            }
            other => panic!("{other} is no principal"),
        }
    }

    /// What has to be there before a route is asked for, the last part of its path, and its body. The tenant is
    /// the caller's own where it names one.
    #[allow(clippy::too_many_lines, reason = "one arm for each route that needs something")]
    pub(super) fn prepared(&self, route: &str, principal: &str, credential: &str) -> (String, Option<Value>) {
        let site = &self.site;
        let number = unique();
        let tenant = if principal == "stranger" { "globex" } else { "acme" };
        let id = |made: Value, field: &str| match &made[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let user = || format!("u{number}@example.org");
        let new_user = || site.made("/users", &json!({ "email": user(), "password": PASSWORD }));
        let stream = |id: &str| json!({ "streamId": id, "type": "rtmp" });
        match route {
            "setup.redeem" => {
                (String::new(), Some(json!({ "token": "x", "email": user(), "password": PASSWORD })))
            }
            "session.login" => {
                (String::new(), Some(json!({ "email": "root@example.org", "password": PASSWORD })))
            }
            "session.revoke" => {
                let listed = site.get(credential, "/auth/sessions");
                let listed = if listed.status == 200 { listed.json() } else { Value::Null };
                (listed["data"][0]["id"].as_str().unwrap_or("ses_none").to_owned(), None)
            }
            "account.change" => (String::new(), Some(json!({ "name": "Somebody" }))),
            "account.change-password" => {
                (String::new(), Some(json!({ "oldPassword": PASSWORD, "newPassword": PASSWORD })))
            }
            "tenant.create" => (String::new(), Some(json!({ "id": format!("t{number}") }))),
            "tenant.update" => (String::new(), Some(json!({ "name": "Acme" }))),
            "member.add" => (String::new(), Some(json!({ "user": id(new_user(), "id"), "role": "viewer" }))),
            "member.change" | "member.remove" => {
                new_user();
                let member = site.made("/tenants/acme/members", &json!({ "user": user(), "role": "viewer" }));
                let body = (route == "member.change").then(|| json!({ "role": "editor" }));
                (id(member, "userId"), body)
            }
            "user.create" => (String::new(), Some(json!({ "email": user() }))),
            "user.show" | "user.delete" | "user.reset-password" | "user.remove-second-factor" => {
                (id(new_user(), "id"), None)
            }
            "user.set-status" => (id(new_user(), "id"), Some(json!({ "status": "disabled" }))),
            "token.create" => {
                (String::new(), Some(json!({ "name": "t", "scope": "global", "tenantId": tenant })))
            }
            "token.revoke" => {
                let new = json!({ "name": "t", "scope": "global", "tenantId": tenant });
                (id(site.made("/tokens", &new), "id"), None)
            }
            "app.create" => {
                (String::new(), Some(json!({ "name": format!("app-{number}"), "tenantId": tenant })))
            }
            "app.update" => (String::new(), Some(json!({ "displayName": "News" }))),
            "app.configure" => (String::new(), Some(json!({ "recording": { "enabled": true } }))),
            "stream.start" => (String::new(), Some(stream(&format!("live/{number}")))),
            "stream.show" | "stream.end" => {
                site.made("/apps/news-24/streams", &stream(&format!("live/{number}")));
                (format!("live%2F{number}"), None)
            }
            "vod.create" => (String::new(), Some(json!({ "name": "a.mp4" }))),
            "vod.show" | "vod.delete" | "vod.update" => {
                let made = site.made("/apps/news-24/vods", &json!({ "name": "a.mp4" }));
                (id(made, "id"), (route == "vod.update").then(|| json!({ "status": "ready" })))
            }
            "usage.meter" => (String::new(), Some(json!({ "egressBytes": 1 }))),
            "ingress.create" => (String::new(), Some(json!({}))),
            "ingress.show" | "ingress.delete" => {
                (id(site.made("/apps/news-24/ingress", &json!({})), "ingressId"), None)
            }
            "db.purge" => (String::new(), Some(json!({ "scope": "logs", "confirm": true }))),
            "job.show" | "job.follow" | "job.cancel" => {
                let started = site.post(&site.root, "/apps/news-24/db/checkpoint", &json!({}));
                assert_eq!(started.status, 202, "{started:?}");
                let job = id(started.json()["data"].clone(), "id");
                // One that is over, so that those who follow it are not kept.
                while site.get(&site.root, &format!("/jobs/{job}")).json()["data"]["state"] != "succeeded" {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                (job, None)
            }
            "app.undelete" => {
                let name = format!("back-{number}");
                site.app(tenant, &name);
                assert_eq!(site.ask("DELETE", &format!("/apps/{name}"), &site.root, None).status, 200);
                (name, None)
            }
            "app.adopt" => {
                let may = ["superadmin", "platform", "local"].contains(&principal);
                let dir = if may { self.sealed(number) } else { "/nowhere".to_owned() };
                (String::new(), Some(json!({ "dir": dir, "tenantId": "acme" })))
            }
            "log.prune" | "audit.prune" => (String::new(), Some(json!({ "before": "2020-01-01" }))),
            "node.create" => (String::new(), Some(json!({ "name": format!("edge-{number}") }))),
            "node.join" => (String::new(), Some(json!({ "name": "edge" }))),
            "node.heartbeat" | "node.set-status" | "node.delete" => {
                let heard = [("X-Cluster-Token", self.node.as_str()), ("Content-Type", "application/json")];
                let join = json!({ "name": format!("edge-{number}") }).to_string();
                let joined = site.server.request("POST", "/api/v1/cluster/join", &heard, &join).json();
                let id = id(joined, "nodeId");
                match route {
                    "node.heartbeat" => (String::new(), Some(json!({ "nodeId": id, "stats": {} }))),
                    "node.set-status" => (id, Some(json!({ "status": "draining" }))),
                    _ => (id, None),
                }
            }
            _ => (String::new(), None),
        }
    }

    /// The sealed directory of an app of another installation.
    fn sealed(&self, number: u64) -> String {
        let name = format!("moved-{number}");
        let elsewhere = Streamhub::new(self.elsewhere.path().join("data"));
        let _ = elsewhere.run(["app", "create", &name]).expect(0);
        let _ = elsewhere.run(["app", "seal", &name]).expect(0);
        self.elsewhere.path().join("data/apps").join(name).display().to_string()
    }

    /// An app of its own for routes after which it is no longer there.
    pub(super) fn app_for(&self, route: &str) -> String {
        if !matches!(route, "app.delete" | "app.rename") {
            return "news-24".to_owned();
        }
        let name = format!("gone-{}", unique());
        self.site.app("acme", &name);
        name
    }

    fn ask(&self, method: &str, path: &str, credential: &str, body: Option<&Value>) -> (u16, String) {
        let response = if path.starts_with("/cluster/join") || path.starts_with("/cluster/heartbeat") {
            let mut headers = vec![("Content-Type", "application/json")];
            if !credential.is_empty() {
                headers.push(("X-Cluster-Token", credential));
            }
            let body = body.map(Value::to_string).unwrap_or_default();
            self.site.server.request(method, &format!("/api/v1{path}"), &headers, &body)
        } else {
            self.site.ask(method, path, credential, body)
        };
        (response.status, response.body)
    }
}

/// What a principal is to get, by the rule of the route: `+`, or a status.
fn expected(rule: &str, column: usize) -> Option<u16> {
    let row = RULES.iter().find(|(name, _)| *name == rule).unwrap_or_else(|| panic!("{rule} is no rule")).1;
    let cell = row.chars().filter(|cell| *cell != ' ').nth(column).expect("a cell for each principal");
    cell.to_digit(10).map(|digit| 400 + u16::try_from(digit).expect("a digit"))
}

#[test]
fn everybody_gets_of_every_route_what_is_written_here() {
    let everybody = Everybody::new();
    let listed = streamhub_server::policies();
    let named: BTreeSet<_> = listed.iter().map(|(_, _, name, _)| *name).collect();
    let written: BTreeSet<_> = ROUTES.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, written, "each route has a rule here, and each rule a route");
    assert_eq!(named.len(), listed.len(), "no two routes have one name");

    let (mut cells, mut wrong) = (0, Vec::new());
    for (method, path, name, _) in &listed {
        let rule = ROUTES.iter().find(|(route, _)| route == name).expect("compared above").1;
        for (column, principal) in PRINCIPALS.iter().enumerate() {
            let app = everybody.app_for(name);
            let credential = everybody.credential(principal, &app);
            let (last, mut body) = everybody.prepared(name, principal, &credential);
            if *name == "app.rename" {
                body = Some(json!({ "name": format!("{app}-b") }));
            }
            let mut asked = path.replace("{app}", &app).replace("{tenant}", "acme");
            if let (Some(at), Some(end)) = (asked.find('{'), asked.find('}')) {
                asked.replace_range(at..=end, &last);
            }
            let (status, answer) = everybody.ask(method, &asked, &credential, body.as_ref());
            let right = match expected(rule, column) {
                Some(refusal) => status == refusal,
                None => (200..300).contains(&status),
            };
            if !right {
                wrong.push(format!("{principal} {method} {asked}: {status} by {rule}: {answer}"));
            }
            cells += 1;

            // What is not there is answered as what may not be seen.
            if path.contains("{app}") || path.contains("{tenant}") {
                let missing = path.replace("{app}", "no-such-app").replace("{tenant}", "no-such-tenant");
                let missing = match (missing.find('{'), missing.find('}')) {
                    (Some(at), Some(end)) => format!("{}{last}{}", &missing[..at], &missing[end + 1..]),
                    _ => missing,
                };
                let (status, answer) = everybody.ask(method, &missing, &credential, body.as_ref());
                let due = if column < 4 { 401 } else { 404 };
                if status != due {
                    wrong
                        .push(format!("{principal} {method} {missing}: {status} instead of {due}: {answer}"));
                }
                cells += 1;
            }
        }
    }
    #[allow(clippy::print_stdout, reason = "how many cells there are is part of the proof")]
    {
        println!(
            "authorisation matrix: {cells} cells, {} routes, {} principals",
            listed.len(),
            PRINCIPALS.len()
        );
    }
    assert!(wrong.is_empty(), "{} of {cells} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(everybody.site.server.stop().success());
}
