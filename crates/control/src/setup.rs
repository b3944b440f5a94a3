//! The one-time token with which the first superadmin of an installation is made.
//!
//! The token itself is shown once and never stored; the database keeps its hash.

use std::fmt;

use rusqlite::{Connection, Result};
use streamhub_engine::meta;

use crate::text::random_text;
use crate::users;

/// Meta key: the hash of the token that counts.
const TOKEN_HASH: &str = "setup_token_hash";

/// A set-up token, plain: 32 random bytes as base64url.
pub struct SetupToken(String);

/// What is stored of a set-up token: BLAKE3 in hexadecimal. The token is random, so that nothing slower is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct SetupTokenHash(String);

impl SetupToken {
    /// A new token.
    pub fn generate() -> Self {
        Self(random_text())
    }

    /// Its hash.
    pub fn hash(&self) -> SetupTokenHash {
        SetupTokenHash(blake3::hash(self.0.as_bytes()).to_hex().to_string())
    }

    /// The token itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Makes a new token the only one that counts, in the caller's transaction. Where a superadmin has a
/// password, none counts any more and there is no new one.
pub fn renew(db: &Connection) -> Result<Option<SetupToken>> {
    if users::is_set_up(db)? {
        meta::remove(db, TOKEN_HASH)?;
        return Ok(None);
    }
    let token = SetupToken::generate();
    meta::set(db, TOKEN_HASH, &token.hash().0)?;
    Ok(Some(token))
}

impl fmt::Debug for SetupToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetupToken(***)")
    }
}

impl fmt::Debug for SetupTokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetupTokenHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_random_and_shows_neither_itself_nor_its_hash() {
        let (one, other) = (SetupToken::generate(), SetupToken::generate());
        assert_eq!(one.reveal().len(), 43);
        assert_ne!(one.reveal(), other.reveal());
        assert_ne!(one.hash(), other.hash());
        assert!(!format!("{one:?} {:?}", one.hash()).contains(one.reveal()));
    }
}
