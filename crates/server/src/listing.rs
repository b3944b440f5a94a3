//! Lists that may be asked for as a whole: such a list is written while it is read.

use std::io;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::answer::{Answer, List};
use crate::error::ApiError;
use crate::request;

/// A part of a list, or all of it in the same shape.
#[derive(Debug)]
pub(crate) enum Listing<T> {
    /// A part.
    Part(List<T>),
    /// All of it.
    Whole(Body),
}

impl<T: Serialize + Send + 'static> Listing<T> {
    /// All of a list out of its parts, of which one at a time is in memory. Where one cannot be read the answer is
    /// broken off, so that nobody takes what is there of it for the whole.
    pub(crate) fn whole(
        limit: u32,
        parts: impl Stream<Item = Result<Vec<T>, ApiError>> + Send + 'static,
    ) -> Self {
        let request = request::id();
        let pieces = stream::unfold(Some((Box::pin(parts), 0)), move |state| {
            let request = request.clone();
            async move {
                let (mut parts, total) = state?;
                let Some(part) = parts.next().await else { return Some((end::<T>(total, limit), None)) };
                let written = part.and_then(|rows| {
                    let broken = |error: serde_json::Error| ApiError::Broken(error.to_string());
                    Ok((total + rows.len() as u64, piece(&rows, total == 0).map_err(broken)?))
                });
                match written {
                    Ok((total, text)) => Some((Ok(text), Some((parts, total)))),
                    Err(error) => {
                        error.log(request.as_str());
                        Some((Err(io::Error::other("the list cannot be read to its end")), None))
                    }
                }
            }
        });
        let begin = stream::once(async { Ok(r#"{"data":["#.to_owned()) });
        // Layers around it may ask again for what has ended.
        Self::Whole(Body::from_stream(begin.chain(pieces).fuse()))
    }
}

/// Rows as they stand in a list.
fn piece<T: Serialize>(rows: &[T], is_first: bool) -> serde_json::Result<String> {
    let array = serde_json::to_string(rows)?;
    let rows = &array[1..array.len() - 1];
    Ok(if is_first || rows.is_empty() { rows.to_owned() } else { format!(",{rows}") })
}

/// What follows the rows of a list.
fn end<T: Serialize>(total: u64, limit: u32) -> io::Result<String> {
    let empty = serde_json::to_string(&List::<T>::page(Vec::new(), total, limit, 0))?;
    empty.split_once('[').map(|(_, end)| end.to_owned()).ok_or_else(|| io::Error::other("a list has rows"))
}

impl<T: Serialize + JsonSchema + Send + 'static> Answer for Listing<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        List::<T>::schema(generator)
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> IntoResponse for Listing<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Part(list) => list.into_response(),
            Self::Whole(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn read(parts: Vec<Result<Vec<u32>, ApiError>>) -> Result<String, axum::Error> {
        let body = Listing::whole(200, stream::iter(parts)).into_response().into_body();
        to_bytes(body, usize::MAX).await.map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn the_whole_looks_as_a_part_that_has_everything() {
        for parts in [vec![vec![]], vec![vec![1]], vec![vec![1, 2], vec![3], vec![]]] {
            let all: Vec<u32> = parts.concat();
            let expected = serde_json::to_string(&List::page(all.clone(), all.len() as u64, 200, 0)).unwrap();
            assert_eq!(read(parts.into_iter().map(Ok).collect()).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn what_has_ended_may_be_asked_again() {
        let body = Listing::<u32>::whole(200, stream::iter([Ok(vec![1])])).into_response().into_body();
        let mut pieces = body.into_data_stream();
        while pieces.next().await.is_some() {}
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_read_to_its_end_does_not_end_in_good_order() {
        let failed = || Err(ApiError::Broken("a disk".to_owned()));
        assert!(read(vec![failed()]).await.is_err());
        let error = read(vec![Ok(vec![1, 2]), failed(), Ok(vec![3])]).await.unwrap_err();
        assert!(!error.to_string().contains("disk"), "{error}");
    }
}
