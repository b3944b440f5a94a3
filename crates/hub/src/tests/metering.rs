//! Tests of what is metered and measured, and of what a quota that is used up refuses.
#![allow(clippy::disallowed_methods, reason = "the tests put files in place")]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use proptest::prelude::*;
use streamhub_appstore::outbox::{self, Entry};
use streamhub_control::usage::set_storage;

use super::*;
use crate::StoreError;
use crate::quotas::{Enforcement, Limit, Metric, QuotaChange};
use crate::stored::measure;
use crate::usage::{Metered, Month};
use crate::vods::{LONGEST, Status, VodPatch};

/// Work of its own accord would be in the way.
fn quiet(site: &Site, name: &str) -> HubConfig {
    HubConfig { upkeep: false, ..site.config(name) }
}

fn opened(config: &HubConfig) -> Hub {
    Hub::open(config, &Silent).unwrap()
}

fn metered(hub: &Hub, tenant: &TenantId) -> HashMap<Metered, u64> {
    let history = hub.registry().usage_history(tenant).unwrap();
    history.into_iter().map(|reading| (reading.metric, reading.amount)).collect()
}

fn limit(hub: &Hub, change: &QuotaChange) {
    hub.change_tenant(&TenantId::platform(), &TenantChange::default(), change).unwrap();
}

fn lasting(seconds: f64) -> VodPatch {
    VodPatch { duration_s: Change::Set(seconds), ..VodPatch::default() }
}

#[derive(Clone, Debug)]
enum Event {
    Egress(u64),
    Recording(u32),
    /// A commit that is not followed: it is rolled back.
    Failed(u64),
    /// Some of the outbox is shipped, from the end, and the process ends before that is removed from it.
    ShippedAndLost(usize),
    Shipped,
    Restarted,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..9_000_u64).prop_map(Event::Egress),
        4 => (0..900_u32).prop_map(Event::Recording),
        1 => (1..9_000_u64).prop_map(Event::Failed),
        3 => (0..6_usize).prop_map(Event::ShippedAndLost),
        2 => Just(Event::Shipped),
        1 => Just(Event::Restarted),
    ];
    prop::collection::vec(event, 0..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_piece_counts_once_in_any_order_twice_and_over_restarts(events in events()) {
        let site = Site::new();
        let config = quiet(&site, "a");
        let mut hub = opened(&config);
        created(&hub, "news-24");
        let (mut egress, mut recorded) = (0, 0);
        for event in events {
            let lease = hub.app(&id("news-24")).unwrap();
            match event {
                Event::Egress(bytes) => {
                    lease.meter_egress(bytes).unwrap();
                    egress += bytes;
                }
                Event::Recording(seconds) => {
                    let new = NewVod { duration_s: Some(seconds.into()), ..NewVod::named("a.mp4") };
                    lease.create_vod(new).unwrap();
                    recorded += u64::from(seconds);
                }
                Event::Failed(amount) => {
                    let failed = lease.write(move |tx| {
                        let (metric, month) = ("egress_bytes".to_owned(), "2026-11".to_owned());
                        outbox::push(tx, &Entry::Meter { metric, month, amount })?;
                        Err::<(), _>(HubError::Cancelled)
                    });
                    prop_assert!(failed.is_err());
                }
                Event::ShippedAndLost(some) => {
                    let mut pending = lease.read(|tx| Ok::<_, HubError>(outbox::peek(tx, 0, 100)?)).unwrap();
                    pending.reverse();
                    pending.truncate(some);
                    let many = pending.len();
                    let carried_out =
                        hub.carry_out(lease.id(), lease.registered(), pending, |_| Ok(false));
                    prop_assert_eq!(carried_out.done.len(), many);
                }
                Event::Shipped => hub.ship_from(&lease).unwrap(),
                Event::Restarted => {
                    drop(lease);
                    // Not closed, as after a crash.
                    drop(hub);
                    hub = opened(&config);
                }
            }
        }
        hub.ship_from(&hub.app(&id("news-24")).unwrap()).unwrap();
        let all = metered(&hub, &TenantId::platform());
        prop_assert_eq!(all.get(&Metered::EgressBytes).copied().unwrap_or(0), egress);
        prop_assert_eq!(all.get(&Metered::RecordingSeconds).copied().unwrap_or(0), recorded);
    }
}

