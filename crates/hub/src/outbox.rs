//! Work that follows a commit in an app: files to delete, audit entries to write down, usage to add up.
//!
//! Each piece may be carried out twice, where a process ended in between, and has the effect of once.

use streamhub_appstore::outbox::{self, Entry, Pending};
use streamhub_appstore::{ReadTx, WriteTx, vods};
use streamhub_control::apps::App;
use streamhub_control::idempotency::{Asked, remember};
use streamhub_control::usage::Piece;
use streamhub_control::{TenantId, attention, audit, usage};
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::media::{Media, MediaRoot};
use streamhub_engine::{AppId, Database, Uuid};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::idempotency;
use crate::lease::Lease;
use crate::opener::{self, OUTBOX};

/// Pieces that are read at once.
const AT_ONCE: u32 = 100;

/// What became of some work.
#[derive(Debug, Default)]
pub(crate) struct CarriedOut {
    /// The places of what was done.
    pub(crate) done: Vec<i64>,
    /// What was not: those pieces are to be tried again, and keep no others.
    left: Left,
}

/// The first failures.
#[derive(Debug, Default)]
struct Left {
    /// With a file.
    file: Option<HubError>,
    /// With what is told to the control database.
    records: Option<HubError>,
}

/// What is written into the control database, in one transaction.
#[derive(Debug, Default)]
struct Records {
    places: Vec<i64>,
    entries: Vec<(i64, audit::Entry, Option<Asked>)>,
    pieces: Vec<Piece>,
}

impl Hub {
    /// Does the work in an app's outbox.
    pub(crate) fn ship_from(&self, lease: &Lease) -> Result<()> {
        let left = self.ship_open(lease)?;
        left.records.or(left.file).map_or(Ok(()), Err)
    }

    /// The same, for whoever cares for what the control database is told: files may be deleted later.
    pub(crate) fn tell_from(&self, lease: &Lease) -> Result<()> {
        self.ship_open(lease)?.records.map_or(Ok(()), Err)
    }

    fn ship_open(&self, lease: &Lease) -> Result<Left> {
        let (app, mut after, mut left) = (lease.registered().clone(), 0, Left::default());
        loop {
            let pending = lease.read(|tx| outbox::peek(tx, after, AT_ONCE).map_err(HubError::from))?;
            let Some(last) = pending.last() else { break };
            after = last.seq;
            let uses_file = |path: &str| lease.read(|tx| uses_file(tx, path));
            let carried_out = self.carry_out(lease.id(), &app, pending, uses_file);
            left.add(carried_out.left);
            let done = carried_out.done;
            if !done.is_empty() {
                lease.write(move |tx| outbox::remove(tx, &done).map_err(HubError::from))?;
            }
        }
        Ok(left)
    }

    /// Tells the control database what an app's outbox has to tell it, for an app that nobody uses and that is
    /// not to be used again, or to be copied. Files that cannot be deleted stay in the outbox.
    pub(crate) fn ship_closed(&self, place: &AppPlace, app: &App) -> Result<(), Untold> {
        let is_empty = || {
            opener::judge_own(&place.db(), app)?;
            let db = Database::inspect(&place.db())?;
            Ok(outbox::is_empty(&WriteTx::within(&db))?)
        };
        if is_empty().map_err(Untold::Unreadable)? {
            return Ok(());
        }
        let mut left = Left::default();
        let shipped = self.change_alone(place, |tx| {
            let mut after = 0;
            loop {
                let pending = outbox::peek(tx, after, AT_ONCE)?;
                let Some(last) = pending.last() else { break };
                after = last.seq;
                let carried_out = self.carry_out(place.id(), app, pending, |path| uses_file(tx, path));
                left.add(carried_out.left);
                outbox::remove(tx, &carried_out.done)?;
            }
            Ok(())
        });
        if let Some(error) = &left.file {
            tracing::warn!(app.id = %place.id(), %error, "a deleted row's file is still there");
        }
        if let Some(error) = left.records {
            return Err(Untold::Unwritten(error));
        }
        shipped.map_err(Untold::Unreadable)?;
        if left.file.is_none() {
            self.forget_outbox(app.id).map_err(Untold::Unwritten)?;
        }
        Ok(())
    }

    /// Forgets that the outbox of a closed app may hold work.
    fn forget_outbox(&self, number: i64) -> Result<()> {
        self.note_down(move |db| {
            for row in attention::of_app(db, number)?.into_iter().filter(|row| row.kind == OUTBOX) {
                attention::remove(db, number, OUTBOX, &row.reference)?;
            }
            Ok(())
        })
    }

    /// Carries out what is pending, in order.
    pub(crate) fn carry_out(
        &self,
        id: &AppId,
        app: &App,
        pending: Vec<Pending>,
        uses_file: impl Fn(&str) -> Result<bool>,
    ) -> CarriedOut {
        let mut carried_out = CarriedOut::default();
        let mut records = Records::default();
        for work in pending {
            match work.entry {
                Entry::DeleteFile { path } => match self.delete_file(id, &path, &uses_file) {
                    Ok(()) => carried_out.done.push(work.seq),
                    Err(error) => carried_out.left.add(Left { file: Some(error), records: None }),
                },
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
                        records.pieces.push(Piece {
                            uuid: uuid_of(app),
                            seq: work.seq,
                            month,
                            metric,
                            amount,
                        });
                    }
                }
                // A later program's stays in the outbox, as what it meters and is not known here does.
                Entry::Unknown { .. } => {}
            }
        }
        if !records.places.is_empty() {
            let places = records.places.clone();
            match records.write_down(self, app) {
                Ok(()) => carried_out.done.extend(places),
                Err(error) => carried_out.left.add(Left { file: None, records: Some(error) }),
            }
        }
        carried_out
    }

    /// Deletes a deleted row's file, unless another row has it too. What is no file below the app's media
    /// folders is reported and left alone.
    fn delete_file(&self, id: &AppId, path: &str, uses_file: impl Fn(&str) -> Result<bool>) -> Result<()> {
        if uses_file(path)? {
            return Ok(());
        }
        let root = MediaRoot::open(self.data().app(id).dir())?;
        if let Media::Refused { reason } = root.remove(path)? {
            tracing::warn!(app.id = %id, path, %reason, "a deleted row's file is left alone");
        }
        Ok(())
    }
}

/// Why the control database was not told what a closed app's outbox has to tell it.
#[derive(Debug)]
pub(crate) enum Untold {
    /// The app's database does not give it.
    Unreadable(HubError),
    /// The control database does not take it.
    Unwritten(HubError),
}

impl From<Untold> for HubError {
    fn from(untold: Untold) -> Self {
        let (Untold::Unreadable(error) | Untold::Unwritten(error)) = untold;
        error
    }
}

impl Left {
    fn add(&mut self, other: Self) {
        self.file = self.file.take().or(other.file);
        self.records = self.records.take().or(other.records);
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

fn uses_file(tx: &ReadTx<'_>, path: &str) -> Result<bool> {
    Ok(vods::uses_file(tx, path)?)
}
