//! Apps that are registered and not there: found out before somebody asks for one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use streamhub_control::apps::{self, Tally};
use streamhub_engine::{AppId, DataDir};

use crate::error::Result;
use crate::hub::{Hub, Shared};
use crate::opener;
use crate::stored::briefly;

/// Apps that are looked at between two looks whether the hub is still there.
const AT_A_STRETCH: usize = 100;

/// Apps that the log names.
const NAMED: usize = 20;

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
    /// Begins to look which of the apps in service are not there, as where their disk is not mounted, unless that is
    /// under way. A disk that hangs may keep it for ever, so nobody waits for it.
    pub(crate) fn look_for_lost(&self) {
        self.begin_round(&self.shared.services.upkeep.looking, "streamhub-look", look);
    }

    /// How many apps there are, how many of them wait for a person, and how many are not there. Upkeep looks for
    /// these after the start and once an hour; besides it is noticed when one is used.
    pub fn tally(&self) -> Result<Tally> {
        let lost = self.shared.services.lost.apps().clone();
        let mut set_aside = self.shared.cache.set_aside();
        set_aside.retain(|id| !lost.contains(id));
        self.read(|db| {
            let mut tally = apps::tally(db)?;
            tally.missing += lost.len() as u64;
            for id in &set_aside {
                tally.pending += u64::from(apps::is_in_service(db, id.as_str())?);
            }
            Ok(tally)
        })
    }
}

/// One round over all apps.
fn look(hub: &Weak<Shared>, data: &DataDir) -> Result<()> {
    let names = briefly(hub, |hub| hub.read(apps::in_service))?;
    let mut missing = BTreeSet::new();
    for some in names.chunks(AT_A_STRETCH) {
        briefly(hub, |_| Ok(()))?;
        let ids = some.iter().filter_map(|name| name.parse::<AppId>().ok());
        missing.extend(ids.filter(|id| opener::is_missing(&data.app(id))));
    }
    // What was deleted or came back meanwhile is not missed.
    let still = briefly(hub, |hub| hub.read(apps::in_service))?.into_iter().collect::<BTreeSet<_>>();
    missing.retain(|id| still.contains(id.as_str()) && opener::is_missing(&data.app(id)));
    let before = briefly(hub, |hub| {
        let lost = &hub.shared.services.lost;
        Ok(std::mem::replace(&mut *lost.apps(), missing.clone()))
    })?;
    let new: Vec<_> = missing.difference(&before).collect();
    if !new.is_empty() {
        let some: Vec<_> = new.iter().take(NAMED).map(|id| id.as_str()).collect();
        let (count, apps, way_out) = (new.len(), some.join(", "), "mount their disk or put them back");
        tracing::error!(count, apps, way_out, "apps are missing: their databases are not there");
    }
    Ok(())
}
