//! Media files that a database names.
//!
//! A path in a row was written by another program or came with a copied directory, so it is not
//! believed. The kernel resolves it below the app's own directory and through no symbolic link
//! (`openat2`), it must lead into one of four folders, and only a regular file is touched. A path
//! that is refused is for the caller to report. Serving a file is not done here.

mod measure;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::durable;
use crate::error::{Error, IoContext, Result, Unfit};

/// The directories of an app that hold media.
pub const FOLDERS: [&str; 4] = ["recordings", "hls", "snapshots", "samples"];

/// An app's directory, as the root of every path that its database holds.
#[derive(Debug)]
pub struct MediaRoot {
    dir: PathBuf,
    fd: OwnedFd,
}

/// What a path from a database led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// A regular file in a media folder.
    File {
        /// Its size in bytes.
        bytes: u64,
    },
    /// Nothing has this name.
    Missing,
    /// Not a media file of this app. It was neither followed nor changed.
    Refused {
        /// Why.
        reason: Unfit,
    },
}

/// A regular file and the directory that names it.
struct Entry<'a> {
    parent: OwnedFd,
    name: &'a Path,
    bytes: u64,
}

impl MediaRoot {
    /// The media of the app in `dir`, which must be a directory and no link.
    pub fn open(dir: &Path) -> Result<Self> {
        let fd = open(
            dir,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .at(dir, "open the app's directory")?;
        Ok(Self { dir: dir.to_owned(), fd })
    }

    /// How large the file at `path` is, which is relative to the app's directory or begins with it.
    pub fn size_of(&self, path: &str) -> Result<Media> {
        let inside = self.inside(path);
        answer(inside.and_then(|inside| Ok(self.find(&inside)?.bytes)))
    }

    /// Removes the file at `path`, durably, and answers what was there.
    pub fn remove(&self, path: &str) -> Result<Media> {
        answer(self.inside(path).and_then(|inside| {
            let shown = self.dir.join(&inside);
            let entry = self.find(&inside)?;
            match unlinkat(&entry.parent, entry.name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::ENOENT) => return Err(Error::unfit(&shown, Unfit::Missing)),
                other => other.at(&shown, "remove the file")?,
            }
            fsync(&entry.parent).at(durable::parent(&shown), "sync the directory")?;
            Ok(entry.bytes)
        }))
    }

    /// `path` relative to the app's directory, where its words alone do not lead elsewhere.
    fn inside(&self, path: &str) -> Result<PathBuf> {
        let refuse =
            |detail: &str| Err(Error::unfit(Path::new(path), Unfit::Mismatch { detail: detail.to_owned() }));
        if path.is_empty() {
            return refuse("the path is empty");
        }
        if path.contains('\0') {
            return refuse("the path holds a NUL byte");
        }
        let mut inside = PathBuf::new();
        // An absolute path that is not below the app's directory stays absolute.
        for part in Path::new(path).strip_prefix(&self.dir).unwrap_or(Path::new(path)).components() {
            match part {
                Component::Normal(name) => inside.push(name),
                Component::CurDir => {}
                _ => return refuse("the path leads out of the app's directory"),
            }
        }
        if !FOLDERS.iter().any(|folder| inside.starts_with(folder)) {
            return refuse("the path leads to none of the app's media folders");
        }
        Ok(inside)
    }

    fn find<'a>(&self, inside: &'a Path) -> Result<Entry<'a>> {
        let shown = self.dir.join(inside);
        let above = inside.parent().filter(|above| !above.as_os_str().is_empty());
        let (Some(above), Some(name)) = (above, inside.file_name().map(Path::new)) else {
            // A media folder itself.
            return Err(Error::unfit(&shown, Unfit::NotAFile { kind: "directory" }));
        };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let parent = opened(openat2(&self.fd, above, how), &shown)?;
        // A descriptor for the path alone: it waits for no FIFO, and closing it drops no lock.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = opened(openat(parent.as_fd(), name, flags, Mode::empty()), &shown)?;
        let found = File::from(file).metadata().at(&shown, "look at it")?;
        match durable::not_a_file(found.file_type()) {
            Some(unfit) => Err(Error::unfit(&shown, unfit)),
            None => Ok(Entry { parent, name, bytes: found.len() }),
        }
    }
}

