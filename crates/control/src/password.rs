//! Passwords, plain and hashed: two types, so that one is never taken for the other.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use argon2::password_hash::{self, PasswordHasher, SaltString};

/// A password as a person typed it. Never shown, never stored.
pub struct Password(String);

/// What is stored of a password: argon2id in its standard text form.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// It would be guessed.
    #[error("a password has at least {} characters", Password::MIN)]
    TooShort,
    /// Hashing it would be a way to keep the server busy.
    #[error("a password has at most {} bytes", Password::MAX)]
    TooLong,
}

impl Password {
    /// Characters that a new password has at least.
    pub const MIN: usize = 12;
    /// Bytes that a password has at most.
    pub const MAX: usize = 1024;

    /// A new password, as its owner chose it.
    pub fn chosen(text: String) -> Result<Self, BadPassword> {
        if text.chars().count() < Self::MIN {
            Err(BadPassword::TooShort)
        } else if text.len() > Self::MAX {
            Err(BadPassword::TooLong)
        } else {
            Ok(Self(text))
        }
    }

    /// A random password of 24 characters, and the only chance to read it.
    pub fn generate() -> (Self, String) {
        // 64 characters, so that six bits choose each without favouring any.
        const ALPHABET: &[u8; 64] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789-_.+=";
        let mut bytes = [0; 24];
        OsRng.fill_bytes(&mut bytes);
        let text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect();
        (Self(text.clone()), text)
    }

    /// Hashes the password; takes tens of milliseconds and 19 MiB, on purpose.
    pub fn hash(&self) -> Result<PasswordHash, password_hash::Error> {
        let salt = SaltString::generate(&mut OsRng);
        let hash = Argon2::default().hash_password(self.0.as_bytes(), &salt)?;
        Ok(PasswordHash(hash.to_string()))
    }
}

impl PasswordHash {
    /// The text that is stored.
    pub fn as_str(&self) -> &str {
        &self.0
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

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordVerifier;

    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_verifies() {
        let (password, text) = Password::generate();
        let hash = password.hash().unwrap();
        assert!(hash.as_str().starts_with("$argon2id$"));
        let parsed = password_hash::PasswordHash::new(hash.as_str()).unwrap();
        Argon2::default().verify_password(text.as_bytes(), &parsed).unwrap();
        assert!(Argon2::default().verify_password(b"another one", &parsed).is_err());
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused_and_nothing_is_shown() {
        assert_eq!(Password::chosen("short".to_owned()).unwrap_err(), BadPassword::TooShort);
        assert_eq!(Password::chosen("x".repeat(1025)).unwrap_err(), BadPassword::TooLong);
        let password = Password::chosen("correct horse battery".to_owned()).unwrap();
        assert_eq!(format!("{password:?}"), "Password(***)");
    }
}
