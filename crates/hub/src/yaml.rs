//! Reads YAML that somebody else wrote.
//!
//! A text is judged as a stream of parser events before anything is deserialised: one document, no
//! anchors, aliases or tags, no key twice, bounded size and depth. It is then deserialised by a
//! different parser, and refused where the two read it differently, so that what was judged is what
//! is used. Writing is not done here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Marker, Parser, ScanError};
use serde::de::DeserializeOwned;
use serde_yaml::Value;
use streamhub_engine::durable::read_capped;
use streamhub_engine::{Error, Unfit};

/// The most bytes that a YAML file may hold.
pub const SIZE_CAP: u64 = 64 * 1024;

/// The most collections that may be open inside one another.
pub const DEPTH_CAP: usize = 64;

/// Why a YAML text is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// The file cannot be read, or is not a regular file.
    #[error(transparent)]
    Read(#[from] Error),
    /// The text is longer than [`SIZE_CAP`].
    #[error("{}: it is larger than the {SIZE_CAP} bytes allowed for YAML", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The bytes are not UTF-8.
    #[error("{}: it is not UTF-8 (byte {offset})", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first byte that is wrong, counted from 0.
        offset: usize,
    },
    /// YAML that is not accepted here.
    #[error("{}:{line}:{column}: {refusal}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is not accepted.
        refusal: Refusal,
    },
    /// Not YAML, or not of the wanted shape.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// The parser's words. Where the type asked for has fields, they can quote a value.
        reason: String,
    },
}

/// YAML that is valid and not accepted here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// `&name`.
    Anchor,
    /// `*name`.
    Alias,
    /// `!name` or `!!name`.
    Tag,
    /// `<<`.
    MergeKey,
    /// A key that is there already in the same mapping.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A list or mapping as a key.
    CollectionAsKey,
    /// Deeper than [`DEPTH_CAP`].
    TooDeep,
    /// A second `---`.
    SecondDocument,
    /// The two parsers disagree about what the text means.
    Ambiguous,
}

impl YamlError {
    /// Whether there is no such file, nor a directory in which it could be.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read(Error::Io { source, .. })
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    }

    /// What a person can do about it.
    pub fn way_out(&self) -> Option<String> {
        Some(String::from(match self {
            Self::Read(Error::Unfit { unfit: Unfit::Symlink, .. }) => {
                "name the file itself, or put a copy of it there"
            }
            Self::Read(Error::Unfit { unfit: Unfit::NotAFile { .. }, .. }) => {
                "move it away and put a YAML file there"
            }
            Self::Read(Error::Io { .. }) => "check the file's name, and that this user may read it",
            Self::Read(_) | Self::TooLarge { .. } => "is it the right file? shorten it",
            Self::NotUtf8 { .. } => "save the file as UTF-8",
            Self::Invalid { .. } => "correct the file at that place",
            Self::Refused { refusal, .. } => match refusal {
                Refusal::Anchor | Refusal::Alias | Refusal::MergeKey => {
                    "write the content out where it is used"
                }
                Refusal::Tag => "leave the tag out; put a text that begins with ! in quotes",
                Refusal::DuplicateKey { .. } => "keep one of the two",
                Refusal::CollectionAsKey => "use a text as the key",
                Refusal::TooDeep => "nest it less deeply",
                Refusal::SecondDocument => "keep one document in the file",
                Refusal::Ambiguous => "put the value in quotes, or write it in the plain block style",
            },
        }))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anchor => f.write_str("anchors (&) are not accepted"),
            Self::Alias => f.write_str("aliases (*) are not accepted"),
            Self::Tag => f.write_str("tags (!) are not accepted"),
            Self::MergeKey => f.write_str("merge keys (<<) are not accepted"),
            Self::DuplicateKey { key } => write!(f, "the key {key:?} is there twice"),
            Self::CollectionAsKey => f.write_str("a list or mapping cannot be a key"),
            Self::TooDeep => write!(f, "it is nested deeper than {DEPTH_CAP} levels"),
            Self::SecondDocument => f.write_str("a second document begins"),
            Self::Ambiguous => f.write_str("YAML parsers read this text differently"),
        }
    }
}

/// Reads the regular file at `path`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, YamlError> {
    let content = read_capped(path, SIZE_CAP)?;
    let text = str::from_utf8(&content)
        .map_err(|error| YamlError::NotUtf8 { path: path.to_owned(), offset: error.valid_up_to() })?;
    from_str(text, path)
}

