//! The machines of a cluster: what they say of themselves, and what they are told to do.

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use streamhub::change::required;
use streamhub::nodes::{NewNode, Node, NodeStatus};

use crate::answer::{Created, Done, Found, List};
use crate::api::Paging;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::{OnNode, Platform};
use crate::route::{Route, route};

const ONE: &str = "/cluster/nodes/{id}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::POST, "/cluster/join", "node.join", (), join)
            .about("Take a node into the cluster, or back, by its name")
            .may(&[StatusCode::SERVICE_UNAVAILABLE]),
        route(Method::POST, "/cluster/heartbeat", "node.heartbeat", (), heartbeat)
            .about("Record a node's sign of life")
            .may(&[StatusCode::NOT_FOUND]),
        route(Method::GET, "/cluster/nodes", "node.list", (), list).about("List nodes"),
        route(Method::POST, "/cluster/nodes", "node.create", (), create)
            .about("Make a node that has not been heard of yet")
            .may(&[StatusCode::CONFLICT]),
        route(Method::PATCH, ONE, "node.set-status", (), update).about("Say what a node is meant to do"),
        route(Method::DELETE, ONE, "node.delete", (), delete).about("Remove a node"),
    ]
}

/// What a node says of itself when it joins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Join {
    /// Its name, by which it is known again.
    #[schemars(length(min = 1, max = 256))]
    name: String,
    /// Where it is reached.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    url: Option<String>,
    /// Where it stands.
    #[serde(default)]
    #[schemars(length(max = 256))]
    region: Option<String>,
}

/// Under which key a node is known.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Joined {
    node_id: String,
    name: String,
}

/// A sign of life.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Heartbeat {
    node_id: String,
    /// What the node says of itself: at most 4 KB of JSON. Where it says nothing, what it said before stays.
    #[serde(default, deserialize_with = "required")]
    #[schemars(with = "Map<String, Value>")]
    stats: Option<Map<String, Value>>,
}

/// What is to be changed of a node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NodePatch")]
struct Patch {
    status: NodeStatus,
}

/// One node.
#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The node's key or name.
    id: String,
}

async fn join(on: OnNode, ask: Ask<Nothing, NoFields, Json<Join>>) -> Result<Found<Joined>, ApiError> {
    let Json(Join { name, url, region }) = ask.body;
    let new = NewNode { name: name.clone(), url, region };
    let node_id = on.hub.on_control(move |hub| hub.join_node(&new)).await?;
    Ok(Found(Joined { node_id, name }))
}

async fn heartbeat(on: OnNode, ask: Ask<Nothing, NoFields, Json<Heartbeat>>) -> Result<Done, ApiError> {
    let Json(Heartbeat { node_id, stats }) = ask.body;
    on.hub.on_control(move |hub| hub.node_alive(&node_id, stats.map(Value::Object).as_ref())).await?;
    Ok(Done)
}

async fn create(
    platform: Platform,
    ask: Ask<Nothing, NoFields, Json<Join>>,
) -> Result<Created<Node>, ApiError> {
    let Json(Join { name, url, region }) = ask.body;
    let new = NewNode { name, url, region };
    Ok(Created(platform.hub.on_control(move |hub| hub.create_node(&new)).await?))
}

async fn list(platform: Platform, ask: Ask<Nothing, Paging>) -> Result<List<Node>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    Ok(List::slice(platform.hub.on_control(|hub| hub.registry().nodes()).await?, limit, offset))
}

async fn update(platform: Platform, ask: Ask<Which, NoFields, Json<Patch>>) -> Result<Found<Node>, ApiError> {
    let (id, Json(Patch { status })) = (ask.path.id, ask.body);
    Ok(Found(platform.hub.on_control(move |hub| hub.set_node_status(&id, status)).await?))
}

async fn delete(platform: Platform, ask: Ask<Which>) -> Result<Done, ApiError> {
    let id = ask.path.id;
    platform.hub.on_control(move |hub| hub.delete_node(&id)).await?;
    Ok(Done)
}
