//! A small program with known file operations, for the tests of the fault library and of the disks.
//!
//! `fault-probe commit DB N` appends N rows, each acknowledged on standard output once it is durable.
//! `fault-probe hold DB` holds a database open in WAL mode, says so, and waits for the end of its standard input.
//! `fault-probe files DIR` makes, links, copies, renames and removes files.

#![allow(clippy::disallowed_methods, reason = "the raw calls are what the fault library stands in for")]

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use rusqlite::Connection;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["commit", db, n] => commit(Path::new(db), n.parse().expect("a number")),
        ["hold", db] => hold(Path::new(db)),
        ["files", dir] => files(Path::new(dir)).map_err(Into::into),
        _ => Err("usage: fault-probe commit DB N | hold DB | files DIR".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn commit(path: &Path, rows: u32) -> Result<(), Box<dyn std::error::Error>> {
    let db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS log (n INTEGER)",
    )?;
    for n in 0..rows {
        db.execute("INSERT INTO log VALUES (?1)", [n])?;
        writeln!(io::stdout(), "{n}")?;
    }
    db.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn hold(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode = WAL")?;
    db.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    writeln!(io::stdout(), "held")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn files(dir: &Path) -> io::Result<()> {
    let inner = dir.join("inner");
    fs::create_dir(&inner)?;
    let mut file = File::create(inner.join("a"))?;
    file.write_all(b"0123456789")?;
    file.sync_all()?;
    fs::hard_link(inner.join("a"), inner.join("b"))?;
    fs::copy(inner.join("a"), inner.join("c"))?;
    fs::rename(inner.join("c"), inner.join("d"))?;
    file.set_len(4)?;
    file.sync_data()?;
    File::open(&inner)?.sync_all()?;
    // A second opening makes nothing and is no point.
    drop(File::options().create(true).truncate(false).write(true).open(inner.join("a"))?);
    fs::remove_file(inner.join("b"))?;
    fs::remove_dir_all(&inner)
}
