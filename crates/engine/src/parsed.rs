//! Texts that are parsed once at the edge, as serde needs them.

/// Lets a type around a `String` that has `FromStr` be read from a text and written as one, with
/// `#[serde(try_from = "String", into = "String")]`.
#[macro_export]
macro_rules! parsed_text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = <Self as std::str::FromStr>::Err;

            fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(parsed: $type) -> Self {
                parsed.0
            }
        }
    };
}
