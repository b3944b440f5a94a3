//! What can go wrong with a row, and the way out.

/// The result of an operation on rows.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A failed operation on an app database's rows. The caller's transaction or savepoint is to be rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// `SQLite` refused or failed.
    // Not transparent: whoever looks for the cause is to find SQLite's own error.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A value that the caller gave is not acceptable.
    #[error("{}: {reason}", spelt(field))]
    Invalid {
        /// The column or parameter. The message spells it as JSON does, as callers wrote it.
        field: &'static str,
        /// What is wrong with it, and what would be right. Never the value of a secret.
        reason: String,
    },
    /// Another ingress has the stream key.
    #[error("ingress {ingress:?} has this stream key already")]
    KeyTaken {
        /// The one that has it. The key itself is never named.
        ingress: String,
    },
    /// Something of this name is there already.
    #[error("{noun} {name:?} is already there")]
    Exists {
        /// What it is, such as `active stream`.
        noun: &'static str,
        /// Its name or number.
        name: String,
    },
    /// Nothing of this name is there.
    #[error("there is no {noun} {name:?}")]
    NotFound {
        /// What was looked for: `stream`, `vod`, `ingress`.
        noun: &'static str,
        /// Its name or number.
        name: String,
    },
}

impl StoreError {
    /// What a person can do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "nothing was changed; see the reason and the app's health",
            Self::Invalid { .. } => "correct the value; nothing was changed",
            Self::KeyTaken { .. } => "choose another key, or delete the ingress that has this one",
            Self::Exists { .. } => "end or delete that one first, or choose another name",
            Self::NotFound { .. } => "check the spelling; it may have been deleted meanwhile",
        }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(crate) fn exists(noun: &'static str, name: &(impl ToString + ?Sized)) -> Self {
        Self::Exists { noun, name: name.to_string() }
    }

    pub(crate) fn not_found(noun: &'static str, name: &(impl ToString + ?Sized)) -> Self {
        Self::NotFound { noun, name: name.to_string() }
    }
}

/// A column as JSON spells it: `size_bytes` is `sizeBytes` there.
fn spelt(column: &str) -> String {
    let mut words = column.split('_');
    let mut spelt = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        spelt.push_str(&first.to_ascii_uppercase());
        spelt.push_str(rest);
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_spells_a_column_as_json_does() {
        for (column, field) in [
            ("size_bytes", "sizeBytes"),
            ("duration_s", "durationS"),
            ("s3_url", "s3Url"),
            ("last_stats_json", "lastStatsJson"),
            ("room", "room"),
        ] {
            assert_eq!(StoreError::invalid(column, "no").to_string(), format!("{field}: no"));
        }
    }
}
