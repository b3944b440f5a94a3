//! Copies from before a migration: how many there are, and when they go.

use std::time::Duration;

use streamhub_appstore::Identity;
use streamhub_appstore::schema::SCHEMA;
use streamhub_engine::{Database, Uuid, durable};

use super::*;

fn copies(hub: &Hub) -> Vec<String> {
    durable::names_in(&hub.data().pre_migrate()).unwrap()
}

/// Puts a copy there as a migration from `version` would have.
fn put(hub: &Hub, app: &str, uuid: &Uuid, version: u32) {
    put_older(hub, &format!("{app}-{uuid}-{version}"));
}

/// As a take-over would have.
fn put_older(hub: &Hub, app: &str) {
    durable::create_dir_all(&hub.data().pre_migrate()).unwrap();
    durable::write(&hub.data().pre_migrate().join(format!("{app}-2026-11-21T03-54-52-423Z.db")), b"a copy")
        .unwrap();
}

#[test]
fn a_migration_that_is_tried_again_leaves_one_copy_of_each_version() {
    let site = Site::new();
    let hub = site.hub("a");
    let uuids = ["news-24", "other-one"].map(|name| created(&hub, name).uuid().unwrap().unwrap());
    put(&hub, "former-name", &uuids[0], 100);
    put(&hub, "news-24", &uuids[0], 99);
    put(&hub, "other-one", &uuids[1], 100);
    let place = hub.data().app(&id("news-24"));
    for at in 0..3 {
        // What an older program wrote between two attempts is in the copy too.
        hub.app(&id("news-24")).unwrap().start_stream(stream(&at.to_string())).unwrap();
        let alone = hub.alone(&id("news-24")).unwrap();
        let found = Identity::read(&Database::inspect(&place.db()).unwrap()).unwrap();
        crate::pre_migrate::copy(hub.data(), &place, &found, 100).unwrap();
        drop(alone);
        let of_this: Vec<_> =
            copies(&hub).into_iter().filter(|name| name.contains(&format!("{}-100-", uuids[0]))).collect();
        let [copy] = &of_this[..] else { panic!("{of_this:?}") };
        let copy = Database::inspect(&hub.data().pre_migrate().join(copy)).unwrap();
        let streams: i64 = copy.query_row("SELECT count(*) FROM streams", [], |row| row.get(0)).unwrap();
        assert_eq!(streams, at + 1);
    }
    assert_eq!(copies(&hub).len(), 3, "those of other versions and databases stay");
    hub.close().unwrap();
}

#[test]
fn a_copy_goes_once_its_app_serves_with_a_newer_schema() {
    let site = Site::new();
    let mut config = site.config("a");
    config.keep.pre_migrate = Duration::ZERO;
    let hub = Hub::open(&config, &Silent).unwrap();
    let uuids = ["served", "broken", "latest", "in-trash"].map(|name| {
        let uuid = created(&hub, name).uuid().unwrap().unwrap();
        (name, uuid)
    });
    for (name, uuid) in &uuids {
        put(&hub, name, uuid, if *name == "latest" { SCHEMA.latest() } else { 99 });
    }
    put(&hub, "former-name", &uuids[0].1, 99);
    put(&hub, "forgotten", &Uuid::random(), 99);
    for name in ["served", "broken", "forgotten"] {
        put_older(&hub, name);
    }
    hub.delete(&id("in-trash")).unwrap();
    hub.close().unwrap();
    let damaged = site.path("a/apps/broken/app.db");
    let whole = durable::read_capped(&damaged, u64::MAX - 1).unwrap();
    durable::write(&damaged, b"damaged").unwrap();

    let hub = Hub::open(&config, &Silent).unwrap();
    // Not a file, so that it cannot be removed.
    durable::create_dir(&hub.data().pre_migrate().join("a-directory")).unwrap();
    hub.prune().unwrap();
    let left = |hub: &Hub| -> Vec<String> {
        copies(hub).iter().map(|name| name.split('-').next().unwrap().to_owned()).collect()
    };
    assert_eq!(left(&hub), ["a", "broken", "broken", "in", "latest"]);
    hub.close().unwrap();

    durable::write(&damaged, &whole).unwrap();
    config.keep.pre_migrate = Duration::from_hours(1);
    let hub = Hub::open(&config, &Silent).unwrap();
    hub.prune().unwrap();
    assert_eq!(left(&hub), ["a", "broken", "broken", "in", "latest"], "it is not old enough");
    hub.close().unwrap();
    config.keep.pre_migrate = Duration::ZERO;
    let hub = Hub::open(&config, &Silent).unwrap();
    hub.prune().unwrap();
    assert_eq!(left(&hub), ["a", "in", "latest"], "it is mended and serves");
    hub.close().unwrap();
}
