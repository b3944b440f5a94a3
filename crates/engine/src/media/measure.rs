//! How much an app's media folders hold, by what their directories say: no file is opened.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstatat};

use super::{FOLDERS, MediaRoot};
use crate::error::{IoContext, Result};

impl MediaRoot {
    /// Bytes of all regular files in the media folders, by their lengths; no link is followed. `pace` is asked
    /// before each entry, and may end it.
    pub fn bytes(&self, pace: &mut dyn FnMut() -> ControlFlow<()>) -> Result<ControlFlow<(), u64>> {
        let mut bytes = 0;
        let mut left: Vec<_> = FOLDERS.iter().map(PathBuf::from).collect();
        while let Some(inside) = left.pop() {
            if self.add_directory(&inside, pace, &mut bytes, &mut left)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(bytes))
    }

    /// Adds the files of one directory; those that it holds are left to do.
    fn add_directory(
        &self,
        inside: &Path,
        pace: &mut dyn FnMut() -> ControlFlow<()>,
        bytes: &mut u64,
        left: &mut Vec<PathBuf>,
    ) -> Result<ControlFlow<()>> {
        let shown = self.dir.join(inside);
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let directory = match openat2(&self.fd, inside, how) {
            // There is none, or it went, or it is too deep to have a name.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => {
                return Ok(ControlFlow::Continue(()));
            }
            opened => opened.at(&shown, "open the directory")?,
        };
        // One descriptor is read from, the other stands for the directory meanwhile.
        let entries = directory.try_clone().at(&shown, "open the directory")?;
        for entry in Dir::from_fd(entries).at(&shown, "read the directory")?.iter() {
            if pace().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let entry = entry.at(&shown, "read the directory")?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let found = match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => continue,
                found => found.at(&shown, "look into the directory")?,
            };
            match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFREG => *bytes += u64::try_from(found.st_size).unwrap_or_default(),
                SFlag::S_IFDIR => left.push(inside.join(OsStr::from_bytes(name.to_bytes()))),
                _ => {}
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make files and links with the raw calls on purpose")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn all(media: &MediaRoot) -> u64 {
        media.bytes(&mut || ControlFlow::Continue(())).unwrap().continue_value().unwrap()
    }

    #[test]
    fn what_lies_in_the_media_folders_counts_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("demo");
        for inside in ["recordings/a/b", "hls", "plugins"] {
            fs::create_dir_all(dir.join(inside)).unwrap();
        }
        let media = MediaRoot::open(&dir).unwrap();
        assert_eq!(all(&media), 0);
        for (path, bytes) in [
            ("recordings/a.mp4", 1),
            ("recordings/a/b/c.mp4", 20),
            ("hls/x.ts", 300),
            ("app.db", 4000),
            ("plugins/a.mp4", 50_000),
        ] {
            fs::write(dir.join(path), vec![0; bytes]).unwrap();
        }
        fs::write(data.path().join("other"), vec![0; 600_000]).unwrap();
        symlink("../../other", dir.join("recordings/link")).unwrap();
        symlink("..", dir.join("recordings/loop")).unwrap();
        symlink("plugins", dir.join("samples")).unwrap();
        nix::unistd::mkfifo(&dir.join("hls/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(all(&media), 321);

        let mut entries = 0;
        let ended = media.bytes(&mut || {
            entries += 1;
            if entries < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert_eq!((ended.unwrap(), entries), (ControlFlow::Break(()), 3));
    }

    #[test]
    fn what_is_too_deep_for_a_name_ends_nothing() {
        let data = tempfile::tempdir().unwrap();
        let name = "d".repeat(250);
        let mut at = data.path().join("recordings");
        fs::create_dir(&at).unwrap();
        fs::write(at.join("a"), [0; 5]).unwrap();
        for _ in 0..14 {
            at.push(&name);
            fs::create_dir(&at).unwrap();
        }
        // Deeper than a path can name, by a step at a time.
        let mut deep = nix::fcntl::open(&at, OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
        for _ in 0..4 {
            nix::sys::stat::mkdirat(&deep, name.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
            deep = nix::fcntl::openat(&deep, name.as_str(), OFlag::O_PATH, nix::sys::stat::Mode::empty())
                .unwrap();
        }
        assert_eq!(all(&MediaRoot::open(data.path()).unwrap()), 5);
    }
}
