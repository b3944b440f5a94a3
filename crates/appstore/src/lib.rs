//! What is inside an app's own database.
//!
//! The schema and the identity of an `app.db`. Nothing here can name the control database.

pub mod identity;
pub mod schema;

pub use identity::Identity;
