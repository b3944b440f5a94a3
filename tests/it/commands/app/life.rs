//! `app create`, `rename`, `delete` and `undelete`.

use std::fs;
use std::path::Path;

use super::super::{Place, refused};

#[test]
fn an_app_is_made_in_a_directory_that_is_made_too() {
    let place = Place::missing();
    let made = place
        .streamhub()
        .run(["app", "create", "news-24", "--display-name", "News 24", "--room-prefix", "n-", "--json"])
        .expect(0)
        .json();
    for (key, value) in [
        ("name", "news-24"),
        ("displayName", "News 24"),
        ("livekitRoomPrefix", "n-"),
        ("tenantId", "platform"),
    ] {
        assert_eq!(made[key], value, "{made}");
    }
    assert_eq!(made["state"], "active");
    for key in ["id", "createdAt", "updatedAt", "settingsJson"] {
        assert!(made.get(key).is_some(), "{key} is not in {made}");
    }
    assert!(place.path("apps/news-24/app.db").is_file());
    let shown = place.streamhub().run(["app", "show", "news-24", "--json"]).expect(0).json();
    assert_eq!(shown["id"], made["id"]);
    let people = place.streamhub().run(["app", "create", "radio"]).expect(0);
    assert!(people.stdout().contains("radio"), "{}", people.stdout());
    let _ = place.streamhub().run(["doctor"]).expect(0);
}

#[test]
fn what_cannot_be_made_leaves_everything_as_it_was() {
    let place = Place::with_app("news-24");
    fs::create_dir(place.path("apps/in-the-way")).expect("a directory");
    refused(&place, &["app", "create", "news-24"], 6, &["news-24", "another name"]);
    refused(&place, &["app", "create", "in-the-way"], 6, &["apps/in-the-way", "app adopt"]);
    refused(&place, &["app", "create", "radio", "--tenant", "nobody"], 1, &["nobody", "tenant list"]);
    refused(&place, &["app", "create", "../x"], 2, &["../x"]);
    let _ = place.streamhub().run(["tenant", "create", "acme"]).expect(0);
    let _ = place.streamhub().run(["tenant", "quota", "acme", "--max-apps", "0"]).expect(0);
    refused(&place, &["app", "create", "radio", "--tenant", "acme"], 1, &["quota", "way out:"]);

    // Without an installation there is the platform's tenant only.
    let nothing = Place::missing();
    let text = nothing.streamhub().run(["app", "create", "radio", "--tenant", "acme"]).expect(5);
    assert!(!nothing.dir.exists(), "{}", text.stderr());
}

#[test]
fn a_deleted_app_comes_back() {
    let place = Place::with_app("news-24");
    fs::create_dir(place.path("apps/news-24/recordings")).expect("a directory");
    fs::write(place.path("apps/news-24/recordings/a.mp4"), "film").expect("a film");
    let gone = place.streamhub().run(["app", "delete", "news-24", "--json"]).expect(0).json();
    assert_eq!(gone, serde_json::json!({"deleted": true, "name": "news-24"}));
    assert!(!place.path("apps/news-24").exists());
    assert_eq!(place.streamhub().run(["app", "list", "--json"]).expect(0).json()["total"], 0);
    refused(&place, &["app", "delete", "news-24"], 1, &["news-24", "app list"]);

    let _ = place.streamhub().run(["app", "create", "news-24"]).expect(0);
    let taken = ["there is already an app news-24", "rename or delete the app that has this one"];
    refused(&place, &["app", "undelete", "news-24"], 6, &taken);
    let _ = place.streamhub().run(["app", "rename", "news-24", "other"]).expect(0);
    let back = place.streamhub().run(["app", "undelete", "news-24", "--json"]).expect(0).json();
    assert_eq!((&back["name"], &back["state"]), (&"news-24".into(), &"active".into()));
    let film = fs::read_to_string(place.path("apps/news-24/recordings/a.mp4")).expect("the film");
    assert_eq!(film, "film");
    refused(&place, &["app", "undelete", "news-24"], 1, &["news-24"]);
    let _ = place.streamhub().run(["doctor"]).expect(0);
}

