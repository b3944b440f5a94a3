//! The control database in service: a pool of readers, and a writer that commits many writes at once.

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use rusqlite::Connection;
use streamhub_engine::live::{Config, Live, LiveError};
use streamhub_engine::read_pool::ReadPool;
use streamhub_engine::{Error, Result};

use crate::db::Control;

/// The control database in service.
#[derive(Debug)]
pub struct Plane {
    /// None once the plane is closed.
    readers: RwLock<Option<ReadPool>>,
    writer: Live,
}

/// A read or write that the control database did not do.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// It could not be done at all, or its commit failed.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// `SQLite` refused or failed.
    #[error(transparent)]
    Failed(Error),
}

/// The same, while the closure's own failure does not name the file yet.
#[derive(Debug, thiserror::Error)]
enum Unnamed {
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl From<PlaneError> for LiveError {
    fn from(error: PlaneError) -> Self {
        match error {
            PlaneError::Live(error) => error,
            PlaneError::Failed(error) => Self::Failed(error),
        }
    }
}

impl Plane {
    /// Puts an open control database into service.
    pub fn new(control: Control, config: Config) -> Result<Self> {
        let path = control.path().to_owned();
        let writer = Live::new(control.into_database(), config)?;
        Ok(Self { readers: RwLock::new(Some(ReadPool::new(&path))), writer })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.writer.path()
    }

    /// How many writes wait.
    pub fn queued(&self) -> usize {
        self.writer.queued()
    }

    /// Runs a closure that reads, in one snapshot.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, PlaneError> {
        match &*self.readers.read().unwrap_or_else(PoisonError::into_inner) {
            Some(readers) => readers.read(|db| Ok(work(db)?)).map_err(|error| self.named(error)),
            None => Err(LiveError::Closed { path: self.path().to_owned() }.into()),
        }
    }

    /// Runs a closure that writes, and returns after its commit is durable. It may run more than once.
    pub fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PlaneError> {
        self.writer.write(move |tx| Ok(work(tx.connection())?)).map_err(|error| self.named(error))
    }

    /// Writes everything into the file and closes it.
    pub fn close(&self) -> Result<()> {
        // The readers first, so that the writer's connection is the last and empties the `-wal`.
        drop(self.readers.write().unwrap_or_else(PoisonError::into_inner).take());
        self.writer.close()
    }

    fn named(&self, error: Unnamed) -> PlaneError {
        match error {
            Unnamed::Live(error) => PlaneError::Live(error),
            Unnamed::Sqlite(source) => {
                PlaneError::Failed(Error::Sqlite { path: self.path().to_owned(), source })
            }
        }
    }
}
