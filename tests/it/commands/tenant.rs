//! `tenant`: who owns apps, who works for them, and how much they may have.

use serde_json::{Value, json};
use streamhub_tests::files::tree_changes;

use super::{Place, json_of, refused};

#[test]
fn a_tenant_is_made_listed_and_shown() {
    let place = Place::missing();
    let line = ["tenant", "create", "acme", "--name", "Acme Broadcasting", "--plan", "gold"];
    let made = json_of(&place, &line);
    assert_eq!(
        (&made["id"], &made["name"], &made["plan"]),
        (&"acme".into(), &"Acme Broadcasting".into(), &"gold".into())
    );
    let before = place.digest();
    let list = json_of(&place, &["tenant", "list"]);
    assert_eq!((&list["total"], &list["error"]), (&2.into(), &Value::Null));
    assert_eq!(list["data"][0], made);
    assert_eq!(json_of(&place, &["tenant", "show", "acme"]), made);
    let people = place.streamhub().run(["tenant", "list"]).expect(0);
    assert!(people.stdout().lines().nth(1).is_some_and(|line| line.starts_with("acme ")));
    assert!(place.streamhub().run(["tenant", "show", "acme"]).expect(0).stdout().contains("gold"));
    assert_eq!(tree_changes(&before, &place.digest()), [""; 0]);

    refused(&place, &["tenant", "create", "acme"], 6, &["acme", "tenant list"]);
    refused(&place, &["tenant", "create", "../x"], 2, &["../x"]);
    for verb in ["show", "quota", "usage"] {
        refused(&place, &["tenant", verb, "nobody"], 1, &["nobody", "tenant list"]);
    }
}

#[test]
fn quotas_are_shown_set_and_kept_to() {
    let place = Place::new();
    let _ = place.streamhub().run(["tenant", "create", "acme"]).expect(0);
    let defaults = json!({
        "maxApps": 2, "maxConcurrentStreams": 2, "maxRecordingMinutesMonth": 300, "maxEgressGbMonth": 5,
        "maxStorageGb": 5,
    });
    assert_eq!(json_of(&place, &["tenant", "quota", "acme"]), defaults);
    let set = json_of(&place, &["tenant", "quota", "acme", "--max-apps", "1", "--max-storage-gb", "-1"]);
    assert_eq!(
        (&set["maxApps"], &set["maxStorageGb"], &set["maxEgressGbMonth"]),
        (&json!(1), &json!(-1), &json!(5))
    );
    let people = place.streamhub().run(["tenant", "quota", "acme"]).expect(0);
    assert!(people.stdout().contains("no limit"), "{}", people.stdout());
    for bad in ["-2", "many"] {
        refused(&place, &["tenant", "quota", "acme", "--max-apps", bad], 2, &["--max-apps", bad]);
    }
    refused(&place, &["tenant", "quota", "nobody", "--max-apps", "1"], 1, &["nobody", "tenant list"]);

    for app in ["one", "two"] {
        let create = ["app", "create", app, "--tenant", "acme"];
        if app == "one" {
            let _ = place.streamhub().run(create).expect(0);
        } else {
            refused(&place, &create, 1, &["quota", "apps", "1 of 1"]);
        }
    }
    let _ = place.streamhub().run(["tenant", "quota", "acme", "--max-apps", "0"]).expect(0);
    let usage = json_of(&place, &["tenant", "usage", "acme"]);
    assert_eq!((&usage["tenantId"], &usage["plan"]), (&"acme".into(), &"free".into()));
    assert_eq!(usage["quotas"]["maxApps"], 0);
    let used = json!({
        "apps": 1, "concurrentStreams": 0, "recordingMinutesMonth": 0, "egressGbMonth": 0.0, "storageGb": 0.0,
    });
    assert_eq!(usage["usage"], used);
    assert_eq!((&usage["exceeded"]["apps"], &usage["exceeded"]["storageGb"]), (&true.into(), &false.into()));
    let people = place.streamhub().run(["tenant", "usage", "acme"]).expect(0);
    assert!(people.stdout().contains("1 of 0, exceeded"), "{}", people.stdout());
}

#[test]
fn members_come_and_go() {
    let place = Place::new();
    let _ = place.streamhub().run(["tenant", "create", "acme"]).expect(0);
    let anna = json_of(&place, &["user", "create", "anna@example.org"]);
    let add = ["tenant", "member", "add", "acme", "ANNA@example.org", "--role", "owner"];
    let member = json_of(&place, &add);
    assert_eq!(
        (&member["userId"], &member["tenantId"], &member["role"], &member["email"]),
        (&anna["id"], &"acme".into(), &"owner".into(), &"anna@example.org".into())
    );
    let list = json_of(&place, &["tenant", "member", "list", "acme"]);
    assert_eq!((&list["total"], &list["data"][0]), (&1.into(), &member));
    refused(&place, &add, 6, &["member", "way out:"]);
    refused(&place, &["tenant", "member", "add", "acme", "bert@example.org"], 1, &["bert@example.org"]);
    refused(
        &place,
        &["tenant", "member", "add", "nobody", "anna@example.org"],
        1,
        &["nobody", "tenant list"],
    );
    refused(&place, &["tenant", "member", "add", "acme", "a@b.c", "--role", "king"], 2, &["king", "editor"]);
    refused(&place, &["tenant", "member", "list", "nobody"], 1, &["nobody", "tenant list"]);

    let id = anna["id"].as_str().expect("a key");
    let gone = json_of(&place, &["tenant", "member", "remove", "acme", id]);
    assert_eq!(gone, json!({"removed": true, "userId": id, "tenantId": "acme"}));
    let people = place.streamhub().run(["tenant", "member", "list", "acme"]).expect(0);
    assert!(people.stdout().contains("no members"));
    refused(&place, &["tenant", "member", "remove", "acme", id], 1, &["member", "member list"]);
}
