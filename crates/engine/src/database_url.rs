//! `DATABASE_URL`: where the control database lies, when it is not in the data directory.
//!
//! Pure parsing: nothing here looks at the disk. No message repeats the text that was given, because
//! the URL of a database server holds a password.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The place of a control database outside the data directory.
///
/// `Display` writes it in the form that [`parse`] reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlace {
    /// The file; relative to the working directory where it does not begin with a slash.
    pub path: PathBuf,
    /// Whether the file may be made.
    pub mode: Mode,
}

/// Whether a missing control database may be made at its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `mode=rw`: a missing file is an error.
    MustExist,
    /// `mode=rwc`, also where no mode is given: a missing file is made, where an empty data directory would be.
    #[default]
    MayCreate,
}

/// Why a `DATABASE_URL` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseUrlError {
    /// Nothing, or no path after the scheme.
    #[error("DATABASE_URL: it holds no path")]
    NoPath,
    /// A database server, which is not built yet.
    #[error("DATABASE_URL: a PostgreSQL control database is not built yet")]
    Postgres,
    /// Neither `sqlite:` nor `file:`.
    #[error("DATABASE_URL: the scheme {scheme:?} is unknown")]
    Scheme {
        /// The scheme, without its colon.
        scheme: String,
    },
    /// `file://host/…` for another host.
    #[error("DATABASE_URL: a file: URL cannot name another host")]
    Host,
    /// A database that lives in memory is gone with the process.
    #[error("DATABASE_URL: a database in memory would lose every acknowledged write")]
    Memory,
    /// `mode=ro`.
    #[error("DATABASE_URL: mode=ro is refused, because the control database must be written")]
    ReadOnly,
    /// A `mode` that is none.
    #[error("DATABASE_URL: the mode is neither rw nor rwc")]
    BadMode,
    /// `mode` more than once.
    #[error("DATABASE_URL: mode= is given more than once")]
    ModeTwice,
    /// Any other parameter. Its value is not kept.
    #[error("DATABASE_URL: the parameter {name:?} is not accepted")]
    Parameter {
        /// The parameter's name.
        name: String,
    },
    /// `%` without two hexadecimal digits after it.
    #[error("DATABASE_URL: a % in it is not followed by two hexadecimal digits")]
    Escape,
    /// A NUL, plain or as `%00`, at which the operating system would cut the path off.
    #[error("DATABASE_URL: it holds a NUL character")]
    Nul,
    /// `?` or `#` in a plain path, `#` in a URL, or `://` without a scheme: likely meant otherwise than it would be read.
    #[error("DATABASE_URL: {text:?} in a path is ambiguous")]
    Ambiguous {
        /// The characters in question.
        text: &'static str,
    },
    /// A path that ends in `/`, `.` or `..`.
    #[error("DATABASE_URL: it names a directory, not a file")]
    Directory,
}

impl DatabaseUrlError {
    /// What a person can do about it.
    pub fn way_out(&self) -> Option<String> {
        Some(String::from(match self {
            Self::Postgres => {
                "use sqlite:PATH, or leave DATABASE_URL unset for streamhub.db in the data directory"
            }
            Self::ReadOnly | Self::BadMode | Self::ModeTwice => {
                "write mode=rw (the file must exist) or mode=rwc (it may be made), once"
            }
            Self::Parameter { .. } => "leave it out; mode= is the only parameter",
            Self::Escape => "write %25 for a percent sign",
            Self::Ambiguous { .. } => "write sqlite:PATH with %3F for ? and %23 for #",
            Self::Directory => "name the database file itself",
            Self::Host => "write file:PATH or file:///PATH",
            _ => "write a path, sqlite:PATH or file:PATH?mode=rwc",
        }))
    }
}

