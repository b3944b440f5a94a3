//! Requests that may be sent twice and are carried out once: what became of each, by the key that its client
//! chose.
//!
//! A row is written in the transaction of the audit entry that says what was done, so it is there exactly
//! where that was. The answer follows when it is known, sealed under the key that only the client has, since
//! it may show a secret.

use std::fmt;

use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::{AeadInPlace, Aes256Gcm, KeyInit};
use argon2::password_hash::rand_core::{OsRng, RngCore};
use rusqlite::{Connection, OptionalExtension, Result, named_params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use streamhub_engine::time::{self, Moment};

use crate::audit::{self, Recorded};

/// The most rows that one call of [`prune`] removes.
pub const PRUNE_CHUNK: usize = 1000;

const NONCE: usize = 12;
const TAG: usize = 16;

/// A key as a client chose it, for one principal.
#[derive(Clone)]
pub struct Key {
    principal: String,
    hash: String,
    seal: [u8; 32],
    print: [u8; 32],
}

/// What is kept of a request: which key, and a print of what was asked for, which only who has the key can make:
/// what was asked for may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    principal: String,
    key: String,
    request: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// What it was.
    pub asked: Asked,
    /// What the audit says of it; none where that is pruned already.
    pub done: Option<Recorded>,
    /// The answer, where it was kept and can be unsealed.
    pub answer: Option<Answer>,
}

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Key {
    /// The key of a principal.
    pub fn new(principal: &str, key: &str) -> Self {
        // The principal is part of all, and what follows it begins where it ends.
        let digest = |purpose: &str| {
            Sha256::new()
                .chain_update(purpose)
                .chain_update(principal.len().to_le_bytes())
                .chain_update(principal)
                .chain_update(key)
                .finalize()
        };
        Self {
            principal: principal.to_owned(),
            hash: format!("{:x}", digest("streamhub idempotency key:")),
            seal: digest("streamhub idempotency seal:").into(),
            print: digest("streamhub idempotency print:").into(),
        }
    }

    /// A request with this key.
    pub fn ask(&self, request: &str) -> Asked {
        let print = Sha256::new().chain_update(self.print).chain_update(request).finalize();
        Asked { principal: self.principal.clone(), key: self.hash.clone(), request: format!("{print:x}") }
    }

    /// What tells this key from any other.
    pub fn print(&self) -> &str {
        &self.hash
    }

    fn sealed(&self, text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        OsRng.fill_bytes(&mut nonce);
        let mut sealed = text.to_vec();
        let tag = Aes256Gcm::new((&self.seal).into())
            .encrypt_in_place_detached(GenericArray::from_slice(&nonce), b"", &mut sealed)
            .expect("an answer is far smaller than what the cipher takes");
        [&nonce[..], tag.as_slice(), &sealed].concat()
    }

    fn unsealed(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE)?;
        let (tag, text) = rest.split_at_checked(TAG)?;
        let mut text = text.to_vec();
        Aes256Gcm::new((&self.seal).into())
            .decrypt_in_place_detached(
                GenericArray::from_slice(nonce),
                b"",
                &mut text,
                GenericArray::from_slice(tag),
            )
            .ok()?;
        Some(text)
    }
}

/// Writes down that a request was, or is being, carried out, in the transaction of its audit entry.
///
/// A row of the same key is replaced. The one process that has the database carries out one request of a key at a
/// time, and looks for its row before: so what that row speaks of was not done after all, or is too old for
/// the audit to say, or is an earlier part of this very request, of which the last part counts.
pub fn remember(db: &Connection, asked: &Asked, audit_id: i64) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO _streamhub_idempotency (principal, key, request_hash, audit_id, created_at) \
         VALUES (:principal, :key, :request, :audit, :now)",
    )?
    .execute(named_params! {
        ":principal": asked.principal,
        ":key": asked.key,
        ":request": asked.request,
        ":audit": audit_id,
        ":now": time::now(),
    })
    .map(drop)
}

/// Keeps the answer to a request that was carried out. Says whether anything is known of that.
pub fn keep_answer(db: &Connection, key: &Key, answer: &Answer) -> Result<bool> {
    db.prepare_cached(
        "UPDATE _streamhub_idempotency SET status = :status, answer = :answer \
         WHERE principal = :principal AND key = :key",
    )?
    .execute(named_params! {
        ":principal": key.principal,
        ":key": key.hash,
        ":status": answer.status,
        ":answer": key.sealed(&answer.body),
    })
    .map(|kept| kept == 1)
}

