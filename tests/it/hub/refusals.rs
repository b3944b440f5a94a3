//! Apps that are not what the registry says, and directories that may not be adopted: refused with the reason named,
//! left as they were, and nobody else's business.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use streamhub::progress::Silent;
use streamhub::{Adoption, Appearing, Hub, HubError, Kind, Proof};
use streamhub_engine::Unopened;
use streamhub_engine::seal::Seal;
use streamhub_tests::files::{copy_tree, hex, tree_changes, tree_digest};

use super::{Site, id, start, streams_of};
use crate::split::sql;

/// What is done to an app's directory, or beside it, and a word of the refusal.
type Spoil = (&'static str, &'static str, fn(&Path));

fn meta(dir: &Path, key: &str, value: &str) {
    // In hexadecimal, since a text of SQL ends at a NUL.
    let value = format!("CAST(x'{}' AS TEXT)", hex(value.as_bytes()));
    sql(&dir.join("app.db"), &format!("UPDATE _streamhub_meta SET value = {value} WHERE key = '{key}'"));
}

/// Seals a directory for what its database holds meanwhile, as whoever forges a copy would.
fn reseal(dir: &Path, uuid: &str) {
    let own = Seal::read(dir).expect("a seal").expect("it was sealed").uuid;
    let file = Unopened::claim(&dir.join("app.db")).expect("a closed database");
    Seal::of(&file, &own, 0).and_then(|seal| seal.write(dir)).expect("sealed");
    let seal = fs::read(dir.join("app.seal")).expect("the seal");
    let mut forged: serde_json::Value = serde_json::from_slice(&seal).expect("JSON");
    forged["uuid"] = uuid.into();
    fs::write(dir.join("app.seal"), forged.to_string()).expect("forged");
}

/// Puts something else in the place of an app's database.
fn instead(dir: &Path, put: impl FnOnce(&Path)) {
    let path = dir.join("app.db");
    fs::remove_file(&path).expect("removed");
    put(&path);
}

const UNFIT: &[Spoil] = &[
    ("another app's", "uuid", |dir| {
        fs::copy(dir.with_file_name("other-one").join("app.db"), dir.join("app.db"))
            .map(drop)
            .expect("swapped");
    }),
    ("an earlier generation's", "from before the app moved", |dir| {
        let control = dir.join("../../streamhub.db");
        sql(&control, "UPDATE apps SET generation = 2 WHERE name = 'news-24'");
    }),
    ("a later generation's", "the control database is older than the app", |dir| {
        meta(dir, "generation", "7");
    }),
    ("another app's with a -wal", "uuid", |dir| {
        let other = dir.with_file_name("other-one").join("app.db");
        let held = rusqlite::Connection::open(&other).expect("a connection");
        held.execute_batch("CREATE TABLE mine (a)").expect("a write");
        for name in ["app.db", "app.db-wal"] {
            fs::copy(other.with_file_name(name), dir.join(name)).map(drop).expect("swapped");
        }
        held.execute_batch("DROP TABLE mine").expect("a write");
    }),
    ("of a uuid that is a path", "uuid", |dir| meta(dir, "uuid", "../other-one")),
    ("of a lineage that is a path", "lineage", |dir| meta(dir, "lineage", "../other-one")),
    ("another tenant's", "tenant", |dir| meta(dir, "tenant", "acme")),
    ("of another name", "its name is \"elsewhere\"", |dir| meta(dir, "name", "elsewhere")),
    ("of another program", "another program", |dir| sql(&dir.join("app.db"), "PRAGMA application_id = 7")),
    ("newer", "newer than this program", |dir| sql(&dir.join("app.db"), "PRAGMA user_version = 999")),
    ("with a trigger", "trigger", |dir| {
        sql(&dir.join("app.db"), "CREATE TRIGGER boom AFTER INSERT ON vods BEGIN DELETE FROM streams; END");
    }),
    ("with a view", "view", |dir| sql(&dir.join("app.db"), "CREATE VIEW peek AS SELECT 1")),
    ("empty", "empty", |dir| fs::write(dir.join("app.db"), "").expect("emptied")),
    ("text", "not an SQLite database", |dir| {
        fs::write(dir.join("app.db"), "name: x\n".repeat(99)).expect("text");
    }),
    ("cut off", "bytes", |dir| {
        let file = fs::File::options().write(true).open(dir.join("app.db")).expect("opened");
        file.set_len(8192).expect("cut off");
    }),
    ("a FIFO", "FIFO", |dir| instead(dir, |path| mkfifo(path, Mode::S_IRWXU).expect("a FIFO"))),
    ("a link", "link", |dir| {
        instead(dir, |path| symlink(path.with_file_name("../other-one/app.db"), path).expect("a link"));
    }),
    ("missing", "no such file", |dir| instead(dir, |_| ())),
    ("in a directory that is a link", "link", |dir| {
        let away = dir.with_file_name("../away");
        fs::rename(dir, &away).and_then(|()| symlink(&away, dir)).expect("a link");
    }),
];

