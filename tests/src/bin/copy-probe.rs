//! Copies of apps' directories, made by `cp -r`, and what becomes of them elsewhere.
//!
//! `copy-probe live DIR COPIES` copies an app that is written to all the time, and has each copy adopted.
//! `copy-probe sealing DIR COPIES` does so while the app is sealed again and again between the writes.
//! `copy-probe sealed DIR COPIES` seals an app before each copy, and has each adopted.
//! `copy-probe move DIR` moves an app from one installation to another, back, and there again.
//!
//! It says what it counted, or what was wrong.

#![allow(clippy::print_stdout, reason = "this program tells what it counted")]
#![allow(clippy::disallowed_methods, reason = "what is done with is removed, however durably")]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use streamhub::progress::Silent;
use streamhub::vods::{self, NewVod};
use streamhub::{Adoption, AppId, Hub, HubError, Kind, NewApp, Proof, TenantId};
use streamhub_tests::probe::{config, ended};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const APP: &str = "news-24";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["live", dir, copies] => live(Path::new(dir), copies.parse().expect("a number")),
        ["sealing", dir, copies] => sealing(Path::new(dir), copies.parse().expect("a number")),
        ["sealed", dir, copies] => sealed(Path::new(dir), copies.parse().expect("a number")),
        ["move", dir] => back_and_forth(Path::new(dir)),
        _ => Err("usage: copy-probe live|sealing|sealed DIR COPIES | move DIR".into()),
    };
    ended(result)
}

fn open(dir: &Path) -> Result<Hub, HubError> {
    let mut config = config(dir);
    // Checkpoints come often, since they are what a copy of a live database is torn by.
    config.limits.checkpoint_pages = 20;
    Hub::open(&config, &Silent)
}

fn id() -> AppId {
    APP.parse().expect("an app's name")
}

/// Two rows in one transaction, of the same number, some pages apart. The numbers are those of the transactions.
fn write_pair(hub: &Hub) -> Result<(), HubError> {
    hub.app(&id())?.write(move |tx| {
        let number: i64 = tx
            .query_row("SELECT coalesce(max(id), 0) / 2 FROM vods", [], |row| row.get(0))
            .map_err(streamhub::StoreError::from)?;
        let row = |half: &str| NewVod {
            metatags_json: Some(format!("\"{}\"", "x".repeat(3000))),
            app_id: 1,
            ..NewVod::named(format!("{number}-{half}"))
        };
        vods::create(tx, &row("a"))?;
        // The newest of the other kind is changed in the same transaction, wherever it lies.
        tx.execute("UPDATE vods SET room = ?1 WHERE id IN (SELECT min(id) FROM vods)", [number])
            .map_err(streamhub::StoreError::from)?;
        vods::create(tx, &row("b"))?;
        Ok::<_, HubError>(())
    })
}

/// What the app holds, and whether every transaction in it is whole.
fn content(hub: &Hub) -> Result<(Vec<String>, bool), HubError> {
    hub.app(&id())?.read(|tx| {
        let rows = tx.query_all("SELECT name || ' ' || coalesce(room, '') FROM vods NOT INDEXED ORDER BY name", [], |row| {
            row.get::<_, String>(0)
        });
        let halves = "SELECT count(*) FILTER (WHERE name LIKE '%-a') - count(*) FILTER (WHERE name LIKE '%-b'), \
                      max(CAST(name AS INTEGER)) - max(CAST(room AS INTEGER)) FROM vods NOT INDEXED";
        let odd = tx.query_row(halves, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)));
        let odd = odd.map_err(streamhub::StoreError::from)?;
        Ok((rows.map_err(streamhub::StoreError::from)?, odd.0 == 0 && odd.1.unwrap_or(0) == 0))
    })
}

fn copy(from: &Path, to: &Path) -> Result<bool> {
    // A file that goes away meanwhile is an error of cp's; what is there is the copy then.
    Ok(Command::new("cp").arg("-r").arg(from).arg(to).output()?.status.success())
}

/// An app that two threads write to.
struct Source {
    hub: Hub,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    writers: Vec<thread::JoinHandle<Result<(), HubError>>>,
}

