//! Whether every configuration file of a data directory is valid.
//!
//! `streamhub.yaml` is judged by whoever loaded the settings; this adds `secrets.json` and each app's
//! `config.yaml`, and collects everything instead of stopping at the first problem.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use streamhub_engine::{DataDir, durable};

use crate::app_config::AppConfig;
use crate::error::HubError;
use crate::report::counted;
use crate::secrets::Secrets;
use crate::settings::SettingsError;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigCheck {
    /// Whether nothing is wrong. Warnings do not count.
    pub valid: bool,
    /// Files that were read, relative to the data directory where they lie inside.
    pub files: Vec<String>,
    /// What keeps a file from being used.
    pub problems: Vec<Problem>,
    /// What may be a mistake.
    pub warnings: Vec<Problem>,
}

/// Something wrong with a file or a variable of the environment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where, and the reason.
    pub message: String,
    /// What a person can do.
    pub way_out: String,
}

/// Checks all files. `settings_file` is the settings' own and `wrong` what is wrong with the settings.
pub fn check(data: &DataDir, settings_file: &Path, wrong: &[SettingsError]) -> Result<ConfigCheck, HubError> {
    let shown = |path: &Path| data.shown(path).display().to_string();
    let mut found = ConfigCheck::default();
    if durable::exists(settings_file)? {
        found.files.push(shown(settings_file));
    }
    for error in wrong {
        found.problem(error, error.way_out());
    }
    let path = data.secrets_file();
    if durable::exists(&path)? {
        found.files.push(shown(&path));
    }
    let secrets = Secrets::read(&path);
    if let Err(error) = &secrets {
        found.problem(error, error.way_out());
    }
    for name in durable::names_in(&data.apps())? {
        let path = data.apps().join(&name).join("config.yaml");
        // What is no directory holds no configuration, and is for `doctor` to find.
        if name.starts_with('.') || !data.apps().join(&name).is_dir() || !durable::exists(&path)? {
            continue;
        }
        found.files.push(shown(&path));
        match AppConfig::read(&path) {
            Err(errors) => errors.iter().for_each(|error| found.problem(error, error.way_out())),
            Ok(config) => found.warn(&config, &path, secrets.as_ref().ok()),
        }
    }
    found.valid = found.problems.is_empty();
    Ok(found)
}

impl ConfigCheck {
    /// The outcome in one line.
    pub fn summary(&self) -> String {
        let files = counted(self.files.len(), "file");
        let warnings = counted(self.warnings.len(), "warning");
        if self.valid {
            format!("valid: {files}, {warnings}")
        } else {
            format!("NOT valid: {} and {warnings} in {files}", counted(self.problems.len(), "problem"))
        }
    }

    fn problem(&mut self, error: &impl ToString, way_out: Option<String>) {
        let way_out = way_out.unwrap_or_default();
        self.problems.push(Problem { message: error.to_string(), way_out });
    }

    fn warn(&mut self, config: &AppConfig, path: &Path, secrets: Option<&Secrets>) {
        for key in config.unknown_keys() {
            let message = format!("{}: the key {key} is unknown to this program", path.display());
            let way_out = "check the spelling; another program's key may stay".to_owned();
            self.warnings.push(Problem { message, way_out });
        }
        let Some(secrets) = secrets else { return };
        for secret in config.secret_refs().into_iter().filter(|secret| secrets.get(&secret.name).is_none()) {
            let message = format!(
                "{}: {} names the secret {}, which is neither in the environment nor in secrets.json",
                path.display(),
                secret.key,
                secret.name
            );
            let way_out = format!("set {} in the server's environment or in secrets.json", secret.name);
            self.warnings.push(Problem { message, way_out });
        }
    }
}

impl fmt::Display for ConfigCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, problems) in [("invalid", &self.problems), ("warning", &self.warnings)] {
            for problem in problems {
                writeln!(f, "{word}: {}", problem.message)?;
                if !problem.way_out.is_empty() {
                    writeln!(f, "    way out: {}", problem.way_out)?;
                }
            }
        }
        Ok(())
    }
}
