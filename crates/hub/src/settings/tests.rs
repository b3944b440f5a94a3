//! Tests of the settings: order, files, and what a bad value's message says.
#![allow(clippy::disallowed_methods, reason = "the tests put files in place")]

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

fn in_file(text: &str) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("streamhub.yaml");
    std::fs::write(&path, text).unwrap();
    only(Settings::load(Overrides::default(), &no_env, Some(FileSource::Named(path))))
}

/// The settings, or the one thing that is wrong with them.
fn only(loaded: Result<Settings, Vec<SettingsError>>) -> Result<Settings, SettingsError> {
    loaded.map_err(|mut wrong| {
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        wrong.remove(0)
    })
}

fn in_env(name: &'static str, value: &'static str) -> Result<Settings, SettingsError> {
    let env = |asked: &str| (asked == name).then(|| value.to_owned());
    only(Settings::load(Overrides::default(), &env, None))
}

#[test]
fn defaults() {
    let settings = Settings::load(Overrides::default(), &no_env, None).unwrap();
    assert_eq!(settings.listen.value, "127.0.0.1:3020".parse().unwrap());
    assert!(!settings.allow_volatile.value);
    assert_eq!(settings.log_format.value, LogFormat::Text);
    assert_eq!(settings.shutdown_grace_seconds.value, 10);
    assert_eq!(settings.live_streams.value, LiveStreams::End);
    assert_eq!(settings.quotas.value, Enforcement::On);
    assert_eq!(settings.database_url.value, ControlDatabase::InDataDir);
    let entries = settings.entries();
    assert!(entries.iter().all(|entry| entry.source == Source::Default));
    assert_eq!(entries.iter().map(|entry| entry.key).collect::<Vec<_>>(), KEYS);
}

#[test]
fn flag_then_environment_then_file_then_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("streamhub.yaml");
    std::fs::write(
        &path,
        "listen: 0.0.0.0:1\nshutdown_grace_seconds: 1\nlog_format: json\nlive_streams: keep\nallow_volatile:\n",
    )
    .unwrap();
    let flags = Overrides { listen: Some("0.0.0.0:3".parse().unwrap()), ..Overrides::default() };
    let env = |name: &str| match name {
        "STREAMHUB_LISTEN" => Some("0.0.0.0:2".to_owned()),
        "STREAMHUB_SHUTDOWN_GRACE_SECONDS" => Some("2".to_owned()),
        "STREAMHUB_LOG_FORMAT" => Some(String::new()),
        _ => None,
    };
    let settings = Settings::load(flags, &env, Some(FileSource::InDataDir(path.clone()))).unwrap();
    assert_eq!(settings.listen.value.port(), 3);
    assert_eq!(settings.listen.source, Source::Flag("--listen"));
    assert_eq!(settings.shutdown_grace_seconds.value, 2);
    assert_eq!(
        settings.shutdown_grace_seconds.source,
        Source::Env("STREAMHUB_SHUTDOWN_GRACE_SECONDS".into())
    );
    assert_eq!(settings.log_format.value, LogFormat::Json, "an empty variable is skipped");
    assert_eq!(settings.log_format.source, Source::File(path));
    assert_eq!(settings.live_streams.value, LiveStreams::Keep);
    assert_eq!(settings.allow_volatile.source, Source::Default, "a key without a value sets nothing");
    assert_eq!(settings.database_url.source, Source::Default);
}

#[test]
fn quotas_are_off_logged_or_on() {
    for (text, quotas) in [("off", Enforcement::Off), ("log", Enforcement::Log), ("on", Enforcement::On)] {
        assert_eq!(in_env("STREAMHUB_QUOTAS", text).unwrap().quotas.value, quotas);
        assert_eq!(in_file(&format!("quotas: {text}\n")).unwrap().quotas.value, quotas);
    }
    let refused = in_file("quotas: maybe\n").unwrap_err().to_string();
    assert!(refused.contains("expected off, log or on"), "{refused}");
}

