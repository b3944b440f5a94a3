//! Goal 9: requests over HTTP, beside handlers of axum's that do the same work in `SQLite` and nothing else.
//!
//! Ours is asked as `streamhub serve` answers at its defaults: with a token, within the limits, counted by the
//! metrics, named for the access log, with an audit entry for what is inserted. The plain side has the same rows,
//! statements and pragmas, one connection for each thread that reads and one behind a lock that writes; it reads
//! and writes where it is asked, and makes the same JSON of what it finds. The clients are the same too, and share
//! the processors with whom they ask: 9d says how much of what is measured they are.

mod support;

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path as Parameters, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};
use streamhub::allow_list::AllowList;
use streamhub::progress::Silent;
use streamhub::time::Moment;
use streamhub::tokens::{NewToken, Reach};
use streamhub::vods::{self, NewVod, Status, Vod};
use streamhub::{AppId, Hub, HubConfig, HubError, Listed, LogSink, TenantId};
use streamhub_server::{ACCESS_LOG, ServerConfig, Service};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Goal, Needs, by_turns};
use support::load::{Load, request};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

const ROWS: usize = 1000;
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(300);

fn main() {
    let scratch = scratch();
    let logs = LogSink::default();
    start_log(&logs);
    let runtime = Runtime::new().expect("a runtime");
    let entered = runtime.enter();
    let service = Service::configured(ServerConfig::default());
    let hub = served_hub(scratch.path(), &service, logs);
    service.ready(hub.clone());
    let (ours, plain) = (support::create(&hub, 1), support::create(&hub, 2));
    fill(&hub, &ours);
    fill(&hub, &plain);
    hub.seal(&plain).expect("a closed file");
    let bare = bare(hub.data().app(&plain).db());
    drop(entered);
    let (served, bare) = runtime.block_on(async { (serve(service).await, serve_bare(bare).await) });

    let token = token(&hub);
    let vods = |app: &AppId, rest: &str| format!("/api/v1/apps/{app}/vods{rest}");
    let point = |app: &AppId| {
        let one = |number| request("GET", &vods(app, &format!("/{}", number * 7 + 1)), &token, None);
        (0..100).map(one).collect()
    };
    let list = |app: &AppId| vec![request("GET", &vods(app, "?limit=20"), &token, None)];
    let begins = json!({ "name": "cam.mp4", "streamId": "live/cam", "room": "lobby" });
    let insert = |app: &AppId| vec![request("POST", &vods(app, ""), &token, Some(&begins))];
    let goal = |id, what| Goal { id, what, needs: Needs::AtLeast(0.8), unit: "requests/s" };
    let compare = |requests: &dyn Fn(&AppId) -> Vec<Vec<u8>>| {
        let (mut one, mut other) = (Load::new(served, requests(&ours)), Load::new(bare, requests(&plain)));
        assert_eq!(recordings(&one.first_answer()), recordings(&other.first_answer()));
        by_turns(ROUNDS, || one.per_second(ROUND), || other.per_second(ROUND))
    };

    goal("9a", "point read over HTTP, against a bare handler").print_ratio(&compare(&point));
    goal("9b", "page of 20 rows over HTTP, against a bare handler").print_ratio(&compare(&list));
    goal("9c", "durable insert over HTTP with its audit entry, against a bare handler")
        .print_ratio(&compare(&insert));
    let mut fixed = Load::new(bare, vec![request("GET", "/fixed", &token, None)]);
    let mut read = Load::new(bare, point(&plain));
    let compared = by_turns(ROUNDS, || fixed.per_second(ROUND), || read.per_second(ROUND));
    let what = "a fixed body of 2 KiB from a bare handler, beside its point read";
    Goal { needs: Needs::AtLeast(1.0), ..goal("9d", what) }.print_ratio(&compared);
}

/// The recordings of an answer, without what differs between apps and between two insertions.
fn recordings(answer: &Value) -> Vec<Value> {
    let all = answer["data"].as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    let without = |mut vod: Value| {
        let fields = vod.as_object_mut().expect("a recording");
        for differs in ["appId", "startedAt"] {
            fields.remove(differs).expect("a field");
        }
        vod
    };
    all.into_iter().map(without).collect()
}

/// What is logged, as `streamhub serve` has it.
fn start_log(logs: &LogSink) {
    let lines = fmt::layer().with_writer(std::io::stderr).with_filter(EnvFilter::new("warn"));
    let kept = filter_fn(|metadata| metadata.target() != ACCESS_LOG);
    registry().with(lines).with(logs.layer().with_filter(kept)).init();
}

/// A hub as `streamhub serve` opens it.
fn served_hub(dir: &Path, service: &Service, logs: LogSink) -> Hub {
    let mut config = HubConfig::new(dir.join("data"));
    config.logs = Some(logs);
    config.observer = service.observer();
    config.control_observer = service.control_observer();
    Hub::open(&config, &Silent).expect("a hub")
}

