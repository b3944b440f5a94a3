//! Very many apps at once: copies of one that was created, with a name and a uuid of their own.
//!
//! Creating each by itself would take minutes and be the same. Apps that a bench never opens get a
//! smaller database, of the same tables in smaller pages, so that a hundred thousand fit on any disk.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, params};
use streamhub_tests::process::run;

use super::{app_id, create, fill, hub, plain};

/// Where the numbers of the apps begin; below it are those that were created.
const FIRST: usize = 1;

/// Makes a data directory with apps numbered from 1 on. `is_opened` says which of them will be opened.
pub(crate) fn populate(dir: &Path, apps: usize, is_opened: impl Fn(usize) -> bool) {
    let hub = hub(dir);
    let model = create(&hub, 0);
    fill(&hub, &model, 20);
    let model_row = hub.registered(model.as_str()).expect("it is registered");
    let uuid = model_row.uuid_text().expect("every app has one").to_owned();
    hub.seal(&model).expect("a closed file");
    let (data, control) = (hub.data().clone(), dir.join("data/streamhub.db"));
    hub.close().expect("an end");

    let full = fs::read(data.app(&model).db()).expect("the model");
    let small = in_small_pages(&data.app(&model).db(), &dir.join("small.db"));
    let mut db = plain(&control);
    let tx = db.transaction().expect("a transaction");
    for number in FIRST..=apps {
        let (id, own) = (app_id(number), uuid_of(&uuid, number));
        let bytes = if is_opened(number) { &full } else { &small };
        let bytes = replaced(&replaced(bytes, model.as_str(), id.as_str()), &uuid, &own);
        let place = data.app(&id);
        fs::create_dir(place.dir()).expect("a directory");
        fs::write(place.db(), bytes).expect("a database");
        tx.prepare_cached("INSERT INTO apps (name, uuid) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute(params![id.as_str(), own]))
            .expect("a row");
    }
    tx.commit().expect("rows");
    drop(db);
    // So that nothing of this is still to be written while something is measured.
    assert!(run(&mut std::process::Command::new("sync")).success());
}

fn uuid_of(model: &str, number: usize) -> String {
    format!("{}{number:012x}", &model[..model.len() - 12])
}

fn in_small_pages(model: &Path, scratch: &Path) -> Vec<u8> {
    fs::copy(model, scratch).expect("a copy");
    let db = Connection::open(scratch).expect("a database");
    db.execute_batch(
        "PRAGMA journal_mode = DELETE; DELETE FROM streams; PRAGMA page_size = 512; VACUUM; PRAGMA journal_mode = WAL",
    )
    .expect("a smaller file");
    drop(db);
    let bytes = fs::read(scratch).expect("the smaller file");
    fs::remove_file(scratch).expect("it is there");
    bytes
}

/// Texts of one length can be exchanged where they stand.
fn replaced(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut bytes = bytes.to_vec();
    let found: Vec<usize> = (0..=bytes.len() - old.len())
        .filter(|at| bytes[*at] == old.as_bytes()[0] && bytes[*at..].starts_with(old.as_bytes()))
        .collect();
    assert!(!found.is_empty(), "{old} is nowhere");
    for at in found {
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    bytes
}
