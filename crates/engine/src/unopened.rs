//! A database file that no connection of this process has open.
//!
//! Closing *any* descriptor of a file drops all POSIX locks that the process holds on it, and with
//! them the protection of every open SQLite connection to that file. So plain file access to a
//! database goes through an [`Unopened`], which can be had only while no connection is open, and
//! keeps connections from being opened while it lives. Files are told apart by device and inode, so
//! that two paths to one file are one file.
#![allow(
    clippy::disallowed_methods,
    reason = "plain access to an unopened database is what this module guards"
)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::{AccessFlags, eaccess};

use crate::durable;
use crate::error::{Error, IoContext, Result, Unfit};
use crate::header::{HEADER_LEN, Header};

type FileKey = (u64, u64);

#[derive(Clone, Copy)]
enum Use {
    Connections(usize),
    Plain,
}

static IN_USE: LazyLock<Mutex<HashMap<FileKey, Use>>> = LazyLock::new(Mutex::default);

fn in_use() -> std::sync::MutexGuard<'static, HashMap<FileKey, Use>> {
    // The map is whole between any two statements that hold the lock.
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(path: &Path) -> io::Result<FileKey> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A connection's entry in the table of open files; dropped after the connection.
#[derive(Debug)]
pub(crate) struct OpenMark(FileKey);

impl OpenMark {
    pub(crate) fn set(path: &Path) -> Result<Self> {
        let key = key_of(path).at(path, "look at it")?;
        match in_use().entry(key).or_insert(Use::Connections(0)) {
            Use::Connections(count) => *count += 1,
            Use::Plain => return Err(Error::unfit(path, Unfit::OpenHere)),
        }
        Ok(Self(key))
    }
}

impl Drop for OpenMark {
    fn drop(&mut self) {
        let mut table = in_use();
        if let Some(Use::Connections(count)) = table.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.0);
            }
        }
    }
}

/// What it means to the super-user that a file's mode gives nobody the right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Somebody meant this file to stay as it is.
    Obeyed,
    /// The mode came with a copy of read-only media and says nothing about this file.
    Overridden,
}

/// The right to use a database file's bytes directly; connections wait until it is gone.
#[derive(Debug)]
pub struct Unopened {
    path: PathBuf,
    key: FileKey,
    len: u64,
    mode: u32,
    links: u64,
}

