//! The uuid of an app's database, parsed once at the edge.
//!
//! An app.db, its seal and the registry say it as a text, and whoever made the file wrote that. Only a
//! [`Uuid`] is compared with another or becomes part of a file's name.

use std::fmt;
use std::str::FromStr;

use rusqlite::ToSql;
use rusqlite::types::ToSqlOutput;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A uuid in lower-case hexadecimal with hyphens: 8, 4, 4, 4 and 12 digits.
///
/// It has one spelling, so that two are the same where their texts are, and it holds neither a dot nor a
/// slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "uuid"))]
pub struct Uuid(String);

/// Why a text is not a uuid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no uuid: 36 characters, lower-case hexadecimal with hyphens")]
pub struct BadUuid {
    /// The text that was refused, shortened where it is long.
    pub text: String,
}

impl Uuid {
    /// How many characters each has.
    pub const LEN: usize = 36;

    /// A random one.
    pub fn random() -> Self {
        Self(::uuid::Uuid::new_v4().to_string())
    }

    /// The uuid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uuid {
    type Err = BadUuid;

    fn from_str(text: &str) -> Result<Self, BadUuid> {
        const HYPHENS: [usize; 4] = [8, 13, 18, 23];
        let fits = text.len() == Self::LEN
            && text.bytes().enumerate().all(|(at, byte)| match byte {
                b'-' => HYPHENS.contains(&at),
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f') && !HYPHENS.contains(&at),
            });
        if fits { Ok(Self(text.to_owned())) } else { Err(BadUuid { text: text.chars().take(64).collect() }) }
    }
}

crate::parsed_text!(Uuid);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ToSql for Uuid {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "6f1c0a3e-0000-4000-8000-000000000001";

    #[test]
    fn random_ones_fit_and_differ() {
        let (one, other) = (Uuid::random(), Uuid::random());
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse(), Ok(one.clone()));
    }

    #[test]
    fn what_is_none_is_refused_by_serde_too() {
        for text in [
            "",
            "../other-one",
            "../../escaped",
            "/etc",
            &GOOD.to_uppercase(),
            &GOOD.replace('-', ""),
            &format!("{{{GOOD}}}"),
            &format!("urn:uuid:{GOOD}"),
            &format!("{GOOD}\n"),
            &format!("{GOOD}\0"),
            &format!("{GOOD}~7"),
            &GOOD.replace("-8", "8-"),
            &GOOD.replace("6f", "é"),
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text:?} was taken");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Uuid>(&json).is_err(), "{text:?} was taken");
        }
        let error = "x/".repeat(5000).parse::<Uuid>().unwrap_err();
        assert!(error.to_string().len() < 200, "it is shortened");
    }

    proptest! {
        #[test]
        fn what_is_written_as_one_is_read_as_the_same(bits: u128) {
            let text = ::uuid::Uuid::from_u128(bits).to_string();
            prop_assert_eq!(text.parse::<Uuid>().map(String::from), Ok(text));
        }

        #[test]
        fn what_is_taken_is_one_file_name_and_its_only_spelling(
            text in prop_oneof![any::<String>(), "[-0-9a-fA-F/.~\\x00\n]{30,40}"],
        ) {
            if let Ok(uuid) = text.parse::<Uuid>() {
                let name: Vec<_> = Path::new(uuid.as_str()).components().collect();
                prop_assert!(matches!(name[..], [Component::Normal(name)] if name == uuid.as_str()));
                let spelt = ::uuid::Uuid::try_parse(&text).map(|same| same.to_string());
                prop_assert_eq!(spelt, Ok(text));
            }
        }

        #[test]
        fn another_character_anywhere_is_refused(bits: u128, at in 0..36_usize, other: char) {
            let good = ::uuid::Uuid::from_u128(bits).to_string();
            let mut text: Vec<char> = good.chars().collect();
            let digit = |char: char| matches!(char, '0'..='9' | 'a'..='f');
            prop_assume!(!(text[at] == other || digit(text[at]) && digit(other)));
            text[at] = other;
            prop_assert!(text.iter().collect::<String>().parse::<Uuid>().is_err());
        }
    }
}