#[test]
fn an_app_that_is_not_its_own_is_out_of_service_and_the_others_serve() {
    for (what, words, spoil) in UNFIT {
        let site = Site::new();
        site.hub_with("a", &["news-24", "other-one"]).close().expect("closed");
        let dir = site.path("a/apps/news-24");
        spoil(&dir);
        let before = tree_digest(&dir);
        let hub = site.hub("a");
        for verb in ["open", "open again", "seal", "rename"] {
            let refused = match verb {
                "seal" => hub.seal(&id("news-24")).map(drop),
                "rename" => hub.rename(&id("news-24"), &id("renamed")).map(drop),
                _ => hub.app(&id("news-24")).map(drop),
            };
            let error = refused.expect_err(what);
            // Sealing asks whose the database is, and not whether it may serve.
            let may_differ = verb == "seal" || verb == "rename";
            assert!(may_differ || error.to_string().contains(words), "{what}, {verb}: {error}");
            assert!(!error.way_out().is_empty(), "{what}, {verb}");
        }
        start(&hub, "other-one", "more").unwrap_or_else(|error| panic!("{what}: {error}"));
        hub.close().expect("closed");
        assert_eq!(tree_changes(&before, &tree_digest(&dir)), [""; 0], "{what}");
    }
}

#[test]
fn recordings_of_an_older_system_that_nobody_imports_keep_their_app_out_of_service() {
    let site = Site::new();
    site.hub_with("a", &["news-24", "other-one"]).close().expect("closed");
    let dir = site.path("a/apps/news-24");
    fs::copy(dir.join("app.db"), dir.join("vods.db")).expect("a file");
    let before = tree_digest(&dir);
    let hub = site.hub("a");
    let error = hub.app(&id("news-24")).map(drop).expect_err("nothing is wired in").to_string();
    assert!(error.contains("vods.db") && error.contains("recordings"), "{error}");
    start(&hub, "other-one", "more").expect("the other serves");
    hub.close().expect("closed");
    assert_eq!(tree_changes(&before, &tree_digest(&dir)), [""; 0]);
}

/// What is done to a sealed copy before it is to be adopted.
const UNBELIEVABLE: &[Spoil] = &[
    ("unsealed", "not sealed", |dir| fs::remove_file(dir.join("app.seal")).expect("removed")),
    ("changed by a byte", "BLAKE3", |dir| {
        let mut bytes = fs::read(dir.join("app.db")).expect("read");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(dir.join("app.db"), bytes).expect("written");
    }),
    ("with a tampered seal", "BLAKE3", |dir| {
        let seal = fs::read_to_string(dir.join("app.seal")).expect("read");
        let (before, rest) = seal.split_once("\"blake3\": \"").expect("its digest");
        let other = if rest.starts_with('0') { '1' } else { '0' };
        fs::write(dir.join("app.seal"), format!("{before}\"blake3\": \"{other}{}", &rest[1..]))
            .expect("written");
    }),
    ("with half a seal", "seal", |dir| fs::write(dir.join("app.seal"), "{\"format\": 1,").expect("written")),
    ("with another app's seal and database", "seal belongs", |dir| {
        let seal = fs::read_to_string(dir.join("app.seal")).expect("read");
        let at = seal.find("\"uuid\": \"").expect("its uuid") + 9;
        let other = if seal[at..].starts_with('0') { "1" } else { "0" };
        fs::write(dir.join("app.seal"), format!("{}{other}{}", &seal[..at], &seal[at + 1..]))
            .expect("written");
    }),
    ("with a -wal", "-wal", |dir| fs::write(dir.join("app.db-wal"), "x").expect("written")),
    ("with a link among its files", "link", |dir| symlink("/dev/null", dir.join("hls")).expect("a link")),
    ("without a database", "no such file", |dir| fs::remove_file(dir.join("app.db")).expect("removed")),
    ("with a FIFO for a database", "FIFO", |dir| {
        instead(dir, |path| mkfifo(path, Mode::S_IRWXU).expect("a FIFO"));
    }),
    ("empty", "empty", |dir| fs::write(dir.join("app.db"), "").expect("emptied")),
];

