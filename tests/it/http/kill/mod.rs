//! A server that is killed at any moment while clients change things: after the next start, what there is and
//! what the audit tells of are the same, and nothing that was acknowledged is missing in either.

mod asking;
mod books;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use serde_json::{Value, json};
use streamhub_tests::command::{Response, Streamhub, ask};

use super::Site;
use asking::{Dice, Effect, NOT_ASKED, ROUTES, Request, State, request};
use books::{Books, observed};

/// How many ask at once.
const CLIENTS: usize = 4;

/// How long what a kill left behind may take to be put in order.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the server is killed.
fn rounds() -> u64 {
    std::env::var("STREAMHUB_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(50)
}

/// What makes this run the one that it is; a former run is repeated by its seed, as far as threads can be.
fn seed() -> u64 {
    let given = std::env::var("STREAMHUB_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
    })
}

/// Who asks, where, and with what.
struct Clients {
    address: SocketAddr,
    root: String,
    node: String,
    /// What there may be to ask for.
    known: Mutex<State>,
    /// How many requests were sent.
    sent: AtomicU64,
}

impl Clients {
    fn send(&self, request: &Request) -> Option<Response> {
        let credential = request.credential.as_deref().unwrap_or(&self.root);
        let bearer = format!("Bearer {credential}");
        let mut headers = vec![("X-Request-Id", &*request.id)];
        match request.path.as_str() {
            "/cluster/join" | "/cluster/heartbeat" => headers.push(("X-Cluster-Token", &self.node)),
            "/auth/login" => {}
            _ => headers.push(("Authorization", &bearer)),
        }
        let body = request.body.as_ref().map(Value::to_string);
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        if request.is_repeatable() {
            headers.push(("Idempotency-Key", &request.id));
        }
        let path = format!("/api/v1{}", request.path);
        ask(self.address, request.method, &path, &headers, &body.unwrap_or_default()).ok()
    }

    /// Asks for one thing after the other until nobody answers.
    fn client(&self, client: usize, round: u64, mut dice: Dice) -> Vec<Request> {
        let mut requests = Vec::new();
        loop {
            let name = format!("r{round}c{client}n{}", requests.len());
            let known = self.known.lock().expect("no client panics").clone();
            let Some(mut next) = request(dice.route(), &name, client, &known, &mut dice) else { continue };
            if next.effect == Effect::EndSession && !self.begin_session(&mut next) {
                break;
            }
            self.sent.fetch_add(1, Ordering::SeqCst);
            next.answer = self.send(&next);
            requests.push(next);
            match requests.last().and_then(|last| last.answer.as_ref().map(|answer| (last, answer))) {
                Some((last, answer)) => self.learn(last, answer),
                // Nobody is there any more.
                None => break,
            }
        }
        requests
    }

    /// A session for the request to end.
    fn begin_session(&self, ending: &mut Request) -> bool {
        let login =
            request("session.login", &format!("{}-in", ending.id), 0, &State::new(), &mut Dice::new(0));
        let answer =
            self.send(&login.expect("there is nothing to pick")).filter(|answer| answer.status == 200);
        let Some(token) = answer.and_then(|answer| answer.json()["token"].as_str().map(str::to_owned)) else {
            return false;
        };
        let bearer = format!("Bearer {token}");
        let listed = ask(self.address, "GET", "/api/v1/auth/sessions", &[("Authorization", &bearer)], "");
        // The one that was begun last; whichever it is, only the request that names it ends it.
        let Some(id) = listed
            .ok()
            .filter(|listed| listed.status == 200)
            .and_then(|listed| listed.json()["data"][0]["id"].as_str().map(str::to_owned))
        else {
            return false;
        };
        if ending.path.contains("{own}") {
            ending.path = ending.path.replace("{own}", &id);
            ending.effect = Effect::Unseen;
        }
        ending.credential = Some(token);
        true
    }

    /// What an answer says is there, or is not any more.
    fn learn(&self, request: &Request, answer: &Response) {
        assert!(matches!(answer.status, 200..300 | 401 | 404 | 409 | 503), "{request:?}");
        assert!(answer.status != 401 || request.credential.is_some(), "{request:?}");
        if answer.status >= 300 || answer.body.is_empty() && request.effect == Effect::Make {
            return;
        }
        let mut known = self.known.lock().expect("no client panics");
        let last = || request.path.rsplit('/').next().expect("a part").replace("%2F", "/");
        let named = |body: &Value| {
            ["ingressId", "streamId", "nodeId", "userId"].iter().find_map(|field| {
                // A recording has a stream's id, and is not called by it.
                body[field].as_str().filter(|_| !request.noun.starts_with("vod ")).map(str::to_owned)
            })
        };
        match request.effect {
            Effect::Make => {
                let body = answer.json();
                let own = if request.noun == "app" {
                    body["name"].as_str().map(str::to_owned)
                } else {
                    named(&body)
                };
                let id = own.unwrap_or_else(|| {
                    body["id"].as_str().map_or_else(|| body["id"].to_string(), str::to_owned)
                });
                known.insert(request.key(&id), String::new());
            }
            Effect::Remove => {
                known.remove(&request.key(&last()));
            }
            Effect::Trash => {
                known.remove(&request.key(&last()));
                known.insert(format!("trash {}", last()), String::new());
            }
            Effect::Restore | Effect::Rename => {
                let name = answer.json()["name"].as_str().expect("a name").to_owned();
                known.remove(&request.key(&request.value));
                known.remove(&format!("trash {name}"));
                known.insert(request.key(&name), String::new());
            }
            Effect::Unseen if request.noun == "job" => {
                if let Some(id) = answer.json()["data"]["id"].as_str() {
                    known.insert(request.key(id), String::new());
                }
            }
            Effect::Set | Effect::Add | Effect::EndSession | Effect::Unseen | Effect::Quiet => {}
        }
    }

