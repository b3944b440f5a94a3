//! Copies of apps' databases from before their schema changed, in `backups/pre-migrate/`.
//!
//! A copy is called `<app>-<uuid>-<version>-<time>.db`; a take-over, before which a database has no uuid,
//! calls its own `<app>-<time>.db`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use streamhub_appstore::Identity;
use streamhub_appstore::schema::SCHEMA;
use streamhub_control::apps::{self, AppState};
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::{AppId, DataDir, Database, Uuid, durable, snapshot, time};

use crate::error::{HubError, Result};
use crate::hub::Hub;

/// Copies an app's database, which nobody has open, from before its migration. Of one database at one
/// version the last copy is kept, since a migration that fails is tried again and again.
pub(crate) fn copy(data: &DataDir, place: &AppPlace, found: &Identity, version: u32) -> Result<()> {
    let dir = data.pre_migrate();
    durable::create_dir(&data.backups())?;
    durable::create_dir(&dir)?;
    let name = format!("{}-{}-{version}-{}.db", place.id(), found.uuid, time::file_stamp());
    snapshot::take(&Database::inspect(&place.db())?, &dir.join(&name)).map_err(HubError::Backup)?;
    // An older program may have written to the database since the copy before, so that one does not serve.
    for other in durable::names_in(&dir)? {
        let same =
            Copied::parse(&other).and_then(|copied| copied.database) == Some((found.uuid.clone(), version));
        if same && other != name {
            durable::remove_file(&dir.join(other))?;
        }
    }
    Ok(())
}

impl Hub {
    /// Removes the copies that are older than `age` and whose apps serve since.
    pub(crate) fn prune_copies(&self, age: Duration) -> Result<()> {
        let dir = self.data().pre_migrate();
        for name in durable::names_in(&dir)? {
            if self.shared.services.upkeep.is_stopping() {
                break;
            }
            // One that cannot be removed does not keep the others.
            if let Err(error) = self.prune_copy(&dir.join(&name), &name, age) {
                tracing::warn!(copy = %name, %error, "a copy from before a migration stays");
            }
        }
        Ok(())
    }

    fn prune_copy(&self, path: &Path, name: &str, age: Duration) -> Result<()> {
        let old = durable::modified(path)?.is_some_and(|at| is_older(at, age));
        if old && Copied::parse(name).map_or(Ok(true), |copied| self.serves_since(copied))? {
            durable::remove_file(path)?;
        }
        Ok(())
    }

    /// Whether the app of a copy serves with a newer schema, or is no more. Opening it is what tells.
    fn serves_since(&self, copied: Copied) -> Result<bool> {
        let Copied { app, database } = copied;
        if database.as_ref().is_some_and(|(_, version)| *version >= SCHEMA.latest()) {
            return Ok(false);
        }
        let registered = self.read(move |db| match &database {
            Some((uuid, _)) => apps::by_uuid(db, uuid),
            None => apps::by_name(db, app.as_str()),
        })?;
        Ok(match registered {
            Some(app) if app.standing() == AppState::Active.as_str() => {
                app.name.parse().is_ok_and(|id: AppId| self.app(&id).is_ok())
            }
            Some(_) => false,
            None => true,
        })
    }
}

/// What a copy's name says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) app: AppId,
    /// The database and the version that it was migrated from.
    pub(crate) database: Option<(Uuid, u32)>,
}

impl Copied {
    /// None where it is no copy's name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        // Read from the end, since the name of an app may look like any other part.
        let rest = name.strip_suffix(".db")?;
        let (rest, _) = split(rest, time::file_stamp().len())?;
        let database = rest.rsplit_once('-').and_then(|(rest, version)| {
            let (app, uuid) = split(rest, Uuid::LEN)?;
            Some((app, (uuid.parse().ok()?, version.parse().ok()?)))
        });
        let (app, database) = database.map_or((rest, None), |(app, database)| (app, Some(database)));
        Some(Self { app: app.parse().ok()?, database })
    }
}

/// What comes before and after the hyphen that the last `len` bytes follow.
fn split(text: &str, len: usize) -> Option<(&str, &str)> {
    let (before, after) = text.split_at_checked(text.len().checked_sub(len)?)?;
    Some((before.strip_suffix('-')?, after))
}

/// A clock that went back makes nothing old.
fn is_older(at: SystemTime, age: Duration) -> bool {
    at.elapsed().is_ok_and(|elapsed| elapsed > age)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6f1c0a3e-0000-4000-8000-000000000001";
    const TIME: &str = "2026-11-21T03-54-52-423Z";

    #[test]
    fn a_copys_name_says_whose_it_is() {
        for app in ["abc", "news-24", "a-100", &"a".repeat(32)] {
            let id: AppId = app.parse().unwrap();
            let ours = Some(Copied { app: id.clone(), database: Some((UUID.parse().unwrap(), 100)) });
            assert_eq!(Copied::parse(&format!("{app}-{UUID}-100-{TIME}.db")), ours);
            let older = Some(Copied { app: id, database: None });
            assert_eq!(Copied::parse(&format!("{app}-{TIME}.db")), older);
        }
        for name in [
            String::new(),
            ".db".to_owned(),
            format!("{TIME}.db"),
            format!("../x-{TIME}.db"),
            format!("news-24-{TIME}.db.part"),
            format!("news-24-{UUID}-100.db"),
            format!("news-24-{}-100-{TIME}.db", UUID.to_uppercase()),
            format!("é{}.db", "é".repeat(12)),
        ] {
            assert_eq!(Copied::parse(&name), None, "{name}");
        }
    }
}