/// What even a person's word does not stand for.
const UNACCEPTABLE: &[Spoil] = &[
    ("with a trigger", "trigger", |dir| {
        sql(&dir.join("app.db"), "CREATE TRIGGER boom AFTER INSERT ON vods BEGIN DELETE FROM streams; END");
    }),
    ("damaged", "damaged", |dir| {
        let mut bytes = fs::read(dir.join("app.db")).expect("read");
        for page in bytes.chunks_mut(4096).skip(3) {
            page[..64].fill(0xEE);
        }
        fs::write(dir.join("app.db"), bytes).expect("written");
    }),
    ("of another program", "another program", |dir| sql(&dir.join("app.db"), "PRAGMA application_id = 7")),
    ("of a name that is none", "no app's name", |dir| meta(dir, "name", "../../x")),
    ("of a tenant that is none", "no tenant's key", |dir| meta(dir, "tenant", "../x")),
    ("of a uuid that is none", "no uuid", |dir| meta(dir, "uuid", "../other-one")),
    ("of a lineage that is none", "no uuid", |dir| meta(dir, "lineage", "../other-one")),
    ("with a -wal", "-wal", |dir| fs::write(dir.join("app.db-wal"), "x").expect("written")),
];

fn refused(proof: Proof, spoils: &[Spoil]) {
    let site = Site::new();
    site.hub_with("a", &["news-24"]).close().expect("closed");
    let hub = site.hub_with("b", &["other-one"]);
    for (at, (what, words, spoil)) in spoils.iter().enumerate() {
        let copy = site.path(&format!("copy-{at}"));
        copy_tree(&site.path("a/apps/news-24"), &copy);
        if proof == Proof::Word {
            fs::remove_file(copy.join("app.seal")).expect("a stop has sealed it");
        }
        spoil(&copy);
        let before = tree_digest(&copy);
        let error = hub.adopt(&copy, &Adoption { tenant: None, proof }).expect_err(what);
        assert!(error.to_string().contains(words), "{what}: {error}");
        assert!(!error.way_out().is_empty(), "{what}");
        assert_eq!(tree_changes(&before, &tree_digest(&copy)), [""; 0], "{what}");
        let apps: Vec<String> = hub.apps().expect("a list").into_iter().map(|app| app.name).collect();
        assert_eq!(apps, ["other-one"], "{what}");
        let dir = site.path("b/apps");
        let entries = fs::read_dir(&dir).expect("apps").filter(|entry| {
            !entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with('.'))
        });
        assert_eq!(entries.count(), 1, "{what}");
        assert!(fs::read_dir(dir.join(".staging")).map_or(0, Iterator::count) == 0, "{what}");
    }
    assert_eq!(streams_of(&hub, "other-one").expect("a read"), 1);
    hub.close().expect("closed");
}

#[test]
fn a_copy_whose_seal_is_not_right_is_refused() {
    refused(Proof::Seal, UNBELIEVABLE);
}

#[test]
fn a_persons_word_does_not_stand_against_a_seal() {
    let site = Site::new();
    site.hub_with("a", &["news-24"]).close().expect("closed");
    let hub = site.hub_with("b", &[]);
    let copy = site.path("copy");
    copy_tree(&site.path("a/apps/news-24"), &copy);
    sql(&copy.join("app.db"), "UPDATE streams SET room = 'another'");
    let adoption = Adoption { tenant: None, proof: Proof::Word };
    let error = hub.adopt(&copy, &adoption).expect_err("it is not what was sealed");
    assert!(matches!(error, HubError::NotSealed { .. }), "{error}");
    fs::remove_file(copy.join("app.seal")).expect("whoever knows better removes it");
    assert!(!hub.adopt(&copy, &adoption).expect("on a person's word").sealed);
    hub.close().expect("closed");
}

