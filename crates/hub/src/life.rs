//! Making, renaming, deleting and bringing back an app.
//!
//! Each step spans the registry and the disk in one fixed order, and the registry says first what is
//! about to happen: a start that finds a step half done (`recover`) finishes it or takes it back.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use streamhub_appstore::{Identity, Template, identity};
use streamhub_control::apps::{self, App, Refused};
use streamhub_control::{TenantId, attention};
use streamhub_engine::cache::Exclusive;
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::{AppId, Database, Error, Unfit, durable, seal::Seal};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::opener::AppOpener;

/// Attention: an app is being renamed to what the reference says.
pub(crate) const RENAME: &str = "rename";

/// An app that is to be made.
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

impl NewApp {
    /// An app with a name and an owner.
    pub fn new(name: AppId, tenant: TenantId) -> Self {
        Self { name, tenant, display_name: None, room_prefix: None }
    }
}

impl Hub {
    /// Makes an app with an empty database. When this returns the app is durable and in service.
    pub fn create(&self, new: &NewApp) -> Result<App> {
        // Looked up first, so that an app of this name is not disturbed.
        match self.registered(new.name.as_str()) {
            Ok(there) => return Err(Refused::NameTaken { name: there.name }.into()),
            Err(HubError::UnknownApp { .. }) => {}
            Err(error) => return Err(error),
        }
        let alone = self.alone(&new.name)?;
        let place = self.data().app(&new.name);
        if place.exists()? {
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        let identity = Identity::new(new.name.as_str(), new.tenant.as_str(), &self.shared.installation);
        let bytes = self.template()?.lock().unwrap_or_else(PoisonError::into_inner).bytes(&identity)?;
        let staged = Self::stage(&place, &identity.uuid)?;
        // The registry's sync and those of the new file do not wait for each other.
        let (written, registered) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| durable::write_in_new_dir(&staged, "app.db", &bytes));
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
            discard(&staged);
            self.write(move |db| apps::abort_creating(db, id))??;
            return Err(error.into());
        }
        self.write(move |db| apps::activate(db, id))??;
        drop(alone);
        self.registered(new.name.as_str())
    }

    /// Takes an app out of service and moves its directory to the trash, sealed. Its name is free then;
    /// what is in the trash comes back with [`undelete`](Self::undelete) until it is pruned.
    pub fn delete(&self, id: &AppId) -> Result<()> {
        let alone = self.alone(id)?;
        let registered = self.registered(id.as_str())?;
        let place = self.data().app(id);
        if place.exists()? && place.is_own_mount()? {
            return Err(HubError::OwnMount { dir: place.dir().to_owned() });
        }
        let number = registered.id;
        self.write(move |db| apps::mark_deleting(db, number))??;
        self.finish_delete(&registered, &alone)
    }

    /// The steps of a deletion that follow its mark.
    pub(crate) fn finish_delete(&self, app: &App, alone: &Exclusive<AppOpener>) -> Result<()> {
        let place = self.data().app(alone.id());
        let name = trash_name(app);
        if place.exists()? {
            // A database that cannot be sealed, because it is damaged, goes to the trash all the same.
            if let Err(error) = self.seal_alone(alone) {
                tracing::warn!(app.id = %alone.id(), %error, "a deleted app is not sealed");
            }
            let trash = place.trash()?;
            durable::create_dir(&trash)?;
            durable::rename_new(place.dir(), &trash.join(&name))?;
        }
        let number = app.id;
        self.write(move |db| {
            // What is in the trash streams nothing.
            for row in attention::of_app(db, number)? {
                if row.kind == attention::STREAM {
                    attention::release_stream(db, number, &row.reference)?;
                }
            }
            apps::mark_deleted(db, number, &name)
        })??;
        Ok(())
    }

    /// Brings the app of this name that was deleted last back from the trash.
    pub fn undelete(&self, id: &AppId) -> Result<App> {
        let alone = self.alone(id)?;
        let place = self.data().app(id);
        let name = id.clone();
        let app = self.write(move |db| apps::begin_undelete(db, &name))??;
        let number = app.id;
        let trashed = self.read(move |db| apps::trashed(db, number))?;
        let from = match &trashed {
            Some(trashed) => place.trash()?.join(&trashed.trash_name),
            None => place.trash()?.join(trash_name(&app)),
        };
        if let Err(error) = durable::rename_new(&from, place.dir()) {
            self.finish_delete(&app, &alone)?;
            return Err(match error {
                Error::Unfit { unfit: Unfit::Exists, path } => HubError::DirectoryThere { dir: path },
                error => HubError::Engine(error),
            });
        }
        self.write(move |db| apps::finish_undelete(db, number))??;
        drop(alone);
        // Streams that were live when it was deleted are not.
        self.app(id)?.reconcile_streams(Vec::new())?;
        self.registered(id.as_str())
    }

    /// Gives an app another name. Media servers and clients that know the old one have to be told.
    pub fn rename(&self, from: &AppId, to: &AppId) -> Result<App> {
        let (first, second) = (self.alone(from.min(to))?, self.alone(from.max(to))?);
        let registered = self.registered(from.as_str())?;
        let place = self.data().app(to);
        if place.exists()? {
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        let (number, name) = (registered.id, to.clone());
        self.write(move |db| {
            if let Some(holder) = apps::by_name(db, name.as_str())? {
                return Ok(Err(Refused::NameTaken { name: holder.name }));
            }
            attention::add(db, number, RENAME, name.as_str()).map(|_| Ok(()))
        })??;
        self.finish_rename(&registered, from, to)?;
        drop((first, second));
        self.registered(to.as_str())
    }

    /// The steps of a renaming that follow its mark; each may be done already.
    pub(crate) fn finish_rename(&self, app: &App, from: &AppId, to: &AppId) -> Result<()> {
        let (old, new) = (self.data().app(from), self.data().app(to));
        if old.exists()? && !new.exists()? {
            durable::rename_new(old.dir(), new.dir())?;
        }
        Seal::remove(new.dir())?;
        let path = new.db();
        let db = Database::write(&path)?;
        identity::set_name(&db, to.as_str()).of(&path)?;
        db.checkpoint()?;
        db.close()?;
        let (number, from, to) = (app.id, from.clone(), to.clone());
        self.write(move |db| {
            if let (Err(refused), true) = (apps::rename(db, number, &to)?, from != to) {
                return Ok(Err(refused));
            }
            attention::remove(db, number, RENAME, to.as_str()).map(|_| Ok(()))
        })??;
        Ok(())
    }

    /// Nobody else uses the app, and its database is closed.
    pub(crate) fn alone(&self, id: &AppId) -> Result<Exclusive<AppOpener>> {
        Ok(self.shared.cache.exclusive(id)?)
    }

    /// A place for a new directory, on the filesystem where it is to be. Staging is emptied at every start.
    pub(crate) fn stage(place: &AppPlace, uuid: &str) -> Result<PathBuf> {
        let staging = place.staging()?;
        durable::create_dir(&staging)?;
        Ok(staging.join(uuid))
    }

    pub(crate) fn register(&self, new: &NewApp, uuid: &str) -> Result<i64> {
        let row = apps::NewApp {
            name: new.name.clone(),
            tenant: new.tenant.clone(),
            display_name: new.display_name.clone(),
            room_prefix: new.room_prefix.clone(),
            uuid: uuid.to_owned(),
        };
        Ok(self.write(move |db| apps::insert_creating(db, &row))??)
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

/// Where a deleted app's directory is, in the trash.
pub(crate) fn trash_name(app: &App) -> String {
    format!("{}-{}", app.name, app.uuid.as_deref().unwrap_or("without-uuid"))
}

/// Removes what was staged; the next start does where this fails.
pub(crate) fn discard(staged: &Path) {
    if let Err(error) = durable::remove_dir_all(staged) {
        tracing::warn!(path = %staged.display(), %error, "what was staged could not be removed");
    }
}
