//! What can be asked, one module per noun. A handler parses no header and no credential: it is handed a
//! grant by the route's policy, and what was asked for, parsed.

mod account;
mod apps;
mod audit;
mod auth;
mod cluster;
mod config;
mod db;
mod ingress;
mod jobs;
mod logs;
mod members;
pub(crate) mod server;
mod stats;
mod streams;
pub(crate) mod system;
mod tenants;
mod tokens;
mod trash;
mod usage;
mod users;
mod vods;

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use streamhub::Page;
use streamhub::cursor::{BadCursor, Cursor};

use crate::answer::LIMIT;
use crate::error::ApiError;
use crate::route::Route;

/// All routes below `/api/v1`, in the order of the documentation.
pub(crate) fn routes() -> Vec<Route> {
    let nouns = [
        server::routes(),
        auth::routes(),
        account::routes(),
        tenants::routes(),
        members::routes(),
        users::routes(),
        tokens::routes(),
        apps::routes(),
        config::routes(),
        streams::routes(),
        vods::routes(),
        ingress::routes(),
        stats::routes(),
        usage::routes(),
        db::routes(),
        trash::routes(),
        jobs::routes(),
        logs::routes(),
        audit::routes(),
        cluster::routes(),
        system::routes(),
    ];
    nouns.into_iter().flatten().collect()
}

/// Which part of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    /// How many at the most.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) limit: u32,
    /// How many are passed over.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    pub(crate) offset: u32,
}

pub(crate) fn limit() -> u32 {
    LIMIT
}

impl Paging {
    pub(crate) fn checked(&self) -> Result<(u32, u32), ApiError> {
        page(self.limit, self.offset).map(|_| (self.limit, self.offset))
    }
}

/// A page that is not too large.
pub(crate) fn page(limit: u32, offset: u32) -> Result<Page, ApiError> {
    Page::new(limit, offset).map_err(|error| ApiError::invalid("invalid_query", error.to_string()))
}

/// Where a part of a list begins, which the part before it named.
pub(crate) fn cursor<I: FromStr>(text: Option<&str>) -> Result<Option<Cursor<I>>, ApiError> {
    let refused = |error: BadCursor| ApiError::invalid("invalid_query", format!("cursor: {error}"));
    text.map(str::parse).transpose().map_err(refused)
}

/// On or off.
#[derive(JsonSchema)]
#[schemars(inline)]
#[allow(dead_code, reason = "it stands for a flag in the documentation")]
pub(crate) enum Flag {
    #[schemars(rename = "1")]
    One,
    #[schemars(rename = "0")]
    Zero,
    #[schemars(rename = "true")]
    True,
    #[schemars(rename = "false")]
    False,
}

/// A parameter of the query that is on as `1` or `true`, and off as `0` or `false`.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(serde::de::Error::custom("expected 1 or 0, true or false")),
    }
}
