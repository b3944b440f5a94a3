//! Users and their passwords.

use rusqlite::{Connection, Result, named_params};
use serde::Serialize;
use streamhub_engine::time;

use crate::password::PasswordHash;

/// One user. Hashes and second factors never leave this crate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its key.
    pub id: String,
    /// The address that it logs in with.
    pub email: Option<String>,
    /// Whether every tenant is open to it.
    pub is_superadmin: bool,
    /// `active`, or why not.
    pub status: String,
}

/// How a password's reset ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Done; so many sessions were ended.
    Done {
        /// Whose password it is.
        user: User,
        /// Sessions that were open until now.
        sessions_ended: usize,
    },
    /// Nobody has that address.
    Unknown,
    /// Several users have it, so it is not said whose password is meant.
    Ambiguous,
}

/// The users with this address; case does not count, in any script.
pub fn by_email(db: &Connection, email: &str) -> Result<Vec<User>> {
    let wanted = email.to_lowercase();
    let mut query = db.prepare("SELECT id, email, is_superadmin, status FROM users ORDER BY id")?;
    let users = query.query_map([], |row| {
        Ok(User { id: row.get(0)?, email: row.get(1)?, is_superadmin: row.get(2)?, status: row.get(3)? })
    })?;
    // SQLite knows the case of ASCII letters only.
    let is_meant = |user: &User| user.email.as_ref().is_some_and(|email| email.to_lowercase() == wanted);
    users.filter(|user| user.as_ref().map_or(true, is_meant)).collect()
}

/// Gives the user with this address a new password and ends all its sessions, in the caller's transaction.
pub fn reset_password(db: &Connection, email: &str, hash: &PasswordHash) -> Result<Reset> {
    let mut found = by_email(db, email)?;
    if found.len() > 1 {
        return Ok(Reset::Ambiguous);
    }
    let Some(user) = found.pop() else { return Ok(Reset::Unknown) };
    db.execute(
        "UPDATE users SET password_hash = :hash WHERE id = :id",
        named_params! { ":hash": hash.as_str(), ":id": user.id },
    )?;
    let sessions_ended = db.execute(
        "UPDATE sessions SET revoked_at = :now WHERE user_id = :id AND revoked_at IS NULL",
        named_params! { ":now": time::now(), ":id": user.id },
    )?;
    Ok(Reset::Done { user, sessions_ended })
}

/// Whether any superadmin has a password: before that, a new installation is set up with a token.
pub fn is_set_up(db: &Connection) -> Result<bool> {
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE is_superadmin = 1 AND password_hash IS NOT NULL)",
        [],
        |row| row.get(0),
    )
}
