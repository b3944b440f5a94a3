//! What is checked before an app's database serves: that it is there, whose it is, and what it is.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use streamhub_appstore::identity::Identity;
use streamhub_appstore::schema::{PROTECTED, SCHEMA};
use streamhub_appstore::{WriteTx, outbox};
use streamhub_control::apps::{self, App, AppState, SplitState};
use streamhub_control::quotas::Enforcement;
use streamhub_control::{Plane, attention};
use streamhub_engine::cache::{Grant, Handle, Opener};
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge::{self, Standing};
use streamhub_engine::live::{self, Durability, Executor, Limits, Live, LiveError};
use streamhub_engine::lock::DirLock;
use streamhub_engine::migrate::From;
use streamhub_engine::observe::Observer;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{AppId, Database, Error, Fault, durable, meta, new_uuid, seal};
use tokio::sync::Semaphore;

use crate::app_config::AppConfig;
use crate::blocking::{Blocking, OF_ONE_APP};
use crate::config::LiveStreams;
use crate::error::HubError;
use crate::legacy::{LegacySource, Site, VODS_IMPORTED};
use crate::live_streams::Begun;
use crate::lost::Lost;
use crate::pre_migrate;
use crate::sealing::Unsealed;
use crate::turns::Turns;
use crate::upkeep::Upkeep;

/// Attention: an app's outbox may hold work. The reference names the opening that wrote to the app, so that
/// forgetting one says nothing about another.
pub(crate) const OUTBOX: &str = "outbox";

/// What leases need of their hub. Not the hub itself: it holds the open apps, which would then hold it.
///
/// Each open app has it, so that a lease touches nothing that threads with leases of other apps touch, and
/// the data directory stays locked as long as anybody can write to it.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) plane: Arc<Plane>,
    pub(crate) blocking: Blocking,
    pub(crate) upkeep: Upkeep,
    /// What becomes of streams of the process before.
    pub(crate) live_streams: LiveStreams,
    /// What becomes of tenants whose quotas are used up.
    pub(crate) quotas: Enforcement,
    pub(crate) settled: Settled,
    pub(crate) unsealed: Unsealed,
    pub(crate) begun: Begun,
    pub(crate) lost: Lost,
    /// Taken when the hub is closed.
    pub(crate) lock: Mutex<Option<DirLock>>,
}

/// An app's database in service, and what the registry says of the app.
#[derive(Debug)]
pub(crate) struct OpenApp {
    pub(crate) live: Live,
    pub(crate) registered: App,
    /// Whether a read runs on a thread of the async runtime.
    pub(crate) inline: AtomicBool,
    /// See [`reference`](Self::reference).
    written: Arc<OnceLock<String>>,
    /// Reads that may wait on blocking threads at the same time.
    pub(crate) readers: Arc<Semaphore>,
    /// The same of whatever else blocks.
    pub(crate) workers: Arc<Semaphore>,
    /// Whose turn it is with a stream.
    pub(crate) turns: Turns,
    // The last to go, since the directory is locked through it: fields drop in order.
    pub(crate) services: Arc<Services>,
}

impl OpenApp {
    /// What names this opening in the registry, once something was written.
    pub(crate) fn reference(&self) -> Option<&String> {
        self.written.get()
    }
}

impl Handle for OpenApp {
    fn close(&self, deadline: Instant) -> streamhub_engine::Result<()> {
        let is_empty = || self.live.try_read(|tx| Ok::<_, HubError>(outbox::is_empty(tx)?));
        let settled = self.reference().filter(|_| matches!(is_empty(), Ok(Ok(true))));
        self.live.close_until(deadline)?;
        // Not before: what could not be closed may be written to again.
        if let Some(reference) = settled {
            self.services.settled.add(self.registered.id, reference.clone());
        }
        Ok(())
    }

    fn rest(&self) {
        self.live.rest();
    }

    fn is_at_work(&self) -> bool {
        self.live.is_at_work()
    }

    fn is_stuck(&self) -> bool {
        self.live.is_stuck()
    }

    fn queued(&self) -> usize {
        self.live.queued()
    }

    fn is_condemned(&self) -> bool {
        self.live.is_condemned()
    }

    fn why_out_of_service(&self) -> Option<Error> {
        self.live.why_out_of_service()
    }
}

/// Openings whose apps were closed with nothing in their outboxes: the registry may forget them.
#[derive(Debug, Default)]
pub(crate) struct Settled(Mutex<Vec<(i64, String)>>);

