//! Sealing: saying of a closed database what its file holds, so that copies of it can be believed.

use std::time::Instant;

use streamhub_appstore::Identity;
use streamhub_engine::cache::Exclusive;
use streamhub_engine::seal::Seal;
use streamhub_engine::{AppId, Database, Unopened};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::opener::{self, AppOpener};

impl Hub {
    /// Seals an app: waits for its users, writes everything into its database file, makes that durable and
    /// writes `app.seal` beside it. From then on the directory can be copied, until the next write breaks
    /// the seal.
    pub fn seal(&self, id: &AppId) -> Result<Seal> {
        let alone = self.alone(id)?;
        opener::judge_own(&self.data().app(id), &self.registered(id.as_str())?)?;
        self.seal_alone(&alone)
    }

    /// Seals an app that nobody else uses, and whose database was judged to be its own.
    pub(crate) fn seal_alone(&self, alone: &Exclusive<AppOpener>) -> Result<Seal> {
        let place = self.data().app(alone.id());
        let path = place.db();
        // A process that ended without closing it left a -wal, which belongs into the file.
        if Unopened::claim(&path)?.sidecar_len("-wal")? > 0 {
            let db = Database::write(&path)?;
            db.checkpoint()?;
            db.close()?;
        }
        let identity = Identity::read(&Database::inspect(&path)?)?;
        let file = Unopened::claim(&path)?;
        let seal = Seal::of(&file, &identity.uuid, identity.generation)?;
        seal.write(place.dir())?;
        Ok(seal)
    }

    /// Seals what is open and was written to, as far as it is small enough, until `deadline`.
    pub(crate) fn seal_open_apps(&self, deadline: Instant) {
        for id in self.shared.cache.open_apps() {
            if Instant::now() >= deadline {
                break;
            }
            let place = self.data().app(&id);
            let small = crate::status::bytes(&place.db()) <= self.shared.config.seal_up_to;
            if !small || Seal::read(place.dir()).is_ok_and(|seal| seal.is_some()) {
                continue;
            }
            match self.shared.cache.exclusive_until(&id, deadline).map_err(HubError::from) {
                Ok(alone) => {
                    if let Err(error) = self.seal_alone(&alone) {
                        tracing::warn!(app.id = %id, %error, "an app is not sealed");
                    }
                }
                Err(error) => tracing::warn!(app.id = %id, %error, "an app is still in use"),
            }
        }
    }
}
