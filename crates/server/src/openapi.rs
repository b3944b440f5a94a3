//! The API's description of itself, in OpenAPI 3.1, made of the routes and of the types that they take and
//! give.

use axum::http::{Method, StatusCode};
use schemars::Schema;
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;
use crate::idempotency;
use crate::policy::{Parameter, Policy};
use crate::route::Route;

/// Describes these routes, which are served below `base`.
pub(crate) fn document(routes: &[Route], base: &str) -> Value {
    // What is given refers to its types by name. What is taken is written out where it is taken, since the
    // same type may look different from that side.
    let mut given = given();
    let error = given.subschema_for::<ErrorBody>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = route.path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut given, &error);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "StreamHub",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The state layer of a media server: tenants, apps, and what is in each app's database.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": base }],
        "paths": paths,
        "components": {
            "schemas": given.take_definitions(true),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, or the token of a session.",
                },
                "cluster": { "type": "apiKey", "in": "header", "name": "X-Cluster-Token" },
            },
        },
    })
}

fn given() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.contract = Contract::Serialize;
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator()
}

fn taken() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.contract = Contract::Deserialize;
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator()
}

fn operation(route: &Route, given: &mut SchemaGenerator, error: &Schema) -> Value {
    let shapes = &route.shapes;
    let scope = shapes.scope.map(|Parameter { name, about, schema }| {
        let schema = schema(&mut taken());
        json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
    });
    let mut parameters: Vec<Value> = scope.into_iter().collect();
    parameters.extend(fields(&(shapes.path)(&mut taken()), "path"));
    parameters.extend(fields(&(shapes.query)(&mut taken()), "query"));
    if is_repeatable(route) {
        parameters.push(json!({
            "name": idempotency::HEADER.as_str(),
            "in": "header",
            "required": false,
            "description": "What the client calls this request. Sent again within a day, it is not carried out \
                            twice, and answered with what really happened.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
        }));
    }

    let mut responses = Map::new();
    let answers = [Some((shapes.status, (shapes.answer)(given))), (shapes.or_else)(given)];
    for (status, schema) in answers.into_iter().flatten() {
        responses.insert(status.as_str().to_owned(), response(status, shapes.media, schema.as_ref()));
    }
    let body = (shapes.body)(&mut taken());
    for status in refusals(route, !parameters.is_empty(), body.is_some()) {
        let refusal = response(status, &["application/json"], Some(error));
        responses.entry(status.as_str()).or_insert(refusal);
    }

    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "description": policy_in_words(route.policy),
        "tags": [route.name.split('.').next().unwrap_or_default()],
        "parameters": parameters,
        "responses": responses,
        "security": security(route.policy),
    });
    if let Some(schema) = body {
        operation["requestBody"] =
            json!({ "required": shapes.needs_body, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// What is answered with a status: nothing, or a body of one of these media types.
fn response(status: StatusCode, media: &[&str], schema: Option<&Schema>) -> Value {
    let mut response = json!({ "description": status.canonical_reason().unwrap_or_default() });
    if let Some(schema) = schema {
        let each = media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema })));
        response["content"] = Value::Object(each.collect());
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response["headers"] = json!({ "Retry-After": {
            "description": "In how many seconds to try again, where waiting helps.",
            "schema": { "type": "integer", "minimum": 1 },
        } });
    }
    response
}

/// The fields of an object's schema, as parameters.
fn fields(schema: &Schema, place: &str) -> Vec<Value> {
    let schema = schema.as_value();
    let required = |name: &str| {
        place == "path"
            || schema["required"].as_array().is_some_and(|all| all.iter().any(|field| field == name))
    };
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = not_null(schema.clone());
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter =
            json!({ "name": name, "in": place, "required": required(name), "schema": schema });
        if let Some(about) = about {
            parameter["description"] = about;
        }
        parameter
    };
    properties.iter().map(parameter).collect()
}

/// A parameter that is not given is absent: none is `null`.
fn not_null(mut schema: Value) -> Value {
    let only = |values: &mut Vec<Value>, null: &Value| values.retain(|value| value != null);
    if let Some(types) = schema["type"].as_array_mut() {
        only(types, &"null".into());
        if let [single] = types.as_slice() {
            schema["type"] = single.clone();
        }
    }
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        only(words, &Value::Null);
    }
    let alternatives = schema.get_mut("anyOf").and_then(Value::as_array_mut);
    if let Some(alternatives) = alternatives {
        only(alternatives, &json!({ "type": "null" }));
        if let [single] = alternatives.as_slice() {
            let mut single = single.clone();
            if let Some(about) = schema.get("description") {
                single["description"] = about.clone();
            }
            return single;
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.as_object_mut().expect("a schema with fields").remove("default");
    }
    schema
}

/// With which statuses a route may refuse, in ascending order.
fn refusals(route: &Route, has_parameters: bool, has_body: bool) -> Vec<StatusCode> {
    let mut refusals = vec![StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    let guarded = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    match route.policy {
        Policy::Public => {}
        Policy::App(_) | Policy::Tenant(_) => {
            refusals.extend(guarded);
            refusals.push(StatusCode::NOT_FOUND);
        }
        _ => refusals.extend(guarded),
    }
    if has_parameters {
        refusals.push(StatusCode::BAD_REQUEST);
        if route.path.contains('{') {
            refusals.push(StatusCode::NOT_FOUND);
        }
    }
    if is_repeatable(route) {
        refusals.push(StatusCode::CONFLICT);
    }
    if has_body {
        refusals.extend([
            StatusCode::BAD_REQUEST,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ]);
    }
    if route.method != Method::GET {
        refusals.push(StatusCode::INSUFFICIENT_STORAGE);
    }
    refusals.extend(route.refusals);
    refusals.sort();
    refusals.dedup();
    refusals
}

/// Whether a request may be sent again with a key.
fn is_repeatable(route: &Route) -> bool {
    route.method == Method::POST && route.policy != Policy::Credentials
}

fn policy_in_words(policy: Policy) -> String {
    match policy {
        Policy::Public => "For everybody.".to_owned(),
        Policy::Credentials => "For whoever shows the right credentials in the body. An `Idempotency-Key` is ignored, \
                                since it is nobody's yet."
            .to_owned(),
        Policy::Authenticated => "For whoever has an acceptable credential; shows what that permits.".to_owned(),
        Policy::Somewhere(permission) => {
            format!("For those who have `{}` in a tenant, and there only.", permission.as_str())
        }
        Policy::Session => "For a person with a session.".to_owned(),
        Policy::Tenant(permission) => format!("For those who have `{}` in the tenant.", permission.as_str()),
        Policy::App(permission) => format!("For those who have `{}` on the app.", permission.as_str()),
        Policy::Platform => "For superadmins, and global tokens of the tenant `platform`.".to_owned(),
        Policy::Node => "For a node of the cluster, by its token.".to_owned(),
        Policy::Metrics => {
            "For superadmins and global tokens of the tenant `platform`; for loopback clients where that is configured."
                .to_owned()
        }
    }
}

fn security(policy: Policy) -> Value {
    match policy {
        Policy::Public | Policy::Credentials => json!([]),
        Policy::Node => json!([{ "cluster": [] }]),
        _ => json!([{ "bearer": [] }]),
    }
}
