//! The take-over as a whole: what the hub calls at boot.

use std::collections::{BTreeMap, BTreeSet};

use streamhub::legacy::{LegacySource, Site};
use streamhub::progress::{Progress, Silent};
use streamhub::report::{AppReport, Outcome, SplitReport, Tally, counted};
use streamhub::{AppId, HubError};
use streamhub_appstore::Identity;
use streamhub_control::Control;
use streamhub_control::apps::{self, App, SplitState};
use streamhub_control::schema::SCHEMA;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge::{self, Standing};
use streamhub_engine::unopened::Protection;
use streamhub_engine::{Database, Error, Unfit, Unopened, durable, meta};

use crate::adopt;
use crate::app::{self, Mode, Run, Taken};
use crate::blank::Blank;
use crate::cleanup;
use crate::crew::{self, Incoming};
use crate::cursor::{self, Select};
use crate::failure::Failure;
use crate::fill::HighestIds;
use crate::older::{self, TABLES};

/// Takes the older system's data directories over.
#[derive(Clone, Debug, Default)]
pub struct Older {
    errand: Option<Errand>,
}

/// What a person asks for beyond what a boot does anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Bring in an app's left-over rows and those that carry another app's number.
    Recover(AppId),
    /// Remove older rows and files that are imported or held.
    Cleanup,
}

impl Older {
    /// With something to do beyond a boot's own work.
    pub fn with(errand: Errand) -> Self {
        Self { errand: Some(errand) }
    }

    /// What [`LegacySource::boot`] would do, found out on copies without a name. Creates no file and
    /// takes no lock.
    pub fn dry_run(&self, site: &Site, progress: &dyn Progress) -> Result<SplitReport, HubError> {
        let version = standing(site)?;
        let mut report = SplitReport { dry_run: true, ..SplitReport::default() };
        let inspected = if let Some(version) = version {
            report.adopted_from = Some(version);
            let inspected = adopt::judge(site, version)?;
            crate::space::require(site)?;
            inspected
        } else {
            Database::inspect(&site.control).map_err(HubError::control)?
        };
        refuse_holders(site, &inspected)?;
        let mut control = Database::scratch(Some(&inspected))?;
        drop(inspected);
        if version.is_some() {
            adopt::migrate(&mut control, "").map_err(HubError::control)?;
        }
        self.take_all(site, &control, None, progress, &mut report)
            .map_err(|error| of_control(site, error))?;
        if self.errand == Some(Errand::Cleanup) {
            cleanup::plan(site, &control, &mut report)?;
        }
        Ok(report)
    }

    fn recovering(&self) -> Option<&AppId> {
        match &self.errand {
            Some(Errand::Recover(app)) => Some(app),
            _ => None,
        }
    }

    /// Takes over every app that is open, reading through `reader` and recording through `writer`;
    /// without a writer nothing is changed anywhere.
    fn take_all(
        &self,
        site: &Site,
        reader: &Database,
        writer: Option<&mut Control>,
        progress: &dyn Progress,
        report: &mut SplitReport,
    ) -> Result<(), HubError> {
        let path = &site.control;
        let registered = apps::list_by_id(reader).of(path)?;
        let names: BTreeSet<_> = registered.iter().map(|app| app.name.clone()).collect();
        adopt::refuse_no_directory(site, &names)?;
        report.orphan_directories = durable::names_in(&site.data.apps())?
            .into_iter()
            .filter(|name| !name.starts_with('.') && !names.contains(name))
            .collect();
        let open: Vec<_> = registered.iter().filter(|app| self.is_open(app)).collect();
        if writer.is_some() {
            sweep_staging(site, &open)?;
        }
        for table in &TABLES {
            let rows = cursor::orphans(reader, table).of(path)?;
            if rows > 0 {
                report.orphan_rows.insert(table.name.to_owned(), rows);
            }
        }
        let select = Select::Open(self.recovering().map(ToString::to_string));
        let real = writer.is_some();
        progress.begin(&format!("taking {} over", counted(open.len(), "app")), None);
        report.apps = self.take(site, reader, writer, &open, &select, progress)?;
        progress.end();
        if real && let Err(error) = sweep_staging(site, &open) {
            // The work is done; the next start sweeps again.
            tracing::warn!(%error, "staging could not be removed");
        }
        Ok(())
    }

    /// Takes these apps over, which are among those that `select` reads the rows of.
    fn take(
        &self,
        site: &Site,
        reader: &Database,
        mut writer: Option<&mut Control>,
        apps: &[&App],
        select: &Select,
        progress: &dyn Progress,
    ) -> Result<Vec<AppReport>, HubError> {
        let path = &site.control;
        let installation =
            meta::get(reader, streamhub_control::db::INSTALLATION).of(path)?.unwrap_or_default();
        let run = Run {
            site,
            highest_ids: HighestIds::find(reader).of(path)?,
            blank: Blank::new()?,
            installation: &installation,
            recover: self.recovering(),
            mode: if writer.is_some() { Mode::Real } else { Mode::DryRun },
        };
        let mut reports = BTreeMap::new();
        let work = |app: &App, incoming: &mut Incoming<'_>| app::take(&run, app, incoming);
        crew::each_app(reader, select, apps, progress, work, |taken| {
            let ended: Vec<_> =
                taken.into_iter().map(|(at, taken)| Ended::new(at, apps[at], taken)).collect();
            if let Some(control) = writer.as_deref_mut() {
                record(control, apps, &ended)?;
            }
            reports.extend(ended.into_iter().map(|ended| (ended.at, ended.report)));
            Ok(())
        })?;
        Ok(reports.into_values().collect())
    }

