//! Deeds of several steps: their audit entries say `begun` until it is known how they ended.
//!
//! A deed that changes an app's directory cannot be in one transaction with its audit entry. So the entry is
//! appended with the first step, and an attention row of the app names it; the last step, or the start that
//! finishes it for a process that ended, writes the outcome in the transaction that makes it true.

use rusqlite::{Connection, Result, named_params};
use serde_json::{Map, Value};

use crate::apps;
use crate::attention::{self, Attention};
use crate::audit::{self, Entry};
use crate::idempotency::{self, Asked};
use streamhub_engine::words;

/// What an entry's detail calls the request that it tells of.
pub const REQUEST: &str = "requestId";

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
/// and whose it is. Returns the entry's number.
pub fn begin(db: &Connection, app_id: i64, entry: &Entry, asked: Option<&Asked>) -> Result<i64> {
    let app = apps::by_id(db, app_id)?;
    let begun = Entry {
        tenant_id: app.as_ref().map(|app| app.tenant_id.clone()),
        app: app.map(|app| app.name),
        outcome: Outcome::Begun.to_string(),
        ..entry.clone()
    };
    let number = append(db, &begun, asked)?;
    attention::add(db, app_id, DEED, &format!("{} {number}", entry.action))?;
    Ok(number)
}

/// Appends the entry of a deed that is in the same transaction, and what it was asked for with. Returns the entry's
/// number.
pub fn append(db: &Connection, entry: &Entry, asked: Option<&Asked>) -> Result<i64> {
    let number = audit::append(db, entry)?;
    if let Some(asked) = asked {
        idempotency::remember(db, asked, number)?;
    }
    Ok(number)
}

/// Says why somebody did not get what they asked for: in the entry of this number where that tells of the same
/// request, whose outcome stays what became of it, else in this one.
pub fn explain(db: &Connection, told: i64, refusal: &Entry) -> Result<()> {
    let why = details(refusal);
    let is_same = |told: &audit::Recorded| {
        let request = details(&told.entry).remove(REQUEST);
        told.entry.principal == refusal.principal && request.as_ref() == why.get(REQUEST)
    };
    let Some(told) = audit::get(db, told)?.filter(is_same) else {
        return audit::append(db, refusal).map(drop);
    };
    let mut detail = details(&told.entry);
    detail.extend(why);
    db.prepare_cached("UPDATE _streamhub_audit SET detail_json = :detail WHERE id = :id")?
        .execute(named_params! { ":detail": Value::Object(detail).to_string(), ":id": told.id })
        .map(drop)
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

/// Whether a row asks for attention because a deed of this action was begun.
pub fn is_begun(row: &Attention, action: &str) -> bool {
    row.kind == DEED && row.reference.split_once(' ').is_some_and(|(begun, _)| begun == action)
}

/// The entries of an app's begun deeds of this action, those that were begun first before others.
pub fn begun(db: &Connection, app_id: i64, action: &str) -> Result<Vec<audit::Recorded>> {
    let mut entries = Vec::new();
    for row in attention::of_app(db, app_id)?.into_iter().filter(|row| is_begun(row, action)) {
        if let Some((_, number)) = row.reference.split_once(' ') {
            entries.extend(audit::get(db, number.parse().unwrap_or(0))?);
        }
    }
    Ok(entries)
}

fn details(entry: &Entry) -> Map<String, Value> {
    entry.detail_json.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
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

    #[test]
    fn a_refusal_is_told_where_its_request_is_told_of_already() {
        let db = fixture::database();
        let app = fixture::app(&db, "news-24", &TenantId::platform());
        let of_request = |request: &str, detail: &str| Entry {
            detail_json: Some(format!(r#"{{"requestId":"{request}"{detail}}}"#)),
            ..Entry::now("token:1", "app.rename", "refused")
        };
        let told = begin(&db, app, &of_request("a", r#","kept":1"#), None).unwrap();
        conclude(&db, app, &["app.rename"], Outcome::Failed).unwrap();
        explain(&db, told, &of_request("a", r#","code":"busy""#)).unwrap();
        let entry = audit::get(&db, told).unwrap().unwrap().entry;
        assert_eq!(entry.outcome, "failed");
        assert_eq!(entry.detail_json.as_deref(), Some(r#"{"code":"busy","kept":1,"requestId":"a"}"#));

        // What was rolled back left its number to others.
        let other_request = of_request("b", "");
        let other_principal = Entry { principal: "token:2".to_owned(), ..of_request("a", "") };
        for (number, refusal) in [(told, other_request), (told, other_principal), (0, of_request("a", ""))] {
            let before = outcomes(&db).len();
            explain(&db, number, &refusal).unwrap();
            assert_eq!(outcomes(&db).len(), before + 1);
        }
        assert_eq!(audit::get(&db, told).unwrap().unwrap().entry, entry);
    }
}
