//! One owner per data directory.
//!
//! A `flock` on a sentinel file, held for the life of the process. The kernel lets go of it when the
//! process ends, however it ends, so a stale lock file means nothing. The holder's process id is
//! written into the file for people to read.
#![allow(
    clippy::disallowed_methods,
    reason = "the lock file holds a number for people, and nothing that has to last"
)]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::durable;
use crate::error::{Error, IoContext, Result, Unfit};

/// The lock on a data directory; dropping it lets go.
#[derive(Debug)]
pub struct DirLock {
    _file: Flock<File>,
}

impl DirLock {
    /// Takes the lock and writes this process's id into the file.
    pub fn acquire(path: &Path) -> Result<Self> {
        let mut file = try_lock(path, durable::open_or_create(path)?, FlockArg::LockExclusiveNonblock)?;
        let pid = format!("{}\n", std::process::id());
        (file.set_len(0))
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
            .at(path, "write the process id")?;
        Ok(Self { _file: file })
    }

    /// Refuses where another process holds the lock; creates nothing and leaves nothing locked.
    pub fn refuse_holder(path: &Path) -> Result<()> {
        if !durable::exists(path)? {
            return Ok(());
        }
        let file = durable::open_existing(path).at(path, "open the lock file")?;
        try_lock(path, file, FlockArg::LockSharedNonblock).map(drop)
    }
}

/// Tries a few times, because [`DirLock::refuse_holder`] of another process holds a lock for an instant.
fn try_lock(path: &Path, mut file: File, how: FlockArg) -> Result<Flock<File>> {
    let mut attempts = 0..5;
    loop {
        file = match Flock::lock(file, how) {
            Ok(locked) => return Ok(locked),
            Err((file, nix::Error::EWOULDBLOCK)) => file,
            Err((_, error)) => return Err(error).at(path, "lock the file"),
        };
        if attempts.next().is_none() {
            return Err(held(path, file));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn held(path: &Path, mut file: File) -> Error {
    let mut text = String::new();
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    Error::Unfit { path: PathBuf::from(path), unfit: Unfit::Held { pid } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("streamhub.lock");
        DirLock::refuse_holder(&path).unwrap();
        assert!(!path.exists(), "asking created the lock file");
        let lock = DirLock::acquire(&path).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        for refused in [DirLock::acquire(&path).unwrap_err(), DirLock::refuse_holder(&path).unwrap_err()] {
            assert!(
                matches!(refused, Error::Unfit { unfit: Unfit::Held { pid: Some(found) }, .. } if found == pid)
            );
        }
        drop(lock);
        DirLock::refuse_holder(&path).unwrap();
        DirLock::acquire(&path).unwrap();
    }
}
