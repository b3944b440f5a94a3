//! What the registry of apps promises.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

use streamhub_engine::{AppId, Database};

use super::*;
use crate::fixture::{app, app_id, app_without_tenant, database, new_app, plan, tenant};
use crate::quotas::{self, Enforcement, Limit, Metric, QuotaChange, QuotaExceeded};
use crate::tenants::UnknownTenant;
use crate::{Control, tenants};

fn state(db: &Connection, id: i64) -> AppState {
    by_id(db, id).unwrap().unwrap().state
}

fn names(apps: Vec<App>) -> Vec<String> {
    apps.into_iter().map(|app| app.name).collect()
}

fn delete(db: &Connection, id: i64, trash_name: &str) {
    mark_deleting(db, id).unwrap().unwrap();
    mark_deleted(db, id, &trash_name.parse().unwrap()).unwrap().unwrap();
}

fn unlimited(db: &Connection, tenant: &TenantId) {
    let change = QuotaChange { max_apps: Some(Limit::NONE), ..QuotaChange::default() };
    quotas::set(db, tenant, &change).unwrap().unwrap();
}

#[test]
fn an_app_is_registered_as_it_was_asked_for() {
    let db = database();
    let acme = tenant(&db, "acme");
    let new = NewApp {
        display_name: Some("One".to_owned()),
        room_prefix: Some("one-".to_owned()),
        ..new_app("one", &acme)
    };
    let id = insert_creating(&db, &new, Enforcement::On).unwrap().unwrap();
    let created = by_name(&db, "one").unwrap().unwrap();
    assert_eq!((created.id, created.state, &*created.tenant_id), (id, AppState::Creating, "acme"));
    let uuid = created.uuid();
    assert_eq!((created.display_name, created.livekit_room_prefix), (new.display_name, new.room_prefix));
    assert_eq!((uuid, created.split_state), (Some(Ok(new.uuid.clone())), None));
    assert_eq!(by_uuid(&db, &new.uuid).unwrap().map(|app| app.id), Some(id));
    activate(&db, id).unwrap().unwrap();
    assert_eq!(state(&db, id), AppState::Active);
}

#[test]
fn what_is_taken_unknown_or_too_much_is_not_registered() {
    let db = database();
    let acme = tenant(&db, "acme");
    let new = new_app("one", &acme);
    insert_creating(&db, &new, Enforcement::On).unwrap().unwrap();
    let refused = |new: &NewApp| insert_creating(&db, new, Enforcement::On).unwrap().unwrap_err();
    assert_eq!(refused(&new_app("one", &acme)), Refused::NameTaken { name: "one".to_owned() });
    let same_uuid = NewApp { uuid: new.uuid.clone(), ..new_app("two", &acme) };
    assert_eq!(refused(&same_uuid), Refused::UuidTaken { uuid: new.uuid.clone() });
    let nobody: TenantId = "nobody".parse().unwrap();
    assert_eq!(refused(&new_app("two", &nobody)), UnknownTenant { tenant: nobody.clone() }.into());
    insert_creating(&db, &new_app("two", &acme), Enforcement::On).unwrap().unwrap();
    let limit = Limit::try_from(2).unwrap();
    let exceeded = QuotaExceeded { metric: Metric::Apps, limit, used: 2 };
    assert_eq!(refused(&new_app("three", &acme)), exceeded.into());
    assert_eq!(names(list(&db).unwrap()), ["one", "two"]);
}

