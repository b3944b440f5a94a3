//! Finishing what a process that ended left half done.
//!
//! What is to be finished stands in the registry: an app's state, or a row that asks for attention.
//! Only those apps are looked at.

use std::collections::BTreeSet;

use streamhub_appstore::{Identity, outbox};
use streamhub_control::apps::{self, App, AppState};
use streamhub_control::attention;
use streamhub_engine::{AppId, Database, durable};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::lease::Lease;
use crate::life::RENAME;
use crate::opener::OUTBOX;

impl Hub {
    /// Finishes or takes back every step in an app's life that the registry shows as begun. An app for
    /// which that fails stays out of service, and is tried again at the next start.
    pub(crate) fn finish_steps(&self) -> Result<()> {
        for marked in self.read(attention::list)?.into_iter().filter(|row| row.kind == RENAME) {
            let Some(app) = self.read(|db| apps::by_id(db, marked.app_id))? else { continue };
            Self::report(&app.name, self.resume_rename(&app, &marked.reference));
        }
        for app in self.read(apps::unfinished)? {
            let Ok(id) = app.name.parse::<AppId>() else { continue };
            let finished = match app.state {
                AppState::Creating => self.resume_create(&app, &id),
                AppState::Deleting => {
                    self.alone(&id).and_then(|alone| self.finish_delete(&app, &alone)).map(drop)
                }
                _ => Ok(()),
            };
            Self::report(&app.name, finished);
        }
        Ok(())
    }

    fn report(name: &str, finished: Result<()>) {
        if let Err(error) = finished {
            let way_out = error.way_out();
            tracing::error!(app.id = name, %error, way_out, "what was begun with an app could not be finished");
        }
    }

    /// An app whose directory got into place is in service; one that did not was never made.
    fn resume_create(&self, app: &App, id: &AppId) -> Result<()> {
        let place = self.data().app(id);
        let number = app.id;
        if !durable::exists(&place.db())? {
            return Ok(self.write(move |db| apps::abort_creating(db, number))??);
        }
        let found = Identity::read(&Database::inspect(&place.db())?)?;
        if !app.points_at(&found.uuid) {
            self.write(move |db| apps::abort_creating(db, number))??;
            return Err(HubError::DirectoryThere { dir: place.dir().to_owned() });
        }
        // One that appeared here is made this installation's and its tenant's own in its place.
        if found.installation != self.shared.installation || found.tenant != app.tenant_id {
            self.rewrite_identity(place.dir(), &found, &app.tenant_id)?;
        }
        let generation = found.generation;
        Ok(self.write(move |db| {
            // An adopted app brings its generation along.
            let _ = apps::set_generation(db, number, generation)?;
            apps::activate(db, number)
        })??)
    }

    /// A renaming whose directory was not moved, and cannot be any more, never was.
    fn resume_rename(&self, app: &App, to: &str) -> Result<()> {
        let (Ok(from), Ok(to)) = (app.name.parse::<AppId>(), to.parse::<AppId>()) else { return Ok(()) };
        let taken = self.data().app(&to).exists()? || self.registered(to.as_str()).is_ok();
        if taken && self.data().app(&from).exists()? {
            let number = app.id;
            return self.write(move |db| attention::remove(db, number, RENAME, to.as_str()).map(drop));
        }
        self.finish_rename(app, &from, &to, &to)
    }

    /// Opens each app that asks for attention and does what it asks for: streams that ended with the
    /// process are ended and their reservations given back, and outboxes are shipped. Returns the apps for
    /// which that is still to be done.
    pub(crate) fn attend(&self) -> Result<BTreeSet<AppId>> {
        let asking = self.read(|db| {
            attention::apps(db)?
                .into_iter()
                .map(|number| apps::by_id(db, number))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let active = asking.into_iter().flatten().filter(|app| app.state == AppState::Active);
        let mut apps: BTreeSet<AppId> = active.filter_map(|app| app.name.parse().ok()).collect();
        apps.retain(|id| !self.is_attended_to(id));
        Ok(apps)
    }

    /// Does what an app asks for, and says whether nothing is left of that to do.
    pub(crate) fn is_attended_to(&self, id: &AppId) -> bool {
        if self.shared.services.upkeep.is_stopping() {
            return false;
        }
        let done = self.attend_to(id);
        let is_over = matches!(done, Ok(()) | Err(HubError::UnknownApp { .. }));
        Self::report(id.as_str(), done);
        is_over
    }

    fn attend_to(&self, id: &AppId) -> Result<()> {
        let lease = self.app(id)?;
        let number = lease.registered().id;
        let rows = self.read(move |db| attention::of_app(db, number))?;
        let of_kind = |kind: &str| -> BTreeSet<String> {
            rows.iter().filter(|row| row.kind == kind).map(|row| row.reference.clone()).collect()
        };
        let (reserved, outboxes) = (of_kind(attention::STREAM), of_kind(OUTBOX));
        if !reserved.is_empty() {
            lease.settle_streams(reserved)?;
        }
        self.ship_from(&lease)?;
        if lease.read(|tx| outbox::is_empty(tx).map_err(HubError::from))? {
            // What this opening of the app writes may still be under way.
            let mine = lease.open().reference();
            for reference in outboxes.into_iter().filter(|reference| Some(reference) != mine) {
                self.shared.services.settled.add(number, reference);
            }
        }
        self.forget_empty_outboxes()
    }

    /// Does the work in an app's outbox; where it is empty then, the app needs no attention for it.
    pub(crate) fn ship(&self, id: &AppId) -> Result<()> {
        self.ship_from(&self.app(id)?)
    }

    /// As [`ship`](Self::ship), for who has the app: a second lease would wait for whoever waits for the first.
    fn ship_from(&self, lease: &Lease) -> Result<()> {
        const AT_ONCE: u32 = 100;
        let (app, mut after) = (lease.registered().clone(), 0);
        loop {
            let pending = lease.read(|tx| outbox::peek(tx, after, AT_ONCE).map_err(HubError::from))?;
            let Some(last) = pending.last() else { break };
            after = last.seq;
            crate::outbox::carry_out(self, lease, &app, pending)?;
            lease.write(move |tx| outbox::remove_through(tx, after).map_err(HubError::from))?;
        }
        Ok(())
    }

    /// Forgets that the outboxes of apps that were closed since may hold work: they were empty.
    pub(crate) fn forget_empty_outboxes(&self) -> Result<()> {
        let settled = self.shared.services.settled.take();
        if settled.is_empty() {
            return Ok(());
        }
        self.write(move |db| {
            for (number, reference) in &settled {
                attention::remove(db, *number, OUTBOX, reference)?;
            }
            Ok(())
        })
    }
}