    /// Takes one app over, beside a hub that is in service.
    fn take_one(&self, site: &Site, name: &AppId) -> Result<Option<AppReport>, HubError> {
        let path = &site.control;
        let reader = Database::read(path).map_err(HubError::control)?;
        let Some(app) = apps::by_name(&reader, name.as_str()).of(path)?.filter(|app| self.is_open(app))
        else {
            return Ok(None);
        };
        let mut control = Control::open(path).map_err(HubError::control)?;
        let select = Select::One(app.name.clone());
        Ok(self.take(site, &reader, Some(&mut control), &[&app], &select, &Silent)?.pop())
    }

    fn is_open(&self, app: &App) -> bool {
        matches!(app.split_state, Some(SplitState::Pending | SplitState::Missing))
            || self.recovering().is_some_and(|name| name.as_str() == app.name)
    }
}

impl LegacySource for Older {
    fn has_errand(&self) -> bool {
        self.errand.is_some()
    }

    fn survey(&self, site: &Site) -> Result<(), HubError> {
        let inspected = match standing(site)? {
            Some(version) => adopt::judge(site, version)?,
            None if self.errand.is_some() => Database::inspect(&site.control).map_err(HubError::control)?,
            None => return Ok(()),
        };
        refuse_holders(site, &inspected)?;
        match self.recovering() {
            Some(name) if !adopt::names(&inspected)?.contains(name.as_str()) => {
                Err(HubError::UnknownApp { name: name.to_string() })
            }
            _ => Ok(()),
        }
    }

    fn first_open(&self, site: &Site, app: &AppId) -> Result<(), HubError> {
        let report = self.take_one(site, app).map_err(|error| of_control(site, error))?;
        let state = match report {
            Some(AppReport { error: Some(failure), .. }) => failure.message,
            Some(AppReport { outcome: Outcome::Missing, .. }) => SplitState::Missing.as_str().to_owned(),
            _ => return Ok(()),
        };
        Err(HubError::NotInService { app: app.clone(), state })
    }

    fn boot(&self, site: &Site, progress: &dyn Progress) -> Result<SplitReport, HubError> {
        let version = standing(site)?;
        let mut report = SplitReport::default();
        if version.is_none()
            && self.errand.is_none()
            && let Some(missing) = all_still_missing(site)?
        {
            report.apps = missing;
            return Ok(report);
        }
        if let Some(version) = version {
            let inspected = adopt::judge(site, version)?;
            refuse_holders(site, &inspected)?;
            progress.begin("backing up and adopting the control database", None);
            let adopted = adopt::adopt(site, inspected, version)?;
            progress.end();
            report.adopted_from = Some(adopted.version);
            report.backup = Some(adopted.backup);
        } else {
            refuse_holders(site, &Database::inspect(&site.control).map_err(HubError::control)?)?;
        }
        let mut control = Control::open(&site.control).map_err(HubError::control)?;
        let reader = Database::read(&site.control).map_err(HubError::control)?;
        self.take_all(site, &reader, Some(&mut control), progress, &mut report)
            .map_err(|error| of_control(site, error))?;
        drop(reader);
        if version.is_some() {
            // A registry without any app has no last one.
            control.write(|tx| say_when_done(tx))?;
        }
        if self.errand == Some(Errand::Cleanup) {
            cleanup::run(site, &mut control, progress, &mut report)?;
        }
        control.close()?;
        Ok(report)
    }
}

/// The reports of the open apps, where each of them is missing as before: then there is nothing to
/// read, and a start costs one look per missing app.
fn all_still_missing(site: &Site) -> Result<Option<Vec<AppReport>>, HubError> {
    let control = Database::inspect(&site.control).map_err(HubError::control)?;
    let registered = apps::list_by_id(&control).of(&site.control).map_err(HubError::control)?;
    let mut reports = Vec::new();
    for app in registered {
        match app.split_state {
            None | Some(SplitState::Done) => {}
            Some(SplitState::Pending) => return Ok(None),
            Some(SplitState::Missing) => {
                let appeared = match app.name.parse::<AppId>() {
                    Ok(id) => {
                        durable::names_in(site.data.app(&id).dir()).map_or(true, |names| !names.is_empty())
                    }
                    Err(_) => true,
                };
                if appeared {
                    return Ok(None);
                }
                reports.push(report_of(&app, Ok(&Taken::missing())));
            }
        }
    }
    Ok(Some(reports))
}

/// Tells what is wrong with the control database from everything else.
fn of_control(site: &Site, error: HubError) -> HubError {
    match error {
        HubError::Engine(error) if error.path() == site.control => HubError::control(error),
        error => error,
    }
}

