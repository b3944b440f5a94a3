//! The first superadmin, made with the one-time set-up token.

use streamhub_control::email::Email;
use streamhub_control::password::Password;
use streamhub_control::setup::{self, Refused};
use streamhub_control::tokens::TokenHash;
use streamhub_control::users::{NewUser, User};

use crate::access::hashing::Hasher;
use crate::access::login::LoginError;
use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::check_name;

/// What the first superadmin shows and wants to be.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::access::SetUp;
/// use streamhub::password::Password;
///
/// let token = hub.renew_setup_token()?.ok_or("there is a superadmin already")?;
/// let user = hub.set_up(&SetUp {
///     token: token.hash(),
///     email: "anna@example.org".parse()?,
///     name: Some("Anna".to_owned()),
///     password: Password::chosen("correct horse battery".to_owned())?,
/// })?;
/// assert!(user.is_superadmin);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SetUp {
    /// The token, as it is offered.
    pub token: TokenHash,
    /// The address to log in with.
    pub email: Email,
    /// A name for people.
    pub name: Option<String>,
    /// The password.
    pub password: Password,
}

impl Hub {
    /// Makes the first superadmin. The token counts once; any other is [`LoginError::Refused`].
    ///
    /// Blocks for the hashing of a password, tens of milliseconds and more.
    pub fn set_up(&self, wanted: &SetUp) -> Result<User, LoginError> {
        self.hashing(|hasher| self.redeem(hasher, wanted))
    }

    /// As [`set_up`](Self::set_up), for async callers.
    pub async fn set_up_async(&self, wanted: SetUp) -> Result<User, LoginError> {
        self.hashing_async(move |hub, hasher| hub.redeem(hasher, &wanted)).await
    }

    fn redeem(&self, hasher: Hasher<'_>, wanted: &SetUp) -> Result<User, LoginError> {
        check_name("name", wanted.name.as_ref())?;
        // Before anything is hashed, since anybody may ask.
        if !self.read(|db| setup::counts(db, &wanted.token))? {
            return Err(LoginError::Refused);
        }
        let new = NewUser {
            email: wanted.email.clone(),
            name: wanted.name.clone(),
            password: Some(hasher.hash(&wanted.password)),
            is_superadmin: true,
        };
        let offered = wanted.token.clone();
        let redeemed = self.try_change(Deed::of("setup.redeem"), move |db, deed| {
            let redeemed = setup::redeem(db, &offered, &new)?;
            if let Ok(user) = &redeemed {
                deed.aim(&user.id);
            }
            Ok(redeemed)
        })?;
        redeemed.map_err(|refused| match refused {
            Refused::WrongToken => LoginError::Refused,
            Refused::EmailTaken(taken) => HubError::from(taken).into(),
        })
    }
}
