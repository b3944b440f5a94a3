//! `app create`, `rename`, `delete` and `undelete`.

use std::fs;

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
    assert_eq!(shown["uuid"], made["uuid"]);
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
    refused(&place, &["app", "undelete", "news-24"], 6, &["news-24", "another name"]);
    let _ = place.streamhub().run(["app", "rename", "news-24", "other"]).expect(0);
    let back = place.streamhub().run(["app", "undelete", "news-24", "--json"]).expect(0).json();
    assert_eq!((&back["name"], &back["state"]), (&"news-24".into(), &"active".into()));
    let film = fs::read_to_string(place.path("apps/news-24/recordings/a.mp4")).expect("the film");
    assert_eq!(film, "film");
    refused(&place, &["app", "undelete", "news-24"], 1, &["news-24"]);
    let _ = place.streamhub().run(["doctor"]).expect(0);
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
    refused(&place, &["app", "rename", "news-world", "radio"], 6, &["radio"]);
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
