//! Jobs: whose turn it is, how they end, and what is known of them then.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use streamhub_control::{Within, jobs as rows};

use super::*;
use crate::acting::Deed;
use crate::jobs::{Done, Filter, Job, JobState, Lane, NewJob, Order, Work};
use crate::progress::{Progress, Stop};

/// Waits until a job is over, and demands that its row says the same.
pub(super) fn over(hub: &Hub, job: &Job) -> Job {
    let shown = await_that(hub, job, |job| job.state.is_over());
    let id = job.id.clone();
    let written = hub.read(move |db| rows::get(db, &id)).unwrap().unwrap();
    assert_eq!(written, shown, "what is shown is durable");
    shown
}

/// Waits until something can be said of a job.
pub(super) fn await_that(hub: &Hub, job: &Job, is_so: impl Fn(&Job) -> bool) -> Job {
    let mut watched = hub.watch_job(&job.id).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { watched.wait_for(|job| is_so(job)).await.unwrap().clone() })
}

fn done() -> Done {
    Done { result: json!({ "done": true }), finding: None }
}

/// A job of the test's own.
fn order(
    hub: &Hub,
    app: &str,
    lane: Lane,
    task: impl FnOnce(&Hub, &dyn Progress) -> Result<Done> + Send + 'static,
) -> Job {
    let app = hub.registered(app).unwrap();
    let task = Box::new(task);
    hub.enqueue(Order { kind: "test", deed: Deed::of("test"), app, lane, force: true, steps: 1, task })
        .unwrap()
}

/// A job that says when it is at work, and is so until it is told to end.
pub(super) fn held(hub: &Hub, app: &str, lane: Lane) -> (Job, Sender<()>) {
    let ((begun, has_begun), (go, wait)): ((_, Receiver<()>), _) = (mpsc::channel(), mpsc::channel());
    let job = order(hub, app, lane, move |_, _| {
        begun.send(()).unwrap();
        let _ = wait.recv();
        Ok(done())
    });
    has_begun.recv().unwrap();
    (job, go)
}

pub(super) fn with_apps(site: &Site, names: &[&str]) -> Hub {
    let hub = site.hub("a");
    for name in names {
        created(&hub, name);
    }
    hub
}

pub(super) fn code(job: &Job) -> Option<&str> {
    job.error.as_ref().map(|error| error.code.as_str())
}

#[test]
fn a_job_is_followed_to_its_end_and_found_after_a_restart() {
    let site = Site::new();
    let hub = with_apps(&site, &["news-24"]);
    let acting = hub.acting(Actor::new("user:ana"));
    let job = acting.start_job(&NewJob::new(Work::Optimize, id("news-24"))).unwrap();
    assert_eq!((job.state, job.app.as_deref(), &*job.kind), (JobState::Queued, Some("news-24"), "optimize"));
    let over = over(&hub, &job);
    assert_eq!((over.state, &over.error), (JobState::Succeeded, &None));
    let progress = (&*over.progress.step, over.progress.step_index, over.progress.steps);
    assert_eq!(progress, ("PRAGMA wal_checkpoint(TRUNCATE)", 5, 5));
    assert_eq!(over.result.as_ref().unwrap()["path"], "apps/news-24/app.db");
    let filter = audit::Filter { tenant: None, since: None, until: None, cursor: None, limit: 1 };
    let entry = hub.read(move |db| audit::list(db, &filter)).unwrap().entries.remove(0).entry;
    let said = (&*entry.principal, &*entry.action, entry.target.as_deref(), entry.app.as_deref());
    assert_eq!(said, ("user:ana", "db.optimize", Some(job.id.as_str()), Some("news-24")));
    assert_eq!(hub.cancel_job(&job.id).unwrap(), over, "what is over stays as it is");
    hub.close().unwrap();
    assert_eq!(hub.job_stats().succeeded, 1);
    assert!(matches!(hub.start_job(&NewJob::new(Work::Check, id("news-24"))), Err(HubError::Closed)));
    let hub = site.hub("a");
    assert_eq!(hub.job(&job.id).unwrap(), over);
    let filter = Filter { within: Within::Everything, tenant: None, app: None, cursor: None, limit: 9 };
    assert_eq!(hub.jobs(&filter).unwrap().entries, [over]);
    assert_eq!(hub.job(&Uuid::random()).unwrap_err().kind(), Kind::NotFound);
    let unknown = NewJob::new(Work::Optimize, id("nobody"));
    assert_eq!(hub.start_job(&unknown).unwrap_err().kind(), Kind::NotFound);
    hub.close().unwrap();
}

