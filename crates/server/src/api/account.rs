//! A person's own account.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub::access::{AddressChange, PasswordChange, Who};
use streamhub::change::required;
use streamhub::members::Role;
use streamhub::password::Password;
use streamhub::users::User;
use streamhub::{Change, TenantId};

use crate::answer::{Done, Found};
use crate::api::auth::{chosen, email_of};
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::Person;
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/account", "account.show", (), show).about("Show the caller's account"),
        route(Method::PATCH, "/account", "account.change", (), change)
            .about("Change the caller's name, or the address to log in with; with the address, other sessions end")
            .may(&[StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS]),
        route(Method::POST, "/account/password", "account.change-password", (), password)
            .about("Change the caller's password; other sessions end")
            .may(&[StatusCode::TOO_MANY_REQUESTS]),
    ]
}

/// An account, and where it belongs.
#[derive(Debug, Serialize, JsonSchema)]
struct Account {
    #[serde(flatten)]
    user: User,
    memberships: Vec<Membership>,
}

/// What somebody is in a tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Membership {
    tenant_id: TenantId,
    role: Role,
}

/// What is to be changed of an account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountPatch")]
struct Patch {
    /// The address to log in with; it takes the password.
    #[serde(default, deserialize_with = "required")]
    #[schemars(with = "String")]
    email: Option<String>,
    /// The password, where there is another address.
    #[serde(default, deserialize_with = "required")]
    #[schemars(with = "String")]
    password: Option<String>,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    name: Change<String>,
}

/// A password, and the one that is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Passwords {
    old_password: String,
    /// At least 12 characters.
    new_password: String,
}

async fn show(person: Person, _: Ask) -> Result<Found<Account>, ApiError> {
    let Who::User { user, roles, .. } = person.principal.who() else { return Err(ApiError::Forbidden) };
    let membership =
        |(tenant, role): &(TenantId, Role)| Membership { tenant_id: tenant.clone(), role: *role };
    Ok(Found(Account { user: user.clone(), memberships: roles.iter().map(membership).collect() }))
}

async fn change(person: Person, ask: Ask<Nothing, NoFields, Json<Patch>>) -> Result<Found<User>, ApiError> {
    let Json(Patch { email, password, name }) = ask.body;
    let Person { hub, user, session, client, .. } = person;
    Ok(Found(match (email, password) {
        (Some(email), Some(password)) => {
            let change = AddressChange {
                user_id: user.id,
                password: Password::offered(password),
                email: email_of(&email)?,
                name,
                session: Some(session),
                client,
            };
            hub.change_address_async(change).await?
        }
        (None, None) => hub.on_control(move |hub| hub.change_name(&user.id, &name)).await?,
        _ => {
            return Err(ApiError::invalid(
                "invalid_body",
                "password: it is needed where email is given, and only there",
            ));
        }
    }))
}

async fn password(person: Person, ask: Ask<Nothing, NoFields, Json<Passwords>>) -> Result<Done, ApiError> {
    let Json(Passwords { old_password, new_password }) = ask.body;
    let change = PasswordChange {
        user_id: person.user.id,
        old: Password::offered(old_password),
        new: chosen("newPassword", new_password)?,
        session: Some(person.session),
        client: person.client,
    };
    person.hub.change_password_async(change).await?;
    Ok(Done)
}
