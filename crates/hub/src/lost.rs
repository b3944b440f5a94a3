//! Apps that are registered and not there: found out before somebody asks for one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use streamhub_control::apps::{self, Tally};
use streamhub_engine::AppId;

use crate::error::Result;
use crate::hub::Hub;
use crate::opener;

/// The apps whose databases were not there when that was looked at last, or somebody asked for them.
#[derive(Debug, Default)]
pub(crate) struct Lost(Mutex<BTreeSet<AppId>>);

impl Lost {
    /// What was found out when an app was asked for.
    pub(crate) fn note(&self, id: &AppId, is_lost: bool) {
        let mut apps = self.apps();
        if is_lost {
            apps.insert(id.clone());
        } else {
            apps.remove(id);
        }
    }

    fn apps(&self) -> MutexGuard<'_, BTreeSet<AppId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Looks which of the apps in service are not there, as where their disk is not mounted. It costs a look at each
    /// directory.
    pub(crate) fn look_for_lost(&self) -> Result<()> {
        let mut lost = BTreeSet::new();
        for id in self.read(apps::in_service)?.iter().filter_map(|name| name.parse::<AppId>().ok()) {
            if opener::is_missing(&self.data().app(&id)) {
                lost.insert(id);
            }
        }
        let before = std::mem::replace(&mut *self.shared.services.lost.apps(), lost.clone());
        for id in lost.difference(&before) {
            let path = self.data().app(id).db();
            let way_out = "mount its disk or put it back; `streamhub app delete --lost` forgets it";
            tracing::error!(app.id = %id, path = %path.display(), way_out, "an app's database is missing");
        }
        Ok(())
    }

    /// How many apps there are, how many of them wait for a person, and how many are not there. Upkeep looks for
    /// these at the start and once an hour; besides it is noticed when one is used.
    pub fn tally(&self) -> Result<Tally> {
        let (lost, set_aside) = (self.shared.services.lost.apps().clone(), self.shared.cache.set_aside());
        self.read(|db| {
            let mut tally = apps::tally(db)?;
            // They may have been deleted since.
            for id in &lost {
                tally.missing += u64::from(apps::is_in_service(db, id.as_str())?);
            }
            for id in set_aside.iter().filter(|id| !lost.contains(*id)) {
                tally.pending += u64::from(apps::is_in_service(db, id.as_str())?);
            }
            Ok(tally)
        })
    }
}
