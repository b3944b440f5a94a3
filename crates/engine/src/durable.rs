//! The one place where files and directories change.
//!
//! A change counts only once the file *and* the directory that names it are on the disk, so every
//! function here returns after the fsyncs. Plain reads of databases do not belong here but to
//! [`Unopened`](crate::Unopened).
#![allow(clippy::disallowed_methods, reason = "this is the module that the ban points to")]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, RenameFlags, renameat2};

use crate::error::{Error, IoContext, Result, Unfit};

/// Permissions of a directory that only its owner may enter.
pub const PRIVATE_DIR: u32 = 0o700;
/// Permissions of a file that only its owner may read.
pub const PRIVATE_FILE: u32 = 0o600;

/// How the name of a staged file ends.
const PART: &str = ".part";

/// The directory that names `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether anything has this name, a dangling symbolic link included.
pub fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at(path, "look at it"),
    }
}

/// The names in a directory, sorted; none where there is no directory.
pub fn names_in(dir: &Path) -> Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.at(dir, "list the directory"),
    }
}

/// Whether a directory has any entry but those that begin with a dot; one that is not there has none.
pub fn has_visible_entry(dir: &Path) -> Result<bool> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.at(dir, "list the directory")?,
    };
    for entry in entries {
        let name = entry.at(dir, "list the directory")?.file_name();
        if !name.to_string_lossy().starts_with('.') {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Creates one directory, readable for its owner only; one that is there already is fine.
pub fn create_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(PRIVATE_DIR).create(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error).at(path, "create the directory"),
    }
}

/// Creates a directory and those above it that are missing.
pub fn create_dir_all(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    if above != path {
        create_dir_all(above)?;
    }
    create_dir(path)
}

/// Creates an empty file that must not exist yet, readable for its owner only.
pub fn create_new(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(path).at(path, "create the file")
}

/// Opens the file for reading and writing, creating it where it is missing. For lock files only.
pub(crate) fn open_or_create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
        .at(path, "open the file")
}

/// Opens an existing file for reading, following no symbolic link and waiting for no FIFO.
pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)
}

/// Reads a small regular file whole; more than `cap` bytes, a link, FIFO or directory is an error.
pub fn read_capped(path: &Path, cap: u64) -> Result<Vec<u8>> {
    let found = fs::symlink_metadata(path).at(path, "read the file")?;
    if let Some(kind) = not_a_file(found.file_type()) {
        return Err(Error::unfit(path, kind));
    }
    let file = open_existing(path).at(path, "read the file")?;
    let mut bytes = Vec::new();
    file.take(cap + 1).read_to_end(&mut bytes).at(path, "read the file")?;
    if bytes.len() as u64 > cap {
        let detail = format!("it is larger than {cap} bytes");
        return Err(Error::unfit(path, Unfit::Mismatch { detail }));
    }
    Ok(bytes)
}

/// What stands in a file's place, where it is not a regular file.
pub(crate) fn not_a_file(kind: fs::FileType) -> Option<Unfit> {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_file() {
        None
    } else if kind.is_symlink() {
        Some(Unfit::Symlink)
    } else {
        let kind = if kind.is_dir() {
            "directory"
        } else if kind.is_fifo() {
            "FIFO"
        } else if kind.is_socket() {
            "socket"
        } else {
            "device"
        };
        Some(Unfit::NotAFile { kind })
    }
}

/// Writes a whole small file: staged beside it, synced, renamed over it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{}{PART}", ::uuid::Uuid::new_v4().simple()));
    let staged = PathBuf::from(staged);
    let written = (|| {
        let mut file = create_new(&staged)?;
        file.write_all(bytes).at(&staged, "write the file")?;
        file.sync_all().at(&staged, "sync the file")?;
        fs::rename(&staged, path).at(path, "rename the file")
    })();
    if written.is_err() {
        // The staged file is ours alone; the error that matters is the first one.
        let _ = fs::remove_file(&staged);
    }
    written?;
    sync_dir(parent(path))
}

/// Removes what killed writes left beside `path`: staged files that begin with its name. Nobody may be
/// writing it meanwhile.
pub fn sweep_parts(path: &Path) -> Result<()> {
    let Some(name) = path.file_name().map(|name| format!("{}.", name.to_string_lossy())) else {
        return Ok(());
    };
    for found in names_in(parent(path))? {
        if found.starts_with(&name) && found.ends_with(PART) {
            remove_file(&path.with_file_name(found))?;
        }
    }
    Ok(())
}

/// Creates a directory that must not exist yet, readable for its owner only. Its name is not synced: that is
/// for whoever moves it into place.
pub fn create_new_dir(path: &Path) -> Result<()> {
    DirBuilder::new().mode(PRIVATE_DIR).create(path).at(path, "create the directory")
}