fn opened(answer: nix::Result<OwnedFd>, path: &Path) -> Result<OwnedFd> {
    match answer {
        // No file can be there: a name is missing, too long, or that of something without names in it.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => Err(Error::unfit(path, Unfit::Missing)),
        Err(Errno::ELOOP) => Err(Error::unfit(path, Unfit::Symlink)),
        other => other.at(path, "look at it"),
    }
}

fn answer(found: Result<u64>) -> Result<Media> {
    match found {
        Ok(bytes) => Ok(Media::File { bytes }),
        Err(Error::Unfit { unfit: Unfit::Missing, .. }) => Ok(Media::Missing),
        Err(Error::Unfit { unfit: reason, .. }) => Ok(Media::Refused { reason }),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make files and links with the raw calls on purpose")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// `apps/demo` with media, and beside it what must never be touched.
    fn app() -> (tempfile::TempDir, PathBuf, MediaRoot) {
        let data = tempfile::tempdir().unwrap();
        let apps = fs::canonicalize(data.path()).unwrap().join("apps");
        let dir = apps.join("demo");
        for folder in FOLDERS {
            fs::create_dir_all(dir.join(folder).join("room")).unwrap();
            fs::write(dir.join(folder).join("room/a.mp4"), b"four").unwrap();
            fs::write(dir.join(folder).join("a.mp4"), b"four").unwrap();
        }
        fs::create_dir_all(apps.join("other/recordings")).unwrap();
        fs::create_dir_all(dir.join("plugins")).unwrap();
        for name in ["app.db", "config.yaml", "plugins/a.mp4", "../other/app.db", "../other/recordings/a.mp4"]
        {
            fs::write(dir.join(name), b"precious").unwrap();
        }
        let media = MediaRoot::open(&dir).unwrap();
        (data, dir, media)
    }

    /// Every name below `dir` with its size; links are not followed.
    fn tree(dir: &Path) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            found.insert(path.clone(), if kind.is_file() { kind.len() } else { 0 });
            if kind.is_dir() {
                found.extend(tree(&path));
            }
        }
        found
    }

    #[test]
    fn a_media_file_is_measured_and_removed_and_nothing_else() {
        let (data, dir, media) = app();
        let absolute = dir.join("hls/room/a.mp4");
        let paths =
            ["recordings/a.mp4", "recordings/room/a.mp4", "./snapshots//a.mp4", absolute.to_str().unwrap()];
        for path in paths {
            let mut expected = tree(data.path());
            assert_eq!(media.size_of(path).unwrap(), Media::File { bytes: 4 }, "{path}");
            assert_eq!(tree(data.path()), expected);
            assert_eq!(media.remove(path).unwrap(), Media::File { bytes: 4 }, "{path}");
            let gone = dir.join(path.trim_start_matches("./").replace("//", "/"));
            assert!(expected.remove(&gone).is_some());
            assert_eq!(tree(data.path()), expected);
            assert_eq!(media.remove(path).unwrap(), Media::Missing, "{path}");
            assert_eq!(media.size_of(path).unwrap(), Media::Missing, "{path}");
        }
    }

    #[test]
    fn hostile_paths_are_refused_and_nothing_is_touched() {
        let (data, dir, media) = app();
        let other = dir.join("../other/recordings/a.mp4");
        let sibling = dir.with_file_name("demo-2").join("recordings/a.mp4");
        let climbing = dir.join("recordings/../app.db");
        fs::create_dir_all(sibling.parent().unwrap()).unwrap();
        fs::write(&sibling, b"precious").unwrap();
        let inside = |name: &str| dir.join("recordings").join(name);
        symlink(dir.join("app.db"), inside("link.mp4")).unwrap();
        symlink(inside("a.mp4"), inside("near.mp4")).unwrap();
        symlink("nowhere", inside("dangling.mp4")).unwrap();
        symlink(dir.join("../other/recordings"), inside("out")).unwrap();
        symlink("room", inside("in")).unwrap();
        symlink("..", inside("up")).unwrap();
        nix::unistd::mkfifo(&inside("fifo"), Mode::S_IRWXU).unwrap();
        std::os::unix::net::UnixListener::bind(inside("socket")).unwrap();
        let before = tree(data.path());
        for (path, reason) in [
            ("", "empty"),
            ("recordings/a\0.mp4", "NUL"),
            ("recordings/a.mp4\0", "NUL"),
            ("..", "out of"),
            ("../other/recordings/a.mp4", "out of"),
            ("recordings/../app.db", "out of"),
            ("recordings/../recordings/a.mp4", "out of"),
            ("/etc/passwd", "out of"),
            ("/recordings/a.mp4", "out of"),
            (other.to_str().unwrap(), "out of"),
            (climbing.to_str().unwrap(), "out of"),
            (sibling.to_str().unwrap(), "out of"),
            (".", "media folders"),
            (dir.to_str().unwrap(), "media folders"),
            ("app.db", "media folders"),
            ("config.yaml", "media folders"),
            ("plugins/a.mp4", "media folders"),
            ("recordings2/a.mp4", "media folders"),
            ("Recordings/a.mp4", "media folders"),
            ("https://media.example/recordings/a.mp4", "media folders"),
            ("recordings", "a directory"),
            ("recordings/", "a directory"),
            ("recordings/room", "a directory"),
            ("recordings/link.mp4", "symbolic link"),
            ("recordings/near.mp4", "symbolic link"),
            ("recordings/dangling.mp4", "symbolic link"),
            ("recordings/out", "symbolic link"),
            ("recordings/out/a.mp4", "symbolic link"),
            ("recordings/in/a.mp4", "symbolic link"),
            ("recordings/up/app.db", "symbolic link"),
            ("recordings/fifo", "a FIFO"),
            ("recordings/socket", "a socket"),
        ] {
            for answer in [media.size_of(path).unwrap(), media.remove(path).unwrap()] {
                let Media::Refused { reason: found } = answer else { panic!("{path}: {answer:?}") };
                assert!(found.to_string().contains(reason), "{path}: {found}");
            }
        }
        assert_eq!(tree(data.path()), before);
    }

    #[test]
    fn what_cannot_be_there_is_missing() {
        let (data, _, media) = app();
        let before = tree(data.path());
        let long = format!("recordings/{}", "x".repeat(5000));
        for path in ["recordings/b.mp4", "hls/no/such/a.ts", "recordings/a.mp4/b", &long] {
            assert_eq!(media.remove(path).unwrap(), Media::Missing, "{path}");
        }
        assert_eq!(tree(data.path()), before);
    }

    #[test]
    fn a_media_folder_that_is_a_link_is_refused() {
        let (data, dir, media) = app();
        fs::remove_dir_all(dir.join("samples")).unwrap();
        symlink(dir.join("../other/recordings"), dir.join("samples")).unwrap();
        let before = tree(data.path());
        assert_eq!(media.remove("samples/a.mp4").unwrap(), Media::Refused { reason: Unfit::Symlink });
        assert_eq!(tree(data.path()), before);
        let link = dir.with_file_name("link");
        symlink(&dir, &link).unwrap();
        assert!(MediaRoot::open(&link).is_err());
        assert!(MediaRoot::open(&dir.join("app.db")).is_err());
        assert!(MediaRoot::open(&dir.join("none")).is_err());
    }

    #[test]
    fn another_name_of_a_removed_file_stays() {
        let (_data, dir, media) = app();
        fs::hard_link(dir.join("app.db"), dir.join("recordings/b.mp4")).unwrap();
        assert_eq!(media.remove("recordings/b.mp4").unwrap(), Media::File { bytes: 8 });
        assert_eq!(fs::read(dir.join("app.db")).unwrap(), b"precious");
    }
}