#[test]
fn only_what_is_here_counts_against_the_quota() {
    let db = database();
    let acme = tenant(&db, "acme");
    let (one, two) = (app(&db, "one", &acme), app(&db, "two", &acme));
    delete(&db, one, "one-1");
    db.execute("UPDATE apps SET state = 'moved' WHERE id = ?1", [two]).unwrap();
    assert_eq!(count_of(&db, &acme).unwrap(), 0);
    app(&db, "three", &acme);
    let four = insert_creating(&db, &new_app("four", &acme), Enforcement::On).unwrap().unwrap();
    assert_eq!(count_of(&db, &acme).unwrap(), 2);
    assert!(insert_creating(&db, &new_app("five", &acme), Enforcement::On).unwrap().is_err());
    // What comes back from the trash takes a place as well.
    let full =
        begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap_err();
    assert!(matches!(full, Refused::QuotaExceeded(_)), "{full}");
    assert_eq!(state(&db, one), AppState::Deleted);
    abort_creating(&db, four).unwrap().unwrap();
    begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap();
    assert_eq!(count_of(&db, &acme).unwrap(), 2);

    unlimited(&db, &acme);
    app(&db, "five", &acme);
    let platform = TenantId::platform();
    app_without_tenant(&db, "older");
    assert_eq!((count_of(&db, &acme).unwrap(), count_of(&db, &platform).unwrap()), (3, 1));
}

#[test]
fn every_step_starts_from_one_state_only() {
    type Step = fn(&Connection, i64) -> Result<Result<(), Refused>>;
    let steps: [(Step, AppState, Option<AppState>); 6] = [
        (activate, AppState::Creating, Some(AppState::Active)),
        (abort_creating, AppState::Creating, None),
        (mark_deleting, AppState::Active, Some(AppState::Deleting)),
        (
            |db, id| mark_deleted(db, id, &"trash".parse().unwrap()),
            AppState::Deleting,
            Some(AppState::Deleted),
        ),
        (finish_undelete, AppState::Deleting, Some(AppState::Active)),
        (forget, AppState::Deleted, None),
    ];
    for (number, (step, from, to)) in steps.into_iter().enumerate() {
        for &before in AppState::ALL {
            let db = database();
            let id = app(&db, "one", &TenantId::platform());
            db.execute("UPDATE apps SET state = ?1", [before]).unwrap();
            let untouched = by_id(&db, id).unwrap();
            let done = step(&db, id).unwrap();
            let after = by_id(&db, id).unwrap();
            if before == from {
                assert_eq!((done, after.map(|app| app.state)), (Ok(()), to), "step {number}");
            } else {
                let refused = Err(Refused::State { id, state: before });
                assert_eq!((done, after), (refused, untouched), "step {number}");
            }
        }
        let unknown = step(&database(), 404).unwrap();
        assert_eq!(unknown, Err(Refused::Unknown { app: "404".to_owned() }), "step {number}");
    }
}

/// D11 of the older system is about the data; this is about the name.
#[test]
fn a_deleted_app_gives_its_name_away_and_gets_it_back() {
    let db = database();
    let acme = tenant(&db, "acme");
    let first = app(&db, "one", &acme);
    let uuid = by_id(&db, first).unwrap().unwrap().uuid().unwrap().unwrap();
    delete(&db, first, "one-first");
    let second = app(&db, "one", &acme);
    assert_ne!(first, second);
    let refused =
        begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap_err();
    assert_eq!(refused, Refused::NameTaken { name: "one".to_owned() });

    // Of the two that are in the trash, the one that went there last comes back.
    delete(&db, second, "one-second");
    db.execute(
        "UPDATE _streamhub_trash SET deleted_at = '2026-01-01T00:00:00.000Z' WHERE app_id = ?1",
        [second],
    )
    .unwrap();
    let coming = begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap();
    assert_eq!((coming.id, &*coming.name, coming.state), (first, "one", AppState::Deleting));
    assert_eq!(coming.uuid(), Some(Ok(uuid)));
    assert_eq!(trashed(&db, first).unwrap().unwrap().trash_name.to_string(), "one-first");
    assert_eq!(names(unfinished(&db).unwrap()), ["one"]);
    finish_undelete(&db, first).unwrap().unwrap();
    assert_eq!(by_name(&db, "one").unwrap().map(|app| app.id), Some(first));
    assert_eq!(trashed(&db, first).unwrap(), None);

    forget(&db, second).unwrap().unwrap();
    assert_eq!(deleted(&db, Duration::ZERO).unwrap(), []);
    let unknown =
        begin_undelete(&db, &app_id("two"), &Within::Everything, Enforcement::On).unwrap().unwrap_err();
    assert_eq!(unknown, Refused::Unknown { app: "two".to_owned() });
}

