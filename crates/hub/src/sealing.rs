//! Sealing: saying of a closed database what its file holds, so that copies of it can be believed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use streamhub_appstore::Identity;
use streamhub_control::deeds::{self, Outcome};
use streamhub_engine::cache::Exclusive;
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::judge::{self, Check};
use streamhub_engine::seal::{self, Seal};
use streamhub_engine::{AppId, Database, Unopened, durable};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::opener::{self, AppOpener};
use crate::status;

/// What the audit calls the sealing of an app.
pub(crate) const SEAL: &str = "app.seal";

/// Apps that this process has used and that have no seal: a graceful stop seals them.
#[derive(Debug, Default)]
pub(crate) struct Unsealed(Mutex<BTreeSet<AppId>>);

impl Unsealed {
    /// Removes an app's seal, before its database is changed.
    pub(crate) fn break_seal(&self, place: &AppPlace) -> streamhub_engine::Result<()> {
        self.apps().insert(place.id().clone());
        Seal::remove(place.dir())
    }

    /// Looks whether an app that comes into use has a seal.
    pub(crate) fn notice(&self, place: &AppPlace) -> streamhub_engine::Result<()> {
        if !durable::exists(&place.dir().join(seal::FILE))? {
            self.apps().insert(place.id().clone());
        }
        Ok(())
    }

    /// An app was sealed, or is not here any more.
    pub(crate) fn forget(&self, id: &AppId) {
        self.apps().remove(id);
    }

    fn apps(&self) -> MutexGuard<'_, BTreeSet<AppId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Seals an app: waits for its users, has told what its outbox has to tell, writes everything into its database
    /// file, makes that durable and writes `app.seal` beside it. From then on the directory can be copied, until the
    /// next write breaks the seal.
    pub fn seal(&self, id: &AppId) -> Result<Seal> {
        let alone = self.alone(id)?;
        let place = self.data().app(id);
        let registered = self.registered(id.as_str())?;
        opener::judge_own(&place.db(), &registered)?;
        judge::refuse_damage(&Database::inspect(&place.db())?, Check::Quick)?;
        self.begin(&Deed::of(SEAL).target(id), registered.id)?;
        let sealed = self
            .ship_closed(&place, &registered)
            .map_err(HubError::from)
            .and_then(|()| self.seal_alone(&alone));
        let outcome = if sealed.is_ok() { Outcome::Done } else { Outcome::Failed };
        self.or_later(registered.id, id, || self.conclude_sealing(registered.id, outcome))?;
        sealed
    }

    /// As [`seal`](Self::seal), for async callers.
    pub async fn seal_async(&self, id: &AppId) -> Result<Seal> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.seal(&app)).await
    }

    /// Says in the audit how a sealing ended of which nothing else is known: the seal is there, or it is not.
    pub(crate) fn settle_sealing(&self, number: i64, alone: &Exclusive<AppOpener>) -> Result<()> {
        if !self.is_sealing(number)? {
            return Ok(());
        }
        let is_there = durable::exists(&self.data().app(alone.id()).dir().join(seal::FILE))?;
        let outcome = if is_there { Outcome::Done } else { Outcome::Failed };
        self.conclude_sealing(number, outcome)
    }

    fn conclude_sealing(&self, number: i64, outcome: Outcome) -> Result<()> {
        self.note_down(move |db| deeds::conclude(db, number, &[SEAL], outcome))
    }

    /// Whether a sealing was begun of which the audit does not say how it ended.
    pub(crate) fn is_sealing(&self, number: i64) -> Result<bool> {
        Ok(!self.read(move |db| deeds::begun(db, number, SEAL))?.is_empty())
    }

    /// Seals an app that nobody else uses, and whose database was judged to be its own. One in which damage was
    /// found is looked through first: whoever has a seal believes it.
    pub(crate) fn seal_alone(&self, alone: &Exclusive<AppOpener>) -> Result<Seal> {
        let place = self.data().app(alone.id());
        let path = place.db();
        // A process that ended without closing it left a -wal, which belongs into the file.
        if Unopened::claim(&path)?.sidecar_len("-wal")? > 0 {
            let db = Database::write(&path)?;
            db.checkpoint()?;
            db.close()?;
        }
        let db = Database::inspect(&path)?;
        if alone.is_suspect() {
            judge::refuse_damage(&db, Check::Quick)?;
        }
        let identity = Identity::read(&db)?;
        drop(db);
        let file = Unopened::claim(&path)?;
        let seal = Seal::of(&file, &identity.uuid, identity.generation)?;
        seal.write(place.dir())?;
        self.shared.services.unsealed.forget(alone.id());
        Ok(seal)
    }

    /// Seals what was used, as far as it is small enough, until `deadline`. What is idle comes first, so that
    /// a lease that stays out costs no other app its seal.
    pub(crate) fn seal_what_was_used(&self, deadline: Instant) {
        let began = Instant::now();
        let mut in_use = Vec::new();
        for id in self.unsealed() {
            if Instant::now() < deadline && !self.seal_by(&id, began) {
                in_use.push(id);
            }
        }
        for id in in_use {
            self.seal_by(&id, deadline);
        }
        let (large, unsealed): (Vec<_>, Vec<_>) =
            self.shared.services.unsealed.apps().iter().cloned().partition(|id| self.is_large(id));
        if !unsealed.is_empty() {
            let (count, apps) = (unsealed.len(), names(&unsealed));
            tracing::warn!(count, apps, "apps are left without a seal");
        }
        if !large.is_empty() {
            let (count, apps, most) = (large.len(), names(&large), self.shared.config.seal_up_to);
            tracing::info!(
                count,
                apps,
                bytes = most,
                "apps are too large to be sealed at a stop; `streamhub app seal` does it"
            );
        }
    }

    /// The apps that a graceful stop seals.
    fn unsealed(&self) -> impl Iterator<Item = AppId> {
        let used = self.shared.services.unsealed.apps().clone();
        used.into_iter().filter(|id| !self.is_large(id))
    }

    /// Whether sealing an app would take longer than a stop may.
    fn is_large(&self, id: &AppId) -> bool {
        status::bytes(&self.data().app(id).db()) > self.shared.config.seal_up_to
    }

    /// Seals an app that nobody uses by `deadline`, and says whether there was none who did.
    fn seal_by(&self, id: &AppId, deadline: Instant) -> bool {
        let Ok(alone) = self.shared.cache.exclusive_until(id, deadline) else { return false };
        let told = self
            .registered(id.as_str())
            .and_then(|registered| Ok(self.ship_closed(&self.data().app(id), &registered)?));
        // It is told at the next start otherwise; a copy tells nothing where it is adopted.
        if let Err(error) = told {
            tracing::warn!(app.id = %id, %error, "what was done to an app is not told yet");
        }
        if let Err(error) = self.seal_alone(&alone) {
            tracing::warn!(app.id = %id, %error, "an app cannot be sealed");
        }
        true
    }
}

fn names(apps: &[AppId]) -> String {
    apps.iter().map(AppId::as_str).collect::<Vec<_>>().join(", ")
}
