//! Tests that this machine cannot run, and the data that is not part of the repository.
//!
//! A skipped test says so on the real standard error, which the test harness does not swallow. With
//! `STREAMHUB_TEST_REQUIRE=all` a skip is a failure.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Reports that a test cannot run here; the caller then returns.
///
/// # Panics
/// Where `STREAMHUB_TEST_REQUIRE=all`: there every test is expected to run.
pub fn skip(name: &str, reason: &str) {
    let line = format!("SKIP {name}: {reason}\n");
    assert!(env::var_os("STREAMHUB_TEST_REQUIRE").is_none_or(|v| v != "all"), "{line}");
    // Without the harness's capture: a skip that nobody sees would look like a pass.
    std::io::stderr().write_all(line.as_bytes()).expect("writing to standard error");
}

/// The value that a test needs, or a skip that gives the reason why there is none.
///
/// ```no_run
/// # use streamhub_tests::{disk::Disk, skip};
/// let Some(disk) = skip::need("backup::survives_a_power_cut", Disk::make(32)) else { return };
/// ```
pub fn need<T>(name: &str, have: Result<T, String>) -> Option<T> {
    have.map_err(|reason| skip(name, &reason)).ok()
}

/// The directory with data that the older system itself wrote: `STREAMHUB_FIXTURES`, else `../shared/fixtures` seen
/// from the workspace.
pub fn fixtures() -> Option<PathBuf> {
    let place = match env::var_os("STREAMHUB_FIXTURES").filter(|v| !v.is_empty()) {
        Some(place) => PathBuf::from(place),
        None => workspace().parent()?.join("shared/fixtures"),
    };
    place.is_dir().then_some(place)
}

/// Like [`fixtures`], with a skip in the test's name where there are none.
///
/// `STREAMHUB_FIXTURES=none` says that there are none to be had, as in a clone of the repository
/// alone: that is no skip, since the generated data and `data-example` are tested all the same.
pub fn need_fixtures(name: &str) -> Option<PathBuf> {
    if env::var_os("STREAMHUB_FIXTURES").is_some_and(|place| place == "none") {
        return None;
    }
    need(name, fixtures().ok_or_else(|| "no fixtures; STREAMHUB_FIXTURES names their directory".to_owned()))
}

/// The workspace's top directory.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests' package is a directory of the workspace")
}
