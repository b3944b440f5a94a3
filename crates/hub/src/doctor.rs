//! Whether registry and disk agree, and whether every database is sound and where it belongs.
//!
//! Reports and changes nothing. Older sources that are not cleaned up yet, an empty `-wal` or a
//! `-shm` beside its database, the trash and the backups are no findings.

mod apps;

use std::fmt;
use std::path::Path;

use serde::Serialize;
use streamhub_engine::judge::{self, Check};
use streamhub_engine::unopened::Protection;
use streamhub_engine::{DataDir, Error, Fault, Unfit, Unopened, durable, filesystem, snapshot};

use crate::boot;
use crate::config::HubConfig;
use crate::error::{HubError, Kind};
use crate::locate::{self, Located};
use crate::look::{Installation, Look};
use crate::progress::Progress;
use crate::report::counted;
use crate::secrets::Secrets;

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The data directory.
    pub data_dir: String,
    /// Whether there is no finding.
    pub clean: bool,
    /// How many registered apps were looked at.
    pub apps: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: Problem,
    /// The app that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The file or directory, relative to the data directory where it lies inside.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
    /// What a person can do.
    pub way_out: String,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Registered, or clearly once there, and not on the disk.
    Missing,
    /// On the disk, and nobody's.
    Orphaned,
    /// A known database in another place than its own.
    Misplaced,
    /// Another program's file.
    Foreign,
    /// A schema that this program does not know yet.
    TooNew,
    /// Damaged, truncated, empty or no database.
    Corrupt,
    /// A `-wal`, `-shm` or `-journal` without its database, or a journal that was left half done.
    StaleSidecar,
    /// A database that says it is another app's, another tenant's or of another time.
    Identity,
    /// Work that was left half done.
    Staging,
    /// Older data that was not taken over.
    NotTakenOver,
    /// A file that may not be used as it is: a link, read-only, unreadable.
    Unfit,
    /// A filesystem that would lose data.
    Filesystem,
}

/// Examines the data directory that `config` names.
pub fn examine(config: &HubConfig, progress: &dyn Progress) -> Result<Diagnosis, HubError> {
    let data = boot::existing(&config.data_dir)?;
    let mut ward = Ward { data: &data, findings: Vec::new() };
    ward.filesystems(config)?;
    if let Err(error) = Secrets::read(&data.secrets_file()) {
        let way_out = error.way_out().unwrap_or_default();
        ward.add(Problem::Unfit, None, &data.secrets_file(), &error.to_string(), &way_out);
    }
    if let Ok(Located::There(path)) = locate::control(&data, config.control.as_ref())
        && let Err(error) =
            Unopened::claim(&path).and_then(|file| file.require_own_and_writable(Protection::Overridden))
        && matches!(error, Error::Unfit { unfit: Unfit::ReadOnly | Unfit::HardLinked { .. }, .. })
    {
        // Looking at it is possible; whatever else is wrong with it shows then.
        ward.refused(None, &error);
    }
    let look = match Look::at(config) {
        Ok(look) => Some(look),
        Err(error) if error.kind() == Kind::Configuration => {
            ward.refused_control(&error);
            None
        }
        Err(error) => return Err(error),
    };
    // A running server's half-done work is its own.
    if look.as_ref().is_some_and(|look| look.holder.is_none()) {
        ward.staging(look.as_ref().map(|look| look.control.as_path()))?;
    }
    let mut places = vec![data.root().to_owned(), data.root().join("data")];
    if let Some(place) = &config.control {
        places.push(durable::parent(&place.path).to_owned());
    }
    places.sort();
    places.dedup();
    for place in places {
        ward.stale_sidecars(None, &place)?;
    }
    let mut apps = 0;
    match look.map(|look| (look.control, look.installation)) {
        Some((_, Installation::Ours { control, .. })) => {
            progress.begin("checking the control database", None);
            let sound = judge::refuse_damage(control.database(), Check::Quick);
            progress.end();
            match sound {
                Ok(()) => apps = apps::examine(&mut ward, &control, progress)?,
                // What a damaged registry says of the apps would only mislead.
                Err(error) => ward.refused(None, &error),
            }
        }
        Some((path, Installation::Older { version, .. })) => {
            let reason =
                format!("an older system's control database (version {version}), not taken over yet");
            ward.add(Problem::NotTakenOver, None, &path, &reason, "`streamhub migrate` takes it over");
        }
        Some((_, Installation::None)) | None => {}
    }
    let findings = ward.findings;
    let data_dir = data.root().display().to_string();
    Ok(Diagnosis { data_dir, clean: findings.is_empty(), apps, findings })
}

/// The examination under way.
struct Ward<'a> {
    data: &'a DataDir,
    findings: Vec<Finding>,
}

