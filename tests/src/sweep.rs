//! A take-over that is broken off at each of its file operations, or at random moments, and then done again.
//!
//! After the fault nothing may be lost, half done, or claimed to be done and not be; a run that says it succeeded must
//! have; and one more run, undisturbed, must end exactly as if nothing had happened.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use tempfile::TempDir;

use crate::books::Books;
use crate::command::Streamhub;
use crate::faults::{Faults, Mode, Run};
use crate::files::{copy_tree, scratch};
use crate::fingerprint::{self, Fingerprint, fingerprint};
use crate::process::{self, Ended};

/// A fault, and whether it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What happens at the chosen operation.
    pub mode: Mode,
    /// It also happens at all operations after that one.
    pub stays: bool,
}

impl Trouble {
    /// The program's sudden end.
    pub const KILL: Self = Self { mode: Mode::Kill, stays: false };

    /// Each fault alone, and the disk that is full or broken from some moment on.
    pub const ALL: [Self; 7] = [
        Self::KILL,
        Self { mode: Mode::Torn, stays: false },
        Self { mode: Mode::Short, stays: false },
        Self { mode: Mode::Enospc, stays: false },
        Self { mode: Mode::Eio, stays: false },
        Self { mode: Mode::Enospc, stays: true },
        Self { mode: Mode::Eio, stays: true },
    ];

    /// Runs a program with this at its `at`th operation.
    pub(crate) fn run(self, faults: &Faults, command: &mut Command, at: usize) -> Run {
        if self.stays { faults.run_from(command, at, self.mode) } else { faults.run(command, at, self.mode) }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.stays { "lasting " } else { "" }, self.mode.name())
    }
}

/// How many runs there were and what was wrong with them.
#[derive(Debug, Default)]
pub struct Totals {
    /// Runs.
    pub runs: usize,
    /// Runs in which the fault happened before the program was done.
    pub hit: usize,
    /// Runs that ended with success in spite of it.
    pub succeeded: usize,
    /// What must not be, a line for each.
    pub wrong: Vec<String>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, hit, succeeded, wrong } = self;
        write!(f, "{runs} runs, {hit} hit, {succeeded} succeeded all the same, {} wrong", wrong.len())
    }
}

/// An older data directory and what an undisturbed take-over makes of it.
#[derive(Debug)]
pub struct Sweep {
    home: TempDir,
    books: Books,
    expected: Fingerprint,
    /// How long an undisturbed run took.
    pub duration: Duration,
}

impl Sweep {
    /// Builds the directory and takes a copy of it over.
    ///
    /// # Panics
    /// Where already the undisturbed run is wrong.
    pub fn new(build: impl FnOnce(&Path)) -> Self {
        let home = scratch();
        let [original, copy] = ["original", "undisturbed"].map(|name| home.path().join(name));
        build(&original);
        let books = Books::open(&original);
        copy_tree(&original, &copy);
        let start = Instant::now();
        drop(Streamhub::new(&copy).run(["migrate"]).expect(0));
        let duration = start.elapsed();
        assert_eq!(books.finished(&copy), [""; 0], "already undisturbed");
        let expected = fingerprint(&copy, fingerprint::Mode::Split);
        Self { home, books, expected, duration }
    }

    /// The operations of an undisturbed run.
    ///
    /// # Panics
    /// Where it fails.
    pub fn points(&self) -> Result<Run, String> {
        let dir = self.copy();
        let run = Faults::on(dir.path())?.count(&mut command(dir.path()));
        assert!(run.ended.success() && !run.injected, "{}", run.ended.describe());
        Ok(run)
    }

    /// One run for each of the operations up to `points`, each with the fault at that operation.
    pub fn each(&self, points: usize, trouble: Trouble) -> Totals {
        in_parallel(points, &|n, totals| self.disturbed(n + 1, trouble, totals))
    }

    /// So many runs that are killed at a random moment. The moments follow from the seed, what happens in them does not.
    pub fn random_kills(&self, runs: usize, seed: u64) -> Totals {
        let random = AtomicU64::new(seed | 1);
        // The run that counted the points wrote a log of them, which takes longer than the run itself.
        let duration = (0..3).map(|_| self.plain_duration()).max().unwrap_or(self.duration);
        in_parallel(runs, &|_, totals| {
            let next = |x: u64| Some(xorshift(x));
            let now = random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(1);
            let moment = duration * u32::try_from(now >> 33).unwrap_or(0) / (u32::MAX >> 1);
            self.killed_after(moment, totals);
        })
    }

