//! A whole data directory: the registry, the apps, and what lies in their directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::database::{Database, Seen};
use super::ddl::Kind;
use super::populate;
use super::rows::{Cell, Row, ingress, stream, vod};

/// The moment at which everything without a time of its own was made.
const LONG_AGO: &str = "2025-06-01 08:00:00";

/// A data directory to be written.
#[derive(Debug, Clone)]
pub struct Tree {
    control: Database,
    at_root: bool,
    populated: bool,
    tenants: Vec<(String, String)>,
    apps: Vec<App>,
    files: Vec<(String, Vec<u8>)>,
}

/// An app of a [`Tree`]. Without more it is a row in the registry and nothing on disk.
#[derive(Debug, Clone)]
pub struct App {
    name: String,
    registered: bool,
    id: Option<i64>,
    tenant: String,
    dir: bool,
    vods: Option<Database>,
    own: Option<Database>,
    globals: Vec<Row>,
    files: Vec<(String, Vec<u8>)>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty registry of the highest version, in `data/streamhub.db`.
    pub fn new() -> Self {
        Self {
            control: Database::new(Kind::Control),
            at_root: false,
            populated: false,
            tenants: Vec::new(),
            apps: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Two apps with a few rows from every source: one with a `vods.db` and global rows, ids and contents overlapping,
    /// one with global rows only. Few enough pages for a fault at each operation of a take-over.
    pub fn small() -> Self {
        Self::new()
            .populated()
            .app("demo", |a| {
                a.dir()
                    .config("name: demo\ns3:\n  secret_key_env: APP_DEMO_S3_SECRET\n")
                    .file("recordings/a.mp4", b"not really a film")
                    .vods_db(|v| {
                        v.stream("d1")
                            .row(stream("d2").set("participant", "ünïcode 参加者").null("room"))
                            .stream("d3")
                            .vod("a.mp4")
                            .vod("b.mp4")
                            .row(vod("b.mp4").null("size_bytes"))
                    })
                    .global_streams(["d1", "d4"])
                    .global(vod("a.mp4").id(2))
                    .global(vod("older.mp4").id(1))
                    .ingress(["IN_demo_0"])
            })
            .app("live", |a| {
                a.dir()
                    .global_streams(["l1", "l2"])
                    .global_vods(["l.mp4"])
                    .ingress(["IN_live_0", "IN_live_1"])
            })
    }

    /// The registry's `user_version`, 0 to 8, which decides its tables. Apps' databases have versions of their own.
    #[must_use]
    pub fn at_version(mut self, version: u32) -> Self {
        self.control = self.control.at_version(version);
        self
    }

    /// Puts the registry at the top of the data directory, where the older system's documentation has it.
    #[must_use]
    pub fn at_root(mut self) -> Self {
        self.at_root = true;
        self
    }

    /// Makes the registry's `streams`, `vods` and `ingress_auth` without constraints. See [`Database::lax`].
    #[must_use]
    pub fn lax(mut self) -> Self {
        self.control = self.control.lax();
        self
    }

    /// Leaves the registry's last commits in its `-wal`.
    #[must_use]
    pub fn in_wal(mut self) -> Self {
        self.control = self.control.in_wal();
        self
    }

    /// Leaves out the columns that the older system adds when it runs (`apps.tenant_id`, `users.password_hash` …).
    #[must_use]
    pub fn without_late_columns(mut self) -> Self {
        self.control.shape.late_columns = false;
        self
    }

    /// Leaves out the tables that the older system makes when it runs (`sessions`, `ip_rules` …).
    #[must_use]
    pub fn without_run_time_tables(mut self) -> Self {
        self.control.shape.run_time_tables = false;
        self
    }

    /// Puts a row or two into each of the registry's tables, so that there is something to survive.
    #[must_use]
    pub fn populated(mut self) -> Self {
        self.populated = true;
        self
    }

    /// Sets the done marker of the older system's own split, true or not.
    #[must_use]
    pub fn done_marker(self) -> Self {
        self.meta("per_app_split_done", "1")
            .meta("per_app_split_backup", "/srv/media/data/streamhub.db.bak-2026-01-02T03-04-05-678Z")
    }

    /// Sets a key of the registry's `_streamhub_meta`, which is there from version 7.
    #[must_use]
    pub fn meta(mut self, key: &str, value: &str) -> Self {
        self.control = self.control.meta(key, value);
        self
    }

    /// Adds a row to any table of the registry. An app's tenant gets its row by itself.
    #[must_use]
    pub fn other<'a>(mut self, table: &str, cells: impl IntoIterator<Item = (&'a str, Cell)>) -> Self {
        self.control = self.control.other(table, cells);
        self
    }

