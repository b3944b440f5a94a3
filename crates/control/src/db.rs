//! The open control database.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge::Stamp;
use streamhub_engine::migrate::From;
use streamhub_engine::{Database, Error, Result, meta};

use crate::schema::SCHEMA;
use crate::tenants;

/// Meta key: this installation's own uuid, which its apps' databases name as the one that made them.
pub const INSTALLATION: &str = "installation";

/// An open control database.
#[derive(Debug)]
pub struct Control {
    db: Database,
}

impl Control {
    /// Builds a new control database in a new file, for the caller to install.
    pub fn build(path: &Path) -> Result<streamhub_engine::Unopened> {
        let mut db = Database::build(path)?;
        SCHEMA.migrate(&mut db, From::Nothing, |tx| {
            tenants::ensure_platform(tx).and_then(|()| identify(tx)).of(path)
        })?;
        db.finish()
    }

    /// Opens a control database of ours, whose stamp was judged, and migrates it where that is needed.
    pub fn open(path: &Path) -> Result<Self> {
        let mut db = Database::write(path)?;
        let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).of(path)?;
        if version < SCHEMA.latest() {
            SCHEMA.migrate(&mut db, From::Ours, |_| Ok::<_, Error>(()))?;
        }
        Ok(Self { db })
    }

    /// Opens a control database of ours for reading only, beside a running server.
    pub fn read(path: &Path) -> Result<Self> {
        Database::read(path).map(|db| Self { db })
    }

    /// Opens a control database that nobody else has open, leaving no trace.
    pub fn inspect(path: &Path) -> Result<Self> {
        Database::inspect(path).map(|db| Self { db })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.db.path()
    }

    /// The connection, for this crate's nouns and for the take-over of older data.
    pub fn connection(&self) -> &Connection {
        &self.db
    }

    /// The engine's handle of the file, to be put into service.
    pub fn into_database(self) -> Database {
        self.db
    }

    /// The engine's handle of the file.
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Runs `work` in one immediate transaction.
    pub fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let path = self.db.path().to_owned();
        let run = |db: &mut Connection| {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&tx)?;
            tx.commit()?;
            Ok(result)
        };
        run(&mut self.db).of(&path)
    }

    /// Runs `work` on the connection, with the file's name in any error.
    pub fn query<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.db).of(self.db.path())
    }

    /// What the database says of itself, through the connection: for a file that others have open.
    pub fn stamp(&self) -> Result<Stamp> {
        Stamp::read(&self.db)
    }

    /// The installation's uuid.
    pub fn installation(&self) -> Result<Option<String>> {
        self.query(|db| meta::get(db, INSTALLATION))
    }

    /// Writes what the `-wal` holds into the file and closes it.
    pub fn close(self) -> Result<()> {
        self.db.checkpoint()?;
        self.db.close()
    }
}

/// Gives the installation its uuid, where it has none.
pub fn identify(db: &Connection) -> rusqlite::Result<()> {
    if meta::get(db, INSTALLATION)?.is_none() {
        meta::set(db, INSTALLATION, &streamhub_engine::new_uuid())?;
    }
    Ok(())
}
