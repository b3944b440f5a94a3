//! The credentials that an app's configuration refers to by name: `secrets.json` and the environment.
//!
//! A file that cannot be read is an error and never an empty set, because the next write would make
//! the emptiness real. No message and no `Debug` output shows a value. Writing is not done here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use streamhub_engine::Error;
use streamhub_engine::durable::read_capped;

/// The most bytes that `secrets.json` may hold.
pub const SIZE_CAP: u64 = 1024 * 1024;

/// What a secret is shown as.
pub const MASK: &str = "***";

/// A value that is never shown: its `Debug` and `Display` write [`MASK`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The secrets of one data directory, as its `secrets.json` holds them.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: BTreeMap<String, Secret>,
}

/// Why `secrets.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// The file cannot be read, is not a regular file, or is larger than [`SIZE_CAP`].
    #[error(transparent)]
    Read(#[from] Error),
    /// Not JSON.
    #[error("{}:{line}:{column}: it is not valid JSON", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 is the end of the line before.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("{}: it holds {found} instead of an object of names and texts", path.display())]
    NotAnObject {
        /// The file.
        path: PathBuf,
        /// The kind of value.
        found: &'static str,
    },
    /// A value that is not a text.
    #[error("{}: the value of {name:?} is {found} instead of a text", path.display())]
    NotAText {
        /// The file.
        path: PathBuf,
        /// The secret's name.
        name: String,
        /// The kind of value.
        found: &'static str,
    },
    /// A name that is there twice, so that it is not known which value counts.
    #[error("{}: the name {name:?} is there twice", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The secret's name.
        name: String,
    },
}

