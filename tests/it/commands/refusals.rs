//! Installations and places that are refused: nothing is changed, and the message says what to do.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use streamhub_tests::disk::Mount;
use streamhub_tests::files::scratch;
use streamhub_tests::legacy::Tree;
use streamhub_tests::skip::need;

use super::Place;

const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0"];

/// A tree of ours, then what is done to it.
fn broken(damage: impl FnOnce(&Path)) -> Place {
    let place = Place::taken_over(&Tree::small().at_root());
    damage(&place.dir);
    place
}

fn sql(path: &Path, text: &str) {
    Connection::open(path).and_then(|db| db.execute_batch(text)).expect(text);
}

#[test]
fn a_control_database_that_cannot_be_used_is_left_as_it_was() {
    let control = |dir: &Path| dir.join("streamhub.db");
    let cases: [(&str, Place, &str); 10] = [
        (
            "two control databases",
            broken(|dir| {
                fs::create_dir(dir.join("data")).expect("data");
                fs::copy(control(dir), dir.join("data/streamhub.db")).expect("a second one");
            }),
            "data/streamhub.db",
        ),
        ("newer", broken(|dir| sql(&control(dir), "PRAGMA user_version = 999")), "999"),
        ("foreign id", broken(|dir| sql(&control(dir), "PRAGMA application_id = 7")), "another program"),
        (
            "foreign tables",
            broken(|dir| {
                fs::remove_file(control(dir)).expect("the control database");
                sql(&control(dir), "CREATE TABLE notes (a); PRAGMA user_version = 8");
            }),
            "another program",
        ),
        ("empty", broken(|dir| fs::write(control(dir), "").expect("an empty file")), "empty"),
        ("no database", broken(|dir| fs::write(control(dir), "hello").expect("a file")), "not an SQLite"),
        (
            "truncated",
            broken(|dir| {
                let file = fs::OpenOptions::new().write(true).open(control(dir)).expect("the file");
                file.set_len(8192).expect("a shorter file");
            }),
            "truncated",
        ),
        (
            "gone, apps there",
            broken(|dir| fs::remove_file(control(dir)).expect("the control database")),
            "missing",
        ),
        (
            "gone, data there",
            {
                let place = Place::missing();
                fs::create_dir_all(place.path("data")).expect("data");
                place
            },
            "missing",
        ),
        (
            "a link",
            broken(|dir| {
                fs::rename(control(dir), dir.join("x.db")).expect("a move");
                std::os::unix::fs::symlink("x.db", control(dir)).expect("a link");
            }),
            "symbolic link",
        ),
    ];
    for (name, place, words) in cases {
        let before = place.digest();
        for line in [SERVE, &["migrate"], &["migrate", "--dry-run"], &["app", "list"], &["status"]] {
            let refused = place.streamhub().run(line);
            assert_eq!(refused.code(), Some(78), "{name} {line:?}: {}", refused.ended.describe());
            let text = refused.stderr();
            assert!(text.contains(words) && text.contains("way out:"), "{name} {line:?}: {text}");
            assert!(text.contains("streamhub.db"), "{name} {line:?} names no file: {text}");
        }
        assert_eq!(place.changes(&before), [""; 0], "{name}");
        let _ = place.streamhub().run(["doctor"]).expect(1);
        assert_eq!(place.changes(&before), [""; 0], "{name}: the doctor changed something");
    }
}

#[test]
fn a_damaged_registry_is_said_to_be_one() {
    let place = broken(|dir| {
        let path = dir.join("streamhub.db");
        let root: usize = Connection::open(&path)
            .and_then(|db| {
                db.query_row("SELECT rootpage FROM sqlite_master WHERE name = 'apps'", [], |row| row.get(0))
            })
            .expect("a root page");
        let mut bytes = fs::read(&path).expect("the file");
        bytes[(root - 1) * 4096..][..64].fill(0xee);
        fs::write(&path, bytes).expect("the file");
    });
    let before = place.digest();
    for line in [SERVE, &["status"], &["app", "list"]] {
        let refused = place.streamhub().run(line).expect(78);
        assert!(refused.stderr().contains("damaged"), "{line:?}: {}", refused.stderr());
    }
    let found = place.streamhub().run(["doctor", "--json"]).expect(1).json();
    assert_eq!(found["findings"][0]["kind"], "corrupt");
    assert_eq!(place.changes(&before), [""; 0]);
}

