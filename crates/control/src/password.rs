//! Passwords, plain and hashed: two types, so that one is never taken for the other.

mod stored;

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use argon2::password_hash::{self, PasswordHasher, SaltString};

use self::stored::Stored;

/// A password as a person typed it. Never shown, never stored.
pub struct Password(String);

/// What is stored of a password: argon2id in its standard text form, or what an older system wrote.
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

/// How a password compares with what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the password.
    Wrong,
    /// It is.
    Right,
    /// It is, and deserves a hash of today's kind in place of the stored one.
    RightButWeak,
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

    /// A password as somebody offers it, to be verified.
    pub fn offered(text: String) -> Self {
        Self(text)
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

    /// Compares with what is stored of a user; none where there is no such user or it has no password.
    ///
    /// Exactly one hash is computed in any case, so that nobody learns from the work done whether an
    /// account exists. What is stored is not trusted: a hash that asks for too much is no hash.
    pub fn verify(&self, stored: Option<&PasswordHash>) -> Verdict {
        let parsed = stored.filter(|_| self.0.len() <= Self::MAX).and_then(|hash| Stored::parse(&hash.0));
        let Some(stored) = parsed else {
            // The answer is no, whatever comes out.
            let _ = Stored::dummy().matches(&self.0.as_bytes()[..self.0.len().min(Self::MAX)]);
            return Verdict::Wrong;
        };
        match (stored.matches(self.0.as_bytes()), stored.is_weak()) {
            (false, _) => Verdict::Wrong,
            (true, false) => Verdict::Right,
            (true, true) => Verdict::RightButWeak,
        }
    }
}

impl PasswordHash {
    /// A hash as a registry holds it; whether it is one shows when a password is verified.
    pub(crate) fn from_registry(text: String) -> Self {
        Self(text)
    }

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
    use super::*;

    /// Of `correct horse battery`, by another implementation, with `N` = 32768 and 1024.
    const OLDER: &str = "scrypt$32768$8$1$00112233445566778899aabbccddeeff$\
        e01e47deb659caa83525be9c657db93a7b87098b897d4d2382598f96ea0ba4fd\
        a3dba52fcf394dfed0ca8a4d72b0e4a51513b19fec690e5361d0d30c77845595";
    const SMALL: &str = "scrypt$1024$8$1$00112233445566778899AABBCCDDEEFF$\
        36ec655176e7beb08939d0e13bb8cdb6499df0adff48497d5807d3508f7ebbb1\
        c5805e7269c1bd46e1b9cfe538f101e5594bb44aae4b8b539c12ffb1e1579d5c";

    fn offered(text: &str) -> Password {
        Password::offered(text.to_owned())
    }

    fn stored(text: &str) -> PasswordHash {
        PasswordHash::from_registry(text.to_owned())
    }

    #[test]
    fn a_hash_is_argon2id_and_verifies() {
        let (password, text) = Password::generate();
        let hash = password.hash().unwrap();
        assert!(hash.as_str().starts_with("$argon2id$"));
        assert_eq!(offered(&text).verify(Some(&hash)), Verdict::Right);
        assert_eq!(offered("another one").verify(Some(&hash)), Verdict::Wrong);
        assert_eq!(offered("").verify(Some(&hash)), Verdict::Wrong);
    }

    #[test]
    fn older_hashes_verify_and_ask_to_be_replaced() {
        for older in [OLDER, SMALL] {
            assert_eq!(offered("correct horse battery").verify(Some(&stored(older))), Verdict::RightButWeak);
            assert_eq!(offered("correct horse batterz").verify(Some(&stored(older))), Verdict::Wrong);
        }
        let params = argon2::Params::new(4096, 1, 1, None).unwrap();
        let cheap = Argon2::from(params)
            .hash_password(b"correct horse battery", &SaltString::generate(&mut OsRng))
            .unwrap()
            .to_string();
        assert_eq!(offered("correct horse battery").verify(Some(&stored(&cheap))), Verdict::RightButWeak);
    }

    #[test]
    fn one_hash_is_computed_whatever_is_stored() {
        let good = offered("correct horse battery").hash().unwrap();
        let long = "x".repeat(Password::MAX + 1);
        let one = |password: &str, stored: Option<&PasswordHash>| {
            let before = stored::computed();
            let verdict = offered(password).verify(stored);
            assert_eq!(stored::computed() - before, 1, "{stored:?}");
            verdict
        };
        assert_eq!(one("correct horse battery", None), Verdict::Wrong);
        assert_eq!(one("correct horse battery", Some(&good)), Verdict::Right);
        assert_eq!(one("wrong", Some(&good)), Verdict::Wrong);
        assert_eq!(one(&long, Some(&offered(&long).hash().unwrap())), Verdict::Wrong);
        assert_eq!(one("x", Some(&stored("nonsense"))), Verdict::Wrong);
        assert_eq!(one("x", Some(&stored(""))), Verdict::Wrong);
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused_and_nothing_is_shown() {
        assert_eq!(Password::chosen("short".to_owned()).unwrap_err(), BadPassword::TooShort);
        assert_eq!(Password::chosen("x".repeat(1025)).unwrap_err(), BadPassword::TooLong);
        let password = Password::chosen("correct horse battery".to_owned()).unwrap();
        assert_eq!(format!("{password:?} {:?}", stored(OLDER)), "Password(***) PasswordHash(***)");
    }
}
