//! The control plane: who, where and how much.
//!
//! One small database holds tenants, users, quotas, nodes and the pointers to the apps' own
//! databases. One module per noun; nothing here knows what is inside an app.
//!
//! The nouns are plain functions over a connection, within the caller's transaction. What one may
//! refuse it answers as `Result<Result<T, Refusal>>`: the outer one is the database's, and a refusal
//! has changed nothing.

pub mod allow_list;
pub mod apps;
pub mod attention;
pub mod audit;
pub mod db;
pub mod email;
#[cfg(test)]
mod fixture;
pub mod members;
pub mod nodes;
pub mod password;
pub mod plane;
pub mod quotas;
pub mod schema;
pub mod setup;
pub mod tenants;
mod text;
pub mod tokens;
pub mod usage;
pub mod users;

pub use db::Control;
pub use plane::{Plane, PlaneError};
pub use rusqlite::{Connection, Error as SqlError, Result as SqlResult};
pub use streamhub_engine::words::UnknownWord;
pub use tenants::TenantId;
