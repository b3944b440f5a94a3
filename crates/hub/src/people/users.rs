//! Users, their passwords, and the token that makes the first superadmin.

use streamhub_control::password::PasswordHash;
use streamhub_control::setup::{self, SetupToken};
use streamhub_control::users::{self, EmailTaken, NewUser, Reset, User, UserStatus};
use streamhub_control::{Connection, SqlResult};

use crate::error::{HubError, Result};
use crate::hub::Hub;

impl Hub {
    /// Makes a user.
    pub fn create_user(&self, new: &NewUser) -> Result<User> {
        let new = new.clone();
        Ok(self.write(move |db| users::create(db, &new))??)
    }

    /// Lets the user of this key or address log in or not; where not, its sessions end. Refuses to
    /// disable the last superadmin who can log in.
    pub fn set_user_status(&self, who: &str, status: UserStatus) -> Result<User> {
        self.of_user(who, move |db, user| {
            if status == UserStatus::Disabled && users::is_last_superadmin(db, &user.id)? {
                return Ok(Err(last_superadmin(user)));
            }
            users::set_status(db, &user.id, status)?;
            Ok(Ok(User { status: status.to_string(), ..user }))
        })
    }

    /// Removes the user of this key or address, its memberships and sessions, and returns it. Refuses to
    /// remove the last superadmin who can log in.
    pub fn delete_user(&self, who: &str) -> Result<User> {
        self.of_user(who, |db, user| {
            if users::is_last_superadmin(db, &user.id)? {
                return Ok(Err(last_superadmin(user)));
            }
            users::delete(db, &user.id).map(|_| Ok(user))
        })
    }

    /// Gives the user with this address a new password and ends its sessions; returns the user and
    /// how many sessions were ended.
    pub fn reset_password(&self, email: &str, hash: &PasswordHash) -> Result<(User, usize)> {
        let (address, hash) = (email.to_owned(), hash.clone());
        match self.write(move |db| users::reset_password(db, &address, &hash))? {
            Reset::Done { user, sessions_ended } => Ok((user, sessions_ended)),
            Reset::Unknown => Err(HubError::UnknownUser { email: email.to_owned() }),
            Reset::Ambiguous => Err(HubError::AmbiguousUser { email: email.to_owned() }),
        }
    }

    /// A new one-time token for making the first superadmin; those before it count no more. None
    /// where a superadmin can log in with a password already.
    pub fn renew_setup_token(&self) -> Result<Option<SetupToken>> {
        self.write(setup::renew)
    }

    fn of_user<T: Send + 'static>(
        &self,
        who: &str,
        work: impl Fn(&Connection, User) -> SqlResult<Result<T>> + Send + 'static,
    ) -> Result<T> {
        let who = who.to_owned();
        self.write(move |db| match found(db, &who)? {
            Ok(user) => work(db, user),
            Err(refused) => Ok(Err(refused)),
        })?
    }
}

/// The user of this key or address.
pub(crate) fn found(db: &Connection, who: &str) -> SqlResult<Result<User>> {
    if let Some(user) = users::get(db, who)? {
        return Ok(Ok(user));
    }
    let mut found = users::by_email(db, who)?;
    Ok(match (found.pop(), found.is_empty()) {
        (Some(user), true) => Ok(user),
        (Some(_), false) => Err(HubError::AmbiguousUser { email: who.to_owned() }),
        (None, _) => Err(HubError::UnknownUser { email: who.to_owned() }),
    })
}

fn last_superadmin(user: User) -> HubError {
    HubError::LastSuperadmin { user: user.email.unwrap_or(user.id) }
}

impl From<EmailTaken> for HubError {
    fn from(EmailTaken { email }: EmailTaken) -> Self {
        Self::Exists { noun: "user", name: email }
    }
}
