//! Finishing what a process that ended left half done.
//!
//! What is to be finished stands in the registry: an app's state, or a row that asks for attention.
//! Only those apps are looked at.

use std::collections::BTreeSet;

use streamhub_appstore::{Identity, outbox};
use streamhub_control::apps::{self, App, AppState};
use streamhub_control::attention::{self, Attention};
use streamhub_control::deeds::{self, Outcome};
use streamhub_engine::cache::Exclusive;
use streamhub_engine::{AppId, Database, durable};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::life::RENAME;
use crate::opener::{AppOpener, OUTBOX};
use crate::sealing::SEAL;
use crate::upkeep::Errand;

impl Hub {
    /// Finishes or takes back every step in an app's life that the registry shows as begun. An app for
    /// which that fails stays out of service, and upkeep tries again.
    pub(crate) fn finish_steps(&self) -> Result<()> {
        // Before anybody may break a seal, of which the audit is to say that it was there.
        let is_marked = |row: &Attention| row.kind == RENAME || deeds::is_begun(row, SEAL);
        let marked = self.read(attention::list)?.into_iter().filter(is_marked);
        let mut begun: BTreeSet<i64> = marked.map(|row| row.app_id).collect();
        begun.extend(self.read(apps::unfinished)?.into_iter().map(|app| app.id));
        for app in begun {
            if let Err(error) = self.finish_step(app) {
                Self::report(app, &error);
                self.shared.services.upkeep.attend(app);
            }
        }
        Ok(())
    }

    /// Does the same for one app, which may be in use.
    fn finish_step(&self, number: i64) -> Result<()> {
        let rows = self.read(move |db| attention::of_app(db, number))?;
        for marked in rows.into_iter().filter(|row| row.kind == RENAME) {
            self.resume_rename(number, &marked.reference)?;
        }
        let Some((app, id)) = self.by_number(number)? else { return Ok(()) };
        self.settle_configuring(number, &self.data().app(&id))?;
        let is_half_done = matches!(app.state, AppState::Creating | AppState::Deleting);
        if !is_half_done && !self.is_sealing(number)? {
            return Ok(());
        }
        let alone = self.alone(&id)?;
        // Whoever had it until now may have finished it.
        match self.by_number(number)? {
            Some((app, same)) if same == id => match app.state {
                AppState::Active => self.settle_sealing(number, &alone),
                AppState::Creating => self.resume_create(&app, &id),
                AppState::Deleting => self.finish_delete(&app, &alone).map(drop),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Says in the audit how the deeds ended of which an app's directory shows it.
    pub(crate) fn settle_by_directory(&self, number: i64, alone: &Exclusive<AppOpener>) -> Result<()> {
        // Nobody else has the app, so no configuring is under way.
        self.conclude_configuring(number, &self.data().app(alone.id()))?;
        self.settle_sealing(number, alone)
    }

    fn by_number(&self, number: i64) -> Result<Option<(App, AppId)>> {
        let app = self.read(move |db| apps::by_id(db, number))?;
        Ok(app.and_then(|app| app.name.parse().ok().map(|id| (app, id))))
    }

    fn report(app: i64, error: &HubError) {
        let way_out = error.way_out();
        tracing::error!(app.number = app, %error, way_out, "what was begun with an app could not be finished");
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
    fn resume_rename(&self, number: i64, to: &str) -> Result<()> {
        let (Some((_, from)), Ok(to)) = (self.by_number(number)?, to.parse::<AppId>()) else { return Ok(()) };
        let both = if from == to { None } else { Some(self.both_alone(&from, &to)?) };
        // Whoever had them until now may have finished it.
        let marked = self.read(move |db| attention::of_app(db, number))?;
        let is_marked = marked.iter().any(|row| row.kind == RENAME && row.reference == to.as_str());
        let Some((app, _)) = self.by_number(number)?.filter(|(_, name)| is_marked && *name == from) else {
            return Ok(());
        };
        let taken = from != to && (self.data().app(&to).exists()? || self.registered(to.as_str()).is_ok());
        if taken && self.data().app(&from).exists()? {
            return self.write(move |db| {
                deeds::conclude(db, number, &[apps::RENAME], Outcome::Failed)?;
                attention::remove(db, number, RENAME, to.as_str()).map(drop)
            });
        }
        let renamed = self.finish_rename(&app, &from, &to, &to);
        drop(both);
        renamed
    }

    /// Does what the registry says of apps that ask for attention: steps are finished, streams that ended with the
    /// process are ended and their reservations given back, and outboxes are shipped. Returns the apps for
    /// which that is still to be done.
    pub(crate) fn attend(&self) -> Result<BTreeSet<i64>> {
        let mut left = BTreeSet::new();
        for app in self.read(attention::apps)? {
            if self.shared.services.upkeep.is_stopping() {
                left.insert(app);
            } else if let Err(error) = self.attend_to(app, &Errand::all()) {
                Self::report(app, &error);
                left.insert(app);
            }
        }
        Ok(left)
    }

    /// Does what there is to do for an app, whatever it is called meanwhile. There is nothing to do for one that
    /// is not in service.
    pub(crate) fn attend_to(&self, number: i64, errand: &Errand) -> Result<()> {
        if errand.all {
            self.finish_step(number)?;
        }
        let Some((_, id)) = self.by_number(number)?.filter(|(app, _)| app.state == AppState::Active) else {
            return Ok(());
        };
        let lease = self.app(&id)?;
        let rows = if errand.all { self.read(move |db| attention::of_app(db, number))? } else { Vec::new() };
        let of_kind = |kind: &'static str| {
            rows.iter().filter(move |row| row.kind == kind).map(|row| row.reference.clone())
        };
        let streams: BTreeSet<_> = of_kind(attention::STREAM).chain(errand.streams.iter().cloned()).collect();
        if !streams.is_empty() {
            lease.settle_streams(streams)?;
        }
        lease.settle_reservations()?;
        self.ship_from(&lease)?;
        if errand.all && lease.read(|tx| outbox::is_empty(tx).map_err(HubError::from))? {
            // What this opening of the app writes may still be under way.
            let mine = lease.open().reference();
            for reference in of_kind(OUTBOX).filter(|reference| Some(reference) != mine) {
                self.shared.services.settled.add(number, reference);
            }
            self.forget_empty_outboxes()?;
        }
        Ok(())
    }

    /// Forgets that the outboxes of apps that were closed since may hold work: they were empty.
    pub(crate) fn forget_empty_outboxes(&self) -> Result<()> {
        let settled = self.shared.services.settled.take();
        if settled.is_empty() {
            return Ok(());
        }
        self.note_down(move |db| {
            for (number, reference) in &settled {
                attention::remove(db, *number, OUTBOX, reference)?;
            }
            Ok(())
        })
    }
}
