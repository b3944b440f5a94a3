//! Streams: what is being published, and what was.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::time::Moment;
use streamhub_engine::{ReadTx, WriteTx, normalised, words};

use crate::error::{Result, StoreError};
use crate::page::{Listed, Page, Query};
use crate::{check, column};

/// One stream. Times are as the row has them; [`normalised!`](streamhub_engine::normalised) compares them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// The row's number.
    pub id: i64,
    /// The registry's number of the app when the row was written.
    pub app_id: i64,
    /// The media server's name for it; may hold slashes.
    pub stream_id: String,
    /// How it is published.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The room it belongs to.
    pub room: Option<String>,
    /// Who publishes it.
    pub participant: Option<String>,
    /// Whether it is live.
    pub status: Status,
    /// When it was last started.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// The last statistics, as the media server gave them.
    pub last_stats_json: Option<String>,
}

words! {
    /// How a stream is published.
    pub enum Kind {
        /// `WebRTC`.
        Webrtc = "webrtc",
        /// RTMP.
        Rtmp = "rtmp",
        /// RTSP.
        Rtsp = "rtsp",
        /// WHIP.
        Whip = "whip",
        /// Motion JPEG over a web socket.
        WsMjpeg = "ws-mjpeg",
    }
}

words! {
    /// Whether a stream is live.
    pub enum Status {
        /// It is live.
        Active = "active",
        /// It is over.
        Ended = "ended",
    }
}

/// A stream that begins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewStream {
    /// The registry's number of the app; never the client's to choose.
    #[serde(skip)]
    pub app_id: i64,
    /// The media server's name for it.
    pub stream_id: String,
    /// How it is published.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The room it belongs to.
    #[serde(default)]
    pub room: Option<String>,
    /// Who publishes it.
    #[serde(default)]
    pub participant: Option<String>,
}

impl NewStream {
    /// A stream of which only its name and kind are known; whose it is is for the hub to say.
    pub fn named(stream_id: impl Into<String>, kind: Kind) -> Self {
        Self { app_id: 0, stream_id: stream_id.into(), kind, room: None, participant: None }
    }
}

/// Which streams are listed, most recently started first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// Only those that are live, or over.
    pub status: Option<Status>,
    /// Only those of this room.
    pub room: Option<String>,
    /// Which part of them.
    pub page: Page,
}

