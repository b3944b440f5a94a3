//! One thing that can be asked over HTTP: how it is asked for, who may, and what answers.
//!
//! A route is one value, and everything else is made of it: the router, the OpenAPI document, the matrix of
//! who may what, and the name under which the audit knows it.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use streamhub::audit::Entry;
use streamhub::deeds::Outcome;
use streamhub::{Concerned, Hub};

use crate::answer::{Alternative, Answer};
use crate::ask::{Ask, Body};
use crate::entrance::Entrance;
use crate::error::ApiError;
use crate::idempotency::once;
use crate::policy::{Access, Parameter, Policy};
use crate::service::Service;

/// One route.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// What the audit and the OpenAPI document call it, such as `app.create`.
    pub(crate) name: &'static str,
    /// One sentence.
    pub(crate) summary: &'static str,
    pub(crate) policy: Policy,
    /// Statuses beyond those that follow from the policy and the parameters.
    pub(crate) refusals: &'static [StatusCode],
    pub(crate) shapes: Shapes,
    handler: MethodRouter<Service>,
}

/// How to describe what a route takes and gives.
pub(crate) struct Shapes {
    /// The parameter that the policy reads.
    pub(crate) scope: Option<Parameter>,
    pub(crate) path: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) query: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) body: fn(&mut SchemaGenerator) -> Option<Schema>,
    pub(crate) needs_body: bool,
    pub(crate) answer: fn(&mut SchemaGenerator) -> Option<Schema>,
    pub(crate) status: StatusCode,
    pub(crate) or_else: fn(&mut SchemaGenerator) -> Option<Alternative>,
    pub(crate) media: &'static [&'static str],
}

/// A route: whoever the policy lets in is handed to `handler`, with what was asked for.
pub(crate) fn route<A, P, Q, B, T, F, Answering>(
    method: Method,
    path: &'static str,
    name: &'static str,
    policy: A::Policy,
    handler: F,
) -> Route
where
    A: Access,
    P: DeserializeOwned + JsonSchema + Send + 'static,
    Q: DeserializeOwned + JsonSchema + Send + 'static,
    B: Body,
    T: Answer,
    F: Fn(A, Ask<P, Q, B>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    repeatable(method, path, name, policy, handler, async |_, _| Err(ApiError::AnswerLost))
}

/// As [`route`], where an answer that was lost can be made again of what the request was done to.
pub(crate) fn repeatable<A, P, Q, B, T, F, Answering, G, Again>(
    method: Method,
    path: &'static str,
    name: &'static str,
    policy: A::Policy,
    handler: F,
    again: G,
) -> Route
where
    A: Access,
    P: DeserializeOwned + JsonSchema + Send + 'static,
    Q: DeserializeOwned + JsonSchema + Send + 'static,
    B: Body,
    T: Answer,
    F: Fn(A, Ask<P, Q, B>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Result<T, ApiError>> + Send + 'static,
    G: Fn(A, String) -> Again + Clone + Send + Sync + 'static,
    Again: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let answer = move |service: State<Service>, request: Request| {
        let (handler, again) = (handler.clone(), again.clone());
        async move {
            let (entrance, body) = match Entrance::new(service.0, request).await {
                Ok(entered) => entered,
                Err(error) => return error.into_response(),
            };
            let changes = !entrance.method().is_safe();
            let access = A::enter(&entrance, policy).await;
            let acting = entrance.acting().cloned();
            let about = changes.then(|| (entrance.path().to_owned(), entrance.concerned()));
            let principal = entrance.principal().cloned();
            let may_see = move |done: &Entry| {
                principal.as_ref().is_some_and(|principal| A::policy(policy).permits_to_hear(principal, done))
            };
            let answered: Result<_, ApiError> = async {
                // What a request was done to may be gone by the time it is sent again, or be called something
                // else because of it.
                let access = match access {
                    Err(error) if error.status_and_code().0 == StatusCode::NOT_FOUND => None,
                    access => Some(access?),
                };
                entrance.check_name()?;
                let app = access.as_ref().and_then(|access| access.app().cloned());
                once(acting.clone(), app, may_see, move |done| async move {
                    match (access, done) {
                        (Some(access), Some(target)) => Ok(again(access, target).await?.into_response()),
                        (None, Some(_)) => Err(ApiError::AnswerLost),
                        (None, None) => Err(ApiError::NotFound),
                        (Some(access), None) => {
                            let ask = Ask::parse(entrance.into_parts(), body).await?;
                            Ok(handler(access, ask).await?.into_response())
                        }
                    }
                })
                .await
            }
            .await;
            match answered {
                Ok(response) => response,
                Err(error) => {
                    let Some(hub) = acting.as_ref() else { return error.into_response() };
                    if let Some((target, concerned)) = about.filter(|_| !error.is_told_elsewhere()) {
                        note(hub, name, target, concerned, &error).await;
                    }
                    error.without_places(hub).into_response()
                }
            }
        }
    };
    let filter = MethodFilter::try_from(method.clone()).expect("a method that axum knows");
    Route {
        method,
        path,
        name,
        summary: "",
        policy: A::policy(policy),
        refusals: &[],
        shapes: Shapes {
            scope: A::PARAMETER,
            path: |generator| generator.root_schema_for::<P>(),
            query: |generator| generator.root_schema_for::<Q>(),
            body: B::schema,
            needs_body: B::IS_REQUIRED,
            answer: T::schema,
            status: T::STATUS,
            or_else: T::or_else,
            media: T::MEDIA,
        },
        handler: on(filter, answer),
    }
}

impl Route {
    /// What it does, in one sentence.
    pub(crate) fn about(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Statuses that it may answer with besides those that every route of its kind has.
    pub(crate) fn may(self, refusals: &'static [StatusCode]) -> Self {
        Self { refusals, ..self }
    }

    pub(crate) fn add_to(self, router: Router<Service>, base: &str) -> Router<Service> {
        router.route(&format!("{base}{}", self.path), self.handler)
    }
}

/// The audit tells of what was refused too.
async fn note(hub: &Hub, action: &'static str, target: String, concerned: Concerned, error: &ApiError) {
    let (status, code) = error.status_and_code();
    let outcome = match status {
        StatusCode::FORBIDDEN => Outcome::Denied,
        status if status.is_server_error() => Outcome::Failed,
        _ => Outcome::Refused,
    };
    let hub = hub.clone();
    // Also where the client does not wait for its answer.
    let noting = tokio::spawn(async move {
        let note = move |hub: &Hub| hub.note_refusal(action, Some(target), &concerned, outcome, code);
        if let Err(error) = hub.on_control(note).await {
            tracing::warn!(%error, action, "a refusal could not be written into the audit");
        }
    });
    let _ = noting.await;
}
