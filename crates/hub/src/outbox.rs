//! Work that follows a commit in an app: files to delete, audit entries to write down, usage to add up.
//!
//! Each piece may be carried out twice, where a process ended in between, and has the effect of once.

use streamhub_appstore::outbox::{Entry, Pending};
use streamhub_appstore::vods;
use streamhub_control::apps::App;
use streamhub_control::idempotency::{Asked, remember};
use streamhub_control::usage::Piece;
use streamhub_control::{TenantId, audit, usage};
use streamhub_engine::Uuid;
use streamhub_engine::media::{Media, MediaRoot};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::idempotency;
use crate::lease::Lease;

/// What became of some work.
#[derive(Debug, Default)]
pub(crate) struct CarriedOut {
    /// The places of what was done.
    pub(crate) done: Vec<i64>,
    /// The first failure: that piece is to be tried again, and keeps no other.
    pub(crate) failed: Option<HubError>,
}

/// What is written into the control database, in one transaction.
#[derive(Debug, Default)]
struct Records {
    places: Vec<i64>,
    entries: Vec<(i64, audit::Entry, Option<Asked>)>,
    pieces: Vec<Piece>,
}

/// Carries out what is pending, in order.
pub(crate) fn carry_out(hub: &Hub, lease: &Lease, app: &App, pending: Vec<Pending>) -> CarriedOut {
    let mut carried_out = CarriedOut::default();
    let mut records = Records::default();
    for work in pending {
        match work.entry {
            Entry::DeleteFile { path } => carried_out.note(&[work.seq], delete_file(hub, lease, &path)),
            Entry::Audit { at, principal, address, action, target, outcome, detail, asked } => {
                let mut entry = audit::Entry::now(&principal, &action, &outcome);
                entry.at = at;
                entry.tenant_id = Some(app.tenant_id.clone());
                entry.app = Some(app.name.clone());
                entry.address = address;
                entry.target = target;
                entry.detail_json = detail.map(|detail| detail.to_string());
                records.places.push(work.seq);
                records.entries.push((work.seq, entry, asked.and_then(idempotency::from_json)));
            }
            Entry::Meter { metric, month, amount } => {
                if let (Ok(metric), Ok(month)) = (metric.parse(), month.parse()) {
                    records.places.push(work.seq);
                    records.pieces.push(Piece { uuid: uuid_of(app), seq: work.seq, month, metric, amount });
                }
            }
            // A later program's stays in the outbox, as what it meters and is not known here does.
            Entry::Unknown { .. } => {}
        }
    }
    if !records.places.is_empty() {
        let places = records.places.clone();
        carried_out.note(&places, records.write_down(hub, app));
    }
    carried_out
}

impl CarriedOut {
    fn note(&mut self, places: &[i64], result: Result<()>) {
        match result {
            Ok(()) => self.done.extend(places),
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }
}

impl Records {
    fn write_down(self, hub: &Hub, app: &App) -> Result<()> {
        let (uuid, tenant) = (uuid_of(app), TenantId::from_registry(app.tenant_id.clone()));
        hub.note_down(move |db| {
            for (seq, entry, asked) in &self.entries {
                let shipped = audit::ship(db, &uuid, *seq, entry)?;
                if let (Some(audit_id), Some(asked)) = (shipped, asked) {
                    remember(db, asked, audit_id)?;
                }
            }
            for piece in &self.pieces {
                usage::ship(db, &tenant, piece)?;
            }
            Ok(())
        })
    }
}

fn uuid_of(app: &App) -> Uuid {
    app.uuid().and_then(std::result::Result::ok).expect("an open app's was compared with its database's")
}

/// Deletes a deleted row's file, unless another row has it too. What is no file below the app's media
/// folders is reported and left alone.
fn delete_file(hub: &Hub, lease: &Lease, path: &str) -> Result<()> {
    if lease.read(|tx| vods::uses_file(tx, path).map_err(HubError::from))? {
        return Ok(());
    }
    let root = MediaRoot::open(hub.data().app(lease.id()).dir())?;
    if let Media::Refused { reason } = root.remove(path)? {
        tracing::warn!(app.id = %lease.id(), path, %reason, "a deleted row's file is left alone");
    }
    Ok(())
}
