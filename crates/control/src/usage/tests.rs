//! Tests of what is counted and metered, and that each piece counts once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::{app, database, plan, tenant};
use crate::quotas;

#[test]
fn what_is_metered_adds_up_per_tenant_and_month() {
    let db = database();
    let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
    let [october, november, december] =
        ["2026-10-01T00:00:00.000Z", "2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00.000Z"].map(Month::of);
    // Two short recordings are one minute, not two.
    for seconds in [100 * 60 + 1, 149 * 60 + 1] {
        add(&db, &acme, &november, Metered::RecordingSeconds, seconds).unwrap();
    }
    add(&db, &acme, &october, Metered::RecordingSeconds, 7).unwrap();
    add(&db, &zeta, &november, Metered::EgressBytes, 1).unwrap();
    set_storage(&db, &acme, &october, 9_000_000_000).unwrap();
    set_storage(&db, &acme, &october, 5_000_000_001).unwrap();
    app(&db, "one", &acme);

    let used = of(&db, &acme, &november).unwrap();
    let wanted =
        Usage { apps: 1, recording_minutes_month: 250, storage_bytes: 5_000_000_001, ..Usage::default() };
    assert_eq!(used, wanted);
    assert_eq!(of(&db, &acme, &december).unwrap().recording_minutes_month, 0);
    assert_eq!(of(&db, &acme, &Month::of("2026-09")).unwrap().storage_bytes, 0);
    let readings: Vec<_> = history(&db, &acme).unwrap().into_iter().map(|r| (r.month, r.amount)).collect();
    let expected = [("2026-11", 249 * 60 + 2), ("2026-10", 7), ("2026-10", 5_000_000_001)];
    assert_eq!(readings, expected.map(|(month, amount)| (month.to_owned(), amount)));
    assert_eq!(
        serde_json::to_value(used).unwrap(),
        json!({
            "apps": 1, "concurrentStreams": 0, "recordingMinutesMonth": 250,
            "egressGbMonth": 0.0, "storageGb": 5.000_000_001,
        })
    );

    let exceeded = used.exceeded(&quotas::of(&db, &acme).unwrap());
    assert_eq!(exceeded, Exceeded { storage_gb: true, ..Exceeded::default() });
}

#[test]
fn what_just_fits_is_not_too_much() {
    let quotas = Quotas::default();
    let full = Usage {
        apps: 2,
        concurrent_streams: 2,
        recording_minutes_month: 300,
        egress_bytes_month: 5_000_000_000,
        storage_bytes: 5_000_000_000,
    };
    assert_eq!(full.exceeded(&quotas), Exceeded::default());
    let more = Usage { apps: 3, egress_bytes_month: 5_000_000_001, ..full };
    let exceeded = Exceeded { apps: true, egress_gb_month: true, ..Exceeded::default() };
    assert_eq!(more.exceeded(&quotas), exceeded);
    let unlimited = Quotas { max_apps: quotas::Limit::NONE, ..quotas };
    assert!(!more.exceeded(&unlimited).apps);
}

fn piece(seq: i64, amount: u64) -> Piece {
    let uuid = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    Piece { uuid, seq, month: "2026-11".parse().unwrap(), metric: Metered::EgressBytes, amount }
}

#[test]
fn a_tenant_that_is_not_there_is_not_metered() {
    let db = database();
    let nobody: TenantId = "nobody".parse().unwrap();
    let piece = piece(1, 5);
    assert!(!ship(&db, &nobody, &piece).unwrap());
    assert_eq!(of(&db, &nobody, &piece.month).unwrap(), Usage::default());
    assert!(add(&db, &nobody, &piece.month, Metered::EgressBytes, 1).is_err());
}

#[test]
fn what_no_row_can_hold_counts_as_much_as_one_can() {
    let db = database();
    let acme = tenant(&db, "acme");
    for seq in 1..4 {
        assert!(ship(&db, &acme, &piece(seq, u64::MAX)).unwrap());
    }
    let most = i64::MAX.unsigned_abs();
    assert_eq!(of(&db, &acme, &piece(1, 0).month).unwrap().egress_bytes_month, most);
    set_storage(&db, &acme, &Month::current(), u64::MAX).unwrap();
    assert_eq!(of(&db, &acme, &Month::current()).unwrap().storage_bytes, most);
}

#[test]
fn a_month_is_a_month() {
    for text in ["2026-11", "1999-01"] {
        assert_eq!(text.parse::<Month>().unwrap().to_string(), text);
    }
    for text in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "-026-11", "2026-11 "] {
        assert!(text.parse::<Month>().is_err(), "{text:?}");
    }
    assert_eq!(Month::current().to_string().parse(), Ok(Month::current()));
}

