//! Ingress: who may publish, by a stream key and, where one is set, a password.
//!
//! Hashing takes tens of milliseconds, and a transaction in which others wait must not: so whatever hashes
//! happens before ([`NewIngress::prepare`], [`PasswordHash::of`]) or after ([`Challenge::answer`]) the
//! transaction, and what happens inside is about rows only.

mod credential;

use rusqlite::types::{Null, ToSql};
use rusqlite::{Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::time::Moment;
use streamhub_engine::{Change, ReadTx, WriteTx};

pub use self::credential::{Password, PasswordHash, StreamKey};
use crate::change::{self, Assignment};
use crate::error::{Result, StoreError};
use crate::page::{Listed, Page, Query};
use crate::{check, column};

/// One way to publish into the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Its name.
    pub ingress_id: String,
    /// The app's name when the row was written.
    pub app: String,
    /// The room that is published into.
    pub room: Option<String>,
    /// The stream key.
    pub stream_key: Option<StreamKey>,
    /// Whether the key alone is not enough.
    pub requires_password: bool,
    /// When it last let somebody in.
    pub validated_at: Option<String>,
    /// When it was made.
    pub created_at: String,
}

/// An ingress to be made.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewIngress {
    /// The app's name; never the client's to choose.
    #[serde(skip)]
    pub app: String,
    /// The room that is published into.
    pub room: Option<String>,
    /// The stream key; a random one where none is given.
    pub stream_key: Option<StreamKey>,
    /// The password; without one the key is enough.
    pub password: Option<Password>,
}

/// An ingress that only has to be written.
#[derive(Clone, Debug)]
pub struct PreparedIngress {
    ingress_id: String,
    app: String,
    room: Option<String>,
    stream_key: StreamKey,
    password: Option<PasswordHash>,
}

/// New credentials for an ingress; the default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    /// A new stream key.
    pub stream_key: Option<StreamKey>,
    /// A new password, or none any more.
    pub password: Change<PasswordHash>,
}

/// What somebody who wants to publish has to answer.
///
/// It is the same for a key that is not there, so that neither the answer nor its time tells.
#[derive(Debug)]
pub struct Challenge {
    ingress: Option<Ingress>,
    password: Option<PasswordHash>,
}

macro_rules! columns {
    () => {
        "ingress_id, app, room, stream_key, requires_password, validated_at, created_at"
    };
}

macro_rules! challenge {
    () => {
        concat!("SELECT ", columns!(), ", password_hash, password_salt FROM ingress_auth WHERE ")
    };
}

impl NewIngress {
    /// Chooses what is random and hashes the password: before the transaction.
    pub fn prepare(self) -> Result<PreparedIngress> {
        check::text("room", self.room.as_deref().unwrap_or_default())?;
        Ok(PreparedIngress {
            ingress_id: format!("IN_{}", credential::random_hex()),
            app: self.app,
            room: self.room,
            stream_key: self.stream_key.unwrap_or_else(StreamKey::random),
            password: self.password.as_ref().map(PasswordHash::of).transpose()?,
        })
    }
}

/// Adds an ingress. A stream key that another one has is [`StoreError::KeyTaken`].
pub fn create(tx: &mut WriteTx<'_>, prepared: &PreparedIngress) -> Result<Ingress> {
    let PreparedIngress { ingress_id, app, room, stream_key, password } = prepared;
    refuse_taken_key(tx, stream_key, ingress_id)?;
    let (hash, salt) = password.as_ref().map(|password| (&password.hash, &password.salt)).unzip();
    let sql = concat!(
        "INSERT INTO ingress_auth (ingress_id, app, room, stream_key, password_hash, password_salt, ",
        "requires_password, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING ",
        columns!()
    );
    let values = params![ingress_id, app, room, stream_key, hash, salt, password.is_some(), Moment::now()];
    Ok(tx.execute_returning(sql, values, read)?)
}

/// What somebody with this stream key has to answer. Where older rows share a key, the oldest counts.
pub fn challenge_by_key(tx: &ReadTx<'_>, stream_key: &str) -> Result<Challenge> {
    challenge(tx, concat!(challenge!(), "stream_key = ?1 ORDER BY rowid LIMIT 1"), stream_key)
}

/// What somebody who names this ingress has to answer.
pub fn challenge_by_id(tx: &ReadTx<'_>, ingress_id: &str) -> Result<Challenge> {
    challenge(tx, concat!(challenge!(), "ingress_id = ?1"), ingress_id)
}

