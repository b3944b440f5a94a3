//! The hub: a data directory in possession, and the leases on its apps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use streamhub_appstore::Template;
use streamhub_control::apps::{self, App, Deleted};
use streamhub_control::page::{Page, Part};
use streamhub_control::{Control, Plane, TenantId, Within, jobs};
use streamhub_engine::cache::{AppState, Cache, CacheConfig, Stats};
use streamhub_engine::live;
use streamhub_engine::{AppId, DataDir};

use crate::access::{Addresses, Credentials, Hashing};
use crate::acting::Acting;
use crate::blocking::Blocking;
use crate::boot;
use crate::config::HubConfig;
use crate::error::{HubError, Result};
use crate::idempotency::Requests;
use crate::jobs::Desk;
use crate::lease::Lease;
use crate::live_streams::Begun;
use crate::local;
use crate::logs::LogSink;
use crate::lost::Lost;
use crate::opener::{AppOpener, Services, Settled};
use crate::progress::Progress;
use crate::report::{SplitReport, counted};
use crate::retention::Retaining;
use crate::sealing::Unsealed;
use crate::upkeep::Upkeep;

/// The app that a name stands for: it may be deleted, and another one made of its name, at any time.
#[derive(Debug)]
pub(crate) struct Meant {
    name: AppId,
    app: i64,
}

/// Which app it is, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The registry's number of the app.
    pub app: i64,
    /// Its tenant.
    pub tenant: TenantId,
}

impl Owner {
    fn of(registered: &App) -> Self {
        Self { app: registered.id, tenant: TenantId::from_registry(registered.tenant_id.clone()) }
    }
}

/// A data directory in this process's possession. Cheap to clone; all clones are one hub.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use streamhub::streams::{self, NewStream};
/// use streamhub::{Hub, HubConfig, HubError, NewApp, TenantId, progress::Silent};
///
/// let mut config = HubConfig::new(dir.path().join("data"));
/// # config.volatile = streamhub::Volatile::Permit;
/// let hub = Hub::open(&config, &Silent)?;
/// let id = "news-24".parse()?;
/// hub.create(&NewApp::new("news-24".parse()?, TenantId::platform()))?;
///
/// let app = hub.app(&id)?;
/// app.start_stream(NewStream::named("live/cam", streams::Kind::Rtmp))?;
/// assert_eq!(app.read(|tx| Ok::<_, HubError>(streams::count_active(tx)?))?, 1);
/// app.end_stream("live/cam")?;
/// drop(app);
/// hub.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
    /// Who acts, where somebody is meant.
    pub(crate) actor: Option<Arc<Acting>>,
    /// Which app is meant by a name, where that was found out before.
    pub(crate) meant: Option<Arc<Meant>>,
}

pub(crate) struct Shared {
    pub(crate) config: HubConfig,
    pub(crate) data: DataDir,
    pub(crate) cache: Cache<AppOpener>,
    pub(crate) services: Arc<Services>,
    pub(crate) jobs: Desk,
    pub(crate) template: OnceLock<Mutex<Template>>,
    pub(crate) installation: String,
    /// Held while a settings file is read, changed and written as a whole.
    settings_writer: Mutex<()>,
    created: bool,
    split: Option<SplitReport>,
    /// Counts what may have changed the rights of requests.
    pub(crate) rights: AtomicU64,
    pub(crate) retaining: Retaining,
    /// Where the log is taken from.
    pub(crate) logs: OnceLock<LogSink>,
    pub(crate) credentials: Credentials,
    pub(crate) requests: Requests,
    pub(crate) addresses: Addresses,
    pub(crate) hashing: Hashing,
}

