//! Logging in: an address, a password, perhaps a code, and a session for them.
//!
//! An attempt is charged before anything is looked up, exactly one password is hashed whoever is meant, and a refusal
//! is answered at a [fixed time](super::attempts), so that neither the answer nor the work done nor the time that it
//! took tells which accounts exist.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::json;
use streamhub_control::deeds::Outcome;
use streamhub_control::login_failures::{self, Attempt, Throttled};
use streamhub_control::password::{Password, PasswordHash, Verdict};
use streamhub_control::sessions::{self, Client, Session};
use streamhub_control::tokens::Token;
use streamhub_control::totp::{self, Key};
use streamhub_control::users::{self, User, UserStatus};
use streamhub_control::{Connection, SqlResult, audit};

use crate::access::attempts::too_many;
use crate::access::hashing::Hasher;
use crate::acting::{Actor, Deed};
use crate::error::{HubError, Result};
use crate::hub::Hub;

/// The name of the secret under which an older server sealed second factors.
const OLDER_SECRET: &str = "STREAMHUB_JWT_SECRET";

/// What somebody shows to get a session.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::access::{Login, LoginError};
/// use streamhub::password::Password;
/// # use streamhub::users::NewUser;
///
/// # let hash = hub.hash_password(&Password::chosen("correct horse battery".to_owned())?)?;
/// # let email = "anna@example.org".parse()?;
/// # hub.create_user(&NewUser { email, name: None, password: Some(hash), is_superadmin: false })?;
/// let offered = Password::offered("correct horse battery".to_owned());
/// let logged_in = hub.login(&Login::new("Anna@Example.org", offered))?;
/// assert!(hub.authenticate(logged_in.token.reveal(), None)?.is_some());
///
/// let guess = Login::new("anna@example.org", Password::offered("a guess".to_owned()));
/// assert!(matches!(hub.login(&guess), Err(LoginError::Refused)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Login {
    /// The address of an account; case does not count.
    pub email: String,
    /// Its password.
    pub password: Password,
    /// A code of its second factor, where it has one.
    pub totp: Option<String>,
    /// From where.
    pub client: Client,
}

/// A session that was begun.
#[derive(Debug)]
pub struct LoggedIn {
    /// Its token, for the only time.
    pub token: Token,
    /// The session.
    pub session: Session,
    /// Whose it is.
    pub user: User,
}

/// Why somebody is not let in, or a credential not accepted.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There were too many attempts.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// There is no such account, it may not log in, or that is not its password: which of them is not said.
    #[error("what was shown is not accepted")]
    Refused,
    /// The password is right, and a code of the second factor is missing or wrong.
    #[error("a code of the second factor is needed")]
    SecondFactorRequired,
    /// It could not be tried.
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// What decides a login, once the password is verified.
struct Decision {
    attempt: Attempt,
    account: Option<Account>,
    knows_password: bool,
    code: Option<String>,
    key: Option<Key>,
    client: Client,
    lifetime: Duration,
    stranger: Actor,
}

/// An account, and what its password is verified against.
pub(super) struct Account {
    pub(super) id: String,
    pub(super) stored: Option<PasswordHash>,
}

impl Login {
    /// An address and a password, from a client of which nothing is known.
    pub fn new(email: impl Into<String>, password: Password) -> Self {
        Self { email: email.into(), password, totp: None, client: Client::default() }
    }
}

impl Hub {
    /// Begins a session for who shows the right credentials. Each attempt leaves an audit entry, and of those that are
    /// throttled the first one does.
    ///
    /// Blocks for the hashing of a password, tens of milliseconds and more, and where it is refused until
    /// [`HubConfig::refusal_step`](crate::HubConfig::refusal_step) after it began: on the caller's own thread, with
    /// nothing held that others wait for.
    pub fn login(&self, login: &Login) -> Result<LoggedIn, LoginError> {
        self.paced(|| self.hashing(|hasher| self.log_in(hasher, login)))
    }

    /// As [`login`](Self::login), for async callers, whose runtime needs its timer enabled. Who goes away while a
    /// refusal is kept back leaves nothing behind.
    pub async fn login_async(&self, login: Login) -> Result<LoggedIn, LoginError> {
        self.paced_async(self.hashing_async(move |hub, hasher| hub.log_in(hasher, &login))).await
    }

    fn log_in(&self, hasher: Hasher<'_>, login: &Login) -> Result<LoggedIn, LoginError> {
        let attempt = Attempt::new(&login.email, &login.client);
        let request = self.actor.as_ref().and_then(|actor| actor.request.clone());
        let stranger = Actor { address: login.client.address, request, ..Actor::new("anonymous") };
        self.charge(&attempt, {
            let (stranger, email) = (stranger.clone(), login.email.clone());
            move |db| Ok(Some(too_many(deed(find(db, &email)?.as_ref())).entry(&stranger, Outcome::Refused)))
        })?;
        let account = self.read(|db| find(db, &login.email))?;
        let stored = account.as_ref().and_then(|account| account.stored.clone());
        let verdict = hasher.verify(&login.password, stored.as_ref());
        let decision = Decision {
            attempt,
            account,
            knows_password: verdict != Verdict::Wrong,
            code: login.totp.clone(),
            key: self.totp_key(login, verdict)?,
            client: login.client.clone(),
            lifetime: self.shared.config.session_lifetime,
            stranger,
        };
        let logged_in = self.note_down(move |db| decision.carry_out(db))??;
        if let (Verdict::RightButWeak, Some(weak)) = (verdict, stored) {
            self.strengthen(hasher, &logged_in.user, &login.password, weak);
        }
        Ok(logged_in)
    }

