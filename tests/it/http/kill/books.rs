//! What there is, and what the audit says of how it came to be: both have to agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::Site;
use super::asking::{Effect, Request, State};

/// The bytes that were sent for the tenant, as they are named here.
const EGRESS: &str = "egress acme";

/// What the audit said already.
#[derive(Default)]
pub(super) struct Books {
    /// What there was when the audit was read last.
    pub(super) state: State,
    /// The names for people of apps that are in the trash.
    kept: State,
    last: i64,
    since: String,
}

/// The entries of a list, however long.
fn all(site: &Site, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let page = site.get(&site.root, &format!("{path}?limit=1000&offset={}", found.len()));
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let Value::Array(data) = page.json()["data"].take() else { panic!("{path}: no list") };
        let is_last = data.len() < 1000;
        found.extend(data);
        if is_last {
            return found;
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What there is, as the server says.
pub(super) fn observed(site: &Site) -> State {
    let mut state = State::new();
    let mut add = |noun: &str, path: &str, name: &str, value: &str, is_one: &dyn Fn(&Value) -> bool| {
        for thing in all(site, path).iter().filter(|thing| is_one(thing)) {
            let value = if value.is_empty() { String::new() } else { text(&thing[value]) };
            let doubled = state.insert(format!("{noun} {}", text(&thing[name])), value);
            assert_eq!(doubled, None, "{noun}: there twice: {thing}");
        }
    };
    let any = |_: &Value| true;
    add("tenant", "/tenants", "id", "name", &|tenant| !["platform", "acme"].contains(&&*text(&tenant["id"])));
    add("user", "/users", "id", "status", &|user| {
        !["root@example.org", "ana@example.org"].contains(&&*text(&user["email"]))
    });
    add("member acme", "/tenants/acme/members", "userId", "role", &any);
    add("token", "/tokens", "id", "name", &|token| token["revoked"] == false && token["name"] != "node");
    add("node", "/cluster/nodes", "id", "status", &any);
    add("app", "/apps", "name", "displayName", &|app| !text(&app["name"]).starts_with("home-"));
    add("trash", "/trash", "name", "", &any);
    for home in ["home-1", "home-2"] {
        let path = |noun: &str| format!("/apps/{home}/{noun}");
        add(&format!("stream {home}"), &path("streams"), "streamId", "", &|stream| {
            stream["status"] == "active"
        });
        add(&format!("vod {home}"), &path("vods"), "id", "name", &any);
        add(&format!("ingress {home}"), &path("ingress"), "ingressId", "room", &any);
    }
    for home in ["home-1", "home-2"] {
        let config = site.get(&site.root, &format!("/apps/{home}/config")).json();
        state.insert(format!("config {home} config.yaml"), text(&config["note"]));
    }
    let metered = all(site, "/tenants/acme/usage/history");
    let of_egress = metered.iter().filter(|reading| reading["metric"] == "egress_bytes");
    let egress: u64 = of_egress.map(|reading| reading["amount"].as_u64().expect("a number")).sum();
    state.insert(EGRESS.to_owned(), egress.to_string());
    let account = site.get(&site.root, "/account").json();
    state.insert(format!("account {}", text(&account["id"])), text(&account["name"]));
    state
}

impl Books {
    pub(super) fn open(site: &Site) -> Self {
        let mut books = Self { state: observed(site), ..Self::default() };
        let entries = books.entries(site);
        (books.last, books.since) = latest(&entries);
        books
    }

    /// What the audit says since it was read last, in the order in which it happened.
    fn entries(&self, site: &Site) -> Vec<Value> {
        let (mut entries, mut cursor) = (Vec::new(), String::new());
        loop {
            let since = if self.since.is_empty() { String::new() } else { format!("&since={}", self.since) };
            let part = site.get(&site.root, &format!("/audit?limit=1000{since}{cursor}"));
            assert_eq!(part.status, 200, "{part:?}");
            let mut part = part.json();
            let Value::Array(of_part) = part["entries"].take() else { panic!("no list") };
            entries.extend(of_part);
            match part["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        entries.retain(|entry| entry["id"].as_i64().is_some_and(|id| id > self.last));
        entries.sort_by_key(|entry| entry["id"].as_i64());
        entries
    }

    /// Compares what there is with what the audit says, and keeps the audit's account where they agree.
    pub(super) fn compare(&mut self, site: &Site, requests: &[Request]) -> Result<(), String> {
        let entries = self.entries(site);
        if let Some(begun) = entries.iter().find(|entry| entry["outcome"] == "begun") {
            return Err(format!("begun and not ended: {begun}"));
        }
        let by_id: BTreeMap<&str, &Request> = requests.iter().map(|asked| (&*asked.id, asked)).collect();
        let (mut state, mut kept, mut done) = (self.state.clone(), self.kept.clone(), BTreeMap::new());
        for entry in entries.iter().filter(|entry| entry["outcome"] == "ok") {
            let detail: Value = serde_json::from_str(&text(&entry["detailJson"])).unwrap_or_default();
            let Some(request) = by_id.get(&*text(&detail["requestId"])) else { continue };
            if entry["action"] == request.action {
                *done.entry(&*request.id).or_insert(0) += 1;
                carried_out(&mut state, &mut kept, request, &text(&entry["target"]))
                    .map_err(|wrong| format!("{wrong}: {entry}, {request:?}"))?;
            }
        }
        for request in requests {
            let entries = done.get(&*request.id).copied().unwrap_or(0);
            let is_right = match (request.is_done(), request.effect) {
                (_, Effect::Quiet) => true,
                (Some(true), _) => entries == 1,
                (Some(false), _) => entries == 0,
                (None, _) => entries <= 1,
            };
            if !is_right {
                return Err(format!("{entries} entries that it was done: {request:?}"));
            }
            if request.effect == Effect::EndSession
                && let Some(session) = &request.credential
            {
                let is_over = site.get(session, "/account").status == 401;
                // Another request may have ended all of them.
                if entries == 1 && !is_over {
                    return Err(format!("the session is not over: {request:?}"));
                }
            }
        }
        let there = observed(site);
        if there != state {
            let [there, told] = [&there, &state].map(|state| state.iter().collect::<BTreeSet<_>>());
            let (more, less): (Vec<_>, Vec<_>) =
                (there.difference(&told).collect(), told.difference(&there).collect());
            return Err(format!("there and not told of: {more:?}; told of and not there: {less:?}"));
        }
        let usage = site.get(&site.root, "/tenants/acme/usage").json();
        let counted = |noun: &str| state.keys().filter(|key| key.starts_with(noun)).count();
        let due = (counted("stream "), counted("app ") + 2);
        let used = |metric: &str| usage["usage"][metric].as_u64().and_then(|used| usize::try_from(used).ok());
        if (used("concurrentStreams"), used("apps")) != (Some(due.0), Some(due.1)) {
            return Err(format!("{due:?} streams and apps, and reserved: {usage}"));
        }
        let (last, since) = latest(&entries);
        if last > 0 {
            (self.last, self.since) = (last, since);
        }
        (self.state, self.kept) = (state, kept);
        Ok(())
    }
}

/// The number of the last entry, and a time before which none comes any more.
fn latest(entries: &[Value]) -> (i64, String) {
    let last = entries.last().and_then(|entry| entry["id"].as_i64()).unwrap_or(0);
    // What an app's outbox held may be older than what was written beside it.
    let earliest = entries.iter().map(|entry| text(&entry["at"])).min().unwrap_or_default();
    (last, earliest)
}

/// What a request that was carried out has made of what there was.
fn carried_out(
    state: &mut State,
    kept: &mut State,
    request: &Request,
    target: &str,
) -> Result<(), &'static str> {
    let (key, value) = (request.key(target), request.value.clone());
    let trashed = format!("trash {target}");
    match request.effect {
        Effect::Make => {
            if request
                .answer
                .as_ref()
                .is_some_and(|answer| answer.status < 300 && !answer.body.contains(target))
            {
                return Err("the answer shows something else");
            }
            state.insert(key, value).map_or(Ok(()), |_| Err("made twice"))?;
        }
        Effect::Set => {
            state.insert(key, value).ok_or("changed and not there")?;
        }
        Effect::Add => {
            let number = |text: &str| text.parse::<u64>().expect("a number");
            let before = state.get(EGRESS).map_or(0, |before| number(before));
            state.insert(EGRESS.to_owned(), (before + number(&value)).to_string());
        }
        Effect::Remove => {
            let was_there = state.remove(&key).is_some();
            // A token that is revoked may be revoked again, and a stream ended.
            if !was_there && request.noun != "token" && !request.noun.starts_with("stream ") {
                return Err("removed and not there");
            }
            if request.noun == "user" {
                state.remove(&format!("member acme {target}"));
            }
        }
        Effect::Trash => {
            kept.insert(key.clone(), state.remove(&key).ok_or("deleted and not there")?);
            state.insert(trashed, String::new());
        }
        Effect::Restore => {
            state.remove(&trashed).ok_or("brought back and not in the trash")?;
            state.insert(key.clone(), kept.remove(&key).unwrap_or_default());
        }
        Effect::Rename => {
            let name = state.remove(&request.key(&value)).ok_or("renamed and not there")?;
            state.insert(key, name);
        }
        Effect::EndSession | Effect::Unseen | Effect::Quiet => {}
    }
    Ok(())
}