#[test]
fn what_was_added_long_ago_is_forgotten() {
    let db = database();
    let acme = tenant(&db, "acme");
    for seq in 0..=i64::try_from(PRUNE_CHUNK).unwrap() {
        ship(&db, &acme, &piece(seq, 1)).unwrap();
    }
    let now = Moment::now();
    assert_eq!(prune(&db, &now.before(std::time::Duration::from_mins(1))).unwrap(), 0);
    let later = now.after(std::time::Duration::from_mins(1));
    assert_eq!([(); 3].map(|()| prune(&db, &later).unwrap()), [PRUNE_CHUNK, 1, 0]);
    assert_eq!(of(&db, &acme, &piece(1, 0).month).unwrap().egress_bytes_month, PRUNE_CHUNK as u64 + 1);
    let sql = "SELECT origin_uuid FROM _streamhub_metered WHERE at < 'x' ORDER BY at LIMIT 1";
    assert!(plan(&db, sql).contains("_streamhub_metered_by_time"));
}

/// What happens to a piece of an app's outbox.
#[derive(Clone, Debug)]
enum Event {
    Shipped {
        app: usize,
        piece: usize,
    },
    /// The transaction that shipped it did not commit.
    Lost {
        app: usize,
        piece: usize,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let which = || (0..2_usize, 0..8_usize);
    let event = prop_oneof![
        3 => which().prop_map(|(app, piece)| Event::Shipped { app, piece }),
        1 => which().prop_map(|(app, piece)| Event::Lost { app, piece }),
    ];
    proptest::collection::vec(event, 0..60)
}

proptest! {
    /// Two apps of one tenant, whose outboxes give the same places.
    #[test]
    fn in_any_order_and_however_often_each_piece_counts_once(
        amounts in proptest::collection::vec((0..1_000_000_u64, 1..4_u8, any::<bool>()), 16),
        events in events(),
    ) {
        let mut db = database();
        let acme = tenant(&db, "acme");
        let uuids = [Uuid::random(), Uuid::random()];
        let pieces: Vec<Piece> = amounts.iter().enumerate().map(|(index, (amount, month, is_egress))| Piece {
            uuid: uuids[index / 8].clone(),
            seq: i64::try_from(index % 8).unwrap(),
            month: format!("2026-0{month}").parse().unwrap(),
            metric: if *is_egress { Metered::EgressBytes } else { Metered::RecordingSeconds },
            amount: *amount,
        }).collect();
        let mut counted = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for event in events {
            let tx = db.transaction().unwrap();
            match event {
                Event::Shipped { app, piece } => {
                    let index = app * 8 + piece;
                    let (is_first, piece) = (seen.insert(index), &pieces[index]);
                    prop_assert_eq!(ship(&tx, &acme, piece).unwrap(), is_first);
                    if is_first {
                        let key = (piece.month.to_string(), piece.metric.as_str());
                        *counted.entry(key).or_insert(0) += piece.amount;
                    }
                    tx.commit().unwrap();
                }
                Event::Lost { app, piece } => {
                    ship(&tx, &acme, &pieces[app * 8 + piece]).unwrap();
                    tx.rollback().unwrap();
                }
            }
        }
        let read: BTreeMap<_, _> = history(&db, &acme)
            .unwrap()
            .into_iter()
            .map(|reading| ((reading.month, reading.metric.as_str()), reading.amount))
            .collect();
        prop_assert_eq!(read, counted);
    }
}

#[test]
fn tenants_are_counted_that_have_more_than_they_may_have() {
    let db = database();
    let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
    let month = Month::current();
    let above = |metric| {
        let all = tenants_above(&db, &month).unwrap();
        all.into_iter().find(|(of, _)| *of == metric).map(|(_, tenants)| tenants)
    };
    for name in ["one", "two"] {
        app(&db, name, &acme);
    }
    for tenant in [&acme, &zeta] {
        add(&db, tenant, &month, Metered::RecordingSeconds, 300 * 60).unwrap();
    }
    // A place that is just taken is not too much.
    assert_eq!([Metric::Apps, Metric::RecordingMinutesMonth].map(above), [Some(0); 2]);
    let change: quotas::QuotaChange = serde_json::from_value(json!({ "maxApps": 1 })).unwrap();
    quotas::set(&db, &acme, &change).unwrap().unwrap();
    for tenant in [&acme, &zeta] {
        add(&db, tenant, &month, Metered::RecordingSeconds, 1).unwrap();
    }
    let all = [Metric::Apps, Metric::RecordingMinutesMonth, Metric::StorageGb, Metric::ConcurrentStreams];
    assert_eq!(all.map(above), [Some(1), Some(2), Some(0), Some(0)]);
}
