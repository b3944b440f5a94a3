//! The types that a setting can have: how each is read from a text, and shown.
//!
//! A list is a list in the settings file, and separated by commas in the environment.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;
use streamhub_control::allow_list::AllowList;
use streamhub_control::quotas::Enforcement;
use streamhub_engine::database_url;

use super::{ControlDatabase, LogFormat};
use crate::config::LiveStreams;
use crate::secrets::{MASK, mask_url};

/// Web pages that may ask this server from a browser: those of `https://console.example.org`, or with `*` all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Origin(String);

impl Origin {
    /// As a browser writes it, or `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected *, or an origin as browsers write it, such as https://console.example.org";
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-:[]".contains(&c);
        match host {
            Some(host) if !host.is_empty() && host.bytes().all(plain) => Ok(Self(text.to_owned())),
            None if text == "*" => Ok(Self(text.to_owned())),
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a value of its type.
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) way_out: Option<String>,
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), way_out: None }
    }
}

/// A type that a setting can have.
pub(super) trait SettingValue: Sized {
    /// The text of a value in the settings file, or the name of what is there instead of one.
    fn text(value: &Yaml) -> Result<Cow<'_, str>, &'static str> {
        as_text(value)
    }

    fn parse(text: &str) -> Result<Self, Refusal>;

    fn show(&self) -> Json;

    /// A text that was refused, as a message may show it.
    fn mask(text: &str) -> Cow<'_, str> {
        mask_url(text)
    }
}

impl SettingValue for SocketAddr {
    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| {
            Refusal::new("expected an IP address and a port, such as 127.0.0.1:3020 or [::1]:3020")
        })
    }

    fn show(&self) -> Json {
        self.to_string().into()
    }
}

impl SettingValue for bool {
    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(Refusal::new("expected true or false (also 1 or 0, yes or no, on or off)")),
        }
    }

    fn show(&self) -> Json {
        (*self).into()
    }
}

impl SettingValue for u32 {
    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::new(format!("expected a whole number from 0 to {}", Self::MAX)))
    }

    fn show(&self) -> Json {
        (*self).into()
    }
}

impl SettingValue for LogFormat {
    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|reason: &str| Refusal::new(reason))
    }

    fn show(&self) -> Json {
        match self {
            Self::Text => "text".into(),
            Self::Json => "json".into(),
        }
    }
}

impl SettingValue for LiveStreams {
    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "end" => Ok(Self::End),
            "keep" => Ok(Self::Keep),
            _ => Err(Refusal::new("expected end or keep")),
        }
    }

    fn show(&self) -> Json {
        match self {
            Self::End => "end".into(),
            Self::Keep => "keep".into(),
        }
    }
}

impl SettingValue for Enforcement {
    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::new("expected off, log or on"))
    }

    fn show(&self) -> Json {
        self.as_str().into()
    }
}

impl SettingValue for ControlDatabase {
    fn parse(text: &str) -> Result<Self, Refusal> {
        database_url::parse(text).map(Self::At).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.strip_prefix("DATABASE_URL: ").unwrap_or(&reason).to_owned();
            Refusal { reason, way_out: error.way_out() }
        })
    }

    fn show(&self) -> Json {
        match self {
            Self::InDataDir => Json::Null,
            Self::At(place) => place.to_string().into(),
        }
    }

    /// A refused URL may be a database server's, and a password can stand in several places of it.
    fn mask(_: &str) -> Cow<'_, str> {
        MASK.into()
    }
}

impl SettingValue for NonZeroU32 {
    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::new(format!("expected a whole number from 1 to {}", Self::MAX)))
    }

    fn show(&self) -> Json {
        self.get().into()
    }
}

impl SettingValue for AllowList {
    fn text(value: &Yaml) -> Result<Cow<'_, str>, &'static str> {
        list_as_text(value)
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::only(&items(text)).map_err(|error| Refusal::new(error.to_string()))
    }

    fn show(&self) -> Json {
        Option::<Vec<String>>::from(self.clone()).into()
    }
}

impl SettingValue for Vec<Origin> {
    fn text(value: &Yaml) -> Result<Cow<'_, str>, &'static str> {
        list_as_text(value)
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        items(text).into_iter().map(str::parse).collect::<Result<_, _>>().map_err(Refusal::new)
    }

    fn show(&self) -> Json {
        self.iter().map(Origin::as_str).collect()
    }
}

/// A single value as its text, so that the file's values are parsed like those of the environment.
pub(super) fn as_text(value: &Yaml) -> Result<Cow<'_, str>, &'static str> {
    match value {
        Yaml::String(text) => Ok(text.into()),
        Yaml::Bool(value) => Ok(value.to_string().into()),
        Yaml::Number(value) => Ok(value.to_string().into()),
        Yaml::Null => Ok("null".into()),
        Yaml::Sequence(_) => Err("a list"),
        Yaml::Mapping(_) | Yaml::Tagged(_) => Err("a mapping"),
    }
}

/// A list as the text that it is in the environment.
fn list_as_text(value: &Yaml) -> Result<Cow<'_, str>, &'static str> {
    match value {
        Yaml::Sequence(items) => {
            let items: Vec<_> = items.iter().map(as_text).collect::<Result<_, _>>()?;
            Ok(items.join(",").into())
        }
        value => as_text(value),
    }
}

/// What stands between the commas.
fn items(text: &str) -> Vec<&str> {
    if text.trim().is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}
