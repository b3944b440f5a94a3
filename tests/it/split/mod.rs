//! The take-over of older data directories: the older system's own, the example, and every older state.

mod cleanup;
mod example;
mod fixtures;
mod recover;
mod sessions;
mod sources;
mod versions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use streamhub_tests::books::{Books, app_db};
use streamhub_tests::command::{Output, Streamhub};
use streamhub_tests::files::{scratch, tree_changes, tree_digest_except};
use streamhub_tests::legacy::{Table, Tree};
use tempfile::TempDir;

/// A data directory of a test, and what it held at first.
pub(crate) struct Place {
    home: TempDir,
    pub(crate) books: Books,
}

impl Place {
    /// Writes a described directory.
    pub(crate) fn of(tree: &Tree) -> Self {
        Self::made(|dir| {
            tree.build(dir);
        })
    }

    /// Writes a directory.
    pub(crate) fn made(write: impl FnOnce(&Path)) -> Self {
        let home = scratch();
        write(home.path());
        Self { books: Books::open(home.path()), home }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.home.path()
    }

    /// A path in an app's directory.
    pub(crate) fn app(&self, app: &str, name: &str) -> PathBuf {
        self.dir().join("apps").join(app).join(name)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Streamhub::new(self.dir()).run(arguments)
    }

    /// Takes it over and demands an exit code.
    #[track_caller]
    pub(crate) fn migrate(&self, code: i32) -> Report {
        self.migrate_with(&[], code)
    }

    /// The same with more arguments.
    #[track_caller]
    pub(crate) fn migrate_with(&self, arguments: &[&str], code: i32) -> Report {
        let output = self.run(&[&["migrate", "--json"], arguments].concat()).expect(code);
        Report(output.json())
    }

    /// Takes it over and demands that everything is accounted for, and that doing it again changes nothing.
    #[track_caller]
    pub(crate) fn taken_over(&self) -> Report {
        let report = self.migrate(0);
        self.demand_finished();
        let before = self.digest();
        self.migrate(0);
        assert_eq!(tree_changes(&before, &self.digest()), [""; 0], "a second run changed something");
        report
    }

    /// Demands that every row is accounted for.
    #[track_caller]
    pub(crate) fn demand_finished(&self) {
        let wrong = self.books.finished(self.dir());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Digests of all files but the lock, which holds a process id.
    pub(crate) fn digest(&self) -> BTreeMap<String, String> {
        tree_digest_except(self.dir(), |path| path == "streamhub.lock")
    }

    /// Demands that the report's numbers are those of the files.
    #[track_caller]
    pub(crate) fn demand_counts(&self, report: &Report, app: &str) {
        for table in Table::ALL {
            let counted = self.books.count(self.dir(), app, table);
            let tally = report.tally(app, table);
            let told = (tally.found, tally.imported, tally.conflicts + tally.failures, tally.left_over);
            let there = (counted.found, counted.gained, counted.held, counted.left_over);
            assert_eq!(told, there, "(found, imported, held, left over) of {app} {}", table.name());
            let sum = tally.imported + tally.already_there + tally.conflicts + tally.failures;
            assert_eq!(tally.found, sum + tally.left_over, "{app} {}: {tally:?}", table.name());
        }
    }
}

/// What `migrate --json` said.
pub(crate) struct Report(pub(crate) Value);

/// One table's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) found: u64,
    pub(crate) imported: u64,
    pub(crate) already_there: u64,
    pub(crate) conflicts: u64,
    pub(crate) failures: u64,
    pub(crate) left_over: u64,
}

/// A tally in the order of the report's line: found, imported, already there, conflicts, failures, left over.
pub(crate) fn tally(numbers: [u64; 6]) -> Tally {
    let [found, imported, already_there, conflicts, failures, left_over] = numbers;
    Tally { found, imported, already_there, conflicts, failures, left_over }
}

impl Report {
    pub(crate) fn apps(&self) -> impl Iterator<Item = &Value> {
        self.0["apps"].as_array().expect("a list of apps").iter()
    }

    #[track_caller]
    pub(crate) fn app(&self, name: &str) -> &Value {
        self.apps().find(|app| app["app"] == name).unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    /// How an app's take-over ended.
    #[track_caller]
    pub(crate) fn outcome(&self, app: &str) -> &str {
        self.app(app)["outcome"].as_str().expect("an outcome")
    }

    /// The code of an app's failure.
    #[track_caller]
    pub(crate) fn failure(&self, app: &str) -> &str {
        self.app(app)["error"]["code"].as_str().unwrap_or_else(|| panic!("{app} did not fail: {}", self.0))
    }

    #[track_caller]
    pub(crate) fn total(&self, app: &str) -> Tally {
        read(self.app(app))
    }

    #[track_caller]
    pub(crate) fn tally(&self, app: &str, table: Table) -> Tally {
        read(&self.app(app)["tables"][table.name()])
    }

    pub(crate) fn notes(&self, app: &str) -> String {
        self.app(app)["notes"].to_string()
    }
}

fn read(json: &Value) -> Tally {
    let number = |key: &str| json[key].as_u64().unwrap_or(0);
    Tally {
        found: number("found"),
        imported: number("imported"),
        already_there: number("alreadyThere"),
        conflicts: number("conflicts"),
        failures: number("failures"),
        left_over: number("leftOver"),
    }
}

/// A connection for changing a test's database; the files beside it are gone once it is closed.
pub(crate) fn sql(path: &Path, sql: &str) {
    let db = rusqlite::Connection::open(path).expect("a database");
    db.execute_batch("PRAGMA ignore_check_constraints = ON").expect("no checks");
    db.execute_batch(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    db.close().map_err(|(_, e)| e).expect("closing a database");
}

/// Rows of a query as text.
pub(crate) fn rows_of(path: &Path, query: &str) -> Vec<String> {
    let db = streamhub_tests::readonly::open(path);
    let mut statement = db.prepare(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let width = statement.column_count();
    let line = |row: &rusqlite::Row<'_>| {
        (0..width)
            .map(|at| row.get_ref(at).map(streamhub_tests::readonly::literal))
            .collect::<Result<Vec<_>, _>>()
            .map(|values| values.join(" "))
    };
    statement.query_map([], line).and_then(Iterator::collect).unwrap_or_else(|e| panic!("{query}: {e}"))
}

/// The held rows' reasons of an app.
pub(crate) fn reasons(place: &Place, app: &str) -> Vec<String> {
    rows_of(&app_db(place.dir(), app), "SELECT reason FROM _streamhub_unimported ORDER BY id")
}
