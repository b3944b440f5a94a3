//! The name of an app, parsed once at the edge.
//!
//! [`AppId`] is the only type that [`DataDir`](crate::DataDir) turns into a path, so that no
//! string from a request, a database or a command line ever reaches the file system unparsed.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An app's name: 3 to 32 characters of `a-z`, `0-9` and `-`, neither beginning nor ending with `-`.
///
/// It cannot hold a dot or a slash, so it is always exactly one directory below `apps/`, and never
/// one of the hub's own directories there, which begin with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("pattern" = "^[a-z0-9][a-z0-9-]{1,30}[a-z0-9]$"))]
pub struct AppId(String);

/// Why a text is not an app's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not an app name: 3 to 32 characters of a-z, 0-9 and '-', beginning and ending with a letter or digit"
)]
pub struct BadAppId {
    /// The text that was refused, shortened where it is long.
    pub name: String,
}

impl AppId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppId {
    type Err = BadAppId;

    fn from_str(name: &str) -> Result<Self, BadAppId> {
        let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        let fits = (3..=32).contains(&bytes.len())
            && bytes.iter().all(|&byte| edge(byte) || byte == b'-')
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1]);
        if fits { Ok(Self(name.to_owned())) } else { Err(BadAppId { name: name.chars().take(64).collect() }) }
    }
}

crate::parsed_text!(AppId);

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit() {
        for name in ["abc", "a-b", "news-24", "0-9", &"a".repeat(32)] {
            assert_eq!(name.parse::<AppId>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_do_not() {
        for name in [
            "",
            "a",
            "ab",
            "-ab",
            "ab-",
            "a_b",
            "Abc",
            "a.b",
            "../x",
            "a/b",
            ".staging",
            "a\0b",
            "äbc",
            "abc\n",
            &"a".repeat(33),
        ] {
            assert!(name.parse::<AppId>().is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn serde_parses_too() {
        assert!(serde_json::from_str::<AppId>("\"../x\"").is_err());
    }
}
