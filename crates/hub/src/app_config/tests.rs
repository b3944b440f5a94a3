//! What is read, shown and written.
#![allow(clippy::disallowed_methods, reason = "the tests look at files and put them in place")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::*;

const EXAMPLE: &str = "\
name: demo
recording: {enabled: true, local_dir: recordings, split_minutes: 0}
s3: {bucket: '', access_key_env: S3_KEY, secret_key_env: S3_SECRET, signing_key: k1}
webrtc: {layers: [{name: high, height: 720}, {name: low, height: 240}]}
transcoding: {vod_renditions: [{height: 480}]}
callbacks: {url: 'https://u:hunter2@h/x', secret: hunter2}
mqtt: {password_env: '', events: [all], broker_password: hunter2}
durability: normal
";

fn parsed(text: &str) -> Result<AppConfig, AppConfigError> {
    AppConfig::from_text(text, Path::new("config.yaml")).map_err(|mut wrong| wrong.remove(0))
}

#[test]
fn secrets_are_masked_and_references_listed() {
    let config = parsed(EXAMPLE).unwrap();
    let masked = config.masked();
    assert_eq!(masked["callbacks"], json!({"url": "https://u:***@h/x", "secret": "***"}));
    assert_eq!(masked["s3"]["signing_key"], "***");
    assert_eq!(masked["s3"]["secret_key_env"], "S3_SECRET");
    assert_eq!(masked["webrtc"]["layers"][1]["height"], 240);
    assert!(!format!("{config:?}").contains("hunter2"));
    let refs: Vec<_> = config.secret_refs().into_iter().map(|it| (it.key, it.name)).collect();
    let expected = [("s3.access_key_env", "S3_KEY"), ("s3.secret_key_env", "S3_SECRET")];
    assert_eq!(refs, expected.map(|(key, name)| (key.to_owned(), name.to_owned())));
    // A secret that is not set is shown as such, and a section is hidden whole.
    let masked = parsed("callbacks: {secret: ''}\nx: {api_key: {a: hunter2}}").unwrap().masked();
    assert_eq!(masked, json!({"callbacks": {"secret": ""}, "x": {"api_key": "***"}}));
}

#[test]
fn unknown_keys_are_kept_and_named() {
    assert_eq!(parsed(EXAMPLE).unwrap().unknown_keys(), ["s3.signing_key", "mqtt.broker_password"]);
    let config = parsed(
        "a: {b: 1}\nrecording.enabled: x\nwebrtc: {layers: [{fps: 1}, {fps: 2}], x: 1}\n2: y\nrtmp: {enabled: false}",
    )
    .unwrap();
    let unknown = ["a", "\"recording.enabled\"", "webrtc.layers[].fps", "webrtc.x", "2"];
    assert_eq!(config.unknown_keys(), unknown);
    assert!(parsed("callbacks: {secret_env: NAME}").unwrap().unknown_keys().is_empty());
    assert_eq!(config.masked()["a"], json!({"b": 1}));
}

#[test]
fn durability_is_full_unless_it_says_otherwise() {
    assert_eq!(parsed(EXAMPLE).unwrap().durability(), Durability::Normal);
    for text in ["name: a", "durability: full", "durability:"] {
        assert_eq!(parsed(text).unwrap().durability(), Durability::Full);
    }
}

#[test]
fn wrong_types_are_named_without_the_value() {
    for (text, key) in [
        ("name: 24", "name"),
        ("recording: {enabled: 'hunter2'}", "recording.enabled"),
        ("recording: hunter2", "recording"),
        ("recording: {split_minutes: -1}", "recording.split_minutes"),
        ("latency_alert: {threshold_ms: .inf}", "latency_alert.threshold_ms"),
        ("callbacks: {secret: [hunter2]}", "callbacks.secret"),
        ("mqtt: {events: [1]}", "mqtt.events"),
        ("webrtc: {layers: [{height: hunter2}]}", "webrtc.layers[].height"),
        ("webrtc: {layers: {}}", "webrtc.layers"),
        ("durability: hunter2", "durability"),
    ] {
        let error = parsed(text).unwrap_err();
        assert!(error.to_string().starts_with(&format!("config.yaml: {key} must be ")), "{error}");
        assert!(!format!("{error} {error:?} {:?}", error.way_out()).contains("hunter2"));
    }
    for text in ["", "- a", "text", "# a comment"] {
        assert!(matches!(parsed(text), Err(AppConfigError::NotAMapping { .. })), "{text:?}");
    }
    let missing = AppConfig::read(Path::new("no/such/config.yaml")).unwrap_err();
    assert!(matches!(missing[..], [AppConfigError::Yaml(_)]));
    let text = "name: 1\nrecording: {enabled: 2}\nmqtt: 3";
    assert_eq!(AppConfig::from_text(text, Path::new("config.yaml")).unwrap_err().len(), 3);
}

#[test]
fn an_empty_configuration_holds_the_name() {
    let empty = AppConfig::empty(&"demo".parse().unwrap());
    assert_eq!(empty.to_text(), "name: demo\n");
    assert_eq!(empty.durability(), Durability::Full);
}

/// The older system truncated the file and wrote it again.
#[test]
fn d13_a_reader_finds_the_old_or_the_new_content_and_never_half() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let filler = |letter: &str| json!({ "filler": letter.repeat(60_000) });
    let [old, new] = ["a", "b"].map(|letter| parsed(EXAMPLE).unwrap().patched(&filler(letter)).unwrap());
    old.write(&path).unwrap();

    // The file itself is never written again: another name of it keeps all of its content.
    let before = dir.path().join("before");
    fs::hard_link(&path, &before).unwrap();
    new.write(&path).unwrap();
    assert_eq!(fs::read_to_string(&before).unwrap(), old.to_text());
    assert_eq!(fs::read_to_string(&path).unwrap(), new.to_text());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                let found = AppConfig::read(&path).unwrap().to_text();
                assert!(found == old.to_text() || found == new.to_text());
                reads += 1;
            }
        });
        for config in [&old, &new].into_iter().cycle().take(40) {
            config.write(&path).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert!(!fs::exists(dir.path().join("config.yaml.bak")).unwrap(), "its own text was kept");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "a staged file was left behind");
}

#[test]
fn what_a_person_wrote_is_kept_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let kept = || fs::read_to_string(dir.path().join("config.yaml.bak")).unwrap();
    for text in ["# of mine\nname: demo\n", "name:   demo\n", "name: [", ""] {
        fs::write(&path, text).unwrap();
        parsed(EXAMPLE).unwrap().write(&path).unwrap();
        parsed(EXAMPLE).unwrap().write(&path).unwrap();
        assert_eq!(kept(), text);
    }
    assert_eq!(fs::metadata(dir.path().join("config.yaml.bak")).unwrap().mode() & 0o777, 0o600);
    // What cannot be kept is not replaced.
    fs::write(&path, "x".repeat(70_000)).unwrap();
    assert!(parsed(EXAMPLE).unwrap().write(&path).is_err());
    assert_eq!(fs::metadata(&path).unwrap().len(), 70_000);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(parsed(EXAMPLE).unwrap().write(&path).is_err());
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
}
