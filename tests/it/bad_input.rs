//! Files that are not what they should be: refused by name, with the reason and a way out, left as they were, and
//! nobody else's business.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::Mode as Permissions;
use rusqlite::Connection;
use streamhub_tests::books::{APP_ID, Books, CONTROL_ID, app_db};
use streamhub_tests::command::Streamhub;
use streamhub_tests::disk::{Disk, Mount};
use streamhub_tests::files::{scratch, tree_changes};
use streamhub_tests::fingerprint::control_path;
use streamhub_tests::legacy::{Tree, stream};
use streamhub_tests::readonly::with_suffix;
use streamhub_tests::skip::need;

use crate::split::{Place, rows_of, sql};

/// What is done to a file, and the code that an app fails with for it.
type Spoil = (&'static str, &'static str, fn(&Path));

/// Each way in which a database can be unfit, whatever database it is.
const UNFIT: &[Spoil] = &[
    ("zero-length", "empty-database", |path| fs::write(path, "").expect("a file")),
    ("text", "not-a-database", |path| fs::write(path, "name: demo\n".repeat(99)).expect("a file")),
    ("truncated", "damaged", |path| {
        let len = fs::metadata(path).expect("its length").len();
        fs::File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(len / 2))
            .expect("a shorter file");
    }),
    ("corrupt", "damaged", |path| {
        let mut bytes = fs::read(path).expect("its bytes");
        // Every page but the first, whose header must still be one.
        for page in bytes.chunks_mut(4096).skip(1) {
            page[..64].fill(0xEE);
        }
        fs::write(path, bytes).expect("its bytes");
    }),
    ("of another program", "foreign-database", |path| {
        sql(path, "PRAGMA application_id = 252006674");
    }),
    ("newer", "too-new", |path| sql(path, "PRAGMA user_version = 99")),
    ("with a trigger", "holds-code", |path| {
        sql(path, "CREATE TABLE t (a); CREATE TRIGGER boom AFTER INSERT ON t BEGIN DELETE FROM t; END");
    }),
    ("with a view", "holds-code", |path| sql(path, "CREATE VIEW peek AS SELECT 1")),
    ("with a virtual table", "holds-code", |path| {
        sql(
            path,
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('table', 'vt', 'vt', 0, 'CREATE VIRTUAL TABLE vt USING unknown(a)')",
        );
    }),
    ("beside a hot journal", "hot-journal", |path| {
        fs::write(with_suffix(path, "-journal"), [0xD9; 600]).expect("a journal");
    }),
    ("a link", "symlink", |path| {
        let elsewhere = with_suffix(path, ".elsewhere");
        fs::rename(path, &elsewhere).and_then(|()| symlink(&elsewhere, path)).expect("a link");
    }),
    ("a FIFO", "not-a-file", |path| {
        fs::remove_file(path).expect("room for a FIFO");
        nix::unistd::mkfifo(path, Permissions::S_IRUSR | Permissions::S_IWUSR).expect("a FIFO");
    }),
    ("a directory", "not-a-file", |path| {
        fs::remove_file(path).and_then(|()| fs::create_dir(path)).expect("a directory");
    }),
    ("beside a -wal that is a directory", "not-a-file", |path| {
        fs::create_dir(with_suffix(path, "-wal")).expect("a directory");
    }),
];

/// What is wrong only with a file that is to be written.
const NOT_TO_BE_WRITTEN: &[Spoil] = &[
    ("hard-linked", "hard-linked", |path| {
        fs::hard_link(path, with_suffix(path, ".second")).expect("a second name");
    }),
    ("read-only", "read-only", |path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).expect("no right to write");
    }),
    ("ours, but newer", "too-new", |path| {
        let mark = if path.ends_with("app.db") { APP_ID } else { CONTROL_ID };
        sql(path, &format!("PRAGMA application_id = {mark}; PRAGMA user_version = 9999"));
    }),
    ("marked as ours, but of an older version", "foreign-database", |path| {
        let mark = if path.ends_with("app.db") { APP_ID } else { CONTROL_ID };
        sql(path, &format!("PRAGMA application_id = {mark}"));
    }),
];