/// What became of the request with this key; none where there was none.
pub fn recall(db: &Connection, key: &Key) -> Result<Option<Remembered>> {
    let row = db
        .prepare_cached(
            "SELECT request_hash, audit_id, status, answer FROM _streamhub_idempotency \
             WHERE principal = :principal AND key = :key",
        )?
        .query_row(named_params! { ":principal": key.principal, ":key": key.hash }, |row| {
            let (request, audit_id): (String, i64) = (row.get(0)?, row.get(1)?);
            let (status, sealed): (Option<u16>, Option<Vec<u8>>) = (row.get(2)?, row.get(3)?);
            Ok((request, audit_id, status.zip(sealed)))
        })
        .optional()?;
    let Some((request, audit_id, kept)) = row else { return Ok(None) };
    let answer = kept.and_then(|(status, sealed)| key.unsealed(&sealed).map(|body| Answer { status, body }));
    let asked = Asked { principal: key.principal.clone(), key: key.hash.clone(), request };
    Ok(Some(Remembered { asked, done: audit::get(db, audit_id)?, answer }))
}

/// Removes the oldest rows from before this time, [`PRUNE_CHUNK`] at the most, and returns how many.
pub fn prune(db: &Connection, before: &Moment) -> Result<usize> {
    db.prepare_cached(
        "DELETE FROM _streamhub_idempotency WHERE (principal, key) IN \
         (SELECT principal, key FROM _streamhub_idempotency WHERE created_at < :before \
         ORDER BY created_at LIMIT :chunk)",
    )?
    .execute(named_params! { ":before": before, ":chunk": PRUNE_CHUNK })
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;
    use crate::fixture::database;

    #[test]
    fn what_was_done_is_recalled_by_its_own_key_only() {
        let db = database();
        let key = Key::new("token:1", "0f3a");
        assert_eq!(recall(&db, &key).unwrap(), None);
        let audit_id = audit::append(&db, &Entry::now("token:1", "token.create", "ok")).unwrap();
        remember(&db, &key.ask("print"), audit_id).unwrap();
        let found = recall(&db, &key).unwrap().unwrap();
        assert_eq!((&found.asked, found.answer), (&key.ask("print"), None));
        assert_ne!(found.asked, key.ask("another"));
        assert_eq!(found.done.unwrap().id, audit_id);

        let answer = Answer { status: 201, body: b"{\"token\":\"sk_x\"}".to_vec() };
        assert!(!keep_answer(&db, &Key::new("token:2", "0f3a"), &answer).unwrap());
        assert!(keep_answer(&db, &key, &answer).unwrap());
        assert_eq!(recall(&db, &key).unwrap().unwrap().answer, Some(answer));
        for other in [Key::new("token:2", "0f3a"), Key::new("token:1", "0f3b"), Key::new("token:10", "f3a")] {
            assert_eq!(recall(&db, &other).unwrap(), None, "{other:?}");
        }
    }

    #[test]
    fn neither_key_nor_request_nor_answer_can_be_read_in_the_database() {
        let db = database();
        let key = Key::new("token:1", "my-own-key");
        let audit_id = audit::append(&db, &Entry::now("token:1", "token.create", "ok")).unwrap();
        remember(&db, &key.ask("print"), audit_id).unwrap();
        keep_answer(&db, &key, &Answer { status: 201, body: b"sk_secret".to_vec() }).unwrap();
        let (stored, sealed): (String, Vec<u8>) = db
            .query_row("SELECT key || request_hash, answer FROM _streamhub_idempotency", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert!(!stored.contains("my-own-key") && !stored.contains("print"));
        // Who guesses what was asked for cannot see whether the guess is right.
        assert_ne!(Key::new("token:1", "another").ask("print").request, key.ask("print").request);
        assert!(!sealed.windows(9).any(|window| window == b"sk_secret"));

        // A damaged answer is no answer.
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(key.unsealed(&damaged), None);
        }
        assert_eq!(key.unsealed(&sealed[..5]), None);
    }

    #[test]
    fn old_rows_go_and_others_stay() {
        let db = database();
        let audit_id = audit::append(&db, &Entry::now("token:1", "x", "ok")).unwrap();
        remember(&db, &Key::new("token:1", "a").ask("p"), audit_id).unwrap();
        assert_eq!(prune(&db, &"2020-01-01".parse().unwrap()).unwrap(), 0);
        assert_eq!(prune(&db, &"2999-01-01".parse().unwrap()).unwrap(), 1);
    }
}