#[test]
fn the_trash_is_listed_beside_a_running_server() {
    let place = Place::with_app("radio");
    let listed = || place.streamhub().run(["app", "list", "--deleted", "--json"]).expect(0).json();
    assert_eq!(listed(), serde_json::json!({"data": [], "total": 0, "error": null}));
    for _ in 0..2 {
        let _ = place.streamhub().run(["app", "create", "news-24"]).expect(0);
        let _ = place.streamhub().run(["app", "delete", "news-24"]).expect(0);
    }
    let before = place.digest();
    let trash = listed();
    assert_eq!((&trash["total"], &trash["error"]), (&2.into(), &serde_json::Value::Null));
    let (first, last) = (&trash["data"][0], &trash["data"][1]);
    let keys: Vec<_> = first.as_object().expect("an app").keys().map(String::as_str).collect();
    assert_eq!(keys, ["deletedAt", "id", "name", "purgedAfter", "tenantId"]);
    assert_eq!((&first["name"], &first["tenantId"]), (&"news-24".into(), &"platform".into()));
    let text = |app: &serde_json::Value, key: &str| app[key].as_str().expect(key).to_owned();
    assert!(text(first, "deletedAt") < text(last, "deletedAt"), "{trash}");
    assert!(text(last, "deletedAt") < text(first, "purgedAfter"), "{trash}");
    let people = place.streamhub().run(["app", "list", "--deleted"]).expect(0);
    let lines: Vec<_> = people.stdout().lines().map(str::to_owned).collect();
    assert!(lines.len() == 3 && lines[0].contains("PURGED AFTER"), "{lines:?}");
    assert!(lines[1].starts_with("news-24") && lines[1].contains(&text(first, "purgedAfter")), "{lines:?}");
    assert_eq!(streamhub_tests::files::tree_changes(&before, &place.digest()), [""; 0]);

    let server = place.streamhub().serve();
    assert_eq!(listed(), trash);
    server.stop();
    let _ = place.streamhub().run(["app", "undelete", "news-24"]).expect(0);
    assert_eq!(listed()["total"], 1);
}

#[test]
fn an_app_gets_another_name() {
    let place = Place::with_app("news-24");
    let _ = place.streamhub().run(["app", "create", "radio"]).expect(0);
    let renamed =
        place.streamhub().run(["app", "rename", "news-24", "news-world", "--json"]).expect(0).json();
    assert_eq!(renamed["name"], "news-world");
    assert!(place.path("apps/news-world/app.db").is_file() && !place.path("apps/news-24").exists());
    let _ = place.streamhub().run(["app", "health", "news-world"]).expect(0);
    let taken = ["there is already an app radio", "delete the app that has this one"];
    refused(&place, &["app", "rename", "news-world", "radio"], 6, &taken);
    refused(&place, &["app", "rename", "radio", "radio"], 6, &taken);
    refused(&place, &["app", "rename", "nobody", "nobody"], 1, &["nobody", "app list"]);
    refused(&place, &["app", "rename", "nobody", "another"], 1, &["nobody", "app list"]);
    refused(&place, &["app", "rename", "radio", "Not A Name"], 2, &["Not A Name"]);
}

#[test]
fn what_can_be_no_name_is_nobodys() {
    let place = Place::with_app("news-24");
    for verb in ["delete", "undelete", "health", "optimize", "seal"] {
        refused(&place, &["app", verb, "../x"], 1, &["../x", "app list"]);
        refused(&place, &["app", verb, "nobody"], 1, &["nobody", "app list"]);
    }
}

