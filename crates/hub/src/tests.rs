//! Tests of whole use cases on a hub in a directory of its own.

use std::path::PathBuf;

use serde_json::json;
use streamhub_engine::cache::AppState;

use crate::progress::Silent;
use crate::streams::{NewStream, StreamFilter};
use crate::vods::NewVod;
use crate::*;

mod app_settings;
mod idempotency;
mod jobs;
mod jobs_of_apps;
mod maintenance;
mod metering;
mod outbox;
mod pre_migrate;
mod sealing;
mod stopping;
mod streams_together;
mod stuck_app;
mod trouble;

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn config(&self, name: &str) -> HubConfig {
        let mut config = HubConfig::new(self.path(name));
        config.volatile = Volatile::Permit;
        config.wait = std::time::Duration::from_millis(300);
        config
    }

    fn path(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap().join(name)
    }

    fn hub(&self, name: &str) -> Hub {
        Hub::open(&self.config(name), &Silent).unwrap()
    }
}

fn id(name: &str) -> AppId {
    name.parse().unwrap()
}

fn created(hub: &Hub, name: &str) -> apps::App {
    hub.create(&NewApp::new(id(name), TenantId::platform())).unwrap()
}

fn stream(name: &str) -> NewStream {
    NewStream {
        app_id: 0,
        stream_id: name.to_owned(),
        kind: streams::Kind::Rtmp,
        room: None,
        participant: None,
    }
}

fn streams_of(hub: &Hub, name: &str) -> Vec<String> {
    let app = hub.app(&id(name)).unwrap();
    let listed = app.read(|tx| Ok::<_, HubError>(streams::list(tx, &StreamFilter::default())?)).unwrap();
    let mut names: Vec<_> = listed.data.into_iter().map(|stream| stream.stream_id).collect();
    names.sort();
    names
}

#[test]
fn an_app_is_made_used_and_found_again() {
    let site = Site::new();
    let hub = site.hub("a");
    let app = created(&hub, "news-24");
    assert_eq!(app.state.as_str(), "active");
    let lease = hub.app(&id("news-24")).unwrap();
    let started = lease.start_stream(stream("live/cam")).unwrap();
    assert_eq!(started.app_id, app.id);
    assert!(matches!(
        lease.start_stream(stream("live/cam")),
        Err(HubError::Store(StoreError::Exists { .. }))
    ));
    assert!(lease.end_stream("live/cam").unwrap());
    assert!(!lease.end_stream("live/cam").unwrap());
    drop(lease);
    assert!(matches!(
        hub.create(&NewApp::new(id("news-24"), TenantId::platform())).unwrap_err().kind(),
        Kind::Exists
    ));
    hub.close().unwrap();
    let seal = Seal::read(&site.path("a").join("apps/news-24")).unwrap();
    assert!(seal.is_some(), "a graceful stop seals");
    let hub = site.hub("a");
    assert_eq!(streams_of(&hub, "news-24"), ["live/cam"]);
    hub.app(&id("news-24")).unwrap().start_stream(stream("b")).unwrap();
    assert!(Seal::read(&site.path("a").join("apps/news-24")).unwrap().is_none(), "a write breaks it");
    hub.close().unwrap();
}

#[test]
fn a_deleted_app_comes_back_and_its_name_is_free_meanwhile() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    hub.app(&id("news-24")).unwrap().start_stream(stream("mine")).unwrap();
    let lease = hub.app(&id("news-24")).unwrap();
    assert!(matches!(hub.delete(&id("news-24")), Err(HubError::Busy { reason: Busy::InUse, .. })));
    drop(lease);
    hub.delete(&id("news-24")).unwrap();
    assert!(matches!(hub.app(&id("news-24")), Err(HubError::UnknownApp { .. })));
    // D11: another app under the same name sees nothing of it.
    created(&hub, "news-24");
    assert!(streams_of(&hub, "news-24").is_empty());
    assert_eq!(hub.undelete(&id("news-24")).unwrap_err().kind(), Kind::Exists);
    hub.delete(&id("news-24")).unwrap();
    hub.undelete(&id("news-24")).unwrap();
    assert!(streams_of(&hub, "news-24").is_empty(), "the one that was deleted last");
    hub.rename(&id("news-24"), &id("other-one")).unwrap();
    hub.undelete(&id("news-24")).unwrap();
    assert_eq!(streams_of(&hub, "news-24"), ["mine"]);
    assert!(streams_of(&hub, "other-one").is_empty());
    hub.close().unwrap();
}

