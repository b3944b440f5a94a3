//! An app's own `config.yaml`.
//!
//! The file is kept as the tree that it is, so that keys of other programs survive a rewrite; a
//! table says which keys are known and of what type. Values of secrets stay in here: what is shown
//! is [`AppConfig::masked`]. What a change does to the tree is in `patch`.

mod patch;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value as Yaml};
use streamhub_engine::{AppId, durable};

pub use streamhub_engine::live::Durability;

use crate::secrets::{MASK, mask_url};
use crate::yaml::{self, YamlError};

/// The configuration of one app.
#[derive(Clone)]
pub struct AppConfig {
    tree: Mapping,
    durability: Durability,
}

/// A key that names a secret, which is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The key, such as `s3.secret_key_env`.
    pub key: String,
    /// The secret's name in the environment or in `secrets.json`.
    pub name: String,
}

/// Why an app's configuration cannot be used. No message shows a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppConfigError {
    /// The file cannot be read, or is not YAML that is accepted.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The file holds nothing, a list or a single value.
    #[error("{}: it does not hold keys and values", path.display())]
    NotAMapping {
        /// The file.
        path: PathBuf,
    },
    /// A known key with a value of another type.
    #[error("{}: {key} must be {expected}", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key, such as `recording.enabled`.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A change that is not an object.
    #[error("a change of the configuration must be an object of keys and values")]
    NotAPatch,
    /// A change that would store `***` instead of a secret.
    #[error("{key} would become {MASK}, which is how a secret is shown")]
    Masked {
        /// The key, such as `callbacks.secret`.
        key: String,
    },
}

/// What the file is called in messages about a content that is not in it yet.
const FILE: &str = "config.yaml";

/// BLAKE3 in hexadecimal.
pub(crate) fn digest(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Flag,
    Number,
    Texts,
    /// A list of sections where its `[]` is known too, otherwise of anything.
    List,
    Section,
    Durability,
}

/// The known keys; `[]` stands for each item of a list.
#[rustfmt::skip]
const KNOWN: &[(Kind, &[&str])] = &[
    (Kind::Text, &[
        "name", "display_name", "room_prefix",
        "recording.mode", "recording.layout", "recording.local_dir",
        "s3.provider", "s3.bucket", "s3.region", "s3.endpoint", "s3.prefix", "s3.public_url",
        "s3.access_key_env", "s3.secret_key_env",
        "webrtc.layers[].name", "transcoding.encoding", "callbacks.url", "callbacks.secret",
        "mqtt.url", "mqtt.username", "mqtt.password_env", "mqtt.topic_prefix", "mqtt.logs.level",
    ]),
    (Kind::Flag, &[
        "recording.enabled", "recording.delete_local_after_upload", "s3.force_path_style", "webrtc.adaptive",
        "rtmp.enabled", "rtmp.transcode", "transcoding.enabled", "transcoding.vod_adaptive",
        "mqtt.enabled", "mqtt.tls", "mqtt.logs.enabled", "latency_alert.enabled",
        "features.rtmp_password", "features.viewer_counter", "features.chat", "features.reactions",
        "features.hidden_qc", "features.adaptive_player", "features.public_playback",
    ]),
    (Kind::Number, &[
        "recording.split_minutes", "recording.snapshot_seconds", "webrtc.layers[].height", "mqtt.qos",
        "latency_alert.threshold_ms", "latency_alert.cooldown_seconds", "latency_alert.interval_seconds",
    ]),
    (Kind::Texts, &["mqtt.events"]),
    (Kind::List, &["webrtc.layers", "transcoding.vod_renditions"]),
    (Kind::Section, &[
        "recording", "s3", "webrtc", "rtmp", "transcoding", "callbacks", "mqtt", "mqtt.logs", "latency_alert",
        "features", "webrtc.layers[]",
    ]),
    (Kind::Durability, &["durability"]),
];

impl AppConfig {
    /// The configuration of an app of which nothing is known but its name.
    pub fn empty(name: &AppId) -> Self {
        let tree = Mapping::from_iter([("name".into(), name.as_str().into())]);
        Self { tree, durability: Durability::Full }
    }