#[test]
fn an_app_whose_disk_is_not_mounted_is_not_deleted() {
    let place = Place::with_app("news-24");
    let _ = place.streamhub().run(["app", "create", "radio"]).expect(0);
    let (dir, away) = (place.path("apps/news-24"), place.path("away"));
    fs::rename(&dir, &away).expect("unmounted");
    let refusal = ["apps/news-24", "missing", "is the disk mounted?"];
    refused(&place, &["app", "delete", "news-24"], 1, &refusal);
    fs::create_dir(&dir).expect("an empty mount point");
    refused(&place, &["app", "delete", "news-24"], 1, &refusal);
    fs::remove_dir(&dir).and_then(|()| fs::rename(&away, &dir)).expect("mounted");
    let _ = place.streamhub().run(["app", "health", "news-24"]).expect(0);
    let _ = place.streamhub().run(["doctor"]).expect(0);
}

#[test]
fn an_app_whose_directory_is_lost_can_be_forgotten() {
    let place = Place::with_app("news-24");
    let _ = place.streamhub().run(["app", "create", "radio"]).expect(0);
    refused(&place, &["app", "delete", "news-24", "--lost"], 1, &["apps/news-24", "not lost"]);
    fs::remove_dir_all(place.path("apps/news-24")).expect("lost");
    refused(&place, &["app", "delete", "news-24"], 1, &["--lost"]);
    let told = place.streamhub().run(["app", "delete", "news-24", "--lost"]).expect(0);
    assert!(told.stdout().contains("news-24 is forgotten"), "{}", told.stdout());
    let _ = place.streamhub().run(["doctor"]).expect(0);
    refused(&place, &["app", "undelete", "news-24"], 1, &["deleted app \"news-24\"", "app list --deleted"]);
    let _ = place.streamhub().run(["app", "create", "news-24"]).expect(0);
}

#[test]
fn a_refused_return_from_the_trash_changes_nothing() {
    let place = Place::with_app("news-24");
    let _ = place.streamhub().run(["app", "delete", "news-24"]).expect(0);
    let trashed =
        || place.streamhub().run(["app", "list", "--deleted", "--json"]).expect(0).json()["data"].clone();
    let before = trashed();
    let dir =
        fs::read_dir(place.path("apps/.trash")).expect("trash").next().expect("one").expect("one").path();
    fs::write(dir.join("app.db"), "damaged").expect("damaged");
    let told = place.streamhub().run(["app", "undelete", "news-24"]).expect(1);
    assert!(told.stderr().contains(dir.join("app.db").to_str().expect("UTF-8")), "{}", told.stderr());
    assert_eq!(trashed(), before);
}

#[test]
fn of_an_app_whose_database_is_not_whole_no_way_back_is_promised() {
    let damages: [fn(&Path); 2] =
        [|db| fs::write(db, "text").expect("damaged"), |db| fs::remove_file(db).expect("removed")];
    for damage in damages {
        let place = Place::with_app("news-24");
        let (db, whole) = (place.path("apps/news-24/app.db"), place.path("whole"));
        fs::copy(&db, &whole).expect("a copy");
        damage(&db);
        fs::write(place.path("apps/news-24/config.yaml"), "# mine\n").expect("a file");
        let told = place.streamhub().run(["app", "delete", "news-24"]).expect(0);
        assert!(!told.stdout().contains("brings it back"), "{}", told.stdout());
        let trash =
            fs::read_dir(place.path("apps/.trash")).expect("trash").next().expect("one").expect("one");
        let kept = trash.path();
        for words in [kept.to_str().expect("UTF-8"), "until its database is mended"] {
            assert!(told.stdout().contains(words), "no {words}: {}", told.stdout());
        }
        let _ = place.streamhub().run(["app", "undelete", "news-24"]).expect(1);
        fs::rename(&whole, kept.join("app.db")).expect("mended");
        let _ = place.streamhub().run(["app", "undelete", "news-24"]).expect(0);
        let _ = place.streamhub().run(["app", "health", "news-24"]).expect(0);
    }
}
