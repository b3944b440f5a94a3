//! What a deleted app's directory is called in the trash.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use streamhub_engine::AppId;

use super::App;

/// The name of a directory in the trash: `a-z`, `0-9` and `-` only, so that it is always exactly one
/// directory there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashName(String);

/// A text that names no directory in the trash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no directory in the trash: a-z, 0-9 and '-'")]
pub struct BadTrashName {
    /// The text that was refused, shortened where it is long.
    pub text: String,
}

impl TrashName {
    /// Where an app of this name goes. An app that was moved away and came back has another number, so that it
    /// finds room beside what was deleted before.
    pub fn of(app: &App, name: &AppId) -> Self {
        match app.uuid() {
            Some(Ok(uuid)) => Self(format!("{name}-{uuid}-{}", app.id)),
            _ => Self(format!("{name}-without-uuid-{}", app.id)),
        }
    }
}

impl FromStr for TrashName {
    type Err = BadTrashName;

    fn from_str(text: &str) -> Result<Self, BadTrashName> {
        let fits =
            !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadTrashName { text: text.chars().take(64).collect() })
        }
    }
}

impl AsRef<Path> for TrashName {
    fn as_ref(&self) -> &Path {
        self.0.as_ref()
    }
}

impl fmt::Display for TrashName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ToSql for TrashName {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for TrashName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|error: BadTrashName| FromSqlError::Other(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_refused() {
        assert!("news-24-6f1c0a3e-0000-4000-8000-000000000001-7".parse::<TrashName>().is_ok());
        assert!("news-24-without-uuid-7".parse::<TrashName>().is_ok());
        for text in ["", ".", "..", "../x", "/x", "a/b", ".staging", "a\0", "a\n", "a~7", "A"] {
            assert!(text.parse::<TrashName>().is_err(), "{text:?} was taken");
        }
    }
}
