//! Deeds of several steps: their audit entries say `begun` until it is known how they ended.
//!
//! A deed that changes an app's directory cannot be in one transaction with its audit entry. So the entry is
//! appended with the first step, and an attention row of the app names it; the last step, or the start that
//! finishes it for a process that ended, writes the outcome in the transaction that makes it true.

use rusqlite::{Connection, Result, named_params};

use crate::audit::{self, Entry};
use crate::idempotency::{self, Asked};
use crate::{apps, attention};
use streamhub_engine::words;

/// The kind of a begun deed's attention row; its `ref` is the action and the audit entry's number.
const DEED: &str = "deed";

words! {
    /// How something that the audit tells of ended.
    pub enum Outcome {
        /// It is under way, or the process ended before it was done.
        Begun = "begun",
        /// It was done.
        Done = "ok",
        /// It was asked for and is not possible as things are.
        Refused = "refused",
        /// Whoever asked for it may not.
        Denied = "denied",
        /// It was begun and taken back, or could not be done.
        Failed = "failed",
    }
}

/// Appends the entry of a deed whose first step is in the same transaction; the registry says what it is called
/// and whose it is.
pub fn begin(db: &Connection, app_id: i64, entry: &Entry, asked: Option<&Asked>) -> Result<()> {
    let app = apps::by_id(db, app_id)?;
    let begun = Entry {
        tenant_id: app.as_ref().map(|app| app.tenant_id.clone()),
        app: app.map(|app| app.name),
        outcome: Outcome::Begun.to_string(),
        ..entry.clone()
    };
    let number = append(db, &begun, asked)?;
    attention::add(db, app_id, DEED, &format!("{} {number}", entry.action)).map(drop)
}

/// Appends the entry of a deed that is in the same transaction, and what it was asked for with.
pub fn append(db: &Connection, entry: &Entry, asked: Option<&Asked>) -> Result<i64> {
    let number = audit::append(db, entry)?;
    if let Some(asked) = asked {
        idempotency::remember(db, asked, number)?;
    }
    Ok(number)
}

/// Says how the app's begun deeds of these actions ended, in the transaction that makes it so.
pub fn conclude(db: &Connection, app_id: i64, actions: &[&str], outcome: Outcome) -> Result<()> {
    for row in attention::of_app(db, app_id)?.into_iter().filter(|row| row.kind == DEED) {
        let Some((action, number)) = row.reference.split_once(' ') else { continue };
        if actions.contains(&action) {
            db.prepare_cached("UPDATE _streamhub_audit SET outcome = :outcome WHERE id = :id")?
                .execute(named_params! { ":outcome": outcome, ":id": number.parse::<i64>().unwrap_or(0) })?;
            attention::remove(db, app_id, DEED, &row.reference)?;
        }
    }
    Ok(())
}

/// The entries of an app's begun deeds of this action, those that were begun first before others.
pub fn begun(db: &Connection, app_id: i64, action: &str) -> Result<Vec<audit::Recorded>> {
    let mut entries = Vec::new();
    for row in attention::of_app(db, app_id)?.into_iter().filter(|row| row.kind == DEED) {
        if let Some((begun, number)) = row.reference.split_once(' ')
            && begun == action
        {
            entries.extend(audit::get(db, number.parse().unwrap_or(0))?);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TenantId, fixture};

    fn outcomes(db: &Connection) -> Vec<(String, String)> {
        db.prepare("SELECT action, outcome FROM _streamhub_audit ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_>>()
            .unwrap()
    }

    #[test]
    fn a_begun_deed_is_concluded_once_and_by_its_action() {
        let db = fixture::database();
        let app = fixture::app(&db, "news-24", &TenantId::platform());
        let entry = Entry::now("token:1", "app.delete", "ok");
        begin(&db, app, &entry, None).unwrap();
        begin(&db, app, &Entry { action: "app.configure".to_owned(), ..entry }, None).unwrap();
        assert_eq!(begun(&db, app, "app.configure").unwrap().len(), 1);

        conclude(&db, app, &["app.delete"], Outcome::Done).unwrap();
        conclude(&db, app, &["app.delete"], Outcome::Failed).unwrap();
        let pair = |action: &str, outcome: &str| (action.to_owned(), outcome.to_owned());
        assert_eq!(outcomes(&db), [pair("app.delete", "ok"), pair("app.configure", "begun")]);
        assert_eq!(begun(&db, app, "app.delete").unwrap(), []);
    }
}