fn tree() -> Tree {
    Tree::small().app("bad", |a| {
        a.vods_db(|v| v.stream("b1").vod("b.mp4"))
            .app_db(|d| d.stream("b2").vod("c.mp4"))
            .global_streams(["b3"])
    })
}

/// Spoils one file of an app and demands that it fails alone, unchanged, and is taken over once it is mended.
fn fails_alone(file: &str, (what, code, spoil): Spoil) {
    let place = Place::of(&tree());
    let path = place.app("bad", file);
    let whole = fs::read(&path).expect("the whole file");
    spoil(&path);
    let before = place.digest();
    let metadata =
        |path: &Path| fs::symlink_metadata(path).map(|m| (m.mode(), m.nlink(), m.len())).expect("the file");
    let as_it_was = metadata(&path);

    let dry = place.migrate_with(&["--dry-run"], 70);
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "{file} {what}: a dry run");
    let report = place.migrate(70);
    assert_eq!(dry.0["apps"], report.0["apps"], "{file} {what}: the dry run told something else");
    let error = &report.app("bad")["error"];
    assert_eq!(error["code"], code, "{file} {what}: {error}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(&format!("apps/bad/{file}")), "{file} {what}: {message}");
    assert!(error["wayOut"].as_str().is_some_and(|way| way.len() > 10), "{file} {what}: {error}");
    let changed = tree_changes(&before, &place.digest());
    assert!(!changed.iter().any(|change| change.contains("apps/bad")), "{file} {what}: {changed:?}");
    assert_eq!(metadata(&path), as_it_was, "{file} {what}");
    for app in ["demo", "live"] {
        assert_eq!(report.outcome(app), "built", "{file} {what}");
        place.demand_counts(&report, app);
    }

    mend(&path, &whole);
    place.migrate(0);
    place.demand_finished();
}

/// Puts the whole file back, alone.
fn mend(path: &Path, whole: &[u8]) {
    for ending in ["-journal", "-wal", "-shm", ".elsewhere", ".second", ""] {
        let path = with_suffix(path, ending);
        let gone =
            if path.is_dir() && !path.is_symlink() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        assert!(gone.is_ok() || !path.exists(), "{}", path.display());
    }
    fs::write(path, whole).expect("the file is mended");
}

#[test]
fn an_unfit_app_db_fails_alone() {
    for spoil in UNFIT.iter().chain(NOT_TO_BE_WRITTEN) {
        fails_alone("app.db", *spoil);
    }
}

#[test]
fn an_unfit_vods_db_fails_alone() {
    for spoil in UNFIT {
        fails_alone("vods.db", *spoil);
    }
}

#[test]
fn a_vods_db_is_only_read_and_may_be_read_only() {
    let place = Place::of(&tree());
    let path = place.app("bad", "vods.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("no right to write");
    fs::hard_link(&path, with_suffix(&path, ".second")).expect("a second name");
    place.taken_over();
    assert_eq!(fs::metadata(&path).expect("it stays").mode() & 0o777, 0o444);
}

#[test]
fn an_unfit_control_database_is_refused_and_nothing_changes() {
    // Write protection of the whole directory, which that of the control database stands for, is no refusal.
    let spoils = UNFIT.iter().chain(NOT_TO_BE_WRITTEN).filter(|(what, ..)| *what != "read-only");
    for (what, _, spoil) in spoils {
        let place = Place::of(&tree());
        let path = control_path(place.dir());
        spoil(&path);
        let before = place.digest();
        let as_it_was = fs::symlink_metadata(&path).map(|m| (m.mode(), m.nlink())).expect("the file");
        for arguments in [&["migrate", "--dry-run"][..], &["migrate"]] {
            let output = place.run(arguments);
            assert_eq!(output.code(), Some(78), "{what}: {}", output.ended.describe());
            for words in ["error: ", "data/streamhub.db", "way out: "] {
                assert!(output.stderr().contains(words), "{what}: no {words:?} in {}", output.stderr());
            }
            assert_eq!(output.stdout(), "", "{what}");
            assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "{what}");
        }
        let now = fs::symlink_metadata(&path).map(|m| (m.mode(), m.nlink())).expect("the file");
        assert_eq!(now, as_it_was, "{what}");
    }
}