#[test]
fn an_undelete_that_stopped_half_way_can_be_taken_back() {
    let db = database();
    let id = app(&db, "one", &TenantId::platform());
    delete(&db, id, "one-first");
    begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap();
    mark_deleted(&db, id, &"one-again".parse().unwrap()).unwrap().unwrap();
    let trash = deleted(&db, Duration::ZERO).unwrap();
    let shown: Vec<_> = trash.iter().map(|app| (app.id, &*app.name, app.trash_name.to_string())).collect();
    assert_eq!(shown, [(id, "one", "one-again".to_owned())]);
    assert_eq!(by_name(&db, "one").unwrap(), None);
    begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap();
    finish_undelete(&db, id).unwrap().unwrap();
    // The next life ends like any other.
    delete(&db, id, "one-third");
    assert_eq!(trashed(&db, id).unwrap().unwrap().trash_name.to_string(), "one-third");
}

#[test]
fn the_trash_says_until_when_it_keeps_an_app() {
    let db = database();
    let id = app_without_tenant(&db, "older");
    db.execute("UPDATE apps SET state = 'active' WHERE id = ?1", [id]).unwrap();
    delete(&db, id, "older-1");
    let kept_until = |at: &str, keep: Duration| {
        db.execute("UPDATE _streamhub_trash SET deleted_at = ?1", [at]).unwrap();
        let [shown] = deleted(&db, keep).unwrap().try_into().unwrap();
        assert_eq!((&*shown.name, &*shown.tenant_id, &*shown.deleted_at), ("older", "platform", at));
        shown.purged_after
    };
    for (at, keep, until) in [
        ("2026-02-27T23:59:59.500Z", Duration::from_hours(48), Some("2026-03-01T23:59:59.500Z")),
        ("2026-02-27 23:59:59", Duration::from_millis(1250), Some("2026-02-28T00:00:00.250Z")),
        ("2026-02-27T23:59:59.500Z", Duration::ZERO, Some("2026-02-27T23:59:59.500Z")),
        ("2026-02-27T23:59:59.500Z", Duration::MAX, None),
        ("some time ago", Duration::ZERO, None),
    ] {
        assert_eq!(kept_until(at, keep).as_deref(), until, "{at} and {keep:?}");
    }
}

#[test]
fn a_uuid_that_was_set_aside_comes_back_unless_another_app_has_it() {
    let db = database();
    let acme = tenant(&db, "acme");
    let former = app(&db, "one", &acme);
    let uuid = by_id(&db, former).unwrap().unwrap().uuid().unwrap().unwrap();
    assert!(matches!(set_aside(&db, former).unwrap(), Err(Refused::State { .. })), "it is in service");
    delete(&db, former, "one-first");
    let again = || NewApp { uuid: uuid.clone(), ..new_app("one", &acme) };
    assert!(matches!(
        insert_creating(&db, &again(), Enforcement::On).unwrap(),
        Err(Refused::UuidTaken { .. })
    ));
    set_aside(&db, former).unwrap().unwrap();
    assert!(matches!(
        begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap(),
        Err(Refused::Unknown { .. })
    ));
    // What was not finished gives it back, and an undelete is possible again.
    let aborted = insert_creating(&db, &again(), Enforcement::On).unwrap().unwrap();
    give_back(&db, &uuid).unwrap();
    assert_eq!(by_uuid(&db, &uuid).unwrap().unwrap().id, aborted, "it is in use");
    abort_creating(&db, aborted).unwrap().unwrap();
    assert_eq!(by_uuid(&db, &uuid).unwrap().unwrap().id, former);
    // Several lives: only the last of those that were left behind gets it back.
    set_aside(&db, former).unwrap().unwrap();
    let second = insert_creating(&db, &again(), Enforcement::On).unwrap().unwrap();
    activate(&db, second).unwrap().unwrap();
    delete(&db, second, "one-second");
    set_aside(&db, second).unwrap().unwrap();
    give_back(&db, &uuid).unwrap();
    assert_eq!(by_uuid(&db, &uuid).unwrap().unwrap().id, second);
    begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap();
}