fn fill(hub: &Hub, id: &AppId) {
    let app = hub.app(id).expect("a lease");
    let app_id = app.registered().id;
    app.write(move |tx| -> Result<(), HubError> {
        for number in 0..ROWS {
            let started = format!("2026-01-01T{:02}:{:02}:00Z", number / 60, number % 60);
            let vod = NewVod {
                app_id,
                status: Status::Ready,
                stream_id: Some(support::stream_id(number)),
                room: Some(format!("room-{}", number % 40)),
                size_bytes: Some(1 << 30),
                duration_s: Some(3600.0),
                local_path: Some(format!("recordings/{number}.mp4")),
                started_at: Some(started.parse().expect("a time")),
                ..NewVod::named("cam.mp4")
            };
            vods::create(tx, &vod)?;
        }
        Ok(())
    })
    .expect("rows");
}

fn token(hub: &Hub) -> String {
    let new = NewToken {
        name: "bench".to_owned(),
        reach: Reach::Global,
        tenant: TenantId::platform(),
        allowed_ips: AllowList::EVERYBODY,
    };
    hub.create_token(&new).expect("a token").1.reveal().to_owned()
}

async fn serve(service: Service) -> SocketAddr {
    let (listener, address) = listen().await;
    let for_ever = std::future::pending();
    tokio::spawn(streamhub_server::serve(listener, service, for_ever, Duration::ZERO));
    address
}

async fn serve_bare(routes: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(axum::serve(listener, routes).into_future());
    address
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

macro_rules! columns {
    () => {
        "id, app_id, stream_id, room, name, file_key, s3_url, public_url, size_bytes, duration_s, width, height, \
         format, status, local_path, started_at, ended_at, metatags_json, snapshot_key"
    };
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM vods WHERE id = ?1");

const LATEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM vods ORDER BY coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN started_at GLOB \
     '[0-9][0-9][0-9][0-9]-*' THEN started_at END), started_at) DESC, id DESC LIMIT ?1 OFFSET ?2"
);

const INSERT: &str = concat!(
    "INSERT INTO vods (app_id, name, status, stream_id, room, file_key, s3_url, public_url, size_bytes, duration_s, \
     width, height, format, local_path, started_at, ended_at, metatags_json, snapshot_key) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING ",
    columns!()
);

thread_local! {
    /// The connection that this thread reads with.
    static READER: OnceCell<Connection> = const { OnceCell::new() };
}

struct Bare {
    path: PathBuf,
    writer: Mutex<Connection>,
}

/// Handlers that do nothing but the work itself.
fn bare(path: PathBuf) -> Router {
    let writer = Mutex::new(support::plain(&path));
    Router::new()
        .route("/fixed", get(async || [b'x'; 2 << 10]))
        .route("/api/v1/apps/{app}/vods", get(bare_list).post(bare_insert))
        .route("/api/v1/apps/{app}/vods/{id}", get(bare_point))
        .with_state(Arc::new(Bare { path, writer }))
}

async fn bare_point(
    State(bare): State<Arc<Bare>>,
    Parameters((_, id)): Parameters<(String, i64)>,
) -> Result<Json<Vod>, StatusCode> {
    let find = |db: &Connection| db.prepare_cached(BY_ID)?.query_row([id], vod).optional();
    bare.read(find).map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn bare_list(State(bare): State<Arc<Bare>>) -> Json<Listed<Vod>> {
    Json(bare.read(|db| {
        db.prepare_cached("BEGIN")?.execute([])?;
        let data = db.prepare_cached(LATEST)?.query_map([20, 0], vod)?.collect::<rusqlite::Result<_>>()?;
        let total = db.prepare_cached("SELECT count(*) FROM vods")?.query_row([], |row| row.get(0))?;
        db.prepare_cached("COMMIT")?.execute([])?;
        Ok(Listed { data, total })
    }))
}

async fn bare_insert(State(bare): State<Arc<Bare>>, Json(new): Json<NewVod>) -> (StatusCode, Json<Vod>) {
    let started = new.started_at.unwrap_or_else(Moment::now);
    let values = params![
        2,
        new.name,
        new.status,
        new.stream_id,
        new.room,
        new.file_key,
        new.s3_url,
        new.public_url,
        new.size_bytes,
        new.duration_s,
        new.width,
        new.height,
        new.format,
        new.local_path,
        started,
        new.ended_at,
        new.metatags_json,
        new.snapshot_key
    ];
    let db = bare.writer.lock().expect("nobody panicked");
    let inserted = db.prepare_cached(INSERT).and_then(|mut insert| insert.query_row(values, vod));
    (StatusCode::CREATED, Json(inserted.expect("a new row")))
}

impl Bare {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
        READER.with(|db| read(db.get_or_init(|| support::plain(&self.path))).expect("a read"))
    }
}

fn vod(row: &Row<'_>) -> rusqlite::Result<Vod> {
    Ok(Vod {
        id: row.get(0)?,
        app_id: row.get(1)?,
        stream_id: row.get(2)?,
        room: row.get(3)?,
        name: row.get(4)?,
        file_key: row.get(5)?,
        s3_url: row.get(6)?,
        public_url: row.get(7)?,
        size_bytes: row.get(8)?,
        duration_s: row.get(9)?,
        width: row.get(10)?,
        height: row.get(11)?,
        format: row.get(12)?,
        status: row.get(13)?,
        local_path: row.get(14)?,
        started_at: row.get(15)?,
        ended_at: row.get(16)?,
        metatags_json: row.get(17)?,
        snapshot_key: row.get(18)?,
    })
}
