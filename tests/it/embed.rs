//! The example that a media server's author copies, as a process that is asked over a real socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use streamhub::streams::{self, Status, StreamFilter};
use streamhub::{Hub, HubConfig, HubError, Page, Volatile, progress::Silent};
use streamhub_tests::command::{Response, Server, ask, example};
use streamhub_tests::files::scratch;
use streamhub_tests::process::run;
use streamhub_tests::skip::workspace;

const STREAMS: &str = "/apps/my-app/streams";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn start(data_dir: &Path) -> Server {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(EXAMPLE.get_or_init(|| example("embed")));
    command.arg(data_dir).arg("127.0.0.1:0");
    Server::start(command).unwrap_or_else(|ended| panic!("{}", ended.describe()))
}

fn publish(server: SocketAddr, stream: &str) -> std::io::Result<Response> {
    ask(server, "POST", STREAMS, &[JSON], &json!({"streamId": stream, "type": "rtmp"}).to_string())
}

/// Each stream and whether it is live, as the library finds them once nobody holds the directory.
fn streams_in(data_dir: &Path) -> Vec<(String, Status)> {
    let hub = Hub::open(&HubConfig { volatile: Volatile::Permit, ..HubConfig::new(data_dir) }, &Silent);
    let hub = hub.expect("the directory is free");
    let app = hub.app(&"my-app".parse().expect("a name")).expect("the app is whole");
    let all = StreamFilter { page: Page::ALL, ..StreamFilter::default() };
    let listed = app.read(|tx| Ok::<_, HubError>(streams::list(tx, &all)?)).expect("a listing");
    drop(app);
    hub.close().expect("an orderly end");
    listed.data.into_iter().map(|stream| (stream.stream_id, stream.status)).collect()
}

#[test]
fn the_manifest_of_the_guide_resolves_in_a_fresh_crate() {
    let guide = std::fs::read_to_string(workspace().join("docs/EMBEDDING.md")).expect("there is a guide");
    assert!(guide.contains("\ncargo run -p streamhub --example embed -- "), "what `example` builds");
    let (_, manifest) = guide.split_once("```toml\n").expect("a manifest");
    let (manifest, _) = manifest.split_once("```").expect("the end of the block");
    let dir = scratch();
    let streamhub = format!("{}/", workspace().display());
    let place = |name: &str| dir.path().join(name);
    // The build directory lies in the workspace, and a fresh crate does not.
    let manifest = manifest.replace("../streamhub/", &streamhub) + "\n[workspace]\n";
    std::fs::write(place("Cargo.toml"), manifest).expect("a manifest is written");
    std::fs::create_dir(place("src")).expect("a directory is made");
    std::fs::write(place("src/main.rs"), "fn main() {}").expect("a program is written");
    // So that no registry is asked which versions there are.
    std::fs::copy(workspace().join("Cargo.lock"), place("Cargo.lock")).expect("a copy");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ended = run(cargo.current_dir(dir.path()).args(["tree", "--offline", "--depth", "1"]));
    assert!(ended.success(), "{}", ended.describe());
    for name in ["streamhub v", "streamhub-split v", "tokio v", "thiserror v", "tracing-subscriber v"] {
        assert!(ended.stdout.contains(name), "no {name}: {}", ended.stdout);
    }
}

#[test]
fn a_stream_is_published_listed_and_ended_and_the_server_stops_in_order() {
    let dir = scratch();
    let server = start(dir.path());
    let published = publish(server.address(), "live/cam").expect("an answer");
    assert_eq!((published.status, &published.json()["status"]), (200, &json!("active")), "{published:?}");
    assert_eq!(publish(server.address(), "live/cam").expect("an answer").status, 409);
    let cam = format!("{STREAMS}/live/cam");
    assert_eq!(server.request("PUT", &cam, &[], r#"{"viewers":3}"#).status, 200);
    let listed = server.get(STREAMS).json();
    assert_eq!((&listed["total"], &listed["data"][0]["streamId"]), (&json!(1), &json!("live/cam")));
    assert_eq!(listed["data"][0]["lastStatsJson"], r#"{"viewers":3}"#);
    assert_eq!(server.request("DELETE", &cam, &[], "").json(), Value::Bool(true));
    for (method, path, body, status) in [
        ("PUT", cam.as_str(), "no JSON", 400),
        ("DELETE", "/apps/my-app/streams/live/other", "", 404),
        ("GET", "/apps/no-such-app/streams", "", 404),
        ("GET", "/apps/../streams", "", 400),
    ] {
        let refused = server.request(method, path, &[], body);
        assert_eq!(refused.status, status, "{method} {path}: {refused:?}");
    }
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.describe());
    assert!(dir.path().join("apps/my-app/app.seal").is_file(), "a graceful stop seals");
    assert_eq!(streams_in(dir.path()), [("live/cam".to_owned(), Status::Ended)]);
}

#[test]
fn a_kill_amid_a_thousand_acknowledged_writes_loses_none() {
    const CLIENTS: usize = 16;
    const ENOUGH: usize = 1000;
    let dir = scratch();
    let server = start(dir.path());
    let address = server.address();
    let acknowledged = Mutex::new(Vec::new());
    let asked = AtomicUsize::new(0);
    // Until there is no answer any more.
    let client = || loop {
        let stream = format!("live/{}", asked.fetch_add(1, Ordering::Relaxed));
        let Ok(answer) = publish(address, &stream) else { return };
        assert_eq!(answer.status, 200, "{answer:?}");
        acknowledged.lock().expect("no client panics").push(stream);
    };
    let killed = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        while acknowledged.lock().expect("no client panics").len() < ENOUGH
            && clients.iter().any(|client| !client.is_finished())
        {
            thread::sleep(Duration::from_millis(1));
        }
        server.kill()
    });
    assert!(killed.killed(), "{}", killed.describe());
    let acknowledged = acknowledged.into_inner().expect("no client panics");
    let found = streams_in(dir.path());
    let lost: Vec<_> =
        acknowledged.iter().filter(|stream| !found.iter().any(|(name, _)| name == *stream)).collect();
    assert!(acknowledged.len() >= ENOUGH && lost.is_empty(), "lost of {}: {lost:?}", acknowledged.len());
    assert!(found.len() <= asked.into_inner(), "nobody asked for some of {}", found.len());
    // It goes on where it was.
    let again = start(dir.path());
    assert_eq!(again.get(STREAMS).json()["total"], found.len());
    assert_eq!(again.stop().code, Some(0));
}
