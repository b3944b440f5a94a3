//! The doctor's round of the apps: each registered one, and each directory that nobody registered.

use std::collections::HashMap;
use std::path::Path;

use streamhub_appstore::Identity;
use streamhub_appstore::schema::{APPLICATION_ID, SCHEMA};
use streamhub_control::Control;
use streamhub_control::apps::{self, App, AppState, SplitState};
use streamhub_engine::judge::{self, Check};
use streamhub_engine::{AppId, DataDir, Error, Unfit, Uuid, durable};

use super::{Problem, Ward};
use crate::error::HubError;
use crate::look;
use crate::progress::Progress;

const MOUNTED: &str = "is its disk mounted? otherwise restore it from a backup";

/// Examines all apps and says how many are registered.
pub(super) fn examine(
    ward: &mut Ward<'_>,
    control: &Control,
    progress: &dyn Progress,
) -> Result<usize, HubError> {
    let registered = control.query(apps::list).map_err(HubError::control)?;
    let by_uuid: HashMap<Uuid, &App> =
        registered.iter().filter_map(|app| Some((app.uuid()?.ok()?, app))).collect();
    progress.begin("checking the apps", Some(registered.len() as u64));
    for app in &registered {
        round(ward, app, &by_uuid)?;
        progress.advance(1);
    }
    progress.end();
    let dir = ward.data.apps();
    for name in durable::names_in(&dir)? {
        if !name.starts_with('.') && !registered.iter().any(|app| app.name == name) {
            stranger(ward, &dir.join(&name), &by_uuid)?;
        }
    }
    Ok(registered.len())
}

/// One registered app.
fn round(ward: &mut Ward<'_>, app: &App, by_uuid: &HashMap<Uuid, &App>) -> Result<(), HubError> {
    let name = Some(app.name.as_str());
    if app.split_state == Some(SplitState::Pending) {
        let reason = app.split_detail.as_deref().unwrap_or("its take-over was not tried yet");
        let way_out = "mend what the reason names; the next start tries again";
        ward.add(Problem::NotTakenOver, name, &ward.data.apps().join(&app.name), reason, way_out);
    }
    let Ok(id) = app.name.parse::<AppId>() else { return Ok(()) };
    let place = ward.data.app(&id);
    match place.exists() {
        Err(error) => {
            ward.refused(name, &error);
            return Ok(());
        }
        Ok(false) => {
            if app.state == AppState::Active {
                let reason = "the app is registered, and its directory is not there";
                ward.add(Problem::Missing, name, place.dir(), reason, MOUNTED);
            }
            return Ok(());
        }
        Ok(true) => {}
    }
    ward.stale_sidecars(name, place.dir())?;
    let path = place.db();
    if durable::exists(&path)? {
        if let Err(error) = database(ward, app, &path, by_uuid) {
            ward.refused(name, &error);
        }
    } else if app.state == AppState::Active && matches!(app.split_state, None | Some(SplitState::Done)) {
        let reason = "the app is registered, and its database is not there";
        ward.add(Problem::Missing, name, &path, reason, MOUNTED);
    }
    Ok(())
}

/// The app.db of a registered app. An error is a finding about the file itself.
fn database(
    ward: &mut Ward<'_>,
    app: &App,
    path: &Path,
    by_uuid: &HashMap<Uuid, &App>,
) -> streamhub_engine::Result<()> {
    let (stamp, db) = look::open_database(path)?;
    SCHEMA.standing(stamp, path)?;
    if app.split_state == Some(SplitState::Pending) {
        return judge::refuse_damage(&db, Check::Quick);
    }
    if stamp.application_id != APPLICATION_ID {
        let detail = "it is an older system's database, although the app was taken over".to_owned();
        return Err(Error::Unfit { path: path.to_owned(), unfit: Unfit::Foreign { detail } });
    }
    let identity = Identity::read(&db)?;
    if let Some((kind, reason, way_out)) = contradiction(ward.data, app, &identity, by_uuid) {
        ward.add(kind, Some(&app.name), path, &reason, &way_out);
    }
    judge::refuse_damage(&db, Check::Quick)
}

/// What a database says of itself that the registry does not say of the app.
fn contradiction(
    data: &DataDir,
    app: &App,
    found: &Identity,
    by_uuid: &HashMap<Uuid, &App>,
) -> Option<(Problem, String, String)> {
    if !app.points_at(&found.uuid) {
        if let Some(owner) = by_uuid.get(&found.uuid) {
            let (what, way_out) = if is_at_home(data, owner) {
                ("a copy of the database", "put the app's own database in its place".to_owned())
            } else {
                let way_out = format!("move it to apps/{}, and this app's own database here", owner.name);
                ("the database", way_out)
            };
            return Some((Problem::Misplaced, format!("it is {what} of app {}", owner.name), way_out));
        }
        let pointer = app.uuid_text().unwrap_or("none");
        let reason = format!("its uuid is {}, and the registry's pointer says {pointer}", found.uuid);
        return Some((Problem::Identity, reason, "put the app's own database there".to_owned()));
    }
    for (what, found, registered) in
        [("name", &found.name, &app.name), ("tenant", &found.tenant, &app.tenant_id)]
    {
        if found != registered {
            let reason = format!("its {what} is {found}, and the registry says {registered}");
            return Some((Problem::Identity, reason, "put the app's own database there".to_owned()));
        }
    }
    (found.generation > app.generation).then(|| {
        let reason = format!(
            "its generation {} is above the registry's {}, so the registry is the older one",
            found.generation, app.generation
        );
        (Problem::Identity, reason, "restore a newer control database".to_owned())
    })
}

/// Whether an app's own database lies in its place.
fn is_at_home(data: &DataDir, app: &App) -> bool {
    let path = data.apps().join(&app.name).join("app.db");
    look::open_database(&path)
        .and_then(|(_, db)| Identity::read(&db))
        .is_ok_and(|found| app.points_at(&found.uuid))
}

/// Something under `apps/` that nobody registered.
fn stranger(ward: &mut Ward<'_>, path: &Path, by_uuid: &HashMap<Uuid, &App>) -> Result<(), HubError> {
    let owner = path.join("app.db");
    let owner = look::open_database(&owner).and_then(|(_, db)| Identity::read(&db)).ok();
    if let Some(owner) = owner.and_then(|identity| by_uuid.get(&identity.uuid).copied()) {
        let name = &owner.name;
        let (what, way_out) = if is_at_home(ward.data, owner) {
            ("a second copy of", "move it away".to_owned())
        } else if durable::exists(&ward.data.apps().join(name))? {
            ("the database of", format!("move what lies in apps/{name} away, then this to apps/{name}"))
        } else {
            ("the database of", format!("move it to apps/{name}"))
        };
        ward.add(Problem::Misplaced, Some(name), path, &format!("it holds {what} app {name}"), &way_out);
    } else {
        let reason = "no registered app has this name";
        let way_out = if path.join("app.db").is_file() {
            "`streamhub app adopt` takes it where it is whole; move it away if nobody needs it"
        } else {
            "it holds no app.db, so it cannot be adopted; keep it as long as its files may be needed, and move it away"
        };
        ward.add(Problem::Orphaned, None, path, reason, way_out);
    }
    if path.is_dir() { ward.stale_sidecars(None, path) } else { Ok(()) }
}
