//! Copies of an app's database that are kept under `backups/`.

use schemars::JsonSchema;
use serde::Serialize;
use streamhub_control::apps::App;
use streamhub_engine::{AppId, durable, time};

use crate::error::Result;
use crate::hub::Hub;
use crate::pre_migrate::Copied;
use crate::status::bytes;

/// One copy.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// assert_eq!(hub.app_backups(&"news-24".parse()?)?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppBackup {
    /// The file, from `backups/`.
    pub name: String,
    /// Bytes.
    pub size_bytes: u64,
    /// When it was finished; none where the file system does not tell.
    pub created_at: Option<String>,
}

impl Hub {
    /// The copies of an app's database, the newest first. Those of another app that had its name are not its own.
    pub fn app_backups(&self, id: &AppId) -> Result<Vec<AppBackup>> {
        let app = self.registered(id.as_str())?;
        let mut found = Vec::new();
        for dir in [self.data().pre_migrate(), self.data().pre_recover()] {
            for file in durable::names_in(&dir)? {
                if Copied::parse(&file).is_some_and(|copied| is_of(&copied, &app)) {
                    let path = dir.join(&file);
                    let name =
                        path.strip_prefix(self.data().backups()).unwrap_or(&path).display().to_string();
                    let created_at = durable::modified(&path)?.and_then(time::of_file);
                    found.push(AppBackup { name, size_bytes: bytes(&path), created_at });
                }
            }
        }
        found.sort_by(|one, other| (&other.created_at, &other.name).cmp(&(&one.created_at, &one.name)));
        Ok(found)
    }

    /// As [`app_backups`](Self::app_backups), for async callers.
    pub async fn app_backups_async(&self, id: &AppId) -> Result<Vec<AppBackup>> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.app_backups(&app)).await
    }
}

/// A copy from before a take-over names no database, so it is believed of an app that came by one.
fn is_of(copied: &Copied, app: &App) -> bool {
    copied.app.as_str() == app.name
        && match &copied.database {
            Some((uuid, _)) => app.points_at(uuid),
            None => app.split_state.is_some(),
        }
}
