//! Looking after an app's database, as jobs: what they do, what stands in their way, what is said of it.

use std::sync::mpsc;
use std::thread;

use streamhub_engine::durable;

use super::jobs::over;
use super::*;
use crate::jobs::{Job, JobState, NewJob, Work};
use crate::purge::Scope;

fn hub_with_app(site: &Site) -> Hub {
    let hub = site.hub("a");
    created(&hub, "news-24");
    hub
}

fn carried_out(hub: &Hub, work: Work) -> Job {
    over(hub, &hub.start_job(&NewJob::new(work, id("news-24"))).unwrap())
}

fn error(job: &Job) -> (&str, &str) {
    job.error.as_ref().map_or(("", ""), |error| (&error.code, &error.message))
}

fn count(hub: &Hub) -> u64 {
    let app = hub.app(&id("news-24")).unwrap();
    app.read(|tx| Ok::<_, HubError>(vods::count(tx, &vods::VodFilter::default())?)).unwrap()
}

fn add_vods(hub: &Hub, number: u32) {
    let app = hub.app(&id("news-24")).unwrap();
    let add = move |tx: &mut WriteTx<'_>| {
        let sql = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                   INSERT INTO vods (app_id, name, status) SELECT 1, i, 'ready' FROM n";
        tx.execute(sql, [number]).map_err(StoreError::from)?;
        Ok::<_, HubError>(())
    };
    app.write(add).unwrap();
}

