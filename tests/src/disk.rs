//! Disks that can be cut off, filled and made read-only, and file systems that are to be refused. All need root.
//!
//! An error is the reason why this machine cannot do it: for [`crate::skip::need`].

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::faults::compile;
use crate::files::scratch;

/// A file system that writes nothing of its own accord, which would hide that a sync is missing: neither a file's
/// bytes because it is renamed over another, nor the journal because some seconds are over.
const OPTIONS: &str = "loop,noauto_da_alloc,commit=3600";

/// A loop-mounted ext4 image, unmounted and removed with the value.
#[derive(Debug)]
pub struct Disk {
    mount: Mount,
    image: PathBuf,
    powercut: PathBuf,
    // After the mount: the image must not go away under it.
    _home: TempDir,
}

impl Disk {
    /// Makes and mounts a disk of so many megabytes; 16 are soon really full, 64 hold what tests write.
    pub fn make(megabytes: u64) -> Result<Self, String> {
        static POWERCUT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        root()?;
        let powercut = POWERCUT.get_or_init(|| compile("powercut.c", "powercut", &["-O2"], &[])).clone()?;
        let home = scratch();
        let image = home.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(megabytes << 20))
            .map_err(|e| format!("no image for a disk: {e}"))?;
        // Nothing that is done in the background, so that the same run writes the same; no blocks kept for root, so
        // that a full disk is full.
        let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run(Command::new("mkfs.ext4").args(["-qF", "-m", "0", "-E", options]).arg(&image))?;
        let mount =
            Mount::at(home.path().join("mount"), Command::new("mount").args(["-o", OPTIONS]).arg(&image))?;
        Ok(Self { mount, image, powercut, _home: home })
    }

    /// The mounted file system's top.
    pub fn path(&self) -> &Path {
        &self.mount.path
    }

    /// Syncs all that was written so far.
    pub fn settle(&self) {
        run(Command::new("sync").arg("-f").arg(self.path())).expect("a synced disk");
    }

    /// Cuts the power: what was not synced is gone after [`Disk::back`]. Until then writes fail with EIO.
    pub fn cut(&self) {
        run(Command::new(&self.powercut).arg(self.path())).expect("a power cut");
    }

    /// Mounts the disk again, which replays its journal. Nobody may have a file open on it.
    pub fn back(&self) {
        run(Command::new("umount").arg(self.path())).expect("no file is open on the disk");
        run(Command::new("mount").args(["-o", OPTIONS]).arg(&self.image).arg(self.path()))
            .expect("the disk is sound");
    }

    /// Makes the mounted disk read-only. Nobody may have a file open for writing.
    pub fn read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(self.path())).expect("a read-only remount");
    }

    /// Makes it writable again.
    pub fn read_write(&self) {
        run(Command::new("mount").args(["-o", "remount,rw"]).arg(self.path())).expect("a writable remount");
    }

    /// Fills the disk but for about so many bytes. The filler goes away with the answer.
    pub fn fill(&self, leave: u64) -> Filler {
        let path = self.path().join(".filler");
        let mut file = OpenOptions::new().create_new(true).append(true).open(&path).expect("a filler");
        let mut written = 0_u64;
        for size in [1 << 20, 1 << 16, 1 << 12, 1 << 10] {
            let block = vec![0xA5; size];
            // The last word of a full disk is a short write or ENOSPC; both mean that smaller blocks are next.
            while let Ok(n) = file.write(&block) {
                written += n as u64;
                if n < size {
                    break;
                }
            }
        }
        file.set_len(written.saturating_sub(leave))
            .and_then(|()| file.sync_all())
            .expect("a filler in place");
        Filler { path }
    }
}

/// What makes a disk full; without it there is room again.
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
}

impl Drop for Filler {
    fn drop(&mut self) {
        // The disk may be cut off or read-only by then.
        let _ = fs::remove_file(&self.path);
    }
}

/// A mounted file system of some other kind, unmounted with the value.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    // Kept only to be removed after the unmount, which `drop` does before any field goes.
    home: Option<TempDir>,
}

impl Mount {
    /// A tmpfs, limited to so many kilobytes and names.
    pub fn tmpfs(kilobytes: u64, names: u64) -> Result<Self, String> {
        root()?;
        let options = format!("size={kilobytes}k,nr_inodes={names}");
        Self::in_scratch(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]))
    }

    /// Another view of a directory through FUSE.
    pub fn fuse(source: &Path) -> Result<Self, String> {
        root()?;
        Self::in_scratch(Command::new("bindfs").arg("--no-allow-other").arg(source))
    }

    /// The same directory in a second place: a mount of its own, as where an app's media has its own disk.
    pub fn bind(source: &Path, at: &Path) -> Result<Self, String> {
        root()?;
        Self::at(at.to_owned(), Command::new("mount").arg("--bind").arg(source))
    }

    /// The mounted file system's top.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn in_scratch(command: &mut Command) -> Result<Self, String> {
        let home = scratch();
        let mut mount = Self::at(home.path().join("mount"), command)?;
        mount.home = Some(home);
        Ok(mount)
    }

    fn at(path: PathBuf, command: &mut Command) -> Result<Self, String> {
        fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        run(command.arg(&path))?;
        Ok(Self { path, home: None })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if run(Command::new("umount").arg(&self.path)).is_err() {
            // Something still has a file open; the mount goes once that is closed.
            let gone = run(Command::new("umount").arg("-l").arg(&self.path));
            if let (Err(_), Some(home)) = (gone, self.home.take()) {
                // Better a directory left behind than one emptied through the mount in it.
                drop(home.keep());
            }
        }
    }
}

fn root() -> Result<(), String> {
    if nix::unistd::Uid::effective().is_root() { Ok(()) } else { Err("mounting needs root".to_owned()) }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|e| format!("cannot run {name}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
