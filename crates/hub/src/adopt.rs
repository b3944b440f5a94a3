//! Taking in the directory of an app that comes from elsewhere.
//!
//! What is believed is the seal, which says what the database held when it was whole; no check of the
//! database itself can see that a copy was taken while it was in use. The directory is copied into
//! staging and judged there, so that nothing is changed before everything is known to be good, and the
//! directory that was named is left as it is.

use std::path::Path;

use serde::Serialize;
use streamhub_appstore::schema::SCHEMA;
use streamhub_appstore::{Identity, identity};
use streamhub_control::apps::{self, App, Refused};
use streamhub_control::{TenantId, tenants};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge::{self, Check, Standing};
use streamhub_engine::migrate::From;
use streamhub_engine::seal::Seal;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{AppId, Database, Error, Unfit, Unopened, durable};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::life::{NewApp, discard};

/// How a directory is adopted.
#[derive(Clone, Debug, Default)]
pub struct Adoption {
    /// Whose app it is to be; none for the tenant that it says itself.
    pub tenant: Option<TenantId>,
    /// What stands for its being whole.
    pub proof: Proof,
}

/// What stands for a copy's being whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Its seal.
    #[default]
    Seal,
    /// A person's word, and a full check, which cannot see everything.
    Word,
}

/// An app that was adopted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// The app.
    pub app: App,
    /// Whether its tenant was made for it, with default quotas.
    pub tenant_created: bool,
    /// Whether a seal stood for it.
    pub sealed: bool,
}

