//! The server's own settings, and where each value came from.
//!
//! A value comes from a flag, else the environment, else `streamhub.yaml`, else a default. Each key
//! is one entry of the table in this file. Apps have a configuration of their own, which is read in
//! [`app_config`](crate::app_config).

use std::env;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;
use streamhub_control::allow_list::AllowList;
use streamhub_control::quotas::Enforcement;
use streamhub_engine::database_url::ControlPlace;

pub use self::values::Origin;
use self::values::{Refusal, SettingValue, as_text};
use crate::config::LiveStreams;
use crate::yaml::{self, YamlError};

mod values;

/// Makes [`Settings`], [`Overrides`], `KEYS`, [`Settings::load`] and [`Settings::entries`] of one table.
macro_rules! settings {
    ($($(#[$doc:meta])+ $key:ident: $type:ty = $default:expr, $flag:literal, $env:literal;)+) => {
        /// The settings in effect, each with where it came from.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            $($(#[$doc])+ pub $key: Setting<$type>,)+
        }

        /// What the command line, or an embedding program, sets.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Overrides {
            $($(#[$doc])+ pub $key: Option<$type>,)+
        }

        const KEYS: &[&str] = &[$(stringify!($key)),+];

        impl Settings {
            /// What is in effect where nobody set anything.
            pub fn defaults() -> Self {
                Self { $($key: Setting { value: $default, source: Source::Default },)+ }
            }

            /// Finds each setting's value, or everything that is wrong with them.
            ///
            /// `env` answers for the environment; [`process_env`] is the real one.
            pub fn load(
                flags: Overrides,
                env: &dyn Fn(&str) -> Option<String>,
                file: Option<FileSource>,
            ) -> Result<Self, Vec<SettingsError>> {
                let (file, mut wrong) = file.map(FileValues::read).unwrap_or_default();
                $(let $key = {
                    let names = Names { key: stringify!($key), flag: $flag, env: $env };
                    names.choose(flags.$key, env, &file, || $default).map_err(|error| wrong.push(error))
                };)+
                match ($($key,)+) {
                    ($(Ok($key),)+) if wrong.is_empty() => Ok(Self { $($key,)+ }),
                    _ => Err(wrong),
                }
            }

            /// All settings in the order of the table, fit to be shown.
            pub fn entries(&self) -> Vec<Entry> {
                vec![$(Entry {
                    key: stringify!($key),
                    value: self.$key.value.show(),
                    source: self.$key.source.clone(),
                }),+]
            }
        }
    };
}

// key: type = default, flag, variable of the environment;
settings! {
    /// The address that the server listens on. Default: 127.0.0.1:3020.
    listen: SocketAddr = (Ipv4Addr::LOCALHOST, 3020).into(), "--listen", "STREAMHUB_LISTEN";
    /// Whether a data directory on tmpfs or ramfs is accepted, which loses it with the power. Default: no.
    allow_volatile: bool = false, "--allow-volatile", "STREAMHUB_ALLOW_VOLATILE";
    /// How log lines are written. Default: text.
    log_format: LogFormat = LogFormat::Text, "--log-format", "STREAMHUB_LOG_FORMAT";
    /// How many seconds a stopping server waits for the work under way. Default: 10.
    shutdown_grace_seconds: u32 = 10, "--shutdown-grace-seconds", "STREAMHUB_SHUTDOWN_GRACE_SECONDS";
    /// The proxies, by address or network, whose `X-Forwarded-For` is believed. Default: none.
    trusted_proxies: AllowList = AllowList::NOBODY, "--trusted-proxies", "STREAMHUB_TRUSTED_PROXIES";
    /// How many connections are served at once. Default: 1024.
    max_connections: NonZeroU32 = at_least_one(1024), "--max-connections", "STREAMHUB_MAX_CONNECTIONS";
    /// How many of them one address may have, an IPv6 network of 64 bits counting as one; trusted proxies may have all.
    /// Default: 256.
    max_connections_per_peer: NonZeroU32 = at_least_one(256), "--max-connections-per-peer", "STREAMHUB_MAX_CONNECTIONS_PER_PEER";
    /// How many requests are worked on at once; what is above that is refused for a moment. Default: 256.
    max_requests: NonZeroU32 = at_least_one(256), "--max-requests", "STREAMHUB_MAX_REQUESTS";
    /// How many seconds a request may take. Default: 60.
    request_timeout_seconds: NonZeroU32 = at_least_one(60), "--request-timeout-seconds", "STREAMHUB_REQUEST_TIMEOUT_SECONDS";
    /// How many seconds a client may take to send a request's head. Default: 10.
    header_timeout_seconds: NonZeroU32 = at_least_one(10), "--header-timeout-seconds", "STREAMHUB_HEADER_TIMEOUT_SECONDS";
    /// How many seconds a connection may be open without a request, or without reading its answer. Default: 75.
    idle_timeout_seconds: NonZeroU32 = at_least_one(75), "--idle-timeout-seconds", "STREAMHUB_IDLE_TIMEOUT_SECONDS";
    /// The origins whose web pages may ask this server from a browser. Default: none.
    cors_origins: Vec<Origin> = Vec::new(), "--cors-origins", "STREAMHUB_CORS_ORIGINS";
    /// Whether clients on this machine get the metrics without a token. Default: no.
    metrics_loopback: bool = false, "--metrics-loopback", "STREAMHUB_METRICS_LOOPBACK";
    /// What becomes of streams that were live when the server ended. Default: they are ended.
    live_streams: LiveStreams = LiveStreams::End, "--live-streams", "STREAMHUB_LIVE_STREAMS";
    /// What becomes of tenants whose quotas are used up: `off` asks nobody, `log` warns, `on` refuses. Default: on.
    quotas: Enforcement = Enforcement::On, "--quotas", "STREAMHUB_QUOTAS";
    /// How many days what the log says is kept. Default: 30.
    log_retention_days: NonZeroU32 = at_least_one(30), "--log-retention-days", "STREAMHUB_LOG_RETENTION_DAYS";
    /// How many entries of the log are kept. Default: 1,000,000.
    log_retention_rows: NonZeroU32 = at_least_one(1_000_000), "--log-retention-rows", "STREAMHUB_LOG_RETENTION_ROWS";
    /// How many days what the audit tells is kept. Default: 400.
    audit_retention_days: NonZeroU32 = at_least_one(400), "--audit-retention-days", "STREAMHUB_AUDIT_RETENTION_DAYS";
    /// How many entries of the audit are kept. Default: 10,000,000.
    audit_retention_rows: NonZeroU32 = at_least_one(10_000_000), "--audit-retention-rows", "STREAMHUB_AUDIT_RETENTION_ROWS";
    /// Where the control database is. Default: in the data directory.
    database_url: ControlDatabase = ControlDatabase::InDataDir, "--database-url", "DATABASE_URL";
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in effect.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Env(String),
    /// A key of the settings file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The key.
    pub key: &'static str,
    /// The value; nothing secret is in it.
    pub value: Json,
    /// Where it came from.
    pub source: Source,
}

/// The settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// A person named it: it must be there.
    Named(PathBuf),
    /// The data directory's `streamhub.yaml`: it may be missing.
    InDataDir(PathBuf),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where the control database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlDatabase {
    /// `streamhub.db` in the data directory.
    InDataDir,
    /// At a place of its own.
    At(ControlPlace),
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read, or is not YAML that is accepted.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The file holds a list or a single value.
    #[error("{}: it does not hold keys and values", path.display())]
    NotAMapping {
        /// The file.
        path: PathBuf,
    },
    /// There is no such key.
    #[error("{}: the key {key:?} is unknown", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The known key that is most like it.
        nearest: Option<&'static str>,
    },
    /// A value that does not fit its key.
    #[error("{origin}: {key} is {value:?}: {reason}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value, masked where it can hold a password.
        value: String,
        /// Where it came from.
        origin: Source,
        /// What is wrong with it, or what is accepted.
        reason: String,
        /// What a person can do about it.
        way_out: String,
    },
}