#[test]
fn unreadable_secrets_are_refused() {
    let place = Place::ours();
    fs::write(place.path("secrets.json"), "{\"A\": 1}").expect("secrets");
    let before = place.digest();
    for line in [SERVE, &["migrate"], &["migrate", "--dry-run"], &["config", "show"]] {
        let refused = place.streamhub().run(line).expect(78);
        assert!(refused.stderr().contains("secrets.json"), "{line:?}: {}", refused.stderr());
    }
    assert_eq!(place.changes(&before), [""; 0]);
}

#[test]
fn no_app_directory_at_all_means_a_missing_disk() {
    let place = Place::of(&Tree::new().app("one", |a| a).app("two", |a| a.global_streams(["s"])));
    let before = place.digest();
    for line in [SERVE, &["migrate"], &["migrate", "--dry-run"]] {
        let refused = place.streamhub().run(line).expect(78);
        assert!(refused.stderr().contains("mounted"), "{line:?}: {}", refused.stderr());
        assert_eq!(place.changes(&before), [""; 0], "{line:?}");
    }
}

#[test]
fn filesystems_that_lose_data_are_refused() {
    let name = "commands::refusals::filesystems";
    let Some(tmpfs) = need(name, Mount::tmpfs(8 << 10, 1000)) else { return };
    let dir = tmpfs.path().join("data-dir");
    let streamhub = streamhub_tests::command::Streamhub::new(&dir);
    for line in [SERVE, &["migrate"], &["migrate", "--dry-run"]] {
        let refused = streamhub.run(line).expect(78);
        let text = refused.stderr();
        assert!(text.contains("tmpfs") && text.contains("allow-volatile"), "{text}");
        assert!(!dir.exists(), "{line:?} made the directory");
    }
    let _ = streamhub.run(["migrate", "--allow-volatile"]).expect(0);
    let _ = streamhub.clone().env("STREAMHUB_ALLOW_VOLATILE", "1").run(["migrate"]).expect(0);
    let _ = streamhub.run(["migrate"]).expect(78);
    // Looking does no harm, and says what is wrong.
    let _ = streamhub.run(["status"]).expect(0);
    assert!(streamhub.run(["doctor"]).expect(1).stdout().contains("tmpfs"));
    let _ = streamhub.run(["doctor", "--allow-volatile"]).expect(0);

    let source = scratch();
    let Some(fuse) = need(name, Mount::fuse(source.path())) else { return };
    let streamhub = streamhub_tests::command::Streamhub::new(fuse.path().join("data-dir"));
    for line in [SERVE, &["migrate", "--allow-volatile"]] {
        let refused = streamhub.run(line).expect(78);
        assert!(refused.stderr().contains("FUSE"), "{}", refused.stderr());
    }
    assert_eq!(fs::read_dir(source.path()).expect("the source").count(), 0);
}

#[test]
fn the_control_database_can_be_elsewhere() {
    let home = scratch();
    let at = |name: &str| home.path().join(name);
    let url = |name: &str, form: &str| form.replace("PATH", at(name).to_str().expect("UTF-8"));
    for (index, form) in
        ["PATH", "sqlite:PATH", "sqlite://PATH", "file:PATH?mode=rwc", "file://PATH"].iter().enumerate()
    {
        let place = Place::missing();
        let name = format!("{index}.db");
        let streamhub = place.streamhub().env("DATABASE_URL", url(&name, form));
        let _ = streamhub.run(["migrate"]).expect(0);
        assert!(at(&name).is_file() && !place.path("streamhub.db").exists(), "{form}");
        let status = streamhub.run(["status", "--json"]).expect(0).json();
        assert_eq!(status["control"]["path"], at(&name).to_str().expect("UTF-8"));
        assert_eq!(streamhub.run(["app", "list", "--json"]).expect(0).json()["total"], 0);
    }
    let place = Place::missing();
    let streamhub = place.streamhub().env("DATABASE_URL", url("none.db", "file:PATH?mode=rw"));
    let refused = streamhub.run(["migrate"]).expect(78);
    assert!(refused.stderr().contains("none.db") && !at("none.db").exists(), "{}", refused.stderr());
}
