//! What all commands have in common: help, options, the data directory, settings, permissions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use streamhub::progress::Silent;
use streamhub::{Hub, HubConfig};
use streamhub_tests::command::Streamhub;
use streamhub_tests::files::{scratch, tree_changes};
use streamhub_tests::legacy::Tree;

use super::Place;

/// Every command, with what it needs to be a whole command line.
const COMMANDS: &[&[&str]] = &[
    &["serve"],
    &["migrate"],
    &["status"],
    &["doctor"],
    &["app"],
    &["app", "list"],
    &["app", "show"],
    &["app", "create"],
    &["app", "rename"],
    &["app", "delete"],
    &["app", "undelete"],
    &["app", "health"],
    &["app", "optimize"],
    &["app", "check"],
    &["app", "checkpoint"],
    &["app", "purge"],
    &["app", "seal"],
    &["app", "adopt"],
    &["tenant"],
    &["tenant", "list"],
    &["tenant", "create"],
    &["tenant", "update"],
    &["tenant", "show"],
    &["tenant", "quota"],
    &["tenant", "usage"],
    &["tenant", "member"],
    &["tenant", "member", "list"],
    &["tenant", "member", "add"],
    &["tenant", "member", "change"],
    &["tenant", "member", "remove"],
    &["user"],
    &["user", "list"],
    &["user", "create"],
    &["user", "delete"],
    &["user", "status"],
    &["user", "reset-password"],
    &["user", "remove-second-factor"],
    &["token"],
    &["token", "list"],
    &["token", "create"],
    &["token", "revoke"],
    &["node"],
    &["node", "list"],
    &["node", "create"],
    &["node", "status"],
    &["node", "delete"],
    &["job"],
    &["job", "list"],
    &["job", "show"],
    &["job", "cancel"],
    &["audit"],
    &["audit", "list"],
    &["audit", "prune"],
    &["logs"],
    &["logs", "list"],
    &["logs", "prune"],
    &["config"],
    &["config", "show"],
    &["config", "check"],
    &["completions"],
];

#[test]
fn every_command_has_help_with_an_example() {
    let top = Streamhub::bare().run(["--help"]).expect(0);
    assert!(top.stdout().contains("Example"), "{}", top.stdout());
    for command in COMMANDS {
        let help = Streamhub::bare().run(command.iter().chain(&["--help"])).expect(0);
        assert!(help.stdout().contains("Example"), "{command:?}\n{}", help.stdout());
        assert!(help.stdout().contains("--data-dir"), "{command:?} does not name the global options");
        assert!(top.stdout().contains(command[0]), "{command:?} is not listed");
        for verb in listed(help.stdout()) {
            let named = [command, &[verb][..]].concat();
            assert!(COMMANDS.contains(&&*named), "{named:?} is not looked at here");
        }
    }
    for command in listed(top.stdout()) {
        assert!(COMMANDS.contains(&&[command][..]), "{command} is not looked at here");
    }
    let version = Streamhub::bare().run(["--version"]).expect(0);
    assert!(version.stdout().starts_with("streamhub "), "{}", version.stdout());
}

/// The commands that a help lists; what it says of one may take further lines.
fn listed(help: &str) -> impl Iterator<Item = &str> {
    let behind = help.split_once("Commands:\n").map_or("", |(_, behind)| behind);
    let lines = behind.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let words = lines.filter_map(|line| line.split(' ').next());
    words.filter(|word| !word.is_empty() && *word != "help")
}

