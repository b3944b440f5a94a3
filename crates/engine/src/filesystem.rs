//! Whether SQLite may be trusted on a filesystem, and whether there is room on it.
//!
//! On network and user-space filesystems locks are not reliable, and a memory filesystem forgets
//! everything; both are refused before anything is created.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use crate::durable;
use crate::error::{IoContext, Result};

/// A filesystem that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Locks of two machines or processes do not exclude each other there.
    #[error("{0} does not keep SQLite's locks, so two processes could destroy a database")]
    UnsafeLocks(&'static str),
    /// Everything is gone after a restart.
    #[error("{0} lives in memory and is lost at a restart (--allow-volatile permits it for tests)")]
    Volatile(&'static str),
}

/// Whether memory filesystems are permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatile {
    /// For tests: data may be lost at a restart.
    Permit,
    /// The default.
    Refuse,
}

/// Asks the nearest existing directory at or above `path` what filesystem it is on.
pub fn check(path: &Path, volatile: Volatile) -> Result<std::result::Result<(), Refused>> {
    let mut nearest = path;
    while !durable::exists(nearest)? && nearest != durable::parent(nearest) {
        nearest = durable::parent(nearest);
    }
    let magic = statfs(nearest).at(nearest, "ask for its filesystem")?.filesystem_type().0;
    Ok(match judge(magic) {
        Err(Refused::Volatile(_)) if volatile == Volatile::Permit => Ok(()),
        verdict => verdict,
    })
}

/// Room that is about to be needed, disk by disk.
#[derive(Clone, Debug, Default)]
pub struct Room {
    by_device: BTreeMap<u64, Shortage>,
}

/// A disk that has less room than is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// A directory on it.
    pub path: PathBuf,
    /// Bytes needed.
    pub needed: u64,
    /// Bytes free.
    pub free: u64,
}

impl Room {
    /// So many bytes more will be needed where `path` is. What is not there needs none.
    pub fn add(&mut self, path: &Path, bytes: u64) {
        let Ok(found) = std::fs::metadata(path) else { return };
        let new = || Shortage { path: path.to_owned(), needed: 0, free: 0 };
        let needed = &mut self.by_device.entry(found.dev()).or_insert_with(new).needed;
        *needed = needed.saturating_add(bytes);
    }

    /// The first disk that has less.
    pub fn shortage(self) -> Result<Option<Shortage>> {
        for disk in self.by_device.into_values() {
            let free = free_bytes(&disk.path)?;
            if free < disk.needed {
                return Ok(Some(Shortage { free, ..disk }));
            }
        }
        Ok(None)
    }
}

/// Where `SQLite` has its temporary files: the first of its candidates that can be written to.
pub fn temporary_dir() -> PathBuf {
    let named = ["SQLITE_TMPDIR", "TMPDIR"].map(std::env::var_os).into_iter().flatten().map(PathBuf::from);
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"].map(PathBuf::from);
    let is_fit = |dir: &PathBuf| dir.is_dir() && access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    named.chain(usual).find(is_fit).unwrap_or_else(|| PathBuf::from("."))
}

/// Bytes that this user may still write on the filesystem of `path`.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let found = statvfs(path).at(path, "ask for its free space")?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}

fn judge(magic: libc::__fsword_t) -> std::result::Result<(), Refused> {
    // Magic numbers as the kernel's magic.h has them; some are 32 bits wide and arrive sign-extended
    // on some platforms, so only the low half is compared.
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
    match magic as u32 {
        0x6969 => Err(Refused::UnsafeLocks("NFS")),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Err(Refused::UnsafeLocks("SMB/CIFS")),
        0x6573_5546 | 0x6573_5543 => Err(Refused::UnsafeLocks("FUSE")),
        0x00C3_6400 => Err(Refused::UnsafeLocks("Ceph")),
        0x0102_1994 => Err(Refused::Volatile("tmpfs")),
        0x8584_58F6 => Err(Refused::Volatile("ramfs")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bad_filesystems_are_refused() {
        for magic in [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x00C3_6400] {
            assert!(matches!(judge(magic), Err(Refused::UnsafeLocks(_))), "{magic:x}");
        }
        for magic in [0x0102_1994, 0x8584_58F6] {
            assert!(matches!(judge(magic), Err(Refused::Volatile(_))), "{magic:x}");
        }
        assert_eq!(judge(0xEF53), Ok(()), "ext4");
        assert_eq!(judge(0x9123_683E), Ok(()), "btrfs");
    }

    #[test]
    fn a_missing_directory_is_judged_by_what_is_above_it() {
        let dir = tempfile::tempdir().unwrap();
        check(&dir.path().join("not/there/yet"), Volatile::Permit).unwrap().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
    }
}
