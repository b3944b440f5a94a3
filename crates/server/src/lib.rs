//! StreamHub over HTTP.
//!
//! [`router`] makes an [`axum::Router`] that answers at the root and under `/api/v1`, and can be
//! mounted under any prefix of someone else's server. [`serve`] runs it on a listener. What is asked
//! goes to a [`Service`], which listens before the databases are open: until then it says so.
//!
//! No SQL and no file is touched here; that is the hub's.

mod error;
mod health;
mod router;
mod run;
mod service;

pub use router::router;
pub use run::serve;
pub use service::Service;
