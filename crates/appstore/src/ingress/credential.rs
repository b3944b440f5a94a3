//! What a publisher shows to be let in: stream keys, and passwords plain and hashed as three types.
//!
//! Hashes are the older system's, so that either program reads what the other wrote: hexadecimal scrypt of
//! 32 bytes with Node's default cost, salted with the bytes of the salt's hexadecimal text.

use std::fmt;

use rusqlite::types::{ToSql, ToSqlOutput};
use schemars::JsonSchema;
use scrypt::Params;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::check;
use crate::error::{Result, StoreError};

/// A stream key. Whoever knows it publishes, so it is shown to those who may and never in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline)]
pub struct StreamKey(String);

/// A password as somebody typed it. Never stored.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(inline)]
pub struct Password(String);

/// What is stored of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    pub(super) hash: String,
    pub(super) salt: String,
}

impl StreamKey {
    /// Bytes that a chosen key has at most.
    pub const MAX: usize = 256;

    /// A key that cannot be guessed: 244 random bits.
    pub fn random() -> Self {
        Self(random_hex() + &random_hex())
    }

    /// The key itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// As it stands in a row; older ones may be of any form.
    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }
}

impl TryFrom<String> for StreamKey {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self> {
        check::name("stream_key", &text)?;
        if text.len() > Self::MAX || text.contains(char::is_whitespace) {
            let reason = format!("it has at most {} bytes and no spaces", Self::MAX);
            return Err(StoreError::invalid("stream_key", reason));
        }
        Ok(Self(text))
    }
}

impl Password {
    /// Bytes that a password which is to be stored has at most.
    pub const MAX: usize = 1024;

    /// A random password, and the only chance to [reveal](Self::reveal) it.
    pub fn random() -> Self {
        Self(random_hex())
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl PasswordHash {
    /// Hashes a password under a new salt. Takes tens of milliseconds and 16 MiB, on purpose: not for the
    /// inside of a transaction.
    pub fn of(password: &Password) -> Result<Self> {
        if password.0.is_empty() || password.0.len() > Password::MAX {
            let reason = format!("it has between 1 and {} bytes", Password::MAX);
            return Err(StoreError::invalid("password", reason));
        }
        let salt = random_hex();
        Ok(Self { hash: derive(&password.0, &salt), salt })
    }

    /// A hash that no password has.
    pub(super) fn of_nobody() -> Self {
        Self { hash: String::new(), salt: "0".repeat(32) }
    }

    /// Whether the password is the one that was hashed. Takes as long as [`PasswordHash::of`].
    pub fn matches(&self, password: &Password) -> bool {
        // A hash of another length compares as different at once, which tells nothing of the password.
        derive(&password.0, &self.salt).as_bytes().ct_eq(self.hash.to_ascii_lowercase().as_bytes()).into()
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(***)")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

impl ToSql for StreamKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_str().into())
    }
}

/// 122 random bits as 32 characters.
pub(super) fn random_hex() -> String {
    streamhub_engine::new_uuid().replace('-', "")
}

fn derive(password: &str, salt: &str) -> String {
    #[cfg(test)]
    counted::add_one();
    let mut key = [0; 32];
    let cost = Params::new(14, 8, 1, key.len()).expect("the cost is within scrypt's limits");
    scrypt::scrypt(password.as_bytes(), salt.as_bytes(), &cost, &mut key)
        .expect("32 bytes are a valid length");
    let digits = key.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).expect("half a byte is one digit")).collect()
}

/// Counts this thread's hashes, which are what takes the time.
#[cfg(test)]
pub(super) mod counted {
    use std::cell::Cell;

    thread_local!(static HASHES: Cell<usize> = const { Cell::new(0) });

    pub(super) fn add_one() {
        HASHES.set(HASHES.get() + 1);
    }

    pub(in crate::ingress) fn hashes_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = HASHES.get();
        let done = work();
        (done, HASHES.get() - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        text.to_owned().into()
    }

    #[test]
    fn a_hash_of_the_older_system_is_accepted() {
        let older = PasswordHash {
            hash: "707eb9cbe582848a8703347742f3b28471ae6cb09b4779a6f75e2abb59274762".to_owned(),
            salt: "adbdfea3952284ecc19a60ef5fbffbd5".to_owned(),
        };
        assert!(older.matches(&password("RDSkoZ3wXIH6yPvj")));
        assert!(!older.matches(&password("RDSkoZ3wXIH6yPvk")));
        let shouted = PasswordHash { hash: older.hash.to_uppercase(), salt: older.salt };
        assert!(shouted.matches(&password("RDSkoZ3wXIH6yPvj")));
    }

    #[test]
    fn a_hash_is_salted_and_matches_its_password_only() {
        let one = PasswordHash::of(&password("naïve 参加者")).unwrap();
        let two = PasswordHash::of(&password("naïve 参加者")).unwrap();
        assert_ne!((&one.hash, &one.salt), (&two.hash, &two.salt));
        assert_eq!((one.hash.len(), one.salt.len()), (64, 32));
        assert!(one.matches(&password("naïve 参加者")) && !one.matches(&password("")));
        for text in ["", "\0"] {
            assert!(!PasswordHash::of_nobody().matches(&password(text)));
        }
    }

    #[test]
    fn nothing_secret_is_shown_and_nothing_odd_is_stored() {
        let hash = PasswordHash::of_nobody();
        let shown = format!("{:?} {:?} {hash:?}", StreamKey::random(), Password::random());
        assert_eq!(shown, "StreamKey(***) Password(***) PasswordHash(***)");
        for length in [0, 1025] {
            assert!(PasswordHash::of(&password(&"x".repeat(length))).is_err());
        }
        for bad in ["", "a b", "a\n", &"x".repeat(257)] {
            let error = StreamKey::try_from(bad.to_owned()).unwrap_err();
            assert!(matches!(error, StoreError::Invalid { field: "stream_key", .. }));
        }
        assert_ne!(StreamKey::random(), StreamKey::random());
        assert_eq!(StreamKey::random().reveal().len(), 64);
    }
}
