//! Jobs: long work that was asked for, how far it is and what came of it.
//!
//! Who carries a job out keeps it in memory; a row here is what is left of it for those who ask later, also
//! after a restart. A job that has ended never changes again.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, ToSql, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use streamhub_engine::time::{self, Moment};
use streamhub_engine::{Uuid, words};

use crate::apps::{App, BY_NAME};
use crate::cursor::{self, Cursor};
use crate::{TenantId, Within};

/// The most jobs that one call of [`prune`] removes.
pub const PRUNE_CHUNK: usize = 1000;

/// The code of a job whose process ended before it did.
pub const INTERRUPTED: &str = "interrupted";

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// What it is asked for by.
    pub id: Uuid,
    /// What is done, as `optimize`.
    pub kind: String,
    /// The registry's number of the app, by which it is known whatever it is called; none where it is about no app.
    pub app_id: Option<i64>,
    /// The name that the app had when it was asked for.
    pub app: Option<String>,
    /// Whose app it was then.
    pub tenant_id: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// How far it is.
    pub progress: JobProgress,
    /// What came of it; null before its end.
    pub result: Option<Value>,
    /// Why it failed or was cancelled; null where it was not, or nothing more is to be said.
    pub error: Option<JobError>,
    /// When it was asked for.
    pub created_at: String,
    /// When its row was last written.
    pub updated_at: String,
}

words! {
    /// Where a job stands.
    pub enum JobState {
        /// It waits for its turn.
        Queued = "queued",
        /// It is at work.
        Running = "running",
        /// It did what was asked.
        Succeeded = "succeeded",
        /// It did not, or found what it was to find.
        Failed = "failed",
        /// Somebody ended it before.
        Cancelled = "cancelled",
    }
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobProgress {
    /// What it does at the moment, or did last; empty where nothing was begun.
    pub step: String,
    /// Which of the steps that is, from 1; 0 where none was begun.
    pub step_index: u32,
    /// How many steps there are.
    pub steps: u32,
    /// How much of the step is done, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

/// Why a job did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobError {
    /// For programs; stable.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Which jobs a list shows.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only those of these apps.
    pub within: Within,
    /// Of these, only this tenant's.
    pub tenant: Option<TenantId>,
    /// Of these, only those of the app that has this name, whatever it was called when they were asked for.
    pub app: Option<String>,
    /// Only those behind this place, where the part before ended.
    pub cursor: Option<Cursor<Uuid>>,
    /// How many at the most.
    pub limit: u32,
}

/// A part of the list, the newest job first.
pub type Listed = cursor::Listed<Job, Uuid>;

impl JobState {
    /// Whether nothing more becomes of it.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl Job {
    /// A job that is asked for at this moment and waits for its turn.
    pub fn queued(kind: &str, app: Option<&App>, steps: u32) -> Self {
        let now = time::now();
        Self {
            id: Uuid::random(),
            kind: kind.to_owned(),
            app_id: app.map(|app| app.id),
            app: app.map(|app| app.name.clone()),
            tenant_id: app.map(|app| app.tenant_id.clone()),
            state: JobState::Queued,
            progress: JobProgress { steps, ..JobProgress::default() },
            result: None,
            error: None,
            created_at: now.clone(),
            updated_at: now,
        }
    }
}

const COLUMNS: &str =
    "id, kind, app, tenant_id, state, progress_json, result_json, error_json, created_at, updated_at, app_id";

/// Adds a job.
pub fn insert(db: &Connection, job: &Job) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO _streamhub_jobs (id, kind, app_id, app, tenant_id, state, progress_json, result_json, \
         error_json, created_at, updated_at) VALUES (:id, :kind, :app_id, :app, :tenant, :state, :progress, \
         :result, :error, :created, :updated)",
    )?
    .execute(named_params! {
        ":id": job.id,
        ":kind": job.kind,
        ":app_id": job.app_id,
        ":app": job.app,
        ":tenant": job.tenant_id,
        ":state": job.state,
        ":progress": json(&job.progress)?,
        ":result": job.result.as_ref().map(json).transpose()?,
        ":error": job.error.as_ref().map(json).transpose()?,
        ":created": job.created_at,
        ":updated": job.updated_at,
    })
    .map(drop)
}