#[test]
fn a_persons_word_does_not_stand_for_everything() {
    refused(Proof::Word, UNACCEPTABLE);
}

/// Texts that are no uuid; several lead to a neighbour or out of the data directory where they are joined to a path.
fn no_uuids(outside: &Path) -> Vec<String> {
    let good = "6f1c0a3e-0000-4000-8000-000000000001";
    let outside = outside.to_str().expect("UTF-8").to_owned();
    let mut texts: Vec<String> =
        ["../other-one", "../../escaped", "../../outside", "", ".", "..", "a/b", "x"]
            .map(str::to_owned)
            .into();
    texts.extend([outside, good.repeat(300), format!("{good}\n"), format!("{good}\0"), format!("{good}/..")]);
    texts.extend([good.to_uppercase(), good.replace('-', ""), format!("{{{good}}}"), format!(" {good}")]);
    texts
}

/// An installation whose next start has nothing to do: no stream is live and nothing is staged.
fn at_rest(site: &Site, name: &str, apps: &[&str]) {
    let hub = site.hub_with(name, apps);
    for app in apps {
        hub.app(&id(app)).expect("it opens").end_stream(app).expect("ended");
    }
    hub.close().expect("closed");
    site.hub(name).close().expect("closed");
}

/// A forged copy of an app, in a place of its own: what it says of itself under `key`, sealed for that.
fn forge(sealed: &Path, copy: &Path, key: &str, text: &str) {
    copy_tree(sealed, copy);
    meta(copy, key, text);
    let own = Seal::read(copy).expect("a seal").expect("it was sealed").uuid;
    reseal(copy, if key == "uuid" { text } else { own.as_str() });
}

#[test]
fn a_copy_whose_uuid_or_lineage_is_none_is_refused_and_nothing_else_is_touched() {
    let site = Site::new();
    site.hub_with("a", &["news-24"]).close().expect("closed");
    at_rest(&site, "b", &["other-one"]);
    let outside = site.path("outside");
    fs::create_dir(&outside).and_then(|()| fs::write(outside.join("mine"), "x")).expect("somebody's");
    fs::create_dir(site.path("b/outside")).expect("a directory in the data directory");
    fs::write(site.path("b/outside/mine"), "x").expect("somebody's file");
    let places =
        || [tree_digest(&site.path("b/apps")), tree_digest(&site.path("b/outside")), tree_digest(&outside)];
    let before = places();
    for key in ["uuid", "lineage"] {
        for (at, text) in no_uuids(&outside).iter().enumerate() {
            let copy = site.path(&format!("{key}-{at}"));
            forge(&site.path("a/apps/news-24"), &copy, key, text);
            let untouched = tree_digest(&copy);
            let hub = site.hub("b");
            for proof in [Proof::Seal, Proof::Word] {
                let what = format!("{key} {text:?}, {proof:?}");
                let error = hub.adopt(&copy, &Adoption { tenant: None, proof }).expect_err(&what);
                assert_eq!(error.kind(), Kind::Failed, "{what}: {error}");
                assert!(error.to_string().contains("uuid"), "{what}: {error}");
                assert!(
                    !error.to_string().contains(['\n', '\0']) && error.to_string().len() < 1000,
                    "{what}"
                );
                assert!(!error.way_out().is_empty(), "{what}");
            }
            hub.close().expect("closed");
            assert_eq!(tree_changes(&untouched, &tree_digest(&copy)), [""; 0], "{key} {text:?}");
            for (before, after) in before.iter().zip(&places()) {
                assert_eq!(tree_changes(before, after), [""; 0], "{key} {text:?}");
            }
        }
    }
    let hub = site.hub("b");
    assert_eq!(streams_of(&hub, "other-one").expect("a read"), 1);
    hub.close().expect("closed");
}

