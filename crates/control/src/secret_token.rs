//! Random texts that are shown instead of a password, plain and hashed: two types, so that one is never
//! taken for the other.
//!
//! A token is shown once, when it is made; the database keeps its hash.

use std::fmt;

use argon2::password_hash::rand_core::{OsRng, RngCore};
use data_encoding::BASE64URL_NOPAD;
use rusqlite::Result;
use rusqlite::types::{ToSql, ToSqlOutput};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What [`Token::local`] begins with.
const LOCAL: &str = "sl_";

/// A token, plain: a prefix that says what it is for, and 32 random bytes as base64url.
pub struct Token(String);

/// What is stored of a token: SHA-256 of the whole text in lower-case hexadecimal. The token is random,
/// so that nothing slower is needed.
#[derive(Clone)]
pub struct TokenHash(String);

impl Token {
    /// A new token.
    pub(crate) fn generate(prefix: &str) -> Self {
        let mut bytes = [0; 32];
        OsRng.fill_bytes(&mut bytes);
        Self(format!("{prefix}{}", BASE64URL_NOPAD.encode(&bytes)))
    }

    /// A new token for commands on the server's own machine. No database knows it.
    pub fn local() -> Self {
        Self::generate(LOCAL)
    }

    /// The token itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its hash.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl TokenHash {
    /// The hash of what somebody offers as a token for commands on the server's own machine; none where it
    /// cannot be one.
    pub fn of_local(offered: &str) -> Option<Self> {
        offered.starts_with(LOCAL).then(|| Self::of(offered))
    }

    /// The hash of what somebody offers as a token.
    pub fn of(offered: &str) -> Self {
        Self(format!("{:x}", Sha256::digest(offered)))
    }

    /// A hash as a registry holds it.
    pub(crate) fn from_registry(text: String) -> Self {
        Self(text)
    }

    /// The text that is stored.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes as long whether or not they are equal.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for TokenHash {}

impl ToSql for TokenHash {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.0.as_str().into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_random_and_shows_neither_itself_nor_its_hash() {
        let (one, other) = (Token::generate("sk_"), Token::generate("sk_"));
        assert!(one.reveal().starts_with("sk_") && one.reveal().len() == 46);
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(format!("{one:?} {:?}", one.hash()), "Token(***) TokenHash(***)");
        assert!(one.hash() == TokenHash::of(one.reveal()) && one.hash() != other.hash());
    }

    #[test]
    fn the_hash_is_the_older_systems() {
        let hash = TokenHash::of("abc");
        assert_eq!(hash.0, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
