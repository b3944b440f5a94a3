//! Sessions: what a person has between logging in and logging out.
//!
//! A session's token is shown once; the database keeps its hash. Those of an older system have none, so
//! that no token ever is theirs, and are revoked when its data is taken over.

use std::net::IpAddr;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use schemars::JsonSchema;
use serde::Serialize;
use streamhub_engine::normalised;
use streamhub_engine::time::{self, Moment};

use crate::secret_token::{Token, TokenHash};
use crate::users::{self, User, UserStatus};

/// What a session's token begins with.
pub const PREFIX: &str = "ss_";

/// The most sessions that one call of [`prune`] removes.
pub const PRUNE_CHUNK: usize = 1000;

/// Characters that are kept of what a client says of itself.
const LONGEST_AGENT: usize = 256;

/// One session, without its token's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its key.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// The address that its user logged in with.
    pub email: Option<String>,
    /// From which address.
    pub ip: Option<String>,
    /// What the client said of itself.
    pub user_agent: Option<String>,
    /// When it began.
    pub created_at: String,
    /// When it was last used, give or take the time between two batches.
    pub last_seen: Option<String>,
    /// When it ends by itself; an older system's may not say.
    pub expires_at: Option<String>,
    /// When it was ended, where it was.
    pub revoked_at: Option<String>,
}

/// From where a session is begun, or a password shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The address, where that is known.
    pub address: Option<IpAddr>,
    /// The other end of the connection, which is not the client where something in between passes requests on.
    pub peer: Option<IpAddr>,
    /// What it says of itself.
    pub user_agent: Option<String>,
}

const COLUMNS: &str = "id, user_id, email, ip, user_agent, created_at, last_seen, expires_at, revoked_at";

/// When a session ended or ends.
const END: &str = concat!("coalesce(", normalised!("revoked_at"), ", ", normalised!("expires_at"), ")");

/// Begins a session and returns it with, for the only time, its token.
pub fn create(db: &Connection, user: &User, client: &Client, lifetime: Duration) -> Result<(Session, Token)> {
    let (token, now) = (Token::generate(PREFIX), Moment::now());
    let agent = client.user_agent.as_ref().map(|agent| agent.chars().take(LONGEST_AGENT).collect::<String>());
    let session = db.query_row(
        &format!(
            "INSERT INTO sessions (id, user_id, email, ip, user_agent, created_at, last_seen, expires_at, token_hash) \
             VALUES (:id, :user, :email, :ip, :agent, :now, :now, :end, :hash) RETURNING {COLUMNS}"
        ),
        named_params! {
            ":id": format!("ses_{}", streamhub_engine::new_uuid()),
            ":user": user.id,
            ":email": user.email,
            ":ip": client.address.map(|address| address.to_string()),
            ":agent": agent,
            ":now": now,
            ":end": now.after(lifetime),
            ":hash": token.hash(),
        },
        read,
    )?;
    Ok((session, token))
}

/// The session whose token somebody offers, and its user; none where it ended, or where its user may not
/// log in.
pub fn by_hash(db: &Connection, hash: &TokenHash) -> Result<Option<(Session, User)>> {
    let session = db
        .prepare_cached(&by_hash_sql())?
        .query_row(named_params! { ":hash": hash, ":now": time::now() }, read)
        .optional()?;
    let Some(session) = session else { return Ok(None) };
    let user = users::get(db, &session.user_id)?.filter(|user| user.status == UserStatus::Active.as_str());
    Ok(user.map(|user| (session, user)))
}

/// A user's sessions, those that began last before others.
pub fn list(db: &Connection, user_id: &str) -> Result<Vec<Session>> {
    db.prepare_cached(&list_sql())?.query_map(named_params! { ":user": user_id }, read)?.collect()
}

/// The session of this key.
pub fn get(db: &Connection, id: &str) -> Result<Option<Session>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = :id"))?
        .query_row(named_params! { ":id": id }, read)
        .optional()
}

/// Ends a session. Says whether that changed anything.
pub fn revoke(db: &Connection, id: &str) -> Result<bool> {
    db.execute(
        "UPDATE sessions SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL",
        named_params! { ":now": time::now(), ":id": id },
    )
    .map(|revoked| revoked == 1)
}

/// Ends a user's sessions, but for one that is to stay, and returns how many.
pub fn revoke_all_of(db: &Connection, user_id: &str, except: Option<&str>) -> Result<usize> {
    db.execute(
        "UPDATE sessions SET revoked_at = :now WHERE user_id = :user AND revoked_at IS NULL AND id IS NOT :except",
        named_params! { ":now": time::now(), ":user": user_id, ":except": except },
    )
}