    /// Sends what got no answer once more, with the same key, until there is one.
    fn repeat(&self, requests: &mut [Request]) {
        let begun = Instant::now();
        for request in requests.iter_mut().filter(|request| request.is_repeatable() && !request.is_answered())
        {
            loop {
                let answer = self.send(request);
                let is_final = answer
                    .as_ref()
                    .is_some_and(|answer| answer.status < 500 && !answer.body.contains("request_under_way"));
                assert!(begun.elapsed() < PATIENCE, "{request:?}: {answer:?}");
                if is_final {
                    request.answer = answer;
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn every_route_that_changes_something_is_asked_for() {
    let routes = streamhub_server::policies();
    let changing: BTreeSet<_> =
        routes.iter().filter(|(method, ..)| method != "GET").map(|(_, _, name, _)| *name).collect();
    let asked: BTreeSet<_> = ROUTES.iter().map(|(name, _)| *name).chain(NOT_ASKED.iter().copied()).collect();
    assert_eq!(changing, asked);
}

#[test]
#[allow(clippy::print_stdout, reason = "whoever runs it is told the seed, and how much was asked")]
fn audit_and_state_agree_whenever_the_server_is_killed() {
    let seed = seed();
    println!("STREAMHUB_TEST_SEED={seed}");
    let mut dice = Dice::new(seed);
    // A media server that goes on by itself: what is live stays so.
    let mut site = Site::served(|streamhub: Streamhub| streamhub.env("STREAMHUB_LIVE_STREAMS", "keep"));
    site.tenant("acme");
    for home in ["home-1", "home-2"] {
        site.app("acme", home);
        let noted =
            site.ask("PATCH", &format!("/apps/{home}/config"), &site.root, Some(&json!({ "note": "" })));
        assert_eq!(noted.status, 200, "{noted:?}");
    }
    site.person("ana@example.org", None);
    let node = site.token(&json!({ "name": "node", "scope": "node" }));
    let mut books = Books::open(&site);
    let (mut asked, mut answered, mut acted) = (0, 0, BTreeMap::new());
    for round in 0..rounds() {
        let clients = Clients {
            address: site.server.address(),
            root: site.root.clone(),
            node: node.clone(),
            known: Mutex::new(books.state.clone()),
            sent: AtomicU64::new(0),
        };
        let after = dice.below(40) + 1;
        let moment = Duration::from_micros(dice.below(20_000));
        let (mut requests, killed) = thread::scope(|scope| {
            let clients = &clients;
            let working: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let dice = Dice::new(dice.below(u64::MAX));
                    scope.spawn(move || clients.client(client, round, dice))
                })
                .collect();
            let begun = Instant::now();
            while clients.sent.load(Ordering::SeqCst) < after && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_micros(100));
            }
            thread::sleep(moment);
            let killed = site.killed();
            let asked = working.into_iter().flat_map(|client| client.join().expect("no panic"));
            (asked.collect::<Vec<_>>(), killed)
        });
        asked += requests.len();
        answered += requests.iter().filter(|request| request.is_answered()).count();
        for request in &requests {
            *acted.entry(request.action).or_insert(0) += 1;
        }

        if round % 10 == 9 {
            // An attempt to log in that a kill broke off counts as one that failed.
            let control = Connection::open(killed.data_dir().join("streamhub.db")).expect("a database");
            control.execute("DELETE FROM _streamhub_login_failures", []).expect("a table");
        }
        site = killed.started();
        let clients = Clients { address: site.server.address(), ..clients };
        clients.repeat(&mut requests);
        let begun = Instant::now();
        while let Err(difference) = books.compare(&site, &requests) {
            assert!(begun.elapsed() < PATIENCE, "seed {seed}, round {round}: {difference}");
            thread::sleep(Duration::from_millis(50));
        }
        demand_no_job_waits(&site, &format!("seed {seed}, round {round}"));
    }
    println!(
        "{asked} requests, {} of them without an answer; {} things there: {acted:?}",
        asked - answered,
        observed(&site).len()
    );
    assert!(site.server.stop().success());
}

/// What was under way at the kill is over, and what was asked for again soon is.
fn demand_no_job_waits(site: &Site, what: &str) {
    let begun = Instant::now();
    loop {
        let listed = site.get(&site.root, "/jobs?limit=1000").json();
        let jobs = listed["data"].as_array().expect("a list");
        let Some(waiting) = jobs.iter().find(|job| job["state"] == "queued" || job["state"] == "running")
        else {
            return;
        };
        assert!(begun.elapsed() < PATIENCE, "{what}: {waiting}");
        thread::sleep(Duration::from_millis(10));
    }
}
