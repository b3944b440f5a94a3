//! What every command needs: the settings, the data directory and how to open the hub.

use std::io::IsTerminal;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use streamhub::data_dir::{self, Resolved};
use streamhub::look::Look;
use streamhub::settings::{
    ControlDatabase, FileSource, LogFormat, Overrides, Setting, Settings, SettingsError, process_env,
};
use streamhub::{Bounds, HubConfig, LegacySource, LiveStreams, LogSink, Retention, Volatile};
use streamhub_server::ACCESS_LOG;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::{self, Global};
use crate::exit::{Code, Complaint, Refusal};
use crate::progress::Show;
use crate::server::Server;

/// The target of what a server announces, which is logged at the default level too.
pub(crate) const ANNOUNCED: &str = "serve";

/// The settings in effect and where the data is.
pub(crate) struct Context {
    pub(crate) data_dir: Resolved,
    pub(crate) settings: Settings,
    /// The server that options name, and the file with a token for it.
    named: (Option<String>, Option<PathBuf>),
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// The data directory and the settings file, before anything was read.
pub(crate) struct Places {
    pub(crate) data_dir: Resolved,
    pub(crate) settings_file: FileSource,
}

impl Places {
    /// Finds them by the options and the environment.
    pub(crate) fn find(global: &Global) -> anyhow::Result<Self> {
        let data_dir = data_dir::resolve(global.data_dir.as_deref(), &|name| std::env::var_os(name))
            .map_err(|error| Refusal::configuration(&error, "give --data-dir, or set DATA_DIR"))?;
        let settings_file = match &global.config {
            Some(path) => FileSource::Named(path.clone()),
            None => FileSource::InDataDir(data_dir.path.join("streamhub.yaml")),
        };
        Ok(Self { data_dir, settings_file })
    }

    /// The settings file's path.
    pub(crate) fn settings_path(&self) -> PathBuf {
        match &self.settings_file {
            FileSource::Named(path) | FileSource::InDataDir(path) => path.clone(),
        }
    }

    /// Loads the settings, or says everything that is wrong with them. `overrides` are the command's own flags.
    pub(crate) fn load(
        &self,
        global: &Global,
        mut overrides: Overrides,
    ) -> Result<Settings, Vec<SettingsError>> {
        overrides.allow_volatile = overrides.allow_volatile.or(global.allow_volatile.then_some(true));
        overrides.log_format = overrides.log_format.or(global.log_format.map(|format| match format {
            args::LogFormat::Text => LogFormat::Text,
            args::LogFormat::Json => LogFormat::Json,
        }));
        Settings::load(overrides, &process_env, Some(self.settings_file.clone()))
    }
}

impl Context {
    /// Finds the data directory and the settings, and starts the log. `overrides` are the command's own flags.
    pub(crate) fn find(global: &Global, overrides: Overrides) -> anyhow::Result<Self> {
        Self::find_logging(global, overrides, None)
    }

    /// The same, for a program whose log goes into the control database as well.
    pub(crate) fn find_logging(
        global: &Global,
        overrides: Overrides,
        logs: Option<&LogSink>,
    ) -> anyhow::Result<Self> {
        let places = Places::find(global)?;
        let settings = places.load(global, overrides).map_err(|wrong| {
            Refusal::of_configuration(wrong.iter().map(|error| Complaint {
                message: error.to_string(),
                way_out: error.way_out().unwrap_or_default(),
            }))
        })?;
        start_log(settings.log_format.value, global.verbose, global.quiet, logs);
        let named = (global.url.clone(), global.token_file.clone());
        let (json, quiet) = (global.json, global.quiet);
        Ok(Self { data_dir: places.data_dir, settings, named, json, quiet })
    }

    /// How to look at the data directory, or to open what is there for an errand, without taking anything over.
    /// Streams that are live at a media server go on, and upkeep is for whoever serves.
    pub(crate) fn config(&self) -> HubConfig {
        let mut config = HubConfig::new(&self.data_dir.path);
        config.may_create = false;
        config.upkeep = false;
        config.live_streams = LiveStreams::Keep;
        config.quotas = self.settings.quotas.value;
        let bounds = |days: &Setting<NonZeroU32>, rows: &Setting<NonZeroU32>| Bounds {
            age: Duration::from_hours(24) * days.value.get(),
            rows: rows.value.get().into(),
        };
        let settings = &self.settings;
        config.retention = Retention {
            logs: bounds(&settings.log_retention_days, &settings.log_retention_rows),
            audit: bounds(&settings.audit_retention_days, &settings.audit_retention_rows),
        };
        config.control = match &self.settings.database_url.value {
            ControlDatabase::InDataDir => None,
            ControlDatabase::At(place) => Some(place.clone()),
        };
        if self.settings.allow_volatile.value {
            config.volatile = Volatile::Permit;
        }
        config
    }

    /// How to open the hub where the data directory may be new or an older system's.
    pub(crate) fn boot_config(&self, legacy: Arc<dyn LegacySource>) -> HubConfig {
        HubConfig { may_create: true, legacy: Some(legacy), ..self.config() }
    }

    /// The server that options or the environment name.
    pub(crate) fn server(&self) -> anyhow::Result<Option<Server>> {
        let (url, token_file) = self.named.clone();
        Server::named(url, token_file)
    }

    /// Looks at the data directory, beside whoever uses it.
    pub(crate) fn look(&self) -> anyhow::Result<Look> {
        match self.server()? {
            None => Ok(Look::at(&self.config())?),
            Some(server) => Err(Refusal::with(
                Code::Usage,
                format!("this command reads the data directory, and {} is named to be asked", server.url),
                "leave --url and --token-file out (and STREAMHUB_URL and STREAMHUB_TOKEN_FILE), or ask the server \
                 itself with GET",
            )),
        }
    }

    /// Shows progress as the terminal permits.
    pub(crate) fn progress(&self) -> Show {
        // Lines for people would spoil a log that programs read.
        Show::on_stderr(self.quiet || self.settings.log_format.value == LogFormat::Json)
    }
}

fn start_log(format: LogFormat, verbose: u8, quiet: bool, logs: Option<&LogSink>) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    // A log for programs has a line for each request; among lines for people they would hide the others.
    let requests = if format == LogFormat::Json && !quiet { "info" } else { level };
    let announced = format!("{ANNOUNCED}=info").parse().expect("the directive is fixed");
    let filter = EnvFilter::try_from_env("STREAMHUB_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},{ACCESS_LOG}={requests}")))
        .add_directive(announced);
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // What is announced is for who starts the server: the set-up token is among it. A row for each request would
    // drown the others.
    let kept = filter_fn(|metadata| ![ANNOUNCED, ACCESS_LOG].contains(&metadata.target()));
    let logs = logs.map(|logs| logs.layer().with_filter(kept));
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(logs).init();
}