    /// The key of second factors; it is looked for only where somebody shows a code and the right password.
    fn totp_key(&self, login: &Login, verdict: Verdict) -> Result<Option<Key>> {
        if verdict == Verdict::Wrong || login.totp.is_none() {
            return Ok(None);
        }
        Ok(self.secret(OLDER_SECRET)?.map(|secret| Key::of_older(secret.reveal())))
    }

    /// Stores a hash of today's kind in the place of a weaker one. Where that fails, the next login tries again.
    fn strengthen(&self, hasher: Hasher<'_>, user: &User, password: &Password, weak: PasswordHash) {
        let (id, better) = (user.id.clone(), hasher.hash(password));
        if let Err(error) = self.note_down(move |db| users::rehash(db, &id, &weak, &better)) {
            tracing::warn!(user.id, %error, "a weak password hash stays");
        }
    }
}

/// The account that an address means; none where several have it, since it is not known which is meant.
fn find(db: &Connection, email: &str) -> SqlResult<Option<Account>> {
    match &users::by_email(db, email)?[..] {
        [user] => Ok(Some(Account { id: user.id.clone(), stored: users::password(db, &user.id)? })),
        _ => Ok(None),
    }
}

/// What the audit calls an attempt to log in to an account.
fn deed(account: Option<&Account>) -> Deed {
    let deed = Deed::of("session.login");
    match account {
        Some(account) => deed.target(&account.id),
        None => deed,
    }
}

impl Decision {
    /// Decides, says so in the audit and begins the session, in one transaction.
    fn carry_out(&self, db: &Connection) -> SqlResult<Result<LoggedIn, LoginError>> {
        let admitted = self.admit(db)?;
        self.note(db, &admitted)?;
        let user = match admitted {
            Ok(user) => user,
            Err(refused) => return Ok(Err(refused)),
        };
        login_failures::succeeded(db, &self.attempt)?;
        let (session, token) = sessions::create(db, &user, &self.client, self.lifetime)?;
        Ok(Ok(LoggedIn { token, session, user }))
    }

    fn admit(&self, db: &Connection) -> SqlResult<Result<User, LoginError>> {
        let Some(account) = self.account.as_ref().filter(|_| self.knows_password) else {
            return Ok(Err(LoginError::Refused));
        };
        let is_unchanged = account.is_unchanged(db)?;
        let may_enter = |user: &User| is_unchanged && user.status == UserStatus::Active.as_str();
        let Some(user) = users::get(db, &account.id)?.filter(may_enter) else {
            return Ok(Err(LoginError::Refused));
        };
        let code = self.code.as_deref();
        Ok(match totp::verify(db, &user.id, code, self.key.as_ref(), SystemTime::now())? {
            totp::Verdict::Off | totp::Verdict::Accepted => Ok(user),
            totp::Verdict::Refused => Err(LoginError::SecondFactorRequired),
        })
    }

    fn note(&self, db: &Connection, admitted: &Result<User, LoginError>) -> SqlResult<()> {
        let (actor, outcome) = match admitted {
            Ok(user) => {
                let principal = format!("user:{}", user.id);
                (Actor { principal, ..self.stranger.clone() }, Outcome::Done)
            }
            Err(_) => (self.stranger.clone(), Outcome::Refused),
        };
        let mut deed = deed(self.account.as_ref());
        if let Err(LoginError::SecondFactorRequired) = admitted {
            deed = deed.detail(json!({ "code": "totp_required" }));
        }
        audit::append(db, &deed.entry(&actor, outcome)).map(drop)
    }
}

impl Account {
    /// Whether the password is still the one that was verified: somebody may have reset it meanwhile, which
    /// ended the sessions that there were.
    pub(super) fn is_unchanged(&self, db: &Connection) -> SqlResult<bool> {
        users::password(db, &self.id).map(|stored| stored == self.stored)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("email", &self.email)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::NewUser;
    use crate::{HubConfig, Volatile, progress::Silent};

    #[test]
    fn what_changes_while_a_password_is_verified_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data"));
        config.volatile = Volatile::Permit;
        let hub = Hub::open(&config, &Silent).unwrap();
        let made = |email: &str| {
            let password = Some(Password::generate().0.hash().unwrap());
            let new = NewUser { email: email.parse().unwrap(), name: None, password, is_superadmin: false };
            hub.create_user(&new).unwrap()
        };
        let decided = |email: &'static str, meanwhile: &dyn Fn()| {
            let decision = Decision {
                attempt: Attempt::new(email, &Client::default()),
                account: hub.read(|db| find(db, email)).unwrap(),
                knows_password: true,
                code: None,
                key: None,
                client: Client::default(),
                lifetime: config.session_lifetime,
                stranger: Actor::new("anonymous"),
            };
            meanwhile();
            hub.write(move |db| decision.carry_out(db)).unwrap()
        };
        let users = ["a@b.c", "b@b.c", "c@b.c", "d@b.c"].map(made);
        assert!(decided("a@b.c", &|| ()).is_ok());
        let other = Password::generate().0.hash().unwrap();
        let refused = [
            decided("b@b.c", &|| drop(hub.reset_password("b@b.c", &other).unwrap())),
            decided("c@b.c", &|| drop(hub.set_user_status("c@b.c", UserStatus::Disabled).unwrap())),
            decided("d@b.c", &|| drop(hub.delete_user("d@b.c").unwrap())),
        ];
        assert!(refused.iter().all(|refused| matches!(refused, Err(LoginError::Refused))), "{refused:?}");
        for user in &users[1..] {
            assert!(hub.sessions(&user.id).unwrap().is_empty());
        }
    }
}
