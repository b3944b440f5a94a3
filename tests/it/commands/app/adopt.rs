//! `app seal` and `app adopt`: an app moves as a directory.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use streamhub_tests::files::{copy_tree, tree_changes, tree_digest};
use tempfile::TempDir;

use super::super::{Place, refused};

/// A sealed copy of an app of another installation's tenant `acme`, and where it is.
struct Copy {
    dir: PathBuf,
    _home: TempDir,
}

impl Copy {
    fn sealed() -> Self {
        let place = Place::new();
        let _ = place.streamhub().run(["tenant", "create", "acme"]).expect(0);
        let _ = place.streamhub().run(["app", "create", "news-24", "--tenant", "acme"]).expect(0);
        let seal = place.streamhub().run(["app", "seal", "news-24", "--json"]).expect(0).json();
        let size = fs::metadata(place.path("apps/news-24/app.db")).expect("the file").len();
        assert_eq!((seal["size"].as_u64(), seal["generation"].as_i64()), (Some(size), Some(0)));
        assert_eq!(seal["blake3"].as_str().map(str::len), Some(64));
        assert!(place.path("apps/news-24/app.seal").is_file());
        let home = streamhub_tests::files::scratch();
        let dir = home.path().join("copy");
        copy_tree(&place.path("apps/news-24"), &dir);
        Self { dir, _home: home }
    }

    fn text(&self) -> &str {
        self.dir.to_str().expect("UTF-8")
    }
}

#[test]
fn a_sealed_copy_is_adopted_and_left_alone() {
    let (copy, place) = (Copy::sealed(), Place::new());
    let before = tree_digest(&copy.dir);
    let adopted = place.streamhub().run(["app", "adopt", copy.text(), "--json"]).expect(0).json();
    assert_eq!((&adopted["app"]["name"], &adopted["app"]["tenantId"]), (&"news-24".into(), &"acme".into()));
    assert_eq!((&adopted["tenantCreated"], &adopted["sealed"]), (&true.into(), &true.into()));
    assert_eq!(tree_changes(&before, &tree_digest(&copy.dir)), [""; 0]);
    let quotas = place.streamhub().run(["tenant", "quota", "acme", "--json"]).expect(0).json();
    assert_eq!(quotas["maxApps"], 2);
    let _ = place.streamhub().run(["app", "health", "news-24"]).expect(0);
    let _ = place.streamhub().run(["doctor"]).expect(0);

    refused(&place, &["app", "adopt", copy.text()], 6, &["news-24"]);
    let _ = place.streamhub().run(["app", "rename", "news-24", "other"]).expect(0);
    refused(&place, &["app", "adopt", copy.text()], 6, &["uuid", "app list"]);

    let people = Place::new().streamhub().run(["app", "adopt", copy.text()]).expect(0);
    assert!(people.stdout().contains("tenant acme was not known"), "{}", people.stdout());
}

#[test]
fn a_directory_among_the_apps_is_adopted_where_it_lies() {
    let (copy, place) = (Copy::sealed(), Place::new());
    let among = place.path("apps/news-24");
    copy_tree(&copy.dir, &among);
    fs::create_dir(among.join("recordings")).expect("a directory");
    fs::write(among.join("recordings/a.mp4"), "film").expect("a film");
    let told = place.streamhub().run(["doctor"]).expect(1);
    assert!(told.stdout().contains("streamhub app adopt"), "{}", told.stdout());
    let line = ["app", "adopt", among.to_str().expect("UTF-8"), "--json"];
    let adopted = place.streamhub().run(line).expect(0).json();
    assert_eq!((&adopted["app"]["name"], &adopted["app"]["tenantId"]), (&"news-24".into(), &"acme".into()));
    assert_eq!((&adopted["tenantCreated"], &adopted["sealed"]), (&true.into(), &true.into()));
    assert_eq!(fs::read_to_string(among.join("recordings/a.mp4")).expect("the film"), "film");
    let _ = place.streamhub().run(["app", "health", "news-24"]).expect(0);
    let _ = place.streamhub().run(["doctor"]).expect(0);
    // Sealed or not, an app that is registered is there already.
    for _ in 0..2 {
        refused(&place, &line[..3], 6, &["news-24", "way out:"]);
        fs::remove_file(among.join("app.seal")).ok();
    }
}

#[test]
fn what_may_not_be_adopted_stays_among_the_apps_as_it_was() {
    let (copy, place) = (Copy::sealed(), Place::new());
    let among = place.path("apps/news-24");
    copy_tree(&copy.dir, &among);
    fs::remove_file(among.join("app.seal")).expect("the seal");
    let text = among.to_str().expect("UTF-8");
    refused(&place, &["app", "adopt", text], 1, &["apps/news-24", "not sealed", "--unsealed"]);
    refused(&place, &["app", "adopt", text, "--unsealed", "--tenant", "nobody"], 1, &["nobody"]);
    refused(&place, &["app", "create", "news-24"], 6, &["apps/news-24", "app adopt"]);
    fs::write(among.join("app.db"), "this is no database").expect("the file");
    refused(&place, &["app", "adopt", text], 7, &["app.db", "way out:"]);
    fs::copy(copy.dir.join("app.db"), among.join("app.db")).expect("the file");
    let adopted = place.streamhub().run(["app", "adopt", text, "--unsealed", "--json"]).expect(0).json();
    assert_eq!(adopted["sealed"], false);
}

