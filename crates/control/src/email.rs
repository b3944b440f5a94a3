//! Addresses that users log in with.

use std::fmt;
use std::str::FromStr;

/// An address of a user that is to be made: an `@` with something on both sides, no white space or
/// control characters, at most 254 bytes.
///
/// A registry may hold other addresses; they are taken as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

/// A text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address such as anna@example.org, without white space and of at most 254 bytes")]
pub struct BadEmail {
    /// The text that was refused, shortened where it is long.
    pub text: String,
}

impl Email {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = BadEmail;

    fn from_str(text: &str) -> Result<Self, BadEmail> {
        let has_both_sides =
            text.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
        let fits = text.len() <= 254 && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if has_both_sides && fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadEmail { text: text.chars().take(64).collect() })
        }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_fit_and_texts_that_do_not() {
        for text in ["a@b", "Anna.B+c@example.org", "ольга@пример.рф", "\"a@b\"@c"] {
            assert_eq!(text.parse::<Email>().unwrap().as_str(), text);
        }
        let long = format!("{}@b.c", "a".repeat(251));
        for text in ["", "anna", "@", "@b", "a@", "a b@c", " a@b", "a@b\n", "a@b\0", &long] {
            assert!(text.parse::<Email>().is_err(), "{text:?} was taken");
        }
    }
}
