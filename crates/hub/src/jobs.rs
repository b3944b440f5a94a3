//! Long work that nobody waits for: it is asked for, goes on by itself, and can be looked at and ended.
//!
//! A job is a row of the control database from the moment when it is asked for, so that what became of it is
//! known after a restart too. Work that keeps a disk busy is done one piece at a time for each disk, and waits
//! while its app has live streams, unless it is forced; what takes little is done two pieces at a time. No app
//! has two jobs at work. What waits costs no thread.

mod desk;
mod entry;
mod failure;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use streamhub_appstore::purge::Scope;
use streamhub_control::apps::{self, App};
use streamhub_control::{TenantId, jobs};
use streamhub_engine::time::Moment;
use streamhub_engine::{AppId, Uuid};
use tokio::sync::watch;

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::maintenance;
use crate::progress::Progress;
use entry::Entry;

pub(crate) use desk::Desk;
pub use desk::JobStats;
pub use streamhub_control::jobs::{Filter, Job, JobError, JobProgress, JobState, Listed};

/// How long it is known what became of a job.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// What can be done to an app as a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Makes its database small and fast again; the result is an [`Optimized`](crate::Optimized).
    Optimize,
    /// Looks through its database; the result is a [`Checked`](crate::Checked), and where it is not ok the job
    /// has failed with the code `damaged`.
    Check,
    /// Empties its `-wal`; the result is a [`Checkpointed`](crate::Checkpointed).
    Checkpoint,
    /// Removes what it has gathered; the result is a [`Purged`](crate::Purged).
    Purge(Scope),
}

/// A job that is to be done.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::jobs::{JobState, NewJob, Work};
///
/// let job = hub.start_job(&NewJob::new(Work::Optimize, "news-24".parse()?))?;
/// assert_eq!((job.state, &*job.kind), (JobState::Queued, "optimize"));
///
/// let mut watched = hub.watch_job(&job.id)?;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let over = watched.wait_for(|job| job.state.is_over()).await?.clone();
/// assert_eq!(over.state, JobState::Succeeded);
/// assert_eq!(hub.job(&job.id)?, over);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # hub.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// What is to be done.
    pub work: Work,
    /// To which app.
    pub app: AppId,
    /// Whether work that keeps the disk busy is done although the app has live streams.
    pub force: bool,
}

/// What runs beside what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Keeps the disk of this number busy.
    Disk(u64),
    /// Takes little.
    Light,
}

/// What came of work that was done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) result: Value,
    /// What it found that makes the job one that failed.
    pub(crate) finding: Option<JobError>,
}

pub(crate) type Task = Box<dyn FnOnce(&Hub, &dyn Progress) -> Result<Done> + Send>;

/// What the desk needs to know of a job.
pub(crate) struct Order {
    pub(crate) kind: &'static str,
    /// What it is for the audit.
    pub(crate) deed: Deed,
    pub(crate) app: App,
    pub(crate) lane: Lane,
    pub(crate) force: bool,
    pub(crate) steps: u32,
    pub(crate) task: Task,
}

impl Lane {
    /// How many jobs may be at work in it.
    fn places(self) -> usize {
        match self {
            Self::Disk(_) => 1,
            Self::Light => 2,
        }
    }
}

impl NewJob {
    /// Work on an app, which waits for live streams to end where it has to.
    pub fn new(work: Work, app: AppId) -> Self {
        Self { work, app, force: false }
    }
}

