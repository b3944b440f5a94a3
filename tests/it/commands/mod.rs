//! The command line, one module per command, with the real binary.

mod app;
mod audit;
mod beside_a_server;
mod completions;
mod config;
mod doctor;
mod global;
mod job;
mod live_streams;
mod logs;
mod migrate;
mod named_server;
mod node;
mod refusals;
mod serve;
mod status;
mod tenant;
mod terminal;
mod token;
mod user;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use streamhub_tests::command::Streamhub;
use streamhub_tests::files::{scratch, tree_changes, tree_digest, tree_digest_except};
use streamhub_tests::legacy::Tree;
use tempfile::TempDir;

/// A data directory in a scratch directory.
struct Place {
    dir: PathBuf,
    _home: TempDir,
}

impl Place {
    /// A path at which nothing is yet.
    fn missing() -> Self {
        let home = scratch();
        Self { dir: home.path().join("data-dir"), _home: home }
    }

    /// An older system's directory.
    fn of(tree: &Tree) -> Self {
        let place = Self::missing();
        tree.build(&place.dir);
        place
    }

    /// The same, taken over.
    fn taken_over(tree: &Tree) -> Self {
        let place = Self::of(tree);
        let _ = place.streamhub().run(["migrate"]).expect(0);
        place
    }

    /// Two small apps, taken over.
    fn ours() -> Self {
        Self::taken_over(&Tree::small())
    }

    /// A new installation without apps.
    fn new() -> Self {
        let place = Self::missing();
        let _ = place.streamhub().run(["migrate"]).expect(0);
        place
    }

    /// A new installation with one app.
    fn with_app(name: &str) -> Self {
        let place = Self::new();
        let _ = place.streamhub().run(["app", "create", name]).expect(0);
        place
    }

    fn streamhub(&self) -> Streamhub {
        Streamhub::new(&self.dir)
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.join(below)
    }

    fn digest(&self) -> BTreeMap<String, String> {
        tree_digest(&self.dir)
    }

    /// All but what a running server has open.
    fn digest_of_apps(&self) -> BTreeMap<String, String> {
        tree_digest_except(&self.dir, |path| path == "streamhub.lock" || path == "data")
    }

    /// What changed since, apart from the lock file.
    fn changes(&self, before: &BTreeMap<String, String>) -> Vec<String> {
        let mut before = before.clone();
        before.remove("streamhub.lock");
        tree_changes(&before, &tree_digest_except(&self.dir, |path| path == "streamhub.lock"))
    }
}

/// What a command that has to end well prints as JSON.
#[track_caller]
fn json_of(place: &Place, line: &[&str]) -> Value {
    place.streamhub().run(line.iter().chain(&["--json"])).expect(0).json()
}

/// Demands that a command is refused with this code, that standard error has these words, and that nothing is
/// printed or changed.
#[track_caller]
fn refused(place: &Place, line: &[&str], code: i32, words: &[&str]) {
    let before = place.digest();
    let output = place.streamhub().run(line).expect(code);
    for word in words {
        assert!(output.stderr().contains(word), "{word:?} is not said of {line:?}: {}", output.stderr());
    }
    assert!(output.stdout().is_empty(), "{line:?} printed {}", output.stdout());
    let mut changes = place.changes(&before);
    // An empty place for work comes and goes.
    changes.retain(|change| !change.ends_with(" apps/.staging"));
    assert!(changes.is_empty(), "{line:?} changed {changes:?}");
}
