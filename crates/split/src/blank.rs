//! The empty app.db that those of apps without one begin as.
//!
//! Running the schema's DDL for every app would cost more than most apps' rows. So it runs once, without
//! the indices that wait for the rows, and each app gets a copy of the bytes.

use std::path::Path;

use rusqlite::Connection;
use streamhub_appstore::Template;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::{Database, Result};

use crate::indices::Indices;
use crate::older::TABLES;

/// An empty app.db and what it lacks.
#[derive(Debug)]
pub(crate) struct Blank {
    bytes: Vec<u8>,
    waiting: Vec<Indices>,
}

impl Blank {
    pub(crate) fn new() -> Result<Self> {
        let (bytes, waiting) = Template::unfilled(|tx| {
            TABLES.iter().map(|table| Indices::drop(tx, table.name).of(Path::new("(template)"))).collect()
        })?;
        Ok(Self { bytes, waiting })
    }

    /// Makes a database in a new file, which lacks the indices.
    pub(crate) fn lay(&self, path: &Path) -> Result<Database> {
        Database::build_from(path, &self.bytes)
    }

    /// Makes what was waiting for the rows, in the transaction that brought them.
    pub(crate) fn complete(&self, tx: &Connection) -> rusqlite::Result<()> {
        self.waiting.iter().try_for_each(|indices| indices.create(tx))
    }
}
