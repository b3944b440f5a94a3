//! Making, renaming, deleting and bringing back an app.
//!
//! Each step spans the registry and the disk in one fixed order, and the registry says first what is
//! about to happen: a start that finds a step half done (`recover`) finishes it or takes it back.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::json;
use streamhub_appstore::{Identity, Template, WriteTx, identity, streams};
use streamhub_control::apps::{self, App, AppState, Refused, TrashName};
use streamhub_control::deeds::{self, Outcome};
use streamhub_control::{Connection, TenantId, Within, attention};
use streamhub_engine::cache::Exclusive;
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::{AppId, Database, Uuid, durable};

use crate::acting::Deed;
use crate::app_details::check_names;
use crate::app_settings::CONFIGURE;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::opener::{self, AppOpener};
use crate::outbox::Untold;
use crate::sealing::SEAL;

/// Attention: an app is being renamed to what the reference says.
pub(crate) const RENAME: &str = "rename";

/// An app that is to be made.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::{Kind, NewApp, TenantId};
///
/// let new = NewApp {
///     display_name: Some("Radio".to_owned()),
///     ..NewApp::new("radio-1".parse()?, TenantId::platform())
/// };
/// assert_eq!(hub.create(&new)?.name, "radio-1");
/// assert_eq!(hub.create(&new).unwrap_err().kind(), Kind::Exists);
///
/// // Deleted, it lies in the trash for a while.
/// assert_eq!(hub.delete(&new.name)?.flaw, None);
/// assert_eq!(hub.undelete(&new.name)?.name, "radio-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NewApp {
    /// Its name: 3 to 32 characters of `a-z`, `0-9` and `-`.
    pub name: AppId,
    /// Whose it is.
    pub tenant: TenantId,
    /// A name for people.
    pub display_name: Option<String>,
    /// Prefix of its room names.
    pub room_prefix: Option<String>,
}

/// What lies in the trash of an app that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its directory.
    pub dir: PathBuf,
    /// What is wrong with its database, where something is: [`Hub::undelete`] refuses it until that is mended.
    pub flaw: Option<String>,
}

impl NewApp {
    /// An app with a name and an owner.
    pub fn new(name: AppId, tenant: TenantId) -> Self {
        Self { name, tenant, display_name: None, room_prefix: None }
    }

    pub(crate) fn row(&self, uuid: &Uuid) -> apps::NewApp {
        apps::NewApp {
            name: self.name.clone(),
            tenant: self.tenant.clone(),
            display_name: self.display_name.clone(),
            room_prefix: self.room_prefix.clone(),
            uuid: uuid.clone(),
        }
    }
}

