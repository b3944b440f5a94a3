//! Power cuts: what was acknowledged is there afterwards, and what was broken off can be done again.

use std::fs;
use std::path::{Path, PathBuf};

use streamhub_engine::{Database, snapshot};
use streamhub_tests::books::{Books, unsound};
use streamhub_tests::command::Streamhub;
use streamhub_tests::disk::Disk;
use streamhub_tests::faults::{Faults, Mode};
use streamhub_tests::files::copy_tree;
use streamhub_tests::fingerprint::{self, control_path, control_rows, fingerprint};
use streamhub_tests::readonly;
use streamhub_tests::skip::need;

use crate::faults::one_of_each;

/// An empty database that StreamHub's own opening accepts.
fn database(path: &Path) {
    let db = Database::build(path).expect("a database");
    db.execute_batch("CREATE TABLE log (n INTEGER)").expect("a table");
    drop(db.finish().expect("a whole file"));
}

fn canonical(disk: &Disk, name: &str) -> PathBuf {
    disk.path().canonicalize().expect("the disk").join(name)
}

/// Writes so many rows, each in a transaction of its own, and returns how many were acknowledged when the power went.
pub(crate) fn acknowledged_rows(disk: &Disk, rows: u32) -> (u32, PathBuf) {
    let path = canonical(disk, "app.db");
    database(&path);
    let db = Database::write(&path).expect("it opens");
    let mut acknowledged = 0;
    for n in 0..rows {
        acknowledged += u32::from(db.execute("INSERT INTO log VALUES (?1)", [n]).is_ok());
    }
    disk.cut();
    drop(db);
    disk.back();
    (acknowledged, path)
}

#[test]
fn fifty_acknowledged_writes_are_fifty_rows() {
    let Some(disk) = need("powercut::fifty_writes", Disk::make(64)) else { return };
    let (acknowledged, path) = acknowledged_rows(&disk, 50);
    assert_eq!(acknowledged, 50);
    assert_eq!(unsound(&path), [""; 0]);
    assert_eq!(readonly::table_rows(&readonly::open(&path), "log").rows.len(), 50);
}

#[test]
fn a_snapshot_right_before_the_cut_is_there() {
    let Some(disk) = need("powercut::snapshot", Disk::make(64)) else { return };
    let (path, target) = (canonical(&disk, "app.db"), canonical(&disk, "app.db.bak"));
    database(&path);
    let db = Database::write(&path).expect("it opens");
    for n in 0..200 {
        db.execute("INSERT INTO log VALUES (?1)", [n]).expect("a row");
    }
    drop(snapshot::take(&db, &target).expect("a snapshot"));
    disk.cut();
    drop(db);
    disk.back();
    assert_eq!(unsound(&target), [""; 0]);
    assert_eq!(readonly::table_rows(&readonly::open(&target), "log").rows.len(), 200);
}

#[test]
fn a_finished_take_over_is_there() {
    let Some(disk) = need("powercut::finished", Disk::make(64)) else { return };
    let dir = disk.path().join("data");
    let control = one_of_each().build(&dir);
    let (books, before) = (Books::open(&dir), control_rows(&control));
    disk.settle();
    let report = Streamhub::new(&dir).run(["migrate", "--json"]).expect(0).json();
    disk.cut();
    disk.back();
    assert_eq!(books.finished(&dir), [""; 0]);
    let backup = control.with_file_name(report["backup"].as_str().expect("a backup"));
    assert_eq!(unsound(&backup), [""; 0]);
    assert_eq!(control_rows(&backup), before);
}

#[test]
fn a_take_over_that_a_cut_breaks_off_can_be_done_again() {
    let name = "powercut::broken_off";
    let Some(disk) = need(name, Disk::make(64)) else { return };
    let original = streamhub_tests::files::scratch();
    one_of_each().build(original.path());
    let books = Books::open(original.path());
    let copy = |name: &str| {
        let dir = disk.path().join(name);
        copy_tree(original.path(), &dir);
        disk.settle();
        dir
    };
    let dir = copy("counted");
    let Some(faults) = need(name, Faults::on(&dir)) else { return };
    let points = faults.count(&mut Streamhub::new(&dir).command(["migrate"])).points.len();
    assert_eq!(books.finished(&dir), [""; 0]);
    let expected = fingerprint(&dir, fingerprint::Mode::Split);
    fs::remove_dir_all(&dir).expect("room for the next");

    // Not each of them: kills at every one are tested elsewhere, here it is the cut that matters.
    for at in (1..=points).step_by(11) {
        let dir = copy(&at.to_string());
        let faults = Faults::on(&dir).expect("compiled");
        let run = faults.run(&mut Streamhub::new(&dir).command(["migrate"]), at, Mode::Kill);
        assert!(run.injected && run.ended.killed(), "{}: {}", run.at(at), run.ended.describe());
        disk.cut();
        disk.back();
        assert_eq!(books.in_between(&dir), [""; 0], "right after the cut at {}", run.at(at));
        let again = Streamhub::new(&dir).run(["migrate"]);
        assert_eq!(again.code(), Some(0), "{}: {}", run.at(at), again.ended.describe());
        assert_eq!(books.finished(&dir), [""; 0], "{}", run.at(at));
        assert_eq!(fingerprint(&dir, fingerprint::Mode::Split), expected, "{}", run.at(at));
        assert_eq!(unsound(&control_path(&dir)), [""; 0]);
        fs::remove_dir_all(&dir).expect("room for the next");
    }
}
