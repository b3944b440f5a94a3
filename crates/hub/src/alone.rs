//! Having an app alone, and changing its database meanwhile.

use streamhub_appstore::WriteTx;
use streamhub_control::apps;
use streamhub_engine::cache::Exclusive;
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::{AppId, Database};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::opener::AppOpener;

impl Hub {
    /// Nobody else uses the app, and its database is closed.
    pub(crate) fn alone(&self, id: &AppId) -> Result<Exclusive<AppOpener>> {
        let alone = self.shared.cache.exclusive(id)?;
        let Some(meant) = self.meant(id.as_str()) else { return Ok(alone) };
        // One that is in the trash has given its name away, so that there may be none.
        match self.read(|db| apps::by_name(db, id.as_str()))? {
            Some(found) if found.id != meant => Err(HubError::UnknownApp { name: id.to_string() }),
            _ => Ok(alone),
        }
    }

    /// Two apps, in one order for everybody, so that no two callers wait for each other.
    pub(crate) fn both_alone(&self, one: &AppId, other: &AppId) -> Result<[Exclusive<AppOpener>; 2]> {
        Ok([self.alone(one.min(other))?, self.alone(one.max(other))?])
    }

    /// Changes the database of an app that nobody else uses, in one transaction, and leaves all of it in its file.
    pub(crate) fn change_alone<T>(
        &self,
        place: &AppPlace,
        change: impl FnOnce(&mut WriteTx<'_>) -> Result<T>,
    ) -> Result<T> {
        self.shared.services.unsealed.break_seal(place)?;
        let path = place.db();
        let db = Database::write(&path)?;
        let tx = db.unchecked_transaction().of(&path)?;
        let changed = change(&mut WriteTx::within(&tx))?;
        tx.commit().of(&path)?;
        db.checkpoint()?;
        db.close()?;
        Ok(changed)
    }
}
