//! Is there room for the copies that a take-over makes?

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use streamhub::HubError;
use streamhub::legacy::Site;
use streamhub_engine::{durable, filesystem};

/// Left over for the pages of half-empty new files.
const SLACK: u64 = 1 << 20;

/// Refuses before anything is written where a filesystem has too little free space.
///
/// Counted are the control database's backup and the WAL of its adoption, new databases as large as
/// the older ones, and for adopted ones a copy and a WAL.
pub(crate) fn require(site: &Site) -> Result<(), HubError> {
    let mut needed: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    let apps = site.data.apps();
    let control_dir = durable::parent(&site.control);
    let control = size(&site.control) + size(&with_wal(&site.control));
    add(&mut needed, control_dir, 2 * control + SLACK);
    // Rows of apps that still are in the control database end up on the apps' disk.
    add(&mut needed, &apps, control);
    for name in durable::names_in(&apps)? {
        let dir = apps.join(name);
        let [app, vods] =
            ["app.db", "vods.db"].map(|name| size(&dir.join(name)) + size(&with_wal(&dir.join(name))));
        // The directory itself, which may be a mount of its own.
        add(&mut needed, &dir, app + vods);
        add(&mut needed, site.data.root(), app);
    }
    for (path, needed) in needed.into_values() {
        let free = filesystem::free_bytes(&path)?;
        if free < needed {
            return Err(HubError::NoSpace { path, needed, free });
        }
    }
    Ok(())
}

fn add(needed: &mut BTreeMap<u64, (PathBuf, u64)>, path: &Path, bytes: u64) {
    let Ok(found) = std::fs::metadata(path) else { return };
    needed.entry(found.dev()).or_insert_with(|| (path.to_owned(), 0)).1 += bytes;
}

fn size(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |found| found.len())
}

fn with_wal(path: &Path) -> PathBuf {
    streamhub_engine::unopened::sidecar(path, "-wal")
}
