//! An app's own `config.yaml`, read and changed while the app may be in use.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use streamhub_engine::AppId;

use crate::app_config::AppConfig;
use crate::error::{HubError, Result};
use crate::hub::Hub;

/// One writer at a time: a change is read, merged and written as a whole.
static WRITER: Mutex<()> = Mutex::new(());

impl Hub {
    /// An app's configuration; an app without the file has an empty one.
    pub fn app_config(&self, id: &AppId) -> Result<AppConfig> {
        self.registered(id.as_str())?;
        let path = self.data().app(id).config();
        if streamhub_engine::durable::exists(&path)? {
            AppConfig::read(&path).map_err(HubError::AppConfig)
        } else {
            Ok(AppConfig::empty(id))
        }
    }

    /// Changes an app's configuration by a JSON merge patch and writes it durably. Keys that this program
    /// does not know are kept. What the configuration says of durability counts when the app is opened next.
    pub fn patch_app_config(&self, id: &AppId, patch: &Value) -> Result<AppConfig> {
        let _writing = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        let patched = self.app_config(id)?.patched(patch).map_err(HubError::AppConfig)?;
        let place = self.data().app(id);
        if !place.exists()? {
            return Err(HubError::NoAppDir { dir: place.dir().to_owned() });
        }
        patched.write(&place.config())?;
        Ok(patched)
    }
}
