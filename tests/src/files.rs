//! Directories as a whole: a place for scratch data, copies, and digests that show that nothing was changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A directory that goes away with the value, on the file system of the build directory.
///
/// `/tmp` is often a tmpfs, which StreamHub rightly refuses to keep data on.
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("t-").tempdir_in(build_tmp()).expect("a scratch directory")
}

/// `tmp` in the build directory, made where it is missing.
pub fn build_tmp() -> PathBuf {
    let tmp = target_dir().join("tmp");
    fs::create_dir_all(&tmp).unwrap_or_else(|e| panic!("cannot make {}: {e}", tmp.display()));
    tmp
}

/// The build directory and the name of the profile's directory in it, from where this program lies:
/// `TARGET/PROFILE/deps/it-…`, `TARGET/PROFILE/make-data-example`.
pub(crate) fn target_and_profile() -> (PathBuf, String) {
    let program = std::env::current_exe().expect("the path of the running program");
    let place = program.parent().expect("a program lies in a directory");
    let profile =
        if place.ends_with("deps") { place.parent().expect("deps lies in a profile") } else { place };
    let name = profile.file_name().and_then(|n| n.to_str()).expect("a profile has a name").to_owned();
    (profile.parent().expect("a profile lies in the build directory").to_owned(), name)
}

fn target_dir() -> PathBuf {
    target_and_profile().0
}

/// Copies a directory with everything in it; the copy is writable for its owner whatever the original is.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("cannot make {}: {e}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("cannot list {}: {e}", from.display())) {
        let entry = entry.expect("a directory entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("the kind of a directory entry");
        if kind.is_dir() {
            copy_tree(&source, &target);
        } else if kind.is_symlink() {
            let aim = fs::read_link(&source).expect("a link's aim");
            std::os::unix::fs::symlink(aim, &target).expect("a copy of a link");
        } else {
            fs::copy(&source, &target)
                .and_then(|_| fs::set_permissions(&target, fs::Permissions::from_mode(0o644)))
                .unwrap_or_else(|e| panic!("cannot copy {} to {}: {e}", source.display(), target.display()));
        }
    }
}

/// What is at each path below a directory: the SHA-256 of a file's bytes, `dir`, `-> AIM` of a link, or the kind of
/// anything else. Two equal digests mean that no file was made, changed or removed.
///
/// It opens every file: not for a directory whose databases this process has open, because closing a plain handle
/// drops SQLite's locks.
pub fn tree_digest(dir: &Path) -> BTreeMap<String, String> {
    tree_digest_except(dir, |_| false)
}

/// [`tree_digest`] without the paths (relative, `/` between names) that the predicate names, and what lies below them.
pub fn tree_digest_except(dir: &Path, mut except: impl FnMut(&str) -> bool) -> BTreeMap<String, String> {
    let mut digest = BTreeMap::new();
    walk(dir, "", &mut except, &mut digest);
    digest
}

/// The paths that differ between two digests, each with a word on how; empty where they are equal.
pub fn tree_changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let gone = before.keys().filter(|p| !after.contains_key(*p)).map(|p| format!("removed {p}"));
    let other = after.iter().filter_map(|(path, now)| match before.get(path) {
        None => Some(format!("made {path}")),
        Some(was) if was != now => Some(format!("changed {path}")),
        Some(_) => None,
    });
    gone.chain(other).collect()
}

fn walk(
    dir: &Path,
    prefix: &str,
    except: &mut impl FnMut(&str) -> bool,
    digest: &mut BTreeMap<String, String>,
) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("cannot list {}: {e}", dir.display())) {
        let entry = entry.expect("a directory entry");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if except(&path) {
            continue;
        }
        let kind = entry.file_type().expect("the kind of a directory entry");
        let what = if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), except, digest);
            "dir".to_owned()
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(entry.path()).expect("a link's aim").display())
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_else(|e| panic!("cannot read {path}: {e}"));
            hex(&Sha256::digest(bytes))
        } else {
            "special".to_owned()
        };
        digest.insert(path, what);
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}
