//! What is inside an app's own database.
//!
//! Typed readers and writers, one module per noun: [`streams`], [`vods`], [`ingress`], the [`outbox`], and
//! [`stats`] over them. They take a [`ReadTx`] or a
//! [`WriteTx`] and neither begin nor end a transaction; an error means that the
//! caller rolls back. [`schema`] and [`identity`] say what the file is, and [`template`] makes one. Nothing
//! here can name the control database.
//!
//! ```
//! use streamhub_appstore::streams::{self, Kind, NewStream};
//! use streamhub_appstore::vods::{self, NewVod, Status, VodFilter, VodPatch};
//! use streamhub_appstore::{SCHEMA, StoreError};
//! use streamhub_engine::migrate::From;
//! use streamhub_engine::{Change, Database, WriteTx};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut db = Database::scratch(None)?;
//! SCHEMA.migrate(&mut db, From::Nothing, |_| Ok::<_, streamhub_engine::Error>(()))?;
//! let tx = &mut WriteTx::within(&db);
//!
//! // Somebody publishes, and is recorded.
//! let publish = NewStream {
//!     app_id: 1,
//!     stream_id: "live/cam".to_owned(),
//!     kind: Kind::Rtmp,
//!     room: Some("lobby".to_owned()),
//!     participant: None,
//! };
//! streams::start(tx, &publish)?;
//! assert!(matches!(streams::start(tx, &publish), Err(StoreError::Exists { .. })));
//! let file = Some("recordings/cam.mp4".to_owned());
//! let vod = vods::create(tx, &NewVod { app_id: 1, local_path: file, ..NewVod::named("cam.mp4") })?;
//!
//! // It is over.
//! streams::end(tx, "live/cam")?;
//! let done = VodPatch { status: Some(Status::Ready), size_bytes: Change::Set(81_920), ..VodPatch::default() };
//! vods::update(tx, vod.id, &done)?;
//!
//! let ready = VodFilter { status: Some(Status::Ready), ..VodFilter::default() };
//! assert_eq!(vods::list(tx, &ready)?.total, 1);
//! # Ok(())
//! # }
//! ```

pub mod error;
pub mod identity;
pub mod ingress;
pub mod outbox;
pub mod purge;
pub mod schema;
pub mod stats;
pub mod streams;
pub mod template;
pub mod vods;

mod change;
mod check;
mod column;
mod page;
#[cfg(test)]
mod testing;

pub use error::{Result, StoreError};
pub use identity::Identity;
pub use page::{Listed, Page};
pub use schema::SCHEMA;
pub use streamhub_engine::{ReadTx, WriteTx};
pub use template::Template;
