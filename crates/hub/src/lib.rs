//! StreamHub: the state layer of a media server.
//!
//! One small control database holds tenants, users and pointers to apps; each app owns an `SQLite`
//! file of its own. This crate is what a media server embeds, and what the command line and the
//! HTTP interface are made of: [`Hub::open`] takes a data directory into possession and keeps it
//! until the hub is closed.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! use streamhub::{Hub, HubConfig, progress::Silent};
//!
//! let mut config = HubConfig::new(dir.path().join("data"));
//! # config.volatile = streamhub::Volatile::Permit;
//! let hub = Hub::open(&config, &Silent)?;
//! for app in hub.apps()? {
//!     println!("{} {}", app.name, app.state);
//! }
//! hub.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/EMBEDDING.md` says what blocks, what to do about each error and how to stop;
//! `examples/embed.rs` is a whole server to begin with.

pub mod access;
mod acting;
mod adopt;
mod alone;
pub mod app_config;
mod app_details;
mod app_settings;
mod around;
mod blocking;
pub mod boot;
mod code;
mod config;
pub mod config_check;
pub mod doctor;
mod error;
pub mod footprint;
pub mod hub;
pub mod idempotency;
pub mod jobs;
mod kind;
mod lease;
pub mod legacy;
mod life;
mod live_streams;
pub mod local;
pub mod locate;
pub mod logs;
pub mod look;
mod lost;
mod maintenance;
mod metering;
mod opener;
mod outbox;
mod people;
mod pre_migrate;
pub mod progress;
mod publishing;
mod recordings;
mod recover;
mod registry;
pub mod report;
mod retention;
mod sealing;
pub mod secrets;
pub mod settings;
mod sizes;
pub mod status;
mod stored;
#[cfg(test)]
mod tests;
mod turns;
mod upkeep;
pub mod yaml;

pub use acting::{Actor, Concerned};
pub use adopt::{Adopted, Adoption, Proof};
pub use app_details::AppChange;
pub use config::{Appearing, HubConfig, Keep, LiveStreams};
pub use error::{HubError, Kind, Result};
pub use hub::{Hub, Owner};
pub use lease::{CallerError, Lease};
pub use legacy::LegacySource;
pub use life::{Deletion, NewApp};
pub use logs::{LogSink, LogStats};
pub use maintenance::{AppBackup, Checked, Checkpointed, Extent, Health, Optimized, Purged, TableHealth};
pub use people::TenantChange;
pub use registry::{Registry, TenantUsage};
pub use retention::{Bounds, Pruned, Retention};
pub use sizes::AppSize;

