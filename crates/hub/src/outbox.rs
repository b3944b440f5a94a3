//! Work that follows a commit in an app: files to delete, audit entries to write down.
//!
//! Each piece may be carried out twice, where a process ended in between, and has the effect of once.

use streamhub_appstore::outbox::{Entry, Pending};
use streamhub_appstore::vods;
use streamhub_control::apps::App;
use streamhub_control::audit;
use streamhub_engine::media::{Media, MediaRoot};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::lease::Lease;

/// Carries out what is pending, in order.
pub(crate) fn carry_out(hub: &Hub, lease: &Lease, app: &App, pending: Vec<Pending>) -> Result<()> {
    let mut entries = Vec::new();
    for work in pending {
        match work.entry {
            Entry::DeleteFile { path } => delete_file(hub, lease, &path)?,
            Entry::Audit { at, principal, address, action, target, outcome, detail } => {
                let mut entry = audit::Entry::now(&principal, &action, &outcome);
                entry.at = at;
                entry.tenant_id = Some(app.tenant_id.clone());
                entry.app = Some(app.name.clone());
                entry.address = address;
                entry.target = target;
                entry.detail_json = detail.map(|detail| detail.to_string());
                entries.push((work.seq, entry));
            }
            // A later program's; it stays in the outbox.
            Entry::Unknown { .. } => {}
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    let uuid =
        app.uuid().and_then(std::result::Result::ok).expect("an open app's was compared with its database's");
    hub.write(move |db| {
        for (seq, entry) in &entries {
            audit::ship(db, &uuid, *seq, entry)?;
        }
        Ok(())
    })
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
