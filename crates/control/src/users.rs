//! Users and their passwords.

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::{Change, time};

use crate::email::Email;
use crate::login_failures;
use crate::page::{Page, Part, Query};
use crate::password::PasswordHash;
use crate::sessions;
use streamhub_engine::words;

/// One user. Hashes and second factors are not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its key.
    pub id: String,
    /// The address that it logs in with.
    pub email: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// Whether every tenant is open to it.
    pub is_superadmin: bool,
    /// `active`, or why not; an older registry may hold other words than [`UserStatus`] has.
    pub status: String,
    /// When it was made.
    pub created_at: String,
}

/// A user that is to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The address that it will log in with.
    pub email: Email,
    /// A name for people.
    pub name: Option<String>,
    /// Its password; without one it cannot log in yet.
    pub password: Option<PasswordHash>,
    /// Whether every tenant is open to it.
    pub is_superadmin: bool,
}

/// What is to be changed of a user; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The address that it logs in with.
    pub email: Option<Email>,
    /// A name for people.
    pub name: Change<String>,
}

words! {
    /// Whether a user may log in.
    pub enum UserStatus {
        /// It may.
        Active = "active",
        /// It may not, until an administrator says so.
        Disabled = "disabled",
    }
}

/// Somebody has that address already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is already a user {email}")]
pub struct EmailTaken {
    /// The address, as it was asked for.
    pub email: String,
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

macro_rules! columns {
    () => {
        "id, email, name, is_superadmin, status, created_at"
    };
}

const SELECT: &str = concat!("SELECT ", columns!(), " FROM users");

/// Those whose address is this one in small letters; one of ASCII is nothing else in any other case.
const IN_ASCII: &str =
    concat!("SELECT ", columns!(), " FROM users WHERE lower(email) = ?1 AND email NOT GLOB '*[^ -~]*'");

/// Those whose address has other letters too, which are few.
const BEYOND_ASCII: &str = concat!("SELECT ", columns!(), " FROM users WHERE email GLOB '*[^ -~]*'");

/// All users, by key.
pub fn list(db: &Connection) -> Result<Vec<User>> {
    db.prepare(&format!("{SELECT} ORDER BY id"))?.query_map([], read)?.collect()
}

/// A page of the users, by key.
pub fn page(db: &Connection, page: Page) -> Result<Part<User>> {
    Query { columns: columns!(), from: "users", order: "id" }.page(db, page, &[], read)
}

/// The user of this key.
pub fn get(db: &Connection, id: &str) -> Result<Option<User>> {
    db.prepare_cached(&format!("{SELECT} WHERE id = :id"))?
        .query_row(named_params! { ":id": id }, read)
        .optional()
}

/// The users with this address, by key; case does not count, in any script.
pub fn by_email(db: &Connection, email: &str) -> Result<Vec<User>> {
    let wanted = without_case(email);
    let mut users: Vec<User> =
        db.prepare_cached(IN_ASCII)?.query_map([&wanted], read)?.collect::<Result<_>>()?;
    // SQLite knows the case of ASCII letters only.
    for user in db.prepare_cached(BEYOND_ASCII)?.query_map([], read)? {
        let user = user?;
        if user.email.as_ref().is_some_and(|email| without_case(email) == wanted) {
            users.push(user);
        }
    }
    users.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(users)
}

/// Makes a user, in the caller's transaction: no two have one address, whatever its case.
pub fn create(db: &Connection, new: &NewUser) -> Result<Result<User, EmailTaken>> {
    if !by_email(db, new.email.as_str())?.is_empty() {
        return Ok(Err(EmailTaken { email: new.email.to_string() }));
    }
    db.query_row(
        "INSERT INTO users (id, email, name, is_superadmin, password_hash, status, created_at) \
         VALUES (:id, :email, :name, :superadmin, :hash, :status, :now) \
         RETURNING id, email, name, is_superadmin, status, created_at",
        named_params! {
            ":id": format!("usr_{}", streamhub_engine::new_uuid()),
            ":email": new.email.as_str(),
            ":name": new.name,
            ":superadmin": new.is_superadmin,
            ":hash": new.password.as_ref().map(PasswordHash::as_str),
            ":status": UserStatus::Active,
            ":now": time::now(),
        },
        read,
    )
    .map(Ok)
}

/// Changes a user, in the caller's transaction: no two get one address. None where there is no such user.
pub fn update(db: &Connection, id: &str, change: &UserChange) -> Result<Result<Option<User>, EmailTaken>> {
    if let Some(email) = &change.email
        && by_email(db, email.as_str())?.iter().any(|other| other.id != id)
    {
        return Ok(Err(EmailTaken { email: email.to_string() }));
    }
    db.query_row(
        "UPDATE users SET email = coalesce(:email, email), name = CASE WHEN :stays THEN name ELSE :name END \
         WHERE id = :id RETURNING id, email, name, is_superadmin, status, created_at",
        named_params! {
            ":id": id,
            ":email": change.email.as_ref().map(Email::as_str),
            ":stays": change.name == Change::Keep,
            ":name": change.name.given(),
        },
        read,
    )
    .optional()
    .map(Ok)
}

/// Lets a user log in or not; where not, its sessions end. Says whether there is such a user.
pub fn set_status(db: &Connection, id: &str, status: UserStatus) -> Result<bool> {
    let changed = db.execute(
        "UPDATE users SET status = :status WHERE id = :id",
        named_params! { ":id": id, ":status": status },
    )?;
    if status == UserStatus::Disabled {
        sessions::revoke_all_of(db, id, None)?;
    }
    Ok(changed == 1)
}

/// Removes a user with its memberships and sessions. Says whether there was one.
pub fn delete(db: &Connection, id: &str) -> Result<bool> {
    db.execute("DELETE FROM sessions WHERE user_id = :id", named_params! { ":id": id })?;
    db.execute("DELETE FROM users WHERE id = :id", named_params! { ":id": id }).map(|deleted| deleted == 1)
}

/// What is stored of a user's password, to verify one against.
pub fn password(db: &Connection, id: &str) -> Result<Option<PasswordHash>> {
    db.query_row("SELECT password_hash FROM users WHERE id = :id", named_params! { ":id": id }, |row| {
        row.get::<_, Option<String>>(0)
    })
    .optional()
    .map(|hash| hash.flatten().map(PasswordHash::from_registry))
}

/// Puts a better hash of the same password in the place of the one that was verified. Says whether that
/// was still there.
pub fn rehash(db: &Connection, id: &str, verified: &PasswordHash, better: &PasswordHash) -> Result<bool> {
    db.execute(
        "UPDATE users SET password_hash = :better WHERE id = :id AND password_hash = :verified",
        named_params! { ":id": id, ":verified": verified.as_str(), ":better": better.as_str() },
    )
    .map(|changed| changed == 1)
}

/// Gives a user a new password and ends its sessions, but for one that is to stay; returns how many.
pub fn set_password(
    db: &Connection,
    id: &str,
    hash: &PasswordHash,
    keep_session: Option<&str>,
) -> Result<usize> {
    db.execute(
        "UPDATE users SET password_hash = :hash WHERE id = :id",
        named_params! { ":hash": hash.as_str(), ":id": id },
    )?;
    sessions::revoke_all_of(db, id, keep_session)
}

/// Turns a user's second factor off, for who lost it. Says whether it had one.
pub fn remove_second_factor(db: &Connection, id: &str) -> Result<bool> {
    db.execute(
        "UPDATE users SET totp_enabled = 0, totp_secret = NULL, totp_pending_secret = NULL, \
         totp_last_step = NULL WHERE id = :id AND totp_enabled IS NOT 0",
        named_params! { ":id": id },
    )
    .map(|changed| changed == 1)
}

/// Gives the user with this address a new password and ends all its sessions, in the caller's transaction.
pub fn reset_password(db: &Connection, email: &str, hash: &PasswordHash) -> Result<Reset> {
    let mut found = by_email(db, email)?;
    if found.len() > 1 {
        return Ok(Reset::Ambiguous);
    }
    let Some(user) = found.pop() else { return Ok(Reset::Unknown) };
    let sessions_ended = set_password(db, &user.id, hash, None)?;
    login_failures::forgive(db, &user)?;
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

/// Whether this user is the only superadmin who can log in: without one nobody could administrate the
/// installation, and it would ask to be set up anew.
pub fn is_last_superadmin(db: &Connection, id: &str) -> Result<bool> {
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = :id AND is_superadmin = 1 AND password_hash IS NOT NULL) \
         AND NOT EXISTS (SELECT 1 FROM users WHERE id <> :id AND is_superadmin = 1 \
         AND password_hash IS NOT NULL AND status = 'active')",
        named_params! { ":id": id },
        |row| row.get(0),
    )
}

