//! Taking one app over: a database of its own, from all the places where its rows are.
//!
//! Without an app.db, one is built in staging, verified and put into service by a rename. With an
//! older one, it is copied first, then adopted and filled in one transaction. Either way the rows, the
//! markers and the record of what was done commit together, and are read back before the registry
//! points at the database.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use streamhub::legacy::Site;
use streamhub::report::{Outcome, Tally};
use streamhub_appstore::Identity;
use streamhub_appstore::schema::{APPLICATION_ID, SCHEMA};
use streamhub_control::apps::App;
use streamhub_engine::data_dir::AppPlace;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge::{self, Stamp, Standing};
use streamhub_engine::migrate::From;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{
    AppId, Database, Error, Unfit, Unopened, durable, filesystem, install, new_uuid, snapshot, time,
};

use crate::adopt;
use crate::blank::Blank;
use crate::crew::Incoming;
use crate::failure::Failure;
use crate::fill::HighestIds;
use crate::import::{Source, hold};
use crate::older::{self, TABLES, Table};
use crate::record::{Record, SourceDigest};
use crate::rows;

/// What a run does with each app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Take it over.
    Real,
    /// Do the same on copies without a name, and change nothing.
    DryRun,
}

/// What all apps of a run have in common.
pub(crate) struct Run<'a> {
    pub(crate) site: &'a Site,
    pub(crate) highest_ids: HighestIds,
    pub(crate) blank: Blank,
    pub(crate) installation: &'a str,
    /// The app whose foreign and left-over rows a person asked for.
    pub(crate) recover: Option<&'a AppId>,
    pub(crate) mode: Mode,
}

/// How one app's take-over ended, if it did not fail.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) outcome: Outcome,
    pub(crate) tables: BTreeMap<String, Tally>,
    /// What the registry is to point at; none for a missing app.
    pub(crate) identity: Option<Identity>,
    pub(crate) notes: Vec<String>,
}

impl Taken {
    /// Neither a directory nor a row.
    pub(crate) fn missing() -> Self {
        Self { outcome: Outcome::Missing, tables: BTreeMap::new(), identity: None, notes: Vec::new() }
    }
}

/// Takes one app over.
pub(crate) fn take(run: &Run<'_>, app: &App, incoming: &mut Incoming<'_>) -> Result<Taken, Failure> {
    let id: AppId = app.name.parse().map_err(|_| Failure::BadName { name: app.name.clone() })?;
    let place = run.site.data.app(&id);
    let rows = GlobalRows::of(run, incoming)?;
    let there = place.exists()?;
    if !there || is_bare_mount_point(&place, rows)? {
        let dir = place.dir().to_owned();
        let found = if there { "an empty directory" } else { "no directory" };
        return match (app.uuid(), rows) {
            (None, GlobalRows::None) => Ok(Taken::missing()),
            (None, _) => Err(Failure::NoDirectory { dir, rows: "rows in the control database", found }),
            (Some(_), _) => Err(Failure::NoDirectory { dir, rows: "a database", found }),
        };
    }
    filesystem::check(place.dir(), run.site.volatile)?
        .map_err(|refused| Failure::Filesystem { path: place.dir().to_owned(), refused })?;
    let vods_db_path = place.dir().join("vods.db");
    let vods_db = VodsDb::open(&vods_db_path)?;
    let mut notes = vods_db.as_ref().map(|vods_db| vods_db.notes.clone()).unwrap_or_default();
    if vods_db.is_none() && durable::exists(&sidecar(&vods_db_path, "-wal"))? {
        notes.push("a vods.db-wal lies there without its vods.db; what it holds cannot be read".to_owned());
    }
    let work = Work {
        run,
        app,
        place: &place,
        accept_foreign: run.recover == Some(&id),
        vods_db: vods_db.as_ref(),
        notes,
        incoming,
    };
    if !durable::exists(&place.db())? {
        return if app.uuid().is_none() {
            work.build()
        } else {
            Err(Error::Unfit { path: place.db(), unfit: Unfit::Missing }.into())
        };
    }
    let stamp = judge::stamp_with(&place.db(), run.site.protection)?;
    if stamp.application_id == APPLICATION_ID {
        SCHEMA.standing(stamp, &place.db())?;
        work.confirm()
    } else {
        work.adopt(stamp)
    }
}

/// An app whose older rows and files are all imported or held.
#[derive(Debug)]
pub(crate) struct Settled {
    /// Its `vods.db`, where that is there and holds nothing else.
    pub(crate) vods_db: Option<PathBuf>,
}

