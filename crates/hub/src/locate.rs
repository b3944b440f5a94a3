//! Which file is the control database, and may there be none?

use std::path::{Path, PathBuf};

use streamhub_engine::database_url::{ControlPlace, Mode};
use streamhub_engine::{DataDir, durable};

use crate::error::HubError;

/// The control database's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// It is there.
    There(PathBuf),
    /// It is not, and nothing shows that it ever was: a new installation may begin.
    New(PathBuf),
}

impl Located {
    /// The path, whether or not it is there.
    pub fn path(&self) -> &Path {
        match self {
            Self::There(path) | Self::New(path) => path,
        }
    }
}

/// Finds the control database. A missing one is an error where anything shows that there was one.
pub fn control(data: &DataDir, configured: Option<&ControlPlace>) -> Result<Located, HubError> {
    let path = match configured {
        Some(place) => configured_path(place)?,
        None => match (durable::exists(&data.control_db())?, durable::exists(&data.older_control_db())?) {
            (true, true) => {
                return Err(HubError::TwoControls { new: data.control_db(), older: data.older_control_db() });
            }
            (false, true) => data.older_control_db(),
            _ => data.control_db(),
        },
    };
    let path = with_canonical_parent(path);
    if durable::exists(&path)? {
        return Ok(Located::There(path));
    }
    let trace = trace_of_installation(data, &path)?;
    if configured.is_some_and(|place| place.mode == Mode::MustExist) {
        return Err(HubError::ControlMissing { path, trace: "DATABASE_URL with mode=rw".to_owned() });
    }
    match trace {
        Some(trace) => Err(HubError::ControlMissing { path, trace }),
        None => Ok(Located::New(path)),
    }
}

/// Refuses to begin an installation in a directory with directories of somebody else's: it would be closed to all
/// others. Single files may be a log or settings.
pub(crate) fn refuse_foreign(data: &DataDir) -> Result<(), HubError> {
    const OWN: [&str; 4] = ["apps", "backups", "lost+found", "trash"];
    let is_foreign = |name: &String| {
        !name.starts_with('.') && !OWN.contains(&name.as_str()) && data.root().join(name).is_dir()
    };
    match durable::names_in(data.root())?.into_iter().find(is_foreign) {
        Some(found) => Err(HubError::ForeignDirectory { path: data.root().to_owned(), found }),
        None => Ok(()),
    }
}

fn configured_path(place: &ControlPlace) -> Result<PathBuf, HubError> {
    std::path::absolute(&place.path).map_err(|source| {
        HubError::Engine(streamhub_engine::Error::Io {
            path: place.path.clone(),
            operation: "make the path absolute",
            source,
        })
    })
}

/// Links above the file are the administrator's; the file itself must not be one.
fn with_canonical_parent(path: PathBuf) -> PathBuf {
    match (durable::parent(&path).canonicalize(), path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path,
    }
}

/// Anything that a new installation would not have.
fn trace_of_installation(data: &DataDir, control: &Path) -> Result<Option<String>, HubError> {
    let name = control.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = durable::names_in(durable::parent(control))?;
    // What a killed first start leaves behind ends in `.new`; a -wal or a backup had a database once.
    if let Some(found) = beside.into_iter().find(|found| {
        found.strip_prefix(&name).is_some_and(|rest| rest == "-wal" || rest.starts_with(".bak-"))
    }) {
        return Ok(Some(found));
    }
    if durable::exists(&data.root().join("data"))? {
        return Ok(Some("data/".to_owned()));
    }
    // The hub's own directories there begin with a dot and hold nothing of an app.
    Ok(durable::names_in(&data.apps())?
        .into_iter()
        .find(|name| !name.starts_with('.'))
        .map(|name| format!("apps/{name}")))
}
