//! Where everything is: the data directory and the places in it.
//!
//! Finding the directory and naming what is in it is all that happens here; nothing is created
//! before [`DataDir::create`].

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::app_id::AppId;
use crate::durable;
use crate::error::{Error, IoContext, Result, Unfit};

/// A data directory that exists, by its canonical path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
    apps: PathBuf,
}

/// No place for a data directory could be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no data directory is configured; tried {}", tried.join(", "))]
pub struct NoDataDir {
    /// Every place that was tried and why it did not serve, in order.
    pub tried: Vec<String>,
}

/// A data directory's path and who named it. Nobody looked whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The path as it was given.
    pub path: PathBuf,
    /// `--data-dir`, or the variable of the environment.
    pub source: &'static str,
}

/// Finds the data directory's path: the flag, else `DATA_DIR`, `STATE_DIRECTORY`,
/// `XDG_STATE_HOME/streamhub` and `HOME/.local/state/streamhub`; empty values are skipped.
pub fn resolve(
    flag: Option<&Path>,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> std::result::Result<Resolved, NoDataDir> {
    let mut tried = Vec::new();
    if let Some(path) = flag {
        if !path.as_os_str().is_empty() {
            return Ok(Resolved { path: path.to_owned(), source: "--data-dir" });
        }
        tried.push("--data-dir (empty)".to_owned());
    } else {
        tried.push("--data-dir (not given)".to_owned());
    }
    let places = [
        ("DATA_DIR", ""),
        ("STATE_DIRECTORY", ""),
        ("XDG_STATE_HOME", "streamhub"),
        ("HOME", ".local/state/streamhub"),
    ];
    for (name, below) in places {
        let Some(value) = env(name) else {
            tried.push(format!("{name} (not set)"));
            continue;
        };
        // systemd separates several state directories by colons; the first is the unit's own.
        let path = match (name, value.to_str()) {
            ("STATE_DIRECTORY", Some(text)) => PathBuf::from(text.split(':').next().unwrap_or_default()),
            _ => PathBuf::from(value),
        };
        if path.as_os_str().is_empty() {
            tried.push(format!("{name} (empty)"));
        } else if !below.is_empty() && !path.is_absolute() {
            tried.push(format!("{name} ({}, not an absolute path)", path.display()));
        } else {
            let path = if below.is_empty() { path } else { path.join(below) };
            return Ok(Resolved { path, source: name });
        }
    }
    Err(NoDataDir { tried })
}

impl DataDir {
    /// An existing data directory.
    pub fn open(path: &Path) -> Result<Self> {
        match std::fs::canonicalize(path) {
            Ok(root) if root.is_dir() => {
                // A link here is the administrator's, who put the apps on another disk. SQLite opens no
                // path with a link in it, so the link is followed once.
                let apps = root.join("apps");
                let apps = std::fs::canonicalize(&apps).unwrap_or(apps);
                Ok(Self { root, apps })
            }
            Ok(_) => Err(Error::unfit(path, Unfit::NotADirectory)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::unfit(path, Unfit::Missing))
            }
            Err(error) => Err(error).at(path, "open the data directory"),
        }
    }

    /// A data directory that is created where it is missing, and made private where it is not.
    pub fn create(path: &Path) -> Result<Self> {
        durable::create_dir_all(path)?;
        let found = Self::open(path)?;
        if let Err(error) = durable::make_private(&found.root) {
            tracing::warn!(path = %found.root.display(), %error, "others may enter the data directory");
        }
        Ok(found)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The control database of a new installation.
    pub fn control_db(&self) -> PathBuf {
        self.root.join("streamhub.db")
    }

    /// Where an older installation keeps its control database; it is used in place.
    pub fn older_control_db(&self) -> PathBuf {
        self.root.join("data/streamhub.db")
    }

    /// The sentinel file whose lock says who uses the directory.
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("streamhub.lock")
    }

    /// The settings file.
    pub fn settings_file(&self) -> PathBuf {
        self.root.join("streamhub.yaml")
    }

    /// The apps' credentials.
    pub fn secrets_file(&self) -> PathBuf {
        self.root.join("secrets.json")
    }

    /// Where a server that runs says how it is asked.
    pub fn server_file(&self) -> PathBuf {
        self.root.join("streamhub.server.json")
    }

    /// Backups that this program makes of its own accord.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// Copies of app databases from before their schema changed.
    pub fn pre_migrate(&self) -> PathBuf {
        self.backups().join("pre-migrate")
    }

    /// Copies of app databases from before rows were brought in that a person asked for.
    pub fn pre_recover(&self) -> PathBuf {
        self.backups().join("pre-recover")
    }

    /// The directory of all apps.
    pub fn apps(&self) -> PathBuf {
        self.apps.clone()
    }

    /// An app's places.
    pub fn app(&self, id: &AppId) -> AppPlace {
        AppPlace { dir: self.apps().join(id.as_str()), apps: self.apps(), id: id.clone() }
    }

    /// A path as people may see it: relative to the data directory where it lies inside.
    pub fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

/// The places of one app.
#[derive(Clone, Debug)]
pub struct AppPlace {
    id: AppId,
    apps: PathBuf,
    dir: PathBuf,
}

impl AppPlace {
    /// Whose places these are.
    pub fn id(&self) -> &AppId {
        &self.id
    }

    /// The app's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The app's database.
    pub fn db(&self) -> PathBuf {
        self.dir.join("app.db")
    }

    /// The app's configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.yaml")
    }

    /// Whether the app's directory is there; something else in its place is an error.
    pub fn exists(&self) -> Result<bool> {
        match std::fs::symlink_metadata(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at(&self.dir, "look at it"),
            Ok(found) if found.is_dir() => Ok(true),
            Ok(found) => {
                let unfit = durable::not_a_file(found.file_type())
                    .unwrap_or(Unfit::NotAFile { kind: "file where the app's directory is needed" });
                Err(Error::unfit(&self.dir, unfit))
            }
        }
    }

    /// Where files for this app are staged: on the filesystem of the app's own directory, so that a
    /// rename puts them into service in one step.
    pub fn staging(&self) -> Result<PathBuf> {
        self.beside(".staging")
    }

    /// Where what is replaced or deleted is kept, on the filesystem of the app's own directory.
    pub fn trash(&self) -> Result<PathBuf> {
        self.beside(".trash")
    }

    /// The number of the disk that the app's directory, which is there, is on.
    pub fn device(&self) -> Result<u64> {
        device(&self.dir)
    }

    /// Whether the app's directory, which is there, is a filesystem of its own.
    pub fn is_own_mount(&self) -> Result<bool> {
        Ok(self.device()? != device(&self.apps)?)
    }

    fn beside(&self, name: &str) -> Result<PathBuf> {
        let own_mount = self.exists()? && self.is_own_mount()?;
        Ok(if own_mount { self.dir.join(name) } else { self.apps.join(name) })
    }
}

