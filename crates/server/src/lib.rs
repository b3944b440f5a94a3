//! StreamHub over HTTP.
//!
//! [`router`] makes an [`axum::Router`] that answers at the root and under `/api/v1`, and can be
//! mounted under any prefix of someone else's server. [`serve`] runs it on a listener. What is asked
//! goes to a [`Service`], which listens before the databases are open: until then it says so.
//!
//! No SQL and no file is touched here; that is the hub's.

mod access_log;
mod address;
mod answer;
mod api;
mod ask;
mod body;
mod config;
mod connection;
mod docs;
mod entrance;
mod error;
mod following;
mod idempotency;
mod intake;
mod lasting;
mod layers;
mod listing;
mod metrics;
mod openapi;
mod places;
mod policy;
mod request;
mod route;
mod router;
mod run;
mod service;
mod shares;

pub use access_log::ACCESS_LOG;
pub use config::ServerConfig;
pub use policy::Policy;
pub use router::{policies, router};
pub use run::serve;
pub use service::Service;
