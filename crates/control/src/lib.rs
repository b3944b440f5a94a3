//! The control plane: who, where and how much.
//!
//! One small database holds tenants, users, quotas, nodes and the pointers to the apps' own
//! databases. One module per noun; nothing here knows what is inside an app.

pub mod apps;
pub mod db;
pub mod password;
pub mod schema;
pub mod setup;
pub mod tenants;
pub mod users;

pub use db::Control;
pub use tenants::TenantId;
