//! `migrate`: report, dry run, exit codes. What becomes of the rows is tested with the split itself.

use std::fs;

use streamhub_tests::legacy::Tree;

use super::Place;

/// One app that can be taken over and one whose `vods.db` is none.
fn half_broken() -> Tree {
    Tree::new()
        .app("good", |a| a.vods_db(|v| v.stream("s1").vod("a.mp4")))
        .app("bad", |a| a.file("vods.db", "this is no database"))
}

#[test]
fn a_dry_run_creates_nothing() {
    let missing = Place::missing();
    let dry = missing.streamhub().run(["migrate", "--dry-run"]).expect(0);
    assert!(dry.stdout().contains("new data directory"), "{}", dry.stdout());
    assert!(!missing.dir.exists());

    for (place, code) in [
        (Place::of(&Tree::small()), 0),
        (Place::of(&half_broken()), 70),
        (Place::ours(), 0),
        (Place::new(), 0),
    ] {
        let before = place.digest();
        let dry = place.streamhub().run(["migrate", "--dry-run", "--json"]).expect(code);
        assert_eq!(dry.json()["dryRun"], true);
        assert_eq!(streamhub_tests::files::tree_changes(&before, &place.digest()), [""; 0]);
    }
}

#[test]
fn an_errand_needs_an_installation_and_an_installation_a_directory_of_its_own() {
    for errand in [&["--cleanup"][..], &["--recover", "demo"]] {
        let missing = Place::missing();
        let refused = missing.streamhub().run([&["migrate"], errand].concat()).expect(5);
        assert!(refused.stderr().contains("no such data directory"), "{}", refused.stderr());
        assert!(!missing.dir.exists());
    }
    let place = Place::new();
    drop(place.streamhub().run(["migrate"]).expect(0));
    let foreign = Place::missing();
    fs::create_dir(&foreign.dir).expect("a directory");
    // What a disk of its own and a first start that was killed may hold is no reason, nor is a single file.
    for own in ["lost+found", "backups"] {
        fs::create_dir(foreign.dir.join(own)).expect("a directory");
    }
    fs::write(foreign.dir.join("streamhub.yaml"), "").expect("a file");
    fs::write(foreign.dir.join("server.log"), "").expect("a file");
    fs::create_dir(foreign.dir.join("thesis")).expect("a directory");
    let before = foreign.digest();
    for verb in [&["migrate"][..], &["app", "create", "news-24"], &["serve", "--listen", "127.0.0.1:0"]] {
        let refused = foreign.streamhub().run(verb).expect(78);
        assert!(refused.stderr().contains("but the directory \"thesis\""), "{}", refused.stderr());
        assert_eq!(streamhub_tests::files::tree_changes(&before, &foreign.digest()), [""; 0]);
    }
    fs::remove_dir(foreign.dir.join("thesis")).expect("it goes");
    let made = foreign.streamhub().run(["migrate"]).expect(0);
    assert!(made.stdout().contains("a new data directory was made"), "{}", made.stdout());
}

#[test]
fn the_report_as_json() {
    let place = Place::of(&Tree::small().orphan("lost", |a| a.vods_db(|v| v.stream("x"))));
    let report = place.streamhub().run(["migrate", "--json"]).expect(0).json();
    assert_eq!(report["dryRun"], false);
    assert_eq!(report["adoptedFrom"], 8);
    assert_eq!(report["orphanDirectories"][0], "lost");
    assert!(place.path("data").join(report["backup"].as_str().expect("a name")).is_file());
    let apps = report["apps"].as_array().expect("apps");
    assert_eq!(apps.len(), 2);
    for app in apps {
        let count = |key: &str| app[key].as_u64().unwrap_or_else(|| panic!("{key} of {app}"));
        let parts = ["imported", "alreadyThere", "conflicts", "failures", "leftOver"].map(count);
        assert_eq!(count("found"), parts.iter().sum::<u64>(), "{app}");
        assert!(app["app"].is_string() && app["tables"].is_object());
        assert_eq!(app["outcome"], "built");
    }

    let before = place.digest();
    let again = place.streamhub().run(["migrate", "--json"]).expect(0).json();
    assert_eq!(again["apps"].as_array().expect("apps").len(), 0);
    assert_eq!(place.changes(&before), [""; 0]);
}

#[test]
fn a_failed_app_exits_70_and_is_tried_again() {
    let place = Place::of(&half_broken());
    let failed = place.streamhub().run(["migrate"]).expect(70);
    let text = failed.stdout();
    assert!(text.contains("good") && text.contains("FAILED") && text.contains("vods.db"), "{text}");
    assert!(text.contains("way out:"), "{text}");
    assert!(place.path("apps/good/app.db").is_file() && !place.path("apps/bad/app.db").exists());
    let report = place.streamhub().run(["migrate", "--json"]).expect(70).json();
    assert_eq!(report["apps"][0]["app"], "bad");
    assert_eq!(report["apps"][0]["error"]["code"], "not-a-database");
    fs::remove_file(place.path("apps/bad/vods.db")).expect("the file");
    let _ = place.streamhub().run(["migrate"]).expect(0);
    assert!(place.path("apps/bad/app.db").is_file());
}

#[test]
fn an_unknown_app_cannot_be_recovered() {
    let place = Place::ours();
    let refused = place.streamhub().run(["migrate", "--recover", "nobody"]).expect(1);
    assert!(refused.stderr().contains("nobody") && refused.stderr().contains("way out:"));
}

#[test]
fn a_running_server_is_named() {
    let place = Place::ours();
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let before = place.digest_of_apps();
    for line in [&["migrate"][..], &["migrate", "--dry-run"], &["serve", "--listen", "127.0.0.1:0"]] {
        let refused = place.streamhub().run(line).expect(75);
        assert!(refused.stderr().contains(&server.pid().to_string()), "{line:?}: {}", refused.stderr());
        assert!(refused.stderr().contains("way out:"));
    }
    assert_eq!(before, place.digest_of_apps());
    assert_eq!(server.get("/ready").status, 200);
}