impl Unopened {
    /// Claims a regular file. Refuses what is missing, a link, FIFO or directory, and what a
    /// connection of this process has open.
    pub fn claim(path: &Path) -> Result<Self> {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::unfit(path, Unfit::Missing));
            }
            other => other.at(path, "look at it")?,
        };
        if let Some(unfit) = durable::not_a_file(found.file_type()) {
            return Err(Error::unfit(path, unfit));
        }
        let key = (found.dev(), found.ino());
        {
            let mut table = in_use();
            if table.contains_key(&key) {
                return Err(Error::unfit(path, Unfit::OpenHere));
            }
            table.insert(key, Use::Plain);
        }
        Ok(Self {
            path: path.to_owned(),
            key,
            len: found.len(),
            mode: found.permissions().mode(),
            links: found.nlink(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the main file when it was claimed.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Refuses a file that may not be put to use: hard-linked, or one that may not be written.
    pub fn require_own_and_writable(&self, protection: Protection) -> Result<()> {
        if self.links > 1 {
            return Err(Error::unfit(&self.path, Unfit::HardLinked { links: self.links }));
        }
        let refused = self.is_write_protected() && protection == Protection::Obeyed;
        if refused || eaccess(&self.path, AccessFlags::W_OK).is_err() {
            return Err(Error::unfit(&self.path, Unfit::ReadOnly));
        }
        Ok(())
    }

    /// Whether the file's mode gives its owner no right to write, which does not stop the super-user.
    pub fn is_write_protected(&self) -> bool {
        self.mode & 0o200 == 0
    }

    /// The parsed first page header; refuses what is empty or no SQLite database.
    pub fn header(&self) -> Result<Header> {
        if self.len == 0 {
            return Err(Error::unfit(&self.path, Unfit::Empty));
        }
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        durable::open_existing(&self.path)
            .and_then(|file| file.take(HEADER_LEN as u64).read_to_end(&mut bytes))
            .at(&self.path, "read the header")?;
        Header::parse(&bytes).ok_or_else(|| Error::unfit(&self.path, Unfit::NotADatabase))
    }

    /// Bytes of the sidecar with this ending (`-wal`, `-shm`, `-journal`); 0 where there is none.
    pub fn sidecar_len(&self, ending: &str) -> Result<u64> {
        let path = sidecar(&self.path, ending);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error).at(&path, "look at it"),
            Ok(found) => match durable::not_a_file(found.file_type()) {
                Some(unfit) => Err(Error::unfit(&path, unfit)),
                None => Ok(found.len()),
            },
        }
    }

    /// Refuses a file whose bytes alone are not its content: one beside a `-wal` or journal that
    /// holds anything.
    pub fn require_whole(&self) -> Result<()> {
        for (ending, unfit) in [("-wal", Unfit::WalBeside), ("-journal", Unfit::HotJournal)] {
            if self.sidecar_len(ending)? > 0 {
                return Err(Error::unfit(&self.path, unfit));
            }
        }
        Ok(())
    }

    /// Lets `read` have all bytes of the file, from the first on; refuses one that is not
    /// [whole](Self::require_whole).
    pub fn with_content<T>(&self, read: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> Result<T> {
        self.require_whole()?;
        durable::open_existing(&self.path)
            .and_then(|mut file| read(&mut file))
            .at(&self.path, "read the file")
    }

    /// Makes the file's content durable.
    pub fn sync(&self) -> Result<()> {
        File::open(&self.path).and_then(|file| file.sync_all()).at(&self.path, "sync the file")
    }

    /// Refuses the file while another process has it open with SQLite, naming that process.
    ///
    /// Asks the kernel about SQLite's lock bytes without taking any lock. Every connection in WAL
    /// mode holds such locks for as long as it is open, whatever program made it.
    pub fn refuse_foreign_holder(&self) -> Result<()> {
        const PENDING_BYTE: libc::off_t = 0x4000_0000;
        const LOCK_BYTES: libc::off_t = 512;
        const WAL_INDEX_LOCKS: libc::off_t = 120;
        const WAL_INDEX_LOCK_BYTES: libc::off_t = 9;
        holder(&self.path, PENDING_BYTE, LOCK_BYTES)?;
        holder(&sidecar(&self.path, "-shm"), WAL_INDEX_LOCKS, WAL_INDEX_LOCK_BYTES)
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        in_use().remove(&self.key);
    }
}

/// The path of a database's sidecar: the whole name and an ending.
pub fn sidecar(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn holder(path: &Path, start: libc::off_t, len: libc::off_t) -> Result<()> {
    let file = match durable::open_existing(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.at(path, "look for lock holders")?,
    };
    #[allow(clippy::cast_possible_truncation, reason = "the lock constants are small")]
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut lock)).at(path, "look for lock holders")?;
    if i32::from(lock.l_type) == libc::F_UNLCK {
        return Ok(());
    }
    let pid = (lock.l_pid > 0).then_some(lock.l_pid);
    Err(Error::unfit(path, Unfit::Held { pid }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    fn database(dir: &tempfile::TempDir) -> PathBuf {
        let path = dir.path().join("x.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
        path
    }

    #[test]
    fn plain_access_and_connections_exclude_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = database(&dir);
        let unopened = Unopened::claim(&path).unwrap();
        assert!(matches!(OpenMark::set(&path), Err(Error::Unfit { unfit: Unfit::OpenHere, .. })));
        drop(unopened);
        let mark = OpenMark::set(&path).unwrap();
        assert!(matches!(Unopened::claim(&path), Err(Error::Unfit { unfit: Unfit::OpenHere, .. })));
        drop(mark);
        Unopened::claim(&path).unwrap().header().unwrap();
    }

    #[test]
    fn a_second_path_to_the_same_file_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = database(&dir);
        let other = dir.path().join("other.db");
        fs::hard_link(&path, &other).unwrap();
        let _mark = OpenMark::set(&path).unwrap();
        assert!(Unopened::claim(&other).is_err());
    }

    #[test]
    fn unfit_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = database(&dir);
        let refused = |path: &Path| match Unopened::claim(path).and_then(|file| {
            file.require_own_and_writable(Protection::Obeyed)?;
            file.header()
        }) {
            Err(Error::Unfit { unfit, .. }) => unfit,
            other => panic!("{} was taken: {other:?}", path.display()),
        };
        let at = |name: &str| dir.path().join(name);
        assert_eq!(refused(&at("none")), Unfit::Missing);
        fs::write(at("empty"), b"").unwrap();
        assert_eq!(refused(&at("empty")), Unfit::Empty);
        fs::write(at("text"), b"hello").unwrap();
        assert_eq!(refused(&at("text")), Unfit::NotADatabase);
        std::os::unix::fs::symlink(&path, at("link")).unwrap();
        assert_eq!(refused(&at("link")), Unfit::Symlink);
        assert_eq!(refused(dir.path()), Unfit::NotAFile { kind: "directory" });
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(refused(&path), Unfit::ReadOnly);
        if eaccess(&path, AccessFlags::W_OK).is_ok() {
            Unopened::claim(&path).unwrap().require_own_and_writable(Protection::Overridden).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&path, at("second")).unwrap();
        assert_eq!(refused(&path), Unfit::HardLinked { links: 2 });
    }
}
