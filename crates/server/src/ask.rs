//! What a request asks for, parsed: parameters of its path and query, and its body.
//!
//! Whatever does not fit is refused with a message that says where, and nothing is ignored in silence: a
//! parameter or field that no handler knows is refused too.

use std::fmt;
use std::marker::PhantomData;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use axum::http::request::Parts;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;

/// A parsed request: parameters of the path beyond those that its policy reads, of the query, and the body.
#[derive(Debug)]
pub(crate) struct Ask<P = Nothing, Q = NoFields, B = Nothing> {
    pub(crate) path: P,
    pub(crate) query: Q,
    pub(crate) body: B,
}

/// No parameter, or no body.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Nothing {}

/// No parameter of the query, or an object that says nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFields {}

/// A body in JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// A body in JSON that may also be absent.
#[derive(Debug)]
pub(crate) struct Optional<T>(pub(crate) Option<T>);

/// A value that is written as an object: serde takes a list of its fields for one too, which is what nobody
/// means.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

/// What a body may be.
pub(crate) trait Body: Sized + Send + 'static {
    /// Whether there has to be one.
    const IS_REQUIRED: bool = true;

    /// Its schema, where there is one.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;

    /// Reads it.
    fn read(request: Request) -> impl Future<Output = Result<Self, ApiError>> + Send;
}

impl<P, Q, B> Ask<P, Q, B>
where
    P: DeserializeOwned + Send + 'static,
    Q: DeserializeOwned + Send + 'static,
    B: Body,
{
    pub(crate) async fn parse(mut parts: Parts, body: axum::body::Body) -> Result<Self, ApiError> {
        let Path(path) = Path::from_request_parts(&mut parts, &())
            .await
            .map_err(|rejection| ApiError::invalid("invalid_path", misfit(rejection)))?;
        let Query(query) = Query::from_request_parts(&mut parts, &())
            .await
            .map_err(|rejection| ApiError::invalid("invalid_query", reason(&rejection)))?;
        let body = B::read(Request::from_parts(parts, body)).await?;
        Ok(Self { path, query, body })
    }
}

impl Body for Nothing {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }

    async fn read(request: Request) -> Result<Self, ApiError> {
        if request.body().is_end_stream() {
            return Ok(Self {});
        }
        // An object without fields says nothing either.
        match &*Bytes::read(request).await? {
            [] => Ok(Self {}),
            body => serde_json::from_slice::<Object<NoFields>>(body).map(|_| Self {}).map_err(|error| {
                ApiError::invalid("invalid_body", format!("no body is taken here: {error}"))
            }),
        }
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Body for Json<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }

    async fn read(request: Request) -> Result<Self, ApiError> {
        if !is_plain(request.headers()) {
            return Err(ApiError::ContentCoding);
        }
        match axum::Json::from_request(request, &()).await {
            Ok(axum::Json(Object(body))) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(ApiError::MediaType),
            Err(JsonRejection::BytesRejection(rejection)) => Err(ApiError::unread(rejection.status())),
            Err(rejection) => Err(ApiError::invalid("invalid_body", reason(&rejection))),
        }
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Body for Optional<T> {
    const IS_REQUIRED: bool = false;

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Json::<T>::schema(generator)
    }

    async fn read(request: Request) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = Bytes::read(Request::from_parts(parts.clone(), body)).await?;
        // Clients that have one header for all of their requests announce a type of nothing too.
        if body.is_empty() {
            return Ok(Self(None));
        }
        let Json(body) = Json::read(Request::from_parts(parts, body.into())).await?;
        Ok(Self(Some(body)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Any body as it is.
impl Body for Bytes {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }

    async fn read(request: Request) -> Result<Self, ApiError> {
        Self::from_request(request, &()).await.map_err(|rejection| ApiError::unread(rejection.status()))
    }
}

/// What is wrong with a parameter of the path, in words for who wrote it: axum names types of Rust.
fn misfit(rejection: PathRejection) -> String {
    let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
        return rejection.body_text();
    };
    match failed.into_kind() {
        // All that is parsed there are numbers.
        ErrorKind::ParseErrorAtKey { key, .. } => format!("{key}: it is no whole number, or too large a one"),
        ErrorKind::InvalidUtf8InPathParam { key } => format!("{key}: it is no UTF-8"),
        ErrorKind::DeserializeError { key, message, .. } => format!("{key}: {message}"),
        kind => kind.to_string(),
    }
}

/// Whether a body is sent as it is.
fn is_plain(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(CONTENT_ENCODING).iter().map(|codings| codings.to_str().unwrap_or("?"));
    let mut codings = codings.flat_map(|codings| codings.split(','));
    codings.all(|coding| ["", "identity"].contains(&&*coding.trim().to_ascii_lowercase()))
}

/// What the parser says, without what axum says around it.
fn reason(rejection: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = rejection;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
