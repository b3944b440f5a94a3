//! What a text must be before it is kept: short enough for a list of many to be shown, and nothing that a terminal obeys.
//!
//! Rows that an older program wrote may hold other texts; they are read as they are.

/// Bytes that a name for people has at most.
pub const NAME_MAX: usize = 256;

/// Bytes that an address, a path or a program's name for something has at most.
pub const ADDRESS_MAX: usize = 4096;

/// Why a text is not kept. Does not repeat it: it may be long, or obeyed by the terminal that shows this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// It shows nothing.
    #[error("it is empty")]
    Blank,
    /// It is too long.
    #[error("it has {bytes} bytes, at most {most} are kept")]
    TooLong {
        /// How many it has, in UTF-8.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// It holds a control character.
    #[error("it holds a control character")]
    Control,
}

/// A text of so many bytes at the most, without control characters.
pub fn within(text: &str, most: usize) -> Result<(), BadText> {
    if text.len() > most {
        Err(BadText::TooLong { bytes: text.len(), most })
    } else if text.contains(char::is_control) {
        Err(BadText::Control)
    } else {
        Ok(())
    }
}

/// A name for people, which shows something.
pub fn name(text: &str) -> Result<(), BadText> {
    if text.trim().is_empty() { Err(BadText::Blank) } else { within(text, NAME_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_can_be_shown() {
        for fine in ["a", "Anna Müller", "новости 24", "🎥", &"n".repeat(NAME_MAX)] {
            name(fine).unwrap();
        }
        for blank in ["", " ", "\t\n"] {
            assert_eq!(name(blank), Err(BadText::Blank), "{blank:?}");
        }
        let long = "ä".repeat(NAME_MAX / 2 + 1);
        assert_eq!(name(&long), Err(BadText::TooLong { bytes: NAME_MAX + 2, most: NAME_MAX }));
        for obeyed in ["\u{1b}[31mRED", "a\nb", "a\0", "a\u{7f}", "\u{9b}2J"] {
            let refused = name(obeyed).unwrap_err();
            assert_eq!(refused, BadText::Control, "{obeyed:?}");
            assert!(!refused.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn an_address_may_be_longer_and_empty() {
        within("", ADDRESS_MAX).unwrap();
        within(&"x".repeat(ADDRESS_MAX), ADDRESS_MAX).unwrap();
        assert!(within(&"x".repeat(ADDRESS_MAX + 1), ADDRESS_MAX).is_err());
    }
}
