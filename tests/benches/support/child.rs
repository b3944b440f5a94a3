//! A part of a bench in a process of its own, with its own memory and its own limit of file descriptors.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use streamhub_tests::process::run_within;

const PATIENCE: Duration = Duration::from_mins(5);

/// Runs this program again with these arguments and returns the JSON that it prints.
pub(crate) fn run(descriptors: u32, args: &[&str]) -> Value {
    let program = std::env::current_exe().expect("the path of the running program");
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &descriptors.to_string()]).arg(program).args(args);
    let ended = run_within(&mut command, PATIENCE);
    assert!(ended.success(), "{}", ended.describe());
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.describe()))
}

/// A number in it.
pub(crate) fn number(told: &Value, name: &str) -> f64 {
    told[name].as_f64().unwrap_or_else(|| panic!("{name} in {told}"))
}

/// KiB that this process has in memory of its own.
pub(crate) fn private_memory() -> f64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("a /proc");
    kib(&rollup, "Private_Dirty:") + kib(&rollup, "Private_Clean:")
}

/// KiB that this process had in memory at most, everything counted.
pub(crate) fn peak_memory() -> f64 {
    kib(&fs::read_to_string("/proc/self/status").expect("a /proc"), "VmHWM:")
}

/// Threads of this process.
pub(crate) fn threads() -> usize {
    entries("/proc/self/task")
}

/// Open file descriptors of this process, without the one that this takes.
pub(crate) fn descriptors() -> usize {
    entries("/proc/self/fd") - 1
}

fn kib(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn entries(dir: &str) -> usize {
    fs::read_dir(dir).expect("a /proc").count()
}