impl Secrets {
    /// Reads the file at `path`. A missing file holds no secrets; anything else that keeps it from being read is an error.
    pub fn read(path: &Path) -> Result<Self, SecretsError> {
        match read_capped(path, SIZE_CAP) {
            Ok(content) => Self::from_slice(&content, path),
            Err(Error::Io { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads `content`, which came from `path`.
    pub fn from_slice(content: &[u8], path: &Path) -> Result<Self, SecretsError> {
        let path = || path.to_owned();
        // Only the place is taken from the parser's error: its words can quote a value.
        let value: Value = serde_json::from_slice(content).map_err(|error| SecretsError::NotJson {
            path: path(),
            line: error.line(),
            column: error.column(),
        })?;
        let Value::Object(entries) = value else {
            return Err(SecretsError::NotAnObject { path: path(), found: kind(&value) });
        };
        if let Some(name) = first_duplicate(content) {
            return Err(SecretsError::Duplicate { path: path(), name });
        }
        let mut values = BTreeMap::new();
        for (name, value) in entries {
            match value {
                Value::String(text) => values.insert(name, Secret(text)),
                other => return Err(SecretsError::NotAText { path: path(), name, found: kind(&other) }),
            };
        }
        Ok(Self { values })
    }

    /// The secret called `name`: from the process environment, else from the file.
    pub fn get(&self, name: &str) -> Option<Secret> {
        self.get_with(name, &crate::settings::process_env)
    }

    /// As [`get`](Self::get), with the environment given. An empty variable counts as not set.
    pub fn get_with(&self, name: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<Secret> {
        let from_env = env(name).filter(|value| !value.is_empty()).map(Secret);
        from_env.or_else(|| self.values.get(name).cloned())
    }

    /// The names in the file, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

impl Secret {
    /// The value itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl SecretsError {
    /// What a person can do about it.
    pub fn way_out(&self) -> Option<String> {
        Some(String::from(match self {
            Self::Read(Error::Io { .. }) => "make it readable for this user; nothing was changed",
            Self::Read(_) => "put a regular file there, or move it away to go on without stored secrets",
            Self::NotJson { .. } => "correct the file, or restore it from a backup; nothing was changed",
            Self::NotAnObject { .. } | Self::NotAText { .. } => {
                "write one flat object of texts: {\"NAME\": \"value\"}"
            }
            Self::Duplicate { .. } => "keep the one that is right",
        }))
    }
}

/// `text` without the password of a URL in it: `mqtt://user:***@host`.
///
/// A password may hold an unescaped `@` or `/`, so everything up to the last `@` is taken for it: an
/// odd path is masked rather than a piece of a password shown.
pub fn mask_url(text: &str) -> Cow<'_, str> {
    let masked = || {
        let (scheme, rest) = text.split_once("://")?;
        let (before, host) = rest.rsplit_once('@')?;
        let (user, _password) = before.split_once(':')?;
        Some(format!("{scheme}://{user}:{MASK}@{host}"))
    };
    masked().map_or(Cow::Borrowed(text), Cow::Owned)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The first name that an object holds twice; a parsed object has already lost it.
fn first_duplicate(content: &[u8]) -> Option<String> {
    struct Names(Option<String>);

    impl<'de> Visitor<'de> for &mut Names {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
            let mut seen = BTreeMap::new();
            while let Some(name) = entries.next_key::<String>()? {
                match seen.entry(name) {
                    Entry::Occupied(twice) => {
                        self.0 = Some(twice.key().clone());
                        return Err(A::Error::custom("twice"));
                    }
                    Entry::Vacant(free) => free.insert(()),
                };
                entries.next_value::<serde::de::IgnoredAny>()?;
            }
            Ok(())
        }
    }

    let mut names = Names(None);
    // The outcome is in `names`; an error is the duplicate itself.
    let _ = serde_json::Deserializer::from_slice(content).deserialize_map(&mut names);
    names.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the tests put files in place")]

    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Secrets, SecretsError> {
        Secrets::from_slice(text.as_bytes(), Path::new("secrets.json"))
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let secrets = parsed(r#"{"A": "file", "B": "file"}"#).unwrap();
        let env = |name: &str| match name {
            "A" | "C" => Some("env".to_owned()),
            "B" => Some(String::new()),
            _ => None,
        };
        let get = |name| secrets.get_with(name, &env).map(|secret| secret.reveal().to_owned());
        assert_eq!(get("A").as_deref(), Some("env"));
        assert_eq!(get("B").as_deref(), Some("file"), "an empty variable is no value");
        assert_eq!(get("C").as_deref(), Some("env"));
        assert_eq!(get("D"), None);
        assert_eq!(secrets.names().collect::<Vec<_>>(), ["A", "B"]);
        assert!(secrets.get("A").is_some());
    }

    /// The older system took an unreadable file for an empty one.
    #[test]
    fn d12_an_unreadable_file_is_an_error_and_only_a_missing_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.json");
        assert_eq!(Secrets::read(&path).unwrap().names().count(), 0);

        std::fs::create_dir(&path).unwrap();
        assert!(matches!(Secrets::read(&path), Err(SecretsError::Read(_))));
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("gone"), &path).unwrap();
        assert!(matches!(Secrets::read(&path), Err(SecretsError::Read(_))));
        std::fs::remove_file(&path).unwrap();

        for content in
            ["", "\0\0\0\0", "{", "{\"A\": \"x\"", "[]", "null", "\u{feff}{}", "{}{}", "{\"A\": \"\x01\"}"]
        {
            std::fs::write(&path, content).unwrap();
            let error = Secrets::read(&path).unwrap_err();
            assert!(error.to_string().starts_with(&*path.to_string_lossy()), "{error}");
            assert!(error.way_out().is_some());
        }
        std::fs::write(&path, b"{\"A\": \"\xff\"}").unwrap();
        assert!(Secrets::read(&path).is_err());
        std::fs::write(&path, format!("{{\"A\": \"{}\"}}", "x".repeat(1 << 20))).unwrap();
        assert!(Secrets::read(&path).is_err());
        std::fs::write(&path, "{\"A\": \"x\"}").unwrap();
        assert_eq!(Secrets::read(&path).unwrap().names().count(), 1);
    }

    #[test]
    fn no_message_shows_a_value() {
        for text in [
            "\"hunter2\"",
            "{\"A\": hunter2}",
            "{\"A\": {\"B\": \"hunter2\"}}",
            "{\"A\": [\"hunter2\"]}",
            "{\"A\": \"hunter2\", \"A\": \"hunter2\"}",
            "{\"A\": \"hunter2\"} hunter2",
            "{\"A\": \"hunter2",
        ] {
            let error = parsed(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let secrets = parsed("{\"A\": \"hunter2\"}").unwrap();
        assert!(!format!("{secrets:?} {}", secrets.get("A").unwrap()).contains("hunter2"));
        let error = parsed("{\"A\": 5}").unwrap_err().to_string();
        assert_eq!(error, "secrets.json: the value of \"A\" is a number instead of a text");
        // The same name in two spellings.
        assert!(matches!(parsed("{\"A\": \"\", \"\\u0041\": \"\"}"), Err(SecretsError::Duplicate { .. })));
    }

    #[test]
    fn urls_lose_their_password() {
        for (text, masked) in [
            ("mqtt://u:p@h:1883/x", "mqtt://u:***@h:1883/x"),
            ("postgres://u:a@b/c@h/db", "postgres://u:***@h/db"),
            ("postgres://u:a/b@h/db", "postgres://u:***@h/db"),
            ("https://:p@h", "https://:***@h"),
            ("https://u@h:1/x", "https://u@h:1/x"),
            ("https://h:8080/a", "https://h:8080/a"),
            ("no url", "no url"),
        ] {
            assert_eq!(mask_url(text), masked);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(values in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..8)) {
            let secrets = parsed(&serde_json::to_string(&values).unwrap()).unwrap();
            for (name, value) in &values {
                let secret = secrets.get_with(name, &|_| None).unwrap();
                prop_assert_eq!(secret.reveal(), value);
            }
            prop_assert_eq!(secrets.names().count(), values.len());
        }

        #[test]
        fn any_content_is_answered(content in any::<Vec<u8>>()) {
            let _ = Secrets::from_slice(&content, Path::new("s"));
        }
    }
}