#[test]
fn a_tenant_may_be_named() {
    let (copy, place) = (Copy::sealed(), Place::new());
    refused(&place, &["app", "adopt", copy.text(), "--tenant", "nobody"], 1, &["nobody", "tenant list"]);
    let line = ["app", "adopt", copy.text(), "--tenant", "platform", "--json"];
    let adopted = place.streamhub().run(line).expect(0).json();
    assert_eq!((&adopted["app"]["tenantId"], &adopted["tenantCreated"]), (&"platform".into(), &false.into()));
    assert_eq!(place.streamhub().run(["tenant", "list", "--json"]).expect(0).json()["total"], 1);
}

#[test]
fn an_unsealed_copy_needs_a_persons_word() {
    let (copy, place) = (Copy::sealed(), Place::new());
    fs::remove_file(copy.dir.join("app.seal")).expect("the seal");
    refused(&place, &["app", "adopt", copy.text()], 1, &["copy", "not sealed", "--unsealed"]);
    let adopted =
        place.streamhub().run(["app", "adopt", copy.text(), "--unsealed", "--json"]).expect(0).json();
    assert_eq!(adopted["sealed"], false);
}

#[test]
fn what_is_no_app_is_refused_and_left_as_it_was() {
    let place = Place::new();
    refused(&place, &["app", "adopt", "/no/such/directory"], 5, &["/no/such/directory", "check the path"]);
    let copy = Copy::sealed();
    let db = copy.dir.join("app.db");
    let whole = fs::read(&db).expect("the file");
    let both: [&[&str]; 2] = [&["app", "adopt", copy.text()], &["app", "adopt", copy.text(), "--unsealed"]];
    for bytes in [&b"this is no database"[..], b""] {
        fs::write(&db, bytes).expect("the file");
        for line in both {
            refused(&place, line, 7, &["app.db", "way out:"]);
        }
    }
    let mut tampered = whole.clone();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    fs::write(&db, &tampered).expect("the file");
    refused(&place, both[0], 1, &["sealed", "way out:"]);

    fs::remove_file(&db).expect("the file");
    Connection::open(&db)
        .and_then(|db| db.execute_batch("CREATE TABLE notes (a)"))
        .expect("another database");
    refused(&place, both[1], 1, &["app.db", "way out:"]);
    fs::remove_file(&db).expect("the file");
    refused(&place, both[1], 5, &["app.db"]);
    assert_eq!(fs::read_dir(place.path("apps")).expect("apps").count(), 0, "something was left");

    fs::write(&db, &whole).expect("the file");
    fs::create_dir(place.path("apps/news-24")).expect("a directory in the way");
    refused(&place, both[0], 6, &["apps/news-24", "move it away"]);
}

#[test]
fn on_a_fresh_machine_it_makes_the_data_directory_and_a_refusal_makes_none() {
    let copy = Copy::sealed();
    for (line, code) in
        [(&["app", "adopt", "/some/where"][..], 5), (&["app", "adopt", copy.text(), "--tenant", "acme"], 5)]
    {
        let place = Place::missing();
        let refused = place.streamhub().run(line).expect(code);
        assert!(refused.stderr().contains("way out:"), "{line:?}: {}", refused.stderr());
        assert!(!place.dir.exists(), "{line:?} made it");
    }
    let place = Place::missing();
    let _ = place.streamhub().run(["app", "adopt", copy.text()]).expect(0);
    let _ = place.streamhub().run(["app", "health", "news-24"]).expect(0);
    let _ = place.streamhub().run(["doctor"]).expect(0);

    fs::remove_file(copy.dir.join("app.seal")).expect("removed");
    let place = Place::missing();
    let _ = place.streamhub().run(["app", "adopt", copy.text()]).expect(1);
    assert!(!place.dir.exists(), "an unsealed copy made a data directory");
}

#[test]
fn the_file_in_the_directory_is_not_the_directory() {
    let (copy, place) = (Copy::sealed(), Place::new());
    let file = copy.dir.join("app.db");
    refused(
        &place,
        &["app", "adopt", file.to_str().expect("UTF-8")],
        1,
        &["name the directory, not the file in it"],
    );
}

#[test]
fn a_second_copy_of_an_app_is_to_be_moved_away_and_not_into_its_place() {
    let (copy, place) = (Copy::sealed(), Place::new());
    copy_tree(&copy.dir, &place.path("apps/dropped-9"));
    let _ = place.streamhub().run(["app", "adopt", copy.text()]).expect(0);
    let told = || place.streamhub().run(["doctor"]).expect(1).stdout().to_owned();
    let second = told();
    for words in ["apps/dropped-9", "a second copy of app news-24", "way out: move it away\n"] {
        assert!(second.contains(words), "no {words}: {second}");
    }
    // What lies in the app's place, and is not it, has to go first; then it can be moved there.
    let home = place.path("apps/news-24");
    fs::write(home.join("app.db"), "text").expect("damaged");
    assert!(told().contains("move what lies in apps/news-24 away, then this to apps/news-24"), "{}", told());
    fs::remove_dir_all(home).expect("removed");
    assert!(told().contains("way out: move it to apps/news-24"), "{}", told());
}