/// Ends the sessions of an older system, which no token of ours can be for, and returns how many.
pub fn revoke_older(db: &Connection) -> Result<usize> {
    db.execute(
        "UPDATE sessions SET revoked_at = :now WHERE token_hash IS NULL AND revoked_at IS NULL",
        named_params! { ":now": time::now() },
    )
}

/// Records when sessions were last used, many in one transaction; no record goes back in time.
pub fn touch<'a>(db: &Connection, used: impl IntoIterator<Item = (&'a str, &'a Moment)>) -> Result<()> {
    let mut touch = db.prepare_cached(concat!(
        "UPDATE sessions SET last_seen = :at WHERE id = :id AND (last_seen IS NULL OR ",
        normalised!("last_seen"),
        " < :at)"
    ))?;
    used.into_iter().try_for_each(|(id, at)| touch.execute(named_params! { ":id": id, ":at": at }).map(drop))
}

/// Removes sessions that ended before this time, [`PRUNE_CHUNK`] at the most, and returns how many. To be
/// called again, each time in a transaction of its own, until fewer are removed.
pub fn prune(db: &Connection, before: &Moment) -> Result<usize> {
    db.prepare_cached(&format!(
        "DELETE FROM sessions WHERE rowid IN \
         (SELECT rowid FROM sessions WHERE {END} < :before ORDER BY rowid LIMIT :chunk)"
    ))?
    .execute(named_params! { ":before": before, ":chunk": PRUNE_CHUNK })
}

fn by_hash_sql() -> String {
    format!(
        "SELECT {COLUMNS} FROM sessions WHERE token_hash = :hash AND revoked_at IS NULL AND expires_at > :now"
    )
}

fn list_sql() -> String {
    let began = normalised!("created_at");
    format!("SELECT {COLUMNS} FROM sessions WHERE user_id = :user ORDER BY {began} DESC, id")
}