#[test]
fn a_recording_is_metered_as_it_becomes_longer() {
    let site = Site::new();
    let hub = opened(&quiet(&site, "a"));
    created(&hub, "news-24");
    let acting = hub.acting(Actor::new("token:1"));
    for (hub, sum) in [(&hub, 100), (&acting, 200)] {
        let lease = hub.app(&id("news-24")).unwrap();
        let vod = lease.create_vod(NewVod::named("a.mp4")).unwrap();
        for seconds in [59.9, 59.2, 90.0, 50.0] {
            lease.update_vod(vod.id, lasting(seconds)).unwrap();
        }
        // What was given up is recorded again: 59, 31, 10.
        lease.update_vod(vod.id, lasting(60.5)).unwrap();
        lease.update_vod(vod.id, VodPatch { name: Some("b.mp4".to_owned()), ..VodPatch::default() }).unwrap();
        assert_eq!(lease.update_vod(404, lasting(1e6)).unwrap_err().kind(), Kind::NotFound);
        // What is longer than a recording can be, and a row that the hub does not write.
        let endless = lease.create_vod(NewVod { duration_s: Some(1e300), ..NewVod::named("x.mp4") });
        assert_eq!(endless.unwrap_err().kind(), Kind::Invalid);
        assert_eq!(lease.update_vod(vod.id, lasting(2_678_401.0)).unwrap_err().kind(), Kind::Invalid);
        let raw = NewVod { app_id: 1, duration_s: Some(1e6), ..NewVod::named("c.mp4") };
        lease.write(move |tx| Ok::<_, HubError>(vods::create(tx, &raw)?)).unwrap();
        hub.ship_from(&lease).unwrap();
        assert_eq!(metered(hub, &TenantId::platform()), HashMap::from([(Metered::RecordingSeconds, sum)]));
    }
    let usage = hub.registry().usage(&TenantId::platform()).unwrap().usage;
    assert_eq!(usage.recording_minutes_month, 4, "200 seconds are three minutes and a part");
}

#[test]
fn no_recording_counts_for_more_than_it_can_last() {
    let site = Site::new();
    let hub = opened(&quiet(&site, "a"));
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    let vod = lease.create_vod(NewVod::named("a.mp4")).unwrap();
    // As an older program may have left it.
    let endless = format!("UPDATE vods SET duration_s = 1e18 WHERE id = {}", vod.id);
    lease.write(move |tx| Ok::<_, HubError>(tx.execute(&endless, []).map_err(StoreError::from)?)).unwrap();
    let renamed = VodPatch { name: Some("b.mp4".to_owned()), ..VodPatch::default() };
    assert_eq!(lease.update_vod(vod.id, renamed).unwrap().duration_s, Some(1e18));
    lease.update_vod(vod.id, lasting(5.0)).unwrap();
    lease.update_vod(vod.id, lasting(LONGEST.as_secs_f64())).unwrap();
    hub.ship_from(&lease).unwrap();
    let recorded = HashMap::from([(Metered::RecordingSeconds, LONGEST.as_secs() - 5)]);
    assert_eq!(metered(&hub, &TenantId::platform()), recorded);
}

#[test]
fn what_is_metered_and_not_known_here_stays_in_the_outbox() {
    let site = Site::new();
    let hub = opened(&quiet(&site, "a"));
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    let later = [("transcoded_frames", "2026-11"), ("egress_bytes", "autumn")];
    lease
        .write(move |tx| {
            for (metric, month) in later {
                let (metric, month) = (metric.to_owned(), month.to_owned());
                outbox::push(tx, &Entry::Meter { metric, month, amount: 1 })?;
            }
            Ok::<_, HubError>(())
        })
        .unwrap();
    lease.meter_egress(7).unwrap();
    hub.ship_from(&lease).unwrap();
    assert_eq!(metered(&hub, &TenantId::platform()), HashMap::from([(Metered::EgressBytes, 7)]));
    assert_eq!(lease.read(|tx| Ok::<_, HubError>(outbox::peek(tx, 0, 9)?)).unwrap().len(), 2);
}

#[test]
fn a_recording_begins_within_the_quotas_and_one_that_is_there_is_taken() {
    let none = Some(Limit::try_from(0).unwrap());
    let minutes = QuotaChange { max_recording_minutes_month: none, ..QuotaChange::default() };
    let storage = QuotaChange { max_storage_gb: none, ..QuotaChange::default() };
    for (change, metric) in [(minutes, Metric::RecordingMinutesMonth), (storage, Metric::StorageGb)] {
        for quotas in [Enforcement::On, Enforcement::Log, Enforcement::Off] {
            let site = Site::new();
            let hub = opened(&HubConfig { quotas, ..quiet(&site, "a") });
            created(&hub, "news-24");
            let lease = hub.app(&id("news-24")).unwrap();
            let under_way = lease.create_vod(NewVod::named("a.mp4")).unwrap();
            limit(&hub, &change);

            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let begun = [
                lease.create_vod(NewVod::named("b.mp4")),
                runtime.block_on(lease.create_vod_async(NewVod::named("c.mp4"))),
            ];
            for begun in begun {
                match (quotas, begun) {
                    (Enforcement::On, Err(HubError::Quota(exceeded))) => assert_eq!(exceeded.metric, metric),
                    (Enforcement::On, other) => panic!("{other:?}"),
                    (_, begun) => drop(begun.unwrap()),
                }
            }
            assert_eq!(hub.admit(&TenantId::platform(), metric).is_err(), quotas == Enforcement::On);
            hub.admit(&TenantId::platform(), Metric::EgressGbMonth).unwrap();
            lease.update_vod(under_way.id, lasting(60.0)).unwrap();
            lease.create_vod(NewVod { status: Status::Ready, ..NewVod::named("d.mp4") }).unwrap();
        }
    }
}

