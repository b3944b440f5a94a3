//! `live-probe` with a fault at each of its file operations: what it says of its writes must be what is in the file.
//!
//! What was acknowledged is there, what failed is not, and only of a write whose commit failed nobody knows; but who
//! then reads is told the truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use crate::faults::{Faults, Mode, Run};
use crate::files::{scratch, target_and_profile};
use crate::sweep::{Totals, Trouble, in_parallel};

/// What the program writes to, with so small a cache that a transaction is in the `-wal` before its end.
pub const SCHEMA: &str = "PRAGMA default_cache_size = 10;
    PRAGMA journal_mode = WAL;
    CREATE TABLE t (key INTEGER PRIMARY KEY CHECK (key >= 0), pad BLOB);
    CREATE TABLE total (rows INTEGER NOT NULL);
    INSERT INTO total VALUES (0)";

/// How the program says that a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is there.
    Acknowledged,
    /// It is not there, and why.
    Failed(String),
    /// Nobody knows.
    Unknown,
}

/// What the program said.
#[derive(Debug, Default)]
pub struct Account {
    /// Of each write.
    pub writes: BTreeMap<i64, Said>,
    /// Whether a read found it afterwards.
    pub read: BTreeMap<i64, bool>,
    /// At the end it served as if nothing had happened.
    pub serves: bool,
}

impl Account {
    /// From the program's standard output.
    pub fn of(run: &Run) -> Self {
        let mut account = Self::default();
        for line in run.ended.stdout.lines() {
            let mut words = line.splitn(3, ' ');
            let (mark, key) =
                (words.next().unwrap_or_default(), words.next().and_then(|key| key.parse().ok()));
            let said = match (mark, key) {
                ("+", Some(_)) => Said::Acknowledged,
                ("-", Some(_)) => Said::Failed(words.next().unwrap_or_default().to_owned()),
                ("?", Some(_)) => Said::Unknown,
                ("=" | "!", Some(key)) => {
                    account.read.insert(key, mark == "=");
                    continue;
                }
                _ => {
                    account.serves |= mark == "serves";
                    continue;
                }
            };
            account.writes.insert(key.unwrap_or_default(), said);
        }
        account
    }

    /// The writes of which nobody knows.
    pub fn unknown(&self) -> Vec<i64> {
        self.writes.iter().filter(|(_, said)| **said == Said::Unknown).map(|(key, _)| *key).collect()
    }

    /// Where the file says something else.
    pub fn contradictions(&self, db: &Path) -> Vec<String> {
        let db = Connection::open(db).expect("the database opens");
        let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).expect(sql);
        let has = |key: i64| one(&format!("SELECT count(*) FROM t WHERE key = {key}")) == 1;
        let mut wrong = Vec::new();
        for (key, said) in &self.writes {
            match (said, has(*key)) {
                (Said::Acknowledged, false) => wrong.push(format!("{key} was acknowledged and is not there")),
                (Said::Failed(why), true) => wrong.push(format!("{key} failed ({why}) and is there")),
                _ => {}
            }
        }
        for (key, found) in &self.read {
            // A later try of the last write is no contradiction.
            if has(*key) != *found && self.writes.get(key) != Some(&Said::Acknowledged) {
                wrong.push(format!("a read said {found} of {key}, and the file does not"));
            }
        }
        let (rows, total) = (one("SELECT count(*) FROM t"), one("SELECT rows FROM total"));
        if rows != total {
            wrong.push(format!("{rows} rows, and {total} were counted in the same transactions"));
        }
        let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
        if check != "ok" {
            wrong.push(check);
        }
        wrong
    }
}

/// A new database for the program.
pub fn database(dir: &Path) -> PathBuf {
    let path = dir.join("live.db");
    Connection::open(&path).and_then(|db| db.execute_batch(SCHEMA)).expect("a new database");
    path
}

/// The program, with these arguments.
pub fn probe(arguments: &[&str]) -> Command {
    program("live-probe", arguments)
}

/// A program that lies beside the one that runs, with these arguments.
pub fn program(name: &str, arguments: &[&str]) -> Command {
    let (target, profile) = target_and_profile();
    let mut command = Command::new(target.join(profile).join(name));
    command.args(arguments);
    command
}

fn writes(db: &Path, seed: u64) -> Command {
    probe(&["writes", db.to_str().expect("UTF-8"), &seed.to_string()])
}

/// How many operations an undisturbed run has; they are not the same in every run, since threads write at once.
pub fn points(seed: u64) -> Result<usize, String> {
    let dir = scratch();
    let db = database(dir.path());
    let run = Faults::on(dir.path())?.count(&mut writes(&db, seed));
    assert!(run.ended.success() && !run.injected, "{}", run.ended.describe());
    assert_eq!(Account::of(&run).contradictions(&db), [""; 0]);
    Ok(run.points.len())
}

/// One run for each of so many operations, each with the fault at that operation.
pub fn sweep(points: usize, seed: u64, trouble: Trouble) -> Totals {
    in_parallel(points, &|n, totals| disturbed(n + 1, seed, trouble, totals))
}

fn disturbed(at: usize, seed: u64, trouble: Trouble, totals: &mut Totals) {
    let dir = scratch();
    let db = database(dir.path());
    let faults = Faults::on(dir.path()).expect("compiled for counting");
    let mut command = writes(&db, seed);
    let run = trouble.run(&faults, &mut command, at);
    totals.runs += 1;
    totals.hit += usize::from(run.injected);
    totals.succeeded += usize::from(run.ended.success());
    let account = Account::of(&run);
    let mut wrong = account.contradictions(&db);
    let is_killed = matches!(trouble.mode, Mode::Kill | Mode::Torn) && run.injected;
    if is_killed != run.ended.killed() || run.ended.timed_out {
        wrong.push("it ended otherwise".to_owned());
    }
    // Before the first word it may have failed to open the database at all.
    if !is_killed && !trouble.stays && !account.serves && !account.writes.is_empty() {
        wrong.push("it does not serve again".to_owned());
    }
    if !run.injected && !account.unknown().is_empty() {
        wrong.push("nothing happened, and it does not know".to_owned());
    }
    let what = format!("seed {seed}, {trouble} at {}", run.at(at));
    totals.wrong.extend(wrong.iter().map(|line| format!("{what}: {line}\n{}", run.ended.describe())));
}