fn read(row: &Row<'_>) -> Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        user_id: row.get(1)?,
        email: row.get(2)?,
        ip: row.get(3)?,
        user_agent: row.get(4)?,
        created_at: row.get(5)?,
        last_seen: row.get(6)?,
        expires_at: row.get(7)?,
        revoked_at: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{database, plan, user};

    const WEEK: Duration = Duration::from_hours(7 * 24);

    fn begun(db: &Connection, user: &User) -> (Session, Token) {
        create(db, user, &Client::default(), WEEK).unwrap()
    }

    fn older(db: &Connection, id: &str, user: &User, revoked_at: Option<&str>) {
        db.execute(
            "INSERT INTO sessions (id, user_id, created_at, last_seen, revoked_at) \
             VALUES (?1, ?2, '2026-01-01 00:00:00', '2026-01-01 00:00:05', ?3)",
            rusqlite::params![id, user.id, revoked_at],
        )
        .unwrap();
    }

    #[test]
    fn a_session_works_from_its_beginning_to_its_end() {
        let db = database();
        let anna = user(&db, "anna@b.c");
        let client = Client {
            address: Some("2001:db8::7".parse().unwrap()),
            peer: None,
            user_agent: Some("ä".repeat(LONGEST_AGENT + 1)),
        };
        let (session, token) = create(&db, &anna, &client, WEEK).unwrap();
        assert!(token.reveal().starts_with("ss_"));
        assert_eq!((session.ip.as_deref(), &session.email), (Some("2001:db8::7"), &anna.email));
        assert_eq!(session.user_agent.as_ref().unwrap().chars().count(), LONGEST_AGENT);
        assert_eq!(by_hash(&db, &token.hash()).unwrap(), Some((session.clone(), anna)));
        assert_eq!(by_hash(&db, &TokenHash::of("ss_other")).unwrap(), None);
        assert_eq!(get(&db, &session.id).unwrap(), Some(session.clone()));
        let json = serde_json::to_string(&session).unwrap();
        assert!(json.contains("expiresAt") && !json.contains(token.hash().as_str()));

        assert!(revoke(&db, &session.id).unwrap());
        assert!(!revoke(&db, &session.id).unwrap() && !revoke(&db, "nobody's").unwrap());
        assert_eq!(by_hash(&db, &token.hash()).unwrap(), None);
        assert!(get(&db, &session.id).unwrap().unwrap().revoked_at.is_some());
    }

    #[test]
    fn a_session_ends_by_itself_and_with_its_users_right_to_log_in() {
        let db = database();
        let (anna, bert) = (user(&db, "anna@b.c"), user(&db, "bert@b.c"));
        let (_, over) = create(&db, &anna, &Client::default(), Duration::ZERO).unwrap();
        assert_eq!(by_hash(&db, &over.hash()).unwrap(), None);
        let works = |token: &Token| by_hash(&db, &token.hash()).unwrap().is_some();
        let ((_, of_anna), (_, of_bert)) = (begun(&db, &anna), begun(&db, &bert));
        assert!(works(&of_anna) && works(&of_bert));
        // A word of an older system's, and a status that was changed without ending the sessions.
        db.execute("UPDATE users SET status = 'suspended' WHERE id = ?1", [&anna.id]).unwrap();
        assert!(!works(&of_anna) && works(&of_bert));
        db.execute("DELETE FROM users WHERE id = ?1", [&bert.id]).unwrap();
        assert!(!works(&of_bert));
    }

    #[test]
    fn all_sessions_of_one_user_end_but_for_one() {
        let db = database();
        let (anna, bert) = (user(&db, "anna@b.c"), user(&db, "bert@b.c"));
        let [(one, _), (two, _), (three, _)] = [&anna, &anna, &bert].map(|user| begun(&db, user));
        assert_eq!(revoke_all_of(&db, &anna.id, Some(&one.id)).unwrap(), 1);
        let open = |session: &Session| get(&db, &session.id).unwrap().unwrap().revoked_at.is_none();
        assert!(open(&one) && !open(&two) && open(&three));
        assert_eq!(revoke_all_of(&db, &anna.id, None).unwrap(), 1);
        assert!(!open(&one) && open(&three));
        assert_eq!(list(&db, &bert.id).unwrap(), [three]);
    }

    #[test]
    fn older_sessions_are_listed_and_revoked() {
        let db = database();
        let anna = user(&db, "anna@b.c");
        older(&db, "revoked", &anna, Some("2026-01-02 00:00:00"));
        older(&db, "open", &anna, None);
        let (own, token) = begun(&db, &anna);
        assert_eq!(revoke_older(&db).unwrap(), 1);
        assert_eq!(revoke_older(&db).unwrap(), 0);
        assert!(by_hash(&db, &token.hash()).unwrap().is_some());
        let ids: Vec<String> = list(&db, &anna.id).unwrap().into_iter().map(|session| session.id).collect();
        assert_eq!(ids, [&*own.id, "open", "revoked"]);
        assert_eq!(get(&db, "revoked").unwrap().unwrap().revoked_at.unwrap(), "2026-01-02 00:00:00");
    }

    #[test]
    fn the_last_use_never_goes_back() {
        let db = database();
        let anna = user(&db, "anna@b.c");
        older(&db, "one", &anna, None);
        let last = || get(&db, "one").unwrap().unwrap().last_seen.unwrap();
        let [earlier, later] = ["2026-01-01T00:00:04.999Z", "2026-01-01T00:00:05.001Z"]
            .map(|text| text.parse::<Moment>().unwrap());
        touch(&db, [("one", &earlier), ("gone", &later)]).unwrap();
        assert_eq!(last(), "2026-01-01 00:00:05");
        touch(&db, [("one", &later), ("one", &earlier)]).unwrap();
        assert_eq!(last(), later.as_str());
    }

    #[test]
    fn what_ended_long_ago_is_removed_in_chunks() {
        let db = database();
        let anna = user(&db, "anna@b.c");
        for number in 0..=PRUNE_CHUNK {
            older(&db, &number.to_string(), &anna, Some("2026-01-02 00:00:00"));
        }
        older(&db, "later", &anna, Some("2026-01-02 00:00:01"));
        older(&db, "open", &anna, None);
        create(&db, &anna, &Client::default(), Duration::ZERO).unwrap();
        let (own, _) = begun(&db, &anna);
        let before = "2026-01-02T00:00:01Z".parse().unwrap();
        assert_eq!(prune(&db, &before).unwrap(), PRUNE_CHUNK);
        assert_eq!(prune(&db, &before).unwrap(), 1);
        assert_eq!(prune(&db, &before).unwrap(), 0);
        let soon = Moment::now().after(Duration::from_secs(1));
        assert_eq!(prune(&db, &soon).unwrap(), 2);
        let mut left: Vec<String> =
            list(&db, &anna.id).unwrap().into_iter().map(|session| session.id).collect();
        left.sort();
        assert_eq!(left, ["open".to_owned(), own.id]);
    }

    #[test]
    fn sessions_are_found_by_their_indices() {
        let db = database();
        let by_hash = plan(&db, &by_hash_sql());
        assert!(by_hash.contains("sqlite_autoindex_sessions_2"), "{by_hash}");
        let list = plan(&db, &list_sql());
        assert!(list.contains("_streamhub_sessions_by_user"), "{list}");
    }
}
