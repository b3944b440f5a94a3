//! The fault library: it counts what it should, and each mode does what it says.

use std::fs;
use std::path::Path;

use streamhub_tests::faults::{Faults, Mode, Run};
use streamhub_tests::files::scratch;
use streamhub_tests::readonly;
use streamhub_tests::skip::need;

use super::probe;

const ROWS: usize = 5;

fn commits(dir: &Path) -> std::process::Command {
    probe(&["commit", dir.join("log.db").to_str().expect("UTF-8"), &ROWS.to_string()])
}

fn acknowledged(run: &Run) -> usize {
    run.ended.stdout.lines().count()
}

fn stored(dir: &Path) -> usize {
    let path = dir.join("log.db");
    if !path.exists() {
        return 0;
    }
    // As a new start would: read-write, which rolls back or recovers.
    let db = rusqlite::Connection::open(&path).expect("the database opens");
    if !readonly::has_table(&db, "log") {
        return 0;
    }
    readonly::table_rows(&db, "log").rows.len()
}

#[test]
fn every_kind_of_operation_is_a_point() {
    let dir = scratch();
    let Some(faults) = need("support::faults::every_kind", Faults::on(dir.path())) else { return };
    let run = faults.count(&mut probe(&["files", dir.path().to_str().expect("UTF-8")]));
    assert!(run.ended.success() && !run.injected, "{}", run.ended.describe());
    let names =
        ["mkdir", "open64", "write", "fsync", "linkat", "rename", "ftruncate64", "fdatasync", "unlink"];
    for name in names {
        assert!(run.points.iter().any(|p| p.operation == name), "no {name} in {:?}", run.points);
    }
    let copied = ["copy_file_range", "sendfile", "sendfile64", "write"];
    let target = dir.path().join("inner/c");
    assert!(
        run.points.iter().any(|p| p.path == target && copied.contains(&p.operation.as_str())),
        "{:?}",
        run.points
    );
    let opened = run.points.iter().filter(|p| p.operation == "open64");
    assert_eq!(opened.count(), 2, "an open that makes no file is no point: {:?}", run.points);
    assert!(run.points.iter().zip(1..).all(|(p, n)| p.n == n), "numbers without gaps");

    let elsewhere = Faults::on(dir.path().join("no such path")).expect("compiled already");
    assert_eq!(elsewhere.count(&mut probe(&["files", dir.path().to_str().expect("UTF-8")])).points, []);
}

#[test]
fn each_operation_on_files_can_be_made_to_fail() {
    let dir = scratch();
    let Some(faults) = need("support::faults::each_operation", Faults::on(dir.path())) else { return };
    let inner = dir.path().join("inner");
    let command = || probe(&["files", dir.path().to_str().expect("UTF-8")]);
    let count = faults.count(&mut command()).points.len();
    for at in 1..=count {
        let run = faults.run(&mut command(), at, Mode::Eio);
        assert!(run.injected && run.ended.code == Some(1), "{}: {}", run.at(at), run.ended.describe());
        assert!(run.ended.stderr.contains("os error 5"), "{}: {}", run.at(at), run.ended.describe());
        let _ = fs::remove_dir_all(&inner);

        let run = faults.run(&mut command(), at, Mode::Kill);
        assert!(run.injected && run.ended.killed(), "{}: {}", run.at(at), run.ended.describe());
        assert_eq!(run.points.len(), at, "nothing comes after a kill");
        let _ = fs::remove_dir_all(&inner);
    }
    let run = faults.run(&mut command(), count + 1, Mode::Kill);
    assert!(run.ended.success() && !run.injected, "beyond the last point nothing happens");
}

#[test]
fn a_committed_row_survives_a_fault_at_any_point() {
    let home = scratch();
    let Some(faults) = need("support::faults::commits", Faults::on(home.path())) else { return };
    let dir = |n: usize, mode: &str| {
        let dir = home.path().join(format!("{mode}-{n}"));
        fs::create_dir(&dir).expect("a directory");
        dir
    };
    let count = faults.count(&mut commits(&dir(0, "count"))).points.len();
    assert!(count > 3 * ROWS, "{count} points");
    for mode in Mode::ALL {
        for at in 1..=count {
            let place = dir(at, mode.name());
            let run = faults.run(&mut commits(&place), at, mode);
            let what = || format!("{} {}: {}", mode.name(), run.at(at), run.ended.describe());
            match mode {
                Mode::Kill | Mode::Torn => assert!(run.injected && run.ended.killed(), "{}", what()),
                Mode::Short => assert!(run.ended.success(), "{}", what()),
                Mode::Enospc | Mode::Eio => assert!(run.injected || run.ended.success(), "{}", what()),
            }
            assert!(stored(&place) >= acknowledged(&run), "an acknowledged row is gone: {}", what());
        }
    }
}

#[test]
fn a_full_disk_stays_full() {
    let home = scratch();
    let Some(faults) = need("support::faults::sticky", Faults::on(home.path())) else { return };
    let points = faults.count(&mut commits(home.path())).points;
    fs::remove_file(home.path().join("log.db")).expect("the database");
    let at = points.iter().find(|p| p.path.to_string_lossy().ends_with("-wal")).expect("a -wal").n;
    let run = faults.run_from(&mut commits(home.path()), at, Mode::Enospc);
    assert_eq!((run.ended.code, acknowledged(&run)), (Some(1), 0), "{}", run.ended.describe());
}
