//! Faults injected into a program's file operations, one run for each point.
//!
//! The library in `faults/iofault.c` is compiled on first use and preloaded into the program. Its head says which
//! operations are points, and what each mode does to them. What a program does by system calls of its own, past the
//! C library, is not seen (the crate `rustix` does that, and `tempfile` with it).
//!
//! ```no_run
//! # use streamhub_tests::faults::{Faults, Mode};
//! # let (data, command) = (std::path::Path::new("/scratch/data"), || std::process::Command::new("streamhub"));
//! let faults = Faults::on(data).expect("a C compiler");
//! for at in 1..=faults.count(&mut command()).points.len() {
//!     let run = faults.run(&mut command(), at, Mode::Kill);
//!     assert!(run.injected && run.ended.killed());
//! }
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::files::{build_tmp, hex};
use crate::process::{self, Ended};

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// SIGKILL before it.
    Kill,
    /// Half of a write, then SIGKILL; before anything else SIGKILL.
    Torn,
    /// Half of a write, reported as such; anything else is done as asked.
    Short,
    /// ENOSPC for what needs room, EIO for a sync; what gives room back is done as asked.
    Enospc,
    /// EIO.
    Eio,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Torn, Self::Short, Self::Enospc, Self::Eio];

    /// Its name in `IOFAULT_MODE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Torn => "torn",
            Self::Short => "short",
            Self::Enospc => "enospc",
            Self::Eio => "eio",
        }
    }
}

/// One operation that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Its number, from 1.
    pub n: usize,
    /// The function that was called.
    pub operation: String,
    /// The file or the directory entry; of a rename the new name, if that one matches.
    pub path: PathBuf,
}

/// A run under the library.
#[derive(Debug, Clone)]
pub struct Run {
    /// How the program ended and what it wrote.
    pub ended: Ended,
    /// The operations up to the end, sorted by number.
    pub points: Vec<Point>,
    /// Some operation did not go as asked. `false` where the program ended before the chosen one, and where the mode
    /// has nothing against it.
    pub injected: bool,
}

impl Run {
    /// The operation that was chosen, in words, for a failing test's message.
    pub fn at(&self, n: usize) -> String {
        let point = self.points.iter().find(|point| point.n == n);
        point.map_or_else(
            || format!("point {n} (not reached)"),
            |point| format!("point {n} ({} {})", point.operation, point.path.display()),
        )
    }
}

/// Faults on the paths that hold some text.
#[derive(Debug, Clone)]
pub struct Faults {
    library: PathBuf,
    matching: PathBuf,
    limit: Duration,
}

impl Faults {
    /// Counts and spoils only operations on paths that hold this text: a directory's absolute path, or part of a name.
    /// The error is the reason why this machine cannot do it.
    pub fn on(matching: impl AsRef<Path>) -> Result<Self, String> {
        static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let options = ["-shared", "-fPIC", "-O2"];
        let library =
            LIBRARY.get_or_init(|| compile("iofault.c", "iofault.so", &options, &["-ldl"])).clone()?;
        Ok(Self { library, matching: matching.as_ref().to_owned(), limit: process::PATIENCE })
    }

    /// How long one run may take. Without this [`process::PATIENCE`].
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command without a fault and lists its operations.
    pub fn count(&self, command: &mut Command) -> Run {
        self.go(command, None)
    }

    /// Runs the command with a fault at one operation, counted from 1.
    pub fn run(&self, command: &mut Command, at: usize, mode: Mode) -> Run {
        self.go(command, Some((at, mode, false)))
    }

    /// Runs the command with a fault at one operation and all that follow, as on a disk that is full or broken.
    pub fn run_from(&self, command: &mut Command, at: usize, mode: Mode) -> Run {
        self.go(command, Some((at, mode, true)))
    }

    fn go(&self, command: &mut Command, fault: Option<(usize, Mode, bool)>) -> Run {
        let log = tempfile::NamedTempFile::new().expect("a file for the points");
        command
            .env("LD_PRELOAD", &self.library)
            .env("IOFAULT_MATCH", &self.matching)
            .env("IOFAULT_LOG", log.path());
        for name in ["IOFAULT_AT", "IOFAULT_MODE", "IOFAULT_STICKY"] {
            command.env_remove(name);
        }
        if let Some((at, mode, sticky)) = fault {
            command.env("IOFAULT_AT", at.to_string()).env("IOFAULT_MODE", mode.name());
            command.env("IOFAULT_STICKY", if sticky { "1" } else { "0" });
        }
        let ended = process::run_within(command, self.limit);
        let (points, injected) = read_log(&fs::read(log.path()).expect("the points"));
        Run { ended, points, injected }
    }
}

fn read_log(log: &[u8]) -> (Vec<Point>, bool) {
    let mut points = Vec::new();
    let mut injected = false;
    for line in String::from_utf8_lossy(log).lines() {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("!"), ..) => injected = true,
            (Some(n), Some(operation), Some(path)) => points.push(Point {
                n: n.parse().expect("a point's number"),
                operation: operation.to_owned(),
                path: path.into(),
            }),
            _ => panic!("not a point: {line:?}"),
        }
    }
    points.sort_by_key(|point| point.n);
    (points, injected)
}

/// Compiles a file of `tests/faults` and says where the result is, or why there is none.
///
/// The result's name holds a digest of its source, so that it is made once and never stale; it is renamed into place,
/// because test processes may do this at the same time.
pub(crate) fn compile(
    source: &str,
    output: &str,
    options: &[&str],
    libraries: &[&str],
) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults").join(source);
    let text = fs::read(&source).map_err(|e| format!("cannot read {}: {e}", source.display()))?;
    let place = build_tmp().join(format!("{}-{output}", &hex(&Sha256::digest(text))[..12]));
    if place.exists() {
        return Ok(place);
    }
    let draft = tempfile::Builder::new()
        .prefix("draft-")
        .tempdir_in(build_tmp())
        .map_err(|e| format!("no directory to compile in: {e}"))?;
    let built = draft.path().join(output);
    let mut compiler = Command::new("cc");
    compiler
        .args(options)
        .args(["-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&built)
        .arg(&source)
        .args(libraries);
    let result = compiler.output().map_err(|e| format!("no C compiler (cc): {e}"))?;
    if !result.status.success() {
        return Err(format!(
            "cc failed on {}: {}",
            source.display(),
            String::from_utf8_lossy(&result.stderr)
        ));
    }
    fs::rename(&built, &place).map_err(|e| format!("cannot install {}: {e}", place.display()))?;
    Ok(place)
}
