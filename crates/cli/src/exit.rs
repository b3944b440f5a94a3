//! Exit codes, and how an error is shown.

use std::process::ExitCode;

use streamhub::{HubError, Kind};

/// What the process ends with. Other programs rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Everything asked for was done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// A source is missing.
    SourceMissing = 5,
    /// Some app could not be taken over; the report says which.
    MigrationFailed = 70,
    /// The data directory is in use.
    InUse = 75,
    /// The configuration or the installation has to be mended.
    Configuration = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// An error that already knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) way_out: String,
}

impl Refusal {
    /// A refusal because of the configuration.
    pub(crate) fn configuration(message: &impl ToString, way_out: impl Into<String>) -> anyhow::Error {
        Self { code: Code::Configuration, message: message.to_string(), way_out: way_out.into() }.into()
    }
}

/// Prints an error with its way out and returns its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let (code, way_out) = if let Some(hub) = error.downcast_ref::<HubError>() {
        (of_kind(hub.kind()), hub.way_out())
    } else if let Some(refusal) = error.downcast_ref::<Refusal>() {
        (refusal.code, refusal.way_out.clone())
    } else {
        (Code::Failed, String::new())
    };
    crate::output::error(&error.to_string(), &way_out);
    code.into()
}

fn of_kind(kind: Kind) -> Code {
    match kind {
        Kind::SourceMissing => Code::SourceMissing,
        Kind::InUse => Code::InUse,
        Kind::Configuration => Code::Configuration,
        _ => Code::Failed,
    }
}