#[test]
fn what_waits_is_cancelled_at_once_and_never_begun() {
    let site = Site::new();
    let hub = with_apps(&site, &["app-1", "app-2"]);
    let (first, go) = held(&hub, "app-1", Lane::Disk(7));
    let was_begun = Arc::new(AtomicBool::new(false));
    let second = order(&hub, "app-2", Lane::Disk(7), {
        let was_begun = Arc::clone(&was_begun);
        move |_, _| {
            was_begun.store(true, Ordering::Relaxed);
            Ok(done())
        }
    });
    assert_eq!((hub.job_stats().queued, hub.job_stats().running), (1, 1));
    let cancelled = hub.acting(Actor::new("user:ana")).cancel_job(&second.id).unwrap();
    assert_eq!((cancelled.state, &cancelled.error), (JobState::Cancelled, &None));
    assert_eq!(over(&hub, &second), cancelled);
    go.send(()).unwrap();
    assert_eq!(over(&hub, &first).result, Some(json!({ "done": true })));
    hub.close().unwrap();
    assert!(!was_begun.load(Ordering::Relaxed));
}

/// Has the control database refuse to write down that a job is in a state, until what is returned is closed.
fn refusing(hub: &Hub, state: JobState) -> streamhub_engine::Database {
    // A connection of the test's own, since closures may not change the schema.
    let control = streamhub_engine::Database::write(hub.shared.services.plane.path()).unwrap();
    let sql = format!(
        "CREATE TRIGGER full BEFORE UPDATE ON _streamhub_jobs WHEN NEW.state = '{state}' \
         BEGIN SELECT RAISE (ABORT, 'the disk is full'); END"
    );
    control.execute_batch(&sql).unwrap();
    control
}

fn permit(control: streamhub_engine::Database) {
    control.execute_batch("DROP TRIGGER full").unwrap();
    control.close().unwrap();
}

#[test]
fn what_cannot_be_cancelled_has_its_turn_all_the_same() {
    let site = Site::new();
    let hub = with_apps(&site, &["app-1"]);
    let (first, go) = held(&hub, "app-1", Lane::Light);
    let second = order(&hub, "app-1", Lane::Light, |_, _| Ok(done()));
    let control = refusing(&hub, JobState::Cancelled);
    assert!(hub.cancel_job(&second.id).is_err());
    assert_eq!((hub.job(&second.id).unwrap().state, hub.job_stats().queued), (JobState::Queued, 1));
    permit(control);
    go.send(()).unwrap();
    for job in [&first, &second] {
        assert_eq!(over(&hub, job).state, JobState::Succeeded);
    }
    hub.close().unwrap();
}

/// Has somebody cancel the work in the middle of VACUUM.
struct CancelledInVacuum<'a> {
    job: &'a dyn Progress,
    at_vacuum: Sender<()>,
    go_on: Receiver<()>,
}

impl Progress for CancelledInVacuum<'_> {
    fn begin(&self, step: &str, units: Option<u64>) {
        self.job.begin(step, units);
        if step == "VACUUM" {
            self.at_vacuum.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
    }

    fn advance(&self, units: u64) {
        self.job.advance(units);
    }

    fn end(&self) {
        self.job.end();
    }

    fn stop(&self) -> Stop {
        self.job.stop()
    }
}

#[test]
fn a_vacuum_ends_in_the_middle_and_leaves_the_database_as_it_was() {
    let site = Site::new();
    let hub = with_apps(&site, &["news-24"]);
    let app = hub.app(&id("news-24")).unwrap();
    let fill = |tx: &mut WriteTx<'_>| {
        tx.execute(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600) \
             INSERT INTO vods (app_id, name, metatags_json) SELECT 1, i, hex(zeroblob(30000)) FROM n",
            [],
        )
        .map_err(StoreError::from)?;
        tx.execute("DELETE FROM vods WHERE id % 2 = 0", []).map_err(StoreError::from)?;
        Ok::<_, HubError>(())
    };
    app.write(fill).unwrap();
    drop(app);
    let before = hub.health(&id("news-24")).unwrap();
    assert!(before.page_count > 8000 && before.freelist_count > 4000, "{before:?}");

    let ((at_vacuum, is_there), (go, go_on)) = (mpsc::channel(), mpsc::channel());
    let job = order(&hub, "news-24", Lane::Disk(1), move |hub, job| {
        let result = hub.optimize(&id("news-24"), &CancelledInVacuum { job, at_vacuum, go_on })?;
        Ok(Done { result: json!(result), finding: None })
    });
    is_there.recv().unwrap();
    assert_eq!(hub.cancel_job(&job.id).unwrap().state, JobState::Running);
    go.send(()).unwrap();
    let over = over(&hub, &job);
    assert_eq!((over.state, &over.error, &*over.progress.step), (JobState::Cancelled, &None, "VACUUM"));
    let after = hub.health(&id("news-24")).unwrap();
    // But for what ANALYZE, the step before, has written.
    assert_eq!(after.page_count, before.page_count);
    assert!(after.freelist_count + 3 > before.freelist_count, "{after:?}");
    assert!(hub.check(&id("news-24"), &Silent).unwrap().ok);
    assert!(hub.optimize(&id("news-24"), &Silent).unwrap().reclaimed_bytes > 10_000_000);
    hub.close().unwrap();
}

