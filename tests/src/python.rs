//! Programs of others that ask a server: what tests/requirements.txt names, in an environment of their own below the
//! build directory. scripts/test.sh makes it.

use std::path::PathBuf;

use crate::files::target_and_profile;

/// Where a program of that environment is; an error says what to do where it is not.
///
/// ```no_run
/// # use streamhub_tests::{python, skip};
/// let Some(st) = skip::need("http::schemathesis", python::program("st")) else { return };
/// ```
pub fn program(name: &str) -> Result<PathBuf, String> {
    let program = target_and_profile().0.join("venv/bin").join(name);
    let missing = || format!("no {}; scripts/test.sh installs it", program.display());
    program.is_file().then_some(()).ok_or_else(missing)?;
    Ok(program)
}