/// Within a lease:
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::ingress::{self, NewIngress, Password};
/// use streamhub::HubError;
///
/// let app = hub.app(&"news-24".parse()?)?;
/// let new = NewIngress {
///     app: app.id().to_string(),
///     password: Some(Password::from("s3cret".to_owned())),
///     ..NewIngress::default()
/// };
/// // Hashing takes long on purpose, so it is done before the transaction and after it.
/// let prepared = new.prepare()?;
/// let made = app.write(move |tx| Ok::<_, HubError>(ingress::create(tx, &prepared)?))?;
///
/// let key = made.stream_key.ok_or("every ingress that is made has a key")?;
/// let challenge = app.get(|tx| Ok::<_, HubError>(ingress::challenge_by_key(tx, key.reveal())?))?;
/// assert!(challenge.answer(Some(&Password::from("s3cret".to_owned()))).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use streamhub_appstore::ingress;
/// Within a lease; [`Lease::start_stream`] and [`Lease::end_stream`] also keep the tenant's quota:
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::streams::{self, NewStream, StreamFilter};
/// use streamhub::{HubError, Page};
///
/// let app = hub.app(&"news-24".parse()?)?;
/// app.start_stream(NewStream::named("live/cam", streams::Kind::Rtmp))?;
/// app.write(|tx| Ok::<_, HubError>(streams::update_stats(tx, "live/cam", r#"{"viewers":3}"#)?))?;
///
/// let filter = StreamFilter { page: Page::new(20, 0)?, ..StreamFilter::default() };
/// let listed = app.read(move |tx| Ok::<_, HubError>(streams::list(tx, &filter)?))?;
/// assert_eq!(listed.data[0].last_stats_json.as_deref(), Some(r#"{"viewers":3}"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use streamhub_appstore::streams;
/// Within a lease; [`Lease::create_vod`] adds a recording of its app, [`Lease::delete_vod`] removes one, and its
/// file after the commit:
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::vods::{self, NewVod, Status, VodFilter, VodPatch};
/// use streamhub::{Change, HubError};
///
/// let app = hub.app(&"news-24".parse()?)?;
/// let file = Some("recordings/cam.mp4".to_owned()); // below recordings, hls, snapshots or samples
/// let vod = app.create_vod(NewVod { local_path: file, ..NewVod::named("cam.mp4") })?;
/// let done = VodPatch { status: Some(Status::Ready), size_bytes: Change::Set(81_920), ..VodPatch::default() };
/// app.write(move |tx| Ok::<_, HubError>(vods::update(tx, vod.id, &done)?))?;
///
/// let ready = VodFilter { status: Some(Status::Ready), ..VodFilter::default() };
/// assert_eq!(app.read(move |tx| Ok::<_, HubError>(vods::list(tx, &ready)?))?.total, 1);
/// app.delete_vod(vod.id)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use streamhub_appstore::vods;
pub use streamhub_appstore::{Listed, Page, ReadTx, StoreError, WriteTx, purge, stats};
pub use streamhub_control::{
    TenantId, allow_list, apps, audit, cursor, deeds, email, ip_rules, login_failures, members, nodes, page,
    password, quotas, sessions, setup, tenants, tokens, totp, usage, users,
};
pub use streamhub_engine::cache::AppState;
/// What all open apps may cost together:
///
/// ```
/// # let (dir, _hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::{Busy, Cost, Hub, HubConfig, HubError, progress::Silent};
/// use std::time::Duration;
///
/// let mut config = HubConfig::new(dir.path().join("small"));
/// # config.volatile = streamhub::Volatile::Permit;
/// config.budget = Cost { connections: 1, descriptors: 3 };
/// config.wait = Duration::from_millis(10);
/// let small = Hub::open(&config, &Silent)?;
/// for name in ["news-24", "radio-1"] {
///     small.create(&streamhub::NewApp::new(name.parse()?, streamhub::TenantId::platform()))?;
/// }
/// // What is leased is never closed, and what is not is closed for others.
/// let first = small.app(&"news-24".parse()?)?;
/// let refused = small.app(&"radio-1".parse()?).unwrap_err();
/// assert!(matches!(refused, HubError::Busy { reason: Busy::Budget, .. }));
/// drop(first);
/// small.app(&"radio-1".parse()?)?;
/// # small.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use streamhub_engine::cache::Cost;
/// From [`Hub::cache_stats`]:
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// let app = hub.app(&"news-24".parse()?)?;
/// let stats = hub.cache_stats();
/// assert_eq!((stats.open, stats.leased, stats.opens), (1, 1, 1));
/// assert_eq!(stats.used.descriptors, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use streamhub_engine::cache::Stats;
/// In [`HubError::Busy`], always of [`Kind::Unavailable`]:
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::{Busy, HubError, Kind};
///
/// let app = hub.app(&"news-24".parse()?)?;
/// let busy = HubError::Busy { what: app.id().to_string(), reason: Busy::Queue };
/// assert_eq!(busy.to_string(), "news-24: too many writes wait for it");
/// assert_eq!(busy.kind(), Kind::Unavailable);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use streamhub_engine::live::Busy;
/// In [`HubConfig::limits`], for each app alone:
///
/// ```
/// use streamhub::Limits;
/// use std::time::Duration;
///
/// let patient = Limits { read_time: Duration::from_secs(120), ..Limits::default() };
/// assert_eq!(patient.connections, 4);
/// ```
#[doc(inline)]
pub use streamhub_engine::live::Limits;
pub use streamhub_engine::live::LiveError;
/// In [`HubConfig::observer`], for metrics:
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::time::Duration;
/// use streamhub::{Hub, HubConfig, HubError, NewApp, Observer, TenantId, progress::Silent};
///
/// #[derive(Default)]
/// struct Counter {
///     writes: AtomicUsize,
/// }
///
/// impl Observer for Counter {
///     fn committed(&self, writes: usize, _took: Duration) {
///         self.writes.fetch_add(writes, Ordering::Relaxed);
///     }
/// }
///
/// let counter = Arc::new(Counter::default());
/// let mut config = HubConfig::new(dir.path().join("data"));
/// # config.volatile = streamhub::Volatile::Permit;
/// config.observer = counter.clone();
/// let hub = Hub::open(&config, &Silent)?;
/// hub.create(&NewApp::new("news-24".parse()?, TenantId::platform()))?;
/// hub.app(&"news-24".parse()?)?.write(|_| Ok::<_, HubError>(()))?;
/// assert_eq!(counter.writes.load(Ordering::Relaxed), 1);
/// hub.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use streamhub_engine::observe::Observer;
pub use streamhub_engine::seal::Seal;
pub use streamhub_engine::{
    AppId, BadAppId, Change, DataDir, Uuid, change, data_dir, database_url, filesystem::Volatile, new_uuid,
    time,
};

/// The examples of the README and of `docs/EMBEDDING.md`, compiled or run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/EMBEDDING.md")]
    struct Embedding;
}
