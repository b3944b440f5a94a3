//! What clients ask of a server that is about to be killed: each route that changes something, and what the
//! audit has to say of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use streamhub_tests::command::Response;

use super::super::PASSWORD;

/// Numbers that follow from a seed.
pub(super) struct Dice(u64);

/// What there is: each thing by its noun and name, with what can change about it.
pub(super) type State = BTreeMap<String, String>;

/// What a request makes of what there is, once the audit says that it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Make,
    Set,
    /// So many more.
    Add,
    Remove,
    /// An app goes to the trash, and comes back.
    Trash,
    Restore,
    /// An app is called something else.
    Rename,
    /// A session ends, in which the request is sent.
    EndSession,
    /// Something that cannot be seen afterwards.
    Unseen,
    /// As that, and the audit says nothing of it where nothing changed.
    Quiet,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// What the server calls it too.
    pub(super) id: String,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// What the audit calls it.
    pub(super) action: &'static str,
    pub(super) effect: Effect,
    /// The noun of what it changes, and where that is.
    pub(super) noun: String,
    /// What it makes of that; the name that an app had.
    pub(super) value: String,
    /// A session's or a node's token; else it is the superadmin's.
    pub(super) credential: Option<String>,
    pub(super) answer: Option<Response>,
}

/// The routes that are asked for, and how often beside others.
pub(super) const ROUTES: &[(&str, u64)] = &[
    ("account.change", 2),
    ("account.change-password", 1),
    ("app.configure", 2),
    ("app.create", 4),
    ("app.delete", 2),
    ("app.rename", 3),
    ("app.seal", 1),
    ("app.undelete", 2),
    ("app.update", 2),
    ("audit.prune", 1),
    ("db.check", 1),
    ("db.checkpoint", 1),
    ("db.optimize", 1),
    ("db.purge", 1),
    ("ingress.create", 2),
    ("ingress.delete", 2),
    ("job.cancel", 1),
    ("log.prune", 1),
    ("member.add", 2),
    ("member.change", 2),
    ("member.remove", 2),
    ("node.create", 2),
    ("node.delete", 2),
    ("node.heartbeat", 1),
    ("node.join", 2),
    ("node.set-status", 2),
    ("session.login", 1),
    ("session.logout", 1),
    ("session.revoke", 1),
    ("session.revoke-all", 1),
    ("stream.end", 4),
    ("stream.start", 5),
    ("tenant.create", 2),
    ("tenant.update", 2),
    ("token.create", 2),
    ("token.revoke", 2),
    ("usage.meter", 4),
    ("user.create", 3),
    ("user.delete", 2),
    ("user.remove-second-factor", 1),
    ("user.reset-password", 1),
    ("user.set-status", 2),
    ("vod.create", 5),
    ("vod.delete", 3),
    ("vod.update", 3),
];

/// Routes that change something and are not asked for here.
pub(super) const NOT_ASKED: &[&str] = &[
    // Counts once in the life of an installation.
    "setup.redeem",
    // Needs a directory that somebody sealed; it is killed at each of its points in `hub::life`.
    "app.adopt",
];

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        let end = u64::try_from(all.len()).expect("a number");
        (end > 0).then(|| all[usize::try_from(self.below(end)).expect("an index")].clone())
    }

    pub(super) fn route(&mut self) -> &'static str {
        let mut at = self.below(ROUTES.iter().map(|(_, weight)| weight).sum());
        for (route, weight) in ROUTES {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return route,
            }
        }
        unreachable!("it is below their sum")
    }
}

impl Request {
    pub(super) fn is_answered(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.status < 500)
    }

    /// Whether its answer says that it was carried out; none where there is no answer.
    pub(super) fn is_done(&self) -> Option<bool> {
        let answer = self.answer.as_ref().filter(|answer| answer.status < 500)?;
        // Sent again, it may be the end of the session that it is sent in.
        if self.effect == Effect::EndSession && answer.status == 401 {
            return None;
        }
        // A job that was begun is told of, also where the kill ended it.
        Some(
            answer.status < 300
                || ["answer_lost", "interrupted"].iter().any(|code| answer.body.contains(code)),
        )
    }

    /// Whether it can be sent again with its key. Nobody is known to log in before it is done, so that each
    /// attempt is one of its own.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method == "POST" && self.action != "session.login"
    }

    /// The thing of this name that it changes.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{} {name}", self.noun)
    }
}

