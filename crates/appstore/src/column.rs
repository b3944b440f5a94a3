//! Reading columns of rows that an older program may have written.
//!
//! A column's declared type is advice to SQLite, so one odd value must not make a whole listing fail: what
//! is of another type is read as far as it makes sense.

use rusqlite::types::ValueRef;
use rusqlite::{Result, Row};

/// A text; what is not UTF-8 in it is replaced.
pub(crate) fn text(row: &Row<'_>, at: usize) -> Result<Option<String>> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(match str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // Looking for what to replace takes several times as long.
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        }),
    })
}

/// A text that is always there.
pub(crate) fn required_text(row: &Row<'_>, at: usize) -> Result<String> {
    text(row, at).map(Option::unwrap_or_default)
}

/// A whole number; a text that is none is nothing.
#[allow(clippy::cast_possible_truncation, reason = "a fraction is cut off, and the cast keeps to the limits")]
pub(crate) fn integer(row: &Row<'_>, at: usize) -> Result<Option<i64>> {
    Ok(match row.get_ref(at)? {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Real(number) => Some(number as i64),
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => None,
    })
}

/// A number; a text that is none is nothing.
#[allow(clippy::cast_precision_loss, reason = "SQLite rounds the same way when it stores a REAL")]
pub(crate) fn real(row: &Row<'_>, at: usize) -> Result<Option<f64>> {
    Ok(match row.get_ref(at)? {
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => None,
    })
}

/// Bytes of the texts in a row's first columns.
pub(crate) fn length(row: &Row<'_>, columns: usize) -> Result<usize> {
    (0..columns).try_fold(0, |sum, column| match row.get_ref(column)? {
        ValueRef::Text(text) => Ok(sum + text.len()),
        _ => Ok(sum),
    })
}