    /// Reads the file at `path`, or says everything that is wrong with it. An empty file is an error,
    /// because an interrupted write looks like that.
    pub fn read(path: &Path) -> Result<Self, Vec<AppConfigError>> {
        Self::of(yaml::read(path).map_err(|error| vec![error.into()])?, path)
    }

    /// Reads `text`, which came from `path`.
    pub fn from_text(text: &str, path: &Path) -> Result<Self, Vec<AppConfigError>> {
        Self::of(yaml::from_str(text, path).map_err(|error| vec![error.into()])?, path)
    }

    /// This configuration after `patch`, a JSON merge patch (RFC 7396): an object is merged key by key,
    /// `null` removes a key, anything else replaces what was there. Or everything that is wrong with
    /// the outcome, which is judged as a file with that content would be.
    ///
    /// A value that is exactly what [`masked`](Self::masked) shows at that place leaves what is
    /// stored, so that a caller may hand back what it was shown; anywhere else the mask is refused.
    pub fn patched(&self, patch: &Json) -> Result<Self, Vec<AppConfigError>> {
        let changed = Self { tree: patch::apply(&self.tree, patch)?, durability: self.durability };
        Self::from_text(&changed.to_text(), Path::new(FILE))
    }

    /// Writes the file at `path`: whatever happens, it holds all of the old or all of the new content.
    ///
    /// Keys keep their order, but comments cannot be kept. So a text that a person wrote is first put
    /// beside the file as `config.yaml.bak`; one that this function wrote is simply replaced. Two
    /// writers at once are for the caller to prevent.
    pub fn write(&self, path: &Path) -> streamhub_engine::Result<()> {
        durable::sweep_parts(path)?;
        if durable::exists(path)? {
            let old = durable::read_capped(path, yaml::SIZE_CAP)?;
            let own = Self::from_text(&String::from_utf8_lossy(&old), path).map(|old| old.to_text());
            if own.map_or(true, |own| own.as_bytes() != old) {
                durable::write(&path.with_added_extension("bak"), &old)?;
            }
        }
        durable::write(path, self.to_text().as_bytes())
    }

    /// What tells this content from any other.
    pub(crate) fn digest(&self) -> String {
        digest(self.to_text().as_bytes())
    }

    fn to_text(&self) -> String {
        serde_yaml::to_string(&self.tree).expect("what was YAML can be written as YAML")
    }

    fn of(content: Yaml, path: &Path) -> Result<Self, Vec<AppConfigError>> {
        let path = || path.to_owned();
        let Yaml::Mapping(tree) = content else {
            return Err(vec![AppConfigError::NotAMapping { path: path() }]);
        };
        let durability = match tree.get("durability").and_then(Yaml::as_str) {
            Some("normal") => Durability::Normal,
            _ => Durability::Full,
        };
        let mut wrong = Vec::new();
        visit(&tree, "", &mut |key, value| {
            let kind = known(key)?;
            // A key without a value is not set.
            if !(value.is_null() || kind.fits(value)) {
                let (key, expected) = (key.to_owned(), kind.name());
                wrong.push(AppConfigError::BadValue { path: path(), key, expected });
            }
            Some(())
        });
        if wrong.is_empty() { Ok(Self { tree, durability }) } else { Err(wrong) }
    }

    /// When acknowledged writes are on the disk; `full` where the file does not say.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The keys that this program does not know, such as `features.teleport`, in the order of the file.
    pub fn unknown_keys(&self) -> Vec<String> {
        let mut unknown = Vec::new();
        visit(&self.tree, "", &mut |key, _| match known(key) {
            Some(Kind::List) => known(&format!("{key}[]")).map(|_| ()),
            Some(_) => Some(()),
            // The name of a secret, whatever the secret is for.
            None if key.ends_with("_env") => Some(()),
            // What is below an unknown key is not listed one by one, nor the same key of each item.
            None => {
                unknown.push(key.to_owned());
                None
            }
        });
        unknown.dedup();
        unknown
    }

    /// The names of the secrets that this configuration refers to.
    pub fn secret_refs(&self) -> Vec<SecretRef> {
        let mut refs = Vec::new();
        visit(&self.tree, "", &mut |key, value| {
            if let (true, Some(name)) =
                (key.ends_with("_env"), value.as_str().filter(|name| !name.is_empty()))
            {
                refs.push(SecretRef { key: key.to_owned(), name: name.to_owned() });
            }
            Some(())
        });
        refs
    }

