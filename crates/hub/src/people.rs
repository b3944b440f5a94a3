//! Tenants, users, tokens and nodes: what the registry knows besides apps.

use streamhub_control::password::PasswordHash;
use streamhub_control::setup::{self, SetupToken};
use streamhub_control::users::{self, Reset, User};

use crate::error::{HubError, Result};
use crate::hub::Hub;

impl Hub {
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
}