#[test]
fn every_variable_is_named_after_its_key_except_one() {
    for key in KEYS {
        let variable = format!("STREAMHUB_{}", key.to_uppercase());
        let env = |name: &str| (name == variable).then(|| "?".to_owned());
        let loaded = Settings::load(Overrides::default(), &env, None);
        // A question mark is no value of any type here, so reading the variable shows.
        assert_eq!(loaded.is_err(), *key != "database_url", "{variable}");
    }
}

#[test]
fn a_bad_value_says_key_value_origin_and_what_is_accepted() {
    for (loaded, parts) in [
        (in_env("STREAMHUB_LISTEN", "3020"), ["STREAMHUB_LISTEN", "listen", "\"3020\"", "127.0.0.1:3020"]),
        (
            in_env("STREAMHUB_ALLOW_VOLATILE", "maybe"),
            ["environment", "allow_volatile", "\"maybe\"", "true or false"],
        ),
        (in_env("STREAMHUB_LOG_FORMAT", "xml"), ["environment", "log_format", "\"xml\"", "text or json"]),
        (
            in_env("STREAMHUB_LIVE_STREAMS", "stop"),
            ["environment", "live_streams", "\"stop\"", "end or keep"],
        ),
        (
            in_file("shutdown_grace_seconds: -1"),
            ["streamhub.yaml", "shutdown_grace", "\"-1\"", "whole number"],
        ),
        (in_file("shutdown_grace_seconds: 1.5"), ["streamhub.yaml", "grace", "\"1.5\"", "whole number"]),
        (in_file("listen: [a]"), ["streamhub.yaml", "listen", "a list", "single value"]),
        (in_env("STREAMHUB_LISTEN", "\u{fffd}"), ["STREAMHUB_LISTEN", "listen", "", "UTF-8"]),
    ] {
        let error = loaded.unwrap_err();
        for part in parts {
            assert!(error.to_string().contains(part), "{error} does not say {part}");
        }
        assert!(error.way_out().is_some());
    }
}

#[test]
fn booleans_as_people_write_them() {
    for (text, value) in
        [("1", true), ("true", true), ("YES", true), ("on", true), ("0", false), ("Off", false)]
    {
        assert_eq!(in_env("STREAMHUB_ALLOW_VOLATILE", text).unwrap().allow_volatile.value, value);
    }
    assert!(in_file("allow_volatile: true").unwrap().allow_volatile.value);
    assert!(in_file("allow_volatile: 1").unwrap().allow_volatile.value);
}