#[test]
fn a_foreign_wal_keeps_its_bytes_where_the_file_is_refused() {
    let newer = |d: streamhub_tests::legacy::Database| d.in_wal().stream("b2");
    let place = Place::of(&Tree::small().app("bad", |a| a.app_db(newer)));
    let path = app_db(place.dir(), "bad");
    // The last commit, which only the -wal has, makes it a newer program's.
    let workshop = scratch();
    let draft = workshop.path().join("draft.db");
    fs::copy(&path, &draft).expect("a copy");
    fs::copy(with_suffix(&path, "-wal"), with_suffix(&draft, "-wal")).expect("a copy");
    let db = Connection::open(&draft).expect("a database");
    db.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 99").expect("a commit");
    for ending in ["", "-wal"] {
        fs::copy(with_suffix(&draft, ending), with_suffix(&path, ending)).expect("a copy");
    }
    drop(db);
    let before = place.digest();
    let report = place.migrate(70);
    assert_eq!(report.failure("bad"), "too-new");
    let changed = tree_changes(&before, &place.digest());
    assert!(!changed.iter().any(|change| change.contains("apps/bad")), "{changed:?}");
}

#[test]
fn an_app_directory_that_is_a_link_or_a_file_is_refused() {
    let place = Place::of(&tree());
    let (dir, elsewhere) = (place.dir().join("apps/bad"), place.dir().join("elsewhere"));
    fs::rename(&dir, &elsewhere).and_then(|()| symlink(&elsewhere, &dir)).expect("a link");
    let before = fs::read(elsewhere.join("app.db")).expect("its database");
    assert_eq!(place.migrate(70).failure("bad"), "symlink");
    assert_eq!(fs::read(elsewhere.join("app.db")).expect("its database"), before);

    fs::remove_file(&dir).and_then(|()| fs::write(&dir, "")).expect("a file");
    assert_eq!(place.migrate(70).failure("bad"), "not-a-file");
    fs::remove_file(&dir).and_then(|()| fs::rename(&elsewhere, &dir)).expect("the directory is back");
    place.migrate(0);
    place.demand_finished();
}

#[test]
fn a_directory_on_a_mount_of_its_own_is_taken_over_there() {
    let place = Place::of(&Tree::small());
    let media = scratch();
    let dir = place.dir().join("apps/demo");
    streamhub_tests::files::copy_tree(&dir, media.path());
    let Some(tmpfs) = need("bad_input::own_mount", Mount::tmpfs(4096, 100)) else { return };
    streamhub_tests::files::copy_tree(&dir, tmpfs.path());
    let Some(_bound) = need("bad_input::own_mount", Mount::bind(tmpfs.path(), &dir)) else { return };
    let report = place.migrate(70);
    assert_eq!(report.failure("demo"), "filesystem");
    assert_eq!(report.outcome("live"), "built");
    let report = place.migrate_with(&["--allow-volatile"], 0);
    assert_eq!(report.outcome("demo"), "built");
    place.demand_counts(&report, "demo");
    assert!(!dir.join(".staging").exists() && tmpfs.path().join("app.db").is_file());
}

#[test]
fn a_really_full_disk_is_an_error_and_then_all_is_well() {
    let Some(disk) = need("bad_input::full_disk", Disk::make(16)) else { return };
    for leave in [0, 8 << 10, 40 << 10, 120 << 10, 400 << 10, 1200 << 10] {
        let dir = disk.path().join("data");
        tree().build(&dir);
        let books = Books::open(&dir);
        let filler = disk.fill(leave);
        let output = Streamhub::new(&dir).run(["migrate", "--json"]);
        assert!(matches!(output.code(), Some(1 | 70)), "{leave}: {}", output.ended.describe());
        let said = format!("{}{}", output.stdout(), output.stderr()).to_lowercase();
        assert!(["full", "space", "free"].iter().any(|word| said.contains(word)), "{leave}: {said}");
        assert_eq!(books.in_between(&dir), [""; 0], "{leave}");
        drop(filler);
        drop(Streamhub::new(&dir).run(["migrate"]).expect(0));
        assert_eq!(books.finished(&dir), [""; 0], "{leave}");
        fs::remove_dir_all(&dir).expect("room for the next");
    }
}

