//! The HTTP API, asked through a real socket of a real server process.

mod audited;
mod bad_input;
mod damaged;
mod described;
mod fields;
mod following;
mod full_disk;
mod guide;
mod idempotency;
mod identity;
mod jobs;
mod kill;
mod lists;
mod logs;
mod matrix;
mod metrics;
mod older;
mod quotas;
mod schemathesis;
mod stopping;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use serde_json::{Value, json};
use streamhub_tests::books::app_db;
use streamhub_tests::command::{Response, Server, Streamhub};
use streamhub_tests::process::Ended;
use tempfile::TempDir;

/// The password of everybody who has one here.
const PASSWORD: &str = "correct horse battery";

/// A server on a data directory of its own, set up with a superadmin.
pub(crate) struct Site {
    pub(crate) server: Server,
    /// The superadmin's session.
    pub(crate) root: String,
    streamhub: Streamhub,
    dir: TempDir,
}

/// What is left of a server that ended.
pub(crate) struct Left {
    root: String,
    streamhub: Streamhub,
    dir: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::served(|streamhub| streamhub)
    }

    /// A server with settings.
    pub(crate) fn served(settings: impl FnOnce(Streamhub) -> Streamhub) -> Self {
        Self::within(tempfile::tempdir().expect("a directory"), settings)
    }

    /// A server whose data lies in a directory.
    pub(crate) fn within(dir: TempDir, settings: impl FnOnce(Streamhub) -> Streamhub) -> Self {
        let streamhub = settings(Streamhub::new(dir.path().join("data")));
        let server = streamhub.serve();
        server.wait_until_ready();
        let printed = server.stderr();
        let token = printed.lines().find_map(|line| line.split_once("set-up token: ")).expect("a token").1;
        let first = json!({ "token": token.trim(), "email": "root@example.org", "password": PASSWORD });
        let site = Self { server, root: String::new(), streamhub, dir };
        assert_eq!(site.post("", "/setup", &first).status, 201);
        let root = site.log_in("root@example.org");
        Self { root, ..site }
    }

    /// A server with the app `news-24` of `acme`, into whose database something was written.
    pub(crate) fn with_rows(sql: &str) -> Self {
        let site = Self::new();
        site.tenant("acme");
        site.app("acme", "news-24");
        let path = app_db(&site.data_dir(), "news-24");
        site.killed_and_started(|_| {
            Connection::open(path).and_then(|app| app.execute_batch(sql)).expect("rows");
        })
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The control database.
    fn control(&self) -> PathBuf {
        self.data_dir().join("streamhub.db")
    }

    /// Bytes of what is not yet copied into the control database.
    pub(crate) fn wal_bytes(&self) -> u64 {
        fs::metadata(self.control().with_extension("db-wal")).map_or(0, |wal| wal.len())
    }

    /// Kills the server, does something to its control database, and starts another.
    pub(crate) fn killed_and_started(self, meanwhile: impl FnOnce(&Connection)) -> Self {
        let path = self.control();
        let killed = self.killed();
        let control = Connection::open(path).expect("a database");
        meanwhile(&control);
        drop(control);
        killed.started()
    }

    /// Kills the server.
    pub(crate) fn killed(self) -> Left {
        let Self { server, root, streamhub, dir } = self;
        server.kill();
        Left { root, streamhub, dir }
    }

    /// Has the server stop in good order.
    pub(crate) fn stopped(self) -> (Ended, Left) {
        let Self { server, root, streamhub, dir } = self;
        let ended = server.stop();
        assert!(ended.success(), "{}", ended.describe());
        (ended, Left { root, streamhub, dir })
    }

    /// Has the server stop in good order, and starts another.
    pub(crate) fn stopped_and_started(self) -> Self {
        self.stopped().1.started()
    }

    /// Asks below `/api/v1`, with a credential where it is not empty.
    pub(crate) fn ask(&self, method: &str, path: &str, credential: &str, body: Option<&Value>) -> Response {
        let bearer = format!("Bearer {credential}");
        let mut headers = Vec::new();
        if !credential.is_empty() {
            headers.push(("Authorization", bearer.as_str()));
        }
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.server.request(method, &format!("/api/v1{path}"), &headers, &body)
    }

    pub(crate) fn get(&self, credential: &str, path: &str) -> Response {
        self.ask("GET", path, credential, None)
    }

    pub(crate) fn post(&self, credential: &str, path: &str, body: &Value) -> Response {
        self.ask("POST", path, credential, Some(body))
    }

    /// Asks as the superadmin for something that has to be made, and gives what was.
    pub(crate) fn made(&self, path: &str, body: &Value) -> Value {
        let response = self.post(&self.root, path, body);
        assert_eq!(response.status, 201, "{path} {body}: {response:?}");
        response.json()
    }

    /// A session's token.
    pub(crate) fn log_in(&self, email: &str) -> String {
        let response = self.post("", "/auth/login", &json!({ "email": email, "password": PASSWORD }));
        assert_eq!(response.status, 200, "{email}: {response:?}");
        response.json()["token"].as_str().expect("a token").to_owned()
    }

    /// A user with a role in a tenant, or without one, and a session.
    pub(crate) fn person(&self, email: &str, role: Option<(&str, &str)>) -> String {
        self.made("/users", &json!({ "email": email, "password": PASSWORD }));
        if let Some((tenant, role)) = role {
            self.made(&format!("/tenants/{tenant}/members"), &json!({ "user": email, "role": role }));
        }
        self.log_in(email)
    }

    /// A token.
    pub(crate) fn token(&self, new: &Value) -> String {
        self.made("/tokens", new)["token"].as_str().expect("a token").to_owned()
    }

    /// A tenant that may have as much as it wants.
    pub(crate) fn tenant(&self, id: &str) {
        self.made("/tenants", &json!({ "id": id }));
        let quotas = json!({ "quotas": { "maxApps": -1, "maxConcurrentStreams": -1 } });
        assert_eq!(self.ask("PATCH", &format!("/tenants/{id}"), &self.root, Some(&quotas)).status, 200);
    }

    pub(crate) fn app(&self, tenant: &str, name: &str) {
        self.made("/apps", &json!({ "name": name, "tenantId": tenant }));
    }
}

impl Left {
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts another server in its place.
    pub(crate) fn started(self) -> Site {
        let Self { root, streamhub, dir } = self;
        let server = streamhub.serve();
        server.wait_until_ready();
        Site { server, root, streamhub, dir }
    }
}

/// A number that no other call got.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