/// Reads `text`, which came from `path`. A text of comments only reads as null.
pub fn from_str<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, YamlError> {
    if text.len() as u64 > SIZE_CAP {
        return Err(YamlError::TooLarge { path: path.to_owned() });
    }
    // A byte order mark belongs to the file, not to the text; the two parsers disagree about it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let invalid = |error: &serde_yaml::Error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        YamlError::Invalid { path: path.to_owned(), line, column, reason: without_place(&error.to_string()) }
    };
    let judged = judge(text).map_err(|fault| fault.in_file(path))?;
    let value: Value = serde_yaml::from_str(text).map_err(|error| invalid(&error))?;
    let mut nodes = judged.iter();
    if !(same(&value, &mut nodes) && nodes.next().is_none()) {
        let refusal = Refusal::Ambiguous;
        return Err(YamlError::Refused { path: path.to_owned(), line: 1, column: 1, refusal });
    }
    serde_yaml::from_str(text).map_err(|error| invalid(&error))
}

/// What the judging parser saw, in the order of the text.
enum Node<'a> {
    Scalar(Cow<'a, str>),
    List,
    Mapping,
    End,
}

enum Fault {
    Refused(Marker, Refusal),
    Syntax(ScanError),
}

impl Fault {
    fn in_file(self, path: &Path) -> YamlError {
        let path = path.to_owned();
        let place = |at: &Marker| (at.line(), at.col() + 1);
        match self {
            Self::Refused(at, refusal) => {
                let (line, column) = place(&at);
                YamlError::Refused { path, line, column, refusal }
            }
            Self::Syntax(error) => {
                let (line, column) = place(error.marker());
                YamlError::Invalid { path, line, column, reason: error.info().to_owned() }
            }
        }
    }
}

/// A collection whose end has not come yet.
enum Open<'a> {
    List,
    Mapping { keys: HashSet<Cow<'a, str>>, expects_key: bool },
}

fn judge(text: &str) -> Result<Vec<Node<'_>>, Fault> {
    let mut nodes = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut documents = 0;
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(Fault::Syntax)?;
        let refuse = |refusal| Err(Fault::Refused(span.start, refusal));
        match &event {
            Event::Alias(_) => return refuse(Refusal::Alias),
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => {
                if tag.is_some() {
                    return refuse(Refusal::Tag);
                }
                if *anchor != 0 {
                    return refuse(Refusal::Anchor);
                }
            }
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return refuse(Refusal::SecondDocument);
                }
            }
            _ => {}
        }
        let is_node = matches!(event, Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..));
        if is_node && let Some(Open::Mapping { keys, expects_key }) = open.last_mut() {
            if *expects_key {
                let Event::Scalar(key, ..) = &event else { return refuse(Refusal::CollectionAsKey) };
                if key == "<<" {
                    return refuse(Refusal::MergeKey);
                }
                if !keys.insert(key.clone()) {
                    return refuse(Refusal::DuplicateKey { key: key.clone().into_owned() });
                }
            }
            *expects_key = !*expects_key;
        }
        match event {
            Event::Scalar(text, ..) => nodes.push(Node::Scalar(text)),
            Event::SequenceStart(..) => {
                open.push(Open::List);
                nodes.push(Node::List);
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping { keys: HashSet::new(), expects_key: true });
                nodes.push(Node::Mapping);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                nodes.push(Node::End);
            }
            _ => {}
        }
        if open.len() > DEPTH_CAP {
            return refuse(Refusal::TooDeep);
        }
    }
    if nodes.is_empty() {
        nodes.push(Node::Scalar(Cow::Borrowed("")));
    }
    Ok(nodes)
}

/// Whether `value` is what was judged: the same collections around the same texts.
fn same<'n, 'a: 'n>(value: &Value, nodes: &mut impl Iterator<Item = &'n Node<'a>>) -> bool {
    match (value, nodes.next()) {
        (Value::String(text), Some(Node::Scalar(judged))) => text == judged,
        (Value::Null | Value::Bool(_) | Value::Number(_), Some(Node::Scalar(_))) => true,
        (Value::Sequence(items), Some(Node::List)) => {
            items.iter().all(|item| same(item, nodes)) && matches!(nodes.next(), Some(Node::End))
        }
        (Value::Mapping(entries), Some(Node::Mapping)) => {
            entries.iter().all(|(key, value)| same(key, nodes) && same(value, nodes))
                && matches!(nodes.next(), Some(Node::End))
        }
        _ => false,
    }
}

/// The message without its last ` at line … column …`, which the error says in fields of its own.
fn without_place(message: &str) -> String {
    message.rfind(" at line ").map_or(message, |at| &message[..at]).to_owned()
}

#[cfg(test)]
mod tests;