#[test]
fn what_cannot_be_understood_exits_2() {
    let place = Place::missing();
    for line in [
        &[][..],
        &["no-such-command"],
        &["status", "--no-such-option"],
        &["doctor", "--fix"],
        &["app"],
        &["app", "show"],
        &["app", "no-such-verb"],
        &["app", "create"],
        &["app", "create", "demo", "--tenant", "../x"],
        &["app", "rename", "demo"],
        &["app", "adopt"],
        &["app", "purge", "demo"],
        &["tenant", "member"],
        &["user", "reset-password"],
        &["user", "create", "no address"],
        &["user", "status", "a@example.org", "asleep"],
        &["serve", "--listen", "nowhere"],
        &["migrate", "--recover", "../x"],
        &["migrate", "--recover", "demo", "--cleanup"],
        &["completions", "no-such-shell"],
        &["status", "-v", "-q"],
        &["status", "--log-format", "xml"],
    ] {
        let output = Streamhub::bare().env("DATA_DIR", &place.dir).run(line).expect(2);
        assert!(output.stdout().is_empty() && !output.stderr().is_empty(), "{line:?}");
    }
    assert!(!place.dir.exists());
}

#[test]
fn global_options_stand_before_and_after_the_command() {
    let place = Place::new();
    let dir = place.dir.to_str().expect("UTF-8");
    for line in [
        &["--data-dir", dir, "--json", "app", "list"][..],
        &["app", "--data-dir", dir, "list", "--json"],
        &["app", "list", "--json", "--data-dir", dir, "-q", "--log-format", "json"],
    ] {
        let list = Streamhub::bare().run(line).expect(0);
        assert_eq!(list.json()["total"], 0, "{line:?}");
        assert!(list.stderr().is_empty(), "{}", list.stderr());
    }
}

#[test]
fn the_data_directory_is_found_in_the_documented_order() {
    let places =
        [("DATA_DIR", "/a"), ("STATE_DIRECTORY", "/b:/b2"), ("XDG_STATE_HOME", "/c"), ("HOME", "/d")];
    let expected = ["/a", "/b", "/c/streamhub", "/d/.local/state/streamhub"];
    for (first, expected) in expected.iter().enumerate() {
        // Those before it are there and empty.
        let mut command = Streamhub::bare();
        for (index, (name, value)) in places.iter().enumerate() {
            command = command.env(name, if index < first { "" } else { value });
        }
        let shown = command.run(["config", "show", "--json"]).expect(0).json();
        assert_eq!(shown["settings"][0]["key"], "data_dir");
        assert_eq!(shown["settings"][0]["value"], *expected);
        assert_eq!(shown["settings"][0]["source"]["env"], places[first].0);
        let flag = command.run(["config", "show", "--json", "--data-dir", "/flag"]).expect(0).json();
        assert_eq!(flag["settings"][0]["value"], "/flag");
    }
    let nowhere = places.iter().fold(Streamhub::bare(), |command, (name, _)| command.env(name, ""));
    for line in [&["status"][..], &["serve"], &["migrate", "--dry-run"], &["config", "show"]] {
        let refused = nowhere.run(line).expect(78);
        for tried in ["--data-dir", "DATA_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME", "HOME", "way out:"] {
            assert!(refused.stderr().contains(tried), "{tried} is not named: {}", refused.stderr());
        }
    }
}

/// What needs an installation and makes none.
const NEED_ONE: &[&[&str]] = &[
    &["app", "list"],
    &["app", "show", "demo"],
    &["app", "rename", "demo", "other"],
    &["app", "delete", "demo"],
    &["app", "undelete", "demo"],
    &["app", "health", "demo"],
    &["app", "optimize", "demo"],
    &["app", "check", "demo"],
    &["app", "checkpoint", "demo"],
    &["app", "purge", "demo", "--confirm"],
    &["app", "seal", "demo"],
    &["tenant", "list"],
    &["tenant", "show", "acme"],
    &["tenant", "quota", "acme"],
    &["tenant", "quota", "acme", "--max-apps", "1"],
    &["tenant", "usage", "acme"],
    &["tenant", "member", "list", "acme"],
    &["tenant", "member", "add", "acme", "a@example.org"],
    &["tenant", "member", "change", "acme", "a@example.org", "--role", "owner"],
    &["tenant", "member", "remove", "acme", "a@example.org"],
    &["user", "list"],
    &["user", "delete", "a@example.org"],
    &["user", "status", "a@example.org", "disabled"],
    &["user", "reset-password", "a@example.org"],
    &["token", "list"],
    &["token", "revoke", "1"],
    &["node", "list"],
    &["node", "status", "edge-1", "active"],
    &["node", "delete", "edge-1"],
    &["job", "list"],
    &["job", "show", "0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f"],
    &["job", "cancel", "0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f"],
];