impl Hub {
    /// A hub that acts for nobody.
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared, actor: None, meant: None }
    }

    /// Takes a data directory into possession: creates a new one, takes an older one over, opens ours.
    ///
    /// Blocks, for minutes where there is much older data. Inside a tokio runtime it is to be called on a
    /// thread that may block; the runtime then runs what async callers ask for.
    pub fn open(config: &HubConfig, progress: &dyn Progress) -> Result<Self> {
        let booted = boot::boot(config, progress)?;
        local::withdraw(&booted.data);
        let blocking = Blocking::new();
        let installation = booted.control.installation().map_err(HubError::control)?.unwrap_or_default();
        let executor = blocking.executor();
        let plane = put_into_service(booted.control, config, &blocking)?;
        let retaining = Retaining::begin(&plane);
        let lock = Mutex::new(Some(booted.lock));
        let services = Arc::new(Services {
            plane,
            blocking,
            upkeep: Upkeep::default(),
            live_streams: config.live_streams,
            quotas: config.quotas,
            settled: Settled::default(),
            unsealed: Unsealed::default(),
            begun: Begun::default(),
            lost: Lost::default(),
            lock,
        });
        let opener = AppOpener {
            services: Arc::clone(&services),
            site: booted.site,
            legacy: config.legacy.clone(),
            limits: config.limits,
            observer: Arc::clone(&config.observer),
            executor,
        };
        let cache = Cache::new(
            opener,
            CacheConfig {
                budget: config.budget,
                wait: config.wait,
                observer: Arc::clone(&config.observer),
                ..CacheConfig::default()
            },
        );
        let hub = Self {
            shared: Arc::new(Shared {
                config: config.clone(),
                data: booted.data,
                cache,
                services,
                jobs: Desk::default(),
                template: OnceLock::new(),
                installation,
                settings_writer: Mutex::default(),
                created: booted.created,
                split: booted.split,
                rights: AtomicU64::new(0),
                retaining,
                logs: OnceLock::new(),
                credentials: Credentials::default(),
                requests: Requests::default(),
                addresses: Addresses::default(),
                hashing: Hashing::default(),
            }),
            actor: None,
            meant: None,
        };
        let started = hub.start(config);
        if started.is_err() {
            // The thread that writes the log would outlast it.
            let _ = hub.close();
        }
        started.map(|()| hub)
    }

    fn start(&self, config: &HubConfig) -> Result<()> {
        if let Some(logs) = config.logs.as_ref().filter(|logs| logs.start(self)) {
            let _ = self.shared.logs.set(logs.clone());
        }
        self.finish_steps()?;
        self.note_down(jobs::fail_interrupted)?;
        if config.upkeep {
            self.shared.services.upkeep.start(self);
        }
        Ok(())
    }

    /// Leases an app: its database is open, and stays so until the lease and its clones are gone.
    ///
    /// Blocks for the opening where the app is not open, some tenths of a millisecond; waits where as many
    /// apps are in use as may be open.
    pub fn app(&self, id: &AppId) -> Result<Lease> {
        let lease = self.shared.cache.lease(id)?;
        self.refuse_another(id.as_str(), lease.registered.id)?;
        Ok(Lease::new(lease, self.actor.clone()))
    }

    /// As [`app`](Self::app), for async callers: an app that is open costs no thread.
    pub async fn app_async(&self, id: &AppId) -> Result<Lease> {
        if let Some(lease) = self.shared.cache.try_lease(id) {
            self.refuse_another(id.as_str(), lease.registered.id)?;
            return Ok(Lease::new(lease, self.actor.clone()));
        }
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.app(&app)).await
    }

    /// What an app's place in the cache is doing.
    pub fn app_state(&self, id: &AppId) -> AppState {
        self.shared.cache.state(id)
    }

    /// Figures of the cache of open apps.
    pub fn cache_stats(&self) -> Stats {
        self.shared.cache.stats()
    }

    /// How many writes wait for a transaction of the control database.
    pub fn control_queued(&self) -> usize {
        self.shared.services.plane.queued()
    }

    /// The data directory.
    pub fn data(&self) -> &DataDir {
        &self.shared.data
    }

    /// Whether the installation was made by this opening.
    pub fn created(&self) -> bool {
        self.shared.created
    }

    /// What was taken over by this opening; none where nothing was open.
    pub fn split(&self) -> Option<&SplitReport> {
        self.shared.split.as_ref()
    }

    /// All registered apps, by name.
    pub fn apps(&self) -> Result<Vec<App>> {
        Ok(self.shared.services.plane.read(apps::list)?)
    }

    /// What the registry says of the app of this name.
    pub fn registered(&self, name: &str) -> Result<App> {
        let found = self.shared.services.plane.read(|db| apps::by_name(db, name))?;
        let found = found.ok_or_else(|| HubError::UnknownApp { name: name.to_owned() })?;
        self.refuse_another(name, found.id)?;
        Ok(found)
    }

    /// Which number an app has, and whose it is, for async callers: an app that is open costs no thread.
    pub async fn owner_async(&self, id: &AppId) -> Result<Owner> {
        if let Some(lease) = self.shared.cache.try_lease(id) {
            return Ok(Owner::of(&lease.registered));
        }
        let name = id.clone();
        self.on_control(move |hub| Ok(Owner::of(&hub.registered(name.as_str())?))).await
    }

    /// The same hub, for which a name stands for the app of this number and for no other that is made of the name
    /// since: whoever judged by the one does nothing to the other.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::{Kind, NewApp, TenantId};
    ///
    /// let id = "news-24".parse()?;
    /// let meaning = hub.meaning(&id, hub.registered("news-24")?.id);
    /// assert!(meaning.app(&id).is_ok());
    /// hub.delete(&id)?;
    /// hub.create(&NewApp::new(id.clone(), TenantId::platform()))?;
    /// assert_eq!(meaning.app(&id).unwrap_err().kind(), Kind::NotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn meaning(&self, id: &AppId, app: i64) -> Self {
        Self { meant: Some(Arc::new(Meant { name: id.clone(), app })), ..self.clone() }
    }

    /// The number of the app that a name stands for, where that was found out before.
    pub(crate) fn meant(&self, name: &str) -> Option<i64> {
        let meant = self.meant.as_ref()?;
        (meant.name.as_str() == name).then_some(meant.app)
    }

    fn refuse_another(&self, name: &str, app: i64) -> Result<()> {
        match self.meant(name) {
            Some(meant) if meant != app => Err(HubError::UnknownApp { name: name.to_owned() }),
            _ => Ok(()),
        }
    }

    /// The apps in the trash, those that were deleted first before others. Each is removed for good some time
    /// after [`Deleted::purged_after`](apps::Deleted::purged_after), which is what [`Keep::trash`](crate::Keep::trash) makes it.
    pub fn deleted_apps(&self) -> Result<Vec<Deleted>> {
        let keep = self.shared.config.keep.trash;
        self.read(|db| apps::deleted(db, keep))
    }

    /// A page of the [`deleted_apps`](Self::deleted_apps) that somebody sees.
    pub fn page_of_deleted_apps(&self, within: &Within, page: Page) -> Result<Part<Deleted>> {
        let keep = self.shared.config.keep.trash;
        self.read(|db| apps::deleted_page(db, within, keep, page))
    }

    /// The app of this name that was deleted last of those that somebody sees, where it can be brought back. It is
    /// the one that [`undelete`](Self::undelete) brings back where that is [said](Self::meaning).
    pub fn last_deleted(&self, id: &AppId, within: &Within) -> Result<Option<App>> {
        self.read(|db| match apps::last_deleted(db, id, within)? {
            Some(app) => apps::by_id(db, app),
            None => Ok(None),
        })
    }

    /// Ends everything in order: upkeep, then jobs, which are cancelled, then the apps, each drained, written out and sealed, then the
    /// control database; then lets go of the data directory. Other clones of this hub find it closed.
    ///
    /// Waits up to `HubConfig::wait` for leases that are out. Where some do not end, the error says of how
    /// many apps, and the data directory is let go of when the last of them is gone; closing again waits again.
    /// What was written and could not be sealed in time is logged.
    ///
    /// A hub that is dropped without this waits for no work that is under way: it is as after a crash, and its files
    /// are let go of when that work ends.
    pub fn close(&self) -> Result<()> {
        let shared = &self.shared;
        // Held to the end, so that whoever closes meanwhile waits and sees what came of it.
        let mut lock = shared.services.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Ok(());
        }
        local::withdraw(&shared.data);
        shared.services.upkeep.stop();
        if let Err(error) = self.note_used_credentials() {
            tracing::warn!(%error, "when credentials were last used is not written down");
        }
        let deadline = Instant::now() + shared.config.wait;
        shared.jobs.close(self, deadline);
        self.seal_what_was_used(deadline);
        let still_used = shared.cache.close(deadline);
        if let Err(error) = self.forget_empty_outboxes() {
            tracing::warn!(%error, "outboxes are looked at again at the next start");
        }
        if let Some(logs) = shared.logs.get() {
            logs.end(deadline);
        }
        let control = shared.services.plane.close().map_err(HubError::control);
        if still_used > 0 {
            // Whoever still has a lease can still write, so nobody else may have the directory before the
            // last of them is gone.
            let what = counted(still_used, "app");
            return Err(HubError::Busy { what, reason: live::Busy::InUse });
        }
        *lock = None;
        control
    }

    /// Keeps the data directory for this hub until what is returned is dropped, for what is in no database.
    pub(crate) fn stay_open(&self) -> Result<impl Drop + '_> {
        let lock = self.shared.services.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_some() { Ok(lock) } else { Err(HubError::Closed) }
    }

    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&streamhub_control::Connection) -> streamhub_control::SqlResult<T>,
    ) -> Result<T> {
        Ok(self.shared.services.plane.read(work)?)
    }

    /// Changes the control database. What requests may do is asked anew afterwards.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&streamhub_control::Connection) -> streamhub_control::SqlResult<T> + Send + 'static,
    ) -> Result<T> {
        let written = self.note_down(work);
        // Also where it is not known whether it was written.
        self.shared.rights.fetch_add(1, Ordering::AcqRel);
        written
    }

    /// Writes down in the control database what nobody's rights depend on.
    pub(crate) fn note_down<T: Send + 'static>(
        &self,
        work: impl FnMut(&streamhub_control::Connection) -> streamhub_control::SqlResult<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.shared.services.plane.write(work)?)
    }
}