/// Whether an app's older sources may be removed: none where there are none, an error where not.
pub(crate) fn settled(
    run: &Run<'_>,
    app: &App,
    incoming: &mut Incoming<'_>,
) -> Result<Option<Settled>, Failure> {
    let id: AppId = app.name.parse().map_err(|_| Failure::BadName { name: app.name.clone() })?;
    let place = run.site.data.app(&id);
    let path = place.dir().join("vods.db");
    let has_rows = GlobalRows::of(run, incoming)? != GlobalRows::None;
    let vods_db = VodsDb::open(&path)?;
    if !has_rows && vods_db.is_none() {
        return Ok(None);
    }
    if let Some(note) = vods_db.as_ref().and_then(|vods_db| vods_db.notes.first()) {
        return Err(Failure::SourceChanged { path, detail: note.clone() });
    }
    let db = Database::inspect(&place.db())?;
    let identity = Identity::read(&db)?;
    if !app.points_at(&identity.uuid) {
        let detail = "its app.db is not the one that the registry points at".to_owned();
        return Err(Failure::SourceChanged { path: place.db(), detail });
    }
    let record = Record::read(&db)?;
    drop(db);
    let left_over: u64 = record.tables.values().map(|tally| tally.left_over).sum();
    if left_over > 0 {
        let detail = format!("{left_over} older rows are neither imported nor held");
        return Err(Failure::SourceChanged { path: place.db(), detail });
    }
    let mut work = Work {
        run,
        app,
        place: &place,
        accept_foreign: true,
        vods_db: vods_db.as_ref(),
        notes: Vec::new(),
        incoming,
    };
    let sources = work.source_digests()?;
    if !sources.iter().all(|source| record.sources.contains(source)) {
        let detail = "the older rows are not those that were taken over".to_owned();
        return Err(Failure::SourceChanged { path: place.db(), detail });
    }
    Ok(Some(Settled { vods_db: vods_db.is_some().then_some(path) }))
}

/// What the control database holds of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GlobalRows {
    None,
    /// Ingress rows, which were there beside every app's `vods.db` too.
    IngressOnly,
    /// Streams or recordings: the app is of a time before apps had databases of their own.
    Media,
}

impl GlobalRows {
    fn of(run: &Run<'_>, incoming: &mut Incoming<'_>) -> Result<Self, Failure> {
        let mut found = Self::None;
        for (at, table) in TABLES.iter().enumerate() {
            if incoming.layout(at).of(&run.site.control)?.is_some() {
                found = if table.numbered || found == Self::Media { Self::Media } else { Self::IngressOnly };
            }
        }
        Ok(found)
    }
}

/// Whether a directory looks like the place of a disk that is not mounted: it holds nothing at all, and
/// what belongs to the app must have been in it. The older system put a configuration into every one.
fn is_bare_mount_point(place: &AppPlace, rows: GlobalRows) -> Result<bool, Failure> {
    Ok(rows != GlobalRows::Media && durable::names_in(place.dir())?.is_empty())
}

/// The older per-app database of streams and vods, opened without leaving a trace.
pub(crate) struct VodsDb {
    pub(crate) db: Database,
    pub(crate) notes: Vec<String>,
}

impl VodsDb {
    fn open(path: &Path) -> Result<Option<Self>, Failure> {
        if !durable::exists(path)? {
            return Ok(None);
        }
        let stamp = judge::stamp_of_source(path)?;
        let db = Database::inspect(path)?;
        older::judge_app(&db, stamp)?;
        let known = |name: &str| {
            let taken = ["streams", "vods"].iter().any(|table| name.eq_ignore_ascii_case(table));
            taken || name.starts_with("sqlite_")
        };
        let notes = snapshot::row_counts(&db)?
            .into_iter()
            .filter(|(name, rows)| !known(name) && *rows > 0)
            .map(|(name, rows)| {
                format!("vods.db has {rows} rows in a table {name} that is not taken over; they stay there")
            })
            .collect();
        Ok(Some(Self { db, notes }))
    }

    pub(crate) fn has(&self, table: &Table) -> Result<bool, Failure> {
        Ok(table.name != "ingress_auth" && older::require_columns(&self.db, table)?)
    }
}

/// One app while it is being taken over.
pub(crate) struct Work<'a, 's> {
    pub(crate) run: &'a Run<'a>,
    pub(crate) app: &'a App,
    pub(crate) place: &'a AppPlace,
    pub(crate) accept_foreign: bool,
    pub(crate) vods_db: Option<&'a VodsDb>,
    /// What a person should know of the sources.
    pub(crate) notes: Vec<String>,
    pub(crate) incoming: &'a mut Incoming<'s>,
}