/// A request to a route, of what is known to be there; none where nothing is. `name` is one that nothing had
/// before. Apps that come and go are asked for by the client alone that made them, since what happens to
/// them happens in several steps.
#[allow(clippy::too_many_lines, reason = "an arm for each route")]
pub(super) fn request(
    route: &'static str,
    name: &str,
    client: usize,
    known: &State,
    dice: &mut Dice,
) -> Option<Request> {
    let number = dice.below(1_000_000) + 1;
    let mut pick = |noun: &str| {
        let names: Vec<&str> = known.keys().filter_map(|key| key.strip_prefix(noun)).collect();
        dice.of(&names).map(str::to_owned)
    };
    let own = format!("c{client}-");
    let mut own_app = |noun: &str| pick(&format!("{noun} {own}")).map(|rest| format!("{own}{rest}"));
    let made = |path: String, noun: &str, body: Value, value: &str| Request {
        id: name.to_owned(),
        method: "POST",
        path,
        body: Some(body),
        action: route,
        effect: Effect::Make,
        noun: noun.to_owned(),
        value: value.to_owned(),
        credential: None,
        answer: None,
    };
    let set = |path: String, noun: &str, body: Value, value: &str| Request {
        method: "PATCH",
        effect: Effect::Set,
        ..made(path, noun, body, value)
    };
    let removed = |path: String, noun: &str| Request {
        method: "DELETE",
        body: None,
        effect: Effect::Remove,
        ..made(path, noun, Value::Null, "")
    };
    let job = |app: String, work: &str, body: Value| Request {
        effect: Effect::Unseen,
        ..made(format!("/apps/{app}/db/{work}"), "job", body, "")
    };
    let home = |home: &str, rest: &str| format!("/apps/{home}/{rest}");
    let here = if name.ends_with(['0', '2', '4', '6', '8']) { "home-1" } else { "home-2" };
    let email = format!("{name}@example.org");
    Some(match route {
        "account.change" => set("/account".to_owned(), "account", json!({ "name": name }), name),
        "account.change-password" => Request {
            effect: Effect::Unseen,
            ..made(
                "/account/password".to_owned(),
                "account",
                json!({ "oldPassword": PASSWORD, "newPassword": PASSWORD }),
                "",
            )
        },
        "app.configure" => {
            set(home(here, "config"), &format!("config {here}"), json!({ "note": name }), name)
        }
        "app.create" => {
            let app = format!("{own}{name}");
            made("/apps".to_owned(), "app", json!({ "name": app, "tenantId": "acme" }), "")
        }
        "app.delete" => {
            Request { effect: Effect::Trash, ..removed(format!("/apps/{}", own_app("app")?), "app") }
        }
        "app.rename" => {
            let from = own_app("app")?;
            let body = json!({ "name": format!("{own}{name}") });
            Request { effect: Effect::Rename, ..made(format!("/apps/{from}/rename"), "app", body, &from) }
        }
        "app.seal" => Request {
            effect: Effect::Unseen,
            body: None,
            ..made(format!("/apps/{}/seal", own_app("app")?), "app", Value::Null, "")
        },
        "app.undelete" => Request {
            effect: Effect::Restore,
            body: None,
            ..made(format!("/trash/{}/restore", own_app("trash")?), "app", Value::Null, "")
        },
        "app.update" => {
            set(format!("/apps/{}", own_app("app")?), "app", json!({ "displayName": name }), name)
        }
        "audit.prune" | "log.prune" => {
            let path = format!("/{}", route.replace("log.", "logs.").replace('.', "/"));
            let body = json!({ "before": "2020-01-01T00:00:00.000Z" });
            Request { effect: Effect::Quiet, ..made(path, "", body, "") }
        }
        "db.check" | "db.checkpoint" | "db.optimize" => {
            job(own_app("app")?, route.strip_prefix("db.").expect("a job"), json!({ "force": true }))
        }
        "db.purge" => job(own_app("app")?, "purge", json!({ "scope": "all", "confirm": true })),
        "ingress.create" => {
            made(home(here, "ingress"), &format!("ingress {here}"), json!({ "room": name }), name)
        }
        "ingress.delete" => {
            let id = pick(&format!("ingress {here} "))?;
            removed(home(here, &format!("ingress/{id}")), &format!("ingress {here}"))
        }
        "job.cancel" => {
            Request { effect: Effect::Quiet, ..removed(format!("/jobs/{}", pick("job ")?), "job") }
        }
        "member.add" => {
            let body = json!({ "user": pick("user ")?, "role": "viewer" });
            made("/tenants/acme/members".to_owned(), "member acme", body, "viewer")
        }
        "member.change" => {
            let path = format!("/tenants/acme/members/{}", pick("member acme ")?);
            let role = if here == "home-1" { "editor" } else { "owner" };
            set(path, "member acme", json!({ "role": role }), role)
        }
        "member.remove" => removed(format!("/tenants/acme/members/{}", pick("member acme ")?), "member acme"),
        "node.create" => made("/cluster/nodes".to_owned(), "node", json!({ "name": name }), "active"),
        "node.join" => made("/cluster/join".to_owned(), "node", json!({ "name": name }), "active"),
        "node.heartbeat" => Request {
            effect: Effect::Quiet,
            ..made("/cluster/heartbeat".to_owned(), "node", json!({ "nodeId": pick("node ")? }), "")
        },
        "node.set-status" => {
            let path = format!("/cluster/nodes/{}", pick("node ")?);
            set(path, "node", json!({ "status": "draining" }), "draining")
        }
        "node.delete" => removed(format!("/cluster/nodes/{}", pick("node ")?), "node"),
        "session.login" => {
            let body = json!({ "email": "ana@example.org", "password": PASSWORD });
            Request { effect: Effect::Unseen, ..made("/auth/login".to_owned(), "", body, "") }
        }
        "session.logout" => Request {
            effect: Effect::EndSession,
            body: None,
            ..made("/auth/logout".to_owned(), "session", Value::Null, "")
        },
        "session.revoke" => {
            // Which one it is, is found out in it.
            Request { effect: Effect::EndSession, ..removed("/auth/sessions/{own}".to_owned(), "session") }
        }
        "session.revoke-all" => {
            Request { effect: Effect::EndSession, ..removed("/auth/sessions".to_owned(), "session") }
        }
        "stream.start" => {
            let body = json!({ "streamId": format!("live/{name}"), "type": "rtmp" });
            made(home(here, "streams"), &format!("stream {here}"), body, "")
        }
        "stream.end" => {
            let id = pick(&format!("stream {here} "))?.replace('/', "%2F");
            removed(home(here, &format!("streams/{id}")), &format!("stream {here}"))
        }
        "tenant.create" => made("/tenants".to_owned(), "tenant", json!({ "id": name }), name),
        "tenant.update" => {
            set(format!("/tenants/{}", pick("tenant ")?), "tenant", json!({ "name": name }), name)
        }
        "token.create" => {
            let body = json!({ "name": name, "scope": "global", "tenantId": "acme" });
            made("/tokens".to_owned(), "token", body, name)
        }
        "token.revoke" => removed(format!("/tokens/{}", pick("token ")?), "token"),
        "usage.meter" => {
            let body = json!({ "egressBytes": number });
            Request { effect: Effect::Add, ..made(home(here, "usage"), "egress", body, &number.to_string()) }
        }
        "user.create" => made("/users".to_owned(), "user", json!({ "email": email }), "active"),
        "user.delete" => removed(format!("/users/{}", pick("user ")?), "user"),
        "user.remove-second-factor" => Request {
            effect: Effect::Quiet,
            ..removed(format!("/users/{}/second-factor", pick("user ")?), "user")
        },
        "user.reset-password" => Request {
            effect: Effect::Unseen,
            ..made(format!("/users/{}/password", pick("user ")?), "user", json!({ "password": PASSWORD }), "")
        },
        "user.set-status" => {
            let status = if here == "home-1" { "active" } else { "disabled" };
            set(format!("/users/{}", pick("user ")?), "user", json!({ "status": status }), status)
        }
        "vod.create" => made(home(here, "vods"), &format!("vod {here}"), json!({ "name": name }), name),
        "vod.update" => {
            let id = pick(&format!("vod {here} "))?;
            set(home(here, &format!("vods/{id}")), &format!("vod {here}"), json!({ "name": name }), name)
        }
        "vod.delete" => {
            let id = pick(&format!("vod {here} "))?;
            removed(home(here, &format!("vods/{id}")), &format!("vod {here}"))
        }
        other => panic!("{other} is not asked for"),
    })
}
