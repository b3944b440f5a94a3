//! Is there room for the copies that a take-over makes?

use std::path::{Path, PathBuf};

use streamhub::HubError;
use streamhub::legacy::Site;
use streamhub_engine::durable;
use streamhub_engine::filesystem::Room;

/// Left over for the pages of half-empty new files.
const SLACK: u64 = 1 << 20;

/// Refuses before anything is written where a filesystem has too little free space.
///
/// Counted are the control database's backup and the WAL of its adoption, new databases as large as
/// the older ones, and for adopted ones a copy and a WAL.
pub(crate) fn require(site: &Site) -> Result<(), HubError> {
    let mut room = Room::default();
    let apps = site.data.apps();
    let control_dir = durable::parent(&site.control);
    let control = size(&site.control) + size(&with_wal(&site.control));
    room.add(control_dir, 2 * control + SLACK);
    // Rows of apps that still are in the control database end up on the apps' disk.
    room.add(&apps, control);
    for name in durable::names_in(&apps)? {
        let dir = apps.join(name);
        let [app, vods] =
            ["app.db", "vods.db"].map(|name| size(&dir.join(name)) + size(&with_wal(&dir.join(name))));
        // The directory itself, which may be a mount of its own.
        room.add(&dir, app + vods);
        room.add(site.data.root(), app);
    }
    room.shortage()?.map_or(Ok(()), |short| Err(short.into()))
}

fn size(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |found| found.len())
}

fn with_wal(path: &Path) -> PathBuf {
    streamhub_engine::unopened::sidecar(path, "-wal")
}
