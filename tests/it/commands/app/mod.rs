//! `app`: its verbs in their own files, and here the registry as it is, without a trace.

mod adopt;
mod life;
mod upkeep;

use streamhub_tests::files::tree_changes;
use streamhub_tests::legacy::Tree;

use super::Place;

fn two_tenants() -> Tree {
    Tree::new()
        .app("beta", |a| a.tenant("tnt_b").vods_db(|v| v.stream("s1")))
        .app("alpha", |a| a.tenant("tnt_a").dir())
}

#[test]
fn apps_are_listed_by_name() {
    let place = Place::taken_over(&two_tenants());
    let before = place.digest();
    let list = place.streamhub().run(["app", "list", "--json"]).expect(0).json();
    let names: Vec<_> =
        list["data"].as_array().expect("apps").iter().map(|app| app["name"].clone()).collect();
    assert_eq!(names, ["alpha", "beta"]);
    let app = &list["data"][0];
    assert_eq!(app["tenantId"], "tnt_a");
    assert_eq!(app["state"], "active");
    for key in ["id", "displayName", "livekitRoomPrefix", "createdAt", "updatedAt", "settingsJson", "uuid"] {
        assert!(app.get(key).is_some(), "{key} is not in {app}");
    }
    let people = place.streamhub().run(["app", "list"]).expect(0);
    assert!(people.stdout().lines().nth(1).is_some_and(|line| line.starts_with("alpha")));
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);
    assert!(Place::new().streamhub().run(["app", "list"]).expect(0).stdout().contains("no apps"));
}

#[test]
fn one_app_is_shown() {
    let place = Place::taken_over(&two_tenants());
    let app = place.streamhub().run(["app", "show", "beta", "--json"]).expect(0).json();
    assert_eq!((&app["name"], &app["tenantId"]), (&"beta".into(), &"tnt_b".into()));
    assert!(app["directory"].as_str().expect("a directory").ends_with("/apps/beta"));
    assert!(app["database"]["path"].as_str().expect("a path").ends_with("/apps/beta/app.db"));
    assert!(app["database"]["sizeBytes"].as_u64().expect("a size") > 0);
    assert_eq!(app["database"]["walSizeBytes"], 0);
    let people = place.streamhub().run(["app", "show", "beta"]).expect(0);
    assert!(people.stdout().contains("tnt_b") && people.stdout().contains("app.db"));
    for unknown in ["nobody", "../x", ""] {
        let refused = place.streamhub().run(["app", "show", unknown]).expect(1);
        assert!(refused.stderr().contains("app list"), "{}", refused.stderr());
    }
}

#[test]
fn an_older_directory_is_to_be_taken_over_first() {
    let place = Place::of(&two_tenants());
    let before = place.digest();
    for line in [&["app", "list"][..], &["app", "show", "beta"], &["user", "reset-password", "a@example.org"]]
    {
        let refused = place.streamhub().run(line).expect(78);
        assert!(refused.stderr().contains("streamhub migrate"), "{line:?}: {}", refused.stderr());
    }
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);
}
