//! People who log in, for those who administrate the installation.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::page::Page;
use streamhub::password::Password;
use streamhub::users::{NewUser, User, UserStatus};

use crate::answer::{Created, Done, Found, List};
use crate::api::Paging;
use crate::api::auth::{chosen, email_of};
use crate::ask::{Ask, Json, NoFields, Nothing, Optional};
use crate::error::ApiError;
use crate::policy::Platform;
use crate::route::{Route, repeatable, route};

const ALL: &str = "/users";
const ONE: &str = "/users/{user}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, ALL, "user.list", (), list).about("List users"),
        repeatable(Method::POST, ALL, "user.create", (), create, created)
            .about("Make a user")
            .may(&[StatusCode::CONFLICT]),
        route(Method::GET, ONE, "user.show", (), show).about("Show a user"),
        route(Method::PATCH, ONE, "user.set-status", (), update)
            .about("Let a user log in or not; where not, its sessions end")
            .may(&[StatusCode::CONFLICT]),
        route(Method::POST, "/users/{user}/password", "user.reset-password", (), reset_password).about(
            "Give a user another password and end its sessions; one that was not chosen is shown this once",
        ),
        route(
            Method::DELETE,
            "/users/{user}/second-factor",
            "user.remove-second-factor",
            (),
            remove_second_factor,
        )
        .about("Let a user log in by its password alone"),
        route(Method::DELETE, ONE, "user.delete", (), delete)
            .about("Remove a user, its memberships and its sessions")
            .may(&[StatusCode::CONFLICT]),
    ]
}

/// A user that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewUser")]
struct New {
    email: String,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    name: Option<String>,
    /// At least 12 characters; without one the user cannot log in.
    #[serde(default)]
    password: Option<String>,
    /// Whether every tenant is open to it.
    #[serde(default)]
    is_superadmin: bool,
}

/// What is to be changed of a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UserPatch")]
struct Patch {
    status: UserStatus,
}

/// Another password.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Reset {
    /// At least 12 characters; a random one where none is given.
    password: Option<String>,
}

/// Whose password was reset.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WasReset {
    user: User,
    /// How many of its sessions were ended.
    sessions_ended: usize,
    /// The password, where it was not chosen. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// One user.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The user's key or address.
    user: String,
}

async fn list(platform: Platform, ask: Ask<Nothing, Paging>) -> Result<List<User>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let page = Page { limit, offset };
    let part = platform.hub.on_control(move |hub| hub.registry().page_of_users(page)).await?;
    Ok(List::page(part.rows, part.total, limit, offset))
}

async fn create(
    platform: Platform,
    ask: Ask<Nothing, NoFields, Json<New>>,
) -> Result<Created<User>, ApiError> {
    let Json(New { email, name, password, is_superadmin }) = ask.body;
    let email = email_of(&email)?;
    let password = match password {
        Some(password) => Some(platform.hub.hash_password_async(chosen("password", password)?).await?),
        None => None,
    };
    let new = NewUser { email, name, password, is_superadmin };
    Ok(Created(platform.hub.on_control(move |hub| hub.create_user(&new)).await?))
}

/// What was made, where the answer that said so was lost.
async fn created(platform: Platform, id: String) -> Result<Created<User>, ApiError> {
    Ok(Created(platform.hub.on_control(move |hub| hub.registry().user(&id)).await?))
}

async fn show(platform: Platform, ask: Ask<Which>) -> Result<Found<User>, ApiError> {
    let who = ask.path.user;
    Ok(Found(platform.hub.on_control(move |hub| hub.registry().user(&who)).await?))
}

async fn update(platform: Platform, ask: Ask<Which, NoFields, Json<Patch>>) -> Result<Found<User>, ApiError> {
    let (who, Json(Patch { status })) = (ask.path.user, ask.body);
    Ok(Found(platform.hub.on_control(move |hub| hub.set_user_status(&who, status)).await?))
}

async fn reset_password(
    platform: Platform,
    ask: Ask<Which, NoFields, Optional<Reset>>,
) -> Result<Found<WasReset>, ApiError> {
    let (who, Reset { password }) = (ask.path.user, ask.body.0.unwrap_or_default());
    let (password, shown) = if let Some(password) = password {
        (chosen("password", password)?, None)
    } else {
        let (password, text) = Password::generate();
        (password, Some(text))
    };
    let hash = platform.hub.hash_password_async(password).await?;
    let reset = platform.hub.on_control(move |hub| {
        let user = hub.registry().user(&who)?;
        // Of two users with one address, neither is meant.
        hub.reset_password(user.email.as_deref().unwrap_or(&user.id), &hash)
    });
    let (user, sessions_ended) = reset.await?;
    Ok(Found(WasReset { user, sessions_ended, password: shown }))
}

async fn remove_second_factor(platform: Platform, ask: Ask<Which>) -> Result<Done, ApiError> {
    let who = ask.path.user;
    platform.hub.on_control(move |hub| hub.remove_second_factor(&who)).await?;
    Ok(Done)
}

async fn delete(platform: Platform, ask: Ask<Which>) -> Result<Done, ApiError> {
    let who = ask.path.user;
    platform.hub.on_control(move |hub| hub.delete_user(&who)).await?;
    Ok(Done)
}
