//! The outbox: work outside this database that must follow a commit, written in the same transaction.
//!
//! Whoever ships it reads in the order of `seq`, does the work in a way that may be repeated, and removes
//! what is done. A `seq` is never given out twice, so that with the database's uuid it names a piece of
//! work for ever. Entries that a later program wrote are kept for it: they are read as
//! [`Entry::Unknown`] and never removed.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use streamhub_engine::reshape::{raise_sequence, sequence};
use streamhub_engine::time::Moment;
use streamhub_engine::{ReadTx, Uuid, WriteTx};

use crate::column;
use crate::error::{Result, StoreError};

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum Entry {
    /// A file that belonged to a deleted row is to be deleted.
    DeleteFile {
        /// From the app's directory.
        path: String,
    },
    /// What somebody did to the app is to be written into the audit log.
    Audit {
        /// When.
        at: Moment,
        /// Who: a user, a token.
        principal: String,
        /// From where.
        address: Option<String>,
        /// What, as `vod.delete`.
        action: String,
        /// To what.
        target: Option<String>,
        /// How it ended, as `done`.
        outcome: String,
        /// What else there is to say.
        detail: Option<Value>,
        /// What it was asked for with, where that may be sent twice; the hub knows what it means.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Value>,
    },
    /// What was used of something is to be added to what the app's tenant used. What is metered is the hub's to
    /// say; it leaves what it does not know where it is.
    Meter {
        /// What, as `egress_bytes`.
        metric: String,
        /// In which month, as `2026-11`.
        month: String,
        /// How much, in the metric's unit.
        amount: u64,
    },
    /// Something that this program does not understand. It cannot be pushed.
    #[serde(skip)]
    Unknown {
        /// The kind, as its writer named it.
        kind: String,
        /// The payload, as it stands there.
        payload: String,
    },
}

/// A piece of work in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Its place; grows, and is never given out twice.
    pub seq: i64,
    /// When it was written.
    pub created_at: String,
    /// The work.
    pub entry: Entry,
}

/// Adds a piece of work at the end and returns its place.
pub fn push(tx: &mut WriteTx<'_>, entry: &Entry) -> Result<i64> {
    let (kind, payload) = entry.to_columns()?;
    tx.execute(
        "INSERT INTO _streamhub_outbox (kind, payload_json, created_at) VALUES (?1, ?2, ?3)",
        params![kind, payload, Moment::now()],
    )?;
    tx.owe_follow_up();
    Ok(tx.last_insert_rowid())
}

/// What is pending after `after_seq`, in order, at most `limit` pieces.
pub fn peek(tx: &ReadTx<'_>, after_seq: i64, limit: u32) -> Result<Vec<Pending>> {
    let sql = "SELECT seq, created_at, kind, payload_json FROM _streamhub_outbox \
               WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    Ok(tx.query_all(sql, params![after_seq, limit], |row| {
        Ok(Pending {
            seq: row.get(0)?,
            created_at: column::required_text(row, 1)?,
            entry: Entry::of_columns(column::required_text(row, 2)?, column::required_text(row, 3)?),
        })
    })?)
}

/// Has the outbox count on from a place of its own: a copy that goes its own way gives out no place that
/// another copy gives out too.
pub(crate) fn count_on(db: &Connection, nonce: &Uuid) -> rusqlite::Result<()> {
    const STEP: i64 = 1 << 48;
    let digits = nonce.as_str().rsplit('-').next().unwrap_or_default();
    let step = i64::from_str_radix(digits, 16).unwrap_or(0) % STEP + 1;
    let last = sequence(db, "_streamhub_outbox")?.unwrap_or(0);
    raise_sequence(db, "_streamhub_outbox", last.saturating_add(step))
}

/// Removes what was carried out.
pub fn remove(tx: &mut WriteTx<'_>, done: &[i64]) -> Result<()> {
    for seq in done {
        tx.execute("DELETE FROM _streamhub_outbox WHERE seq = ?1", [seq])?;
    }
    Ok(())
}

/// Removes what is to be told where the database comes from, and keeps what is to be done to its own files.
pub fn forget_told(tx: &mut WriteTx<'_>) -> Result<()> {
    tx.execute("DELETE FROM _streamhub_outbox WHERE kind IN ('audit', 'meter')", [])?;
    Ok(())
}

/// Whether nothing is pending, not even what this program does not understand.
pub fn is_empty(tx: &ReadTx<'_>) -> Result<bool> {
    Ok(tx.query_row("SELECT NOT EXISTS (SELECT 1 FROM _streamhub_outbox)", [], |row| row.get(0))?)
}

