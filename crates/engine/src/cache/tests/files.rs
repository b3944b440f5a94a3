//! Tests of the cache with real databases.
#![allow(clippy::disallowed_methods, reason = "a test damages a file with the raw calls on purpose")]

use std::path::PathBuf;

use super::*;
use crate::connect::Database;
use crate::live::{Config, LiveError};

/// Opens the database of each app's own name in one directory.
struct Files(tempfile::TempDir);

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Files {
    fn path(&self, number: usize) -> PathBuf {
        std::fs::canonicalize(self.0.path()).unwrap().join(id(number).as_str())
    }
}

impl Opener for Files {
    type Handle = Live;
    type Error = crate::Error;

    fn open(&self, id: &AppId, grant: Grant) -> crate::Result<Live> {
        grant.live(Database::write(&self.0.path().join(id.as_str()))?, Config::default())
    }

    fn is_lasting(&self, _: &crate::Error) -> bool {
        true
    }
}

fn files(apps: usize, budget: Cost) -> Cache<Files> {
    let files = Files(tempfile::tempdir().unwrap());
    for number in 0..apps {
        let db = Database::build(&files.path(number)).unwrap();
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(9000))").unwrap();
        drop(db.finish().unwrap());
    }
    let config = CacheConfig {
        budget,
        wait: Duration::from_millis(50),
        retry_after: Duration::from_millis(30),
        ..CacheConfig::default()
    };
    Cache::new(files, config)
}

fn insert(live: &Live) -> Result<usize, Failed> {
    live.write(|tx| Ok(tx.execute("INSERT INTO t VALUES (1)", [])?))
}

fn bytes(live: &Live) -> Result<i64, Failed> {
    live.read(|tx| Ok(tx.query_row("SELECT sum(length(a)) FROM t", [], |row| row.get(0))?))
}

#[test]
fn a_writer_whose_readers_are_slow_gets_the_connection_of_an_app_that_nobody_uses() {
    let cache = files(3, Cost { connections: 2, descriptors: 6 });
    let lease = cache.lease(&id(0)).unwrap();
    drop(cache.lease(&id(1)).unwrap());
    let written = lease.read(|_| insert(&lease)).unwrap();
    assert_eq!(written, 1);
    assert_eq!(cache.state(&id(1)), AppState::Closed);
    assert_eq!(cache.stats().used, Cost { connections: 2, descriptors: 5 }, "what it took is all it cost");
    lease.rest();
    assert_eq!(lease.connections(), 1);
}

#[test]
fn a_damaged_database_is_set_aside_until_it_passes_a_check() {
    let cache = files(2, Cost::UNLIMITED);
    let path = cache.opener().path(0);
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[2 * 4096..].fill(0xEE);
    std::fs::write(&path, &damaged).unwrap();
    let error = cache.lease(&id(0)).map(|lease| bytes(&lease)).unwrap().unwrap_err();
    assert!(error.to_string().contains("malformed"), "{error}");
    for is_retry in [false, true] {
        let refused = cache.lease(&id(0)).map(|lease| insert(&lease)).unwrap_err();
        let LeaseError::Quarantined { reason, .. } = refused else { panic!("{refused}") };
        assert_eq!(reason.fault(), crate::Fault::Corrupt, "{reason}");
        assert_ne!(
            reason.to_string().contains("malformed"),
            is_retry,
            "a check says more than a read: {reason}"
        );
        insert(&cache.lease(&id(1)).unwrap()).unwrap();
        assert_eq!(cache.stats().quarantined, 1);
        std::thread::sleep(Duration::from_millis(40));
    }
    assert!(std::fs::read(&path).unwrap() == damaged, "what is refused is left as it was");
    // In its quarantine it is not open.
    std::fs::write(&path, &whole).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    let lease = cache.lease(&id(0)).unwrap();
    assert_eq!(bytes(&lease).unwrap(), 9000);
    insert(&lease).unwrap();
}
