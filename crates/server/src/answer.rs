//! What a request is answered with, in the shapes that the whole API has.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::error::ApiError;

/// An answer that says of itself what it looks like.
pub(crate) trait Answer: IntoResponse + Send + 'static {
    /// Its status.
    const STATUS: StatusCode = StatusCode::OK;
    /// Its media types, of which it has one; none for an answer without a body.
    const MEDIA: &'static [&'static str] = &["application/json"];

    /// The schema of its body.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;

    /// Another status that it may have.
    fn or_else(generator: &mut SchemaGenerator) -> Option<Alternative> {
        let _ = generator;
        None
    }
}

/// A status, and the schema of its body, where it has one.
pub(crate) type Alternative = (StatusCode, Option<Schema>);

/// One object.
#[derive(Debug)]
pub(crate) struct Found<T>(pub(crate) T);

/// What was just made.
#[derive(Debug)]
pub(crate) struct Created<T>(pub(crate) T);

/// Nothing: it was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done;

/// What databases and jobs are answered with.
#[derive(Debug)]
pub(crate) struct Data<T>(pub(crate) T);

/// Work that goes on after the answer.
#[derive(Debug)]
pub(crate) struct Accepted<T>(pub(crate) T);

/// A part of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ListOf{T}")]
pub(crate) struct List<T> {
    data: Vec<T>,
    /// How many there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// How many a part has at the most.
    limit: u32,
    /// How many come before this part.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    /// Where the next part begins; absent where this is the last. A part that is not may be empty all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    error: NoError,
}

/// `null`: there is no error.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct NoError;

/// How many entries a part of a list has where nobody says.
pub(crate) const LIMIT: u32 = 200;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DataOf{T}")]
struct Enveloped<T> {
    data: T,
    error: NoError,
}

impl JsonSchema for NoError {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NoError".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "null" })
    }
}

impl<T> List<T> {
    /// A part that is found by how many come before it.
    pub(crate) fn page(data: Vec<T>, total: u64, limit: u32, offset: u32) -> Self {
        Self { data, total: Some(total), limit, offset: Some(offset), next_cursor: None, error: NoError }
    }

    /// A part that is found by where the one before it ended.
    pub(crate) fn part(data: Vec<T>, limit: u32, next_cursor: Option<String>) -> Self {
        Self { data, total: None, limit, offset: None, next_cursor, error: NoError }
    }

    /// A list that is never so long that it comes in parts: what is asked for of it.
    pub(crate) fn slice(all: impl IntoIterator<Item = T>, limit: u32, offset: u32) -> Self {
        let (mut data, mut total) = (Vec::new(), 0_u64);
        for (index, item) in all.into_iter().enumerate() {
            total += 1;
            if index >= offset as usize && data.len() < limit as usize {
                data.push(item);
            }
        }
        Self::page(data, total, limit, offset)
    }
}

/// Makes an answer of a status and a body.
macro_rules! answers {
    ($($name:ident<$t:ident>($status:ident, $body:ty) = $make:expr;)+) => {
        $(
            impl<$t: Serialize + JsonSchema + Send + 'static> Answer for $name<$t> {
                const STATUS: StatusCode = StatusCode::$status;

                fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
                    Some(generator.subschema_for::<$body>())
                }
            }

            impl<$t: Serialize + JsonSchema + Send + 'static> IntoResponse for $name<$t> {
                fn into_response(self) -> Response {
                    let make: fn(Self) -> $body = $make;
                    json(StatusCode::$status, &make(self))
                }
            }
        )+
    };
}

answers! {
    Found<T>(OK, T) = |found| found.0;
    Created<T>(CREATED, T) = |created| created.0;
    Data<T>(OK, Enveloped<T>) = |data| Enveloped { data: data.0, error: NoError };
    Accepted<T>(ACCEPTED, Enveloped<T>) = |accepted| Enveloped { data: accepted.0, error: NoError };
    List<T>(OK, List<T>) = |list| list;
}

/// JSON, by way of a `Vec`: to write it piece by piece into the buffer that axum has for it takes a quarter longer.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => (status, [(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => ApiError::Broken(error.to_string()).into_response(),
    }
}

impl Answer for Done {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    const MEDIA: &'static [&'static str] = &[];

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}
