//! The door through which an older system's data comes in.
//!
//! The hub knows that older data directories exist, not what is in them. Whoever knows implements
//! [`LegacySource`] and hands it over in [`HubConfig::legacy`](crate::HubConfig::legacy); without
//! one, an older control database is refused.

use std::path::PathBuf;

use streamhub_engine::filesystem::Volatile;
use streamhub_engine::unopened::Protection;
use streamhub_engine::{AppId, DataDir};

use crate::error::HubError;
use crate::progress::Progress;
use crate::report::SplitReport;

/// The key in an app.db's `_streamhub_meta` that says: what an older system's `vods.db` beside it holds was
/// imported.
pub const VODS_IMPORTED: &str = "vods_import_done";

/// A data directory that this process holds the lock of.
#[derive(Clone, Debug)]
pub struct Site {
    /// The directory.
    pub data: DataDir,
    /// The control database, which may lie elsewhere.
    pub control: PathBuf,
    /// Whether memory filesystems are permitted; an app's directory may be a mount of its own.
    pub volatile: Volatile,
    /// What a write-protected app database means. Where the control database is write-protected itself,
    /// the whole directory was copied from read-only media.
    pub protection: Protection,
}

/// Takes older data over.
pub trait LegacySource: Send + Sync {
    /// Whether there is work even where nothing is open: a person asked for a recovery or a clean-up.
    fn has_errand(&self) -> bool;

    /// Refuses what [`boot`](Self::boot) would refuse as a whole, and changes nothing: asked before the
    /// lock is taken and the first file is made.
    fn survey(&self, site: &Site) -> Result<(), HubError>;

    /// Adopts the control database where it is an older system's and takes over every app that is
    /// still open. The lock is held, and nothing in this process has a database open.
    ///
    /// An app that fails is in the report; an error means that nothing at all could be done.
    fn boot(&self, site: &Site, progress: &dyn Progress) -> Result<SplitReport, HubError>;

    /// Takes one app over that is used for the first time although its take-over is open: its directory
    /// may have appeared since. The control database is open and in use.
    fn first_open(&self, site: &Site, app: &AppId) -> Result<(), HubError>;
}
