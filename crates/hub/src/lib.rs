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

pub mod app_config;
pub mod boot;
pub mod config_check;
pub mod doctor;
mod error;
pub mod hub;
pub mod legacy;
pub mod locate;
pub mod look;
pub mod progress;
pub mod report;
pub mod secrets;
pub mod settings;
pub mod status;
pub mod yaml;

pub use error::{HubError, Kind};
pub use hub::{Hub, HubConfig};
pub use legacy::LegacySource;

pub use streamhub_control::{apps, password, setup, tenants, users};
pub use streamhub_engine::{AppId, DataDir, data_dir, database_url, filesystem::Volatile, new_uuid, time};

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