impl Work {
    /// What a job's `kind` says.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Optimize => "optimize",
            Self::Check => "check",
            Self::Checkpoint => "checkpoint",
            Self::Purge(_) => "purge",
        }
    }

    fn deed(self, force: bool) -> Deed {
        match self {
            Self::Optimize => Deed::of("db.optimize").detail(json!({ "force": force })),
            Self::Check => Deed::of("db.check").detail(json!({ "force": force })),
            Self::Checkpoint => Deed::of("db.checkpoint"),
            Self::Purge(scope) => maintenance::deed_of_purge(scope),
        }
    }

    fn steps(self) -> u32 {
        match self {
            Self::Optimize => 5,
            Self::Check => 3,
            Self::Checkpoint => 1,
            Self::Purge(scope) => maintenance::steps_of_purge(scope),
        }
    }

    fn carry_out(self, hub: &Hub, app: &AppId, progress: &dyn Progress) -> Result<Done> {
        match self {
            Self::Optimize => hub.optimize(app, progress).map(Done::with),
            Self::Check => hub.check(app, progress).map(|checked| Done {
                finding: checked
                    .problems
                    .first()
                    .map(|first| failure::damaged(first, checked.problems.len())),
                ..Done::with(checked)
            }),
            Self::Checkpoint => hub.checkpoint(app, progress).map(Done::with),
            Self::Purge(scope) => hub.purge_app(app, scope, progress).map(Done::with),
        }
    }
}

impl Done {
    fn with(result: impl serde::Serialize) -> Self {
        let result = serde_json::to_value(result).expect("what maintenance says is JSON");
        Self { result, finding: None }
    }
}

impl Hub {
    /// Asks for a job and returns at once: it goes on by itself, whatever becomes of the caller.
    pub fn start_job(&self, new: &NewJob) -> Result<Job> {
        let app = self.in_service(&new.app)?;
        let place = self.data().app(&new.app);
        if !place.exists()? {
            return Err(HubError::NoAppDir { dir: place.dir().to_owned() });
        }
        let lane = match new.work {
            Work::Optimize | Work::Check => Lane::Disk(place.device()?),
            Work::Checkpoint | Work::Purge(_) => Lane::Light,
        };
        // By the time when it is done the app may have another name, or the name may be another app's.
        let (work, number) = (new.work, app.id);
        self.enqueue(Order {
            kind: work.kind(),
            deed: work.deed(new.force),
            app,
            lane,
            force: new.force,
            steps: work.steps(),
            task: Box::new(move |hub, progress| {
                let id = hub.name_of(number)?;
                // The audit tells of it already.
                work.carry_out(&hub.acting_for_nobody().meaning(&id, number), &id, progress)
            }),
        })
    }

    /// As [`start_job`](Self::start_job), for async callers.
    pub async fn start_job_async(&self, new: &NewJob) -> Result<Job> {
        let (app, new) = (new.app.clone(), new.clone());
        self.blocking(Some(&app), move |hub| hub.start_job(&new)).await
    }

    /// How a job stands.
    pub fn job(&self, id: &Uuid) -> Result<Job> {
        if let Some(entry) = self.shared.jobs.find(id) {
            return Ok(entry.job());
        }
        self.registry().job(id)
    }

    /// As [`job`](Self::job), for async callers.
    pub async fn job_async(&self, id: &Uuid) -> Result<Job> {
        let id = id.clone();
        self.on_control(move |hub| hub.job(&id)).await
    }

    /// Lists jobs, the newest first.
    pub fn jobs(&self, filter: &Filter) -> Result<Listed> {
        let mut listed = self.registry().jobs(filter)?;
        for job in listed.entries.iter_mut().filter(|job| !job.state.is_over()) {
            // What is in memory is further than what was written down last.
            if let Some(entry) = self.shared.jobs.find(&job.id) {
                *job = entry.job();
            }
        }
        Ok(listed)
    }

    /// As [`jobs`](Self::jobs), for async callers.
    pub async fn jobs_async(&self, filter: Filter) -> Result<Listed> {
        self.searching(move |hub| hub.jobs(&filter)).await
    }

    /// Follows a job: what is received is how it stands, and that it is over comes last.
    pub fn watch_job(&self, id: &Uuid) -> Result<watch::Receiver<Job>> {
        match self.shared.jobs.find(id) {
            Some(entry) => Ok(entry.watch()),
            None => self.job(id).map(|job| watch::channel(job).1),
        }
    }

