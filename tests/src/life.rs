//! `life-probe` with a fault at each of its file operations: a step in an app's life happens wholly or not at all.
//!
//! Right after the fault anything may lie about; what counts is what the next start makes of it, that a step that was
//! acknowledged has happened, and that one that has not can be taken again. The same holds where the power of the disk
//! is cut as well, which takes away what was written and not synced.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::disk::Disk;
use crate::faults::{Faults, Mode, Run};
use crate::files::{copy_tree, scratch};
use crate::live::program;
use crate::process;
use crate::sweep::{Totals, Trouble, in_parallel};

/// The steps that `life-probe` can take.
pub const STEPS: [&str; 10] =
    ["create", "delete", "undelete", "rename", "adopt", "appeared", "seal", "config", "secret", "stream"];

/// What becomes of the disk when the program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// What was written is there, synced or not.
    Stays,
    /// What was not synced is gone. Each run has a disk of its own, which needs root.
    Cut,
}

/// What there is before a step, and what after it.
#[derive(Debug)]
pub struct Step {
    verb: &'static str,
    power: Power,
    home: TempDir,
    before: String,
    after: String,
    points: usize,
}

/// Where one run takes place: a copy of what there is before the step.
#[derive(Debug)]
enum Place {
    Directory(TempDir),
    Disk(Disk),
}

/// What `life-probe state` said.
struct State {
    sealed: String,
    /// After the first start, and after the second.
    found: [String; 2],
}

impl Step {
    /// Takes the step undisturbed. The error is the reason why this machine cannot inject faults or cut the power.
    ///
    /// # Panics
    /// Where it is wrong undisturbed.
    pub fn new(verb: &'static str, power: Power) -> Result<Self, String> {
        let home = scratch();
        expect(&mut probe("make", home.path()));
        if verb == "appeared" {
            let [source, place] = ["source", "data/apps/come-one"].map(|name| home.path().join(name));
            std::fs::rename(source, place).expect("the app from elsewhere appears among the apps");
        }
        let copy = Place::new(power, home.path())?;
        let before = state(copy.path()).expect("a sound beginning").found[0].clone();
        let copy = Place::new(power, home.path())?;
        let run = Faults::on(copy.path().join("data"))?.count(&mut probe(verb, copy.path()));
        assert!(is_acknowledged(&run) && run.ended.success(), "{verb}: {}", run.ended.describe());
        let after = state(copy.path()).expect("a sound end").found[0].clone();
        // A seal is all that sealing changes, and a stop seals too.
        assert!(before != after || verb == "seal", "{verb} changes nothing: {before}");
        Ok(Self { verb, power, home, before, after, points: run.points.len() })
    }

    /// How many operations an undisturbed run has, of opening and closing too.
    pub fn points(&self) -> usize {
        self.points
    }

    /// A run for each `stride`th of the operations, from the `first`, each with the fault there.
    pub fn sweep(&self, trouble: Trouble, first: usize, stride: usize) -> Totals {
        let runs = (self.points + stride - first.min(self.points)) / stride;
        in_parallel(runs, &|n, totals| self.disturbed("data", first + n * stride, trouble, totals))
    }

    /// A run that is killed as soon as the step was acknowledged.
    pub fn acknowledged(&self) -> Totals {
        let mut totals = Totals::default();
        self.disturbed("acknowledged", 1, Trouble::KILL, &mut totals);
        totals
    }

    fn disturbed(&self, under: &str, at: usize, trouble: Trouble, totals: &mut Totals) {
        let home = Place::new(self.power, self.home.path()).expect("a place like those before");
        let faults = Faults::on(home.path().join(under)).expect("compiled for counting");
        let mut command = probe(self.verb, home.path());
        let run = trouble.run(&faults, &mut command, at);
        totals.runs += 1;
        totals.hit += usize::from(run.injected);
        totals.succeeded += usize::from(is_acknowledged(&run));
        home.lose_power();
        let what = format!("{}: {trouble} at {}, power {:?}", self.verb, run.at(at), self.power);
        for line in self.judge(home.path(), &run, at, trouble) {
            totals.wrong.push(format!("{what}: {line}\n{}", run.ended.describe()));
        }
    }

    fn judge(&self, home: &Path, run: &Run, at: usize, trouble: Trouble) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut blame = |line: String| wrong.push(line);
        let is_killed = matches!(trouble.mode, Mode::Kill | Mode::Torn) && run.injected;
        if is_killed != run.ended.killed() || run.ended.timed_out {
            blame("it ended otherwise".to_owned());
        }
        if trouble.mode == Mode::Short && !run.ended.success() {
            blame("a short write is no failure".to_owned());
        }
        // Unless the trouble was that one's own.
        let is_theirs = run.at(at).contains("keep-one");
        let has_ended = run.ended.stdout.contains("others ");
        if has_ended && !is_theirs && !trouble.stays && !run.ended.stdout.contains("others serve 0") {
            blame("the other app does not serve".to_owned());
        }
        let state = match state(home) {
            Ok(state) => state,
            Err(error) => return vec![format!("the next start fails: {error}")],
        };
        let acknowledged = is_acknowledged(run);
        if state.sealed.contains("WRONG") {
            blame(format!("a seal lies: {}", state.sealed));
        }
        if self.verb == "seal" && acknowledged && !state.sealed.contains("work-one") {
            blame("the seal was acknowledged and is not there".to_owned());
        }
        let [first, second] = &state.found;
        if first != second {
            blame(format!("a second start changes\n{first}into\n{second}"));
        }
        if *first != self.after && (acknowledged || *first != self.before) {
            let half = if acknowledged { "acknowledged, and not so" } else { "half" };
            blame(format!("{half}:\n{first}neither\n{}nor\n{}", self.before, self.after));
        } else if *first != self.after {
            let again = process::run(&mut probe(self.verb, home));
            if !again.success() || !again.stdout.starts_with('+') {
                blame(format!("it cannot be done again: {}", again.describe()));
            } else if let Some(found) = differs(home, &self.after) {
                blame(format!("done again it ends as {found}"));
            }
        }
        wrong
    }
}

impl Place {
    fn new(power: Power, original: &Path) -> Result<Self, String> {
        let place = match power {
            Power::Stays => Self::Directory(scratch()),
            Power::Cut => Self::Disk(Disk::make(32)?),
        };
        copy_tree(original, place.path());
        if let Self::Disk(disk) = &place {
            disk.settle();
        }
        Ok(place)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.path(),
            Self::Disk(disk) => disk.path(),
        }
    }

    fn lose_power(&self) {
        if let Self::Disk(disk) = self {
            disk.cut();
            disk.back();
        }
    }
}

fn differs(home: &Path, expected: &str) -> Option<String> {
    match state(home) {
        Ok(state) => (state.found[0] != *expected).then(|| state.found[0].clone()),
        Err(error) => Some(error),
    }
}

fn is_acknowledged(run: &Run) -> bool {
    run.ended.stdout.starts_with('+')
}

fn state(home: &Path) -> Result<State, String> {
    let ended = process::run(&mut probe("state", home));
    if !ended.success() || ended.stdout.contains("WRONG: ") {
        return Err(ended.describe());
    }
    let mut parts = ended.stdout.split("opened\n").map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Ok(State { sealed: next(), found: [next(), next()] })
}

fn expect(command: &mut Command) {
    let ended = process::run(command);
    assert!(ended.success(), "{}", ended.describe());
}

fn probe(verb: &str, home: &Path) -> Command {
    program("life-probe", &[verb, home.to_str().expect("UTF-8")])
}
