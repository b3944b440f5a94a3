//! Logging in and out, and the sessions in between.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::{LoggedIn, Login, LoginError, SetUp};
use streamhub::email::Email;
use streamhub::password::Password;
use streamhub::sessions::Session;
use streamhub::tokens::TokenHash;
use streamhub::users::User;

use crate::answer::{Created, Done, Found, List};
use crate::api::Paging;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::{Person, Stranger};
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::POST, "/setup", "setup.redeem", (), set_up)
            .about("Make the first superadmin, with the one-time token that the server printed")
            .may(&[StatusCode::CONFLICT]),
        route(Method::POST, "/auth/login", "session.login", (), login)
            .about("Begin a session; its token is shown this once")
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
        route(Method::POST, "/auth/logout", "session.logout", (), logout).about("End this session"),
        route(Method::GET, "/auth/sessions", "session.list", (), list).about("List the caller's sessions"),
        route(Method::DELETE, "/auth/sessions", "session.revoke-all", (), revoke_all)
            .about("End the caller's sessions, this one too"),
        route(Method::DELETE, "/auth/sessions/{id}", "session.revoke", (), revoke)
            .about("End one of the caller's sessions"),
    ]
}

/// The first superadmin.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SetUp")]
struct First {
    /// The one-time token.
    token: String,
    /// The address to log in with.
    email: String,
    /// At least 12 characters.
    password: String,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    name: Option<String>,
}

/// Credentials.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
    /// A code of the second factor, where the account has one.
    #[serde(default)]
    totp: Option<String>,
}

/// A session that was begun.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Begun {
    /// The session's token. It is not shown again.
    token: String,
    /// When it ends by itself.
    expires_at: Option<String>,
    user: User,
}

/// A session of the caller's.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Own {
    #[serde(flatten)]
    session: Session,
    /// Whether it is the one that asks.
    current: bool,
}

/// One session.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The session's key.
    id: String,
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Throttled(throttled) => {
                Self::TooMany { retry_after: throttled.retry_after.as_secs().max(1) }
            }
            LoginError::Refused => Self::LoginRefused,
            LoginError::SecondFactorRequired => Self::SecondFactor,
            LoginError::Hub(error) => error.into(),
        }
    }
}

async fn set_up(
    stranger: Stranger,
    ask: Ask<Nothing, NoFields, Json<First>>,
) -> Result<Created<User>, ApiError> {
    let Json(First { token, email, password, name }) = ask.body;
    let wanted = SetUp {
        token: TokenHash::of(&token),
        email: email_of(&email)?,
        name,
        password: chosen("password", password)?,
    };
    Ok(Created(stranger.hub.set_up_async(wanted).await?))
}

async fn login(
    stranger: Stranger,
    ask: Ask<Nothing, NoFields, Json<Credentials>>,
) -> Result<Found<Begun>, ApiError> {
    let Json(Credentials { email, password, totp }) = ask.body;
    let login = Login { email, password: Password::offered(password), totp, client: stranger.client };
    let LoggedIn { token, session, user } = stranger.hub.login_async(login).await?;
    Ok(Found(Begun { token: token.reveal().to_owned(), expires_at: session.expires_at, user }))
}

async fn logout(person: Person, _: Ask) -> Result<Done, ApiError> {
    person.hub.on_control(move |hub| hub.log_out(&person.user.id, &person.session)).await?;
    Ok(Done)
}

async fn list(person: Person, ask: Ask<Nothing, Paging>) -> Result<List<Own>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let (user, asking) = (person.user.id, person.session);
    let all = person.hub.on_control(move |hub| hub.sessions(&user)).await?;
    let own = |session: Session| Own { current: session.id == asking, session };
    Ok(List::slice(all.into_iter().map(own), limit, offset))
}

async fn revoke_all(person: Person, _: Ask) -> Result<Done, ApiError> {
    person.hub.on_control(move |hub| hub.revoke_sessions(&person.user.id, None)).await?;
    Ok(Done)
}

async fn revoke(person: Person, ask: Ask<Which>) -> Result<Done, ApiError> {
    let id = ask.path.id;
    person.hub.on_control(move |hub| hub.revoke_session(&person.user.id, &id)).await?;
    Ok(Done)
}

/// An address of a request's body.
pub(super) fn email_of(text: &str) -> Result<Email, ApiError> {
    text.parse().map_err(|error: streamhub::email::BadEmail| {
        ApiError::invalid("invalid_body", format!("email: {error}"))
    })
}

/// A password that somebody chose, of this field of a request's body.
pub(super) fn chosen(field: &str, text: String) -> Result<Password, ApiError> {
    Password::chosen(text).map_err(|error| ApiError::invalid("invalid_body", format!("{field}: {error}")))
}