    fn disturbed(&self, at: usize, trouble: Trouble, totals: &mut Totals) {
        let dir = self.copy();
        let faults = Faults::on(dir.path()).expect("compiled for counting");
        let mut command = command(dir.path());
        let run = trouble.run(&faults, &mut command, at);
        let what = format!("{trouble} at {}", run.at(at));
        totals.hit += usize::from(run.injected);
        let demanded = match trouble.mode {
            // Threads make the number of operations vary by a few: a run may end before its point.
            Mode::Kill | Mode::Torn if !run.injected => run.ended.success(),
            Mode::Kill | Mode::Torn => run.ended.killed(),
            // A short write is no failure: the rest is written with the next.
            Mode::Short => run.ended.success(),
            Mode::Enospc | Mode::Eio => matches!(run.ended.code, Some(0 | 1 | 70)),
        };
        if !demanded {
            totals.wrong.push(format!("{what}: {}", run.ended.describe()));
        }
        self.judge(dir.path(), &run.ended, &what, totals);
    }

    fn plain_duration(&self) -> Duration {
        let dir = self.copy();
        let start = Instant::now();
        let ended = process::run(&mut command(dir.path()));
        assert!(ended.success(), "{}", ended.describe());
        start.elapsed()
    }

    fn killed_after(&self, moment: Duration, totals: &mut Totals) {
        let dir = self.copy();
        let mut child = command(dir.path());
        let quiet = Stdio::null;
        let mut child = child.stdout(quiet()).stderr(quiet()).spawn().expect("the binary starts");
        thread::sleep(moment);
        let killed = child.try_wait().expect("waiting for a child").is_none();
        child.kill().expect("killing a child");
        let code = child.wait().expect("waiting for a child").code();
        totals.hit += usize::from(killed);
        let ended =
            Ended { code, signal: None, timed_out: false, stdout: String::new(), stderr: String::new() };
        self.judge(dir.path(), &ended, &format!("killed after {moment:?}"), totals);
    }

    fn judge(&self, dir: &Path, ended: &Ended, what: &str, totals: &mut Totals) {
        totals.runs += 1;
        let mut blame = |when: &str, lines: Vec<String>, output: &str| {
            totals.wrong.extend(lines.iter().map(|line| format!("{what}: {when}: {line}\n{output}")));
        };
        blame("right after", self.books.in_between(dir), &ended.stderr);
        if ended.success() {
            totals.succeeded += 1;
            blame("though it said it succeeded", self.books.finished(dir), &ended.stdout);
        }
        let again = Streamhub::new(dir).run(["migrate"]);
        let mut lines = self.books.finished(dir);
        if again.code() != Some(0) {
            lines.push("the next run failed".to_owned());
        } else if fingerprint(dir, fingerprint::Mode::Split) != self.expected {
            lines.push("the digests are others".to_owned());
        }
        lines.extend(left_behind(dir));
        blame("after the next run", lines, &again.ended.describe());
    }

    fn copy(&self) -> TempDir {
        let dir = scratch();
        copy_tree(&self.home.path().join("original"), dir.path());
        dir
    }
}

fn command(dir: &Path) -> Command {
    Streamhub::new(dir).command(["migrate"])
}

pub(crate) fn in_parallel(runs: usize, work: &(dyn Fn(usize, &mut Totals) + Sync)) -> Totals {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Totals::default());
    let threads = thread::available_parallelism().map_or(1, usize::from).min(runs.max(1));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut totals = Totals::default();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= runs {
                        break;
                    }
                    work(n, &mut totals);
                }
                let mut all = all.lock().expect("no thread panics with it");
                all.runs += totals.runs;
                all.hit += totals.hit;
                all.succeeded += totals.succeeded;
                all.wrong.append(&mut totals.wrong);
            });
        }
    });
    all.into_inner().expect("no thread panics with it")
}

/// What a run that was broken off may leave and the next one must clear away.
fn left_behind(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![dir.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the data") {
            let entry = entry.expect("a directory entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().expect("a file type").is_dir() {
                directories.push(entry.path());
            }
            // The directory for staging itself may stay, with nothing in it.
            if name.contains(".part") || name.contains(".new") || directory.ends_with(".staging") {
                found.push(format!("{} was left behind", entry.path().display()));
            }
        }
    }
    found
}

fn xorshift(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    x
}
