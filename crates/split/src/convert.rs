//! Bringing values to the types of the table that they go into.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, Result, Statement};
use streamhub_engine::names::{quoted, quoted_list};
use streamhub_engine::reshape::Column;

use crate::older::Table;

/// Brings values to the types that the table's own columns give them, by storing them once.
///
/// Needed only where a source declares a column with another type than the table: there SQLite would
/// store the value differently, and the row would not be found equal again.
pub(crate) struct Converter<'c> {
    store: Statement<'c>,
    load: Statement<'c>,
    width: usize,
}

impl<'c> Converter<'c> {
    pub(crate) fn where_needed(
        db: &'c Connection,
        table: &Table,
        content: &[String],
        theirs: &[Column],
        ours: &[Column],
    ) -> Result<Option<Self>> {
        let affinity_in = |columns: &[Column], name: &str| {
            columns
                .iter()
                .find(|column| column.name.eq_ignore_ascii_case(name))
                .map(|column| affinity(&column.decl))
        };
        if content.iter().all(|name| affinity_in(theirs, name) == affinity_in(ours, name)) {
            return Ok(None);
        }
        let name = format!("converted_{}", table.name);
        let known: Vec<_> = content
            .iter()
            .map(|name| if affinity_in(ours, name).is_some() { quoted(name) } else { "NULL".into() })
            .collect();
        db.execute_batch(&format!(
            "DROP TABLE IF EXISTS temp.{name}; CREATE TEMP TABLE {name} AS SELECT {} FROM main.{} WHERE 0",
            known.join(", "),
            table.name
        ))?;
        Ok(Some(Self {
            store: db.prepare(&format!(
                "INSERT OR REPLACE INTO temp.{name} (rowid, {}) VALUES (1, {})",
                columns_of_temp(db, &name)?,
                vec!["?"; content.len()].join(", ")
            ))?,
            load: db.prepare(&format!("SELECT * FROM temp.{name} WHERE rowid = 1"))?,
            width: content.len(),
        }))
    }

    /// None for a row that has no owned form, because some text in it is not UTF-8: it stays as it is.
    pub(crate) fn convert(&mut self, values: &[ValueRef<'_>]) -> Result<Option<Vec<Value>>> {
        for (at, value) in values.iter().enumerate() {
            self.store.raw_bind_parameter(at + 1, ToSqlOutput::Borrowed(*value))?;
        }
        self.store.raw_execute()?;
        let width = self.width;
        self.load.query_row([], |row| {
            let values = (0..width).map(|at| Value::try_from(row.get_ref(at)?).map_err(Error::from));
            Ok(values.collect::<Result<_>>().ok())
        })
    }
}

fn columns_of_temp(db: &Connection, name: &str) -> Result<String> {
    let names: Vec<String> = db
        .prepare("SELECT name FROM pragma_table_xinfo(?1, 'temp')")?
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_>>()?;
    Ok(quoted_list(&names))
}

/// SQLite's rules for the type that a declaration gives a column.
fn affinity(decl: &str) -> &'static str {
    let decl = decl.to_ascii_uppercase();
    if decl.contains("INT") {
        "INTEGER"
    } else if ["CHAR", "CLOB", "TEXT"].iter().any(|word| decl.contains(word)) {
        "TEXT"
    } else if decl.is_empty() || decl.contains("BLOB") {
        "BLOB"
    } else if ["REAL", "FLOA", "DOUB"].iter().any(|word| decl.contains(word)) {
        "REAL"
    } else {
        "NUMERIC"
    }
}
