//! The older system's data directories, made to order.
//!
//! The DDL is written here from the known facts of the format: tables and columns by version, constraints, defaults,
//! places. Index names and layout are this project's own; what the older system's own program wrote is in the fixtures.
//! A [`Tree`] describes a directory and writes it; [`sources()`] reads back what a directory holds for each app, so that a
//! test can demand that nothing of it was lost.
//!
//! ```no_run
//! use streamhub_tests::legacy::{Tree, vod};
//!
//! Tree::new()
//!     .at_version(8)
//!     .app("demo", |a| {
//!         a.dir().vods_db(|v| v.stream("s1").stream("s2").vod("rec.mp4")).global(vod("older.mp4").id(1))
//!     })
//!     .build("/scratch/data".as_ref());
//! ```

mod database;
mod ddl;
pub mod example;
mod populate;
pub mod random;
mod rows;
pub mod sources;
mod tree;

pub use database::Database;
pub use random::random_tree;
pub use rows::{Cell, Row, Table, ingress, stream, vod};
pub use sources::{Source, SourceRow, Sources, accounting, app_rows, sources};
pub use tree::{App, Tree};
