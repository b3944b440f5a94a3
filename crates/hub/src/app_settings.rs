//! An app's own `config.yaml` and the credentials that it refers to, read and changed while apps are in use.

use serde_json::Value;
use streamhub_engine::{AppId, durable};

use crate::app_config::AppConfig;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::secrets::{Secret, Secrets};

impl Hub {
    /// An app's configuration; an app without the file has an empty one.
    pub fn app_config(&self, id: &AppId) -> Result<AppConfig> {
        self.registered(id.as_str())?;
        let path = self.data().app(id).config();
        if durable::exists(&path)? {
            AppConfig::read(&path).map_err(HubError::AppConfig)
        } else {
            Ok(AppConfig::empty(id))
        }
    }

    /// Changes an app's configuration by a JSON merge patch and writes it durably. Keys that this program
    /// does not know are kept. The app has to be in service, and stays so meanwhile. What the configuration says
    /// of durability counts when the app is opened next.
    pub fn patch_app_config(&self, id: &AppId, patch: &Value) -> Result<AppConfig> {
        // Meanwhile it cannot be deleted, nor another app be made of its name. Asked for first, since what waits
        // for it must not wait behind those who change settings.
        let _in_place = self.app(id)?;
        let _one_at_a_time = self.shared.settings_writer();
        let patched = self.app_config(id)?.patched(patch).map_err(HubError::AppConfig)?;
        patched.write(&self.data().app(id).config())?;
        Ok(patched)
    }

    /// The secret of this name: from the process environment, else from `secrets.json`.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let _open = self.stay_open()?;
        Ok(Secrets::read(&self.data().secrets_file())?.get(name))
    }

    /// Writes a secret into `secrets.json`, durably and readable for this user only.
    pub fn set_secret(&self, name: &str, value: &str) -> Result<()> {
        self.change_secrets(|secrets| Ok(secrets.set(name, value)?))
    }

    /// Removes a secret from `secrets.json`; says whether it was there.
    pub fn remove_secret(&self, name: &str) -> Result<bool> {
        self.change_secrets(|secrets| Ok(secrets.remove(name)))
    }

    fn change_secrets<T>(&self, change: impl FnOnce(&mut Secrets) -> Result<T>) -> Result<T> {
        // Another hub may have the directory once this one is closed.
        let _open = self.stay_open()?;
        let _one_at_a_time = self.shared.settings_writer();
        let path = self.data().secrets_file();
        let mut secrets = Secrets::read(&path)?;
        let result = change(&mut secrets)?;
        secrets.write(&path)?;
        Ok(result)
    }
}
