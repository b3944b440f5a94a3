//! `/docs`: the OpenAPI document as a page for people. It is one page that loads nothing from anywhere.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem 1.5rem;\
color:#1d2129;background:#fff}h1{font-size:1.6rem}h2{margin-top:2.5rem;border-bottom:1px solid #d8dee6}\
details{border:1px solid #d8dee6;border-radius:.4rem;margin:.5rem 0;padding:.3rem .8rem}\
summary{cursor:pointer}code,pre{font:14px/1.45 ui-monospace,monospace}pre{overflow:auto;background:#f5f7fa;\
padding:.6rem;border-radius:.3rem}.method{display:inline-block;min-width:4rem;font-weight:600}\
table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0}\
@media(prefers-color-scheme:dark){body{background:#14171c;color:#dfe4ea}pre{background:#1e232b}\
details,h2{border-color:#333b46}a{color:#7fb2ff}}";

/// The page.
pub(crate) fn page(document: &Value) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>StreamHub API</title><style>{STYLE}</style>\
         <h1>StreamHub API {}</h1><p>{} Paths are below <code>{}</code>; \
         <a href=\"openapi.json\">openapi.json</a> is the same for programs.</p>",
        escaped(&document["info"]["version"]),
        escaped(&document["info"]["description"]),
        escaped(&document["servers"][0]["url"]),
    );
    let mut section = String::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let noun = escaped(&operation["tags"][0]);
            if noun != section {
                let _ = write!(page, "<h2 id=\"{noun}\">{noun}</h2>");
                section = noun;
            }
            add_operation(&mut page, method, path, operation);
        }
    }
    page.push_str("<h2 id=\"schemas\">schemas</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ =
            write!(page, "<details id=\"{}\"><summary><code>{}</code></summary>", escape(name), escape(name));
        add_json(&mut page, schema);
        page.push_str("</details>");
    }
    page.push_str("</html>");
    page
}

fn add_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(
        page,
        "<details id=\"{}\"><summary><code class=\"method\">{}</code> <code>{}</code> {}</summary><p>{}</p>",
        escaped(&operation["operationId"]),
        escape(&method.to_uppercase()),
        escape(path),
        escaped(&operation["summary"]),
        escaped(&operation["description"]),
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("<table>");
        for parameter in parameters {
            let _ = write!(
                page,
                "<tr><td><code>{}</code><td>{}<td>{}",
                escaped(&parameter["name"]),
                escaped(&parameter["in"]),
                escaped(&parameter["description"]),
            );
        }
        page.push_str("</table>");
    }
    if let Some(body) = operation.pointer("/requestBody/content/application~1json/schema") {
        page.push_str("<p>Takes</p>");
        add_json(page, body);
    }
    page.push_str("<table>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let _ =
            write!(page, "<tr><td><code>{}</code><td>{}", escape(status), escaped(&response["description"]));
        let content = response["content"].as_object().and_then(|content| content.values().next());
        if let Some(name) = content
            .and_then(|content| content["schema"]["$ref"].as_str())
            .and_then(|path| path.rsplit('/').next())
        {
            let _ = write!(page, "<td><a href=\"#{0}\"><code>{0}</code></a>", escape(name));
        }
    }
    page.push_str("</table></details>");
}

fn add_json(page: &mut String, value: &Value) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let _ = write!(page, "<pre>{}</pre>", escape(&text));
}

fn escaped(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_document_says_is_shown_and_never_run() {
        let document = json!({
            "info": { "version": "1", "description": "<script>" },
            "servers": [{ "url": "/api/v1" }],
            "paths": { "/apps": { "get": {
                "operationId": "app.list", "summary": "List \"apps\"", "description": "", "tags": ["app"],
                "parameters": [{ "name": "limit", "in": "query", "description": "How many" }],
                "responses": { "200": { "description": "OK", "content": { "application/json":
                    { "schema": { "$ref": "#/components/schemas/List" } } } } },
            } } },
            "components": { "schemas": { "List": { "type": "object" } } },
        });
        let page = page(&document);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
        for shown in ["id=\"app.list\"", "List &quot;apps&quot;", "How many", "href=\"#List\"", "id=\"List\""]
        {
            assert!(page.contains(shown), "{shown} is not in {page}");
        }
    }
}