/// Writes down where a job stands. One that is over stays as it is; says whether it was written.
pub fn save(db: &Connection, job: &Job) -> Result<bool> {
    db.prepare_cached(
        "UPDATE _streamhub_jobs SET state = :state, progress_json = :progress, result_json = :result, \
         error_json = :error, updated_at = :updated WHERE id = :id AND state IN ('queued', 'running')",
    )?
    .execute(named_params! {
        ":id": job.id,
        ":state": job.state,
        ":progress": json(&job.progress)?,
        ":result": job.result.as_ref().map(json).transpose()?,
        ":error": job.error.as_ref().map(json).transpose()?,
        ":updated": job.updated_at,
    })
    .map(|saved| saved == 1)
}

/// The job of this id, where there is one.
pub fn get(db: &Connection, id: &Uuid) -> Result<Option<Job>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM _streamhub_jobs WHERE id = :id"))?
        .query_row(named_params! { ":id": id }, read)
        .optional()
}

/// Lists jobs, the newest first.
pub fn list(db: &Connection, filter: &Filter) -> Result<Listed> {
    let limit = cursor::one_more(filter.limit);
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":limit", &limit), (":within", &filter.within)];
    if let Some(tenant) = &filter.tenant {
        parameters.push((":tenant", tenant));
    }
    if let Some(app) = &filter.app {
        parameters.push((":name", app));
    }
    let behind = filter.cursor.as_ref().map(|cursor| (cursor.time(), cursor.id()));
    if let Some((time, id)) = &behind {
        parameters.extend([(":time", time as &dyn ToSql), (":id", id)]);
    }
    let mut rows = Vec::new();
    for job in db.prepare_cached(&list_sql(filter))?.query_map(&*parameters, read)? {
        let job = job?;
        let place = Cursor::after(job.created_at.as_str(), job.id.clone());
        rows.push((job, place));
    }
    Ok(Listed::of(rows, filter.limit))
}

/// Marks the jobs as failed that a process before left unfinished, and returns how many there were.
pub fn fail_interrupted(db: &Connection) -> Result<usize> {
    let error = JobError {
        code: INTERRUPTED.to_owned(),
        message: "the server ended before the job did; start it again".to_owned(),
    };
    db.execute(
        "UPDATE _streamhub_jobs SET state = 'failed', error_json = :error, updated_at = :now \
         WHERE state IN ('queued', 'running')",
        named_params! { ":error": json(&error)?, ":now": time::now() },
    )
}

/// Removes the oldest of the jobs that were asked for before this time and are over, [`PRUNE_CHUNK`] at the
/// most, and returns how many. To be called again, each time in a transaction of its own, until fewer are removed.
pub fn prune(db: &Connection, before: &Moment) -> Result<usize> {
    db.prepare_cached(
        "DELETE FROM _streamhub_jobs WHERE id IN (SELECT id FROM _streamhub_jobs WHERE created_at < :before \
         AND state NOT IN ('queued', 'running') ORDER BY created_at LIMIT :chunk)",
    )?
    .execute(named_params! { ":before": before, ":chunk": PRUNE_CHUNK })
}

fn list_sql(filter: &Filter) -> String {
    let mut conditions = filter.within.condition("tenant_id", "app_id");
    let of_app = format!("app_id = ({BY_NAME})");
    for (is_asked, condition) in [
        (filter.tenant.is_some(), "tenant_id = :tenant"),
        (filter.app.is_some(), &of_app),
        (filter.cursor.is_some(), "(created_at, id) < (:time, :id)"),
    ] {
        if is_asked {
            conditions.push_str(" AND ");
            conditions.push_str(condition);
        }
    }
    format!(
        "SELECT {COLUMNS} FROM _streamhub_jobs WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :limit"
    )
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))
}