impl Challenge {
    /// The ingress, where the answer is right. Hashes once unless the key alone is enough: after the transaction.
    ///
    /// An ingress whose password was lost lets nobody in.
    pub fn answer(self, password: Option<&Password>) -> Option<Ingress> {
        if self.ingress.as_ref().is_some_and(|ingress| !ingress.requires_password) {
            return self.ingress;
        }
        let none_given = Password::from(String::new());
        let is_right =
            self.password.unwrap_or_else(PasswordHash::of_nobody).matches(password.unwrap_or(&none_given));
        self.ingress.filter(|_| is_right && password.is_some())
    }
}

/// Notes that an ingress let somebody in.
pub fn mark_validated(tx: &mut WriteTx<'_>, ingress_id: &str) -> Result<()> {
    let sql = "UPDATE ingress_auth SET validated_at = ?2 WHERE ingress_id = ?1";
    one(tx.execute(sql, params![ingress_id, Moment::now()])?, ingress_id)
}

/// Gives an ingress new credentials, and returns what it has become. Nobody was let in by them yet.
pub fn rotate(tx: &mut WriteTx<'_>, ingress_id: &str, rotation: &Rotation) -> Result<Ingress> {
    if let Some(stream_key) = &rotation.stream_key {
        refuse_taken_key(tx, stream_key, ingress_id)?;
    }
    change::apply(tx, "ingress_auth", ("ingress_id", &ingress_id), &rotation.assignments(), columns!(), read)?
        .ok_or_else(|| StoreError::not_found("ingress", ingress_id))
}

/// Removes an ingress.
pub fn delete(tx: &mut WriteTx<'_>, ingress_id: &str) -> Result<()> {
    one(tx.execute("DELETE FROM ingress_auth WHERE ingress_id = ?1", [ingress_id])?, ingress_id)
}

/// The ingress of this name, where there is one.
pub fn by_id(tx: &ReadTx<'_>, ingress_id: &str) -> Result<Option<Ingress>> {
    let sql = concat!("SELECT ", columns!(), " FROM ingress_auth WHERE ingress_id = ?1");
    Ok(tx.query_optional(sql, [ingress_id], read)?)
}

/// A page of all, oldest first.
pub fn list(tx: &ReadTx<'_>, page: Page) -> Result<Listed<Ingress>> {
    Query::new("ingress_auth", columns!(), "rowid", page).list(tx, read)
}

impl Rotation {
    fn assignments(&self) -> Vec<Assignment<'_>> {
        let mut assignments: Vec<Assignment<'_>> = Vec::new();
        if let Some(stream_key) = &self.stream_key {
            assignments.push(("stream_key", stream_key));
        }
        match &self.password {
            Change::Keep => {}
            Change::Clear => assignments.extend([
                ("password_hash", &Null as &dyn ToSql),
                ("password_salt", &Null),
                ("requires_password", &false),
            ]),
            Change::Set(password) => assignments.extend([
                ("password_hash", &password.hash as &dyn ToSql),
                ("password_salt", &password.salt),
                ("requires_password", &true),
            ]),
        }
        if !assignments.is_empty() {
            assignments.push(("validated_at", &Null));
        }
        assignments
    }
}

fn challenge(tx: &ReadTx<'_>, sql: &str, name: &str) -> Result<Challenge> {
    let found = tx.query_optional(sql, [name], |row| {
        let password = column::text(row, 7)?.zip(column::text(row, 8)?);
        Ok(Challenge {
            ingress: Some(read(row)?),
            password: password.map(|(hash, salt)| PasswordHash { hash, salt }),
        })
    })?;
    Ok(found.unwrap_or(Challenge { ingress: None, password: None }))
}

fn refuse_taken_key(tx: &ReadTx<'_>, stream_key: &StreamKey, by: &str) -> Result<()> {
    let sql = "SELECT ingress_id FROM ingress_auth WHERE stream_key = ?1 AND ingress_id <> ?2";
    let other = tx.query_optional(sql, params![stream_key, by], |row| column::required_text(row, 0))?;
    other.map_or(Ok(()), |ingress| Err(StoreError::KeyTaken { ingress }))
}

