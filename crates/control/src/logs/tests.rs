//! What the log promises.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::{app, app_without_tenant, database, plan, tenant};

fn moment(text: &str) -> Moment {
    text.parse().unwrap()
}

fn record(message: &str) -> Record {
    Record {
        ts: moment("2026-11-21T03:54:52.423Z"),
        level: Level::Info,
        source: "streamhub::test".to_owned(),
        app: None,
        message: message.to_owned(),
        meta_json: None,
    }
}

/// What an older system wrote; the number is the row's.
fn older(db: &Connection, ts: &str, level: &str, app: Option<i64>, meta: Option<&str>) -> i64 {
    db.execute(
        "INSERT INTO server_logs (ts, level, app_id, message, meta_json) VALUES (?1, ?2, ?3, 'older', ?4)",
        (ts, level, app, meta),
    )
    .unwrap();
    db.last_insert_rowid()
}

fn ids(db: &Connection, filter: &Filter<'_>) -> Vec<i64> {
    list(db, filter, LOOKED_AT).unwrap().entries.iter().map(|entry| entry.id).collect()
}

/// All that a filter lets through, in parts of `limit`.
fn paged(db: &Connection, filter: &Filter<'_>, limit: u32) -> Vec<i64> {
    let (mut seen, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let part = list(db, &Filter { cursor: cursor.as_ref(), limit, ..*filter }, LOOKED_AT).unwrap();
        seen.extend(part.entries.iter().map(|entry| entry.id));
        assert!(seen.len() <= 1000, "it goes round in circles");
        let Some(next) = part.next else { return seen };
        cursor = Some(next.to_string().parse().unwrap());
    }
}