impl Hub {
    /// Makes an app with an empty database. When this returns the app is durable and in service.
    pub fn create(&self, new: &NewApp) -> Result<App> {
        check_names(new.display_name.as_ref(), new.room_prefix.as_ref())?;
        self.refuse_taken(&new.name)?;
        let alone = self.alone(&new.name)?;
        let place = self.data().app(&new.name);
        if place.exists()? {
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        let identity = Identity::new(new.name.as_str(), new.tenant.as_str(), &self.shared.installation);
        let bytes = self.template()?.lock().unwrap_or_else(PoisonError::into_inner).bytes(&identity)?;
        let staged = Self::stage(&place)?;
        // The registry's sync and those of the new file do not wait for each other.
        let (written, registered) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| durable::write_new_in(&staged, "app.db", &bytes));
            let registered = self.register(new, &identity.uuid);
            (writing.join().expect("writing a file does not panic"), registered)
        });
        let id = match (written, registered) {
            (Ok(()), Ok(id)) => id,
            (written, registered) => {
                discard(&staged);
                if let Ok(id) = registered {
                    self.write(move |db| apps::abort_creating(db, id))??;
                    written?;
                }
                return Err(registered.err().unwrap_or(HubError::Closed));
            }
        };
        if let Err(error) = durable::move_new(&staged, place.dir()) {
            self.take_back(id, &staged, &place);
            return Err(error.into());
        }
        self.or_later(id, &new.name, || Ok(self.write(move |db| apps::activate(db, id))??))?;
        drop(alone);
        self.registered(new.name.as_str())
    }

    /// As [`create`](Self::create), for async callers. A step in an app's life that was begun is finished
    /// although nobody waits for it.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::{NewApp, TenantId};
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let (radio, station) = ("radio-1".parse()?, "station-1".parse()?);
    /// hub.create_async(&NewApp::new("radio-1".parse()?, TenantId::platform())).await?;
    /// assert_eq!(hub.rename_async(&radio, &station).await?.name, "station-1");
    /// hub.delete_async(&station).await?;
    /// assert_eq!(hub.deleted_apps()?[0].name, "station-1");
    /// assert_eq!(hub.undelete_async(&station).await?.name, "station-1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn create_async(&self, new: &NewApp) -> Result<App> {
        let app = new.clone();
        self.blocking(Some(&new.name), move |hub| hub.create(&app)).await
    }

    /// Takes an app out of service and moves its directory to the trash, sealed. Its name is free then;
    /// what is in the trash comes back with [`undelete`](Self::undelete) until it is pruned. An app whose
    /// directory is missing, or empty as a mount point is, is refused, since nothing could come back.
    pub fn delete(&self, id: &AppId) -> Result<Deletion> {
        let alone = self.alone(id)?;
        let registered = self.registered(id.as_str())?;
        let place = self.data().app(id);
        let number = registered.id;
        // A deletion that could not be finished is taken up where it stands.
        if registered.state != AppState::Deleting {
            if !place.exists()? || durable::names_in(place.dir())?.is_empty() {
                return Err(HubError::NoAppDir { dir: place.dir().to_owned() });
            }
            if place.is_own_mount()? {
                return Err(HubError::OwnMount { dir: place.dir().to_owned() });
            }
            // What the directory shows of deeds that were begun; in the trash nobody looks.
            if let Err(error) = self.settle_by_directory(number, &alone) {
                tracing::warn!(app.id = %id, %error, "how a deed ended cannot be seen, so it counts as failed");
            }
            let begun = self.beginning(&Deed::of(apps::DELETE).target(id));
            self.write(move |db| {
                let marked = apps::mark_deleting(db, number)?;
                if marked.is_ok() {
                    begun(db, number)?;
                }
                Ok(marked)
            })??;
        }
        self.or_later(number, id, || self.finish_delete(&registered, &alone))
    }

    /// As [`delete`](Self::delete), for async callers.
    pub async fn delete_async(&self, id: &AppId) -> Result<Deletion> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.delete(&app)).await
    }

    /// Takes an app whose directory is lost out of the registry, for good: nothing of it is left to be brought
    /// back. It is refused while the directory is there. If it turns up again, it can be adopted.
    pub fn forget_lost(&self, id: &AppId) -> Result<App> {
        let alone = self.alone(id)?;
        let registered = self.registered(id.as_str())?;
        let place = self.data().app(id);
        if place.exists()? && !durable::names_in(place.dir())?.is_empty() {
            let dir = place.dir().display();
            return Err(HubError::Invalid(format!(
                "{dir}: it is there, so the app is not lost and can be deleted"
            )));
        }
        let (number, name) = (registered.id, TrashName::of(&registered, id));
        let deed = Deed::of(apps::DELETE).app(id).target(id).detail(json!({ "lost": true }));
        let tenant = TenantId::from_registry(registered.tenant_id.clone());
        self.change(deed.tenant(&tenant), move |db, _| {
            if let Err(refused) = apps::mark_deleting(db, number)? {
                return Ok(Err(refused));
            }
            deeds::conclude(db, number, &[SEAL, CONFIGURE], Outcome::Failed)?;
            match apps::mark_deleted(db, number, &name)? {
                Ok(()) => apps::forget(db, number),
                refused => Ok(refused),
            }
        })?;
        self.shared.services.unsealed.forget(id);
        self.shared.services.lost.note(id, false);
        self.shared.services.begun.forget(number);
        self.cancel_jobs_of(number);
        drop(alone);
        Ok(registered)
    }

    /// As [`forget_lost`](Self::forget_lost), for async callers.
    pub async fn forget_lost_async(&self, id: &AppId) -> Result<App> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.forget_lost(&app)).await
    }

    /// The steps of a deletion that follow its mark.
    pub(crate) fn finish_delete(&self, app: &App, alone: &Exclusive<AppOpener>) -> Result<Deletion> {
        let place = self.data().app(alone.id());
        let name = TrashName::of(app, alone.id());
        let trash = place.trash()?;
        let mut deletion = Deletion { dir: trash.join(&name), flaw: None };
        // Where the app is in the trash already, what lies in its place is somebody else's.
        if place.exists()? && !durable::exists(&deletion.dir)? {
            // A database that is damaged, or cannot be sealed, goes to the trash all the same; one whose outbox
            // the control database does not take does not, since in the trash nobody looks into it.
            let told = match self.ship_closed(&place, app) {
                Err(Untold::Unwritten(error)) => return Err(error),
                told => told.map_err(HubError::from),
            };
            let ended = told.and_then(|()| self.end_streams(&place, app));
            deletion.flaw = ended.as_ref().err().map(ToString::to_string);
            if let Err(error) = ended.and_then(|()| self.seal_alone(alone)) {
                tracing::warn!(app.id = %alone.id(), %error, "a deleted app is not sealed");
            }
            durable::create_dir(&trash)?;
            durable::rename_new(place.dir(), &deletion.dir)?;
        }
        self.shared.services.unsealed.forget(alone.id());
        self.shared.services.lost.note(alone.id(), false);
        self.shared.services.begun.forget(app.id);
        self.cancel_jobs_of(app.id);
        let number = app.id;
        self.write(move |db| {
            // What is in the trash streams nothing.
            for row in attention::of_app(db, number)? {
                if row.kind == attention::STREAM {
                    attention::release_stream(db, number, &row.reference)?;
                }
            }
            deeds::conclude(db, number, &[SEAL, CONFIGURE], Outcome::Failed)?;
            apps::mark_deleted(db, number, &name)
        })??;
        Ok(deletion)
    }

    /// Brings the app of this name that was deleted last back from the trash.
    pub fn undelete(&self, id: &AppId) -> Result<App> {
        // Whatever has the name meanwhile is in the way, and is not what is meant.
        if let Some(meant) = self.meant(id.as_str())
            && self.read(|db| apps::by_name(db, id.as_str()))?.is_some_and(|app| app.id != meant)
        {
            return Err(Refused::NameTaken { name: id.to_string() }.into());
        }
        let alone = self.alone(id)?;
        let place = self.data().app(id);
        if place.exists()? && matches!(self.registered(id.as_str()), Err(HubError::UnknownApp { .. })) {
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        let (name, quotas) = (id.clone(), self.shared.config.quotas);
        let begun = self.beginning(&Deed::of(apps::UNDELETE).target(id));
        let within = self.meant(id.as_str()).map_or(Within::Everything, Within::App);
        let undelete = move |db: &Connection| {
            let app = apps::begin_undelete(db, &name, &within, quotas)?;
            if let Ok(app) = &app {
                begun(db, app.id)?;
            }
            Ok(app)
        };
        let app = self.write(undelete)?.map_err(|refused| match refused {
            Refused::Unknown { app } => HubError::NotFound { noun: "deleted app", name: app },
            refused => refused.into(),
        })?;
        let number = app.id;
        let trashed = self.read(move |db| apps::trashed(db, number))?;
        let from = match &trashed {
            Some(trashed) => place.trash()?.join(&trashed.trash_name),
            None => place.trash()?.join(TrashName::of(&app, id)),
        };
        // Judged where it lies, which is where it stays if it is refused.
        let back = opener::judge_own(&from.join("app.db"), &app)
            .and_then(|_| Ok(durable::rename_new(&from, place.dir())?))
            .and_then(|()| self.end_streams(&place, &app));
        if let Err(error) = back {
            self.or_later(number, id, || self.finish_delete(&app, &alone))?;
            return Err(error);
        }
        self.or_later(number, id, || Ok(self.write(move |db| apps::finish_undelete(db, number))??))?;
        drop(alone);
        // What its outbox still asks for was not done while it was in the trash.
        self.shared.services.upkeep.attend(number);
        self.registered(id.as_str())
    }

    /// As [`undelete`](Self::undelete), for async callers.
    pub async fn undelete_async(&self, id: &AppId) -> Result<App> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.undelete(&app)).await
    }

    /// Gives an app another name. Media servers and clients that know the old one have to be told.
    pub fn rename(&self, from: &AppId, to: &AppId) -> Result<App> {
        // Asked for first, so that neither app is disturbed; a name that is the app's own is taken too.
        self.registered(from.as_str())?;
        self.refuse_taken(to)?;
        let both = self.both_alone(from, to)?;
        let registered = self.registered(from.as_str())?;
        let place = self.data().app(to);
        if place.exists()? {
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        opener::judge_own(&self.data().app(from).db(), &registered)?;
        let (number, name) = (registered.id, to.clone());
        let begun = self.beginning(&Deed::of(apps::RENAME).target(to));
        self.write(move |db| {
            if apps::by_name(db, name.as_str())?.is_some() {
                return Ok(Err(Refused::NameTaken { name: name.to_string() }));
            }
            begun(db, number)?;
            attention::add(db, number, RENAME, name.as_str()).map(|_| Ok(()))
        })??;
        if let Err(error) = self.finish_rename(&registered, from, to, to) {
            // Back again, by the same steps.
            return Err(
                match self.or_later(number, from, || self.finish_rename(&registered, to, from, to)) {
                    Ok(()) => error,
                    Err(unfinished) => unfinished,
                },
            );
        }
        drop(both);
        self.registered(to.as_str())
    }

    /// As [`rename`](Self::rename), for async callers.
    pub async fn rename_async(&self, from: &AppId, to: &AppId) -> Result<App> {
        let (old, new) = (from.clone(), to.clone());
        self.blocking(Some(from), move |hub| hub.rename(&old, &new)).await
    }

    /// The steps of a renaming that follow its mark, which names `marked`; each may be done already.
    pub(crate) fn finish_rename(&self, app: &App, from: &AppId, to: &AppId, marked: &AppId) -> Result<()> {
        let (old, new) = (self.data().app(from), self.data().app(to));
        if old.exists()? && !new.exists()? {
            durable::rename_new(old.dir(), new.dir())?;
        }
        let path = new.db();
        let found = Identity::read(&Database::inspect(&path)?)?;
        if !app.points_at(&found.uuid) {
            return Err(HubError::DirectoryThere { dir: new.dir().to_owned() });
        }
        if found.name != to.as_str() {
            self.change_alone(&new, |tx| Ok(identity::set_name(tx.connection(), to.as_str()).of(&path)?))?;
        }
        self.shared.services.unsealed.forget(from);
        self.shared.services.lost.note(from, false);
        let (number, to, marked) = (app.id, to.clone(), marked.clone());
        self.write(move |db| {
            if let Err(refused) = apps::rename(db, number, &to)? {
                return Ok(Err(refused));
            }
            let outcome = if to == marked { Outcome::Done } else { Outcome::Failed };
            deeds::conclude(db, number, &[apps::RENAME], outcome)?;
            attention::remove(db, number, RENAME, marked.as_str()).map(|_| Ok(()))
        })??;
        Ok(())
    }

    /// Ends the streams of an app that is out of service. A database that is not its own is refused.
    fn end_streams(&self, place: &AppPlace, app: &App) -> Result<()> {
        opener::judge_own(&place.db(), app)?;
        let path = place.db();
        let inspected = Database::inspect(&path)?;
        if streams::count_active(&WriteTx::within(&inspected))? == 0 {
            return Ok(());
        }
        drop(inspected);
        self.change_alone(place, |tx| streams::end_all(tx).map_err(HubError::from))?;
        Ok(())
    }

    /// Refuses a name that a registered app has; asked before [`alone`](Self::alone), so that this app is not
    /// disturbed.
    pub(crate) fn refuse_taken(&self, id: &AppId) -> Result<()> {
        match self.registered(id.as_str()) {
            Ok(there) => Err(Refused::NameTaken { name: there.name }.into()),
            Err(HubError::UnknownApp { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A new and empty directory of the caller's own, on the filesystem where it is to be. Staging is emptied at
    /// every start.
    pub(crate) fn stage(place: &AppPlace) -> Result<PathBuf> {
        let staging = place.staging()?;
        durable::create_dir(&staging)?;
        let staged = staging.join(Uuid::random().as_str());
        durable::create_new_dir(&staged)?;
        Ok(staged)
    }

    fn register(&self, new: &NewApp, uuid: &Uuid) -> Result<i64> {
        let (row, quotas) = (new.row(uuid), self.shared.config.quotas);
        let begun = self.beginning(&Deed::of(apps::CREATE).target(&new.name));
        Ok(self.write(move |db| {
            let registered = apps::insert_creating(db, &row, quotas)?;
            if let Ok(id) = &registered {
                begun(db, *id)?;
            }
            Ok(registered)
        })??)
    }

    /// What cannot be finished is tried again by upkeep, and at the next start; the caller is told so.
    pub(crate) fn or_later<T>(&self, app: i64, id: &AppId, finish: impl FnOnce() -> Result<T>) -> Result<T> {
        finish().map_err(|source| {
            self.shared.services.upkeep.attend(app);
            HubError::Unfinished { app: id.clone(), source: Box::new(source) }
        })
    }

    /// Takes back a registration whose directory did not get into place for certain. What fails at that is
    /// for upkeep and the next start, which go by where the directory is.
    pub(crate) fn take_back(&self, registered: i64, staged: &Path, place: &AppPlace) {
        let out_of_place = durable::exists(staged).and_then(|is_staged| {
            // The renaming may have succeeded, and only its sync not.
            if is_staged { Ok(()) } else { durable::rename_new(place.dir(), staged) }
        });
        let undone = out_of_place
            .map_err(HubError::from)
            .and_then(|()| Ok(self.write(move |db| apps::abort_creating(db, registered))??));
        if let Err(error) = undone {
            tracing::warn!(app.id = %place.id(), %error, "a registration is settled later");
            self.shared.services.upkeep.attend(registered);
        }
        discard(staged);
    }

    fn template(&self) -> Result<&Mutex<Template>> {
        let template: &OnceLock<_> = &self.shared.template;
        if template.get().is_none() {
            let made = Mutex::new(Template::new()?);
            // Where two are first, one of the two is thrown away.
            drop(template.set(made));
        }
        Ok(template.get().expect("it was just set"))
    }
}

/// Removes what [`Hub::stage`] made; the next start does where this fails.
pub(crate) fn discard(staged: &Path) {
    if let Err(error) = durable::remove_dir_all(staged) {
        tracing::warn!(path = %staged.display(), %error, "what was staged could not be removed");
    }
}