    /// Runs SQL on the registry once its tables are there: for tables that nobody knows.
    #[must_use]
    pub fn sql(mut self, sql: &str) -> Self {
        self.control = self.control.sql(sql);
        self
    }

    /// Names a tenant; one that only apps mention has its id for a name.
    #[must_use]
    pub fn tenant(mut self, id: &str, name: &str) -> Self {
        self.tenants.push((id.to_owned(), name.to_owned()));
        self
    }

    /// Adds an app to the registry. Its id is its place among the apps, from 1.
    #[must_use]
    pub fn app(mut self, name: &str, describe: impl FnOnce(App) -> App) -> Self {
        self.apps.push(describe(App::new(name)));
        self
    }

    /// Adds a directory under `apps/` that the registry does not know. Its rows have app id 900 unless one is given.
    #[must_use]
    pub fn orphan(mut self, name: &str, describe: impl FnOnce(App) -> App) -> Self {
        self.apps.push(App { registered: false, ..describe(App::new(name).id(900).dir()) });
        self
    }

    /// Adds a row to the registry's `streams`, `vods` or `ingress_auth` that names its app itself: one that is not
    /// registered, or none.
    #[must_use]
    pub fn unowned(mut self, row: Row) -> Self {
        self.control.shape.global_tables = true;
        self.control = self.control.row(row);
        self
    }

    /// Makes the registry's `streams` and `vods` even if no row needs them.
    #[must_use]
    pub fn global_tables(mut self) -> Self {
        self.control.shape.global_tables = true;
        self
    }

    /// Puts a file somewhere in the data directory.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), bytes.as_ref().to_vec()));
        self
    }

    /// The apps, registered or not, in the order in which they were added.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.iter()
    }

    /// The registry's version.
    pub fn version(&self) -> u32 {
        self.control.shape.version
    }

    /// Writes everything below a directory, which is made where it is missing, and says where the registry is.
    ///
    /// # Panics
    /// Where the description contradicts itself: a row for a table that the version lacks, an id that is used twice.
    pub fn build(&self, dir: &Path) -> PathBuf {
        let mut control = self.control.clone();
        let tenants = self.tenant_rows();
        if control.shape.version >= 5 {
            control.others.extend(tenants);
        }
        for (app, id) in self.with_ids() {
            control.rows.extend(app.globals.iter().map(|row| row.given_to(id, &app.name)));
            if app.registered {
                control.others.push(app.registry_row(id, control.shape.late_columns));
            }
            app.write(dir, id);
        }
        if self.populated {
            let first = self.with_ids().find(|(app, _)| app.registered).map(|(_, id)| id);
            control.others.extend(populate::rows(&control.shape, first));
        }
        control.shape.global_tables |= control.rows.iter().any(|row| row.table != super::Table::Ingress);
        let path = if self.at_root { dir.join("streamhub.db") } else { dir.join("data/streamhub.db") };
        make_dir(path.parent().expect("a file lies in a directory"));
        control.write(&path);
        write_files(dir, &self.files);
        path
    }

    fn with_ids(&self) -> impl Iterator<Item = (&App, i64)> {
        self.apps.iter().zip(1..).map(|(app, place)| (app, app.id.unwrap_or(place)))
    }

    fn tenant_rows(&self) -> Vec<super::database::OtherRow> {
        let mut all: BTreeMap<&str, &str> =
            self.apps.iter().map(|app| (app.tenant.as_str(), app.tenant.as_str())).collect();
        all.extend(self.tenants.iter().map(|(id, name)| (id.as_str(), name.as_str())));
        // Version 6 makes the platform itself; in version 5 it is a tenant like any other.
        all.retain(|id, _| *id != "platform" || self.version() == 5);
        all.iter()
            .flat_map(|(id, name)| {
                let tenant = populate::row(
                    "tenants",
                    [("id", (*id).into()), ("name", (*name).into()), ("created_at", LONG_AGO.into())],
                );
                [tenant, populate::row("quotas", [("tenant_id", (*id).into())])]
            })
            .collect()
    }

    /// Removes what the databases could not store. See [`Database::settle`].
    pub(crate) fn settle(mut self) -> Self {
        let mut shape = self.control.shape.clone();
        shape.global_tables = true;
        let mut seen = Seen::default();
        self.control.rows.retain_mut(|row| seen.admit(&shape, row));
        for app in &mut self.apps {
            app.globals.retain_mut(|row| seen.admit(&shape, row));
            app.vods.iter_mut().chain(&mut app.own).for_each(Database::settle);
        }
        self
    }
}

impl App {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            registered: true,
            id: None,
            tenant: "platform".to_owned(),
            dir: false,
            vods: None,
            own: None,
            globals: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Fixes the app's id in the registry.
    #[must_use]
    pub fn id(mut self, id: i64) -> Self {
        self.id = Some(id);
        self
    }