impl Source {
    fn begin(dir: &Path) -> Result<Self> {
        let hub = open(&dir.join("here"))?;
        hub.create(&NewApp::new(id(), TenantId::platform()))?;
        write_pair(&hub)?;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let writers = (0..2)
            .map(|_| {
                let (hub, stop, written) = (hub.clone(), Arc::clone(&stop), Arc::clone(&written));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        write_pair(&hub)?;
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        Ok(Self { hub, stop, written, writers })
    }

    /// Gives each of so many copies, and a hub of its own, to `judge`.
    fn each_copy(
        &self,
        dir: &Path,
        copies: usize,
        mut judge: impl FnMut(&Path, &Hub) -> Result<()>,
    ) -> Result<()> {
        for at in 0..copies {
            let copy_dir = dir.join(format!("copy-{at}"));
            copy(self.hub.data().app(&id()).dir(), &copy_dir)?;
            let there = open(&dir.join(format!("there-{at}")))?;
            judge(&copy_dir, &there)?;
            there.close()?;
            std::fs::remove_dir_all(&copy_dir).and_then(|()| std::fs::remove_dir_all(there.data().root()))?;
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        println!("{} transactions meanwhile", self.written.load(Ordering::Relaxed));
        Ok(self.hub.close()?)
    }
}

fn live(dir: &Path, copies: usize) -> Result<()> {
    let here = Source::begin(dir)?;
    let (mut sealed, mut whole, mut torn, mut refused) = (0, 0, 0, 0);
    here.each_copy(dir, copies, |copy, there| {
        sealed += usize::from(there.adopt(copy, &Adoption::default()).is_ok());
        match there.adopt(copy, &Adoption { tenant: None, proof: Proof::Word }) {
            Ok(_) if content(there)?.1 => whole += 1,
            Ok(_) => torn += 1,
            Err(_) if there.apps()?.is_empty() => refused += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })?;
    println!("{copies} copies, {sealed} adopted");
    println!("at a person's word: {whole} whole, {torn} torn, {refused} refused");
    here.end()?;
    if sealed + torn > 0 { Err("a copy was adopted that cannot be believed".into()) } else { Ok(()) }
}

fn sealing(dir: &Path, copies: usize) -> Result<()> {
    let here = Source::begin(dir)?;
    let (hub, stop) = (here.hub.clone(), Arc::clone(&here.stop));
    let sealer = thread::spawn(move || {
        let mut seals = 0;
        while !stop.load(Ordering::Relaxed) {
            // Busy where the writers leave no gap.
            seals += usize::from(hub.seal(&id()).is_ok());
        }
        seals
    });
    let (mut with_seal, mut whole, mut torn) = (0, 0, 0);
    here.each_copy(dir, copies, |copy, there| {
        with_seal += usize::from(copy.join("app.seal").exists());
        match there.adopt(copy, &Adoption::default()) {
            Ok(_) if content(there)?.1 => whole += 1,
            Ok(_) => torn += 1,
            Err(_) if there.apps()?.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })?;
    here.end()?;
    let seals = sealer.join().map_err(|_| "the sealer panicked")?;
    println!(
        "{copies} copies, {with_seal} with a seal, {whole} adopted and whole, {torn} torn, {seals} seals"
    );
    if torn > 0 { Err("a copy was adopted that cannot be believed".into()) } else { Ok(()) }
}

fn sealed(dir: &Path, copies: usize) -> Result<()> {
    let here = open(&dir.join("here"))?;
    here.create(&NewApp::new(id(), TenantId::platform()))?;
    let mut same = 0;
    for at in 0..copies {
        write_pair(&here)?;
        here.seal(&id())?;
        let copy_dir = dir.join(format!("copy-{at}"));
        if !copy(here.data().app(&id()).dir(), &copy_dir)? {
            return Err("cp failed".into());
        }
        let there = open(&dir.join(format!("there-{at}")))?;
        there.adopt(&copy_dir, &Adoption::default())?;
        same += usize::from(content(&there)? == content(&here)?);
        there.close()?;
        std::fs::remove_dir_all(&copy_dir).and_then(|()| std::fs::remove_dir_all(there.data().root()))?;
    }
    println!("{copies} copies, {same} the same");
    Ok(here.close()?)
}

/// Moves what `from` has to `to`: sealed, copied, adopted, deleted.
fn carry(from: &Hub, to: &Hub, by: &Path) -> Result<()> {
    from.seal(&id())?;
    if !copy(from.data().app(&id()).dir(), by)? {
        return Err("cp failed".into());
    }
    to.adopt(by, &Adoption::default())?;
    from.delete(&id())?;
    Ok(())
}

fn back_and_forth(dir: &Path) -> Result<()> {
    let (one, other) = (open(&dir.join("one"))?, open(&dir.join("other"))?);
    one.create(&NewApp::new(id(), TenantId::platform()))?;
    write_pair(&one)?;
    let first = dir.join("copy-0");
    carry(&one, &other, &first)?;
    // What never was in service elsewhere does not replace what is in the trash.
    match one.adopt(&first, &Adoption::default()) {
        Err(error @ HubError::InTrash { .. }) if error.kind() == Kind::Exists => {
            println!("refused: {error}; {}", error.way_out());
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("an old copy replaced what is in the trash".into()),
    }
    let (mut here, mut there) = (&other, &one);
    for number in 1..5 {
        write_pair(here)?;
        carry(here, there, &dir.join(format!("copy-{number}")))?;
        (here, there) = (there, here);
        let (rows, whole) = content(here)?;
        if rows.len() != 2 * usize::try_from(number)? + 2 || !whole {
            return Err(format!("after move {number}: {rows:?}").into());
        }
    }
    println!("moved 5 times");
    // Each of those that were left behind is kept, and the newest of them is not in the way.
    match there.undelete(&id()) {
        Ok(_) => println!("the other side can bring back what it had"),
        Err(error) => return Err(error.into()),
    }
    one.close()?;
    Ok(other.close()?)
}
