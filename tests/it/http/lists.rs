//! Lists under HTTP: a part of what somebody sees, or all of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::Site;

/// A site with so many recordings of an app, each a `SELECT` of its number `i`.
fn site_with_vods(rows: u32, select: &str) -> Site {
    Site::with_rows(&format!(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO vods (app_id, name, status, started_at, size_bytes, metatags_json) {select} FROM n"
    ))
}

fn rows(list: &Value) -> Vec<Value> {
    list["data"].as_array().expect("rows").clone()
}

#[test]
fn all_recordings_at_once_are_those_of_all_pages() {
    // Few times and sizes in both spellings and none, so that parts end within one.
    let site = site_with_vods(
        5000,
        "SELECT 1, i, iif(i % 4, 'ready', 'failed'), CASE i % 5 WHEN 0 THEN NULL \
         WHEN 1 THEN '2026-01-0' || (1 + i % 3) || ' 10:00:00' ELSE '2026-01-0' || (1 + i % 3) || 'T10:00:00.000Z' END, \
         nullif(i % 7, 0), NULL",
    );
    for (query, total) in [
        ("order=started_at&dir=desc", 5000),
        ("order=started_at&dir=asc", 5000),
        ("order=size_bytes&dir=desc", 5000),
        ("order=size_bytes&dir=asc", 5000),
        ("order=id&dir=asc", 5000),
        ("status=ready", 3750),
        ("until=2026-01-02T00:00:00Z", 1334),
        ("room=lobby", 0),
    ] {
        let ask = |part: &str| {
            let listed = site.get(&site.root, &format!("/apps/news-24/vods?{query}&{part}"));
            assert_eq!(listed.status, 200, "{query}: {listed:?}");
            listed.json()
        };
        let whole = ask("all=1");
        let shown = (&whole["total"], &whole["limit"], &whole["offset"], &whole["error"]);
        let total: Value =
            if query.starts_with("until") { ask("limit=1")["total"].clone() } else { json!(total) };
        assert_eq!(shown, (&total, &json!(200), &json!(0), &Value::Null), "{query}");
        let paged: Vec<Value> =
            (0..5).flat_map(|page| rows(&ask(&format!("limit=1000&offset={}", page * 1000)))).collect();
        assert!(rows(&whole) == paged, "{query}: the whole is not its pages");
    }
}

#[test]
fn a_list_that_cannot_be_read_to_its_end_does_not_end_in_good_order() {
    // More than what fits into the buffers of a connection.
    let site = site_with_vods(3000, "SELECT 1, i, 'ready', NULL, NULL, hex(zeroblob(10000))");
    for end in ["", "/tokens/", "/apps/news-24"] {
        let made = site.made("/tokens", &json!({ "name": "t", "scope": "global" }));
        let mut stream = TcpStream::connect(site.server.address()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
        let asked = format!(
            "GET /api/v1/apps/news-24/vods?all=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n\r\n",
            made["token"].as_str().expect("a token")
        );
        stream.write_all(asked.as_bytes()).expect("a request");
        let mut answer = vec![0; 1 << 16];
        stream.read_exact(&mut answer).expect("it begins");
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..200]));
        // Whoever reads slowly keeps nobody from that.
        match end {
            "" => {}
            "/tokens/" => {
                let path = format!("{end}{}", made["id"]);
                assert_eq!(site.ask("DELETE", &path, &site.root, None).status, 204);
            }
            app => assert_eq!(site.ask("DELETE", app, &site.root, None).status, 200),
        }
        let read = stream.read_to_end(&mut answer);
        let is_whole = read.is_ok() && answer.ends_with(b"\"error\":null}\r\n0\r\n\r\n");
        assert_eq!(is_whole, end.is_empty(), "{end}: {} bytes, {read:?}", answer.len());
        assert!(is_whole || !answer.ends_with(b"0\r\n\r\n"), "it looks as if it were whole");
    }
}

#[test]
fn everybody_gets_parts_of_what_is_theirs() {
    let site = Site::new();
    for (tenant, names) in [("acme", ["a-1", "c-3", "e-5"]), ("globex", ["b-2", "d-4", "f-6"])] {
        site.tenant(tenant);
        for name in names {
            site.app(tenant, name);
        }
        site.token(&json!({ "name": tenant, "scope": "global", "tenantId": tenant }));
    }
    let ana = site.person("ana@example.org", Some(("acme", "owner")));
    let part = |who: &str, path: &str, name: &str| {
        let listed = site.get(who, path);
        assert_eq!(listed.status, 200, "{path}: {listed:?}");
        let listed = listed.json();
        let names = rows(&listed).iter().map(|row| row[name].as_str().unwrap_or("?").to_owned()).collect();
        (names, listed["total"].as_u64().expect("a number"))
    };
    let expect = |(names, total): (Vec<String>, u64), expected: &[&str], of: u64| {
        assert_eq!((names, total), (expected.iter().map(ToString::to_string).collect(), of));
    };
    expect(part(&site.root, "/apps?limit=2&offset=1", "name"), &["b-2", "c-3"], 6);
    expect(part(&ana, "/apps?limit=2&offset=1", "name"), &["c-3", "e-5"], 3);
    expect(part(&ana, "/apps?offset=9", "name"), &[], 3);
    expect(part(&ana, "/tokens", "name"), &["acme"], 1);
    expect(part(&ana, "/tenants", "id"), &["acme"], 1);
    expect(part(&site.root, "/tenants?limit=1&offset=1", "id"), &["globex"], 3);
    expect(part(&site.root, "/users?limit=1&offset=5", "email"), &[], 2);
    assert_eq!(site.get(&ana, "/stats").json()["apps"], 3);
    let radio = site.token(&json!({ "name": "radio", "scope": "app", "app": "b-2", "tenantId": "globex" }));
    expect(part(&radio, "/apps", "name"), &["b-2"], 1);
    assert_eq!(site.get(&radio, "/stats").json()["apps"], 1);
    for name in ["a-1", "b-2", "e-5"] {
        assert_eq!(site.ask("DELETE", &format!("/apps/{name}"), &site.root, None).status, 200);
    }
    expect(part(&ana, "/trash?limit=1&offset=1", "name"), &["e-5"], 2);
    expect(part(&site.root, "/trash", "name"), &["a-1", "b-2", "e-5"], 3);
    assert_eq!(site.ask("POST", "/trash/b-2/restore", &ana, None).status, 404);

    // What dashboards keep with an app is shown in lists, and so it is no more than a page.
    let set = |length: usize| {
        let settings = json!({ "settingsJson": format!("\"{}\"", "x".repeat(length - 2)) });
        site.ask("PATCH", "/apps/c-3", &ana, Some(&settings))
    };
    assert_eq!(set(64 << 10).status, 200);
    let refused = set((64 << 10) + 1);
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid")));
}