/// Writes a file into a directory that has none of this name; both are on the disk then.
pub fn write_new_in(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let mut file = create_new(&path)?;
    file.write_all(bytes).at(&path, "write the file")?;
    file.sync_all().at(&path, "sync the file")?;
    sync_dir(dir)
}

/// Copies a directory's files and directories into a directory that is made for it; all of it is on the
/// disk then. Anything but plain files and directories is refused.
pub fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    create_new_dir(to)?;
    copy_into(from, to)
}

/// As [`copy_dir`], into an empty directory that is there.
pub fn copy_into(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).at(from, "list the directory")? {
        let entry = entry.at(from, "list the directory")?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().at(&source, "look at it")?;
        if kind.is_dir() {
            copy_dir(&source, &target)?;
        } else if let Some(unfit) = not_a_file(kind) {
            return Err(Error::unfit(&source, unfit));
        } else {
            let mut reader = open_existing(&source).at(&source, "read the file")?;
            let mut writer = create_new(&target)?;
            io::copy(&mut reader, &mut writer).at(&target, "copy the file")?;
            writer.sync_all().at(&target, "sync the file")?;
        }
    }
    sync_dir(to)
}

/// A path without links in it.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).at(path, "look at it")
}

/// When a file was last written; none where there is no such file.
pub fn modified(path: &Path) -> Result<Option<std::time::SystemTime>> {
    match fs::symlink_metadata(path).and_then(|found| found.modified()) {
        Ok(at) => Ok(Some(at)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at(path, "look at it"),
    }
}

/// Syncs a directory: the names in it are then on the disk.
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).at(path, "open the directory")?.sync_all().at(path, "sync the directory")
}

/// Gives a file or directory another name that must be free; both directories are synced.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    rename_unsynced(from, to)?;
    sync_parents(from, to)
}

/// As [`rename_new`], out of staging: that the old name is gone need not last, since staging is emptied at
/// every start.
pub fn move_new(from: &Path, to: &Path) -> Result<()> {
    rename_unsynced(from, to)?;
    sync_dir(parent(to))
}

fn rename_unsynced(from: &Path, to: &Path) -> Result<()> {
    match renameat2(nix::fcntl::AT_FDCWD, from, nix::fcntl::AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Err(nix::Error::EEXIST | nix::Error::ENOTEMPTY) => Err(Error::unfit(to, Unfit::Exists)),
        other => other.at(to, "rename the file"),
    }
}

fn sync_parents(from: &Path, to: &Path) -> Result<()> {
    sync_dir(parent(to))?;
    if parent(from) != parent(to) {
        sync_dir(parent(from))?;
    }
    Ok(())
}

/// Cuts off what a file has beyond `len` bytes.
pub(crate) fn shorten(path: &Path, len: u64) -> Result<()> {
    let shorten = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
        if file.metadata()?.len() > len {
            file.set_len(len)?;
            file.sync_all()?;
        }
        Ok(())
    };
    shorten().at(path, "shorten the file")
}

/// Removes a file; one that is not there is fine.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).at(path, "remove the file"),
    }
}

/// Removes a directory with all that is in it; one that is not there is fine.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).at(path, "remove the directory"),
    }
}

/// Leaves a file or directory to its owner alone, who may read and write it.
///
/// Someone else's file stays as it is: only its owner could change that, and the caller may warn.
pub fn make_private(path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path).at(path, "look at it")?;
    let private = if found.is_dir() { PRIVATE_DIR } else { PRIVATE_FILE };
    if found.permissions().mode() & 0o777 == private {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(private)).at(path, "leave it to its owner alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_private_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read_capped(&path, 3).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE_FILE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a staged file was left behind");
    }

    #[test]
    fn a_write_that_cannot_be_finished_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_write_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["a", "a.1.part", "a.bak", "a.bak.2.part", "ab.3.part", "b.4.part"];
        for name in names {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        sweep_parts(&dir.path().join("a")).unwrap();
        assert_eq!(names_in(dir.path()).unwrap(), ["a", "a.bak", "ab.3.part", "b.4.part"]);
        sweep_parts(&dir.path().join("none/a")).unwrap();
    }

    #[test]
    fn rename_new_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write(&a, b"a").unwrap();
        write(&b, b"b").unwrap();
        assert!(matches!(rename_new(&a, &b), Err(Error::Unfit { unfit: Unfit::Exists, .. })));
        assert_eq!(read_capped(&b, 9).unwrap(), b"b");
    }

    #[test]
    fn only_small_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"four").unwrap();
        assert!(read_capped(&path, 3).unwrap_err().to_string().contains("larger than 3 bytes"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read_capped(&link, 9), Err(Error::Unfit { unfit: Unfit::Symlink, .. })));
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read_capped(&dir.path().join("fifo"), 9).unwrap_err().to_string().contains("FIFO"));
    }
}