fn device(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).at(path, "look at it")?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(flag: Option<&str>, env: &[(&str, &str)]) -> std::result::Result<PathBuf, NoDataDir> {
        let found = resolve(flag.map(Path::new), &|name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })?;
        assert!(found.source == "--data-dir" || env.iter().any(|(name, _)| *name == found.source));
        Ok(found.path)
    }

    #[test]
    fn the_first_usable_place_wins() {
        let all =
            [("DATA_DIR", "/d"), ("STATE_DIRECTORY", "/s:/t"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(resolved(Some("/f"), &all).unwrap(), Path::new("/f"));
        assert_eq!(resolved(None, &all).unwrap(), Path::new("/d"));
        assert_eq!(resolved(None, &all[1..]).unwrap(), Path::new("/s"));
        assert_eq!(resolved(None, &all[2..]).unwrap(), Path::new("/x/streamhub"));
        assert_eq!(resolved(None, &all[3..]).unwrap(), Path::new("/h/.local/state/streamhub"));
    }

    #[test]
    fn empty_values_are_skipped_and_every_place_is_named() {
        let error = resolved(Some(""), &[("DATA_DIR", ""), ("XDG_STATE_HOME", "relative")]).unwrap_err();
        let text = error.to_string();
        for part in [
            "--data-dir (empty)",
            "DATA_DIR (empty)",
            "STATE_DIRECTORY (not set)",
            "relative",
            "HOME (not set)",
        ] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }

    #[test]
    fn creation_makes_private_directories() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let data = DataDir::create(&path).unwrap();
        assert_eq!(std::fs::metadata(data.root()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(DataDir::open(&dir.path().join("none")).is_err());
    }
}
