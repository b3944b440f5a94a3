//! Running a child process to its end, within a time limit and with its output kept.
//!
//! A program under an injected fault may hang; a test must not hang with it.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a child may take where the caller does not say: far beyond what any of them needs.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// How a child ended and what it wrote.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It took longer than it was given and was killed for that.
    pub timed_out: bool,
    /// Standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Standard error; what is not UTF-8 is replaced.
    pub stderr: String,
}

impl Ended {
    /// SIGKILL ended it, and not for being slow.
    pub fn killed(&self) -> bool {
        self.signal == Some(9) && !self.timed_out
    }

    /// It ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Both outputs and the way it ended, for a failing test's message.
    pub fn describe(&self) -> String {
        let how = match (self.timed_out, self.code, self.signal) {
            (true, ..) => "did not end in time".to_owned(),
            (_, Some(code), _) => format!("exit {code}"),
            (_, _, Some(signal)) => format!("signal {signal}"),
            _ => "ended in an unknown way".to_owned(),
        };
        format!("{how}\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs a command with no standard input until it ends or [`PATIENCE`] is over.
pub fn run(command: &mut Command) -> Ended {
    run_within(command, PATIENCE)
}

/// Runs a command with no standard input until it ends or the limit is over, when it is killed.
///
/// Its output goes to unnamed files, so that a child that writes much cannot stand still on a full pipe.
pub fn run_within(command: &mut Command, limit: Duration) -> Ended {
    let mut stdout = tempfile::tempfile().expect("an unnamed file for stdout");
    let mut stderr = tempfile::tempfile().expect("an unnamed file for stderr");
    let share = |file: &File| Stdio::from(file.try_clone().expect("a second handle of an unnamed file"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(share(&stdout))
        .stderr(share(&stderr))
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {}: {e}", command.get_program().display()));
    let (status, timed_out) = wait(&mut child, limit);
    Ended {
        code: status.code(),
        signal: status.signal(),
        timed_out,
        stdout: contents(&mut stdout),
        stderr: contents(&mut stderr),
    }
}

/// Waits for a child, kills it when the limit is over, and says whether that was needed.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> (ExitStatus, bool) {
    let start = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait().expect("waiting for a child") {
            return (status, false);
        }
        if start.elapsed() > limit {
            child.kill().expect("killing a child");
            return (child.wait().expect("waiting for a killed child"), true);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("reading a child's output back");
    String::from_utf8_lossy(&bytes).into_owned()
}