#[test]
fn a_deleted_app_is_seen_only_by_who_asks_for_it() {
    let db = database();
    let acme = tenant(&db, "acme");
    let (one, _) = (app(&db, "one", &acme), app(&db, "two", &acme));
    db.execute("UPDATE apps SET split_state = 'pending'", []).unwrap();
    delete(&db, one, "one-1");
    let row = by_id(&db, one).unwrap().unwrap();
    assert_eq!((&*row.name, row.state), (&*format!("one~{one}"), AppState::Deleted));
    assert!(row.name.parse::<AppId>().is_err());
    assert_eq!(by_uuid(&db, &row.uuid().unwrap().unwrap()).unwrap(), Some(row.clone()));

    for name in ["one", &row.name] {
        assert_eq!(by_name(&db, name).unwrap(), None);
    }
    let first = page(&db, &Within::Everything, Page { limit: 9, offset: 0 }).unwrap();
    for listed in [list(&db), list_by_id(&db), Ok(first.rows)] {
        assert_eq!(names(listed.unwrap()), ["two"]);
    }
    assert_eq!(tally(&db).unwrap(), Tally { total: 1, pending: 1, missing: 0 });
    assert_eq!(open_splits(&db).unwrap(), 1);
    db.execute("UPDATE apps SET split_state = NULL WHERE name = 'two'", []).unwrap();
    assert!(!any_pending(&db).unwrap());
    assert_eq!(unfinished(&db).unwrap(), []);
    // The uuid stays its own: a copy of its directory is not taken for another app.
    let copy = NewApp { uuid: row.uuid().unwrap().unwrap(), ..new_app("copy", &TenantId::platform()) };
    assert!(matches!(insert_creating(&db, &copy, Enforcement::On).unwrap(), Err(Refused::UuidTaken { .. })));
}

#[test]
fn pages_go_by_name_and_by_tenant() {
    let db = database();
    let acme = tenant(&db, "acme");
    unlimited(&db, &acme);
    for name in ["bbb", "aaa", "ddd", "ccc"] {
        app(&db, name, &acme);
    }
    let platform = TenantId::platform();
    app(&db, "bcd", &platform);
    app_without_tenant(&db, "older");
    let page = |within: &Within, offset, limit| {
        let part = page(&db, within, Page { limit, offset }).unwrap();
        assert_eq!(part.total, count_within(&db, within).unwrap());
        (names(part.rows), part.total)
    };
    let all = Within::Everything;
    assert_eq!(page(&all, 0, 3), (vec!["aaa".to_owned(), "bbb".to_owned(), "bcd".to_owned()], 6));
    assert_eq!(page(&all, 3, 3), (vec!["ccc".to_owned(), "ddd".to_owned(), "older".to_owned()], 6));
    assert_eq!(page(&all, 6, 3), (vec![], 6));
    let acme = Within::Tenants(vec![acme]);
    assert_eq!(page(&acme, 2, 9), (vec!["ccc".to_owned(), "ddd".to_owned()], 4));
    let platform = Within::Tenants(vec![platform]);
    assert_eq!(page(&platform, 0, 9), (vec!["bcd".to_owned(), "older".to_owned()], 2));
}