    /// As [`watch_job`](Self::watch_job), for async callers.
    pub async fn watch_job_async(&self, id: &Uuid) -> Result<watch::Receiver<Job>> {
        let id = id.clone();
        self.on_control(move |hub| hub.watch_job(&id)).await
    }

    /// Cancels a job: one that waits is over when this returns, one that is at work ends at its next point. One
    /// that is over stays as it is.
    pub fn cancel_job(&self, id: &Uuid) -> Result<Job> {
        let Some(entry) = self.shared.jobs.find(id) else { return self.job(id) };
        let job = entry.job();
        let mut deed = Deed::of("job.cancel").target(id);
        if let Some(app) = job.app {
            deed = deed.app(&app);
        }
        if let Some(tenant) = job.tenant_id {
            deed = deed.tenant(&TenantId::from_registry(tenant));
        }
        if self.shared.jobs.withdraw(&entry) {
            let over = entry.cancelled(None);
            let saved = over.clone();
            let cancelled = self.change(deed, move |db, _| jobs::save(db, &saved).map(Ok::<_, HubError>));
            self.shared.jobs.settle(self, &entry, cancelled.is_ok().then_some(over));
            cancelled?;
        } else if !entry.job().state.is_over() {
            self.change(deed, |_, _| Ok(Ok::<_, HubError>(())))?;
            entry.stop().ask();
        }
        Ok(entry.job())
    }

    /// As [`cancel_job`](Self::cancel_job), for async callers.
    pub async fn cancel_job_async(&self, id: &Uuid) -> Result<Job> {
        let id = id.clone();
        self.on_control(move |hub| hub.cancel_job(&id)).await
    }

    /// How many jobs wait and are at work, and what became of others since the hub was opened.
    pub fn job_stats(&self) -> JobStats {
        self.shared.jobs.stats()
    }

    /// Forgets jobs that were over long ago.
    pub(crate) fn prune_jobs(&self) -> Result<()> {
        let before = Moment::now().before(KEEP);
        self.in_chunks(jobs::PRUNE_CHUNK, move |db| jobs::prune(db, &before))
    }

    /// Puts a job into the queue once its row is durable.
    pub(crate) fn enqueue(&self, order: Order) -> Result<Job> {
        let Order { kind, deed, app, lane, force, steps, task } = order;
        if self.shared.jobs.is_full_for(app.id) {
            return Err(HubError::TooManyJobs { app: app.name });
        }
        let tenant = TenantId::from_registry(app.tenant_id.clone());
        let job = Job::queued(kind, Some(&app), steps);
        let deed = deed.tenant(&tenant).app(&app.name).target(&job.id);
        let row = job.clone();
        self.change(deed, move |db, _| jobs::insert(db, &row).map(Ok::<_, HubError>))?;
        let patient = matches!(lane, Lane::Disk(_)) && !force;
        let entry = Entry::new(job.clone(), app.id, lane, patient, self.actor.clone(), task);
        self.shared.jobs.push(self, Arc::new(entry))?;
        Ok(job)
    }

    /// Ends the jobs of a deleted app that wait.
    pub(crate) fn cancel_jobs_of(&self, app: i64) {
        self.shared.jobs.cancel_of(self, app);
    }

    /// What the app of this number is called.
    fn name_of(&self, app: i64) -> Result<AppId> {
        let found = self.read(|db| apps::by_id(db, app))?;
        // A deleted app has given its name away.
        let name = found.and_then(|app| app.name.parse().ok());
        name.ok_or_else(|| HubError::UnknownApp { name: app.to_string() })
    }

    /// The registry's row of an app that is in service.
    pub(crate) fn in_service(&self, id: &AppId) -> Result<App> {
        let app = self.registered(id.as_str())?;
        match app.standing() {
            "active" => Ok(app),
            state => Err(HubError::NotInService { app: id.clone(), state: state.to_owned() }),
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("kind", &self.kind).field("app", &self.app.name).finish_non_exhaustive()
    }
}