#[test]
fn a_purge_goes_in_chunks_while_others_read() {
    let site = Site::new();
    let mut config = site.config("a");
    // Nobody else looks after the outbox.
    config.upkeep = false;
    let hub = Hub::open(&config, &Silent).unwrap();
    created(&hub, "news-24");
    let recordings = site.path("a/apps/news-24/recordings");
    durable::create_new_dir(&recordings).unwrap();
    let app = hub.app(&id("news-24")).unwrap();
    app.start_stream(stream("live")).unwrap();
    app.start_stream(stream("over")).unwrap();
    app.end_stream("over").unwrap();
    for name in ["one.mp4", "two.mp4"] {
        durable::write_new_in(&recordings, name, b"film").unwrap();
        let local_path = Some(format!("recordings/{name}"));
        app.create_vod(NewVod { local_path, ..NewVod::named(name) }).unwrap();
    }
    let of_live = NewVod { stream_id: Some("live".to_owned()), ..NewVod::named("stays") };
    app.create_vod(of_live).unwrap();
    add_vods(&hub, 5000);
    let number = app.registered().id;
    hub.write(move |db| {
        db.execute("INSERT INTO server_logs (level, app_id, message) VALUES ('info', ?1, 'x')", [number])
    })
    .unwrap();
    drop(app);

    // A reader that has had its snapshot since before keeps nobody, and sees all of it to the end.
    let ((begun, has_begun), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let reader = thread::spawn({
        let app = hub.app(&id("news-24")).unwrap();
        move || {
            let filter = vods::VodFilter::default();
            app.read(|tx| {
                let before = vods::count(tx, &filter)?;
                begun.send(()).unwrap();
                let _ = wait.recv();
                Ok::<_, HubError>((before, vods::count(tx, &filter)?))
            })
            .unwrap()
        }
    });
    has_begun.recv().unwrap();
    let acting = hub.acting(Actor::new("user:ana"));
    let job = acting.start_job(&NewJob::new(Work::Purge(Scope::All), id("news-24"))).unwrap();
    let job = over(&hub, &job);
    go.send(()).unwrap();
    assert_eq!(reader.join().unwrap(), (5003, 5003));
    assert_eq!((job.state, error(&job)), (JobState::Succeeded, ("", "")));
    let result = json!({ "scope": "all", "vodsDeleted": 5002, "streamsDeleted": 1, "logsDeleted": 1,
                         "s3Deleted": 0, "localDeleted": 2 });
    assert_eq!(job.result, Some(result));
    assert_eq!((count(&hub), streams_of(&hub, "news-24")), (1, vec!["live".to_owned()]));
    assert_eq!(durable::names_in(&recordings).unwrap(), [""; 0], "files follow");
    let filter = audit::Filter { tenant: None, since: None, until: None, cursor: None, limit: 99 };
    let entries = hub.read(move |db| audit::list(db, &filter)).unwrap().entries;
    let entries: Vec<_> =
        entries.iter().map(|entry| (&*entry.entry.principal, &*entry.entry.action)).collect();
    assert_eq!(entries, [("user:ana", "db.purge")], "one, however many chunks there were");
    hub.close().unwrap();
}

#[test]
fn only_what_is_named_is_purged() {
    let site = Site::new();
    let hub = hub_with_app(&site);
    let app = hub.app(&id("news-24")).unwrap();
    app.start_stream(stream("over")).unwrap();
    app.end_stream("over").unwrap();
    drop(app);
    add_vods(&hub, 1000);
    let purge = |scope| hub.purge_app(&id("news-24"), scope, &Silent).unwrap();
    assert_eq!((purge(Scope::Logs).vods_deleted, count(&hub)), (0, 1000));
    let purged = purge(Scope::Vods);
    assert_eq!((purged.vods_deleted, purged.streams_deleted), (1000, 0));
    assert_eq!(streams_of(&hub, "news-24"), ["over"]);
    assert_eq!(purge(Scope::All).streams_deleted, 1);
    hub.close().unwrap();
}

#[test]
fn a_checkpoint_that_readers_are_in_the_way_of_is_a_failed_step() {
    let site = Site::new();
    let hub = hub_with_app(&site);
    let app = hub.app(&id("news-24")).unwrap();
    let ((begun, has_begun), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let reader = thread::spawn({
        let app = app.clone();
        move || {
            app.read(|tx| {
                streams::count_active(tx)?;
                begun.send(()).unwrap();
                let _ = wait.recv();
                Ok::<_, HubError>(())
            })
        }
    });
    has_begun.recv().unwrap();
    app.create_vod(NewVod::named("a")).unwrap();
    drop(app);
    let failed = carried_out(&hub, Work::Checkpoint);
    assert_eq!((failed.state, error(&failed).0), (JobState::Failed, "busy"), "{failed:?}");
    assert_eq!(error(&failed).1, "PRAGMA wal_checkpoint(TRUNCATE): news-24: it is still in use");
    go.send(()).unwrap();
    reader.join().unwrap().unwrap();
    let done = carried_out(&hub, Work::Checkpoint);
    assert_eq!(done.state, JobState::Succeeded, "{done:?}");
    let result = done.result.unwrap();
    assert!(result["before"]["walSizeBytes"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(result["after"]["walSizeBytes"], 0);
    hub.close().unwrap();
}

#[test]
fn without_space_nothing_is_begun_and_it_is_said_how_much_it_takes() {
    let site = Site::new();
    let hub = hub_with_app(&site);
    hub.app(&id("news-24")).unwrap();
    hub.close().unwrap();
    let db = site.path("a/apps/news-24/app.db");
    // More than any disk of a test has, and none of it is written.
    let length = 1 << 43;
    #[allow(clippy::disallowed_methods, reason = "a file with a hole is what is tested")]
    std::fs::OpenOptions::new().write(true).open(&db).unwrap().set_len(length).unwrap();
    let hub = site.hub("a");
    let failed = carried_out(&hub, Work::Optimize);
    assert_eq!((failed.state, error(&failed).0), (JobState::Failed, "no_space"), "{failed:?}");
    let (_, message) = error(&failed);
    let needed = length + (1 << 20);
    assert!(
        message.contains(&needed.to_string()) || message.contains(&(2 * needed).to_string()),
        "{message}"
    );
    assert!(
        !message.contains(site.path("a").to_str().unwrap()),
        "no place of the server is shown: {message}"
    );
    assert_eq!((&*failed.progress.step, failed.progress.step_index), ("", 0));
    hub.close().unwrap();
}

#[test]
fn a_check_finds_what_is_damaged_and_looks_at_what_is_out_of_service() {
    let site = Site::new();
    let hub = hub_with_app(&site);
    add_vods(&hub, 2000);
    let whole = carried_out(&hub, Work::Check);
    assert_eq!(whole.result, Some(json!({ "path": "apps/news-24/app.db", "ok": true, "problems": [] })));
    assert_eq!((whole.state, whole.progress.step_index), (JobState::Succeeded, 3));
    hub.close().unwrap();
    let path = site.path("a/apps/news-24/app.db");
    #[allow(clippy::disallowed_methods, reason = "a damaged file is what is tested")]
    let damage = |at: usize, with: &[u8]| {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at..at + with.len()].copy_from_slice(with);
        std::fs::write(&path, bytes).unwrap();
    };
    damage(20 * 4096, &[0xee; 2048]);
    let hub = site.hub("a");
    let damaged = carried_out(&hub, Work::Check);
    assert_eq!((damaged.state, error(&damaged).0), (JobState::Failed, "damaged"));
    let result = damaged.result.as_ref().unwrap();
    assert_eq!(result["ok"], false);
    assert!(error(&damaged).1.starts_with(result["problems"][0].as_str().unwrap()), "{damaged:?}");
    hub.close().unwrap();

    damage(0, b"no database");
    let hub = site.hub("a");
    assert_eq!(hub.app(&id("news-24")).unwrap_err().kind(), Kind::Unavailable);
    let checked = hub.check(&id("news-24"), &Silent).unwrap();
    assert!(checked.problems.iter().any(|problem| problem.contains("not an SQLite database")), "{checked:?}");
    assert!(checked.problems.iter().all(|problem| !problem.contains("app.db")), "{checked:?}");
    assert_eq!(error(&carried_out(&hub, Work::Check)).0, "damaged");
    assert_eq!(error(&carried_out(&hub, Work::Optimize)).0, "out_of_service");
    hub.close().unwrap();
}

#[test]
fn references_that_lead_nowhere_and_another_apps_database_are_found() {
    let site = Site::new();
    let hub = hub_with_app(&site);
    created(&hub, "other-one");
    hub.app(&id("news-24")).unwrap();
    hub.seal(&id("news-24")).unwrap();
    hub.seal(&id("other-one")).unwrap();
    let checked = |name: &str| hub.check(&id(name), &Silent).unwrap();
    assert!(checked("other-one").ok);
    let (own, other) = (site.path("a/apps/news-24/app.db"), site.path("a/apps/other-one/app.db"));
    #[allow(clippy::disallowed_methods, reason = "a database in the wrong place is what is tested")]
    std::fs::copy(&other, &own).unwrap();
    let [problem] = &checked("news-24").problems[..] else { panic!("{:?}", checked("news-24")) };
    assert!(problem.contains("its uuid is"), "{problem}");
    hub.close().unwrap();
}

#[test]
fn an_apps_backups_are_its_own() {
    let site = Site::new();
    let hub = hub_with_app(&site);
    let own = hub.registered("news-24").unwrap();
    let (own, other) = (own.uuid_text().unwrap(), Uuid::random());
    let dir = hub.data().pre_migrate();
    durable::create_dir_all(&dir).unwrap();
    let time = "2026-11-21T03-54-52-423Z";
    let copy = format!("news-24-{own}-100-{time}.db");
    for name in [
        copy.clone(),
        format!("news-24-{other}-100-{time}.db"),
        format!("other-{own}-100-{time}.db"),
        format!("news-24-{time}.db"),
        format!("news-24-{own}-101-{time}.db.part"),
    ] {
        durable::write_new_in(&dir, &name, b"copy").unwrap();
    }
    let backups = hub.app_backups(&id("news-24")).unwrap();
    let [backup] = &backups[..] else { panic!("{backups:?}") };
    assert_eq!((&*backup.name, backup.size_bytes), (&*format!("pre-migrate/{copy}"), 4));
    assert!(backup.created_at.is_some());
    assert_eq!(hub.app_backups(&id("nobody")).unwrap_err().kind(), Kind::NotFound);
    hub.close().unwrap();
}