#[test]
fn a_sealed_copy_moves_to_another_installation() {
    let site = Site::new();
    let (here, there) = (site.hub("a"), site.hub("b"));
    created(&here, "news-24");
    here.app(&id("news-24")).unwrap().start_stream(stream("live")).unwrap();
    let dir = site.path("a").join("apps/news-24");
    let refused = there.adopt(&dir, &Adoption::default()).unwrap_err();
    assert!(
        refused.to_string().contains("has it open") || matches!(refused, HubError::NotSealed { .. }),
        "{refused}"
    );
    here.seal(&id("news-24")).unwrap();
    let adopted = there.adopt(&dir, &Adoption::default()).unwrap();
    assert!(adopted.sealed);
    assert_eq!(streams_of(&there, "news-24"), ["live"]);
    for hub in [&there, &here] {
        let refused = hub.adopt(&dir, &Adoption::default()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Exists, "{refused:?}");
    }
    here.close().unwrap();
    there.close().unwrap();
}

/// A sealed app called `news-24` of a tenant of its own, in the apps of another installation that is open.
fn appeared(site: &Site, config: &HubConfig) -> PathBuf {
    let acme: TenantId = "acme".parse().unwrap();
    let elsewhere = site.hub("elsewhere");
    elsewhere.create_tenant(&acme, &TenantChange::default()).unwrap();
    elsewhere.create(&NewApp::new(id("news-24"), acme)).unwrap();
    elsewhere.app(&id("news-24")).unwrap().start_stream(stream("live")).unwrap();
    elsewhere.close().unwrap();
    Hub::open(config, &Silent).unwrap().close().unwrap();
    let place = config.data_dir.join("apps/news-24");
    streamhub_engine::durable::copy_dir(&site.path("elsewhere/apps/news-24"), &place).unwrap();
    place
}

#[test]
fn a_directory_among_the_apps_is_adopted_where_it_lies() {
    let site = Site::new();
    let config = site.config("a");
    let place = appeared(&site, &config);
    let hub = Hub::open(&config, &Silent).unwrap();
    let stranger: TenantId = "nobody".parse().unwrap();
    let adoption = Adoption { tenant: Some(stranger), ..Adoption::default() };
    assert_eq!(hub.adopt(&place, &adoption).unwrap_err().kind(), Kind::NotFound);
    assert!(Seal::read(&place).unwrap().is_some(), "what is refused is left as it was");

    let adoption = Adoption { tenant: Some(TenantId::platform()), ..Adoption::default() };
    let adopted = hub.adopt(&place, &adoption).unwrap();
    assert_eq!((&*adopted.app.tenant_id, adopted.tenant_created, adopted.sealed), ("platform", false, true));
    assert_eq!(streams_of(&hub, "news-24"), ["live"]);
    let lease = hub.app(&id("news-24")).unwrap();
    assert_eq!(lease.read(|tx| Ok::<_, HubError>(streams::count_active(tx)?)).unwrap(), 0);
    // Nobody who uses it is disturbed, and no seal is asked for.
    lease.start_stream(stream("more")).unwrap();
    let refused = hub.adopt(&place, &Adoption::default()).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.to_string()),
        (Kind::Exists, "there is already an app news-24".into())
    );
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn under_another_name_than_its_own_nothing_is_adopted_among_the_apps() {
    let site = Site::new();
    let config = site.config("a");
    let place = appeared(&site, &config);
    let other = place.with_file_name("other-one");
    streamhub_engine::durable::rename_new(&place, &other).unwrap();
    let hub = Hub::open(&config, &Silent).unwrap();
    let refused = hub.adopt(&other, &Adoption::default()).unwrap_err().to_string();
    assert!(refused.contains("other-one") && refused.contains("\"news-24\""), "{refused}");
    assert!(hub.apps().unwrap().is_empty() && Seal::read(&other).unwrap().is_some());
    streamhub_engine::durable::rename_new(&other, &place).unwrap();
    assert!(hub.adopt(&place, &Adoption::default()).unwrap().tenant_created);
    hub.close().unwrap();
}

