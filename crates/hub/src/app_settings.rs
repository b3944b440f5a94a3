//! An app's own `config.yaml` and the credentials that it refers to, read and changed while apps are in use.

use serde_json::{Value, json};
use streamhub_control::deeds::{self, Outcome};
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::{AppId, durable};

use crate::acting::Deed;
use crate::app_config::{self, AppConfig, AppConfigError};
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::secrets::{Secret, Secrets};
use crate::yaml::{self, YamlError};

/// What the audit calls a change of an app's configuration.
pub(crate) const CONFIGURE: &str = "app.configure";

impl Hub {
    /// An app's configuration; an app without the file has an empty one.
    pub fn app_config(&self, id: &AppId) -> Result<AppConfig> {
        self.registered(id.as_str())?;
        let path = self.data().app(id).config();
        if durable::exists(&path)? {
            AppConfig::read(&path).map_err(unusable)
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
        let in_place = self.app(id)?;
        let _one_at_a_time = self.shared.settings_writer();
        let patched = self.app_config(id)?.patched(patch).map_err(HubError::AppConfig)?;
        let (number, place) = (in_place.registered().id, self.data().app(id));
        let deed = Deed::of(CONFIGURE).target("config.yaml").detail(json!({ "blake3": patched.digest() }));
        self.begin(&deed, number)?;
        let written = patched.write(&place.config());
        self.or_later(number, id, || self.conclude_configuring(number, &place))?;
        written?;
        Ok(patched)
    }

    /// As [`patch_app_config`](Self::patch_app_config), for async callers.
    pub async fn patch_app_config_async(&self, id: &AppId, patch: Value) -> Result<AppConfig> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.patch_app_config(&app, &patch)).await
    }

    /// As [`app_config`](Self::app_config), for async callers.
    pub async fn app_config_async(&self, id: &AppId) -> Result<AppConfig> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.app_config(&app)).await
    }

    /// Says in the audit how changes of an app's configuration ended: the file is what one of them made of it,
    /// or it is not.
    pub(crate) fn settle_configuring(&self, number: i64, place: &AppPlace) -> Result<()> {
        // One that is begun at this moment is not ended by anybody else.
        let _one_at_a_time = self.shared.settings_writer();
        self.conclude_configuring(number, place)
    }

    pub(crate) fn conclude_configuring(&self, number: i64, place: &AppPlace) -> Result<()> {
        let begun = self.read(move |db| deeds::begun(db, number, CONFIGURE))?;
        let Some(last) = begun.last() else { return Ok(()) };
        let detail: Value = last
            .entry
            .detail_json
            .as_deref()
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let is_there = durable::exists(&place.config())? && {
            let now = durable::read_capped(&place.config(), yaml::SIZE_CAP)?;
            detail["blake3"] == app_config::digest(&now)
        };
        let outcome = if is_there { Outcome::Done } else { Outcome::Failed };
        self.note_down(move |db| deeds::conclude(db, number, &[CONFIGURE], outcome))
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

/// Why a configuration cannot be used: what is in it, or that the disk does not give it.
fn unusable(errors: Vec<AppConfigError>) -> HubError {
    let mut wrong = Vec::new();
    for error in errors {
        match error {
            AppConfigError::Yaml(YamlError::Read(error)) => return error.into(),
            error => wrong.push(error),
        }
    }
    HubError::BrokenAppConfig(wrong)
}