#[test]
fn enforcement_is_for_apps_and_streams_too() {
    let none = Some(Limit::try_from(0).unwrap());
    for (quotas, refused) in [(Enforcement::On, true), (Enforcement::Log, false), (Enforcement::Off, false)] {
        let site = Site::new();
        let hub = opened(&HubConfig { quotas, ..quiet(&site, "a") });
        for name in ["news-24", "moved-1", "deleted-1"] {
            created(&hub, name);
        }
        hub.seal(&id("moved-1")).unwrap();
        fs::rename(site.path("a").join("apps/moved-1"), site.path("moved-1")).unwrap();
        hub.forget_lost(&id("moved-1")).unwrap();
        hub.delete(&id("deleted-1")).unwrap();
        limit(&hub, &QuotaChange { max_apps: none, max_concurrent_streams: none, ..QuotaChange::default() });

        let new = NewApp::new(id("radio-1"), TenantId::platform());
        let answers = [
            hub.create(&new).map(drop),
            hub.undelete(&id("deleted-1")).map(drop),
            hub.adopt(&site.path("moved-1"), &Adoption::default()).map(drop),
            hub.app(&id("news-24")).unwrap().start_stream(stream("live/cam")).map(drop),
        ];
        for answer in answers {
            assert_eq!(
                answer.as_ref().err().map(HubError::kind),
                refused.then_some(Kind::Quota),
                "{answer:?}"
            );
        }
    }
}

#[test]
fn what_is_stored_is_measured_by_tenant() {
    let site = Site::new();
    let hub = opened(&HubConfig { quotas: Enforcement::Off, ..quiet(&site, "a") });
    let [acme, zeta] = ["acme", "zeta"].map(|key| key.parse::<TenantId>().unwrap());
    for tenant in [&acme, &zeta] {
        hub.create_tenant(tenant, &TenantChange::default()).unwrap();
    }
    for (name, tenant) in [("one-1", &acme), ("two-2", &acme), ("zeta-1", &zeta), ("gone-1", &acme)] {
        hub.create(&NewApp::new(id(name), tenant.clone())).unwrap();
    }
    hub.delete(&id("gone-1")).unwrap();
    let apps = site.path("a").join("apps");
    for (path, bytes) in [("one-1/recordings", 1_000_000), ("two-2/hls", 20_000_000), ("zeta-1/samples", 7)] {
        fs::create_dir_all(apps.join(path)).unwrap();
        fs::write(apps.join(path).join("a.mp4"), vec![0; bytes]).unwrap();
    }
    symlink("../../zeta-1/samples/a.mp4", apps.join("one-1/recordings/b.mp4")).unwrap();
    // Its `-wal` counts as well.
    hub.app(&id("one-1")).unwrap().start_stream(stream("live/cam")).unwrap();

    let databases: u64 = hub
        .sizes()
        .unwrap()
        .iter()
        .filter(|size| size.tenant_id == "acme")
        .map(|size| size.size_bytes + size.wal_size_bytes)
        .sum();
    let weak = Arc::downgrade(&hub.shared);
    measure(&weak, hub.data()).unwrap();
    let stored = |tenant: &TenantId| hub.registry().usage(tenant).unwrap().usage.storage_bytes;
    assert!(databases > 0);
    assert_eq!(stored(&acme), 21_000_000 + databases);
    let of_zeta = stored(&zeta);
    assert!(of_zeta > 7);
    assert_eq!(stored(&TenantId::platform()), 0);

    // What cannot be measured leaves the figure as it was, and what went is no longer counted.
    fs::rename(apps.join("zeta-1"), site.path("zeta-1")).unwrap();
    symlink(site.path("zeta-1"), apps.join("zeta-1")).unwrap();
    fs::remove_file(apps.join("two-2/hls/a.mp4")).unwrap();
    hub.write(|db| set_storage(db, &TenantId::platform(), &Month::current(), 99)).unwrap();
    measure(&weak, hub.data()).unwrap();
    assert_eq!((stored(&acme), stored(&zeta)), (1_000_000 + databases, of_zeta));
    assert_eq!(stored(&TenantId::platform()), 0);

    hub.close().unwrap();
    assert!(matches!(measure(&weak, hub.data()), Err(HubError::Closed)));
}

#[test]
fn a_round_that_does_not_end_keeps_neither_upkeep_nor_another_round() {
    let site = Site::new();
    let hub = opened(&quiet(&site, "a"));
    let measuring = &hub.shared.services.upkeep.measuring;
    let hanging = measuring.begin().unwrap();
    hub.measure_storage();
    assert!(measuring.begin().is_none());
    hub.close().unwrap();
    drop(hanging);
    assert!(measuring.begin().is_some());
}
