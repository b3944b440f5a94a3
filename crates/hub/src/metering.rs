//! What is metered: how much was recorded and sent, in an app's own transactions.
//!
//! A piece goes into the app's outbox together with what it tells of, and is added to what the tenant used
//! once, however often it is shipped. What is stored is measured elsewhere.

use std::time::Duration;

use serde_json::json;
use streamhub_appstore::WriteTx;
use streamhub_appstore::outbox::{self, Entry};
use streamhub_appstore::vods::{LONGEST, Vod};
use streamhub_control::quotas::{Enforcement, Metric};
use streamhub_control::usage::{self, Metered, Month};
use streamhub_control::{Connection, SqlResult, TenantId};
use streamhub_engine::time::Moment;

use crate::acting::Deed;
use crate::error::Result;
use crate::hub::Hub;
use crate::lease::Lease;

/// How long it is remembered what was added: longer than an app lies anywhere with an outbox that is not empty.
const REMEMBERED: Duration = Duration::from_hours(400 * 24);

impl Hub {
    /// Asks whether a tenant may have more of something, for media servers that ask before they serve. Nothing
    /// is reserved by it.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::TenantId;
    /// use streamhub::quotas::Metric;
    ///
    /// hub.admit(&TenantId::platform(), Metric::EgressGbMonth)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn admit(&self, tenant: &TenantId, metric: Metric) -> Result<()> {
        let quotas = self.shared.config.quotas;
        Ok(self.read(|db| quotas.admit(db, tenant, metric))??)
    }

    /// Forgets which pieces were added long ago.
    pub(crate) fn prune_metered(&self) -> Result<()> {
        let before = Moment::now().before(REMEMBERED);
        self.in_chunks(usage::PRUNE_CHUNK, move |db: &Connection| -> SqlResult<usize> {
            usage::prune(db, &before)
        })
    }
}

impl Lease {
    /// Adds to what the app's tenant has sent in this month. It costs a sync, which is shared with other writes, so
    /// that a media server says it once in a while and not for each packet.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// let app = hub.app(&"news-24".parse()?)?;
    /// app.meter_egress(250_000_000)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn meter_egress(&self, bytes: u64) -> Result<()> {
        self.write(self.egress(bytes))
    }

    /// As [`meter_egress`](Self::meter_egress), for async callers.
    pub async fn meter_egress_async(&self, bytes: u64) -> Result<()> {
        self.write_async(self.egress(bytes)).await
    }

    /// Whether the app's tenant may begin a recording.
    pub(crate) fn admit_recording(&self) -> Result<()> {
        let tenant = TenantId::from_registry(self.registered().tenant_id.clone());
        let quotas = self.services().quotas;
        for metric in [Metric::RecordingMinutesMonth, Metric::StorageGb] {
            self.services().plane.read(|db| quotas.admit(db, &tenant, metric))??;
        }
        Ok(())
    }

    /// Whether it has to be asked at all who may have more.
    pub(crate) fn has_quotas(&self) -> bool {
        self.services().quotas != Enforcement::Off
    }

    fn egress(&self, bytes: u64) -> impl FnMut(&mut WriteTx<'_>) -> Result<()> + Send + use<> {
        let deed = Deed::of("usage.meter").target(self.id()).detail(json!({ "egressBytes": bytes }));
        self.audited(deed, move |tx, _| meter(tx, Metered::EgressBytes, bytes))
    }
}

/// Meters how much longer a recording has become. What becomes shorter was recorded all the same.
pub(crate) fn meter_recording(tx: &mut WriteTx<'_>, before: Option<&Vod>, after: &Vod) -> Result<()> {
    let longer = seconds(after).saturating_sub(before.map_or(0, seconds));
    meter(tx, Metered::RecordingSeconds, longer)
}

fn meter(tx: &mut WriteTx<'_>, metric: Metered, amount: u64) -> Result<()> {
    if amount > 0 {
        let (metric, month) = (metric.to_string(), Month::current().to_string());
        outbox::push(tx, &Entry::Meter { metric, month, amount })?;
    }
    Ok(())
}

/// Whole seconds, as far as they are known: a row may hold more than a recording has, and be written by others than the
/// hub.
fn seconds(vod: &Vod) -> u64 {
    let longest = LONGEST.as_secs_f64();
    let known = vod.duration_s.map_or(0.0, |seconds| seconds.clamp(0.0, longest));
    Duration::try_from_secs_f64(known).map_or(0, |duration| duration.as_secs())
}