#[test]
fn an_app_in_service_can_be_renamed_and_described() {
    let db = database();
    let acme = tenant(&db, "acme");
    let (one, two) = (app(&db, "one", &acme), app(&db, "two", &acme));
    assert_eq!(rename(&db, one, &app_id("two")).unwrap(), Err(Refused::NameTaken { name: "two".to_owned() }));
    rename(&db, one, &app_id("one")).unwrap().unwrap();
    rename(&db, one, &app_id("uno")).unwrap().unwrap();
    let details = Details { display_name: Some("Uno".to_owned()), ..Details::default() };
    update(&db, one, &details).unwrap().unwrap();
    let app = by_name(&db, "uno").unwrap().unwrap();
    assert_eq!((app.id, app.display_name.as_deref(), app.settings_json), (one, Some("Uno"), None));

    mark_deleting(&db, two).unwrap().unwrap();
    let refused = Err(Refused::State { id: two, state: AppState::Deleting });
    assert_eq!(rename(&db, two, &app_id("dos")).unwrap(), refused);
    assert_eq!(update(&db, two, &details).unwrap(), refused);
    assert_eq!(rename(&db, 404, &app_id("dos")).unwrap(), Err(Refused::Unknown { app: "404".to_owned() }));
}

#[test]
fn a_generation_only_goes_up() {
    let db = database();
    let id = app(&db, "one", &TenantId::platform());
    set_generation(&db, id, 3).unwrap().unwrap();
    for generation in [3, 2] {
        let refused = set_generation(&db, id, generation).unwrap();
        assert_eq!(refused, Err(Refused::Generation { id, current: 3 }));
    }
    assert_eq!(by_id(&db, id).unwrap().unwrap().generation, 3);
    assert!(matches!(set_generation(&db, 404, 1).unwrap(), Err(Refused::Unknown { .. })));
}

#[test]
fn hot_paths_use_an_index() {
    let db = database();
    let unfinished = plan(&db, &format!("SELECT * FROM apps WHERE {UNFINISHED} ORDER BY id"));
    assert!(unfinished.contains("_streamhub_apps_by_step"), "{unfinished}");
    let of_tenant = plan(&db, &format!("SELECT count(*) FROM apps WHERE {OF_TENANT}"));
    assert!(of_tenant.contains("_streamhub_apps_by_tenant") && !of_tenant.contains("SCAN"), "{of_tenant}");
}

/// Connections that race, each in immediate transactions as hub has them.
#[test]
fn racing_callers_take_each_name_and_each_place_once() {
    const RACERS: usize = 4;
    const NAMES: usize = 25;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("streamhub.db");
    drop(Control::build(&path).unwrap());
    let acme: TenantId = "acme".parse().unwrap();
    let mut control = Control::open(&path).unwrap();
    control
        .write(|tx| {
            tenants::ensure(tx, &acme)?;
            let max_apps = Some(Limit::try_from(20).unwrap());
            quotas::set(tx, &acme, &QuotaChange { max_apps, ..QuotaChange::default() }).map(drop)
        })
        .unwrap();
    let start = Barrier::new(RACERS);
    let created: Vec<String> = std::thread::scope(|scope| {
        let race = || {
            let mut control = Control::open(&path).unwrap();
            start.wait();
            let mut created = Vec::new();
            for number in 0..NAMES {
                let new = new_app(&format!("app-{number}"), &acme);
                if control.write(|tx| insert_creating(tx, &new, Enforcement::On)).unwrap().is_ok() {
                    created.push(new.name.to_string());
                }
            }
            created
        };
        let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(race)).collect();
        racers.into_iter().flat_map(|racer| racer.join().unwrap()).collect()
    });
    let distinct: BTreeSet<_> = created.iter().collect();
    assert_eq!((created.len(), distinct.len()), (20, 20));
    assert_eq!(control.query(|db| count_of(db, &acme)).unwrap(), 20);
}

/// Should a caller ever look and write in two transactions, the table still keeps names and uuids apart.
#[test]
fn the_table_itself_refuses_a_second_name_or_uuid() {
    let db: Database = database();
    db.execute("INSERT INTO apps (name, uuid) VALUES ('one', 'u')", []).unwrap();
    for (name, uuid) in [("one", "v"), ("two", "u")] {
        assert!(db.execute("INSERT INTO apps (name, uuid) VALUES (?1, ?2)", [name, uuid]).is_err());
    }
}
