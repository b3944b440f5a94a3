//! Which server is asked, and what is shown to it: the one that `--url` and `--token-file` name, or the one that
//! has the data directory in use.

use std::env;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use streamhub::HubError;

use crate::exit::{Code, Refusal};

/// A server, and what is shown to it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) credential: Option<Credential>,
    origin: Origin,
}

/// A token, never printed.
#[derive(Clone)]
pub(crate) struct Credential(String);

/// Who named the server.
#[derive(Clone, Debug)]
enum Origin {
    /// Options or the environment, and the file with the token.
    Named(PathBuf),
    /// The server itself, in its data directory.
    Announced(PathBuf),
}

/// What such a file holds, if it is no token alone.
#[derive(Deserialize)]
struct Said {
    url: String,
    token: String,
}

impl Server {
    /// The one that options or else the environment name; none where they name none.
    pub(crate) fn named(url: Option<String>, token_file: Option<PathBuf>) -> anyhow::Result<Option<Self>> {
        let url = url.or_else(|| variable("STREAMHUB_URL"));
        let file = token_file.or_else(|| variable("STREAMHUB_TOKEN_FILE").map(PathBuf::from));
        let Some(file) = file else {
            return match url {
                None => Ok(None),
                Some(_) => Err(Refusal::with(
                    Code::Usage,
                    "a server is named, and no file with a token for it",
                    "name one with --token-file or STREAMHUB_TOKEN_FILE; `streamhub token create` makes a token",
                )),
            };
        };
        let text = private(&file)?.ok_or_else(|| HubError::NoSource { path: file.clone() })?;
        let said = serde_json::from_str::<Said>(&text).ok();
        let (named, token) = said.map_or((None, text), |said| (Some(said.url), said.token));
        let Some(url) = url.or(named) else {
            return Err(Refusal::with(
                Code::Usage,
                format!("{}: it holds a token and names no server", file.display()),
                "name the server with --url or STREAMHUB_URL",
            ));
        };
        Ok(Some(Self {
            url: checked(&url)?,
            credential: Some(Credential::new(&token)),
            origin: Origin::Named(file),
        }))
    }

    /// The one that says of itself that it has the data directory in use; none where nobody does.
    pub(crate) fn announced(file: &Path) -> anyhow::Result<Option<Self>> {
        let Some(text) = private(file)? else { return Ok(None) };
        let Said { url, token } = serde_json::from_str(&text).map_err(|error| {
            Refusal::failed(
                &format_args!("{}: it does not say how the server is asked: {error}", file.display()),
                "start the server again, which writes the file anew",
            )
        })?;
        let origin = Origin::Announced(file.to_owned());
        Ok(Some(Self { url: checked(&url)?, credential: Some(Credential::new(&token)), origin }))
    }

    /// Whether it was found in the data directory.
    pub(crate) fn is_announced(&self) -> bool {
        matches!(self.origin, Origin::Announced(_))
    }

    /// What it is shown, for people.
    pub(crate) fn shown(&self) -> String {
        let (Origin::Named(file) | Origin::Announced(file)) = &self.origin;
        format!("the token in {}", file.display())
    }

    /// What can be done where it does not answer, or does not accept the token.
    pub(crate) fn way_out(&self) -> String {
        match &self.origin {
            Origin::Named(_) => "check --url, the token, and from where it may be used".to_owned(),
            Origin::Announced(file) => format!(
                "{} says that a server which has the data directory in use answers there; name one with --url and \
                 --token-file, or stop the process that `streamhub status` shows",
                file.display()
            ),
        }
    }
}

impl Credential {
    fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}

/// A file with a credential that nobody else can read; none where there is no such file.
fn private(file: &Path) -> anyhow::Result<Option<String>> {
    let Some(text) = streamhub::local::read(file)? else { return Ok(None) };
    let mode = file.metadata().map(|metadata| metadata.permissions().mode() & 0o777);
    match mode {
        Ok(mode) if mode & 0o077 != 0 => Err(Refusal::failed(
            &format_args!("{}: others can read the token in it (mode {mode:04o})", file.display()),
            format!("chmod 600 {}, and make another token where others have read it", file.display()),
        )),
        _ => Ok(Some(text)),
    }
}

fn checked(url: &str) -> anyhow::Result<String> {
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some(("http", host)) if !host.is_empty() && !host.contains(['?', '#', '@']) => Ok(url.to_owned()),
        Some(("https", _)) => Err(Refusal::with(
            Code::Usage,
            format!("{url}: this program asks without TLS"),
            "ask the server on its own machine, or through a tunnel (`ssh -L`)",
        )),
        _ => Err(Refusal::with(
            Code::Usage,
            format!("{url:?} is no URL of a server"),
            "write it like http://127.0.0.1:3020",
        )),
    }
}

/// What a variable says, unless it is empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