#[test]
fn what_a_process_left_unfinished_was_interrupted() {
    let site = Site::new();
    let hub = with_apps(&site, &["news-24"]);
    let jobs = [JobState::Queued, JobState::Running, JobState::Succeeded]
        .map(|state| Job { state, ..Job::queued("check", None, 3) });
    let left = jobs.clone();
    hub.write(move |db| left.iter().try_for_each(|job| rows::insert(db, job))).unwrap();
    hub.close().unwrap();
    let hub = site.hub("a");
    let found = jobs.map(|job| hub.job(&job.id).unwrap());
    let states = [0, 1, 2].map(|at| (found[at].state, code(&found[at])));
    let interrupted = (JobState::Failed, Some("interrupted"));
    assert_eq!(states, [interrupted, interrupted, (JobState::Succeeded, None)]);
    hub.close().unwrap();
}

#[test]
fn a_panic_is_a_failed_job_and_the_next_has_its_turn() {
    let site = Site::new();
    let hub = with_apps(&site, &["news-24"]);
    let job = order(&hub, "news-24", Lane::Disk(1), |_, _| panic!("a secret of the inside"));
    let failed = over(&hub, &job);
    assert_eq!((failed.state, code(&failed)), (JobState::Failed, Some("panicked")));
    assert!(!serde_json::to_string(&failed).unwrap().contains("secret"), "{failed:?}");
    let next = order(&hub, "news-24", Lane::Disk(1), |_, _| Ok(done()));
    assert_eq!(over(&hub, &next).state, JobState::Succeeded);
    hub.close().unwrap();
    assert_eq!((hub.job_stats().failed, hub.job_stats().succeeded), (1, 1));
}