#[test]
fn the_control_database_can_be_elsewhere_and_no_password_is_shown() {
    let settings = in_env("DATABASE_URL", "file:/x/my%20c.db?mode=rw").unwrap();
    let ControlDatabase::At(place) = &settings.database_url.value else { panic!("{settings:?}") };
    assert_eq!(place.path, Path::new("/x/my c.db"));
    let shown = settings.entries().into_iter().find(|entry| entry.key == "database_url").unwrap();
    assert_eq!(shown.value, "sqlite:/x/my c.db?mode=rw");
    assert_eq!(shown.source, Source::Env("DATABASE_URL".into()));

    for url in ["postgres://u:hunter2@h/db", "postgres://h/db?password=hunter2", "file:x?key=hunter2"] {
        let error = in_env("DATABASE_URL", url).unwrap_err();
        let shown = format!("{error} {error:?} {}", error.way_out().unwrap());
        assert!(shown.contains("DATABASE_URL") && !shown.contains("hunter2"), "{shown}");
    }
    let error = in_env("DATABASE_URL", "postgres://u:p@h/db").unwrap_err();
    assert!(error.to_string().ends_with("a PostgreSQL control database is not built yet"), "{error}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    for (key, expected) in [
        ("listn", Some("listen")),
        ("allow-volatile", Some("allow_volatile")),
        ("Log_Format", Some("log_format")),
        ("grace", None),
        ("colour", None),
    ] {
        match in_file(&format!("{key}: 1")).unwrap_err() {
            SettingsError::UnknownKey { key: named, nearest, .. } => {
                assert_eq!((named.as_str(), nearest), (key, expected));
            }
            other => panic!("{other}"),
        }
    }
    let error = in_file("colour: 1").unwrap_err();
    assert!(error.way_out().unwrap().contains("shutdown_grace_seconds"), "all keys are listed");
    assert!(matches!(in_file("1: 2"), Err(SettingsError::UnknownKey { .. })));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("streamhub.yaml");
    std::fs::write(&path, "listen: x\nlog_format: xml\ncolour: 1\n").unwrap();
    let env = |name: &str| (name == "DATABASE_URL").then(|| "mysql://h".to_owned());
    let wrong = Settings::load(Overrides::default(), &env, Some(FileSource::Named(path))).unwrap_err();
    let words = wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for part in ["colour", "listen", "log_format", "database_url"] {
        assert!(words.contains(part), "{words} does not say {part}");
    }
    assert_eq!(wrong.len(), 4, "{words}");
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("streamhub.yaml");
    let load = |file| Settings::load(Overrides::default(), &no_env, Some(file));
    assert!(load(FileSource::InDataDir(path.clone())).is_ok());
    assert!(load(FileSource::Named(path.clone())).is_err());
    std::fs::create_dir(&path).unwrap();
    assert!(load(FileSource::InDataDir(path.clone())).is_err(), "there, and not a file");

    assert!(in_file("# nothing is set\n").is_ok());
    assert!(matches!(in_file("- a"), Err(SettingsError::NotAMapping { .. })));
    assert!(matches!(in_file("listen: &a x"), Err(SettingsError::Yaml(_))));
    assert!(matches!(in_file("listen: a\nlisten: b"), Err(SettingsError::Yaml(_))));
}

#[test]
fn lists_are_lists_in_the_file_and_have_commas_in_the_environment() {
    let networks = AllowList::only(&["10.0.0.0/8", "::1"]).unwrap();
    for text in ["[10.0.0.0/8, '::1']", "\n- 10.0.0.0/8\n- ::1", "10.0.0.0/8, ::1"] {
        let settings = in_file(&format!("trusted_proxies: {text}")).unwrap();
        assert_eq!(settings.trusted_proxies.value, networks, "{text}");
    }
    let settings = in_env("STREAMHUB_TRUSTED_PROXIES", " 10.0.0.0/8 ,::1").unwrap();
    assert_eq!(settings.trusted_proxies.value, networks);
    let shown = settings.entries().into_iter().find(|entry| entry.key == "trusted_proxies").unwrap();
    assert_eq!(shown.value, serde_json::json!(["10.0.0.0/8", "::1/128"]));
    for text in ["[]", "''", "' '"] {
        let settings = in_file(&format!("trusted_proxies: {text}\ncors_origins: {text}")).unwrap();
        assert_eq!(settings.trusted_proxies.value, AllowList::NOBODY);
        assert_eq!(settings.cors_origins.value, []);
    }
    for bad in ["[10.0.0.0/33]", "10.0.0.1,", "[[10.0.0.1]]", "{a: b}", "[example.org]", "true"] {
        assert!(in_file(&format!("trusted_proxies: {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn origins_are_what_browsers_send() {
    for good in ["*", "https://console.example.org", "http://localhost:3000", "http://[::1]:80"] {
        assert_eq!(
            in_file(&format!("cors_origins: ['{good}']")).unwrap().cors_origins.value,
            [good.parse().unwrap()]
        );
    }
    for bad in ["example.org", "https://", "https://a/", "https://A", "ftp://a", "null", "https://*.a", "a,"]
    {
        assert!(in_file(&format!("cors_origins: ['{bad}']")).is_err(), "{bad}");
    }
}

#[test]
fn what_would_serve_nobody_is_refused() {
    assert_eq!(in_file("max_connections: 1").unwrap().max_connections.value.get(), 1);
    let error = in_file("max_connections: 0").unwrap_err().to_string();
    assert!(error.contains("from 1"), "{error}");
}