impl SettingsError {
    /// What a person can do about it.
    pub fn way_out(&self) -> Option<String> {
        match self {
            Self::Yaml(error) => error.way_out(),
            Self::NotAMapping { .. } => Some("write one `key: value` per line".to_owned()),
            Self::UnknownKey { nearest: Some(nearest), .. } => Some(format!("did you mean {nearest}?")),
            Self::UnknownKey { nearest: None, .. } => {
                Some(format!("remove it; the keys are {}", KEYS.join(", ")))
            }
            Self::BadValue { way_out, .. } => Some(way_out.clone()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag} (command line)"),
            Self::Env(name) => write!(f, "{name} (environment)"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json"),
        }
    }
}

const fn at_least_one(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("a default is at least one")
}

/// A variable of this process's environment. What is not UTF-8 in it becomes U+FFFD.
pub fn process_env(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The names of one setting.
struct Names {
    key: &'static str,
    flag: &'static str,
    env: &'static str,
}

impl Names {
    fn choose<T: SettingValue>(
        &self,
        flag: Option<T>,
        env: &dyn Fn(&str) -> Option<String>,
        file: &FileValues,
        default: impl FnOnce() -> T,
    ) -> Result<Setting<T>, SettingsError> {
        if let Some(value) = flag {
            return Ok(Setting { value, source: Source::Flag(self.flag) });
        }
        if let Some(text) = env(self.env).filter(|text| !text.is_empty()) {
            let source = Source::Env(self.env.to_owned());
            if text.contains(char::REPLACEMENT_CHARACTER) {
                return Err(self.bad::<T>(&text, source, Refusal::new("it is not UTF-8")));
            }
            return self.parse(&text, source);
        }
        match file.values.get(self.key) {
            None | Some(Yaml::Null) => Ok(Setting { value: default(), source: Source::Default }),
            Some(value) => {
                let source = Source::File(file.path.clone());
                match T::text(value) {
                    Ok(text) => self.parse(&text, source),
                    Err(found) => Err(self.bad::<T>(found, source, Refusal::new("expected a single value"))),
                }
            }
        }
    }

    fn parse<T: SettingValue>(&self, text: &str, source: Source) -> Result<Setting<T>, SettingsError> {
        match T::parse(text) {
            Ok(value) => Ok(Setting { value, source }),
            Err(refusal) => Err(self.bad::<T>(text, source, refusal)),
        }
    }

    fn bad<T: SettingValue>(&self, text: &str, origin: Source, refusal: Refusal) -> SettingsError {
        let value = T::mask(text).into_owned();
        let way_out =
            refusal.way_out.unwrap_or_else(|| format!("correct {} there, or leave it out", self.key));
        SettingsError::BadValue { key: self.key, value, origin, reason: refusal.reason, way_out }
    }
}

/// What the settings file holds.
#[derive(Default)]
struct FileValues {
    path: PathBuf,
    values: serde_yaml::Mapping,
}

impl FileValues {
    /// What the file sets and what is wrong with it, apart from the values.
    fn read(file: FileSource) -> (Self, Vec<SettingsError>) {
        let (path, may_be_missing) = match file {
            FileSource::Named(path) => (path, false),
            FileSource::InDataDir(path) => (path, true),
        };
        match yaml::read(&path) {
            Err(error) if may_be_missing && error.is_missing() => (Self::default(), Vec::new()),
            Err(error) => (Self::default(), vec![error.into()]),
            Ok(content) => Self::of(content, &path),
        }
    }

    fn of(content: Yaml, path: &Path) -> (Self, Vec<SettingsError>) {
        let path = path.to_owned();
        let values = match content {
            // A file in which every line is a comment sets nothing.
            Yaml::Null => serde_yaml::Mapping::new(),
            Yaml::Mapping(values) => values,
            _ => return (Self::default(), vec![SettingsError::NotAMapping { path }]),
        };
        let keys = values.keys().map(|key| as_text(key).unwrap_or_default());
        let unknown = keys.filter(|key| !KEYS.contains(&key.as_ref())).map(|key| SettingsError::UnknownKey {
            path: path.clone(),
            nearest: nearest(&key),
            key: key.into_owned(),
        });
        let wrong = unknown.collect();
        (Self { path, values }, wrong)
    }
}

/// The known key that `key` was likely meant to be.
fn nearest(key: &str) -> Option<&'static str> {
    // An over-long key is no slip of the pen, and comparing it would only cost time.
    let key: Vec<char> = key.chars().take(64).collect();
    let (distance, nearest) = KEYS.iter().map(|known| (distance(&key, known), *known)).min()?;
    (distance <= key.len().max(nearest.len()) / 3).then_some(nearest)
}

/// How many characters must be put in, taken out or exchanged to make `known` of `key`.
fn distance(key: &[char], known: &str) -> usize {
    let mut row: Vec<usize> = (0..=key.len()).collect();
    for (line, wanted) in known.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, found) in key.iter().enumerate() {
            let exchanged = diagonal + usize::from(*found != wanted);
            diagonal = row[column + 1];
            row[column + 1] = exchanged.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[key.len()]
}

#[cfg(test)]
mod tests;