macro_rules! columns {
    () => {
        "id, app_id, stream_id, type, room, participant, status, started_at, ended_at, last_stats_json"
    };
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM streams WHERE stream_id = ?1");

const START: &str = concat!(
    "INSERT INTO streams (app_id, stream_id, type, room, participant, status, started_at) ",
    "VALUES (?1, ?2, ?3, ?4, ?5, 'active', ?6) ON CONFLICT (stream_id) DO UPDATE SET ",
    "app_id = excluded.app_id, type = excluded.type, room = excluded.room, participant = excluded.participant, ",
    "status = 'active', started_at = excluded.started_at, ended_at = NULL, last_stats_json = NULL ",
    "WHERE status = 'ended' RETURNING ",
    columns!()
);

const LIVE: &str = "SELECT stream_id, started_at FROM streams WHERE status = 'active'";

/// Begins a stream. One of the same id that is over becomes live again, in the same row; one that is live
/// is [`StoreError::Exists`].
pub fn start(tx: &mut WriteTx<'_>, stream: &NewStream) -> Result<Stream> {
    check::name("stream_id", &stream.stream_id)?;
    for (field, value) in [("room", &stream.room), ("participant", &stream.participant)] {
        check::text(field, value.as_deref().unwrap_or_default())?;
    }
    let NewStream { app_id, stream_id, kind, room, participant } = stream;
    tx.execute_returning(START, params![app_id, stream_id, kind, room, participant, Moment::now()], read)
        .optional()?
        .ok_or_else(|| StoreError::exists("active stream", stream_id))
}

/// Keeps a stream's latest statistics, a JSON text of at most 64 KiB.
pub fn update_stats(tx: &mut WriteTx<'_>, stream_id: &str, json: &str) -> Result<()> {
    check::json("last_stats_json", json)?;
    match tx.execute("UPDATE streams SET last_stats_json = ?2 WHERE stream_id = ?1", [stream_id, json])? {
        0 => Err(StoreError::not_found("stream", stream_id)),
        _ => Ok(()),
    }
}

/// Ends a stream, and says whether it was live; ending it again is fine.
pub fn end(tx: &mut WriteTx<'_>, stream_id: &str) -> Result<bool> {
    let ended = tx.execute(
        "UPDATE streams SET status = 'ended', ended_at = ?2 WHERE stream_id = ?1 AND status = 'active'",
        params![stream_id, Moment::now()],
    )?;
    if ended == 0 && by_id(tx, stream_id)?.is_none() {
        return Err(StoreError::not_found("stream", stream_id));
    }
    // Whoever counts the streams that are live has one fewer to count.
    tx.owe_follow_up();
    Ok(ended > 0)
}

/// The streams that are marked live, each with when it began. No clock is asked, since one can be set back.
pub fn live(tx: &ReadTx<'_>) -> Result<BTreeMap<String, String>> {
    let rows =
        tx.query_all(LIVE, [], |row| Ok((column::required_text(row, 0)?, column::required_text(row, 1)?)))?;
    Ok(rows.into_iter().collect())
}

/// Ends a stream that is live since it `began`, and says whether it was: one that ended meanwhile and began
/// anew is left alone.
pub fn end_if_since(tx: &mut WriteTx<'_>, stream_id: &str, began: &str) -> Result<bool> {
    let end = "UPDATE streams SET status = 'ended', ended_at = ?3 \
               WHERE stream_id = ?1 AND status = 'active' AND started_at = ?2";
    Ok(tx.execute(end, params![stream_id, began, Moment::now()])? > 0)
}

/// Ends every stream that is marked live: for an app whose streams cannot go on. Returns how many there were.
pub fn end_all(tx: &mut WriteTx<'_>) -> Result<usize> {
    let end = "UPDATE streams SET status = 'ended', ended_at = ?1 WHERE status = 'active'";
    Ok(tx.execute(end, [Moment::now()])?)
}

/// The stream of this id, where there is one.
pub fn by_id(tx: &ReadTx<'_>, stream_id: &str) -> Result<Option<Stream>> {
    Ok(tx.query_optional(BY_ID, [stream_id], read)?)
}

/// The streams that a filter finds.
pub fn list(tx: &ReadTx<'_>, filter: &StreamFilter) -> Result<Listed<Stream>> {
    query(filter).list(tx, read)
}

/// How many streams are live.
pub fn count_active(tx: &ReadTx<'_>) -> Result<u64> {
    Ok(tx.query_row("SELECT count(*) FROM streams WHERE status = 'active'", [], |row| row.get(0))?)
}

fn query(filter: &StreamFilter) -> Query<'_> {
    const ORDER: &str = concat!(normalised!("started_at"), " DESC, id DESC");
    Query::new("streams", columns!(), ORDER, filter.page)
        .filter("status = ?", filter.status.as_ref())
        .filter("room = ?", filter.room.as_ref())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Stream> {
    Ok(Stream {
        id: row.get(0)?,
        app_id: column::integer(row, 1)?.unwrap_or_default(),
        stream_id: column::required_text(row, 2)?,
        kind: row.get(3)?,
        room: column::text(row, 4)?,
        participant: column::text(row, 5)?,
        status: row.get(6)?,
        started_at: column::required_text(row, 7)?,
        ended_at: column::text(row, 8)?,
        last_stats_json: column::text(row, 9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{database, plan};

    fn demo(stream_id: &str) -> NewStream {
        NewStream {
            app_id: 7,
            stream_id: stream_id.to_owned(),
            kind: Kind::Rtmp,
            room: Some("lobby".to_owned()),
            participant: None,
        }
    }

    #[test]
    fn a_stream_starts_ends_and_starts_again_in_one_row() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        let first = start(tx, &demo("live/a")).unwrap();
        assert_eq!((first.status, first.ended_at.as_deref()), (Status::Active, None));
        update_stats(tx, "live/a", "{\"viewers\":3}").unwrap();
        assert!(end(tx, "live/a").unwrap());
        assert!(!end(tx, "live/a").unwrap());
        let ended = by_id(tx, "live/a").unwrap().unwrap();
        assert_eq!((ended.status, ended.ended_at.is_some()), (Status::Ended, true));
        assert_eq!(ended.last_stats_json.as_deref(), Some("{\"viewers\":3}"));
        db.execute("UPDATE streams SET started_at = '2020-01-01 00:00:00'", []).unwrap();
        let again = NewStream { kind: Kind::Whip, room: None, ..demo("live/a") };
        let again = start(tx, &again).unwrap();
        assert_eq!((again.id, again.status, again.kind), (first.id, Status::Active, Kind::Whip));
        assert_eq!((again.ended_at, again.last_stats_json, again.room), (None, None, None));
        assert!(again.started_at.as_str() > "2020-01-02");
        assert_eq!(count_active(tx).unwrap(), 1);
    }

    #[test]
    fn a_live_stream_is_not_started_over() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        let first = start(tx, &demo("a")).unwrap();
        let again = start(tx, &NewStream { kind: Kind::Whip, ..demo("a") }).unwrap_err();
        assert_eq!(again.to_string(), "active stream \"a\" is already there");
        assert_eq!(by_id(tx, "a").unwrap(), Some(first));
    }

    #[test]
    fn what_is_not_there_or_not_acceptable_is_refused() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        assert!(matches!(end(tx, "x"), Err(StoreError::NotFound { noun: "stream", .. })));
        assert!(matches!(update_stats(tx, "x", "{}"), Err(StoreError::NotFound { .. })));
        assert!(matches!(start(tx, &demo("")), Err(StoreError::Invalid { field: "stream_id", .. })));
        start(tx, &demo("x")).unwrap();
        for bad in ["", "{", &"1".repeat(70_000)] {
            assert!(matches!(update_stats(tx, "x", bad), Err(StoreError::Invalid { .. })));
        }
        assert_eq!(by_id(tx, "x").unwrap().unwrap().last_stats_json, None);
    }

    #[test]
    fn only_what_is_live_since_then_ends() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        for (name, started) in [
            ("live", "2026-01-01 10:00:00"),
            ("ahead", "2999-01-01T10:00:00.000Z"),
            ("anew", "2026-01-01T10:00:00.000Z"),
            ("over", "2026-01-01 10:00:00"),
        ] {
            start(tx, &demo(name)).unwrap();
            db.execute("UPDATE streams SET started_at = ?2 WHERE stream_id = ?1", [name, started]).unwrap();
        }
        end(tx, "over").unwrap();
        let over = by_id(tx, "over").unwrap();
        let found = live(tx).unwrap();
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["ahead", "anew", "live"]);
        end(tx, "anew").unwrap();
        start(tx, &demo("anew")).unwrap();
        let ended: Vec<_> =
            found.iter().map(|(name, began)| end_if_since(tx, name, began).unwrap()).collect();
        assert_eq!(ended, [true, false, true]);
        assert_eq!(live(tx).unwrap().into_keys().collect::<Vec<_>>(), ["anew"]);
        assert_eq!((end_all(tx).unwrap(), end_all(tx).unwrap()), (1, 0));
        assert_eq!(by_id(tx, "over").unwrap(), over);
        assert_eq!(count_active(tx).unwrap(), 0);
    }

    #[test]
    fn streams_are_listed_latest_first_whatever_the_spelling() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        for (name, started) in [
            ("b", "2026-01-01 10:00:00"),
            ("a", "2026-01-01T09:00:00.000Z"),
            ("c", "2026-01-01T10:00:00.001Z"),
            ("b2", "2026-01-01T10:00:00.000Z"),
        ] {
            start(tx, &demo(name)).unwrap();
            db.execute("UPDATE streams SET started_at = ?2 WHERE stream_id = ?1", [name, started]).unwrap();
        }
        end(tx, "b").unwrap();
        let found = |filter: &StreamFilter| {
            let listed = list(tx, filter).unwrap();
            (
                listed.data.into_iter().map(|stream| stream.stream_id).collect::<Vec<_>>().join(" "),
                listed.total,
            )
        };
        assert_eq!(found(&StreamFilter::default()), ("c b2 b a".to_owned(), 4));
        let page = Page::new(2, 1).unwrap();
        assert_eq!(found(&StreamFilter { page, ..Default::default() }), ("b2 b".to_owned(), 4));
        let status = Some(Status::Ended);
        assert_eq!(found(&StreamFilter { status, ..Default::default() }), ("b".to_owned(), 1));
        let room = Some("nowhere".to_owned());
        assert_eq!(found(&StreamFilter { room, ..Default::default() }), (String::new(), 0));
    }

    #[test]
    fn lists_and_reconciliation_use_the_indices() {
        let db = database();
        let plan = |sql: &str| plan(&db, sql);
        let all = plan(&query(&StreamFilter::default()).sql());
        assert!(all.contains("_streamhub_streams_by_start") && !all.contains("TEMP B-TREE"), "{all}");
        let active = plan(&query(&StreamFilter { status: Some(Status::Active), ..Default::default() }).sql());
        assert!(
            active.contains("_streamhub_streams_by_status_and_start") && !active.contains("TEMP B-TREE"),
            "{active}"
        );
        let live = plan(LIVE);
        assert!(live.contains("_streamhub_streams_by_status_and_start (status=?)"), "{live}");
    }

    #[test]
    fn a_stream_is_json_as_the_contract_says() {
        let db = database();
        let stream = start(&mut WriteTx::within(&db), &demo("live/a")).unwrap();
        let json = serde_json::to_value(&stream).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"id": 1, "appId": 7, "streamId": "live/a", "type": "rtmp", "room": "lobby",
                "participant": null, "status": "active", "startedAt": stream.started_at, "endedAt": null,
                "lastStatsJson": null})
        );
        let body = "{\"streamId\":\"live/a\",\"type\":\"rtmp\",\"room\":\"lobby\"}";
        assert_eq!(NewStream { app_id: 7, ..serde_json::from_str(body).unwrap() }, demo("live/a"));
        let chosen = body.replace('}', ",\"appId\":9}");
        assert!(
            serde_json::from_str::<NewStream>(&chosen).is_err(),
            "whose it is is not the client's to say"
        );
    }
}
