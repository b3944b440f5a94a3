//! Patches: what becomes of single columns of a row.

use std::borrow::Cow;

use rusqlite::types::{Null, ToSql};
use rusqlite::{OptionalExtension, Result, Row, params_from_iter};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use streamhub_engine::WriteTx;

/// A column and the value that goes into it.
pub(crate) type Assignment<'a> = (&'static str, &'a dyn ToSql);

/// A column that may be empty is kept, emptied or set. In JSON: absent, `null`, or a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes empty.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

impl<T> From<Option<T>> for Change<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    // An absent field does not come here; it is `Keep` by `#[serde(default)]`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::from)
    }
}

impl<T: ToSql> Change<T> {
    pub(crate) fn assign(&self, column: &'static str) -> Option<Assignment<'_>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some((column, &Null)),
            Self::Set(value) => Some((column, value)),
        }
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

/// For a column that is never empty: absent keeps it, and `null` is an error.
pub(crate) fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
