//! `token`: shown once, then only by number.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use streamhub_tests::readonly;

use super::{Place, json_of, refused};

fn hashes(place: &Place) -> Vec<String> {
    let db = readonly::open(&place.path("streamhub.db"));
    let mut query = db.prepare("SELECT token_hash FROM api_tokens ORDER BY id").expect("tokens");
    let rows = query.query_map([], |row| row.get(0)).expect("tokens");
    rows.map(|row| row.expect("a hash")).collect()
}

#[test]
fn a_token_is_printed_once_and_its_hash_is_kept() {
    let place = Place::missing();
    let made = place.streamhub().run(["token", "create", "ci"]).expect(0);
    let token = made.stdout().trim();
    assert!(token.starts_with("sk_") && token.len() == 46 && made.stdout().lines().count() == 1);
    assert!(!made.stderr().contains(token));
    let made = json_of(&place, &["token", "create", "other"]);
    assert_eq!(made["id"], 2);
    assert!(made["token"].as_str().is_some_and(|other| other.starts_with("sk_") && other != token));

    assert_eq!(hashes(&place)[0], format!("{:x}", Sha256::digest(token)));
    let list = place.streamhub().run(["token", "list", "--json"]).expect(0);
    assert!(!list.stdout().contains("sk_") && !list.stdout().contains(&hashes(&place)[0]));
    let list = list.json();
    assert_eq!((&list["total"], &list["data"][0]["name"]), (&2.into(), &"ci".into()));
    assert_eq!(
        (&list["data"][0]["scope"], &list["data"][0]["tenantId"]),
        (&"global".into(), &"platform".into())
    );
}

#[test]
fn a_token_reaches_what_it_was_made_for() {
    let place = Place::new();
    let _ = place.streamhub().run(["tenant", "create", "acme"]).expect(0);
    let app = json_of(&place, &["app", "create", "news-24", "--tenant", "acme"]);
    for line in [
        &["token", "create", "one", "--app", "news-24"][..],
        &["token", "create", "two", "--tenant", "acme", "--allow-ip", "10.0.0.0/8", "--allow-ip", "::1"],
        &["token", "create", "three", "--node"],
    ] {
        let _ = place.streamhub().run(line).expect(0);
    }
    let list = json_of(&place, &["token", "list"]);
    let seen = |index: usize| {
        let token = &list["data"][index];
        json!([token["scope"], token["appId"], token["tenantId"], token["allowedIps"]])
    };
    assert_eq!(seen(0), json!(["app", app["id"], "acme", null]));
    assert_eq!(seen(1), json!(["global", null, "acme", ["10.0.0.0/8", "::1/128"]]));
    assert_eq!(seen(2), json!(["node", null, "platform", null]));
    assert_eq!(json_of(&place, &["token", "list", "--tenant", "acme"])["total"], 2);

    let people = place.streamhub().run(["token", "list"]).expect(0);
    assert!(people.stdout().contains("app news-24"), "{}", people.stdout());
    refused(&place, &["token", "revoke", "one"], 2, &["one", "token list"]);
    refused(&place, &["token", "create", "x", "--app", "nobody"], 1, &["nobody", "app list"]);
    refused(&place, &["token", "create", "x", "--tenant", "nobody"], 1, &["nobody", "tenant list"]);
    refused(&place, &["token", "list", "--tenant", "nobody"], 1, &["nobody", "tenant list"]);
    refused(
        &place,
        &["token", "create", "x", "--allow-ip", "10.0.0.0/99"],
        2,
        &["10.0.0.0/99", "--allow-ip"],
    );
    refused(&place, &["token", "create", "x", "--app", "news-24", "--node"], 2, &["--node"]);
    refused(&place, &["token", "create", "x", "--app", "news-24", "--tenant", "acme"], 2, &["--tenant"]);
    let nothing = Place::missing();
    let _ = nothing.streamhub().run(["token", "create", "x", "--app", "news-24"]).expect(5);
    assert!(!nothing.dir.exists());
}

#[test]
fn a_revoked_token_stays_listed_and_revoked() {
    let place = Place::new();
    let _ = place.streamhub().run(["token", "create", "ci"]).expect(0);
    for _ in 0..2 {
        assert_eq!(json_of(&place, &["token", "revoke", "1"]), json!({"id": 1, "revoked": true}));
    }
    assert_eq!(json_of(&place, &["token", "list"])["data"][0]["revoked"], true);
    refused(&place, &["token", "revoke", "404"], 1, &["404", "token list"]);
    refused(&place, &["token", "revoke", "ci"], 2, &["ci"]);
}