#[test]
fn by_policy_only_a_known_tenants_directory_is_adopted() {
    let site = Site::new();
    let mut config = site.config("a");
    config.appearing = Appearing::AdoptSealed;
    appeared(&site, &config);
    let hub = Hub::open(&config, &Silent).unwrap();
    hub.look_around().unwrap();
    assert!(hub.apps().unwrap().is_empty(), "its tenant is not known");
    hub.create_tenant(&"acme".parse().unwrap(), &TenantChange::default()).unwrap();
    hub.look_around().unwrap();
    assert_eq!(hub.registered("news-24").unwrap().tenant_id, "acme");
    assert_eq!(streams_of(&hub, "news-24"), ["live"]);
    hub.close().unwrap();
}

#[test]
fn an_adoption_in_place_that_was_broken_off_is_finished_for_the_tenant_that_was_named() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    hub.create_tenant(&"acme".parse().unwrap(), &TenantChange::default()).unwrap();
    // As it is between the registration for another tenant and what the database says of itself.
    hub.write(|db| db.execute("UPDATE apps SET state = 'creating', tenant_id = 'acme'", [])).unwrap();
    hub.close().unwrap();
    let hub = site.hub("a");
    assert_eq!(hub.registered("news-24").unwrap().state.as_str(), "active");
    assert!(streams_of(&hub, "news-24").is_empty(), "it opens");
    hub.close().unwrap();
}

#[test]
fn the_trash_is_listed_until_it_is_emptied() {
    let site = Site::new();
    let mut config = site.config("a");
    let hub = Hub::open(&config, &Silent).unwrap();
    created(&hub, "news-24");
    hub.delete(&id("news-24")).unwrap();
    hub.prune().unwrap();
    let deleted = hub.deleted_apps().unwrap();
    let [app] = &deleted[..] else { panic!("{deleted:?}") };
    assert_eq!((&*app.name, &*app.tenant_id), ("news-24", "platform"));
    assert!(app.purged_after.as_ref().is_some_and(|end| *end > app.deleted_at), "{app:?}");
    hub.close().unwrap();
    assert_eq!(look::Look::at(&config).unwrap().deleted_apps().unwrap(), deleted);

    config.keep.trash = std::time::Duration::MAX;
    let hub = Hub::open(&config, &Silent).unwrap();
    hub.prune().unwrap();
    assert_eq!(hub.deleted_apps().unwrap()[0].purged_after, None);
    hub.close().unwrap();

    config.keep.trash = std::time::Duration::ZERO;
    let hub = Hub::open(&config, &Silent).unwrap();
    assert_eq!(hub.deleted_apps().unwrap()[0].purged_after.as_ref(), Some(&app.deleted_at));
    hub.prune().unwrap();
    assert!(hub.deleted_apps().unwrap().is_empty());
    assert!(!site.path("a").join("apps/.trash").join(&app.trash_name).exists());
    hub.close().unwrap();
}

