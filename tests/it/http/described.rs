//! The API's description of itself: whoever has it already is told so, and a browser runs nothing of it.

use serde_json::json;

use super::{PASSWORD, Site};

#[test]
fn a_description_is_sent_once() {
    let site = Site::new();
    let ask = |path: &str, headers: &[(&str, &str)]| site.server.request("GET", path, headers, "");
    let mut tags = Vec::new();
    for (path, media) in
        [("/api/v1/openapi.json", "application/json"), ("/api/v1/docs", "text/html; charset=utf-8")]
    {
        let first = ask(path, &[]);
        assert_eq!((first.status, first.header("content-type")), (200, Some(media)));
        assert_eq!(first.header("cache-control"), Some("no-cache"));
        let tag = first.header("etag").expect("a tag").to_owned();
        for known in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = ask(path, &[("If-None-Match", &known), ("Accept-Encoding", "gzip")]);
            assert_eq!((again.status, &*again.body), (304, ""), "{known}");
            assert_eq!(again.header("etag"), Some(&*tag));
        }
        assert_eq!(ask(path, &[("If-None-Match", "\"other\"")]).status, 200);
        tags.push(tag);
    }
    assert_ne!(tags[0], tags[1]);
    let document = site.get("", "/openapi.json").json();
    for path in ["/openapi.json", "/docs"] {
        let known = &document["paths"][path]["get"]["responses"]["304"];
        assert!(known.is_object() && known["content"].is_null(), "{known}");
    }
}

#[test]
fn a_browser_takes_answers_for_what_they_say_they_are() {
    let site = Site::new();
    for path in ["/health", "/metrics", "/api/v1/docs", "/api/v1/openapi.json", "/api/v1/apps", "/nothing"] {
        let answer = site.server.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let is_lasting = path.ends_with("/docs") || path.ends_with("/openapi.json");
        let kept = if is_lasting { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(kept), "{path}");
        let policy = answer.header("content-security-policy");
        assert_eq!(policy.is_some(), path.ends_with("/docs"), "{path}");
        if let Some(policy) = policy {
            assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("script"), "{policy}");
        }
    }
    let token = json!({ "name": "t", "scope": "global" });
    let login = json!({ "email": "root@example.org", "password": PASSWORD });
    for (path, body, status) in [("/tokens", token, 201), ("/auth/login", login, 200)] {
        let shown = site.post(&site.root, path, &body);
        assert_eq!((shown.status, shown.header("cache-control")), (status, Some("no-store")), "{path}");
    }
    let page = site.get("", "/docs").body;
    assert!(!page.contains("<script") && !page.contains(" style="), "the policy permits neither");
}
