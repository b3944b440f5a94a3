//! How much each tenant stores, measured by what the directories of its apps say: no file is opened.
//!
//! A thread of its own does a round over all apps. A disk that hangs may keep it for ever, so nobody waits for
//! it, and it holds the hub for moments only. It rests now and then, so that others get at the disk too.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use streamhub_control::apps::App;
use streamhub_control::usage::{self, Month};
use streamhub_control::{TenantId, tenants};
use streamhub_engine::media::MediaRoot;
use streamhub_engine::{AppId, DataDir, durable};

use crate::error::{HubError, Result};
use crate::hub::{Hub, Shared};
use crate::sizes::size_of;

/// Directory entries that are looked at without a rest.
const AT_A_STRETCH: u64 = 10_000;

/// How long a rest is.
const REST: Duration = Duration::from_secs(1);

/// Tenants whose figures are written in one transaction.
const CHUNK: usize = 500;

/// Whether a round over all apps is under way, of which there is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Arc<AtomicBool>);

/// A round that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Round(Arc<AtomicBool>);

impl Rounds {
    /// None where one is under way.
    pub(crate) fn begin(&self) -> Option<Round> {
        (!self.0.swap(true, Ordering::AcqRel)).then(|| Round(Arc::clone(&self.0)))
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Hub {
    /// Begins to measure what the tenants store, unless that is under way.
    pub(crate) fn measure_storage(&self) {
        self.begin_round(&self.shared.services.upkeep.measuring, "streamhub-measure", measure);
    }

    /// Does a round over all apps on a thread of its own, which nobody waits for, unless one is under way.
    pub(crate) fn begin_round(
        &self,
        rounds: &Rounds,
        thread: &'static str,
        work: fn(&Weak<Shared>, &DataDir) -> Result<()>,
    ) {
        let Some(round) = rounds.begin() else { return };
        let (hub, data) = (Arc::downgrade(&self.shared), self.data().clone());
        let spawned = thread::Builder::new().name(thread.to_owned()).spawn(move || {
            let _round = round;
            match work(&hub, &data) {
                Ok(()) | Err(HubError::Closed) => {}
                Err(error) => tracing::warn!(thread, %error, "a round over all apps could not be ended"),
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(thread, %error, "a round over all apps is begun later");
        }
    }
}

/// One round. A tenant of whose apps one cannot be measured keeps the figure that it has.
pub(crate) fn measure(hub: &Weak<Shared>, data: &DataDir) -> Result<()> {
    let (known, apps) = briefly(hub, |hub| Ok((hub.registry().tenants()?, hub.apps()?)))?;
    let mut sums: BTreeMap<_, u64> = known.into_iter().map(|tenant| (tenant.id.to_string(), 0)).collect();
    let mut entries: u64 = 0;
    let mut pace = || {
        entries += 1;
        if entries.is_multiple_of(AT_A_STRETCH) {
            thread::sleep(REST);
        }
        match briefly(hub, |_| Ok(())) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    for app in apps {
        match bytes_of(data, &app, &mut pace) {
            Ok(ControlFlow::Continue(bytes)) => {
                sums.entry(app.tenant_id).and_modify(|sum| *sum = sum.saturating_add(bytes));
            }
            Ok(ControlFlow::Break(())) => return Err(HubError::Closed),
            Err(error) => {
                tracing::warn!(app.id = app.name, %error, "what an app stores cannot be measured");
                sums.remove(&app.tenant_id);
            }
        }
    }
    let sums: Vec<_> = sums.into_iter().collect();
    briefly(hub, |hub| sums.chunks(CHUNK).try_for_each(|some| write_down(hub, some.to_vec())))
}

/// All that counts of an app: its database, its `-wal`, and its media.
fn bytes_of(
    data: &DataDir,
    app: &App,
    pace: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), u64>> {
    // An app in the trash has a name that is none.
    let Ok(id) = app.name.parse::<AppId>() else { return Ok(ControlFlow::Continue(0)) };
    let dir = data.app(&id).dir().to_owned();
    if pace().is_break() {
        return Ok(ControlFlow::Break(()));
    }
    if !durable::exists(&dir)? {
        return Ok(ControlFlow::Continue(0));
    }
    let size = size_of(data, app);
    let media = MediaRoot::open(&dir)?.bytes(pace)?;
    Ok(media.map_continue(|media| size.size_bytes + size.wal_size_bytes + media))
}

fn write_down(hub: &Hub, stored: Vec<(String, u64)>) -> Result<()> {
    let month = Month::current();
    hub.note_down(move |db| {
        for (tenant, bytes) in &stored {
            let tenant = TenantId::from_registry(tenant.clone());
            if tenants::exists(db, &tenant)? {
                usage::set_storage(db, &tenant, &month, *bytes)?;
            }
        }
        Ok(())
    })
}

/// Does something with a hub that is neither gone nor about to close.
pub(crate) fn briefly<T>(hub: &Weak<Shared>, work: impl FnOnce(&Hub) -> Result<T>) -> Result<T> {
    let hub = Hub::of(hub.upgrade().ok_or(HubError::Closed)?);
    if hub.shared.services.upkeep.is_stopping() { Err(HubError::Closed) } else { work(&hub) }
}
