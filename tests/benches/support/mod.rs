//! What the benches share: a hub on the build disk, apps with rows, and plain connections to compare with.
#![allow(dead_code, reason = "each bench uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "the baseline is plain rusqlite")]

pub(crate) mod child;
pub(crate) mod load;
pub(crate) mod population;

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use streamhub::progress::Silent;
use streamhub::streams::{self, Kind, NewStream};
use streamhub::{AppId, Cost, Hub, HubConfig, HubError, NewApp, TenantId};

/// A hub in a directory that need not be there yet, with room for whatever a bench opens.
pub(crate) fn hub(dir: &Path) -> Hub {
    let mut config = HubConfig::new(dir.join("data"));
    config.budget = Cost::UNLIMITED;
    // Nothing is to be closed, or to rest, while it is measured.
    config.idle = Duration::from_hours(1);
    Hub::open(&config, &Silent).expect("a hub")
}

/// The name of one of many apps; all are equally long.
pub(crate) fn app_id(number: usize) -> AppId {
    format!("app-{number:06}").parse().expect("an app's name")
}

/// Makes an app.
pub(crate) fn create(hub: &Hub, number: usize) -> AppId {
    let id = app_id(number);
    hub.create(&NewApp::new(id.clone(), TenantId::platform())).expect("a new app");
    id
}

/// The name of one of an app's streams.
pub(crate) fn stream_id(number: usize) -> String {
    format!("live/stream-{number:06}")
}

/// A stream as media servers begin them.
pub(crate) fn new_stream(number: usize) -> NewStream {
    NewStream {
        app_id: 1,
        stream_id: stream_id(number),
        kind: Kind::Webrtc,
        room: Some(format!("room-{}", number % 40)),
        participant: Some("participant-1".to_owned()),
    }
}

/// Gives an app so many streams, of which one in ten is live.
pub(crate) fn fill(hub: &Hub, id: &AppId, rows: usize) {
    let app = hub.app(id).expect("a lease");
    app.write(move |tx| -> Result<(), HubError> {
        for number in 0..rows {
            streams::start(tx, &new_stream(number))?;
            streams::update_stats(tx, &stream_id(number), r#"{"viewers":12,"bitrate":2500000}"#)?;
            if number % 10 > 0 {
                streams::end(tx, &stream_id(number))?;
            }
        }
        Ok(())
    })
    .expect("rows");
}

/// A plain connection with the pragmas and settings that StreamHub's own have.
pub(crate) fn plain(path: &Path) -> Connection {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags).expect("a database");
    settle(&db).expect("pragmas");
    db
}

fn settle(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(Duration::from_secs(5))?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.execute_batch(
        "PRAGMA cell_size_check = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 16777216",
    )?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}
