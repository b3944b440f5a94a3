//! Users, their passwords, and the token that makes the first superadmin.

use streamhub_control::password::PasswordHash;
use streamhub_control::setup;
use streamhub_control::tokens::Token;
use streamhub_control::users::{self, EmailTaken, NewUser, Reset, User, UserStatus};
use streamhub_control::{Connection, SqlResult};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::check_name;

impl Hub {
    /// Makes a user.
    pub fn create_user(&self, new: &NewUser) -> Result<User> {
        check_name("name", new.name.as_ref())?;
        let new = new.clone();
        self.change(Deed::of("user.create"), move |db, deed| {
            let created = users::create(db, &new)?;
            if let Ok(user) = &created {
                deed.aim(&user.id);
            }
            Ok(created)
        })
    }

    /// Lets the user of this key or address log in or not; where not, its sessions end. Refuses to
    /// disable the last superadmin who can log in.
    pub fn set_user_status(&self, who: &str, status: UserStatus) -> Result<User> {
        self.of_user("user.set-status", who, move |db, user| {
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
        self.of_user("user.delete", who, |db, user| {
            if users::is_last_superadmin(db, &user.id)? {
                return Ok(Err(last_superadmin(user)));
            }
            users::delete(db, &user.id).map(|_| Ok(user))
        })
    }

    /// Turns the second factor of the user of this key or address off, for who lost it.
    pub fn remove_second_factor(&self, who: &str) -> Result<User> {
        self.of_user("user.remove-second-factor", who, |db, user| {
            users::remove_second_factor(db, &user.id).map(|_| Ok(user))
        })
    }

    /// Gives the user with this address a new password and ends its sessions; returns the user and
    /// how many sessions were ended.
    pub fn reset_password(&self, email: &str, hash: &PasswordHash) -> Result<(User, usize)> {
        let (address, hash) = (email.to_owned(), hash.clone());
        self.change(Deed::of("user.reset-password"), move |db, deed| {
            let email = || address.clone();
            Ok(match users::reset_password(db, &address, &hash)? {
                Reset::Done { user, sessions_ended } => {
                    deed.aim(&user.id);
                    Ok((user, sessions_ended))
                }
                Reset::Unknown => Err(HubError::UnknownUser { email: email() }),
                Reset::Ambiguous => Err(HubError::AmbiguousUser { email: email() }),
            })
        })
    }

    /// A new one-time token for making the first superadmin; those before it count no more. None
    /// where a superadmin can log in with a password already.
    pub fn renew_setup_token(&self) -> Result<Option<Token>> {
        self.change(Deed::of("setup.renew-token"), |db, _| setup::renew(db).map(Ok::<_, HubError>))
    }

    fn of_user<T: Send + 'static>(
        &self,
        action: &'static str,
        who: &str,
        work: impl Fn(&Connection, User) -> SqlResult<Result<T>> + Send + 'static,
    ) -> Result<T> {
        let who = who.to_owned();
        self.change(Deed::of(action), move |db, deed| match found(db, &who)? {
            Ok(user) => {
                deed.aim(&user.id);
                work(db, user)
            }
            Err(refused) => Ok(Err(refused)),
        })
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