impl Settled {
    pub(crate) fn add(&self, app: i64, reference: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((app, reference));
    }

    pub(crate) fn take(&self) -> Vec<(i64, String)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Opens apps of the registry.
pub(crate) struct AppOpener {
    pub(crate) services: Arc<Services>,
    pub(crate) site: Site,
    pub(crate) legacy: Option<Arc<dyn LegacySource>>,
    pub(crate) limits: Limits,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) executor: Executor,
}

impl Opener for AppOpener {
    type Handle = OpenApp;
    type Error = HubError;

    fn open(&self, id: &AppId, grant: Grant) -> Result<OpenApp, HubError> {
        let registered = self.in_service(id)?;
        let place = self.site.data.app(id);
        let db = self.open_database(&place, &registered);
        self.services.lost.note(id, db.is_err() && is_missing(&place));
        let db = db?;
        self.services.unsealed.notice(&place)?;
        // What an older system left as live has no reservation, so nothing else asks for attention to it.
        let of_before = || self.services.begun.first_look(registered.id, &WriteTx::within(&db));
        if registered.split_state.is_some()
            && self.services.live_streams == LiveStreams::End
            && let Ok(streams) = of_before()
        {
            self.services.upkeep.settle(registered.id, streams);
        }
        let written = Arc::default();
        let config = live::Config {
            limits: self.limits,
            observer: Arc::clone(&self.observer),
            executor: Arc::clone(&self.executor),
            first_write: self.first_write(&place, registered.id, Arc::clone(&written)),
            protected: &PROTECTED,
        };
        let live = grant.live(db, config)?;
        Ok(OpenApp {
            live,
            registered,
            inline: AtomicBool::new(false),
            written,
            readers: Arc::new(Semaphore::new(self.limits.readers().min(OF_ONE_APP))),
            workers: Arc::new(Semaphore::new(OF_ONE_APP)),
            turns: Turns::new(self.limits.wait),
            services: Arc::clone(&self.services),
        })
    }

    fn is_lasting(&self, error: &HubError) -> bool {
        match error {
            HubError::NoAppDir { .. } | HubError::NotItsOwn { .. } => true,
            HubError::Engine(error) => !matches!(error.fault(), Fault::Busy | Fault::TooManyFiles),
            _ => false,
        }
    }
}

impl AppOpener {
    /// The registry's row of an app that is in service.
    fn in_service(&self, id: &AppId) -> Result<App, HubError> {
        let registered = self.look_up(id)?;
        let open = match registered.split_state {
            Some(open @ (SplitState::Pending | SplitState::Missing)) => open,
            Some(SplitState::Done) | None if registered.state == AppState::Active => return Ok(registered),
            _ => return Err(HubError::NotInService { app: id.clone(), state: registered.state.to_string() }),
        };
        let Some(legacy) = &self.legacy else {
            return Err(HubError::NotInService { app: id.clone(), state: open.as_str().to_owned() });
        };
        legacy.first_open(&self.site, id)?;
        self.look_up(id)
    }

    fn look_up(&self, id: &AppId) -> Result<App, HubError> {
        self.services
            .plane
            .read(|db| apps::by_name(db, id.as_str()))?
            .ok_or_else(|| HubError::UnknownApp { name: id.to_string() })
    }

    fn open_database(&self, place: &AppPlace, registered: &App) -> Result<Database, HubError> {
        let path = place.db();
        // Also refuses a link in its place, of which SQLite would only say that it cannot be opened.
        if !place.exists()? {
            return Err(HubError::NoAppDir { dir: place.dir().to_owned() });
        }
        let stamp = judge::stamp_with(&path, self.site.protection)?;
        let version = match SCHEMA.standing(stamp, &path)? {
            Standing::Ours { version } => version,
            Standing::Unmarked { .. } => {
                let detail = "it carries no identity, and the registry knows it as taken over".to_owned();
                return Err(HubError::NotItsOwn { path, detail });
            }
        };
        self.refuse_unimported(place, registered)?;
        // To open and close a file with a -wal already rewrites it, as a migration does.
        if version < SCHEMA.latest() || durable::exists(&sidecar(&path, "-wal"))? {
            let found = judge_own(&path, registered)?;
            if version < SCHEMA.latest() {
                pre_migrate::copy(&self.site.data, place, &found, version)?;
            }
        }
        let mut db = Database::write(&path)?;
        if version < SCHEMA.latest() {
            seal::Seal::remove(place.dir())?;
            SCHEMA.migrate(&mut db, From::Ours, |_| Ok::<_, Error>(()))?;
        }
        refuse_another(&Identity::read(&db)?, registered, &path)?;
        judge::refuse_code(&db)?;
        Ok(db)
    }