impl Entry {
    fn to_columns(&self) -> Result<(String, String)> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut columns)) => {
                let kind = columns["kind"].as_str().unwrap_or_default().to_owned();
                Ok((kind, columns["payload"].take().to_string()))
            }
            _ => Err(StoreError::invalid("entry", "this program does not understand it")),
        }
    }

    fn of_columns(kind: String, payload: String) -> Self {
        let entry = serde_json::from_str(&payload).and_then(|value: Value| {
            Self::deserialize(serde_json::json!({ "kind": kind, "payload": value }))
        });
        entry.unwrap_or(Self::Unknown { kind, payload })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::database;

    fn audit(action: &str) -> Entry {
        Entry::Audit {
            at: "2026-01-01".parse().unwrap(),
            principal: "user:1".to_owned(),
            address: None,
            action: action.to_owned(),
            target: Some("7".to_owned()),
            outcome: "done".to_owned(),
            detail: Some(serde_json::json!({ "room": "lobby" })),
            asked: None,
        }
    }

    fn later(tx: &mut WriteTx<'_>, kind: &str, payload: &str) -> i64 {
        let sql = "INSERT INTO _streamhub_outbox (kind, payload_json, created_at) VALUES (?1, ?2, 'then')";
        tx.execute(sql, [kind, payload]).unwrap();
        tx.last_insert_rowid()
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        assert!(is_empty(tx).unwrap());
        let meter =
            Entry::Meter { metric: "egress_bytes".to_owned(), month: "2026-11".to_owned(), amount: u64::MAX };
        let entries = [Entry::DeleteFile { path: "recordings/ä".to_owned() }, audit("vod.delete"), meter];
        for (seq, entry) in (1..).zip(&entries) {
            assert_eq!(push(tx, entry).unwrap(), seq);
        }
        let read: Vec<_> = peek(tx, 0, 9).unwrap().into_iter().map(|pending| pending.entry).collect();
        assert_eq!(read, entries);
        assert!(!is_empty(tx).unwrap());
        let (kind, payload): (String, String) = db
            .query_row("SELECT kind, payload_json FROM _streamhub_outbox", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!((kind.as_str(), payload.as_str()), ("delete_file", "{\"path\":\"recordings/ä\"}"));
    }

    #[test]
    fn what_a_later_program_wrote_stays() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        push(tx, &audit("a")).unwrap();
        let unknown = [
            ("webhook", "{\"url\":1}"),
            ("delete_file", "{\"paths\":[]}"),
            ("audit", "no json"),
            ("meter", "{\"metric\":\"egress_bytes\",\"month\":\"2026-11\",\"amount\":-1}"),
        ];
        for (kind, payload) in unknown {
            later(tx, kind, payload);
        }
        later(tx, "delete_file", "{\"path\":\"hls/x\",\"reason\":\"age\"}");
        let known = |pending: &Pending| !matches!(pending.entry, Entry::Unknown { .. });
        let all = peek(tx, 0, 9).unwrap();
        let done: Vec<_> = all.iter().filter(|pending| known(pending)).map(|pending| pending.seq).collect();
        assert_eq!(done.len(), 2);
        remove(tx, &done).unwrap();
        let left: Vec<_> = peek(tx, 0, 9).unwrap().into_iter().map(|pending| pending.entry).collect();
        let expected = unknown
            .map(|(kind, payload)| Entry::Unknown { kind: kind.to_owned(), payload: payload.to_owned() });
        assert_eq!(left, expected);
        assert!(!is_empty(tx).unwrap());
        assert!(matches!(push(tx, &left[0]), Err(StoreError::Invalid { field: "entry", .. })));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Later,
        Remove(usize),
        Peek(usize, u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            1 => Just(Step::Later),
            2 => (0..20_usize).prop_map(Step::Remove),
            2 => (0..20_usize, 0..5_u32).prop_map(|(after, limit)| Step::Peek(after, limit)),
        ]
    }

    proptest! {
        #[test]
        fn work_is_seen_in_order_and_its_place_is_never_given_out_twice(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let db = database();
            let tx = &mut WriteTx::within(&db);
            // Every place that was given out, and whether this program understands what is there.
            let mut given: Vec<(i64, bool)> = Vec::new();
            let mut left: Vec<(i64, bool)> = Vec::new();
            for step in steps {
                let place = |at: usize| given.get(at).map_or(i64::MAX, |(seq, _)| *seq);
                match step {
                    Step::Push | Step::Later => {
                        let is_known = matches!(step, Step::Push);
                        let seq = if is_known { push(tx, &audit("x")).unwrap() } else { later(tx, "new", "{}") };
                        prop_assert!(given.last().is_none_or(|(last, _)| seq > *last));
                        given.push((seq, is_known));
                        left.push((seq, is_known));
                    }
                    Step::Remove(at) => {
                        left.retain(|(seq, _)| *seq != place(at));
                        remove(tx, &[place(at)]).unwrap();
                    }
                    Step::Peek(at, limit) => {
                        let seen = peek(tx, place(at), limit).unwrap();
                        let seen: Vec<_> = seen.iter().map(|pending| pending.seq).collect();
                        let all = left.iter().map(|(seq, _)| *seq).filter(|seq| *seq > place(at));
                        prop_assert_eq!(seen, all.take(limit as usize).collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(is_empty(tx).unwrap(), left.is_empty());
            }
        }
    }
}