#[test]
fn only_some_commands_make_a_data_directory() {
    for line in NEED_ONE.iter().chain(&[&["status"][..], &["doctor"], &["config", "check"]]) {
        let place = Place::missing();
        let refused = place.streamhub().run(*line).expect(5);
        assert!(!place.dir.exists(), "{line:?} made it");
        let text = refused.stderr();
        assert!(text.contains("data-dir") && text.contains("way out:"), "{line:?}: {text}");
    }
    // An empty directory is no installation, and stays empty.
    for line in NEED_ONE {
        let place = Place::missing();
        fs::create_dir(&place.dir).expect("a directory");
        let _ = place.streamhub().run(*line).expect(5);
        assert_eq!(fs::read_dir(&place.dir).expect("the directory").count(), 0, "{line:?}");
    }
    let _ = Place::missing().streamhub().run(["config", "show"]).expect(0);
    for line in [
        &["app", "create", "demo"][..],
        &["tenant", "create", "acme"],
        &["user", "create", "a@example.org"],
        &["token", "create", "ci"],
        &["node", "create", "edge-1"],
    ] {
        let place = Place::missing();
        let _ = place.streamhub().run(line).expect(0);
        let _ = place.streamhub().run(["doctor"]).expect(0);
    }
}

#[test]
fn lists_are_read_beside_a_running_server() {
    let place = Place::ours();
    let server = place.streamhub().serve();
    server.wait_until_ready();
    for line in [
        &["app", "list"][..],
        &["app", "show", "demo"],
        &["tenant", "list"],
        &["tenant", "show", "platform"],
        &["tenant", "quota", "platform"],
        &["tenant", "usage", "platform"],
        &["tenant", "member", "list", "platform"],
        &["user", "list"],
        &["token", "list"],
        &["node", "list"],
        &["job", "list"],
    ] {
        let _ = place.streamhub().run(line).expect(0);
    }
    assert!(server.stop().success());
}

/// As beside a media server that embeds the library.
#[test]
fn nothing_is_changed_beside_somebody_who_cannot_be_asked() {
    let place = Place::ours();
    let hub = Hub::open(&HubConfig::new(&place.dir), &Silent).expect("a hub");
    let people = || place.streamhub().run(["user", "list"]).expect(0).stdout().to_owned();
    let (before, known) = (place.digest_of_apps(), people());
    let pid = std::process::id().to_string();
    for line in [
        &["app", "create", "other"][..],
        &["app", "rename", "demo", "other"],
        &["app", "delete", "demo"],
        &["app", "undelete", "demo"],
        &["app", "health", "demo"],
        &["app", "optimize", "demo"],
        &["app", "check", "demo"],
        &["app", "checkpoint", "demo"],
        &["app", "purge", "demo", "--confirm"],
        &["app", "seal", "demo"],
        &["app", "adopt", "/some/where"],
        &["tenant", "create", "acme"],
        &["tenant", "quota", "platform", "--max-apps", "1"],
        &["tenant", "member", "add", "platform", "a@example.org"],
        &["tenant", "member", "change", "platform", "a@example.org", "--role", "owner"],
        &["tenant", "member", "remove", "platform", "a@example.org"],
        &["user", "create", "a@example.org"],
        &["user", "delete", "a@example.org"],
        &["user", "status", "a@example.org", "active"],
        &["token", "create", "ci"],
        &["token", "revoke", "1"],
        &["node", "create", "edge-1"],
        &["node", "status", "edge-1", "active"],
        &["node", "delete", "edge-1"],
        &["job", "cancel", "0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f"],
    ] {
        let refused = place.streamhub().run(line).expect(75);
        let text = refused.stderr();
        assert!(text.contains(&pid) && text.contains("way out:"), "{line:?}: {text}");
        assert!(refused.stdout().is_empty(), "{line:?} printed {}", refused.stdout());
    }
    assert_eq!(tree_changes(&before, &place.digest_of_apps()), [""; 0]);
    assert_eq!(people(), known);
    hub.close().expect("closed");
}

