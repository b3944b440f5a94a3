//! What people change of their own account: what they log in with, for who knows the password, and their name.

use streamhub_control::audit::Entry;
use streamhub_control::deeds::Outcome;
use streamhub_control::email::Email;
use streamhub_control::login_failures::{self, Attempt};
use streamhub_control::password::{Password, Verdict};
use streamhub_control::sessions::{self, Client};
use streamhub_control::users::{self, User, UserChange};
use streamhub_control::{Connection, SqlResult};
use streamhub_engine::Change;

use crate::access::attempts::too_many;
use crate::access::hashing::Hasher;
use crate::access::login::{Account, LoginError};
use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::check_name;

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
    /// From where.
    pub client: Client,
}

/// Another address to log in with.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::Change;
/// use streamhub::access::AddressChange;
/// use streamhub::password::Password;
/// # use streamhub::users::NewUser;
///
/// # let hash = hub.hash_password(&Password::chosen("correct horse battery".to_owned())?)?;
/// # let email = "anna@example.org".parse()?;
/// # let user = hub.create_user(&NewUser { email, name: None, password: Some(hash), is_superadmin: false })?;
/// let changed = hub.change_address(&AddressChange {
///     user_id: user.id,
///     password: Password::offered("correct horse battery".to_owned()),
///     email: "anna@example.net".parse()?,
///     name: Change::Keep,
///     session: None,
///     client: Default::default(),
/// })?;
/// assert_eq!(changed.email.as_deref(), Some("anna@example.net"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AddressChange {
    /// Whose it is.
    pub user_id: String,
    /// The account's password.
    pub password: Password,
    /// The address.
    pub email: Email,
    /// What becomes of the name for people with it.
    pub name: Change<String>,
    /// The session in which it is changed, which is to stay open.
    pub session: Option<String>,
    /// From where.
    pub client: Client,
}

/// That somebody showed the password of an account.
struct Proof {
    account: Account,
    attempt: Attempt,
}

impl Hub {
    /// Changes the name of an account.
    pub fn change_name(&self, user_id: &str, name: &Change<String>) -> Result<User> {
        check_name("name", name.given())?;
        let (id, change) = (user_id.to_owned(), UserChange { name: name.clone(), email: None });
        self.change(change_of(user_id), move |db, _| update(db, &id, &change))
    }

    /// Gives an account another address to log in with, for who knows the password, and ends its other sessions.
    /// Throttled like a login. That somebody has the address already is said so seldom that nobody finds
    /// out who is here: each change counts as an attempt, whatever comes of it.
    ///
    /// Blocks for the hashing of a password, tens of milliseconds and more.
    pub fn change_address(&self, change: &AddressChange) -> Result<User, LoginError> {
        self.hashing(|hasher| self.replace_address(hasher, change))
    }

    /// As [`change_address`](Self::change_address), for async callers.
    pub async fn change_address_async(&self, change: AddressChange) -> Result<User, LoginError> {
        self.hashing_async(move |hub, hasher| hub.replace_address(hasher, &change)).await
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

    fn replace_address(&self, hasher: Hasher<'_>, change: &AddressChange) -> Result<User, LoginError> {
        check_name("name", change.name.given())?;
        let (id, deed) = (change.user_id.clone(), change_of(&change.user_id));
        let proof = self.prove(hasher, &deed, &id, &change.password, &change.client)?;
        let count = self.charging(&Attempt::of_user(&id, &change.client), self.too_many(&deed));
        let session = change.session.clone();
        let change = UserChange { email: Some(change.email.clone()), name: change.name.clone() };
        self.try_change(deed, move |db, _| {
            if !proof.holds(db)? {
                return Ok(Err(LoginError::Refused));
            }
            if let Err(throttled) = count(db)? {
                return Ok(Err(throttled.into()));
            }
            let changed = update(db, &id, &change)?;
            if changed.is_ok() {
                sessions::revoke_all_of(db, &id, session.as_deref())?;
            }
            Ok(changed.map_err(LoginError::from))
        })?
    }

    fn replace_password(&self, hasher: Hasher<'_>, change: &PasswordChange) -> Result<usize, LoginError> {
        let (id, deed) = (&change.user_id, Deed::of("account.change-password").target(&change.user_id));
        let proof = self.prove(hasher, &deed, id, &change.old, &change.client)?;
        let (new, session) = (hasher.hash(&change.new), change.session.clone());
        self.try_change(deed, move |db, _| {
            if !proof.holds(db)? {
                return Ok(Err(LoginError::Refused));
            }
            users::set_password(db, &proof.account.id, &new, session.as_deref()).map(Ok)
        })?
    }

    /// Verifies the password of who wants to do something with an account.
    fn prove(
        &self,
        hasher: Hasher<'_>,
        deed: &Deed,
        id: &str,
        password: &Password,
        client: &Client,
    ) -> Result<Proof, LoginError> {
        let user = self.read(|db| users::get(db, id))?.ok_or_else(|| not_found(id))?;
        let attempt = Attempt::new(user.email.as_ref().unwrap_or(&user.id), client);
        self.charge(&attempt, self.too_many(deed))?;
        let stored = self.read(|db| users::password(db, id))?;
        if hasher.verify(password, stored.as_ref()) == Verdict::Wrong {
            return Err(LoginError::Refused);
        }
        Ok(Proof { account: Account { id: user.id, stored }, attempt })
    }

    /// What the audit says where there were too many attempts to do something.
    fn too_many(&self, deed: &Deed) -> impl Fn(&Connection) -> SqlResult<Option<Entry>> + Send + use<> {
        let (actor, deed) = (self.actor.clone(), too_many(deed.clone()));
        move |_| Ok(actor.as_ref().map(|actor| deed.entry(actor, Outcome::Refused)))
    }
}

impl Proof {
    /// Whether it still holds; then the attempt to show it did not fail.
    fn holds(&self, db: &Connection) -> SqlResult<bool> {
        let holds = self.account.is_unchanged(db)?;
        if holds {
            login_failures::succeeded(db, &self.attempt)?;
        }
        Ok(holds)
    }
}

fn change_of(user_id: &str) -> Deed {
    Deed::of("account.change").target(user_id)
}

fn update(db: &Connection, id: &str, change: &UserChange) -> SqlResult<Result<User>> {
    Ok(match users::update(db, id, change)? {
        Ok(user) => user.ok_or_else(|| not_found(id)),
        Err(taken) => Err(taken.into()),
    })
}

fn not_found(id: &str) -> HubError {
    HubError::NotFound { noun: "user", name: id.to_owned() }
}
