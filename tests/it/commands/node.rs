//! `node`: the machines of a cluster.

use serde_json::{Value, json};

use super::{Place, json_of, refused};

#[test]
fn a_node_from_its_making_to_its_end() {
    let place = Place::missing();
    let create = ["node", "create", "edge-1", "--address", "https://edge-1.example.org", "--region", "eu"];
    let made = json_of(&place, &create);
    for (key, value) in [
        ("name", json!("edge-1")),
        ("url", json!("https://edge-1.example.org")),
        ("region", json!("eu")),
        ("status", json!("active")),
        ("lastSeenAt", Value::Null),
        ("stats", Value::Null),
        ("stale", json!(true)),
    ] {
        assert_eq!(made[key], value, "{key} of {made}");
    }
    refused(&place, &create, 6, &["edge-1", "node list"]);
    assert_eq!(json_of(&place, &["node", "status", "edge-1", "draining"])["status"], "draining");
    let id = made["id"].as_str().expect("a key");
    assert_eq!(json_of(&place, &["node", "status", id, "disabled"])["status"], "disabled");
    let list = json_of(&place, &["node", "list"]);
    assert_eq!((&list["total"], &list["data"][0]["status"]), (&1.into(), &"disabled".into()));
    assert!(place.streamhub().run(["node", "list"]).expect(0).stdout().contains("edge-1"));

    refused(&place, &["node", "status", "edge-1", "asleep"], 2, &["asleep", "draining"]);
    for line in [&["node", "status", "nobody", "active"][..], &["node", "delete", "nobody"]] {
        refused(&place, line, 1, &["nobody", "node list"]);
    }
    let gone = json_of(&place, &["node", "delete", "edge-1"]);
    assert_eq!(gone, json!({"deleted": true, "id": id, "name": "edge-1"}));
    assert!(place.streamhub().run(["node", "list"]).expect(0).stdout().contains("no nodes"));
}
