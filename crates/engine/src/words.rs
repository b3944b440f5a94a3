//! Enums that are one word each, spelled alike in the database, in JSON, in a query and on the command line.

/// A text is none of an enum's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of: {}", words.join(", "))]
pub struct UnknownWord {
    /// The text, shortened where it is long.
    pub text: String,
    /// The words that there are.
    pub words: &'static [&'static str],
}

/// Declares an enum whose variants are one word each. The crate that does needs `serde`,
/// `schemars` and `rusqlite`.
#[macro_export]
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$about_variant:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$about_variant])* $variant,)+
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As it is spelled everywhere.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::words::UnknownWord {
                        text: text.chars().take(64).collect(),
                        words: &[$($word),+],
                    }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }

        impl rusqlite::types::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(
                value: rusqlite::types::ValueRef<'_>,
            ) -> rusqlite::types::FromSqlResult<Self> {
                value.as_str()?.parse().map_err(rusqlite::types::FromSqlError::other)
            }
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro declares for other crates")]
mod tests {
    use crate::connect::Database;

    words! {
        /// A word.
        pub enum Taste {
            /// One.
            Sweet = "sweet",
            /// Another.
            Sour = "so-ur",
        }
    }

    #[test]
    fn one_spelling_everywhere() {
        let db = Database::scratch(None).unwrap();
        for &taste in Taste::ALL {
            assert_eq!(taste.to_string().parse(), Ok(taste));
            let json = serde_json::to_value(taste).unwrap();
            assert_eq!(json, taste.as_str());
            assert_eq!(serde_json::from_value::<Taste>(json).unwrap(), taste);
            assert_eq!(db.query_row("SELECT ?1", [taste], |row| row.get::<_, Taste>(0)).unwrap(), taste);
        }
    }

    #[test]
    fn any_other_word_is_refused_with_those_that_there_are() {
        let refusal = "\"Sweet\" is none of: sweet, so-ur";
        assert_eq!("Sweet".parse::<Taste>().unwrap_err().to_string(), refusal);
        assert_eq!(serde_json::from_str::<Taste>("\"Sweet\"").unwrap_err().to_string(), refusal);
        let db = Database::scratch(None).unwrap();
        assert!(db.query_row("SELECT 'Sweet'", [], |row| row.get::<_, Taste>(0)).is_err());
    }
}