impl Hub {
    /// Copies an app's directory among the apps and registers it.
    pub fn adopt(&self, dir: &Path, adoption: &Adoption) -> Result<Adopted> {
        let source = dir.join("app.db");
        if !durable::exists(&source)? {
            return Err(HubError::NoSource { path: source });
        }
        let dir = durable::canonical(dir)?;
        Unopened::claim(&source).and_then(|file| file.header()).map_err(HubError::Source)?;
        let found = Self::judge_source(&dir, adoption.proof)?;
        let id: AppId = parse_name(&found.name, &source)?;
        let alone = self.alone(&id)?;
        self.refuse_known(&found, &id)?;
        let place = self.data().app(&id);
        if place.exists()? {
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        let staged = Self::stage(&place, &found.uuid)?;
        let adopted = durable::copy_dir(&dir, &staged)
            .map_err(HubError::from)
            .and_then(|()| self.adopt_staged(&staged, &found, adoption))
            .and_then(|(registered, tenant_created)| {
                durable::move_new(&staged, place.dir()).inspect_err(|_| self.abandon(registered))?;
                Ok((registered, tenant_created))
            });
        let (registered, tenant_created) = adopted.inspect_err(|_| discard(&staged))?;
        let app = self.put_adopted_into_service(registered, found.generation, &id)?;
        drop(alone);
        Ok(Adopted { app, tenant_created, sealed: adoption.proof == Proof::Seal })
    }

    /// Registers a sealed directory that lies among the apps already; its tenant must be known.
    pub(crate) fn adopt_appeared(&self, id: &AppId) -> Result<App> {
        let alone = self.alone(id)?;
        let place = self.data().app(id);
        let found = Self::judge_source(place.dir(), Proof::Seal)?;
        if found.name != id.as_str() {
            let detail = format!("its app is called {:?}, and the directory {id}", found.name);
            return Err(HubError::NotItsOwn { path: place.db(), detail });
        }
        self.refuse_known(&found, id)?;
        let new = NewApp::new(id.clone(), TenantId::from_registry(found.tenant.clone()));
        let registered = self.register(&new, &found.uuid)?;
        if let Err(error) = self.rewrite_identity(place.dir(), &found, &found.tenant) {
            self.abandon(registered);
            return Err(error);
        }
        let app = self.put_adopted_into_service(registered, found.generation, id)?;
        drop(alone);
        Ok(app)
    }

    /// Judges a directory without changing it: its seal, and what its database says of itself.
    pub(crate) fn judge_source(dir: &Path, proof: Proof) -> Result<Identity> {
        let path = dir.join("app.db");
        let file = Unopened::claim(&path)?;
        file.refuse_foreign_holder()?;
        let seal = match proof {
            Proof::Seal => {
                let not_sealed = |detail: String| HubError::NotSealed { path: dir.to_owned(), detail };
                let seal = Seal::read(dir)?.ok_or_else(|| {
                    not_sealed(
                        "it is not sealed, so a copy taken while it was in use cannot be told".to_owned(),
                    )
                })?;
                seal.verify(&file).map_err(|error| not_sealed(error.to_string()))?;
                Some(seal)
            }
            Proof::Word => None,
        };
        drop(file);
        match SCHEMA.standing(judge::stamp_of_source(&path)?, &path)? {
            Standing::Ours { .. } => {}
            Standing::Unmarked { .. } => {
                let detail = "it is no app database of StreamHub; older data directories are taken over whole by `streamhub migrate`";
                return Err(HubError::NotItsOwn { path, detail: detail.to_owned() });
            }
        }
        let db = Database::inspect(&path)?;
        judge::refuse_code(&db)?;
        if proof == Proof::Word {
            judge::refuse_damage(&db, Check::Full)?;
        }
        let found = Identity::read(&db)?;
        if let Some(seal) = seal
            && (seal.uuid != found.uuid || seal.generation != found.generation)
        {
            let detail = "its seal belongs to another database".to_owned();
            return Err(HubError::NotSealed { path: dir.to_owned(), detail });
        }
        Ok(found)
    }

    /// A name or uuid that is here already.
    fn refuse_known(&self, found: &Identity, id: &AppId) -> Result<()> {
        let (name, uuid) = (id.clone(), found.uuid.clone());
        let refused = self.read(move |db| {
            Ok(if apps::by_name(db, name.as_str())?.is_some() {
                Some(Refused::NameTaken { name: name.to_string() })
            } else if apps::by_uuid(db, &uuid)?.is_some() {
                Some(Refused::UuidTaken { uuid })
            } else {
                None
            })
        })?;
        refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// Makes a staged copy this installation's own and registers it; returns its number and whether its
    /// tenant was made.
    fn adopt_staged(&self, staged: &Path, found: &Identity, adoption: &Adoption) -> Result<(i64, bool)> {
        let path = staged.join("app.db");
        if adoption.proof == Proof::Seal {
            // The source may have changed while it was copied.
            let seal = Seal::read(staged)?
                .ok_or_else(|| Error::Unfit { path: path.clone(), unfit: Unfit::Missing })?;
            seal.verify(&Unopened::claim(&path)?)?;
        }
        let tenant = match &adoption.tenant {
            Some(tenant) => tenant.clone(),
            None => found.tenant.parse().map_err(|_| HubError::NotItsOwn {
                path: path.clone(),
                detail: format!("its tenant {:?} is no tenant's key", found.tenant),
            })?,
        };
        self.rewrite_identity(staged, found, tenant.as_str())?;
        let (known, given) = (tenant.clone(), adoption.tenant.is_some());
        let created = self.write(move |db| if given { Ok(false) } else { tenants::ensure(db, &known) })?;
        let id = parse_name(&found.name, &path)?;
        Ok((self.register(&NewApp::new(id, tenant), &found.uuid)?, created))
    }

    /// Brings a database's schema up to date and writes whose it is, with a nonce that says that it
    /// went its own way from here on. The seal speaks of what was before and goes.
    fn rewrite_identity(&self, dir: &Path, found: &Identity, tenant: &str) -> Result<()> {
        let path = dir.join("app.db");
        Seal::remove(dir)?;
        let mut db = Database::write(&path)?;
        let identity = Identity {
            tenant: tenant.to_owned(),
            installation: self.shared.installation.clone(),
            ..found.clone()
        };
        SCHEMA.migrate(&mut db, From::Ours, |tx| {
            identity.write(tx).and_then(|()| identity::append_lineage(tx).map(drop)).of(&path)
        })?;
        db.checkpoint()?;
        db.close()?;
        // What an empty -wal or a -shm of the source would tell is over.
        for ending in ["-wal", "-shm"] {
            durable::remove_file(&sidecar(&path, ending))?;
        }
        Unopened::claim(&path)?.sync()?;
        Ok(())
    }

    fn put_adopted_into_service(&self, registered: i64, generation: i64, id: &AppId) -> Result<App> {
        self.write(move |db| {
            if generation > 0 {
                let _ = apps::set_generation(db, registered, generation)?;
            }
            apps::activate(db, registered)
        })??;
        self.registered(id.as_str())
    }

    /// Takes a registration back whose directory did not get into place; the next start does where this fails.
    fn abandon(&self, registered: i64) {
        if let Err(error) = self.write(move |db| apps::abort_creating(db, registered).map(drop)) {
            tracing::warn!(%error, "a registration is taken back at the next start");
        }
    }
}

fn parse_name(name: &str, path: &Path) -> Result<AppId> {
    name.parse().map_err(|_| HubError::NotItsOwn {
        path: path.to_owned(),
        detail: format!("its name {name:?} is no app's name"),
    })
}
