//! Patches: what becomes of single columns of a row.

use rusqlite::types::{Null, ToSql};
use rusqlite::{OptionalExtension, Result, Row, params_from_iter};
use streamhub_engine::WriteTx;
use streamhub_engine::change::Change;

/// A column and the value that goes into it.
pub(crate) type Assignment<'a> = (&'static str, &'a dyn ToSql);

/// What becomes of a column, where it does not stay as it is.
pub(crate) fn assign<'a, T: ToSql>(column: &'static str, change: &'a Change<T>) -> Option<Assignment<'a>> {
    match change {
        Change::Keep => None,
        Change::Clear => Some((column, &Null)),
        Change::Set(value) => Some((column, value)),
    }
}

/// Changes the row of a table that `key` names, where there is one, and returns what it has become.
pub(crate) fn apply<T>(
    tx: &mut WriteTx<'_>,
    table: &str,
    key: Assignment<'_>,
    assignments: &[Assignment<'_>],
    columns: &str,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let (key_column, key) = key;
    let sql = if assignments.is_empty() {
        format!("SELECT {columns} FROM {table} WHERE {key_column} = ?")
    } else {
        let set: Vec<_> = assignments.iter().map(|(column, _)| format!("{column} = ?")).collect();
        format!("UPDATE {table} SET {} WHERE {key_column} = ? RETURNING {columns}", set.join(", "))
    };
    let values = assignments.iter().map(|(_, value)| *value).chain([key]);
    tx.execute_returning(&sql, params_from_iter(values), read).optional()
}
