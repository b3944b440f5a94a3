//! The credentials that an app's configuration refers to by name: `secrets.json` and the environment.
//!
//! A file that cannot be read is an error and never an empty set, because the next write would make
//! the emptiness real. No message and no `Debug` output shows a value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use streamhub_engine::Error;
use streamhub_engine::durable;

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
    /// What the file held when it was read; only that may be replaced.
    stored: BTreeMap<String, Secret>,
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
    /// A name that no variable of the environment could have.
    #[error("{name:?} cannot name a secret: letters, digits and '_', beginning with no digit")]
    BadName {
        /// The name, shortened where it is long.
        name: String,
    },
    /// The secrets would not fit into a file of [`SIZE_CAP`] bytes.
    #[error("{}: it would be larger than {SIZE_CAP} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else changed the file since it was read.
    #[error("{}: it was changed since it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl Secrets {
    /// Reads the file at `path`. A missing file holds no secrets; anything else that keeps it from being read is an error.
    pub fn read(path: &Path) -> Result<Self, SecretsError> {
        match durable::read_capped(path, SIZE_CAP) {
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
        Ok(Self { stored: values.clone(), values })
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

    /// Gives the secret called `name` this value. It is stored by [`write`](Self::write).
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SecretsError> {
        let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        let fits = name.bytes().next().is_some_and(first)
            && name.bytes().all(|byte| first(byte) || byte.is_ascii_digit());
        if !fits {
            return Err(SecretsError::BadName { name: name.chars().take(64).collect() });
        }
        self.values.insert(name.to_owned(), Secret(value.to_owned()));
        Ok(())
    }

    /// Forgets the secret called `name`, and answers whether there was one. Any name can be removed,
    /// whoever put it there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.values.remove(name).is_some()
    }

    /// Writes the file at `path`: whatever happens, it holds all of the old or all of the new content.
    ///
    /// Refuses, and leaves the file as it is, where that cannot be read or does not hold what these
    /// secrets were read from, so that no value of somebody else is lost.
    pub fn write(&mut self, path: &Path) -> Result<(), SecretsError> {
        if Self::read(path)?.values != self.stored {
            return Err(SecretsError::Changed { path: path.to_owned() });
        }
        let entries: BTreeMap<_, _> =
            self.values.iter().map(|(name, value)| (name, value.reveal())).collect();
        let mut text = serde_json::to_vec_pretty(&entries).expect("texts can be written as JSON");
        text.push(b'\n');
        if text.len() as u64 > SIZE_CAP {
            return Err(SecretsError::TooLarge { path: path.to_owned() });
        }
        durable::write(path, &text)?;
        self.stored.clone_from(&self.values);
        Ok(())
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
            Self::BadName { .. } => "choose a name such as DEMO_S3_SECRET",
            Self::TooLarge { .. } => "remove secrets that no app refers to",
            Self::Changed { .. } => "try again; nothing was written",
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

    /// The older system's next write wiped what it could not read.
    #[test]
    fn d12_what_cannot_be_read_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.json");
        std::fs::write(&path, "{\"A\": \"one\"}").unwrap();
        let mut read = Secrets::read(&path).unwrap();
        read.set("B", "two").unwrap();
        for content in ["", "{", "{\"A\": \"one\"", "{\"A\": 1}", "{\"A\": \"one\", \"A\": \"one\"}"] {
            std::fs::write(&path, content).unwrap();
            assert!(read.write(&path).is_err(), "{content}");
            assert!(Secrets::default().write(&path).is_err(), "{content}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        // Nor is what somebody else wrote meanwhile, or a file that nobody read, or removed.
        for content in ["{\"A\": \"other\"}", "{\"A\": \"one\", \"C\": \"three\"}"] {
            std::fs::write(&path, content).unwrap();
            for mut secrets in [read.clone(), Secrets::default()] {
                assert!(matches!(secrets.write(&path), Err(SecretsError::Changed { .. })), "{content}");
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read.write(&path), Err(SecretsError::Changed { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_set_is_private_and_whole_on_the_disk() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.json");
        let mut secrets = Secrets::read(&path).unwrap();
        secrets.set("B", "two \"\u{1}\"").unwrap();
        secrets.set("_a1", "").unwrap();
        secrets.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // The file is replaced and never written into: another name of it keeps its content.
        let before = dir.path().join("before");
        std::fs::hard_link(&path, &before).unwrap();
        assert!(secrets.remove("B") && !secrets.remove("B"));
        secrets.set("C", "three").unwrap();
        secrets.write(&path).unwrap();
        let found = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
        assert_eq!(found(&before), serde_json::json!({"B": "two \"\u{1}\"", "_a1": ""}));
        assert_eq!(found(&path), serde_json::json!({"C": "three", "_a1": ""}));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "a staged file was left behind");

        secrets.set("D", &"x".repeat(1 << 20)).unwrap();
        assert!(matches!(secrets.write(&path), Err(SecretsError::TooLarge { .. })));
        assert_eq!(Secrets::read(&path).unwrap().names().collect::<Vec<_>>(), ["C", "_a1"]);
    }

    #[test]
    fn names_are_those_of_variables() {
        let mut secrets = Secrets::default();
        for name in ["", "1A", "A-B", "A B", "A=B", "A\0", "Ä", "a.b"] {
            assert!(matches!(secrets.set(name, "x"), Err(SecretsError::BadName { .. })), "{name:?}");
        }
        for name in ["A", "_", "DEMO_S3_SECRET_2", "lower"] {
            secrets.set(name, "x").unwrap();
        }
        // A name that is in the file already may be any, and can be removed.
        let mut secrets = parsed("{\"a.b\": \"x\"}").unwrap();
        assert!(secrets.remove("a.b"));
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
