//! The disks: a cut drops what was not synced and nothing else, a full one is full.

use std::fs;
use std::io::Write as _;

use nix::sys::statfs::{FsType, statfs};
use streamhub_tests::disk::{Disk, Mount};
use streamhub_tests::files::scratch;
use streamhub_tests::process;
use streamhub_tests::readonly;
use streamhub_tests::skip::need;

use super::probe;

#[test]
fn synced_data_survives_a_power_cut_and_other_data_does_not() {
    let Some(disk) = need("support::disk::power_cut", Disk::make(64)) else { return };
    let path = |name: &str| disk.path().join(name);
    for (name, sync) in [("synced", true), ("not synced", false)] {
        let mut file = fs::File::create(path(name)).expect("a file");
        file.write_all(b"content").expect("a write");
        if sync {
            file.sync_all().and_then(|()| fs::File::open(disk.path())?.sync_all()).expect("a sync");
        }
    }
    disk.cut();
    assert!(fs::write(path("later"), "x").is_err(), "a disk without power takes nothing");
    disk.back();
    assert_eq!(fs::read(path("synced")).expect("synced"), b"content");
    assert!(
        fs::read(path("not synced")).map_or(true, |content| content != b"content"),
        "the cut dropped nothing"
    );
    fs::write(path("later"), "x").expect("it is an ordinary disk again");
}

#[test]
fn acknowledged_commits_survive_a_power_cut() {
    let Some(disk) = need("support::disk::commits", Disk::make(64)) else { return };
    let db = disk.path().join("log.db");
    let run = process::run(&mut probe(&["commit", db.to_str().expect("UTF-8"), "50"]));
    assert!(run.success(), "{}", run.describe());
    disk.cut();
    disk.back();
    assert_eq!(readonly::table_rows(&readonly::open(&db), "log").rows.len(), 50);
}

#[test]
fn a_filled_disk_takes_little_more_until_the_filler_is_gone() {
    let Some(disk) = need("support::disk::full", Disk::make(16)) else { return };
    let path = disk.path().join("file");
    let filler = disk.fill(64 << 10);
    fs::write(&path, vec![1; 32 << 10]).expect("some room is left");
    let error = fs::write(&path, vec![1; 1 << 20]).expect_err("there is no room");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    drop(filler);
    fs::write(&path, vec![1; 1 << 20]).expect("there is room again");

    disk.read_only();
    let error = fs::write(&path, "x").expect_err("it is read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    disk.read_write();
    fs::write(&path, "x").expect("it is writable");
}

#[test]
fn other_file_systems_are_what_they_say() {
    let name = "support::disk::other_file_systems";
    let Some(tmpfs) = need(name, Mount::tmpfs(512, 20)) else { return };
    assert_eq!(statfs(tmpfs.path()).expect("statfs").filesystem_type(), nix::sys::statfs::TMPFS_MAGIC);
    let error = (0..30).find_map(|i| fs::write(tmpfs.path().join(i.to_string()), "").err());
    assert_eq!(error.expect("no names are left").kind(), std::io::ErrorKind::StorageFull);

    let source = scratch();
    fs::write(source.path().join("file"), "x").expect("a file");
    let Some(fuse) = need(name, Mount::fuse(source.path())) else { return };
    assert_eq!(fs::read(fuse.path().join("file")).expect("the same file"), b"x");
    assert_eq!(statfs(fuse.path()).expect("statfs").filesystem_type(), FsType(0x6573_5546));

    let place = fuse.path().to_owned();
    drop(fuse);
    assert!(!place.exists(), "a mount goes away with its value");
    drop(tmpfs);
}
