//! What people change of their own account.

use std::net::IpAddr;

use streamhub_control::login_failures::{self, Attempt};
use streamhub_control::password::{Password, Verdict};
use streamhub_control::users::{self, User, UserChange};

use crate::access::hashing::Hasher;
use crate::access::login::{Account, LoginError};
use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::refuse_blank;

/// A new password for one's own account.
#[derive(Debug)]
pub struct PasswordChange {
    /// Whose it is.
    pub user_id: String,
    /// The password that counts until then.
    pub old: Password,
    /// The one that counts from then on.
    pub new: Password,
    /// The session in which it is changed, which is to stay open.
    pub session: Option<String>,
    /// From which address, where that is known.
    pub address: Option<IpAddr>,
}

impl Hub {
    /// Changes the name or the address of an account.
    pub fn change_account(&self, user_id: &str, change: &UserChange) -> Result<User> {
        if let Some(name) = &change.name {
            refuse_blank("a user", name)?;
        }
        let (id, change) = (user_id.to_owned(), change.clone());
        self.change(Deed::of("account.change").target(user_id), move |db, _| {
            Ok(match users::update(db, &id, &change)? {
                Ok(user) => user.ok_or_else(|| not_found(&id)),
                Err(taken) => Err(taken.into()),
            })
        })
    }

    /// Gives an account a new password, for who knows the old one, and ends its other sessions; returns how
    /// many. Throttled like a login.
    ///
    /// Blocks for the hashing of two passwords, tens of milliseconds and more.
    pub fn change_password(&self, change: &PasswordChange) -> Result<usize, LoginError> {
        self.hashing(|hasher| self.replace_password(hasher, change))
    }

    /// As [`change_password`](Self::change_password), for async callers.
    pub async fn change_password_async(&self, change: PasswordChange) -> Result<usize, LoginError> {
        self.hashing_async(move |hub, hasher| hub.replace_password(hasher, &change)).await
    }

    fn replace_password(&self, hasher: Hasher<'_>, change: &PasswordChange) -> Result<usize, LoginError> {
        let id = &change.user_id;
        let user = self.read(|db| users::get(db, id))?.ok_or_else(|| not_found(id))?;
        let attempt = Attempt::new(user.email.as_ref().unwrap_or(&user.id), change.address);
        self.charge(&attempt)?;
        let stored = self.read(|db| users::password(db, id))?;
        if hasher.verify(&change.old, stored.as_ref()) == Verdict::Wrong {
            return Err(LoginError::Refused);
        }
        let (account, new) = (Account { id: user.id, stored }, hasher.hash(&change.new));
        let session = change.session.clone();
        self.try_change(Deed::of("account.change-password").target(id), move |db, _| {
            if !account.is_unchanged(db)? {
                return Ok(Err(LoginError::Refused));
            }
            login_failures::succeeded(db, &attempt)?;
            users::set_password(db, &account.id, &new, session.as_deref()).map(Ok)
        })?
    }
}

fn not_found(id: &str) -> HubError {
    HubError::NotFound { noun: "user", name: id.to_owned() }
}
