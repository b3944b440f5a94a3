//! What lies among the apps without being one, and what was kept long enough.

use streamhub_appstore::Identity;
use streamhub_control::apps::{self, Deleted};
use streamhub_engine::time::Moment;
use streamhub_engine::{AppId, Unopened, durable};

use crate::adopt::{Adopted, Adoption, UnknownTenant};
use crate::config::Appearing;
use crate::error::Result;
use crate::hub::Hub;

impl Hub {
    /// Looks for directories among the apps that the registry does not know.
    pub(crate) fn look_around(&self) -> Result<()> {
        let found = durable::names_in(&self.data().apps())?;
        let named: Vec<AppId> = found.iter().filter_map(|name| name.parse().ok()).collect();
        // A few at a time, since there may be very many.
        for some in named.chunks(500) {
            self.look_at(some)?;
        }
        Ok(())
    }

    fn look_at(&self, some: &[AppId]) -> Result<()> {
        let unknown = self.read(|db| {
            let mut unknown = Vec::new();
            for id in some {
                if apps::by_name(db, id.as_str())?.is_none() {
                    unknown.push(id);
                }
            }
            Ok(unknown)
        })?;
        for id in unknown {
            if self.shared.services.upkeep.is_stopping() {
                return Ok(());
            }
            match self.shared.config.appearing {
                Appearing::AdoptSealed => self.adopt_appeared(id),
                Appearing::Report => self.report_appeared(id),
            }
        }
        Ok(())
    }

    fn adopt_appeared(&self, id: &AppId) {
        match self.adopt_in_place(id, &Adoption::default(), UnknownTenant::Refuse) {
            Ok(Adopted { app, .. }) => {
                tracing::info!(app.id = %id, tenant = app.tenant_id, "a sealed directory was adopted");
            }
            Err(error) => {
                tracing::warn!(app.id = %id, %error, way_out = error.way_out(), "a directory among the apps is not adopted");
            }
        }
    }

    /// Says what a directory that the registry does not know holds. The same app in two places is told apart
    /// by its uuid, whatever the directories are called.
    fn report_appeared(&self, id: &AppId) {
        let place = self.data().app(id);
        if !durable::exists(&place.db()).unwrap_or(true) {
            return;
        }
        // Somebody may be about to adopt it, so it is had alone, and not for as long as judging it takes.
        let registered = self.alone(id).and_then(|_alone| {
            Unopened::claim(&place.db())?.refuse_foreign_holder()?;
            let found = Identity::read(&Self::open_source(&place.db())?)?;
            self.read(move |db| apps::by_uuid(db, &found.uuid))
        });
        match registered {
            Ok(Some(same)) => {
                tracing::warn!(app.id = %id, registered = same.name, "a directory among the apps is a copy of a registered app");
            }
            Ok(None) => {
                tracing::warn!(app.id = %id, "a directory among the apps belongs to no app; `streamhub app adopt` takes it where it is whole");
            }
            Err(error) => {
                tracing::warn!(app.id = %id, %error, "a directory among the apps belongs to no app and cannot be adopted");
            }
        }
    }

    /// Removes what was kept long enough: ended sessions, deleted apps, and copies from before a migration.
    pub(crate) fn prune(&self) -> Result<()> {
        self.prune_sessions()?;
        let now = Moment::now();
        for trashed in self.deleted_apps()? {
            if trashed.purged_after.as_ref().is_none_or(|end| end.as_str() > now.as_str()) {
                continue;
            }
            let (app, deleted_at) = (&trashed.name, &trashed.deleted_at);
            match self.purge(&trashed) {
                Ok(()) => tracing::info!(app.id = app, deleted_at, "a deleted app was removed for good"),
                Err(error) => {
                    tracing::warn!(app.id = app, %error, way_out = error.way_out(), "a deleted app cannot be removed");
                }
            }
        }
        self.prune_copies(self.shared.config.keep.pre_migrate)
    }

    /// Removes a deleted app for good. What that did not come to is done the next time.
    fn purge(&self, trashed: &Deleted) -> Result<()> {
        let (trash, staging) = (self.data().apps().join(".trash"), self.data().apps().join(".staging"));
        // Out of the trash first, so that nothing half removed can come back from there.
        let (from, gone) = (trash.join(&trashed.trash_name), staging.join(&trashed.trash_name));
        if durable::exists(&from)? {
            durable::create_dir(&staging)?;
            durable::rename_new(&from, &gone)?;
        }
        durable::remove_dir_all(&gone)?;
        let number = trashed.id;
        self.write(move |db| apps::forget(db, number))??;
        Ok(())
    }
}