/// Parses a `DATABASE_URL`: `sqlite:PATH`, `sqlite://PATH`, `file:PATH` (`?mode=rw` or `?mode=rwc`), or a plain path.
///
/// In the forms with a scheme `%XX` stands for a byte; a plain path is taken as it is.
pub fn parse(url: &str) -> Result<ControlPlace, DatabaseUrlError> {
    let Some((scheme, rest)) = split_scheme(url) else { return plain(url) };
    let raw_path;
    let parameters;
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => (raw_path, parameters) = split_query(rest.strip_prefix("//").unwrap_or(rest)),
        "file" => {
            let (before_query, query) = split_query(rest);
            (raw_path, parameters) = (local(before_query)?, query);
        }
        "postgres" | "postgresql" => return Err(DatabaseUrlError::Postgres),
        _ => return Err(DatabaseUrlError::Scheme { scheme: scheme.to_owned() }),
    }
    if url.contains('#') {
        return Err(DatabaseUrlError::Ambiguous { text: "#" });
    }
    let mode = parameters.map_or(Ok(Mode::default()), parse_mode)?;
    place(percent_decoded(raw_path)?, mode)
}

impl std::str::FromStr for ControlPlace {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, DatabaseUrlError> {
        parse(url)
    }
}

impl fmt::Display for ControlPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sqlite:")?;
        let bytes = self.path.as_os_str().as_encoded_bytes();
        if bytes.starts_with(b"//") {
            // A path that begins with two slashes would lose them as the URL's own.
            f.write_str("//")?;
        }
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '%' | '?' | '#' => write!(f, "%{:02X}", u32::from(character))?,
                    _ => write!(f, "{character}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "%{byte:02X}")?;
            }
        }
        f.write_str(match self.mode {
            Mode::MustExist => "?mode=rw",
            Mode::MayCreate => "",
        })
    }
}

fn plain(path: &str) -> Result<ControlPlace, DatabaseUrlError> {
    // A parameter or a forgotten scheme would silently become part of a file's name.
    if let Some(text) = ["://", "?", "#"].into_iter().find(|text| path.contains(text)) {
        return Err(DatabaseUrlError::Ambiguous { text });
    }
    place(path.as_bytes().to_vec(), Mode::default())
}

/// The scheme and what follows its colon. A colon after the first slash belongs to a path.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut letters = scheme.bytes();
    let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// The path of a `file:` URL, without its empty or `localhost` authority.
fn local(text: &str) -> Result<&str, DatabaseUrlError> {
    let Some(authority_on) = text.strip_prefix("//") else { return Ok(text) };
    let slash = authority_on.find('/').unwrap_or(authority_on.len());
    match &authority_on[..slash] {
        host if host.is_empty() || host.eq_ignore_ascii_case("localhost") => Ok(&authority_on[slash..]),
        _ => Err(DatabaseUrlError::Host),
    }
}

fn parse_mode(query: &str) -> Result<Mode, DatabaseUrlError> {
    let mut mode = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let found = match (name, value) {
            ("mode", "rw") => Mode::MustExist,
            ("mode", "rwc") => Mode::MayCreate,
            ("mode", "ro") => return Err(DatabaseUrlError::ReadOnly),
            ("mode", "memory") => return Err(DatabaseUrlError::Memory),
            ("mode", _) => return Err(DatabaseUrlError::BadMode),
            _ => return Err(DatabaseUrlError::Parameter { name: name.to_owned() }),
        };
        if mode.replace(found).is_some() {
            return Err(DatabaseUrlError::ModeTwice);
        }
    }
    Ok(mode.unwrap_or_default())
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, DatabaseUrlError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).expect("two digits are a byte"));
            }
            _ => return Err(DatabaseUrlError::Escape),
        }
    }
    Ok(decoded)
}