    /// Gives the app to a tenant; without this it is the platform's.
    #[must_use]
    pub fn tenant(mut self, id: &str) -> Self {
        id.clone_into(&mut self.tenant);
        self
    }

    /// Makes its directory under `apps/`, with a `config.yaml` in it. A database or a file in it makes it too.
    #[must_use]
    pub fn dir(mut self) -> Self {
        self.dir = true;
        self
    }

    /// Puts a `vods.db` into its directory, of version 2 unless said otherwise.
    #[must_use]
    pub fn vods_db(mut self, describe: impl FnOnce(Database) -> Database) -> Self {
        self.vods = Some(describe(Database::new(Kind::Vods)));
        self
    }

    /// Puts an `app.db` into its directory, of version 8 and without markers unless said otherwise.
    #[must_use]
    pub fn app_db(mut self, describe: impl FnOnce(Database) -> Database) -> Self {
        self.own = Some(describe(Database::new(Kind::App)));
        self
    }

    /// Adds a row of this app to the registry's own `streams`, `vods` or `ingress_auth`.
    #[must_use]
    pub fn global(mut self, row: Row) -> Self {
        self.globals.push(row);
        self
    }

    /// Adds rows of this app to the registry's own tables.
    #[must_use]
    pub fn globals(mut self, rows: impl IntoIterator<Item = Row>) -> Self {
        self.globals.extend(rows);
        self
    }

    /// Adds ordinary streams to the registry's `streams`.
    #[must_use]
    pub fn global_streams<'a>(self, ids: impl IntoIterator<Item = &'a str>) -> Self {
        self.globals(ids.into_iter().map(stream))
    }

    /// Adds ordinary recordings to the registry's `vods`.
    #[must_use]
    pub fn global_vods<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.globals(names.into_iter().map(vod))
    }

    /// Adds ordinary rows to the registry's `ingress_auth`.
    #[must_use]
    pub fn ingress<'a>(self, ids: impl IntoIterator<Item = &'a str>) -> Self {
        self.globals(ids.into_iter().map(ingress))
    }

    /// Puts a `config.yaml` into its directory.
    #[must_use]
    pub fn config(self, yaml: &str) -> Self {
        self.file("config.yaml", yaml)
    }

    /// Puts a file into its directory.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), bytes.as_ref().to_vec()));
        self
    }

    /// The app's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The registry knows it.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// It has a directory.
    pub fn has_dir(&self) -> bool {
        self.dir || self.vods.is_some() || self.own.is_some() || !self.files.is_empty()
    }

    /// It has a `vods.db`.
    pub fn has_vods_db(&self) -> bool {
        self.vods.is_some()
    }

    /// It has an `app.db`.
    pub fn has_app_db(&self) -> bool {
        self.own.is_some()
    }

    /// Its `app.db` carries a marker such as `vods_import_done`.
    pub fn has_marker(&self, key: &str) -> bool {
        self.own.as_ref().and_then(|db| db.meta_value(key)) == Some(&Cell::from("1"))
    }

    fn registry_row(&self, id: i64, late_columns: bool) -> super::database::OtherRow {
        let mut row = populate::row(
            "apps",
            [
                ("id", id.into()),
                ("name", self.name.as_str().into()),
                ("display_name", self.name.to_uppercase().into()),
                ("livekit_room_prefix", self.name.as_str().into()),
                ("created_at", LONG_AGO.into()),
                ("updated_at", "2026-01-02T03:04:05.678Z".into()),
            ],
        );
        if late_columns {
            row.1.push(("tenant_id".to_owned(), self.tenant.as_str().into()));
        }
        row
    }

    fn write(&self, data_dir: &Path, id: i64) {
        // `apps/` itself is there even where no app has a directory, as after a lost mount.
        make_dir(&data_dir.join("apps"));
        let home = data_dir.join("apps").join(&self.name);
        if self.has_dir() {
            make_dir(&home);
            // The older system put one into every app's directory.
            if !self.files.iter().any(|(path, _)| path == "config.yaml") {
                write_files(
                    &home,
                    &[("config.yaml".to_owned(), format!("name: {}\n", self.name).into_bytes())],
                );
            }
        }
        for (database, file) in [(&self.vods, "vods.db"), (&self.own, "app.db")] {
            if let Some(database) = database {
                let mut database = database.clone();
                database.rows = database.rows.iter().map(|row| row.given_to(id, &self.name)).collect();
                database.write(&home.join(file));
            }
        }
        write_files(&home, &self.files);
    }
}

fn write_files(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = dir.join(path);
        make_dir(path.parent().expect("a file lies in a directory"));
        fs::write(&path, bytes).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }
}

fn make_dir(path: &Path) {
    fs::create_dir_all(path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
}