fn put_into_service(control: Control, config: &HubConfig, blocking: &Blocking) -> Result<Arc<Plane>> {
    let config = live::Config {
        limits: config.limits,
        observer: Arc::clone(&config.control_observer),
        executor: blocking.executor(),
        first_write: Box::new(|| Ok(live::Durability::Full)),
        protected: &[],
    };
    Plane::new(control, config).map(Arc::new).map_err(HubError::control)
}

impl Shared {
    pub(crate) fn settings_writer(&self) -> MutexGuard<'_, ()> {
        self.settings_writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever did not close the hub finds everything as after a crash, which is whole.
        self.services.upkeep.stop();
        self.jobs.abandon();
        if let Some(logs) = self.logs.get() {
            logs.abandon();
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("data", &self.shared.data.root()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Volatile;
    use crate::progress::Silent;

    #[test]
    fn a_closed_hub_lets_go_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data"));
        config.volatile = Volatile::Permit;
        let hub = Hub::open(&config, &Silent).unwrap();
        assert!(hub.created());
        let clone = hub.clone();
        assert!(matches!(Hub::open(&config, &Silent), Err(HubError::InUse { .. })));
        hub.close().unwrap();
        assert!(matches!(clone.app(&"app-1".parse().unwrap()), Err(HubError::Closed)));
        assert!(!Hub::open(&config, &Silent).unwrap().created());
    }
}
