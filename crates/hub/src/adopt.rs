//! Taking in the directory of an app that comes from elsewhere.
//!
//! What is believed is the seal, which says what the database held when it was whole; no check of the
//! database itself can see that a copy was taken while it was in use. The directory is copied into
//! staging and judged there, so that nothing is changed before everything is known to be good, and the
//! directory that was named is left as it is. One that lies among the apps already is judged and adopted
//! where it lies.

use std::path::Path;

use serde::Serialize;
use streamhub_appstore::schema::SCHEMA;
use streamhub_appstore::{Identity, WriteTx, identity, outbox, streams};
use streamhub_control::apps::{self, App, AppState, Refused};
use streamhub_control::{Connection, TenantId, attention, tenants};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge::{self, Check, Standing};
use streamhub_engine::migrate::From;
use streamhub_engine::seal::Seal;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{AppId, Database, Unopened, Uuid, durable};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::life::{NewApp, discard};
use crate::opener::OUTBOX;

/// How a directory is adopted.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// # let (_there_dir, there) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// # there.delete(&"news-24".parse()?)?;
/// use streamhub::{Adoption, Kind, Proof, TenantId};
///
/// let dir = hub.data().app(&"news-24".parse()?).dir().to_owned();
/// let unsealed = there.adopt(&dir, &Adoption::default()).unwrap_err();
/// assert!(unsealed.to_string().contains("not sealed"));
///
/// // Sealed, the directory can be copied by anything that copies files, and adopted where it arrives.
/// hub.seal(&"news-24".parse()?)?;
/// let adopted = there.adopt(&dir, &Adoption::default())?;
/// assert!(adopted.sealed && !adopted.tenant_created);
/// assert_eq!(there.adopt(&dir, &Adoption::default()).unwrap_err().kind(), Kind::Exists);
///
/// // What else can be said: whose it is to be, and that a person answers for an unsealed copy.
/// let _ = Adoption { tenant: Some(TenantId::platform()), proof: Proof::Word };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// A person's word, and a full check, which cannot see everything. A `-wal` with content is refused here
    /// too: whoever has that has the app from a machine that was using it.
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
    /// Copies an app's directory among the apps and registers it; the directory is left as it is. One that
    /// lies among the apps already, under its app's name, is registered where it lies and becomes the app's.
    pub fn adopt(&self, dir: &Path, adoption: &Adoption) -> Result<Adopted> {
        refuse_no_directory(dir)?;
        let dir = durable::canonical(dir).map_err(HubError::Source)?;
        match self.named_by_place(&dir) {
            Some(id) => self.adopt_in_place(&id, adoption, UnknownTenant::Make),
            None => self.adopt_copy(&dir, adoption),
        }
    }

    /// As [`adopt`](Self::adopt), for async callers.
    pub async fn adopt_async(&self, dir: &Path, adoption: &Adoption) -> Result<Adopted> {
        let (dir, adoption) = (dir.to_owned(), adoption.clone());
        self.blocking(None, move |hub| hub.adopt(&dir, &adoption)).await
    }

    /// Judges a directory as [`adopt`](Self::adopt) does before its first change: for whoever makes an
    /// installation to adopt it into, and should make none where it is refused.
    pub fn survey_adoption(dir: &Path, proof: Proof) -> Result<()> {
        refuse_no_directory(dir)?;
        Self::judge_named(dir, proof).map(drop)
    }

    /// Registers a directory that lies among the apps already.
    pub(crate) fn adopt_in_place(
        &self,
        id: &AppId,
        adoption: &Adoption,
        unknown: UnknownTenant,
    ) -> Result<Adopted> {
        self.refuse_taken(id)?;
        let alone = self.alone(id)?;
        let place = self.data().app(id);
        let found = Self::judge_named(place.dir(), adoption.proof)?;
        if found.name != id.as_str() {
            let detail = format!(
                "its app is called {:?}: give the directory that name, or adopt it from outside of apps/",
                found.name
            );
            return Err(HubError::Invalid(format!("{}: {detail}", place.dir().display())));
        }
        let former = self.refuse_known(&found, id)?;
        let (tenant, unknown) = owner(adoption, unknown, &found, &place.db())?;
        let new = NewApp::new(id.clone(), tenant);
        let (registered, tenant_created) = self.register_adopted(&new, &found.uuid, former, unknown)?;
        // Without its seal it would not be adopted again, so what fails from here on the next start finishes.
        self.rewrite_identity(place.dir(), &found, new.tenant.as_str())?;
        durable::sync_dir(&self.data().apps())?;
        let app = self.put_adopted_into_service(registered, found.generation, id)?;
        drop(alone);
        Ok(Adopted { app, tenant_created, sealed: adoption.proof == Proof::Seal })
    }

    fn adopt_copy(&self, dir: &Path, adoption: &Adoption) -> Result<Adopted> {
        let found = Self::judge_named(dir, adoption.proof)?;
        let id: AppId = parse_name(&found.name, &dir.join("app.db"))?;
        self.refuse_taken(&id)?;
        let alone = self.alone(&id)?;
        let former = self.refuse_known(&found, &id)?;
        let place = self.data().app(&id);
        if place.exists()? {
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        let staged = Self::stage(&place)?;
        let adopted = durable::copy_into(dir, &staged)
            .map_err(HubError::from)
            .and_then(|()| self.adopt_staged(&staged, &found, former, adoption))
            .and_then(|(registered, tenant_created)| {
                durable::move_new(&staged, place.dir())
                    .inspect_err(|_| self.take_back(registered, &staged, &place))?;
                Ok((registered, tenant_created))
            });
        let (registered, tenant_created) = adopted.inspect_err(|_| discard(&staged))?;
        let app = self.put_adopted_into_service(registered, found.generation, &id)?;
        drop(alone);
        Ok(Adopted { app, tenant_created, sealed: adoption.proof == Proof::Seal })
    }

    /// The name that a directory has among the apps; none where it lies elsewhere or its name is no app's.
    fn named_by_place(&self, dir: &Path) -> Option<AppId> {
        if dir.parent() != Some(&self.data().apps()) {
            return None;
        }
        dir.file_name()?.to_str()?.parse().ok()
    }

    /// Judges a directory that a caller named: what is no database is the caller's mistake.
    fn judge_named(dir: &Path, proof: Proof) -> Result<Identity> {
        Unopened::claim(&dir.join("app.db")).and_then(|file| file.header()).map_err(HubError::Source)?;
        Self::judge_source(dir, proof)
    }

    /// Judges a directory without changing it: its seal, and what its database says of itself.
    fn judge_source(dir: &Path, proof: Proof) -> Result<Identity> {
        let path = dir.join("app.db");
        let file = Unopened::claim(&path)?;
        file.refuse_foreign_holder()?;
        let not_sealed = |detail: String| HubError::NotSealed { path: dir.to_owned(), detail };
        let seal = match proof {
            Proof::Seal => {
                let seal = Seal::read(dir)?.ok_or_else(|| {
                    not_sealed(
                        "it is not sealed, so a copy taken while it was in use cannot be told".to_owned(),
                    )
                })?;
                seal.verify(&file).map_err(|error| not_sealed(error.to_string()))?;
                Some(seal)
            }
            // Beside a copy of a database in use it can belong to another moment than the file, and then the two
            // make half a transaction of which no check knows.
            Proof::Word => {
                // A seal goes before the first write, so where one does not fit something else has changed the file.
                if let Some(seal) = Seal::read(dir)? {
                    seal.verify(&file).map_err(|error| not_sealed(error.to_string()))?;
                }
                file.require_whole().map_err(|error| not_sealed(error.to_string()))?;
                None
            }
        };
        drop(file);
        let db = Self::open_source(&path)?;
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

    /// Opens the database of an app that is not registered, without changing it; whether it is whole is not
    /// asked here.
    pub(crate) fn open_source(path: &Path) -> Result<Database> {
        match SCHEMA.standing(judge::stamp_of_source(path)?, path)? {
            Standing::Ours { .. } => {}
            Standing::Unmarked { .. } => {
                let detail = "it is no app database of StreamHub; older data directories are taken over whole by `streamhub migrate`";
                return Err(HubError::NotItsOwn { path: path.to_owned(), detail: detail.to_owned() });
            }
        }
        let db = Database::inspect(path)?;
        judge::refuse_code(&db)?;
        Ok(db)
    }

    /// Refuses a name or uuid that is here already. An app that was deleted here may come back from elsewhere
    /// if it went on from where it was: then its former registration is returned.
    fn refuse_known(&self, found: &Identity, id: &AppId) -> Result<Option<i64>> {
        let (name, uuid) = (id.clone(), found.uuid.clone());
        let (named, same) =
            self.read(move |db| Ok((apps::by_name(db, name.as_str())?, apps::by_uuid(db, &uuid)?)))?;
        if let Some(named) = named {
            return Err(Refused::NameTaken { name: named.name }.into());
        }
        let Some(same) = same else { return Ok(None) };
        let Some(trashed) = self.read(move |db| apps::trashed(db, same.id))?.filter(|_| is_deleted(&same))
        else {
            return Err(Refused::UuidTaken { uuid: found.uuid.clone() }.into());
        };
        let kept = self.data().app(id).trash()?.join(&trashed.trash_name).join("app.db");
        if durable::exists(&kept)? {
            let kept = Identity::read(&Database::inspect(&kept)?)?;
            // Every adoption adds to the lineage, so a copy that only lay elsewhere has none of its own.
            let goes_on =
                found.lineage.starts_with(&kept.lineage) && found.lineage.len() > kept.lineage.len();
            if !goes_on {
                return Err(HubError::InTrash { name: trashed.name });
            }
        }
        Ok(Some(same.id))
    }

    /// Makes a staged copy this installation's own and registers it; returns its number and whether its
    /// tenant was made.
    fn adopt_staged(
        &self,
        staged: &Path,
        found: &Identity,
        former: Option<i64>,
        adoption: &Adoption,
    ) -> Result<(i64, bool)> {
        let path = staged.join("app.db");
        // The source may have changed while it was copied.
        if Self::judge_source(staged, adoption.proof)? != *found {
            let detail = "it was changed while it was copied".to_owned();
            return Err(HubError::NotSealed { path, detail });
        }
        let (tenant, unknown) = owner(adoption, UnknownTenant::Make, found, &path)?;
        self.rewrite_identity(staged, found, tenant.as_str())?;
        let id = parse_name(&found.name, &path)?;
        self.register_adopted(&NewApp::new(id, tenant), &found.uuid, former, unknown)
    }

    /// Registers an app in one transaction with its tenant, and sets aside the registration that it had
    /// before it was deleted here. Says whether the tenant was made.
    fn register_adopted(
        &self,
        new: &NewApp,
        uuid: &Uuid,
        former: Option<i64>,
        unknown: UnknownTenant,
    ) -> Result<(i64, bool)> {
        let (row, quotas) = (new.row(uuid), self.shared.config.quotas);
        let begun = self.beginning(&Deed::of(apps::ADOPT).target(&new.name));
        Ok(self.write(move |db| {
            if let Some(former) = former
                && let Err(refused) = apps::set_aside(db, former)?
            {
                return Ok(Err(refused));
            }
            let made = unknown == UnknownTenant::Make && tenants::ensure(db, &row.tenant)?;
            let registered = apps::insert_creating(db, &row, quotas)?;
            match &registered {
                Ok(number) => begun(db, *number)?,
                Err(_) => apps::give_back(db, &row.uuid)?,
            }
            Ok(registered.map(|number| (number, made)))
        })??)
    }

    /// Brings a database's schema up to date and writes whose it is, with a nonce that says that it
    /// went its own way from here on. The seal speaks of what was before and goes.
    pub(crate) fn rewrite_identity(&self, dir: &Path, found: &Identity, tenant: &str) -> Result<()> {
        let path = dir.join("app.db");
        Seal::remove(dir)?;
        let mut db = Database::write(&path)?;
        let identity = Identity {
            tenant: tenant.to_owned(),
            installation: self.shared.installation.clone(),
            ..found.clone()
        };
        SCHEMA.migrate(&mut db, From::Ours, |tx| {
            identity.write(tx).and_then(|()| identity::append_lineage(tx).map(drop)).of(&path)?;
            let tx = &mut WriteTx::within(tx);
            // What was live where it comes from is not live here, and what was done and used there is not to be
            // told here.
            streams::end_all(tx)?;
            outbox::forget_told(tx)?;
            Ok::<_, HubError>(())
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
        let activate = move |db: &Connection| {
            if generation > 0 {
                let _ = apps::set_generation(db, registered, generation)?;
            }
            // Its outbox may hold work from where it comes from.
            attention::add(db, registered, OUTBOX, "adopted")?;
            apps::activate(db, registered)
        };
        self.or_later(registered, id, || Ok(self.write(activate)??))?;
        self.shared.services.upkeep.attend(registered);
        self.shared.services.unsealed.notice(&self.data().app(id))?;
        self.registered(id.as_str())
    }
}

/// What becomes of a tenant that is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownTenant {
    Make,
    Refuse,
}

/// Whose an adopted app is to be, and what becomes of that tenant where it is not registered: one that a
/// person named has to be.
fn owner(
    adoption: &Adoption,
    unknown: UnknownTenant,
    found: &Identity,
    path: &Path,
) -> Result<(TenantId, UnknownTenant)> {
    if let Some(tenant) = &adoption.tenant {
        return Ok((tenant.clone(), UnknownTenant::Refuse));
    }
    let tenant = found.tenant.parse().map_err(|_| HubError::NotItsOwn {
        path: path.to_owned(),
        detail: format!("its tenant {:?} is no tenant's key", found.tenant),
    })?;
    Ok((tenant, unknown))
}

/// A missing source is told from one that is named by the file in it.
fn refuse_no_directory(dir: &Path) -> Result<()> {
    if dir.is_file() {
        let named = dir.display();
        return Err(HubError::Invalid(format!(
            "{named}: it is a file; name the directory, not the file in it"
        )));
    }
    let source = dir.join("app.db");
    let is_there = durable::exists(&source).map_err(HubError::Source)?;
    if is_there { Ok(()) } else { Err(HubError::NoSource { path: source }) }
}

fn is_deleted(app: &App) -> bool {
    app.state == AppState::Deleted
}

fn parse_name(name: &str, path: &Path) -> Result<AppId> {
    name.parse().map_err(|_| HubError::NotItsOwn {
        path: path.to_owned(),
        detail: format!("its name {name:?} is no app's name"),
    })
}