#[test]
fn an_entry_is_shown_as_it_was_written() {
    let db = database();
    let number = app(&db, "news-24", &TenantId::platform());
    let first = Record {
        app: Some("news-24".to_owned()),
        meta_json: Some(r#"{"duration_ms":7}"#.to_owned()),
        ..record("one")
    };
    let gone = Record { app: Some("gone-away".to_owned()), level: Level::Error, ..record("two") };
    append_all(&db, &[first, gone]).unwrap();
    older(&db, "2026-01-01 00:00:00", "fatal", Some(number), Some("no JSON"));
    let listed = list(&db, &Filter::newest(9), LOOKED_AT).unwrap();
    assert_eq!(
        serde_json::to_value(&listed.entries).unwrap(),
        json!([
            {"id": 2, "ts": "2026-11-21T03:54:52.423Z", "level": "error", "source": "streamhub::test",
             "app": null, "appId": null, "message": "two", "meta": null},
            {"id": 1, "ts": "2026-11-21T03:54:52.423Z", "level": "info", "source": "streamhub::test",
             "app": "news-24", "appId": number, "message": "one", "meta": {"duration_ms": 7}},
            {"id": 3, "ts": "2026-01-01 00:00:00", "level": "fatal", "source": null,
             "app": "news-24", "appId": number, "message": "older", "meta": "no JSON"},
        ])
    );
    assert_eq!(listed.next, None);
}

#[test]
fn each_filter_leaves_out_what_it_says() {
    let db = database();
    let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
    let [one, two, other] =
        [("one-1", &acme), ("two-2", &acme), ("other-3", &zeta)].map(|(name, tenant)| app(&db, name, tenant));
    let nobodys = app_without_tenant(&db, "nobodys");
    let rows: Vec<i64> = [
        ("debug", Some(one)),
        ("INFO", Some(two)),
        ("warn", Some(other)),
        ("error", None),
        ("fatal", Some(nobodys)),
    ]
    .iter()
    .enumerate()
    .map(|(at, (level, app))| older(&db, &format!("2026-01-0{} 00:00:00", at + 1), level, *app, None))
    .collect();
    append_all(&db, &[Record { ts: moment("2026-01-06"), ..record("100% of it_em \\ done") }]).unwrap();
    let last = db.last_insert_rowid();
    let all = Filter::newest(100);
    let of = |filter: Filter<'_>| ids(&db, &filter);

    assert_eq!(of(Filter { app: Some("two-2"), ..all }), [rows[1]]);
    assert_eq!(of(Filter { tenant: Some(&acme), ..all }), [rows[1], rows[0]]);
    assert_eq!(of(Filter { tenant: Some(&acme), app: Some("one-1"), ..all }), [rows[0]]);
    assert!(of(Filter { tenant: Some(&acme), app: Some("other-3"), ..all }).is_empty(), "another tenant's");
    assert!(of(Filter { tenant: Some(&acme), app: Some("nobodys"), ..all }).is_empty(), "nobody's");
    assert_eq!(of(Filter { level: Some(Level::Warn), ..all }), [rows[4], rows[3], rows[2]]);
    assert_eq!(of(Filter { level: Some(Level::Info), ..all }).len(), 5);
    assert_eq!(of(Filter { level: Some(Level::Trace), ..all }).len(), 6);
    assert_eq!(of(Filter { source: Some("streamhub::test"), ..all }), [last]);
    let (since, until) = (moment("2026-01-02"), moment("2026-01-04"));
    assert_eq!(of(Filter { since: Some(&since), until: Some(&until), ..all }), [rows[2], rows[1]]);
    for (q, found) in
        [("100%", 1), ("IT_EM", 1), ("\\", 1), ("", 6), ("%", 1), ("_", 1), ("x%", 0), ("older", 5)]
    {
        assert_eq!(of(Filter { q: Some(q), ..all }).len(), found, "{q}");
    }
}

#[test]
fn a_tenants_log_is_put_together_from_its_apps() {
    let db = database();
    let platform = TenantId::platform();
    let apps: Vec<i64> = (0..5).map(|at| app(&db, &format!("app-{at}"), &platform)).collect();
    let mut all: Vec<i64> = (0..40)
        .map(|at| older(&db, &format!("2026-01-01 00:00:{:02}", at % 7), "info", Some(apps[at % 5]), None))
        .collect();
    let filter = Filter { tenant: Some(&platform), ..Filter::newest(100) };
    let whole = ids(&db, &filter);
    assert_eq!(paged(&db, &filter, 3), whole);
    all.sort_unstable();
    let mut sorted = whole;
    sorted.sort_unstable();
    assert_eq!(sorted, all);
}

/// Entries of one time in both halves, so that chunks end within it.
fn many(db: &Connection, apps: &[i64], count: u32) {
    let apps = serde_json::to_string(apps).unwrap();
    db.execute(
        "WITH RECURSIVE at (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM at WHERE n + 1 < ?1) \
         INSERT INTO server_logs (ts, level, app_id, message) \
         SELECT '2026-01-01T00:00:0' || (n / 1700) || '.000Z', 'info', ?2 ->> (n % json_array_length(?2)), \
         iif(n % 1000 = 0, 'a needle', 'hay') FROM at",
        (count, apps),
    )
    .unwrap();
}

#[test]
fn a_list_ends_where_it_looked_at_enough_and_goes_on_from_there() {
    let db = database();
    let tenant = tenant(&db, "acme");
    let apps = ["one-1", "two-2"].map(|name| app(&db, name, &tenant));
    many(&db, &apps, 5001);
    let within = Within::Tenants(vec![tenant]);
    let all = Filter { q: Some("Needle"), ..Filter::newest(100) };
    for (filter, expected) in [
        (all, 6),
        (Filter { within: &within, ..all }, 6),
        (Filter { within: &Within::App(apps[0]), ..all }, 6),
        (Filter { within: &Within::App(apps[1]), ..all }, 0),
    ] {
        let whole = ids(&db, &filter);
        assert_eq!(whole.len(), expected);
        for most in [1, 10, 800, 2000, 20_000] {
            let (mut seen, mut cursor, mut lists, mut empty) = (Vec::new(), None::<Cursor>, 0, 0);
            loop {
                let part = list(&db, &Filter { cursor: cursor.as_ref(), ..filter }, most).unwrap();
                lists += 1;
                empty += usize::from(part.entries.is_empty());
                seen.extend(part.entries.iter().map(|entry| entry.id));
                cursor = part.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, whole, "{filter:?}, {most}");
            // Each looks at no more than that, and one chunk of each app.
            assert!(lists >= 2500 / (most + 2 * 1024), "{lists} of {most}");
            assert_eq!(lists == 1, most >= 20_000, "{filter:?}: {lists} of {most}");
            assert!(most > 10 || empty > 0, "it is no matter that a list is empty");
        }
    }
}

#[test]
fn whose_entries_somebody_sees_is_put_together_with_what_is_asked_for() {
    let db = database();
    let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
    let [one, two] = [("one-1", &acme), ("two-2", &zeta)].map(|(name, tenant)| app(&db, name, tenant));
    let old = app_without_tenant(&db, "old");
    let rows = [Some(one), Some(two), Some(old), None]
        .map(|app| older(&db, "2026-01-01 00:00:00", "info", app, None));
    let (both, platform) = (Within::Tenants(vec![acme.clone(), zeta.clone()]), TenantId::platform());
    let of = |within: &Within, app, tenant| ids(&db, &Filter { within, app, tenant, ..Filter::newest(9) });
    assert_eq!(of(&Within::Everything, None, None), [rows[3], rows[2], rows[1], rows[0]]);
    assert_eq!(
        of(&Within::Everything, None, Some(&platform)),
        [rows[2]],
        "whom nobody has is the platform's"
    );
    assert_eq!(of(&both, None, None), [rows[1], rows[0]]);
    assert_eq!(of(&both, None, Some(&zeta)), [rows[1]]);
    assert_eq!(of(&both, Some("one-1"), None), [rows[0]]);
    assert_eq!(of(&Within::App(two), None, None), [rows[1]]);
    for (within, app, tenant) in [
        (&both, Some("one-1"), Some(&zeta)),
        (&both, Some("old"), None),
        (&Within::Everything, Some("nobody"), None),
        (&both, None, Some(&platform)),
        (&Within::Tenants(vec![]), None, None),
        (&Within::App(two), Some("one-1"), None),
        (&Within::App(two), None, Some(&acme)),
    ] {
        assert!(of(within, app, tenant).is_empty(), "{within:?} {app:?} {tenant:?}");
    }
}

#[test]
fn lists_are_read_from_an_index() {
    let db = database();
    for (of_one_app, range, index) in [
        (false, search::OLDER, "_by_time (<expr>>? AND <expr><?)"),
        (false, search::AT_THAT_TIME, "_by_time (<expr>=? AND rowid<?)"),
        (true, search::OLDER, "_by_app_and_time (app_id=? AND <expr>>? AND <expr><?)"),
        (true, search::AT_THAT_TIME, "_by_app_and_time (app_id=? AND <expr>=? AND rowid<?)"),
    ] {
        let plan = plan(&db, &search::range_sql(of_one_app, range));
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Few different times in both spellings, so that most entries share theirs with others.
    #[test]
    fn parts_show_every_entry_once_and_in_order(
        times in prop::collection::vec((0_u8..4, 0_u8..3), 0..40),
        limit in 1_u32..7,
    ) {
        let db = database();
        for (second, spelling) in &times {
            let ts = match spelling {
                0 => format!("2026-01-01 00:00:0{second}"),
                1 => format!("2026-01-01T00:00:0{second}.000Z"),
                _ => format!("whenever.{second}"),
            };
            older(&db, &ts, "info", None, None);
        }
        let whole = list(&db, &Filter::newest(1000), LOOKED_AT).unwrap();
        prop_assert_eq!(whole.entries.len(), times.len());
        let place = |entry: &Entry| {
            let time = entry.ts.parse().map_or(entry.ts.clone(), |moment: Moment| moment.as_str().to_owned());
            (time, entry.id)
        };
        prop_assert!(whole.entries.windows(2).all(|pair| place(&pair[0]) > place(&pair[1])));
        let ids: Vec<i64> = whole.entries.iter().map(|entry| entry.id).collect();
        prop_assert_eq!(paged(&db, &Filter::newest(limit), limit), ids);
    }
}