/// By way of capitals, since some have two small letters: `Σ` is `σ`, and `ς` at a word's end.
pub(crate) fn without_case(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

fn read(row: &Row<'_>) -> Result<User> {
    Ok(User {
        id: row.get(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        is_superadmin: row.get(3)?,
        status: row.get(4)?,
        created_at: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{database, plan, tenant};
    use crate::members::{self, Role};

    fn new(email: &str) -> NewUser {
        NewUser { email: email.parse().unwrap(), name: None, password: None, is_superadmin: false }
    }

    fn made(db: &Connection, email: &str) -> User {
        create(db, &new(email)).unwrap().unwrap()
    }

    fn stored(text: &str) -> PasswordHash {
        PasswordHash::from_registry(text.to_owned())
    }

    fn open_session(db: &Connection, id: &str, user: &User) {
        db.execute("INSERT INTO sessions (id, user_id) VALUES (?1, ?2)", [id, &user.id]).unwrap();
    }

    fn sessions(db: &Connection, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM sessions WHERE {condition}");
        db.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_address_is_given_once_in_any_case_and_script() {
        let db = database();
        for (first, again) in [
            ("Anna@Example.org", "anna@example.ORG"),
            ("BJÖRN@example.org", "björn@example.org"),
            ("ΣΊΣΥΦΟΣ@example.org", "σίσυφοσ@example.org"),
            ("Ольга@example.org", "ОЛЬГА@example.org"),
        ] {
            let user = made(&db, first);
            assert_eq!(create(&db, &new(again)).unwrap(), Err(EmailTaken { email: again.to_owned() }));
            assert_eq!(by_email(&db, again).unwrap(), [user]);
        }
        assert_eq!(list(&db).unwrap().len(), 4);
        assert_eq!(by_email(&db, "nobody@example.org").unwrap(), []);
    }

    #[test]
    fn an_address_is_found_by_an_index_however_it_is_written() {
        let db = database();
        let plans = [IN_ASCII, BEYOND_ASCII].map(|sql| plan(&db, sql));
        assert!(
            plans[0].contains("SEARCH users USING INDEX _streamhub_users_by_email (<expr>=?)"),
            "{plans:?}"
        );
        assert!(plans[1].contains("USING INDEX _streamhub_users_beyond_ascii"), "{plans:?}");
        // As an older system wrote them: what differs in case only, or by letters that are the same in capitals.
        for (id, email) in [
            ("4", "GROSS@example.org"),
            ("2", "groß@Example.org"),
            ("3", "Gross@example.org"),
            ("1", "gros@x"),
        ] {
            db.execute("INSERT INTO users (id, email) VALUES (?1, ?2)", [id, email]).unwrap();
        }
        db.execute("INSERT INTO users (id) VALUES ('5')", []).unwrap();
        for wanted in ["gross@EXAMPLE.org", "Groß@example.org"] {
            let found = by_email(&db, wanted).unwrap();
            assert_eq!(found.iter().map(|user| &*user.id).collect::<Vec<_>>(), ["2", "3", "4"], "{wanted}");
        }
        // The sign of Kelvin is a small k.
        db.execute("UPDATE users SET email = 'kim@x' WHERE id = '1'", []).unwrap();
        assert_eq!(by_email(&db, "\u{212a}im@x").unwrap().len(), 1);
    }

    #[test]
    fn a_user_is_what_it_was_made() {
        let db = database();
        let password = Some(stored("a hash"));
        let user = NewUser { name: Some("Anna".to_owned()), password, is_superadmin: true, ..new("a@b.c") };
        assert!(!is_set_up(&db).unwrap());
        let anna = create(&db, &user).unwrap().unwrap();
        assert!(is_set_up(&db).unwrap());
        assert_eq!(get(&db, &anna.id).unwrap(), Some(anna.clone()));
        assert_eq!((anna.name.as_deref(), anna.is_superadmin, &*anna.status), (Some("Anna"), true, "active"));
        assert!(!serde_json::to_string(&anna).unwrap().contains("hash"));
        assert_eq!(get(&db, "nobody").unwrap(), None);
    }

    #[test]
    fn a_better_hash_replaces_only_the_one_that_was_verified() {
        let db = database();
        let anna = made(&db, "a@b.c").id;
        assert_eq!(password(&db, &anna).unwrap(), None);
        assert!(matches!(reset_password(&db, "A@b.c", &stored("one")).unwrap(), Reset::Done { .. }));
        assert!(rehash(&db, &anna, &stored("one"), &stored("two")).unwrap());
        // Somebody chose another password meanwhile.
        assert!(!rehash(&db, &anna, &stored("one"), &stored("three")).unwrap());
        assert_eq!(password(&db, &anna).unwrap(), Some(stored("two")));
        assert_eq!(password(&db, "nobody").unwrap(), None);
    }

    #[test]
    fn who_is_disabled_or_gone_has_no_session() {
        let db = database();
        let (anna, bert) = (made(&db, "a@b.c"), made(&db, "b@b.c"));
        for user in [&anna, &bert] {
            open_session(&db, &user.id, user);
        }
        assert!(set_status(&db, &anna.id, UserStatus::Active).unwrap());
        assert_eq!(sessions(&db, "revoked_at IS NULL"), 2);
        assert!(set_status(&db, &anna.id, UserStatus::Disabled).unwrap());
        assert_eq!(get(&db, &anna.id).unwrap().unwrap().status, "disabled");
        assert_eq!(sessions(&db, "revoked_at IS NULL"), 1);
        assert!(!set_status(&db, "nobody", UserStatus::Disabled).unwrap());

        let acme = tenant(&db, "acme");
        members::add(&db, &acme, &bert.id, Role::Owner).unwrap().unwrap();
        assert!(delete(&db, &bert.id).unwrap());
        assert!(!delete(&db, &bert.id).unwrap());
        assert_eq!(sessions(&db, "true"), 1);
        assert_eq!(members::of_tenant(&db, &acme).unwrap(), []);
        assert_eq!(made(&db, "b@b.c").email.as_deref(), Some("b@b.c"));
    }

    #[test]
    fn a_user_changes_only_in_what_is_said_and_never_to_anothers_address() {
        let db = database();
        let (anna, bert) = (made(&db, "a@b.c"), made(&db, "b@b.c"));
        let to = |email: Option<&str>, name: Option<&str>| UserChange {
            email: email.map(|email| email.parse().unwrap()),
            name: name.map_or(Change::Keep, |name| Change::Set(name.to_owned())),
        };
        let named = update(&db, &anna.id, &to(None, Some("Anna"))).unwrap().unwrap().unwrap();
        assert_eq!(named, User { name: Some("Anna".to_owned()), ..anna.clone() });
        let moved = update(&db, &anna.id, &to(Some("A@B.c"), None)).unwrap().unwrap().unwrap();
        assert_eq!(moved, User { email: Some("A@B.c".to_owned()), ..named });
        let nameless = UserChange { name: Change::Clear, ..UserChange::default() };
        let unnamed = update(&db, &anna.id, &nameless).unwrap().unwrap().unwrap();
        assert_eq!(unnamed, User { name: None, ..moved });
        let taken = update(&db, &bert.id, &to(Some("a@b.C"), Some("Bert"))).unwrap();
        assert_eq!(taken, Err(EmailTaken { email: "a@b.C".to_owned() }));
        assert_eq!(get(&db, &bert.id).unwrap(), Some(bert));
        assert_eq!(update(&db, "nobody", &to(None, Some("Nobody"))).unwrap(), Ok(None));
    }

    #[test]
    fn a_new_password_ends_all_sessions_but_the_one_that_is_to_stay() {
        let db = database();
        let (anna, bert) = (made(&db, "a@b.c"), made(&db, "b@b.c"));
        for (id, user) in [("one", &anna), ("two", &anna), ("three", &bert)] {
            open_session(&db, id, user);
        }
        assert_eq!(set_password(&db, &anna.id, &stored("new"), Some("one")).unwrap(), 1);
        assert_eq!(password(&db, &anna.id).unwrap(), Some(stored("new")));
        assert_eq!(sessions(&db, "revoked_at IS NULL AND id IN ('one', 'three')"), 2);
        assert_eq!(set_password(&db, &anna.id, &stored("newer"), None).unwrap(), 1);
        assert_eq!(sessions(&db, "revoked_at IS NULL"), 1);
    }

    #[test]
    fn the_last_superadmin_is_the_only_one_who_can_log_in() {
        let db = database();
        let make = |email: &str, password: Option<&str>, is_superadmin: bool| {
            let password = password.map(stored);
            create(&db, &NewUser { password, is_superadmin, ..new(email) }).unwrap().unwrap().id
        };
        let last = |id: &str| is_last_superadmin(&db, id).unwrap();
        let anna = make("anna@b.c", Some("a hash"), true);
        let (plain, locked) = (make("p@b.c", Some("a hash"), false), make("l@b.c", None, true));
        assert!(last(&anna) && !last(&plain) && !last(&locked) && !last("nobody"));
        let bert = make("bert@b.c", Some("a hash"), true);
        assert!(!last(&anna) && !last(&bert));
        set_status(&db, &bert, UserStatus::Disabled).unwrap();
        assert!(last(&anna) && !last(&bert));
        // Without its password, which nobody may use, a set-up token would count again.
        delete(&db, &anna).unwrap();
        assert!(last(&bert));
    }
}
