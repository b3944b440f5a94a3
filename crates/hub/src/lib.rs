//! StreamHub: the state layer of a media server.
//!
//! One small control database holds tenants, users and pointers to apps; each app owns an `SQLite`
//! file of its own. This crate is what a media server embeds, and what the command line and the
//! HTTP interface are made of: [`Hub::open`] takes a data directory into possession and keeps it
//! until the hub is closed.
//!
//! ```no_run
//! use streamhub::{Hub, HubConfig, progress::Silent};
//!
//! let hub = Hub::open(&HubConfig::new("/var/lib/streamhub"), &Silent)?;
//! for app in hub.apps()? {
//!     println!("{} {}", app.name, app.state);
//! }
//! hub.close()?;
//! # Ok::<(), streamhub::HubError>(())
//! ```

mod adopt;
pub mod app_config;
mod app_settings;
mod around;
mod blocking;
pub mod boot;
pub mod config_check;
pub mod doctor;
mod error;
pub mod hub;
mod lease;
pub mod legacy;
mod life;
mod live_streams;
pub mod locate;
pub mod look;
mod maintenance;
mod opener;
mod outbox;
mod people;
pub mod progress;
mod recover;
mod registry;
pub mod report;
mod sealing;
pub mod secrets;
pub mod settings;
pub mod status;
#[cfg(test)]
mod tests;
mod upkeep;
pub mod yaml;

pub use adopt::{Adopted, Adoption, Proof};
pub use error::{HubError, Kind, Result};
pub use hub::{Appearing, Hub, HubConfig, Keep, LiveStreams};
pub use lease::{CallerError, Lease};
pub use legacy::LegacySource;
pub use life::NewApp;
pub use maintenance::{Extent, Health, Optimized, TableHealth};
pub use people::TenantChange;
pub use registry::{Registry, TenantUsage};

pub use streamhub_appstore::{
    Change, Listed, Page, ReadTx, StoreError, WriteTx, ingress, stats, streams, vods,
};
pub use streamhub_control::{
    TenantId, allow_list, apps, email, members, nodes, password, quotas, setup, tenants, tokens, usage, users,
};
pub use streamhub_engine::cache::{AppState, Cost, Stats};
pub use streamhub_engine::live::{Busy, Limits, LiveError};
pub use streamhub_engine::observe::Observer;
pub use streamhub_engine::seal::Seal;
pub use streamhub_engine::{AppId, DataDir, data_dir, database_url, filesystem::Volatile, new_uuid, time};

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