#[test]
fn a_second_process_is_told_who_the_first_is() {
    let place = Place::of(&Tree::small());
    let lock = place.dir().join("streamhub.lock");
    fs::write(&lock, "4711\n").expect("a lock file");
    let file = fs::File::options().read(true).write(true).open(&lock).expect("the lock file");
    let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e).expect("a lock");
    let before = place.digest();
    for arguments in [&["migrate"][..], &["migrate", "--dry-run"], &["migrate", "--cleanup"]] {
        let output = place.run(arguments).expect(75);
        assert!(output.stderr().contains("4711"), "{}", output.stderr());
        assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);
    }
    drop(held);
    place.taken_over();
}

/// A process that has a database open as the older program does.
struct Holder(Child);

impl Holder {
    fn of(path: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fault-probe"))
            .arg("hold")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the holder starts");
        let mut word = [0; 5];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut word).expect("it holds the database");
        Self(child)
    }

    fn pid(&self) -> String {
        format!("pid {}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn while_the_older_program_runs_nothing_is_touched() {
    let tree = tree();
    let files: [fn(&Place) -> PathBuf; 3] = [
        |place| control_path(place.dir()),
        |place| place.app("demo", "vods.db"),
        |place| place.app("bad", "app.db"),
    ];
    for file in files {
        let place = Place::of(&tree);
        let path = file(&place);
        let holder = Holder::of(&path);
        let before = place.digest();
        for arguments in [&["migrate"][..], &["migrate", "--dry-run"]] {
            let output = place.run(arguments).expect(75);
            assert!(output.stderr().contains(&holder.pid()), "{}: {}", path.display(), output.stderr());
            assert_eq!(tree_changes(&before, &place.digest()), [""; 0], "{}", path.display());
        }
        // It still holds what it held: a lock that our looking had dropped would let this through.
        let exclusive = Connection::open(&path).expect("a connection");
        exclusive.busy_timeout(std::time::Duration::ZERO).expect("no waiting");
        assert!(exclusive.execute_batch("PRAGMA journal_mode = DELETE").is_err(), "{}", path.display());
        drop(exclusive);
        drop(holder);
        place.taken_over();
    }
}

#[test]
fn a_source_that_cannot_be_read_to_its_end_fails_every_app_that_needs_it() {
    // The registry is ours already when its older rows turn out to be damaged: no app may then look as if it had none.
    let tree =
        Tree::small().app("late", |a| a.global_streams(["x1"])).app("later", |a| a.global_streams(["x2"]));
    let place = Place::of(&tree.app("big", |a| a.globals((0..400).map(|n| stream(&format!("big-{n}"))))));
    place.migrate(70);
    let control = control_path(place.dir());
    let root = rows_of(&control, "SELECT rootpage FROM sqlite_master WHERE name = 'streams'")[0].clone();
    let root: u64 = root.parse().expect("a page");
    let file = fs::File::options().read(true).write(true).open(&control).expect("the registry");
    let mut page = [0; 4096];
    let at = |page: u64| (page - 1) * 4096;
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut page, at(root)).expect("a page");
    assert_eq!(page[0], 5, "the table has more than one page");
    // Its last leaf.
    let last = u32::from_be_bytes([page[8], page[9], page[10], page[11]]);
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xEE; 4096], at(last.into())).expect("damage");
    drop(file);
    for app in ["late", "later", "big"] {
        fs::create_dir(place.dir().join("apps").join(app)).expect("a directory");
    }
    let output = place.run(&["migrate", "--json"]).expect(78);
    assert!(output.stderr().contains("damaged"), "{}", output.stderr());
    let states = "SELECT count(*) FROM apps WHERE split_state = 'done' AND name IN ('late', 'later', 'big')";
    assert_eq!(rows_of(&control, states), ["0"], "{}", output.ended.describe());
}
