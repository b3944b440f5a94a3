//! The one-time token with which the first superadmin of an installation is made.

use rusqlite::{Connection, Result};
use streamhub_engine::meta;

use crate::secret_token::{Token, TokenHash};
use crate::users::{self, EmailTaken, NewUser, User};

/// Meta key: the hash of the token that counts.
const TOKEN_HASH: &str = "setup_token_hash";

/// Why no superadmin was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What was offered is not the token that counts, or none does.
    #[error("it is not the set-up token, or that was used already")]
    WrongToken,
    /// Somebody has the address already.
    #[error(transparent)]
    EmailTaken(#[from] EmailTaken),
}

/// Makes a new token the only one that counts, in the caller's transaction. Where a superadmin has a
/// password, none counts any more and there is no new one.
pub fn renew(db: &Connection) -> Result<Option<Token>> {
    if users::is_set_up(db)? {
        meta::remove(db, TOKEN_HASH)?;
        return Ok(None);
    }
    // Without a prefix: it is typed or pasted once, and is good for nothing else.
    let token = Token::generate("");
    meta::set(db, TOKEN_HASH, token.hash().as_str())?;
    Ok(Some(token))
}

/// Whether what somebody offers is the token that counts.
pub fn counts(db: &Connection, offered: &TokenHash) -> Result<bool> {
    let counting = meta::get(db, TOKEN_HASH)?.map(TokenHash::from_registry);
    Ok(counting.as_ref() == Some(offered) && !users::is_set_up(db)?)
}

/// Makes the first superadmin for who offers the token that counts, which then counts no more, in the
/// caller's transaction.
pub fn redeem(db: &Connection, offered: &TokenHash, new: &NewUser) -> Result<Result<User, Refused>> {
    if !counts(db, offered)? {
        return Ok(Err(Refused::WrongToken));
    }
    let made = users::create(db, &NewUser { is_superadmin: true, ..new.clone() })?;
    if made.is_ok() {
        meta::remove(db, TOKEN_HASH)?;
    }
    Ok(made.map_err(Refused::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{database, user};
    use crate::password::PasswordHash;

    fn first(email: &str) -> NewUser {
        NewUser {
            email: email.parse().unwrap(),
            name: None,
            password: Some(PasswordHash::from_registry("a hash".to_owned())),
            is_superadmin: false,
        }
    }

    #[test]
    fn a_token_makes_one_superadmin_once() {
        let db = database();
        let wrong = |offered: &TokenHash, email: &str| {
            assert_eq!(redeem(&db, offered, &first(email)).unwrap(), Err(Refused::WrongToken));
        };
        wrong(&TokenHash::of(""), "a@b.c");
        let stale = renew(&db).unwrap().unwrap().hash();
        let token = renew(&db).unwrap().unwrap();
        assert_eq!(token.reveal().len(), 43);
        wrong(&stale, "a@b.c");
        wrong(&TokenHash::of(""), "a@b.c");

        user(&db, "taken@b.c");
        let refused = redeem(&db, &token.hash(), &first("Taken@b.c")).unwrap();
        assert!(matches!(refused, Err(Refused::EmailTaken(_))), "{refused:?}");

        let anna = redeem(&db, &token.hash(), &first("a@b.c")).unwrap().unwrap();
        assert!(anna.is_superadmin);
        wrong(&token.hash(), "b@b.c");
        assert!(renew(&db).unwrap().is_none());
    }

    #[test]
    fn a_token_from_before_another_superadmin_counts_no_more() {
        let db = database();
        let token = renew(&db).unwrap().unwrap();
        users::create(&db, &NewUser { is_superadmin: true, ..first("a@b.c") }).unwrap().unwrap();
        assert_eq!(redeem(&db, &token.hash(), &first("b@b.c")).unwrap(), Err(Refused::WrongToken));
    }
}