    /// An older system's own file of recordings that nobody has imported. Whoever wires a
    /// [`LegacySource`] in had it imported at the start.
    fn refuse_unimported(&self, place: &AppPlace, registered: &App) -> Result<(), HubError> {
        let older = place.dir().join("vods.db");
        if registered.split_state.is_some() || self.legacy.is_some() || !durable::exists(&older)? {
            return Ok(());
        }
        // One that was adopted from where it was taken over brings the file along, and what it held.
        let path = place.db();
        let inspected = Database::inspect(&path)?;
        if meta::get(&inspected, VODS_IMPORTED).of(&path)?.is_some() {
            return Ok(());
        }
        let detail =
            "an older system's recordings lie there, and nothing is wired in that imports them".to_owned();
        Err(HubError::NotItsOwn { path: older, detail })
    }

    /// Breaks the seal and asks for attention to the outbox, both durably, and says how durable writes are.
    fn first_write(&self, place: &AppPlace, app: i64, written: Arc<OnceLock<String>>) -> live::FirstWrite {
        let (services, place) = (Arc::clone(&self.services), place.clone());
        Box::new(move || {
            services.unsealed.break_seal(&place).map_err(LiveError::Failed)?;
            let reference = written.get_or_init(new_uuid).clone();
            services.plane.write(move |db| attention::add(db, app, OUTBOX, &reference))?;
            Ok(durability(&place))
        })
    }
}

/// Whether an app's database is not there, as far as the disk tells.
pub(crate) fn is_missing(place: &AppPlace) -> bool {
    matches!(durable::exists(&place.db()), Ok(false))
}

/// Whether acknowledged writes of the app are on the disk; they are where its configuration cannot be read.
fn durability(place: &AppPlace) -> Durability {
    if !matches!(durable::exists(&place.config()), Ok(true)) {
        return Durability::Full;
    }
    match AppConfig::read(&place.config()) {
        Ok(config) => config.durability(),
        Err(errors) => {
            let error = errors.first().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(app.id = %place.id(), error, "writes are durable, since the configuration cannot be read");
            Durability::Full
        }
    }
}

/// What the database in an app's place says of itself, where it is the one that the registry points at.
/// Nobody may have it open. Changes nothing.
pub(crate) fn judge_own(path: &Path, registered: &App) -> Result<Identity, HubError> {
    // Whoever asks for the app in another way hears the same.
    if !durable::exists(path)? {
        return Err(HubError::NoAppDir { dir: path.parent().unwrap_or(path).to_owned() });
    }
    let standing = SCHEMA.standing(judge::stamp_of_source(path)?, path)?;
    if matches!(standing, Standing::Unmarked { .. }) {
        let detail = "it carries no identity".to_owned();
        return Err(HubError::NotItsOwn { path: path.to_owned(), detail });
    }
    let db = Database::inspect(path)?;
    let found = Identity::read(&db)?;
    refuse_another(&found, registered, path)?;
    judge::refuse_code(&db)?;
    Ok(found)
}

/// Refuses a database that is not the one that the registry points at.
fn refuse_another(found: &Identity, registered: &App, path: &Path) -> Result<(), HubError> {
    let not = |what: &str, expected: &str, found: &str| {
        let detail = format!("its {what} is {found:?}, and the registry points at {expected:?}");
        Err(HubError::NotItsOwn { path: path.to_owned(), detail })
    };
    if !registered.points_at(&found.uuid) {
        return not("uuid", registered.uuid_text().unwrap_or_default(), found.uuid.as_str());
    }
    if found.name != registered.name {
        return not("name", &registered.name, &found.name);
    }
    if found.tenant != registered.tenant_id {
        return not("tenant", &registered.tenant_id, &found.tenant);
    }
    let detail = match found.generation.cmp(&registered.generation) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => format!(
            "its generation is {} and the registry's {}: the control database is older than the app",
            found.generation, registered.generation
        ),
        std::cmp::Ordering::Less => format!(
            "its generation is {} and the registry's {}: it is a copy from before the app moved",
            found.generation, registered.generation
        ),
    };
    Err(HubError::NotItsOwn { path: path.to_owned(), detail })
}
