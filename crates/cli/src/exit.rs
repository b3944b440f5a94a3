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
    /// What was asked for makes no sense.
    Usage = 2,
    /// A source is missing.
    SourceMissing = 5,
    /// What was to be made is there already.
    DestinationExists = 6,
    /// A file that the caller named is no SQLite database.
    NotADatabase = 7,
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
#[error("{}", complaints.first().map_or("", |complaint| &complaint.message))]
pub(crate) struct Refusal {
    code: Code,
    complaints: Vec<Complaint>,
}

/// One thing that is wrong, and what can be done about it.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) way_out: String,
}

impl Refusal {
    /// A refusal with one reason.
    pub(crate) fn with(code: Code, message: impl Into<String>, way_out: impl Into<String>) -> anyhow::Error {
        let complaint = Complaint { message: message.into(), way_out: way_out.into() };
        Self { code, complaints: vec![complaint] }.into()
    }

    /// A failure that is no error of the hub's.
    pub(crate) fn failed(message: &impl ToString, way_out: impl Into<String>) -> anyhow::Error {
        Self::with(Code::Failed, message.to_string(), way_out)
    }

    /// Whether an error is a refusal with this code.
    pub(crate) fn is(error: &anyhow::Error, code: Code) -> bool {
        error.downcast_ref::<Self>().is_some_and(|refusal| refusal.code == code)
    }

    /// A refusal because of the configuration.
    pub(crate) fn configuration(message: &impl ToString, way_out: impl Into<String>) -> anyhow::Error {
        let complaint = Complaint { message: message.to_string(), way_out: way_out.into() };
        Self::of_configuration([complaint])
    }

    /// A refusal because of several things in the configuration.
    pub(crate) fn of_configuration(complaints: impl IntoIterator<Item = Complaint>) -> anyhow::Error {
        Self { code: Code::Configuration, complaints: complaints.into_iter().collect() }.into()
    }
}

/// Prints an error with its way out and returns its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let code = if let Some(hub) = error.downcast_ref::<HubError>() {
        crate::output::error(&hub.to_string(), &hub.way_out());
        of_kind(hub.kind())
    } else if let Some(refusal) = error.downcast_ref::<Refusal>() {
        for complaint in &refusal.complaints {
            crate::output::error(&complaint.message, &complaint.way_out);
        }
        refusal.code
    } else {
        crate::output::error(&error.to_string(), "");
        Code::Failed
    };
    code.into()
}

fn of_kind(kind: Kind) -> Code {
    match kind {
        Kind::SourceMissing => Code::SourceMissing,
        Kind::Exists => Code::DestinationExists,
        Kind::NotADatabase => Code::NotADatabase,
        Kind::InUse => Code::InUse,
        Kind::Configuration => Code::Configuration,
        _ => Code::Failed,
    }
}
