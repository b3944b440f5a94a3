//! What becomes of a job whose app gets another name, or is deleted.

use super::jobs::{code, held, over, with_apps};
use super::*;
use crate::jobs::{JobState, Lane, NewJob, Work};

/// The lane of what keeps the disk of an app busy.
fn disk(hub: &Hub, app: &str) -> Lane {
    Lane::Disk(hub.data().app(&id(app)).device().unwrap())
}

#[test]
fn a_job_is_done_to_its_app_whatever_that_is_called_by_then() {
    let site = Site::new();
    let hub = with_apps(&site, &["app-1", "app-2"]);
    let (_, go) = held(&hub, "app-1", disk(&hub, "app-2"));
    let waiting = hub.start_job(&NewJob::new(Work::Check, id("app-2"))).unwrap();
    let renamed = hub.rename(&id("app-2"), &id("app-3")).unwrap();
    created(&hub, "app-2");
    go.send(()).unwrap();
    let done = over(&hub, &waiting);
    assert_eq!((done.state, done.error), (JobState::Succeeded, None));
    assert_eq!(done.app_id, Some(renamed.id));
    hub.close().unwrap();
}

#[test]
fn jobs_of_a_deleted_app_that_wait_are_over_with_it() {
    let site = Site::new();
    let hub = with_apps(&site, &["app-1", "app-2"]);
    let (first, go) = held(&hub, "app-1", disk(&hub, "app-2"));
    let waiting =
        [Work::Check, Work::Optimize].map(|work| hub.start_job(&NewJob::new(work, id("app-2"))).unwrap());
    hub.delete(&id("app-2")).unwrap();
    for job in &waiting {
        assert!(hub.job(&job.id).unwrap().state.is_over(), "it has not to wait for its turn");
        let over = over(&hub, job);
        assert_eq!((over.state, code(&over)), (JobState::Cancelled, Some("app_deleted")));
    }
    assert_eq!((hub.job_stats().queued, hub.job_stats().cancelled), (0, 2));
    go.send(()).unwrap();
    assert_eq!(over(&hub, &first).state, JobState::Succeeded);
    hub.close().unwrap();
}
