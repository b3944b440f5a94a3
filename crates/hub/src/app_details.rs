//! What people may change of an app's row in the registry.

use schemars::JsonSchema;
use serde::Deserialize;
use streamhub_control::TenantId;
use streamhub_control::apps::{self, App, Details, Refused};
use streamhub_engine::text::NAME_MAX;
use streamhub_engine::{AppId, Change};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::check_text;

/// Bytes of an app's `settingsJson`: small enough for lists of apps to show it, as dashboards expect.
const MOST_SETTINGS: usize = 64 << 10;

/// What is to be changed of an app; what is absent stays as it is, and `null` empties it.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::{AppChange, Change};
///
/// let change = AppChange { display_name: Change::Set("News".to_owned()), ..AppChange::default() };
/// assert_eq!(hub.update_app(&"news-24".parse()?, &change)?.display_name.as_deref(), Some("News"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AppChange {
    /// A name for people.
    #[schemars(length(max = 256))]
    pub display_name: Change<String>,
    /// Prefix of its room names; `livekitRoomPrefix`, as it is shown, says the same.
    #[serde(alias = "livekitRoomPrefix")]
    #[schemars(length(max = 256))]
    pub room_prefix: Change<String>,
    /// Settings that dashboards keep with the app, as a JSON text of 64 KiB at the most.
    pub settings_json: Change<String>,
}

impl Hub {
    /// Changes what people may change of an app in the registry.
    pub fn update_app(&self, id: &AppId, change: &AppChange) -> Result<App> {
        check_names(change.display_name.given(), change.room_prefix.given())?;
        if let Some(settings) = change.settings_json.given() {
            if settings.len() > MOST_SETTINGS {
                let most = format!("settingsJson: it has more than {MOST_SETTINGS} bytes");
                return Err(HubError::Invalid(most));
            }
            if serde_json::from_str::<serde::de::IgnoredAny>(settings).is_err() {
                return Err(HubError::Invalid("settingsJson: it is no JSON text".to_owned()));
            }
        }
        let (name, change, meant) = (id.clone(), change.clone(), self.meant(id.as_str()));
        self.change(Deed::of("app.update").app(id).target(id), move |db, deed| {
            let found = apps::by_name(db, name.as_str())?;
            let Some(app) = found.filter(|app| meant.is_none_or(|meant| meant == app.id)) else {
                return Ok(Err(Refused::Unknown { app: name.to_string() }));
            };
            deed.concern(&TenantId::from_registry(app.tenant_id));
            let details = Details {
                display_name: change.display_name.clone().of(app.display_name),
                room_prefix: change.room_prefix.clone().of(app.livekit_room_prefix),
                settings_json: change.settings_json.clone().of(app.settings_json),
            };
            if let Err(refused) = apps::update(db, app.id, &details)? {
                return Ok(Err(refused));
            }
            apps::by_id(db, app.id).map(|app| app.ok_or_else(|| Refused::Unknown { app: name.to_string() }))
        })
    }
}

/// What people call an app, where they do.
pub(crate) fn check_names(display_name: Option<&String>, room_prefix: Option<&String>) -> Result<()> {
    check_text("displayName", display_name, NAME_MAX)?;
    check_text("roomPrefix", room_prefix, NAME_MAX)
}