impl Work<'_, '_> {
    /// Makes an app.db where there is none.
    fn build(mut self) -> Result<Taken, Failure> {
        self.refuse_foreign_rows_of_vods_db()?;
        let identity = Identity::new(&self.app.name, &self.app.tenant_id, self.run.installation);
        if self.run.mode == Mode::DryRun {
            let mut db = Database::scratch(None)?;
            let record = SCHEMA.migrate(&mut db, From::Nothing, |tx| self.fill(tx, &identity))?;
            return Ok(self.taken(Outcome::Built, record, None));
        }
        let staging = self.place.staging()?;
        durable::create_dir(&staging)?;
        let staged = staging.join(format!("{}-{}.db", self.place.id(), new_uuid()));
        let built = (|| -> Result<_, Failure> {
            let mut db = self.run.blank.lay(&staged)?;
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).of(&staged)?;
            let record = self.fill(&tx, &identity)?;
            self.run.blank.complete(&tx).of(&staged)?;
            tx.commit().of(&staged)?;
            drop(db.finish()?);
            verify(&staged, &identity, &record)?;
            let installed =
                install::install_new(&Unopened::claim(&staged)?, &self.place.db(), &self.place.trash()?)?;
            Ok((record, installed))
        })();
        if built.is_err() {
            // The first error matters; what stays in staging is swept at the next start.
            for ending in ["", "-wal", "-journal"] {
                let _ = durable::remove_file(&sidecar(&staged, ending));
            }
        }
        let (record, installed) = built?;
        let mut taken = self.taken(Outcome::Built, record, Some(identity));
        taken.notes.extend(
            installed
                .moved_away
                .iter()
                .map(|name| format!("an orphaned sidecar was moved to the trash as {name}")),
        );
        Ok(taken)
    }

    /// Takes an older app.db over in its place.
    fn adopt(self, stamp: Stamp) -> Result<Taken, Failure> {
        let path = self.place.db();
        if self.app.uuid().is_some() {
            return Err(self.other_identity("an older system"));
        }
        let inspected = Database::inspect(&path)?;
        older::judge_app(&inspected, stamp)?;
        self.refuse_foreign_rows(&inspected)?;
        self.refuse_foreign_rows_of_vods_db()?;
        if self.run.mode == Mode::DryRun {
            let scratch = Database::scratch(Some(&inspected))?;
            return self.adopt_in(scratch);
        }
        let copy = self.copy_first(&inspected, &self.run.site.data.pre_migrate())?;
        drop(inspected);
        durable::make_private(&path)?;
        let adopted = Database::write(&path).map_err(Failure::from).and_then(|db| self.adopt_in(db));
        if adopted.is_err() {
            adopt::remove_unused(&copy, &path);
        }
        adopted
    }

    /// Adopts and fills an open older app.db in one transaction.
    fn adopt_in(mut self, mut db: Database) -> Result<Taken, Failure> {
        let path = self.place.db();
        let identity = Identity::new(&self.app.name, &self.app.tenant_id, self.run.installation);
        let refused_rows = Cell::new(BTreeMap::new());
        let mut hold_refused = |tx: &rusqlite::Transaction<'_>,
                                row: &streamhub_engine::reshape::Refused<'_>| {
            let mut counts: BTreeMap<String, u64> = refused_rows.take();
            *counts.entry(row.table.to_owned()).or_default() += 1;
            refused_rows.set(counts);
            let json = rows::json(row.row.iter().copied());
            hold(tx, Source::AppDb, row.table, row.rowid, &format!("refused: {}", row.reason), &json)
                .of(&path)
        };
        let record = SCHEMA.migrate(&mut db, From::Older(&mut hold_refused), |tx| {
            let record = self.fill(tx, &identity)?;
            record.verify_in(tx, &path)?;
            Ok::<_, Failure>(record)
        })?;
        if self.run.mode == Mode::Real {
            db.checkpoint()?;
            db.close()?;
            verify(&path, &identity, &record)?;
        }
        let mut taken = self.taken(Outcome::Adopted, record, Some(identity));
        taken.notes.extend(refused_rows.take().into_iter().map(|(table, rows)| {
            format!("{rows} rows of the older app.db's table {table} break a constraint and are held in _streamhub_unimported")
        }));
        Ok(taken)
    }

    /// An app.db of ours: an earlier run committed it and was stopped before the registry knew.
    fn confirm(mut self) -> Result<Taken, Failure> {
        let path = self.place.db();
        let db = Database::inspect(&path)?;
        let identity = Identity::read(&db)?;
        let same = identity.name == self.app.name
            && identity.tenant == self.app.tenant_id
            && identity.installation == self.run.installation
            && (self.app.uuid().is_none() || self.app.points_at(&identity.uuid));
        if !same {
            let found =
                format!("app {} of tenant {} (uuid {})", identity.name, identity.tenant, identity.uuid);
            return Err(self.other_identity(&found));
        }
        if self.accept_foreign {
            return self.recover(db, identity);
        }
        let record = Record::read(&db)?;
        record.verify(&db)?;
        drop(db);
        let sources = self.source_digests()?;
        if sources != record.sources {
            let detail = "the older rows are not those that were taken over into its app.db".to_owned();
            return Err(Failure::SourceChanged { path, detail });
        }
        if self.run.mode == Mode::Real {
            durable::make_private(&path)?;
            let db = Database::write(&path)?;
            db.checkpoint()?;
            db.close()?;
        }
        Ok(self.taken(Outcome::Confirmed, record, Some(identity)))
    }

    /// Brings in what a person asked for: rows that may have been deleted, and rows of another number.
    fn recover(mut self, inspected: Database, identity: Identity) -> Result<Taken, Failure> {
        let path = self.place.db();
        let mut db = if self.run.mode == Mode::DryRun {
            Database::scratch(Some(&inspected))?
        } else {
            self.copy_first(&inspected, &self.run.site.data.pre_recover())?;
            drop(inspected);
            durable::make_private(&path)?;
            Database::write(&path)?
        };
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).of(&path)?;
        let record = self.fill(&tx, &identity)?;
        record.verify_in(&tx, &path)?;
        tx.commit().of(&path)?;
        if self.run.mode == Mode::Real {
            db.checkpoint()?;
            db.close()?;
            verify(&path, &identity, &record)?;
        }
        Ok(self.taken(Outcome::Adopted, record, Some(identity)))
    }

    /// A proven copy of an app.db from before it changes.
    fn copy_first(&self, inspected: &Database, dir: &Path) -> Result<PathBuf, Failure> {
        durable::create_dir_all(dir)?;
        let target = dir.join(format!("{}-{}.db", self.place.id(), time::file_stamp()));
        snapshot::take(inspected, &target)?;
        Ok(target)
    }

    fn other_identity(&self, found: &str) -> Failure {
        Failure::OtherIdentity {
            path: self.place.db(),
            found: found.to_owned(),
            expected: format!("app {} of tenant {}", self.app.name, self.app.tenant_id),
        }
    }

    fn refuse_foreign_rows_of_vods_db(&self) -> Result<(), Failure> {
        self.vods_db.map_or(Ok(()), |vods_db| self.refuse_foreign_rows(&vods_db.db))
    }

    /// Rows with another number than the registry's may be of another tenant, who had the name before.
    fn refuse_foreign_rows(&self, db: &Database) -> Result<(), Failure> {
        if self.accept_foreign {
            return Ok(());
        }
        for table in TABLES.iter().filter(|table| table.numbered) {
            if !older::require_columns(db, table)? {
                continue;
            }
            let sql = format!("SELECT count(*) FROM {} NOT INDEXED WHERE app_id IS NOT ?1", table.name);
            let rows: u64 = db.query_row(&sql, [self.app.id], |row| row.get(0)).of(db.path())?;
            if rows > 0 {
                let path = db.path().to_owned();
                return Err(Failure::ForeignRows { path, table: table.name, rows, app_id: self.app.id });
            }
        }
        Ok(())
    }

    /// What the sources hold, without bringing anything in.
    fn source_digests(&mut self) -> Result<Vec<SourceDigest>, Failure> {
        // The same code on a database without a name: what it records of its sources is what counts.
        let mut scratch = Database::scratch(None)?;
        let identity = Identity::new(&self.app.name, &self.app.tenant_id, self.run.installation);
        let record = SCHEMA.migrate(&mut scratch, From::Nothing, |tx| self.fill(tx, &identity))?;
        Ok(record.sources)
    }

    fn taken(&self, outcome: Outcome, record: Record, identity: Option<Identity>) -> Taken {
        let mut notes = self.notes.clone();
        let left_over: u64 = record.tables.values().map(|tally| tally.left_over).sum();
        if left_over > 0 {
            notes.push(format!(
                "{left_over} older rows are not in app.db and may have been deleted there; \
                 `streamhub migrate --recover {}` brings them in",
                self.app.name
            ));
        }
        if outcome == Outcome::Adopted {
            let rows: u64 = record.result.values().map(|digest| digest.rows).sum();
            let imported: u64 = record.tables.values().map(|tally| tally.imported).sum();
            notes.push(format!("app.db had {} rows of its own, and has them still", rows - imported));
        }
        Taken { outcome, tables: record.tables, identity, notes }
    }
}

/// Reads a database back after it was committed: identity, markers and every row.
fn verify(path: &Path, identity: &Identity, record: &Record) -> Result<(), Failure> {
    let stamp = judge::stamp(path)?;
    let standing = SCHEMA.standing(stamp, path)?;
    let db = Database::inspect(path)?;
    let whole = standing == (Standing::Ours { version: SCHEMA.latest() })
        && Identity::read(&db)? == *identity
        && Record::read(&db)? == *record;
    if !whole {
        let detail = "what was read back is not what was written".to_owned();
        return Err(Error::Unfit { path: path.to_owned(), unfit: Unfit::Mismatch { detail } }.into());
    }
    record.verify_at_rest(&db)?;
    Ok(())
}