#[test]
fn a_directory_among_the_apps_whose_uuid_or_lineage_is_none_stays_where_it_lies() {
    let site = Site::new();
    site.hub_with("a", &["news-24"]).close().expect("closed");
    at_rest(&site, "b", &["other-one"]);
    let mut config = site.config("b");
    config.appearing = Appearing::AdoptSealed;
    let place = site.path("b/apps/news-24");
    for key in ["uuid", "lineage"] {
        for text in no_uuids(&site.path("outside")) {
            forge(&site.path("a/apps/news-24"), &place, key, &text);
            let before = tree_digest(&site.path("b/apps"));
            let hub = Hub::open(&config, &Silent).expect("a hub");
            // It is looked at on a thread of its own, and it is asked for by name too.
            let error = hub.adopt(&place, &Adoption::default()).expect_err(&text);
            assert!(error.to_string().contains("uuid"), "{key} {text:?}: {error}");
            hub.close().expect("closed");
            let hub = site.hub("b");
            assert!(hub.registered("news-24").is_err(), "{key} {text:?}");
            hub.close().expect("closed");
            assert_eq!(tree_changes(&before, &tree_digest(&site.path("b/apps"))), [""; 0], "{key} {text:?}");
            fs::remove_dir_all(&place).expect("removed");
        }
    }
}

#[test]
fn an_app_whose_pointer_is_no_uuid_is_out_of_service_and_goes_to_the_trash_like_any_other() {
    let site = Site::new();
    for text in no_uuids(&site.path("outside")) {
        at_rest(&site, "a", &["news-24", "other-one"]);
        let pointer = format!("CAST(x'{}' AS TEXT)", hex(text.as_bytes()));
        sql(
            &site.path("a/streamhub.db"),
            &format!("UPDATE apps SET uuid = {pointer} WHERE name = 'news-24'"),
        );
        let neighbour = tree_digest(&site.path("a/apps/other-one"));
        let hub = site.hub("a");
        let error = hub.app(&id("news-24")).map(drop).expect_err("nothing is pointed at");
        assert!(error.to_string().contains("uuid"), "{text:?}: {error}");
        hub.delete(&id("news-24")).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        hub.close().expect("closed");
        assert_eq!(
            tree_changes(&neighbour, &tree_digest(&site.path("a/apps/other-one"))),
            [""; 0],
            "{text:?}"
        );
        let trash = fs::read_dir(site.path("a/apps/.trash")).expect("a trash");
        let kept: Vec<_> = trash.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(
            matches!(&kept[..], [dir] if dir.to_string_lossy().starts_with("news-24-without-uuid-")),
            "{kept:?}"
        );
        fs::remove_dir_all(site.path("a")).expect("removed");
    }
}

#[test]
fn a_name_or_uuid_that_is_here_is_refused() {
    let site = Site::new();
    site.hub_with("a", &["news-24"]).close().expect("closed");
    let copy = site.path("copy");
    copy_tree(&site.path("a/apps/news-24"), &copy);
    let hub = site.hub("a");
    let taken = hub.adopt(&copy, &Adoption::default()).expect_err("the name is taken");
    assert!(taken.kind() == Kind::Exists && taken.to_string().contains("news-24"), "{taken}");
    hub.rename(&id("news-24"), &id("other-one")).expect("renamed");
    let taken = hub.adopt(&copy, &Adoption::default()).expect_err("the uuid is taken");
    assert!(taken.kind() == Kind::Exists && taken.to_string().contains("uuid"), "{taken}");
    hub.close().expect("closed");
}

#[test]
fn what_lies_in_the_place_of_an_app_that_comes_back_is_left_alone() {
    let site = Site::new();
    let hub = site.hub_with("a", &["news-24", "other-one"]);
    hub.delete(&id("news-24")).expect("deleted");
    let place = site.path("a/apps/news-24");
    fs::create_dir(&place).and_then(|()| fs::write(place.join("mine"), "x")).expect("somebody's directory");
    let before = tree_digest(&place);
    for _ in 0..2 {
        let refused = hub.undelete(&id("news-24")).expect_err("something lies there");
        assert_eq!(refused.kind(), Kind::Exists);
        assert!(hub.rename(&id("other-one"), &id("news-24")).is_err());
        assert_eq!(tree_changes(&before, &tree_digest(&place)), [""; 0]);
    }
    fs::remove_dir_all(&place).expect("removed");
    hub.undelete(&id("news-24")).expect("it comes back");
    assert_eq!(streams_of(&hub, "news-24").expect("a read"), 1);
    let same = hub.rename(&id("news-24"), &id("news-24")).expect_err("it has that name");
    assert_eq!(same.kind(), Kind::Exists);
    hub.close().expect("closed");
}