#[test]
fn one_disk_does_one_thing_at_a_time_and_disks_and_light_work_go_on_beside() {
    let names: Vec<String> = (1..=8).map(|at| format!("app-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let site = Site::new();
    let hub = with_apps(&site, &names);
    let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let on_one_disk: Vec<Job> = names
        .iter()
        .map(|name| {
            let (at_work, most) = (Arc::clone(&at_work), Arc::clone(&most));
            order(&hub, name, Lane::Disk(1), move |_, _| {
                most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
                at_work.fetch_sub(1, Ordering::SeqCst);
                Ok(done())
            })
        })
        .collect();
    for job in &on_one_disk {
        assert_eq!(over(&hub, job).state, JobState::Succeeded);
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    // None of these four ends before all of them are at work, and a third light one waits.
    let all_at_once = Arc::new(Barrier::new(5));
    let lanes = [Lane::Disk(1), Lane::Disk(2), Lane::Light, Lane::Light, Lane::Light];
    let jobs: Vec<Job> = lanes
        .into_iter()
        .zip(&names)
        .enumerate()
        .map(|(at, (lane, name))| {
            let all_at_once = Arc::clone(&all_at_once);
            order(&hub, name, lane, move |_, _| {
                if at < 4 {
                    all_at_once.wait();
                }
                Ok(done())
            })
        })
        .collect();
    for job in &jobs[..4] {
        await_that(&hub, job, |job| job.state == JobState::Running);
    }
    assert_eq!(hub.job(&jobs[4].id).unwrap().state, JobState::Queued);
    all_at_once.wait();
    for job in &jobs {
        assert_eq!(over(&hub, job).state, JobState::Succeeded);
    }
    hub.close().unwrap();
}

#[test]
fn one_app_has_one_job_at_work() {
    let site = Site::new();
    let hub = with_apps(&site, &["app-1", "app-2"]);
    let (first, go) = held(&hub, "app-1", Lane::Disk(1));
    let same = order(&hub, "app-1", Lane::Light, |_, _| Ok(done()));
    let other = order(&hub, "app-2", Lane::Light, |_, _| Ok(done()));
    assert_eq!(over(&hub, &other).state, JobState::Succeeded);
    assert_eq!(hub.job(&same.id).unwrap().state, JobState::Queued);
    go.send(()).unwrap();
    for job in [&first, &same] {
        assert_eq!(over(&hub, job).state, JobState::Succeeded);
    }
    hub.close().unwrap();
}

#[test]
fn an_app_has_no_more_jobs_that_wait_than_it_may() {
    let site = Site::new();
    let hub = with_apps(&site, &["app-1", "app-2"]);
    let (_first, go) = held(&hub, "app-1", Lane::Light);
    let check = |name: &str| hub.start_job(&NewJob::new(Work::Check, id(name)));
    let waiting: Vec<Job> = (0..16).map(|_| check("app-1").unwrap()).collect();
    let refused = check("app-1").unwrap_err();
    assert_eq!(
        (refused.kind(), &*refused.to_string()),
        (Kind::Unavailable, "app-1: as many jobs wait for it as may")
    );
    over(&hub, &check("app-2").unwrap());
    hub.cancel_job(&waiting[7].id).unwrap();
    check("app-1").unwrap();
    go.send(()).unwrap();
    hub.close().unwrap();
}

#[test]
fn that_a_job_is_over_is_shown_once_it_is_written_down() {
    let site = Site::new();
    let hub = with_apps(&site, &["news-24"]);
    let (job, go) = held(&hub, "news-24", Lane::Light);
    let control = refusing(&hub, JobState::Succeeded);
    go.send(()).unwrap();
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(2));
        assert_eq!(hub.job(&job.id).unwrap().state, JobState::Running);
    }
    permit(control);
    assert_eq!(over(&hub, &job).state, JobState::Succeeded);
    hub.close().unwrap();
}

#[test]
fn live_streams_postpone_what_keeps_the_disk_busy_unless_it_is_forced() {
    let site = Site::new();
    let hub = with_apps(&site, &["news-24"]);
    let lease = hub.app(&id("news-24")).unwrap();
    for name in ["live/cam", "live/stage"] {
        lease.start_stream(stream(name)).unwrap();
    }
    drop(lease);
    let patient = hub.start_job(&NewJob::new(Work::Optimize, id("news-24"))).unwrap();
    let waits = |words: &'static str| move |job: &Job| job.progress.step == words;
    let waiting = await_that(&hub, &patient, waits("waiting for 2 live streams to end, unless it is forced"));
    assert_eq!((waiting.state, waiting.progress.step_index), (JobState::Queued, 0));
    for new in [
        NewJob { force: true, ..NewJob::new(Work::Optimize, id("news-24")) },
        NewJob::new(Work::Checkpoint, id("news-24")),
    ] {
        let job = hub.start_job(&new).unwrap();
        assert_eq!(over(&hub, &job).state, JobState::Succeeded, "{new:?}");
    }
    assert_eq!(hub.job(&patient.id).unwrap().state, JobState::Queued);
    hub.app(&id("news-24")).unwrap().end_stream("live/cam").unwrap();
    await_that(&hub, &patient, waits("waiting for 1 live stream to end, unless it is forced"));
    hub.app(&id("news-24")).unwrap().end_stream("live/stage").unwrap();
    assert_eq!(over(&hub, &patient).state, JobState::Succeeded);
    hub.close().unwrap();
}

#[test]
fn a_hub_that_closes_cancels_its_jobs_and_says_why() {
    let site = Site::new();
    let mut config = site.config("a");
    config.wait = Duration::from_secs(30);
    let hub = Hub::open(&config, &Silent).unwrap();
    created(&hub, "app-1");
    created(&hub, "app-2");
    let (begun, has_begun) = mpsc::channel();
    let running = order(&hub, "app-1", Lane::Disk(1), move |hub, progress| {
        // It has the app in use, so that the hub could not be closed beside it.
        let _lease = hub.app(&id("app-1"))?;
        begun.send(()).unwrap();
        while !progress.stop().is_asked() {
            thread::sleep(Duration::from_millis(1));
        }
        Err(HubError::Cancelled)
    });
    has_begun.recv().unwrap();
    let queued = order(&hub, "app-2", Lane::Disk(1), |_, _| Ok(done()));
    let mut watched = hub.watch_job(&queued.id).unwrap();
    hub.close().unwrap();
    assert_eq!(watched.borrow_and_update().state, JobState::Cancelled, "whoever follows it is told");
    let hub = site.hub("a");
    for job in [running, queued] {
        let job = hub.job(&job.id).unwrap();
        assert_eq!((job.state, code(&job)), (JobState::Cancelled, Some("stopping")), "{job:?}");
    }
    hub.close().unwrap();
}

#[test]
fn a_hub_that_nobody_closed_lets_go_of_its_directory() {
    let site = Site::new();
    let hub = with_apps(&site, &["app-1", "app-2"]);
    hub.app(&id("app-1")).unwrap().start_stream(stream("live")).unwrap();
    let job = hub.start_job(&NewJob::new(Work::Check, id("app-1"))).unwrap();
    await_that(&hub, &job, |job| job.progress.step.starts_with("waiting"));
    drop(hub);
    let hub = loop {
        // The thread that looks whose turn it is may be looking.
        match Hub::open(&site.config("a"), &Silent) {
            Ok(hub) => break hub,
            Err(HubError::InUse { .. }) => thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(code(&hub.job(&job.id).unwrap()), Some("interrupted"));
    hub.close().unwrap();
}