#[test]
fn a_file_in_the_directorys_place_is_refused() {
    let place = Place::missing();
    fs::write(&place.dir, "x").expect("a file");
    for line in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"], &["status"], &["app", "list"]] {
        let refused = place.streamhub().run(line).expect(78);
        assert!(refused.stderr().contains("it is a file"), "{line:?}: {}", refused.stderr());
    }
    assert_eq!(fs::read_to_string(&place.dir).expect("the file"), "x");
}

#[test]
fn bad_settings_are_refused_with_everything_that_is_wrong() {
    let place = Place::ours();
    let before = place.digest();
    for (variable, value, words) in [
        ("STREAMHUB_LISTEN", "3020", "127.0.0.1:3020"),
        ("STREAMHUB_ALLOW_VOLATILE", "maybe", "true or false"),
        ("STREAMHUB_SHUTDOWN_GRACE_SECONDS", "-1", "whole number"),
        ("DATABASE_URL", "postgres://u:hunter2@h/db", "PostgreSQL"),
        ("DATABASE_URL", "sqlite:x.db?cache=shared", "cache"),
        ("DATABASE_URL", "mysql://h/db", "mysql"),
    ] {
        for line in
            [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"], &["status"], &["config", "show"]]
        {
            if variable == "STREAMHUB_LISTEN" && line[0] == "serve" {
                continue;
            }
            let refused = place.streamhub().env(variable, value).run(line).expect(78);
            let text = refused.stderr();
            assert!(text.contains(variable) && text.contains(words) && text.contains("way out:"), "{text}");
            assert!(!text.contains("hunter2"));
        }
    }
    let file = scratch();
    let named = file.path().join("s.yaml");
    fs::write(&named, "listen: x\ncolour: blue\nlog_format: xml\n").expect("a settings file");
    let refused = place.streamhub().run(["status", "--config", named.to_str().expect("UTF-8")]).expect(78);
    for part in ["s.yaml", "colour", "listen", "log_format"] {
        assert!(refused.stderr().contains(part), "{part} is not named: {}", refused.stderr());
    }
    let _ = place.streamhub().run(["status", "--config", "/no/such/file.yaml"]).expect(78);
    assert_eq!(place.changes(&before), [""; 0]);
    fs::write(place.path("streamhub.yaml"), "listen: &a x\n").expect("a settings file");
    let refused = place.streamhub().run(["migrate"]).expect(78);
    assert!(refused.stderr().contains("streamhub.yaml:1:"), "{}", refused.stderr());
}

#[test]
fn others_are_shut_out() {
    let place = Place::of(&Tree::small());
    fs::write(place.path("secrets.json"), "{}").expect("secrets");
    let mode = |path: &str| fs::metadata(place.path(path)).expect(path).permissions().mode() & 0o777;
    let open = |path: &str, mode: u32| {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(mode)).expect(path);
    };
    open("", 0o755);
    for path in ["secrets.json", "data/streamhub.db"] {
        open(path, 0o644);
    }
    let _ = place.streamhub().run(["migrate"]).expect(0);
    assert_eq!(mode(""), 0o700);
    for path in ["secrets.json", "data/streamhub.db", "streamhub.lock", "apps/demo/app.db"] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
    for entry in fs::read_dir(place.path("data")).expect("data") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("a file").permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }

    let new = Place::new();
    let mode = |path: &str| fs::metadata(new.path(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("apps"), mode("streamhub.db")), (0o700, 0o700, 0o600));
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let place = Place::ours();
    for line in [&["completions", "bash"][..], &["app", "list"], &["status", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = place.streamhub().command(line);
        let ended = command.stdout(writer).stderr(Stdio::piped()).output().expect("it starts");
        assert_eq!(ended.status.code(), Some(0), "{line:?}: {}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}
