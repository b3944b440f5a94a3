//! What is said of a job that did not succeed: a code for programs, and a text that shows no place of the server.

use streamhub_control::jobs::JobError;

use crate::error::HubError;
use crate::hub::Hub;

/// A check found something.
pub(super) fn damaged(first: &str, findings: usize) -> JobError {
    let more = if findings > 1 { format!(" (and {} more)", findings - 1) } else { String::new() };
    said("damaged", format!("{first}{more}"))
}

/// The hub is being closed.
pub(super) fn stopping() -> JobError {
    said("stopping", "the server stopped before it was done; start it again")
}

/// The app was deleted before the job's turn came.
pub(super) fn deleted() -> JobError {
    said("app_deleted", "the app was deleted before it was done")
}

/// The job panicked, which says more in the log.
pub(super) fn panicked() -> JobError {
    said("panicked", "the program has a bug, and its log says which; nothing is half done")
}

/// There is no thread to be had.
pub(super) fn no_thread() -> JobError {
    said("busy", "as many threads are at work as may be; start it again a little later")
}

/// It failed.
pub(super) fn of(hub: &Hub, error: &HubError) -> JobError {
    said(error.code(), hub.without_places(error.to_string()))
}

fn said(code: &str, message: impl Into<String>) -> JobError {
    JobError { code: code.to_owned(), message: message.into() }
}