#[test]
fn what_a_process_left_behind_is_settled_at_the_next_start() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    lease.start_stream(stream("live")).unwrap();
    let file = site.path("a").join("apps/news-24/recordings");
    streamhub_engine::durable::create_new_dir(&file).unwrap();
    streamhub_engine::durable::write_new_in(&file, "x.mp4", b"film").unwrap();
    let local_path = Some("recordings/x.mp4".to_owned());
    let vod = lease.create_vod(NewVod { app_id: 999, local_path, ..NewVod::named("x") }).unwrap();
    assert_eq!(vod.app_id, lease.registered().id, "whose it is says the lease");
    lease.delete_vod(vod.id).unwrap();
    drop(lease);
    let quota = |hub: &Hub| {
        hub.read(|db| streamhub_control::attention::streams_of(db, &TenantId::platform())).unwrap()
    };
    assert_eq!(quota(&hub), 1);
    hub.close().unwrap();
    let hub = site.hub("a");
    // Upkeep works in the background.
    while quota(&hub) > 0 || file.join("x.mp4").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let lease = hub.app(&id("news-24")).unwrap();
    let row = lease.read(|tx| Ok::<_, HubError>(streams::by_id(tx, "live")?)).unwrap().unwrap();
    assert_eq!(row.status, streams::Status::Ended);
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn what_this_process_has_under_way_is_not_settled_as_left_behind() {
    let site = Site::new();
    let mut config = site.config("a");
    config.limits.wait = std::time::Duration::from_millis(100);
    let hub = Hub::open(&config, &Silent).unwrap();
    let app = created(&hub, "news-24").id;
    hub.app(&id("news-24")).unwrap().start_stream(stream("live")).unwrap();
    // Reserved, and its row is about to be written.
    let lease = hub.app(&id("news-24")).unwrap();
    let turn = lease.open().turns.take("soon").unwrap();
    hub.write(move |db| {
        streamhub_control::attention::reserve_stream(db, app, "soon", quotas::Enforcement::On)
    })
    .unwrap()
    .unwrap();
    let asked = |hub: &Hub| {
        let rows = hub.read(move |db| streamhub_control::attention::of_app(db, app)).unwrap();
        rows.into_iter().map(|row| row.kind).collect::<Vec<_>>()
    };
    assert_eq!(asked(&hub), ["outbox", "stream", "stream"]);
    assert_eq!(hub.attend().unwrap().len(), 1, "it is tried again");
    assert_eq!(asked(&hub), ["outbox", "stream", "stream"]);
    drop(turn);
    assert!(hub.attend().unwrap().is_empty());
    assert_eq!(asked(&hub), ["outbox", "stream"], "nobody came to write the row");
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn an_app_whose_directory_is_gone_is_an_error_and_never_made_again() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    created(&hub, "other-one");
    hub.close().unwrap();
    let apps = site.path("a").join("apps");
    streamhub_engine::durable::rename_new(&apps.join("news-24"), &site.path("away")).unwrap();
    let hub = site.hub("a");
    let error = hub.app(&id("news-24")).unwrap_err();
    assert!(
        matches!(&error, HubError::OutOfService { reason, .. } if matches!(**reason, HubError::NoAppDir { .. }))
    );
    assert!(matches!(hub.app_state(&id("news-24")), AppState::Quarantined { .. }));
    assert!(streams_of(&hub, "other-one").is_empty(), "the other serves");
    assert!(!apps.join("news-24").exists());
    // Another app's database in its place is refused too.
    streamhub_engine::durable::copy_dir(&apps.join("other-one"), &apps.join("news-24")).unwrap_or(());
    hub.close().unwrap();
    let hub = site.hub("a");
    let error = hub.app(&id("news-24")).unwrap_err().to_string();
    assert!(error.contains("uuid"), "{error}");
    hub.close().unwrap();
}