    /// The whole configuration, with `***` for each secret that is set and for passwords in URLs.
    pub fn masked(&self) -> Json {
        mask_mapping(&self.tree)
    }
}

impl std::fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AppConfig({})", self.masked())
    }
}

impl AppConfigError {
    /// What a person can do about it.
    pub fn way_out(&self) -> Option<String> {
        match self {
            Self::Yaml(error) => error.way_out(),
            Self::NotAMapping { .. } => {
                Some("restore the file from a backup, or write `name: APP` into it".to_owned())
            }
            Self::BadValue { key, .. } => Some(format!("correct {key}, or remove it")),
            Self::NotAPatch => Some("send the keys to change: {\"display_name\": \"My app\"}".to_owned()),
            Self::Masked { key } => {
                Some(format!("give {key} in full, or leave it out to keep what is stored"))
            }
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "a text (in quotes where it looks like a number)",
            Self::Flag => "true or false",
            Self::Number => "a number, 0 or more",
            Self::Texts => "a list of texts",
            Self::List => "a list",
            Self::Section => "keys and values",
            Self::Durability => "full or normal",
        }
    }

    fn fits(self, value: &Yaml) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Flag => value.is_bool(),
            Self::Number => value.as_f64().is_some_and(|number| number.is_finite() && number >= 0.0),
            Self::Texts => value.as_sequence().is_some_and(|items| items.iter().all(Yaml::is_string)),
            Self::List => value.is_sequence(),
            Self::Section => value.is_mapping(),
            Self::Durability => matches!(value.as_str(), Some("full" | "normal")),
        }
    }
}

fn known(key: &str) -> Option<Kind> {
    KNOWN.iter().find(|(_, keys)| keys.contains(&key)).map(|(kind, _)| *kind)
}

/// Calls `see` with each key and item; where it answers `None`, what is below is left out.
fn visit(tree: &Mapping, above: &str, see: &mut impl FnMut(&str, &Yaml) -> Option<()>) {
    for (key, value) in tree {
        visit_value(value, &below(above, key), see);
    }
}

fn visit_value(value: &Yaml, key: &str, see: &mut impl FnMut(&str, &Yaml) -> Option<()>) {
    if see(key, value).is_none() {
        return;
    }
    match value {
        Yaml::Mapping(tree) => visit(tree, key, see),
        Yaml::Sequence(items) => {
            // Single values in a list have no keys of their own.
            let collections = items.iter().filter(|item| item.is_mapping() || item.is_sequence());
            collections.for_each(|item| visit_value(item, &format!("{key}[]"), see));
        }
        _ => {}
    }
}

fn below(above: &str, key: &Yaml) -> String {
    let key = key_text(key);
    // A key with a dot in it must not look like a key of a section.
    let key = if key.contains(['.', '[']) { format!("{key:?}") } else { key };
    if above.is_empty() { key } else { format!("{above}.{key}") }
}

fn key_text(key: &Yaml) -> String {
    match key {
        Yaml::String(key) => key.clone(),
        Yaml::Bool(key) => key.to_string(),
        Yaml::Number(key) => key.to_string(),
        _ => "null".to_owned(),
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // The bare names too: masking one too many shows nothing that should be hidden.
    ["secret", "password"].contains(&key.as_str())
        || ["_secret", "_password", "_key"].iter().any(|end| key.ends_with(end))
}

fn mask_mapping(tree: &Mapping) -> Json {
    let entries = tree.iter().map(|(key, value)| {
        let key = key_text(key);
        let shown = mask_entry(&key, value);
        (key, shown)
    });
    Json::Object(entries.collect())
}

fn mask_entry(key: &str, value: &Yaml) -> Json {
    let is_set = !value.is_null() && value.as_str() != Some("");
    if is_set && is_secret(key) { MASK.into() } else { mask_value(value) }
}

fn mask_value(value: &Yaml) -> Json {
    match value {
        Yaml::Mapping(tree) => mask_mapping(tree),
        Yaml::Sequence(items) => items.iter().map(mask_value).collect(),
        Yaml::String(text) => mask_url(text).into(),
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
