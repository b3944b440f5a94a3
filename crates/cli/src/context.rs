//! What every command needs: the settings, the data directory and how to open the hub.

use std::path::PathBuf;
use std::sync::Arc;

use streamhub::settings::{ControlDatabase, FileSource, Overrides, Settings, process_env};
use streamhub::{HubConfig, LegacySource, Volatile, data_dir};
use tracing_subscriber::EnvFilter;

use crate::args::{Global, LogFormat};
use crate::exit::Refusal;
use crate::progress::Show;

/// The settings in effect and where the data is.
pub(crate) struct Context {
    pub(crate) data_dir: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Context {
    /// Finds the data directory and the settings. `overrides` are the command's own flags.
    pub(crate) fn find(global: Global, mut overrides: Overrides) -> anyhow::Result<Self> {
        let data_dir = data_dir::resolve(global.data_dir.as_deref(), &|name| std::env::var_os(name))
            .map_err(|error| Refusal::configuration(&error, "give --data-dir, or set DATA_DIR"))?;
        overrides.allow_volatile = overrides.allow_volatile.or(global.allow_volatile.then_some(true));
        overrides.log_format = overrides.log_format.or(global.log_format.map(|format| match format {
            LogFormat::Text => streamhub::settings::LogFormat::Text,
            LogFormat::Json => streamhub::settings::LogFormat::Json,
        }));
        let file = match global.config {
            Some(path) => FileSource::Named(path),
            None => FileSource::InDataDir(data_dir.join("streamhub.yaml")),
        };
        let settings = Settings::load(overrides, &process_env, Some(file)).map_err(|error| {
            let way_out = error.way_out().unwrap_or_default();
            Refusal::configuration(&error, way_out)
        })?;
        start_log(settings.log_format.value, global.verbose, global.quiet);
        Ok(Self { data_dir, settings, json: global.json, quiet: global.quiet })
    }

    /// How to open the hub. Only some commands may create a data directory.
    pub(crate) fn hub_config(&self, may_create: bool, legacy: Arc<dyn LegacySource>) -> HubConfig {
        let mut config = HubConfig::new(&self.data_dir);
        config.may_create = may_create;
        config.legacy = Some(legacy);
        config.control = match &self.settings.database_url.value {
            ControlDatabase::InDataDir => None,
            ControlDatabase::At(place) => Some(place.clone()),
        };
        if self.settings.allow_volatile.value {
            config.volatile = Volatile::Permit;
        }
        config
    }

    /// Shows progress as the terminal permits.
    pub(crate) fn progress(&self) -> Show {
        Show::on_stderr(self.quiet)
    }
}

fn start_log(format: streamhub::settings::LogFormat, verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("STREAMHUB_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        streamhub::settings::LogFormat::Text => log.init(),
        streamhub::settings::LogFormat::Json => log.json().init(),
    }
}