#[test]
fn health_and_optimisation() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    hub.app(&id("news-24")).unwrap().start_stream(stream("live")).unwrap();
    let health = hub.health(&id("news-24")).unwrap();
    let table = health.tables.iter().find(|table| table.name == "streams").unwrap();
    assert_eq!(table.rows, 1);
    assert!(table.bytes >= 4096);
    let optimized = hub.optimize(&id("news-24"), &Silent).unwrap();
    assert_eq!(optimized.steps.len(), 5);
    assert_eq!(optimized.after.wal_size_bytes, 0);
    assert_eq!(streams_of(&hub, "news-24"), ["live"]);
    hub.patch_app_config(&id("news-24"), &json!({"durability": "normal", "x": 1})).unwrap();
    assert_eq!(hub.app_config(&id("news-24")).unwrap().masked()["x"], 1);
    hub.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn async_callers() {
    let site = Site::new();
    let config = site.config("a");
    let hub = tokio::task::spawn_blocking(move || Hub::open(&config, &Silent).unwrap()).await.unwrap();
    hub.create_async(&NewApp::new(id("news-24"), TenantId::platform())).await.unwrap();
    let app = hub.app_async(&id("news-24")).await.unwrap();
    let number = app.registered().id;
    let mut writes = tokio::task::JoinSet::new();
    for at in 0..64 {
        let app = app.clone();
        writes.spawn(async move {
            app.write_async(move |tx| {
                let new = NewStream { app_id: number, ..stream(&format!("s{at}")) };
                Ok::<_, HubError>(streams::start(tx, &new)?)
            })
            .await
        });
    }
    while let Some(written) = writes.join_next().await {
        written.unwrap().unwrap();
    }
    let count = |tx: &ReadTx<'_>| Ok::<_, HubError>(streams::count_active(tx)?);
    assert_eq!(app.peek(count).await.unwrap(), 64);
    assert_eq!(app.read_async(count).await.unwrap(), 64);
    assert_eq!(app.reconcile_streams_async(vec!["s1".to_owned()]).await.unwrap().len(), 63);
    let vod = app.create_vod_async(NewVod::named("x"));
    let vod = vod.await.unwrap();
    assert_eq!(app.delete_vod_async(vod.id).await.unwrap(), vod);
    assert_eq!(app.delete_vod_async(vod.id).await.unwrap_err().kind(), Kind::NotFound);

    // While somebody has a lease, whoever needs the app alone waits, and not on the runtime's threads.
    assert_eq!(hub.seal_async(&id("news-24")).await.unwrap_err().kind(), Kind::Unavailable);
    let sealing = tokio::spawn({
        let hub = hub.clone();
        async move { hub.seal_async(&id("news-24")).await }
    });
    drop(app);
    assert_eq!(sealing.await.unwrap().unwrap().generation, 0);
    let there = Hub::open(&site.config("b"), &Silent).unwrap();
    let adopted = there.adopt_async(&site.path("a/apps/news-24"), &Adoption::default()).await.unwrap();
    assert_eq!(adopted.app.name, "news-24");
    assert_eq!(hub.rename_async(&id("news-24"), &id("other-one")).await.unwrap().name, "other-one");
    assert_eq!(hub.health_async(&id("other-one")).await.unwrap().path, "apps/other-one/app.db");
    assert_eq!(hub.optimize_async(&id("other-one"), Silent).await.unwrap().steps.len(), 5);
    hub.delete_async(&id("other-one")).await.unwrap();
    assert!(hub.apps().unwrap().is_empty());
    assert_eq!(hub.undelete_async(&id("other-one")).await.unwrap().name, "other-one");
    tokio::task::spawn_blocking(move || there.close().unwrap()).await.unwrap();
    tokio::task::spawn_blocking(move || hub.close().unwrap()).await.unwrap();
}

#[test]
fn an_encoder_that_comes_back_after_a_restart_need_not_wait() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    hub.app(&id("news-24")).unwrap().start_stream(stream("live")).unwrap();
    hub.close().unwrap();
    let hub = site.hub("a");
    let lease = hub.app(&id("news-24")).unwrap();
    lease.start_stream(stream("live")).unwrap();
    assert!(matches!(lease.start_stream(stream("live")), Err(HubError::Store(StoreError::Exists { .. }))));
    // Whatever upkeep finds meanwhile, the reservation is this process's own.
    hub.attend().unwrap();
    let reserved =
        hub.read(|db| streamhub_control::attention::streams_of(db, &TenantId::platform())).unwrap();
    assert_eq!(reserved, 1);
    drop(lease);
    hub.close().unwrap();
}
