//! How a file is kept.
//!
//! The storage engine under StreamHub: where the data directory is, who may use it, and how a
//! `SQLite` file is judged, opened, migrated, copied and put into service without ever losing a
//! row. It blocks and knows no async runtime, and it knows nothing of tenants, streams or HTTP.
//!
//! A file passes through these modules in this order: [`data_dir`] names it, [`filesystem`] and
//! [`lock`] decide whether it may be used at all, [`unopened`] looks at it without opening it,
//! [`judge`] says whose it is, [`connect`] opens it, [`migrate`] brings its schema up to date,
//! [`snapshot`] copies it and [`install`] puts a copy into its place. While it is in service, [`live`]
//! reads and writes it and [`cache`] decides which of many files are open.

pub mod app_id;
pub mod cache;
pub mod change;
pub mod connect;
pub mod data_dir;
pub mod database_url;
pub mod durable;
pub mod error;
#[cfg(all(test, feature = "explore"))]
mod explore;
pub mod filesystem;
pub mod header;
pub mod install;
pub mod judge;
pub mod live;
pub mod lock;
pub mod media;
pub mod meta;
pub mod migrate;
pub mod names;
pub mod observe;
mod parsed;
pub mod read_pool;
pub mod reshape;
pub mod seal;
pub mod snapshot;
mod sync;
pub mod text;
pub mod time;
pub mod tx;
pub mod unopened;
pub mod uuid;
pub mod words;

pub use self::uuid::Uuid;
pub use app_id::{AppId, BadAppId};
pub use change::Change;
pub use connect::Database;
pub use data_dir::DataDir;
pub use error::{Error, Fault, Result, Unfit};
pub use tx::{ReadTx, WriteTx};
pub use unopened::Unopened;

/// A random identity as text, in lower-case hexadecimal with hyphens.
pub fn new_uuid() -> String {
    Uuid::random().into()
}
