//! `streamhub config`: the settings in effect, and whether every configuration file is valid.

use std::fmt;
use std::path::Path;

use clap::Subcommand;
use serde::Serialize;
use streamhub::secrets::{MASK, Secrets};
use streamhub::settings::{Entry, Overrides, Source};
use streamhub::{HubError, boot, config_check};

use crate::args::Global;
use crate::context::{Context, Places};
use crate::exit::Code;
use crate::output;

/// Show and check the configuration.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  streamhub config show\n  streamhub config check --data-dir /srv/media")]
pub(crate) enum Command {
    /// Show the values in effect and where each came from
    ///
    /// A value comes from a flag, else the environment, else the settings file, else a default. Secrets
    /// are masked. No data directory is needed.
    #[command(
        after_help = "Examples:\n  streamhub config show --data-dir /srv/media\n  STREAMHUB_LISTEN=0.0.0.0:80 streamhub config show --json"
    )]
    Show,
    /// Check streamhub.yaml, secrets.json and every app's config.yaml
    ///
    /// Lists every problem with its file, reason and way out. Names of secrets that nobody knows are
    /// warnings. Exit code 78 means that something is invalid.
    #[command(after_help = "Example:\n  streamhub config check --data-dir /srv/media")]
    Check,
}

pub(crate) fn run(command: &Command, global: &Global) -> anyhow::Result<Code> {
    match command {
        Command::Show => show(global),
        Command::Check => check(global),
    }
}

fn show(global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    let dir = &context.data_dir;
    let secrets_file = dir.path.join("secrets.json");
    let secrets = Secrets::read(&secrets_file).map_err(HubError::from)?;
    let source = if dir.source.starts_with("--") {
        Source::Flag(dir.source)
    } else {
        Source::Env(dir.source.to_owned())
    };
    let value = dir.path.display().to_string().into();
    let mut settings = vec![Entry { key: "data_dir", value, source }];
    settings.extend(context.settings.entries());
    let shown = Shown { settings, secrets: masked(&secrets, &secrets_file) };
    output::result(context.json, &shown, &shown)?;
    Ok(Code::Done)
}

fn check(global: &Global) -> anyhow::Result<Code> {
    let places = Places::find(global)?;
    let data = boot::existing(&places.data_dir.path)?;
    let wrong = places.load(global, Overrides::default()).err().unwrap_or_default();
    let found = config_check::check(&data, &places.settings_path(), &wrong)?;
    if global.json {
        output::result(true, &found, &"")?;
    } else {
        output::result(false, &found, &found.summary())?;
        let problems = found.to_string();
        if !problems.is_empty() {
            output::say(&problems.trim_end());
        }
    }
    Ok(if found.valid { Code::Done } else { Code::Configuration })
}

#[derive(Serialize)]
struct Shown {
    settings: Vec<Entry>,
    secrets: Vec<Masked>,
}

/// A secret that is known by name.
#[derive(Serialize)]
struct Masked {
    name: String,
    value: &'static str,
    source: Source,
}

fn masked(secrets: &Secrets, file: &Path) -> Vec<Masked> {
    let source = |name: &str| {
        // The environment comes first, as it does where a secret is used.
        match streamhub::settings::process_env(name).filter(|value| !value.is_empty()) {
            Some(_) => Source::Env(name.to_owned()),
            None => Source::File(file.to_owned()),
        }
    };
    secrets.names().map(|name| Masked { name: name.to_owned(), value: MASK, source: source(name) }).collect()
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.settings.iter().map(|entry| entry.key.len()).max().unwrap_or_default();
        for Entry { key, value, source } in &self.settings {
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => "-".to_owned(),
                other => other.to_string(),
            };
            writeln!(f, "{key:<width$}  {value}  ({source})")?;
        }
        for Masked { name, value, source } in &self.secrets {
            writeln!(f, "secret {name}  {value}  ({source})")?;
        }
        Ok(())
    }
}
