//! What an app's outbox has to tell is told before the app is out of reach, and told once.
#![allow(clippy::disallowed_methods, reason = "the tests put files in place")]

use std::fs;

use streamhub_appstore::outbox::{self, Entry};
use streamhub_control::audit;

use super::*;
use crate::usage::Metered;

/// Work of its own accord would be in the way.
fn quiet(site: &Site, name: &str) -> Hub {
    Hub::open(&HubConfig { upkeep: false, ..site.config(name) }, &Silent).unwrap()
}

/// What was done, the first first.
fn told(hub: &Hub) -> Vec<String> {
    let filter = audit::Filter { tenant: None, since: None, until: None, cursor: None, limit: 99 };
    let entries = hub.registry().audit(&filter).unwrap().entries;
    entries.into_iter().rev().map(|told| told.entry.action).collect()
}

fn sent(hub: &Hub) -> u64 {
    let history = hub.registry().usage_history(&TenantId::platform()).unwrap();
    let egress = |reading: &&usage::Reading| reading.metric == Metered::EgressBytes;
    history.iter().filter(egress).map(|reading| reading.amount).sum()
}

/// Has an app's outbox tell of a recording, and of what was sent.
fn used(hub: &Hub, name: &str) {
    let app = hub.acting(Actor::new("user:ana")).app(&id(name)).unwrap();
    app.create_vod(NewVod::named("a.mp4")).unwrap();
    app.meter_egress(7).unwrap();
}

fn pending(hub: &Hub, name: &str) -> usize {
    let app = hub.app(&id(name)).unwrap();
    app.read(|tx| Ok::<_, HubError>(outbox::peek(tx, 0, 99)?)).unwrap().len()
}

#[test]
fn a_deletion_tells_first_what_was_done() {
    let site = Site::new();
    let hub = quiet(&site, "a");
    created(&hub, "news-24");
    used(&hub, "news-24");
    assert_eq!((told(&hub).len(), sent(&hub)), (0, 0));
    hub.acting(Actor::new("user:ana")).delete(&id("news-24")).unwrap();
    let mut actions = told(&hub);
    actions.sort();
    assert_eq!(
        (actions, sent(&hub)),
        (["app.delete", "usage.meter", "vod.create"].map(String::from).to_vec(), 7)
    );

    hub.undelete(&id("news-24")).unwrap();
    assert_eq!(pending(&hub, "news-24"), 0);
    assert_eq!((told(&hub).len(), sent(&hub)), (3, 7));
    hub.close().unwrap();
}

#[test]
fn what_is_sealed_has_nothing_left_to_tell() {
    let site = Site::new();
    let hub = quiet(&site, "a");
    for name in ["sealed-1", "stopped-1"] {
        created(&hub, name);
        used(&hub, name);
    }
    hub.seal(&id("sealed-1")).unwrap();
    assert_eq!((told(&hub).len(), sent(&hub)), (2, 7));
    hub.close().unwrap();

    let hub = quiet(&site, "a");
    assert_eq!((told(&hub).len(), sent(&hub)), (4, 14));
    assert_eq!((pending(&hub, "sealed-1"), pending(&hub, "stopped-1")), (0, 0));
    assert!(Seal::read(&site.path("a/apps/stopped-1")).unwrap().is_some());
    hub.close().unwrap();
}

#[test]
fn what_was_done_elsewhere_is_not_told_where_a_copy_is_adopted() {
    let site = Site::new();
    let (here, there) = (quiet(&site, "a"), quiet(&site, "b"));
    created(&here, "news-24");
    used(&here, "news-24");
    let file = Entry::DeleteFile { path: "recordings/gone.mp4".to_owned() };
    let app = here.app(&id("news-24")).unwrap();
    app.write(move |tx| outbox::push(tx, &file).map_err(HubError::from)).unwrap();
    drop(app);
    here.close().unwrap();
    // As a copy of what a process left that was killed, or that somebody has changed.
    let copy = site.path("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(site.path("a/apps/news-24/app.db"), copy.join("app.db")).unwrap();
    let db = streamhub_engine::Database::write(&copy.join("app.db")).unwrap();
    let tx = &mut WriteTx::within(&db);
    let forged = Entry::Audit {
        at: "2026-01-01".parse().unwrap(),
        principal: "user:root".to_owned(),
        address: None,
        action: "token.create".to_owned(),
        target: None,
        outcome: "ok".to_owned(),
        detail: None,
        asked: Some(json!({ "principal": "user:victim", "key": "k", "request": "r" })),
    };
    let meter =
        Entry::Meter { metric: "egress_bytes".to_owned(), month: "2026-11".to_owned(), amount: 1 << 50 };
    for entry in [forged, meter, Entry::DeleteFile { path: "recordings/old.mp4".to_owned() }] {
        outbox::push(tx, &entry).unwrap();
    }
    db.checkpoint().unwrap();
    db.close().unwrap();

    let adoption = Adoption { proof: Proof::Word, ..Adoption::default() };
    there.acting(Actor::new("user:ben")).adopt(&copy, &adoption).unwrap();
    // The file is deleted, and nothing is told.
    assert_eq!(pending(&there, "news-24"), 1);
    there.close().unwrap();
    let there = quiet(&site, "b");
    assert_eq!((told(&there), sent(&there)), (vec!["app.adopt".to_owned()], 0));
    there.close().unwrap();
}