fn one(changed: usize, ingress_id: &str) -> Result<()> {
    if changed == 0 { Err(StoreError::not_found("ingress", ingress_id)) } else { Ok(()) }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Ingress> {
    Ok(Ingress {
        ingress_id: column::required_text(row, 0)?,
        app: column::required_text(row, 1)?,
        room: column::text(row, 2)?,
        stream_key: column::text(row, 3)?.map(StreamKey::stored),
        // What is neither yes nor no is the safer of the two.
        requires_password: column::integer(row, 4)? != Some(0),
        validated_at: column::text(row, 5)?,
        created_at: column::required_text(row, 6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::credential::counted::hashes_of;
    use super::*;
    use crate::testing::database;

    fn prepared(key: &str, password: Option<&str>) -> PreparedIngress {
        NewIngress {
            app: "demo".to_owned(),
            room: Some("lobby".to_owned()),
            stream_key: Some(key.to_owned().try_into().unwrap()),
            password: password.map(|password| password.to_owned().into()),
        }
        .prepare()
        .unwrap()
    }

    fn password(text: &str) -> Password {
        text.to_owned().into()
    }

    /// Whether a key and a password let somebody in, and how many hashes it took to say so.
    fn try_key(tx: &ReadTx<'_>, key: &str, password: Option<&Password>) -> (bool, usize) {
        let (challenge, inside) = hashes_of(|| challenge_by_key(tx, key).unwrap());
        assert_eq!(inside, 0, "nothing is hashed inside the transaction");
        let (ingress, hashes) = hashes_of(|| challenge.answer(password));
        (ingress.is_some(), hashes)
    }

    #[test]
    fn what_is_random_differs_and_the_rest_is_as_given() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        let one = create(tx, &NewIngress::default().prepare().unwrap()).unwrap();
        let two = create(tx, &NewIngress::default().prepare().unwrap()).unwrap();
        assert!(one.ingress_id.starts_with("IN_") && one.ingress_id != two.ingress_id);
        assert_ne!(one.stream_key, two.stream_key);
        assert!(!one.requires_password && one.validated_at.is_none());
        let given = prepared("key", Some("secret"));
        let (made, hashes) = hashes_of(|| create(tx, &given).unwrap());
        assert_eq!(hashes, 0, "nothing is hashed inside the transaction");
        assert_eq!((made.app.as_str(), made.room.as_deref()), ("demo", Some("lobby")));
        assert!(made.requires_password);
        assert_eq!(by_id(tx, &made.ingress_id).unwrap().as_ref(), Some(&made));
        let listed = list(tx, Page::default()).unwrap();
        let taken = create(tx, &prepared("key", None)).unwrap_err();
        assert_eq!(taken.to_string(), format!("ingress {:?} has this stream key already", made.ingress_id));
        assert_eq!((listed.data, listed.total), (vec![one, two, made], 3));
        assert!(taken.way_out().contains("choose another key"));
    }

    #[test]
    fn only_key_and_password_together_let_in_and_a_refusal_costs_the_same() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        create(tx, &prepared("open", None)).unwrap();
        let closed = create(tx, &prepared("closed", Some("secret"))).unwrap();
        let [right, wrong, empty] = ["secret", "Secret", ""].map(password);
        for (key, password, expected) in [
            ("closed", Some(&right), (true, 1)),
            ("closed", Some(&wrong), (false, 1)),
            ("closed", Some(&empty), (false, 1)),
            ("closed", None, (false, 1)),
            ("unknown", Some(&right), (false, 1)),
            ("unknown", Some(&empty), (false, 1)),
            ("unknown", None, (false, 1)),
            ("", None, (false, 1)),
            ("open", None, (true, 0)),
            ("open", Some(&wrong), (true, 0)),
        ] {
            assert_eq!(
                try_key(tx, key, password),
                expected,
                "{key} {}",
                password.map_or("-", Password::reveal)
            );
        }
        let by_name = challenge_by_id(tx, &closed.ingress_id).unwrap().answer(Some(&right));
        assert_eq!(by_name, Some(closed.clone()));
        assert_eq!(challenge_by_id(tx, "closed").unwrap().answer(Some(&right)), None);
        assert_eq!(by_id(tx, &closed.ingress_id).unwrap(), Some(closed.clone()), "looking changes nothing");
        mark_validated(tx, &closed.ingress_id).unwrap();
        assert!(by_id(tx, &closed.ingress_id).unwrap().unwrap().validated_at.is_some());
    }

    #[test]
    fn rows_of_the_older_system_let_in_whom_they_let_in_there() {
        let db = database();
        db.execute_batch(
            "INSERT INTO ingress_auth (ingress_id, app, stream_key, password_hash, password_salt, requires_password) \
             VALUES ('IN_2', 'a', 'key', '707eb9cbe582848a8703347742f3b28471ae6cb09b4779a6f75e2abb59274762', \
                     'adbdfea3952284ecc19a60ef5fbffbd5', 1), \
                    ('IN_1', 'a', 'key', NULL, NULL, 0), \
                    ('IN_3', 'a', 'lost', NULL, NULL, 1), ('IN_4', 'a', NULL, NULL, NULL, 'yes')",
        )
        .unwrap();
        let tx = WriteTx::within(&db);
        let right = password("RDSkoZ3wXIH6yPvj");
        assert_eq!(try_key(&tx, "key", Some(&right)), (true, 1));
        assert_eq!(try_key(&tx, "key", None), (false, 1), "the oldest of two rows with one key counts");
        assert_eq!(try_key(&tx, "lost", Some(&right)), (false, 1));
        assert_eq!(challenge_by_id(&tx, "IN_4").unwrap().answer(Some(&right)), None);
    }

    #[test]
    fn rotated_credentials_replace_the_old_ones() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        let made = create(tx, &prepared("key", Some("secret"))).unwrap();
        create(tx, &prepared("taken", None)).unwrap();
        let id = made.ingress_id.as_str();
        mark_validated(tx, id).unwrap();
        let same = rotate(tx, id, &Rotation::default()).unwrap();
        assert!(same.validated_at.is_some());
        let stream_key = Some(StreamKey::random());
        let rotated =
            rotate(tx, id, &Rotation { stream_key: stream_key.clone(), ..Rotation::default() }).unwrap();
        assert_eq!(rotated, Ingress { stream_key: stream_key.clone(), ..made.clone() });
        let key = stream_key.as_ref().unwrap().reveal();
        assert_eq!(try_key(tx, "key", Some(&password("secret"))), (false, 1));
        assert_eq!(try_key(tx, key, Some(&password("secret"))), (true, 1));
        let hash = PasswordHash::of(&password("other")).unwrap();
        rotate(tx, id, &Rotation { password: Change::Set(hash), ..Rotation::default() }).unwrap();
        assert_eq!(try_key(tx, key, Some(&password("secret"))), (false, 1));
        assert_eq!(try_key(tx, key, Some(&password("other"))), (true, 1));
        let open = rotate(tx, id, &Rotation { password: Change::Clear, ..Rotation::default() }).unwrap();
        assert!(!open.requires_password);
        assert_eq!(try_key(tx, key, None), (true, 0));
        let taken =
            Rotation { stream_key: Some("taken".to_owned().try_into().unwrap()), ..Rotation::default() };
        assert!(matches!(rotate(tx, id, &taken), Err(StoreError::KeyTaken { .. })));
    }

    #[test]
    fn what_is_gone_is_not_found() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        let made = create(tx, &prepared("key", None)).unwrap();
        let id = made.ingress_id.as_str();
        delete(tx, id).unwrap();
        assert_eq!(by_id(tx, id).unwrap(), None);
        for gone in [delete(tx, id), mark_validated(tx, id), rotate(tx, id, &Rotation::default()).map(drop)] {
            assert!(matches!(gone, Err(StoreError::NotFound { noun: "ingress", .. })));
        }
    }

    #[test]
    fn an_ingress_is_json_without_its_hash_and_shows_no_key_in_a_log() {
        let db = database();
        let made = create(&mut WriteTx::within(&db), &prepared("the-key", Some("secret"))).unwrap();
        assert_eq!(
            serde_json::to_value(&made).unwrap(),
            serde_json::json!({"ingressId": made.ingress_id, "app": "demo", "room": "lobby",
                "streamKey": "the-key", "requiresPassword": true, "validatedAt": null,
                "createdAt": made.created_at})
        );
        assert!(!format!("{made:?}").contains("the-key"));
        let body: NewIngress = serde_json::from_str("{\"room\":\"a\",\"password\":\"hidden\"}").unwrap();
        assert_eq!((body.app.as_str(), format!("{body:?}").contains("hidden")), ("", false));
        assert!(serde_json::from_str::<NewIngress>("{\"app\":\"x\"}").is_err(), "not the client's to say");
    }
}
