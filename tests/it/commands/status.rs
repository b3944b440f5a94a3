//! `status`: read beside a running server and without a trace.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use streamhub_tests::files::tree_changes;
use streamhub_tests::legacy::{App, Tree};

use super::Place;

fn status(place: &Place) -> Value {
    place.streamhub().run(["status", "--json"]).expect(0).json()
}

#[test]
fn a_directory_of_ours() {
    let place = Place::ours();
    let before = place.digest();
    let found = status(&place);
    assert_eq!(found["state"], "ready");
    assert_eq!(found["holder"], Value::Null);
    assert!(found["version"].is_string());
    assert_eq!(found["dataDir"], place.dir.canonicalize().expect("it is there").to_str().expect("UTF-8"));
    assert_eq!(found["control"]["path"], "data/streamhub.db");
    assert_eq!(found["control"]["schemaVersion"], 102);
    assert_eq!(found["control"]["knownVersion"], 102);
    assert_eq!(found["apps"], serde_json::json!({"total": 2, "byState": {"active": 2}}));
    for size in ["controlBytes", "appsBytes", "backupsBytes", "freeBytes"] {
        assert!(found["sizes"][size].as_u64().expect(size) > 0, "{size} of {found}");
    }
    let backup = &found["lastBackup"];
    assert!(backup["path"].as_str().expect("a path").starts_with("data/streamhub.db.bak-"), "{backup}");
    assert!(backup["at"].as_str().is_some_and(|at| at.ends_with('Z')));
    let people = place.streamhub().run(["status"]).expect(0);
    for words in ["nobody", "2 active", "data/streamhub.db", "last backup"] {
        assert!(people.stdout().contains(words), "{words:?} is not in {}", people.stdout());
    }
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);
}

#[test]
fn an_older_and_an_empty_directory() {
    let place = Place::of(&Tree::small().in_wal());
    let before = place.digest();
    let found = status(&place);
    assert_eq!((&found["state"], &found["apps"]["total"]), (&"older".into(), &2.into()));
    assert_eq!(found["control"]["schemaVersion"], 8);
    let people = place.streamhub().run(["status"]).expect(0);
    assert!(people.stdout().contains("not taken over yet"), "{}", people.stdout());
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);

    let empty = Place::missing();
    fs::create_dir(&empty.dir).expect("a directory");
    let found = status(&empty);
    assert_eq!((&found["state"], &found["control"]), (&"empty".into(), &Value::Null));
    assert_eq!(empty.digest().len(), 0);
}

#[test]
fn a_read_only_directory_can_be_looked_at() {
    let place = Place::ours();
    let control = place.path("data/streamhub.db");
    fs::set_permissions(&control, fs::Permissions::from_mode(0o444)).expect("a read-only file");
    assert_eq!(status(&place)["apps"]["total"], 2);
    assert_eq!(place.streamhub().run(["app", "list", "--json"]).expect(0).json()["total"], 2);
    let ended = place.streamhub().run(["migrate"]);
    if ended.code() != Some(0) {
        // Only the super-user may write it all the same.
        let refused = ended.expect(1);
        assert!(refused.stderr().contains("read-only") && refused.stderr().contains("chmod"));
    }
}

#[test]
fn apps_are_counted_by_state() {
    let place = Place::of(
        &Tree::new()
            .app("good", App::dir)
            .app("gone", |a| a)
            .app("bad", |a| a.file("vods.db", "this is no database")),
    );
    let _ = place.streamhub().run(["migrate"]).expect(70);
    let states = serde_json::json!({"active": 1, "missing": 1, "pending": 1});
    assert_eq!(status(&place)["apps"]["byState"], states);
}

#[test]
fn a_running_server_is_named_and_not_disturbed() {
    let place = Place::ours();
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let found = status(&place);
    assert_eq!(found["holder"]["pid"], server.pid());
    assert_eq!(found["apps"]["total"], 2);
    let people = place.streamhub().run(["status"]).expect(0);
    assert!(people.stdout().contains(&format!("pid {}", server.pid())), "{}", people.stdout());
    let list = place.streamhub().run(["app", "list", "--json"]).expect(0).json();
    assert_eq!(list["total"], 2);
    let _ = place.streamhub().run(["app", "show", "demo"]).expect(0);
    let _ = place.streamhub().run(["doctor"]).expect(0);
    let _ = place.streamhub().run(["config", "check"]).expect(0);
    assert_eq!(server.get("/ready").status, 200);
    let ended = server.stop();
    assert!(ended.success(), "{}", ended.describe());
    assert!(place.digest().keys().all(|path| !path.ends_with("-wal") && !path.ends_with("-shm")));
}
