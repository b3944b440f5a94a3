//! What lies among the apps without being one, and what was kept long enough.

use std::time::{Duration, SystemTime};

use streamhub_control::apps;
use streamhub_engine::time::Moment;
use streamhub_engine::{AppId, durable};

use crate::adopt::Proof;
use crate::error::Result;
use crate::hub::{Appearing, Hub};

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
                Appearing::AdoptSealed => match self.adopt_appeared(id) {
                    Ok(app) => {
                        tracing::info!(app.id = %id, tenant = app.tenant_id, "a sealed directory was adopted");
                    }
                    Err(error) => {
                        tracing::warn!(app.id = %id, %error, way_out = error.way_out(), "a directory among the apps is not adopted");
                    }
                },
                Appearing::Report => self.report_appeared(id),
            }
        }
        Ok(())
    }

    /// Says what a directory that the registry does not know holds. The same app in two places is told apart
    /// by its uuid, whatever the directories are called.
    fn report_appeared(&self, id: &AppId) {
        let path = self.data().app(id).db();
        if !durable::exists(&path).unwrap_or(true) {
            return;
        }
        let registered = Self::judge_source(self.data().app(id).dir(), Proof::Word)
            .and_then(|found| self.read(move |db| apps::by_uuid(db, &found.uuid)));
        match registered {
            Ok(Some(same)) => {
                tracing::warn!(app.id = %id, registered = same.name, "a directory among the apps is a copy of a registered app");
            }
            Ok(None) => {
                tracing::warn!(app.id = %id, "a directory among the apps belongs to no app; moved elsewhere, `streamhub app adopt` takes it");
            }
            Err(error) => {
                tracing::warn!(app.id = %id, %error, "a directory among the apps belongs to no app and cannot be adopted");
            }
        }
    }

    /// Removes what was kept long enough: deleted apps, and copies from before a migration.
    pub(crate) fn prune(&self) -> Result<()> {
        let keep = self.shared.config.keep;
        let (trash, staging) = (self.data().apps().join(".trash"), self.data().apps().join(".staging"));
        for trashed in self.read(apps::deleted)? {
            let old = trashed.deleted_at.parse().is_ok_and(|at: Moment| at.is_older_than(keep.trash));
            if !old {
                continue;
            }
            let number = trashed.app_id;
            // Out of the trash first, so that nothing half removed can come back from there.
            let (from, gone) = (trash.join(&trashed.trash_name), staging.join(&trashed.trash_name));
            if durable::exists(&from)? {
                durable::create_dir(&staging)?;
                durable::rename_new(&from, &gone)?;
            }
            durable::remove_dir_all(&gone)?;
            self.write(move |db| apps::forget(db, number))??;
            tracing::info!(
                app.id = trashed.name,
                deleted_at = trashed.deleted_at,
                "a deleted app was removed for good"
            );
        }
        let copies = self.data().pre_migrate();
        for name in durable::names_in(&copies)? {
            let path = copies.join(name);
            if durable::modified(&path)?.is_some_and(|at| is_older(at, keep.pre_migrate)) {
                durable::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// A clock that went back makes nothing old.
fn is_older(at: SystemTime, age: Duration) -> bool {
    at.elapsed().is_ok_and(|elapsed| elapsed > age)
}
