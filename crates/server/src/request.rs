//! The request that the running task answers: its id, and who was found to ask.
//!
//! A task that a handler starts beside itself is no part of the request.

use std::cell::OnceCell;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// What one request is called in answers and logs. Also in the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a caller.
const LONGEST: usize = 128;

struct Current {
    id: RequestId,
    principal: OnceCell<String>,
}

tokio::task_local! {
    static CURRENT: Current;
}

impl RequestId {
    /// One of our own: ids of one process differ in their number, and processes in what stands before it.
    pub(crate) fn fresh() -> Self {
        static PROCESS: LazyLock<String> = LazyLock::new(|| streamhub::new_uuid()[..13].to_owned());
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number:08x}", *PROCESS);
        Self(HeaderValue::from_str(&id).expect("letters, digits and dashes"))
    }

    /// The caller's, where it is fit for a log line, else one of our own.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let fit = |c: &u8| c.is_ascii_alphanumeric() || b"-_.:".contains(c);
        let given = headers.get(X_REQUEST_ID);
        let given = given.filter(|id| (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(fit));
        given.map_or_else(Self::fresh, |id| Self(id.clone()))
    }

    /// As a header's value.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Runs what answers a request, and says who was found to ask.
pub(crate) async fn answering<T>(id: RequestId, answer: impl Future<Output = T>) -> (T, Option<String>) {
    let current = Current { id, principal: OnceCell::new() };
    CURRENT
        .scope(current, async {
            let answer = answer.await;
            (answer, CURRENT.with(|current| current.principal.get().cloned()))
        })
        .await
}

/// The id of the request that is being answered; outside of any, a fresh one.
pub(crate) fn id() -> RequestId {
    CURRENT.try_with(|current| current.id.clone()).unwrap_or_else(|_| RequestId::fresh())
}

/// Says who asks, for the access log: a kind and an id, such as `token:tok_1`. What is said first stays.
pub(crate) fn name_principal(principal: impl Into<String>) {
    let _ = CURRENT.try_with(|current| current.principal.get_or_init(|| principal.into()).len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(text).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_callers_id_is_taken_where_it_is_fit_for_a_log_line() {
        for fit in ["a", "7f3c-00_1.2:3", &"x".repeat(128)] {
            assert_eq!(of(fit).as_str(), fit);
        }
        for unfit in ["", "a b", "a\"b", "a{b}", "ä", "a;b", &"x".repeat(129)] {
            let own = of(unfit);
            assert_ne!(own.as_str(), unfit);
            assert!(own.as_str().len() > 20, "{own}");
        }
        assert_ne!(RequestId::fresh(), RequestId::fresh());
    }

    #[tokio::test]
    async fn whoever_answers_knows_the_id_and_can_say_who_asks() {
        let given = RequestId::fresh();
        let (seen, principal) = answering(given.clone(), async {
            tokio::task::yield_now().await;
            name_principal("token:tok_1");
            name_principal("somebody else");
            id()
        })
        .await;
        assert_eq!((seen, principal.as_deref()), (given.clone(), Some("token:tok_1")));
        name_principal("nobody listens here");
        assert_ne!(id(), given);
    }
}