/// The older version, or none where the control database is ours already.
fn standing(site: &Site) -> Result<Option<u32>, HubError> {
    let stamp = judge::stamp_with(&site.control, Protection::Overridden).map_err(HubError::control)?;
    match SCHEMA.standing(stamp, &site.control).map_err(HubError::control)? {
        Standing::Ours { .. } => Ok(None),
        Standing::Unmarked { version } => Ok(Some(version)),
    }
}

/// The older system takes no lock on the directory, so every database is asked for holders before
/// any of them is touched.
fn refuse_holders(site: &Site, control: &Database) -> Result<(), HubError> {
    for id in adopt::names(control)?.iter().filter_map(|name| name.parse::<AppId>().ok()) {
        let dir = site.data.app(&id).dir().to_owned();
        for name in ["app.db", "vods.db"] {
            // What cannot be claimed is reported as that app's failure later.
            let Ok(unopened) = Unopened::claim(&dir.join(name)) else { continue };
            if let Err(Error::Unfit { path, unfit: Unfit::Held { pid } }) = unopened.refuse_foreign_holder() {
                return Err(HubError::InUse { path, pid });
            }
        }
    }
    Ok(())
}

/// Removes what this or a killed run left half built.
fn sweep_staging(site: &Site, open: &[&App]) -> Result<(), HubError> {
    durable::remove_dir_all(&site.data.apps().join(".staging"))?;
    for app in open {
        // What stands in the place of a directory is that app's failure later, and nothing to go through.
        let place = app.name.parse::<AppId>().map(|id| site.data.app(&id));
        if let Ok(place) = place
            && place.exists().unwrap_or(false)
        {
            // A directory that cannot be entered is that app's failure, and no other's.
            let staging = place.dir().join(".staging");
            if let Err(error) = durable::remove_dir_all(&staging) {
                tracing::warn!(path = %staging.display(), %error, "staging could not be removed");
            }
        }
    }
    Ok(())
}

fn report_of(app: &App, taken: Result<&Taken, &Failure>) -> AppReport {
    let mut report = AppReport {
        app: app.name.clone(),
        outcome: Outcome::Failed,
        total: Tally::default(),
        tables: BTreeMap::new(),
        error: None,
        notes: Vec::new(),
    };
    match taken {
        Ok(taken) => {
            report.outcome = taken.outcome;
            report.tables.clone_from(&taken.tables);
            report.notes.clone_from(&taken.notes);
            for tally in taken.tables.values() {
                report.total += *tally;
            }
        }
        Err(failure) => report.error = Some(failure.report(&app.name)),
    }
    report
}

/// How one app's take-over ended.
struct Ended {
    /// Its place among the open apps.
    at: usize,
    /// None where it failed.
    taken: Option<Taken>,
    report: AppReport,
}

impl Ended {
    fn new(at: usize, app: &App, taken: Result<Taken, Failure>) -> Self {
        Self { at, report: report_of(app, taken.as_ref()), taken: taken.ok() }
    }
}

/// Tells the registry how apps' take-overs ended; each pointer and its state in one transaction.
fn record(control: &mut Control, open: &[&App], ended: &[Ended]) -> Result<(), HubError> {
    let changes: Vec<_> = ended.iter().filter_map(|ended| Change::of(open[ended.at], ended)).collect();
    if changes.is_empty() {
        return Ok(());
    }
    control.write(|tx| {
        for change in &changes {
            if let Some(identity) = change.identity {
                apps::point(tx, change.app.id, &identity.uuid, identity.generation)?;
            }
            apps::set_split(tx, change.app.id, change.state, change.detail.as_deref())?;
        }
        say_when_done(tx)
    })?;
    Ok(())
}

/// What the registry is to say of an app.
struct Change<'a> {
    app: &'a App,
    identity: Option<&'a Identity>,
    state: SplitState,
    detail: Option<String>,
}

impl<'a> Change<'a> {
    /// None where it says so already.
    fn of(app: &'a App, ended: &'a Ended) -> Option<Self> {
        let error = ended.report.error.as_ref();
        let (state, detail) = match &ended.taken {
            None => (app.split_state, error.map(|error| format!("{}: {}", error.code, error.message))),
            Some(taken) if taken.identity.is_none() => (Some(SplitState::Missing), None),
            Some(taken) => {
                (Some(SplitState::Done), (!taken.notes.is_empty()).then(|| taken.notes.join("; ")))
            }
        };
        let identity = ended.taken.as_ref().and_then(|taken| taken.identity.as_ref());
        let state = state.unwrap_or(SplitState::Pending);
        let told = identity.is_none() && app.split_state == Some(state) && app.split_detail == detail;
        (!told).then_some(Self { app, identity, state, detail })
    }
}

/// Says for people that nothing is left to be done, in the transaction of the last app.
fn say_when_done(tx: &rusqlite::Connection) -> rusqlite::Result<()> {
    if apps::any_pending(tx)? || older::is_marked(tx, older::SPLIT_DONE)? {
        return Ok(());
    }
    meta::set(tx, older::SPLIT_DONE, "1")
}