impl Ward<'_> {
    fn add(&mut self, kind: Problem, app: Option<&str>, path: &Path, reason: &str, way_out: &str) {
        let full = path.display().to_string();
        // Errors begin with the file's name, which the finding has in a field of its own.
        let reason = reason.strip_prefix(&format!("{full}: ")).unwrap_or(reason).to_owned();
        let way_out = way_out.to_owned();
        let path = self.data.shown(path).display().to_string();
        let path = if path.is_empty() { full } else { path };
        self.findings.push(Finding { kind, app: app.map(str::to_owned), path, reason, way_out });
    }

    fn refused(&mut self, app: Option<&str>, error: &Error) {
        self.add(kind_of(error), app, error.path(), &error.to_string(), error.way_out());
    }

    fn refused_control(&mut self, error: &HubError) {
        let (kind, path) = match error {
            HubError::Control(error) => return self.refused(None, error),
            HubError::TwoControls { older, .. } => (Problem::Misplaced, older.clone()),
            HubError::ControlMissing { path, .. } => (Problem::Missing, path.clone()),
            _ => (Problem::Unfit, self.data.root().to_owned()),
        };
        self.add(kind, None, &path, &error.to_string(), &error.way_out());
    }

    fn filesystems(&mut self, config: &HubConfig) -> Result<(), HubError> {
        for path in [self.data.root().to_owned(), self.data.apps()] {
            if let Err(refused) = filesystem::check(&path, config.volatile)? {
                let way_out = "put it on a local disk (ext4, XFS, Btrfs, ZFS)";
                self.add(Problem::Filesystem, None, &path, &refused.to_string(), way_out);
                break;
            }
        }
        Ok(())
    }

    /// What a killed run left; the next start removes it.
    fn staging(&mut self, control: Option<&Path>) -> Result<(), HubError> {
        let mut left = Vec::new();
        for dir in self.staging_places()? {
            left.extend(durable::names_in(&dir)?.into_iter().map(|name| dir.join(name)));
        }
        if let Some(control) = control {
            let name = control.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let half_done = |entry: &String| {
                entry.strip_prefix(&name).is_some_and(|rest| {
                    rest.starts_with(".new") || (rest.starts_with(".bak-") && rest.contains(snapshot::PART))
                })
            };
            let entries = durable::names_in(durable::parent(control))?.into_iter().filter(half_done);
            left.extend(entries.map(|entry| control.with_file_name(entry)));
        }
        for path in left {
            let reason = "left half done by a run that was stopped";
            let way_out = "the next `streamhub serve` or `streamhub migrate` removes it";
            self.add(Problem::Staging, None, &path, reason, way_out);
        }
        Ok(())
    }

    fn staging_places(&self) -> Result<Vec<std::path::PathBuf>, HubError> {
        let apps = self.data.apps();
        let mut places = vec![apps.join(".staging")];
        // Where an app's directory is a mount of its own, staging is inside it.
        places.extend(durable::names_in(&apps)?.into_iter().map(|name| apps.join(name).join(".staging")));
        Ok(places.into_iter().filter(|place| place.is_dir()).collect())
    }

    /// Sidecars in `dir` whose database is not there.
    fn stale_sidecars(&mut self, app: Option<&str>, dir: &Path) -> Result<(), HubError> {
        let names = if dir.is_dir() { durable::names_in(dir)? } else { Vec::new() };
        for name in &names {
            let database = ["-wal", "-shm", "-journal"].iter().find_map(|ending| name.strip_suffix(ending));
            if let Some(database) = database
                && Path::new(database).extension().is_some_and(|extension| extension == "db")
                && !names.iter().any(|name| name == database)
            {
                let reason = format!("{database}, which it belongs to, is not there");
                let way_out = format!("put {database} back beside it, or move it away");
                self.add(Problem::StaleSidecar, app, &dir.join(name), &reason, &way_out);
            }
        }
        Ok(())
    }
}

fn kind_of(error: &Error) -> Problem {
    match error {
        Error::Unfit { unfit, .. } => match unfit {
            Unfit::Missing => Problem::Missing,
            Unfit::Foreign { .. } | Unfit::HoldsCode { .. } => Problem::Foreign,
            Unfit::TooNew { .. } => Problem::TooNew,
            Unfit::BadIdentity { .. } => Problem::Identity,
            Unfit::HotJournal => Problem::StaleSidecar,
            Unfit::Empty | Unfit::NotADatabase | Unfit::Truncated { .. } | Unfit::Corrupt { .. } => {
                Problem::Corrupt
            }
            _ => Problem::Unfit,
        },
        error => match error.fault() {
            Fault::Corrupt | Fault::NotADatabase => Problem::Corrupt,
            _ => Problem::Unfit,
        },
    }
}

impl Problem {
    /// The kind as programs and people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Orphaned => "orphaned",
            Self::Misplaced => "misplaced",
            Self::Foreign => "foreign",
            Self::TooNew => "too-new",
            Self::Corrupt => "corrupt",
            Self::StaleSidecar => "stale-sidecar",
            Self::Identity => "identity",
            Self::Staging => "staging",
            Self::NotTakenOver => "not-taken-over",
            Self::Unfit => "unfit",
            Self::Filesystem => "filesystem",
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{:<14} {}: {}", finding.kind.as_str(), finding.path, finding.reason)?;
            if !finding.way_out.is_empty() {
                writeln!(f, "    way out: {}", finding.way_out)?;
            }
        }
        let apps = counted(self.apps, "app");
        match self.findings.len() {
            0 => write!(f, "clean: {apps} checked"),
            findings => write!(f, "{}, {apps} checked", counted(findings, "finding")),
        }
    }
}