fn place(path: Vec<u8>, mode: Mode) -> Result<ControlPlace, DatabaseUrlError> {
    if path.is_empty() {
        return Err(DatabaseUrlError::NoPath);
    }
    if path.contains(&0) {
        return Err(DatabaseUrlError::Nul);
    }
    if path == b":memory:" {
        return Err(DatabaseUrlError::Memory);
    }
    if matches!(path.rsplit(|&byte| byte == b'/').next(), Some(b"" | b"." | b"..")) {
        return Err(DatabaseUrlError::Directory);
    }
    Ok(ControlPlace { path: PathBuf::from(OsString::from_vec(path)), mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn places() {
        let cases = [
            ("/var/lib/x.db", "/var/lib/x.db", Mode::MayCreate),
            ("x.db", "x.db", Mode::MayCreate),
            ("./a:b.db", "./a:b.db", Mode::MayCreate),
            ("100%.db", "100%.db", Mode::MayCreate),
            ("sqlite:x.db", "x.db", Mode::MayCreate),
            ("sqlite:/abs/x.db", "/abs/x.db", Mode::MayCreate),
            ("sqlite://x.db", "x.db", Mode::MayCreate),
            ("sqlite:///abs/x.db?mode=rw", "/abs/x.db", Mode::MustExist),
            ("SQLite:x.db?", "x.db", Mode::MayCreate),
            ("file:x.db?mode=rwc", "x.db", Mode::MayCreate),
            ("file:///abs/my%20file.db?mode=rw", "/abs/my file.db", Mode::MustExist),
            ("file://localhost/abs/x.db", "/abs/x.db", Mode::MayCreate),
            ("file:a%3fb%23c%25.db", "a?b#c%.db", Mode::MayCreate),
            ("sqlite:größe.db", "größe.db", Mode::MayCreate),
        ];
        for (url, path, mode) in cases {
            assert_eq!(parse(url), Ok(ControlPlace { path: Path::new(path).to_owned(), mode }), "{url}");
        }
        assert_eq!(
            parse("file:%ff.db").unwrap().path,
            PathBuf::from(OsString::from_vec(b"\xff.db".to_vec()))
        );
    }

    #[test]
    fn refusals() {
        use DatabaseUrlError as E;
        let cases = [
            ("", E::NoPath),
            ("sqlite:", E::NoPath),
            ("sqlite://?mode=rw", E::NoPath),
            ("file://localhost", E::NoPath),
            (":memory:", E::Memory),
            ("sqlite::memory:", E::Memory),
            ("file::memory:?mode=rwc", E::Memory),
            ("file:x?mode=memory", E::Memory),
            ("file:x?mode=ro", E::ReadOnly),
            ("file:x?mode=", E::BadMode),
            ("file:x?mode=RW", E::BadMode),
            ("file:x?mode=rw&mode=rwc", E::ModeTwice),
            ("file:x?cache=shared", E::Parameter { name: "cache".into() }),
            ("file:x?mode=rw&immutable=1", E::Parameter { name: "immutable".into() }),
            ("postgres://u:p@h/db", E::Postgres),
            ("POSTGRESQL://u:p@h/db", E::Postgres),
            ("mysql://u:p@h/db", E::Scheme { scheme: "mysql".into() }),
            ("C:\\x.db", E::Scheme { scheme: "C".into() }),
            ("file://server/share/x.db", E::Host),
            ("file:x%2", E::Escape),
            ("sqlite:x%zz", E::Escape),
            ("sqlite:x%+1", E::Escape),
            ("file:x%00.db", E::Nul),
            ("a\0b", E::Nul),
            ("x.db?mode=rw", E::Ambiguous { text: "?" }),
            ("sqlite:x#y", E::Ambiguous { text: "#" }),
            ("://u:p@h", E::Ambiguous { text: "://" }),
            ("/data/", E::Directory),
            ("sqlite:data/..", E::Directory),
            (".", E::Directory),
        ];
        for (url, error) in cases {
            assert_eq!(parse(url), Err(error.clone()), "{url}");
            assert!(error.to_string().starts_with("DATABASE_URL: "));
            assert!(error.way_out().is_some());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_a_place_is_one_that_can_be_opened(url in any::<String>()) {
            if let Ok(place) = parse(&url) {
                let bytes = place.path.as_os_str().as_encoded_bytes();
                prop_assert!(!bytes.is_empty() && !bytes.contains(&0));
                prop_assert!(place.path.file_name().is_some());
            }
        }

        #[test]
        fn what_is_written_reads_back(name in "(/{0,2}[^/\0]{1,9}){1,3}", must_exist: bool) {
            let mode = if must_exist { Mode::MustExist } else { Mode::MayCreate };
            if let Ok(place) = place(name.into_bytes(), mode) {
                prop_assert_eq!(parse(&place.to_string()), Ok(place));
            }
        }

        #[test]
        fn no_message_repeats_a_password(
            scheme in "postgres|postgresql|mysql|mongodb\\+srv|file|https|[a-z]{3,8}",
            user in "[a-z]{0,5}",
            tail in "(/db)?(\\?[a-z]{1,4}=hunter2)?",
        ) {
            let url = format!("{scheme}://{user}:hunter2@host{tail}");
            if let Err(error) = parse(&url) {
                let shown = format!("{error} {error:?} {}", error.way_out().unwrap_or_default());
                prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }
}
