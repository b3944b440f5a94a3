//! What a take-over of older data did, app by app: for people and as JSON.
//!
//! For every source row exactly one of the counts goes up, so that they always add up to
//! [`Tally::found`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of the rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Rows that the older sources held.
    pub found: u64,
    /// Rows that are in app.db because of this take-over.
    pub imported: u64,
    /// Rows that app.db, or another source, already had.
    pub already_there: u64,
    /// Second versions of a row with the same key, held whole in `_streamhub_unimported`.
    pub conflicts: u64,
    /// Rows that a constraint refuses, held whole in `_streamhub_unimported`.
    pub failures: u64,
    /// Rows that an app which has lived on does not have: perhaps deleted there, so they stay where
    /// they are until a person says otherwise.
    pub left_over: u64,
}

impl Tally {
    /// Whether every row found is accounted for.
    pub fn adds_up(&self) -> bool {
        self.found == self.imported + self.already_there + self.conflicts + self.failures + self.left_over
    }

    /// Rows held whole in `_streamhub_unimported`.
    pub fn held(&self) -> u64 {
        self.conflicts + self.failures
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.imported += other.imported;
        self.already_there += other.already_there;
        self.conflicts += other.conflicts;
        self.failures += other.failures;
        self.left_over += other.left_over;
    }
}

/// How the take-over of an app ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A new app.db was made from the older sources.
    Built,
    /// The older app.db was adopted in its place.
    Adopted,
    /// An earlier run had finished it; that was verified and recorded.
    Confirmed,
    /// No row, and no directory or an empty one; taken over when there is something in it.
    Missing,
    /// Not taken over; nothing of it was changed.
    Failed,
}

/// One app's part of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    /// The app's name.
    pub app: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The sum over all tables.
    #[serde(flatten)]
    pub total: Tally,
    /// Table by table.
    pub tables: BTreeMap<String, Tally>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<AppFailure>,
    /// What a person should know although nothing is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why an app was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppFailure {
    /// A stable word for programs: `foreign-rows`, `damaged`, `too-new` …
    pub code: &'static str,
    /// The file and the reason.
    pub message: String,
    /// What a person can do.
    pub way_out: String,
}

/// What a take-over did, or in a dry run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The backup of the control database, relative to it, where one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The older schema's version, where the control database was adopted in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<u32>,
    /// App by app, in the registry's order.
    pub apps: Vec<AppReport>,
    /// Directories below `apps/` that no registered app has.
    pub orphan_directories: Vec<String>,
    /// Rows that belong to no registered app, by table; they stay where they are.
    pub orphan_rows: BTreeMap<String, u64>,
    /// What a clean-up removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<CleanupReport>,
}

/// What a clean-up of older sources removed and what it left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupReport {
    /// Where the removed files were copied to first, relative to the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// Rows removed from the control database, by table.
    pub rows_removed: BTreeMap<String, u64>,
    /// Files removed, relative to the data directory.
    pub files_removed: Vec<String>,
    /// What stays, and why.
    pub kept: Vec<String>,
}

/// A number of things, for people: `1 app`, `2 apps`.
pub fn counted<N: fmt::Display + Copy + PartialEq + From<u8>>(count: N, thing: &str) -> String {
    if count == N::from(1) { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

impl SplitReport {
    /// How many apps failed.
    pub fn failed(&self) -> usize {
        self.apps.iter().filter(|app| app.outcome == Outcome::Failed).count()
    }
}

impl AppReport {
    /// A line of the report's table and what belongs below it.
    fn show(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Built => "built",
            Outcome::Adopted => "adopted",
            Outcome::Confirmed => "confirmed",
            Outcome::Missing => "missing",
            Outcome::Failed => "FAILED",
        };
        let Tally { found, imported, already_there, conflicts, failures, left_over } = self.total;
        writeln!(
            f,
            "{:<width$}  {word:<9}  {found:>9}  {imported:>9}  {already_there:>13}  {conflicts:>9}  {left_over:>9}  \
             {failures:>8}",
            self.app
        )?;
        if let Some(error) = &self.error {
            writeln!(f, "    {}: {}\n    way out: {}", error.code, error.message, error.way_out)?;
        }
        for note in &self.notes {
            writeln!(f, "    note: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SplitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            writeln!(f, "dry run: nothing was changed; this is what would happen")?;
        }
        if let Some(version) = self.adopted_from {
            writeln!(f, "control database adopted from the older system's version {version}")?;
        }
        if let Some(backup) = &self.backup {
            writeln!(f, "backup: {backup}")?;
        }
        let width = self.apps.iter().map(|app| app.app.len()).max().unwrap_or_default();
        if width > 0 {
            writeln!(
                f,
                "{:<width$}  {:<9}  {:>9}  {:>9}  {:>13}  {:>9}  {:>9}  {:>8}",
                "app", "outcome", "found", "imported", "already there", "conflicts", "left over", "failures"
            )?;
        }
        for app in &self.apps {
            app.show(f, width)?;
        }
        for directory in &self.orphan_directories {
            writeln!(f, "orphan: apps/{directory} belongs to no registered app; left as it is")?;
        }
        for (table, rows) in &self.orphan_rows {
            writeln!(f, "orphan: {} of {table} without a registered app; left there", counted(*rows, "row"))?;
        }
        if let Some(cleanup) = &self.cleanup {
            cleanup.show(f, if self.dry_run { "would be removed" } else { "removed" })?;
            if self.apps.is_empty() {
                return Ok(());
            }
        }
        let mut total = Tally::default();
        for app in &self.apps {
            total += app.total;
        }
        write!(
            f,
            "{}, {} failed: {} found, {} imported, {} already there, {} held, {} left over",
            counted(self.apps.len(), "app"),
            self.failed(),
            counted(total.found, "row"),
            total.imported,
            total.already_there,
            total.held(),
            total.left_over
        )
    }
}

impl CleanupReport {
    fn show(&self, f: &mut fmt::Formatter<'_>, removed: &str) -> fmt::Result {
        if self.rows_removed.is_empty() && self.files_removed.is_empty() {
            writeln!(f, "clean-up: nothing to remove")?;
        }
        if let Some(backup) = &self.backup {
            writeln!(f, "clean-up backup: {backup}")?;
        }
        for (table, rows) in &self.rows_removed {
            writeln!(f, "{removed}: {} of {table}", counted(*rows, "row"))?;
        }
        for file in &self.files_removed {
            writeln!(f, "{removed}: {file}")?;
        }
        for kept in &self.kept {
            writeln!(f, "kept: {kept}")?;
        }
        Ok(())
    }
}
