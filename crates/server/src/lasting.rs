//! Texts that stay what they are for as long as the program runs, so that who has one already is told so.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::{Schema, SchemaGenerator};
use streamhub::idempotency;

use crate::answer::{Alternative, Answer};
use crate::entrance::Entrance;
use crate::error::ApiError;
use crate::policy::{Access, Policy};

/// What a page may do in a browser: have a style of its own, and load, run, send and embed nothing.
const CONFINED: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                        frame-ancestors 'none'";

/// A text, and what tells it from those of other versions.
#[derive(Debug)]
pub(crate) struct Lasting {
    text: String,
    tag: HeaderValue,
}

/// Somebody of whom nothing needs to be known but which texts it has.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    has: Vec<HeaderValue>,
}

/// A text as it is answered: in full, or that it is the one that the reader has.
#[derive(Debug)]
pub(crate) struct Shown {
    lasting: &'static Lasting,
    is_known: bool,
}

/// A page for a browser.
#[derive(Debug)]
pub(crate) struct Page(pub(crate) Shown);

/// JSON that was written before.
#[derive(Debug)]
pub(crate) struct Written(pub(crate) Shown);

impl Lasting {
    pub(crate) fn new(text: String) -> Self {
        // It goes out compressed too, so that the tag says that the content is the same, and not each byte.
        let tag = format!("W/\"{}\"", idempotency::print(&[text.as_bytes()]));
        let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits");
        Self { text, tag }
    }
}

impl Reader {
    /// The text, for this reader.
    pub(crate) fn shown(&self, lasting: &'static Lasting) -> Shown {
        let tags = self.has.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        let mut tags = tags.map(|tag| tag.trim().trim_start_matches("W/"));
        let own = lasting.tag.to_str().unwrap_or_default().trim_start_matches("W/");
        Shown { lasting, is_known: tags.any(|tag| tag == "*" || tag == own) }
    }
}

impl Access for Reader {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Public
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        Ok(Self { has: entrance.parts.headers.get_all(IF_NONE_MATCH).iter().cloned().collect() })
    }
}

impl Answer for Page {
    const MEDIA: &'static [&'static str] = &["text/html"];

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemars::json_schema!({ "type": "string" }))
    }

    fn or_else(_: &mut SchemaGenerator) -> Option<Alternative> {
        Some((StatusCode::NOT_MODIFIED, None))
    }
}

impl Answer for Written {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemars::json_schema!({ "type": "object" }))
    }

    fn or_else(_: &mut SchemaGenerator) -> Option<Alternative> {
        Some((StatusCode::NOT_MODIFIED, None))
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        ([(CONTENT_SECURITY_POLICY, CONFINED)], self.0.response("text/html; charset=utf-8")).into_response()
    }
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        self.0.response("application/json")
    }
}

impl Shown {
    fn response(self, media: &'static str) -> Response {
        let Self { lasting: Lasting { text, tag }, is_known } = self;
        // It may be kept, and is asked for again before it is used: another version may be running by then.
        let headers = [(ETAG, tag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if is_known {
            (StatusCode::NOT_MODIFIED, headers).into_response()
        } else {
            (headers, [(CONTENT_TYPE, media)], text.as_str()).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static TEXT: LazyLock<Lasting> = LazyLock::new(|| Lasting::new("a text".to_owned()));

    fn known(lines: &[&str]) -> bool {
        let has = lines.iter().map(|line| HeaderValue::from_str(line).unwrap()).collect();
        Reader { has }.shown(&TEXT).is_known
    }

    #[test]
    fn who_has_a_text_is_told_so() {
        let tag = TEXT.tag.to_str().unwrap();
        let strong = tag.trim_start_matches("W/");
        for lines in [&[tag][..], &[strong], &["*"], &["\"x\", \"y\"", &format!("\"z\" ,{tag}")]] {
            assert!(known(lines), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["\"x\""], &[strong.trim_matches('"')], &["W/"]] {
            assert!(!known(lines), "{lines:?}");
        }
        assert_ne!(tag, Lasting::new("another".to_owned()).tag.to_str().unwrap());
    }
}