fn read(row: &Row<'_>) -> Result<Job> {
    // What a later program wrote may read differently, and is none of this one's business.
    let parsed = |column| Ok::<_, Error>(row.get::<_, Option<String>>(column)?.unwrap_or_default());
    Ok(Job {
        id: row
            .get::<_, String>(0)?
            .parse()
            .map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?,
        kind: row.get(1)?,
        app: row.get(2)?,
        tenant_id: row.get(3)?,
        state: row.get(4)?,
        progress: serde_json::from_str(&parsed(5)?).unwrap_or_default(),
        result: serde_json::from_str(&parsed(6)?).ok(),
        error: serde_json::from_str(&parsed(7)?).ok(),
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
        app_id: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apps;
    use crate::fixture::{app, database, plan as plan_of, tenant};

    fn job(app: &str, tenant: &str, created_at: &str) -> Job {
        Job {
            app_id: Some(7),
            app: Some(app.to_owned()),
            tenant_id: Some(tenant.to_owned()),
            created_at: created_at.to_owned(),
            updated_at: created_at.to_owned(),
            ..Job::queued("optimize", None, 5)
        }
    }

    fn all(limit: u32) -> Filter {
        Filter { within: Within::Everything, tenant: None, app: None, cursor: None, limit }
    }

    #[test]
    fn a_job_is_read_as_it_was_written_and_over_once() {
        let db = database();
        let mut job = job("news-24", "acme", "2026-11-21T00:00:00.000Z");
        insert(&db, &job).unwrap();
        assert_eq!(get(&db, &job.id).unwrap().as_ref(), Some(&job));
        job.state = JobState::Running;
        job.progress = JobProgress { step: "VACUUM".to_owned(), step_index: 4, steps: 5, percent: Some(7) };
        assert!(save(&db, &job).unwrap());
        assert_eq!(get(&db, &job.id).unwrap().as_ref(), Some(&job));
        job.state = JobState::Failed;
        job.result = Some(json!({ "ok": false }));
        job.error = Some(JobError { code: "damaged".to_owned(), message: "page 7".to_owned() });
        assert!(save(&db, &job).unwrap());
        assert_eq!(get(&db, &job.id).unwrap().as_ref(), Some(&job));
        assert!(!save(&db, &Job { state: JobState::Succeeded, ..job.clone() }).unwrap(), "it is over");
        assert_eq!(get(&db, &job.id).unwrap(), Some(job));
        assert_eq!(get(&db, &Uuid::random()).unwrap(), None);
    }

    #[test]
    fn a_job_is_json_as_the_contract_says() {
        let job = job("news-24", "acme", "2026-11-21T00:00:00.000Z");
        let written = json!({
            "id": job.id, "kind": "optimize", "appId": 7, "app": "news-24", "tenantId": "acme", "state": "queued",
            "progress": { "step": "", "stepIndex": 0, "steps": 5 }, "result": null, "error": null,
            "createdAt": job.created_at, "updatedAt": job.updated_at,
        });
        assert_eq!(serde_json::to_value(&job).unwrap(), written);
    }

    #[test]
    fn paging_shows_every_job_once_the_newest_first() {
        let db = database();
        for number in 0..20 {
            // Four of each moment, so that pages end within one.
            let at = format!("2026-11-21T00:00:0{}.000Z", number / 4);
            insert(&db, &job(["one", "other"][number % 2], ["acme", "zeta"][number % 2], &at)).unwrap();
        }
        let whole = list(&db, &all(100)).unwrap();
        assert!(
            whole.entries.is_sorted_by_key(|job| std::cmp::Reverse((job.created_at.clone(), job.id.clone())))
        );
        assert_eq!((whole.entries.len(), whole.next), (20, None));
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(&db, &Filter { cursor: cursor.clone(), ..all(3) }).unwrap();
            seen.extend(page.entries);
            insert(&db, &job("one", "acme", "2026-11-22T00:00:00.000Z")).unwrap();
            let Some(next) = page.next else { break };
            // Also where the job that it names is forgotten meanwhile.
            let forget = "DELETE FROM _streamhub_jobs WHERE id = :id";
            db.execute(forget, named_params! { ":id": next.id() }).unwrap();
            cursor = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(seen, whole.entries);
        let acme: TenantId = "acme".parse().unwrap();
        let of = |filter: Filter| list(&db, &filter).unwrap().entries;
        assert!(
            of(Filter { tenant: Some(acme.clone()), ..all(100) })
                .iter()
                .all(|job| job.app.as_deref() == Some("one"))
        );
    }

    #[test]
    fn an_apps_jobs_are_its_own_whatever_it_is_called() {
        let db = database();
        let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
        let [one, two] = [("one", &acme), ("two", &zeta)].map(|(name, tenant)| app(&db, name, tenant));
        let mut made = [one, two].map(|id| Job::queued("check", apps::by_id(&db, id).unwrap().as_ref(), 1));
        made[1].created_at = made[0].created_at.clone() + "later";
        for job in &made {
            insert(&db, job).unwrap();
        }
        apps::rename(&db, one, &"three".parse().unwrap()).unwrap().unwrap();
        let again = app(&db, "one", &zeta);
        let of = |within: Within, tenant: Option<&TenantId>, app: Option<&str>| -> Vec<i64> {
            let (tenant, app) = (tenant.cloned(), app.map(str::to_owned));
            let listed = list(&db, &Filter { within, tenant, app, ..all(9) }).unwrap();
            listed.entries.iter().filter_map(|job| job.app_id).collect()
        };
        let both = Within::Tenants(vec![acme.clone(), zeta.clone()]);
        assert_eq!(of(both.clone(), None, None), [two, one]);
        assert_eq!(of(both.clone(), Some(&acme), None), [one]);
        assert_eq!(of(both, None, Some("three")), [one]);
        assert_eq!(of(Within::App(one), None, None), [one]);
        for (within, tenant, app) in [
            (Within::Everything, None, Some("one")),
            (Within::Everything, None, Some("nobody")),
            (Within::App(again), None, None),
            (Within::App(one), Some(&zeta), None),
            (Within::App(one), None, Some("two")),
            (Within::Tenants(vec![zeta.clone()]), None, Some("three")),
            (Within::Tenants(vec![]), None, None),
        ] {
            assert!(of(within.clone(), tenant, app).is_empty(), "{within:?} {tenant:?} {app:?}");
        }
    }

    #[test]
    fn what_a_process_left_unfinished_has_failed() {
        let db = database();
        let mut jobs = JobState::ALL.iter().map(|&state| (state, Job::queued("check", None, 1)));
        let jobs: Vec<_> = jobs.by_ref().map(|(state, job)| Job { state, ..job }).collect();
        for job in &jobs {
            insert(&db, job).unwrap();
        }
        assert_eq!(fail_interrupted(&db).unwrap(), 2);
        assert_eq!(fail_interrupted(&db).unwrap(), 0);
        for job in jobs {
            let found = get(&db, &job.id).unwrap().unwrap();
            if job.state.is_over() {
                assert_eq!(found, job);
            } else {
                let code = found.error.map(|error| error.code);
                assert_eq!((found.state, code.as_deref()), (JobState::Failed, Some(INTERRUPTED)));
            }
        }
    }

    #[test]
    fn pruning_goes_in_chunks_and_leaves_what_is_not_over() {
        let db = database();
        let before: Moment = "2026-02-01".parse().unwrap();
        for number in 0..=PRUNE_CHUNK {
            let state = JobState::Cancelled;
            insert(&db, &Job { state, ..job(&number.to_string(), "acme", "2026-01-01T00:00:00.000Z") })
                .unwrap();
        }
        let waiting = job("waits", "acme", "2026-01-01T00:00:00.000Z");
        let recent = Job { state: JobState::Failed, ..job("recent", "acme", "2026-02-01T00:00:00.000Z") };
        insert(&db, &waiting).unwrap();
        insert(&db, &recent).unwrap();
        assert_eq!([0; 3].map(|_| prune(&db, &before).unwrap()), [PRUNE_CHUNK, 1, 0]);
        assert_eq!(list(&db, &all(9)).unwrap().entries, [recent, waiting]);
    }

    #[test]
    fn lists_are_read_in_the_order_of_an_index() {
        let db = database();
        let plan = plan_of(
            &db,
            &list_sql(&Filter { cursor: Some(Cursor::after("2026", Uuid::random())), ..all(9) }),
        );
        assert!(plan.contains("USING INDEX _streamhub_jobs_by_time"), "{plan}");
        let of_app = plan_of(&db, &list_sql(&Filter { within: Within::App(1), ..all(9) }));
        assert!(of_app.contains("USING INDEX _streamhub_jobs_by_app_and_time (app_id=?)"), "{of_app}");
        // What was asked for within one millisecond is sorted by itself.
        assert!(!plan.contains("USE TEMP B-TREE FOR ORDER BY"), "{plan}");
    }
}
