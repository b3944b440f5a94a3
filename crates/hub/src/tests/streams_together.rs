//! Streams that begin and end at the same moment: a row that is live always has its reservation.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use streamhub_control::attention;

use super::*;

const STREAMS: usize = 150;

/// An app whose streams are all live.
fn all_live(hub: &Hub) -> Lease {
    created(hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    for at in 0..STREAMS {
        lease.start_stream(stream(&at.to_string())).unwrap();
    }
    lease
}

/// An encoder that comes back: it tries until it is let in.
fn start_again(lease: &Lease, at: usize) {
    while let Err(error) = lease.start_stream(stream(&at.to_string())) {
        assert_eq!(error.kind(), Kind::Exists, "{error}");
    }
}

fn reserved(hub: &Hub, lease: &Lease) -> BTreeSet<String> {
    let number = lease.registered().id;
    let rows = hub.read(move |db| attention::of_app(db, number)).unwrap();
    rows.into_iter().filter(|row| row.kind == attention::STREAM).map(|row| row.reference).collect()
}

#[test]
fn a_stream_that_a_closure_ends_costs_its_tenant_nothing_any_more() {
    let site = Site::new();
    let mut config = site.config("a");
    for upkeep in [true, false] {
        config.upkeep = upkeep;
        let hub = Hub::open(&config, &Silent).unwrap();
        let name = if upkeep { "news-24" } else { "other-one" };
        created(&hub, name);
        let lease = hub.app(&id(name)).unwrap();
        for at in 0..3 {
            lease.start_stream(stream(&at.to_string())).unwrap();
        }
        lease.write(|tx| streams::end(tx, "1").map_err(HubError::from)).unwrap();
        if upkeep {
            while reserved(&hub, &lease).len() > 2 {
                thread::yield_now();
            }
        } else {
            assert!(lease.reconcile_streams(vec!["0".to_owned(), "2".to_owned()]).unwrap().is_empty());
        }
        assert_eq!(reserved(&hub, &lease), BTreeSet::from(["0".to_owned(), "2".to_owned()]));
        drop(lease);
        hub.close().unwrap();
    }
}

#[test]
fn an_encoder_that_comes_back_while_its_stream_ends_keeps_its_reservation() {
    let site = Site::new();
    let hub = site.hub("a");
    let lease = all_live(&hub);
    thread::scope(|scope| {
        scope.spawn(|| (0..STREAMS).for_each(|at| assert!(lease.end_stream(&at.to_string()).unwrap())));
        scope.spawn(|| (0..STREAMS).for_each(|at| start_again(&lease, at)));
    });
    assert_eq!(reserved(&hub, &lease).len(), STREAMS);
    assert_eq!(lease.read(|tx| Ok::<_, HubError>(streams::count_active(tx)?)).unwrap(), STREAMS as u64);
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn an_encoder_that_comes_back_while_streams_are_reconciled_keeps_its_reservation() {
    let site = Site::new();
    let hub = site.hub("a");
    let lease = all_live(&hub);
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(lease.reconcile_streams(vec![]).unwrap().len(), STREAMS));
        scope.spawn(|| (0..STREAMS).for_each(|at| start_again(&lease, at)));
    });
    assert_eq!(reserved(&hub, &lease).len(), STREAMS);
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn of_two_that_begin_the_same_stream_the_one_that_is_refused_takes_nothing_from_the_other() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    let together = Barrier::new(2);
    let start_all = || {
        let begin = |at: usize| {
            together.wait();
            lease.start_stream(stream(&at.to_string())).is_ok()
        };
        (0..STREAMS).filter(|at| begin(*at)).count()
    };
    let begun = thread::scope(|scope| {
        let (one, other) = (scope.spawn(start_all), scope.spawn(start_all));
        one.join().unwrap() + other.join().unwrap()
    });
    assert_eq!((begun, reserved(&hub, &lease).len()), (STREAMS, STREAMS));
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn a_stream_that_a_closure_began_goes_on_when_an_outbox_is_shipped() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    let new = NewStream { app_id: lease.registered().id, ..stream("live/cam") };
    lease.write(move |tx| Ok::<_, HubError>(streams::start(tx, &new)?)).unwrap();
    let file = Some("recordings/a.mp4".to_owned());
    let vod = lease.create_vod(NewVod { local_path: file, ..NewVod::named("a.mp4") }).unwrap();
    lease.delete_vod(vod.id).unwrap();
    while !lease.read(|tx| Ok::<_, HubError>(streamhub_appstore::outbox::is_empty(tx)?)).unwrap() {
        thread::yield_now();
    }
    assert_eq!(lease.read(|tx| Ok::<_, HubError>(streams::count_active(tx)?)).unwrap(), 1);
    drop(lease);
    hub.close().unwrap();
}
