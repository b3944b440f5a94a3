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
pub mod cursor;
pub mod db;
pub mod deeds;
pub mod email;
#[cfg(test)]
mod fixture;
pub mod idempotency;
pub mod ip_rules;
pub mod jobs;
pub mod journal;
pub mod login_failures;
pub mod logs;
pub mod members;
pub mod nodes;
pub mod page;
pub mod password;
pub mod plane;
pub mod quotas;
pub mod schema;
mod secret_token;
pub mod sessions;
pub mod setup;
pub mod tenants;
pub mod tokens;
pub mod totp;
pub mod usage;
pub mod users;
pub mod within;

pub use db::Control;
pub use plane::{Plane, PlaneError};
pub use rusqlite::{Connection, Error as SqlError, Result as SqlResult};
pub use streamhub_engine::words::UnknownWord;
pub use tenants::TenantId;
pub use within::Within;
