//! Recordings (vods): what was recorded, and where it lies.

mod filter;

use std::time::Duration;

use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension, Row, params_from_iter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::change::{Change, required};
use streamhub_engine::time::Moment;
use streamhub_engine::{ReadTx, WriteTx, words};

pub use self::filter::{Dir, Order, Place, VodFilter};
use crate::change::{self, Assignment, assign};
use crate::error::{Result, StoreError};
use crate::outbox::{self, Entry};
use crate::page::Listed;
use crate::{check, column};

/// How long a recording is at most. Media servers begin another file long before; what is longer is a mistake that would
/// use up a tenant's recording minutes of a month, which nobody can take back.
pub const LONGEST: Duration = Duration::from_hours(31 * 24);

/// Bytes of texts from which on a part of a list has no more rows.
const LONGEST_PART: usize = 1 << 20;

/// One recording. Times are as the row has them; [`normalised!`](streamhub_engine::normalised) compares them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vod {
    /// The row's number.
    pub id: i64,
    /// The registry's number of the app when the row was written.
    pub app_id: i64,
    /// The stream that was recorded.
    pub stream_id: Option<String>,
    /// The room it belongs to.
    pub room: Option<String>,
    /// A name for people.
    pub name: String,
    /// Key in the object store.
    pub file_key: Option<String>,
    /// Address in the object store.
    pub s3_url: Option<String>,
    /// Address for viewers.
    pub public_url: Option<String>,
    /// Bytes.
    pub size_bytes: Option<i64>,
    /// Seconds.
    pub duration_s: Option<f64>,
    /// Pixels.
    pub width: Option<i64>,
    /// Pixels.
    pub height: Option<i64>,
    /// The container format, such as `mp4`.
    pub format: Option<String>,
    /// How far it is.
    pub status: Status,
    /// The file, from the app's directory: below `recordings/`, `hls/`, `snapshots/` or `samples/`, such as
    /// `recordings/cam.mp4`. Anything else is refused.
    pub local_path: Option<String>,
    /// When the recording began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// What else is known of it, as a JSON text.
    pub metatags_json: Option<String>,
    /// Key of its picture in the object store.
    pub snapshot_key: Option<String>,
}

words! {
    /// How far a recording is.
    pub enum Status {
        /// It is being written.
        Recording = "recording",
        /// It is on its way to the object store.
        Uploading = "uploading",
        /// It can be watched.
        Ready = "ready",
        /// It came to nothing.
        Failed = "failed",
    }
}

/// A recording that begins, or that is already there. [`NewVod::named`] fills what is required.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of Vod")]
pub struct NewVod {
    /// The registry's number of the app; never the client's to choose.
    #[serde(skip)]
    pub app_id: i64,
    pub name: String,
    #[serde(default = "recording")]
    pub status: Status,
    pub stream_id: Option<String>,
    pub room: Option<String>,
    pub file_key: Option<String>,
    pub s3_url: Option<String>,
    pub public_url: Option<String>,
    pub size_bytes: Option<i64>,
    #[schemars(range(min = 0, max = 2_678_400))]
    pub duration_s: Option<f64>,
    pub width: Option<i64>,
    pub height: Option<i64>,
    pub format: Option<String>,
    pub local_path: Option<String>,
    pub started_at: Option<Moment>,
    pub ended_at: Option<Moment>,
    pub metatags_json: Option<String>,
    pub snapshot_key: Option<String>,
}

/// What becomes of a recording's columns; the default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of Vod")]
pub struct VodPatch {
    #[serde(deserialize_with = "required")]
    #[schemars(with = "String")]
    pub name: Option<String>,
    #[serde(deserialize_with = "required")]
    #[schemars(with = "Status")]
    pub status: Option<Status>,
    pub stream_id: Change<String>,
    pub room: Change<String>,
    pub file_key: Change<String>,
    pub s3_url: Change<String>,
    pub public_url: Change<String>,
    pub size_bytes: Change<i64>,
    #[schemars(range(min = 0, max = 2_678_400))]
    pub duration_s: Change<f64>,
    pub width: Change<i64>,
    pub height: Change<i64>,
    pub format: Change<String>,
    pub local_path: Change<String>,
    pub started_at: Change<Moment>,
    pub ended_at: Change<Moment>,
    pub metatags_json: Change<String>,
    pub snapshot_key: Change<String>,
}

macro_rules! columns {
    () => {
        "id, app_id, stream_id, room, name, file_key, s3_url, public_url, size_bytes, duration_s, width, height, \
         format, status, local_path, started_at, ended_at, metatags_json, snapshot_key"
    };
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM vods WHERE id = ?1");

/// Adds a recording. One that does not say whose it is is refused: a lease knows its app's number.
pub fn create(tx: &mut WriteTx<'_>, vod: &NewVod) -> Result<Vod> {
    if vod.app_id < 1 {
        return Err(StoreError::invalid("app_id", "it is the registry's number of the app, from 1"));
    }
    let assignments = vod.assignments();
    check::columns(&assignments)?;
    let names: Vec<_> = assignments.iter().map(|(name, _)| *name).collect();
    let sql = format!(
        "INSERT INTO vods ({}) VALUES ({}) RETURNING {}",
        names.join(", "),
        vec!["?"; names.len()].join(", "),
        columns!()
    );
    let values = assignments.iter().map(|(_, value)| *value);
    Ok(tx.execute_returning(&sql, params_from_iter(values), read)?)
}

/// Changes a recording, and returns what it has become.
pub fn update(tx: &mut WriteTx<'_>, id: i64, patch: &VodPatch) -> Result<Vod> {
    let assignments = patch.assignments();
    check::columns(&assignments)?;
    change::apply(tx, "vods", ("id", &id), &assignments, columns!(), read)?
        .ok_or_else(|| StoreError::not_found("vod", &id))
}

/// Removes a recording's row, and leaves word in the [outbox] that its file is to go.
///
/// Whoever deletes the file asks [`uses_file`] first: older data may have several rows for one file.
pub fn delete(tx: &mut WriteTx<'_>, id: i64) -> Result<Vod> {
    let sql = concat!("DELETE FROM vods WHERE id = ?1 RETURNING ", columns!());
    let vod =
        tx.execute_returning(sql, [id], read).optional()?.ok_or_else(|| StoreError::not_found("vod", &id))?;
    if let Some(path) = &vod.local_path {
        outbox::push(tx, &Entry::DeleteFile { path: path.clone() })?;
    }
    Ok(vod)
}

/// The recording of this number, where there is one.
pub fn by_id(tx: &ReadTx<'_>, id: i64) -> Result<Option<Vod>> {
    Ok(tx.query_optional(BY_ID, [id], read)?)
}

/// The recordings that a filter finds: one page of them, and how many there are.
pub fn list(tx: &ReadTx<'_>, filter: &VodFilter) -> Result<Listed<Vod>> {
    filter.query(columns!()).list(tx, read)
}

/// One page of the recordings that a filter finds. Counting all of them would cost more than the page.
pub fn page(tx: &ReadTx<'_>, filter: &VodFilter) -> Result<Vec<Vod>> {
    filter.query(columns!()).rows(tx, read)
}

/// The recordings that a filter finds behind a place, `limit` at the most, fewer where they are long, and whatever the
/// filter's own page; and where to go on, none where nothing is left. Parts that are read one after the other show each recording once
/// that does not change meanwhile.
pub fn behind(
    tx: &ReadTx<'_>,
    filter: &VodFilter,
    place: Option<&Place>,
    limit: u32,
) -> Result<(Vec<Vod>, Option<Place>)> {
    let (mut vods, mut next, mut bytes) = (Vec::new(), None, 0);
    for query in filter.behind(columns!(), place) {
        if bytes >= LONGEST_PART {
            break;
        }
        let wanting = limit as usize - vods.len();
        let rows = query.first(tx, wanting, |row| {
            // What is too much is passed over, and not kept.
            if bytes >= LONGEST_PART {
                return Ok(None);
            }
            bytes += column::length(row, 19)?;
            Ok(Some((read(row)?, row.get(19)?)))
        })?;
        for (vod, value) in rows.into_iter().flatten() {
            next = Some(Place { value, id: vod.id });
            vods.push(vod);
        }
    }
    let is_full = vods.len() == limit as usize || bytes >= LONGEST_PART;
    Ok((vods, next.filter(|_| is_full)))
}

/// How many recordings a filter finds on all pages.
pub fn count(tx: &ReadTx<'_>, filter: &VodFilter) -> Result<u64> {
    filter.query(columns!()).count(tx)
}

/// Whether any recording's file is this one. Reads the whole table: no index is kept for so rare a question.
pub fn uses_file(tx: &ReadTx<'_>, path: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM vods WHERE local_path = ?1)";
    Ok(tx.query_row(sql, [path], |row| row.get(0))?)
}

impl NewVod {
    /// A recording that begins at this moment, of which nothing but its name is known; whose it is is for the
    /// hub to say.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            app_id: 0,
            name: name.into(),
            status: recording(),
            stream_id: None,
            room: None,
            file_key: None,
            s3_url: None,
            public_url: None,
            size_bytes: None,
            duration_s: None,
            width: None,
            height: None,
            format: None,
            local_path: None,
            started_at: Some(Moment::now()),
            ended_at: None,
            metatags_json: None,
            snapshot_key: None,
        }
    }

    fn assignments(&self) -> [Assignment<'_>; 18] {
        [
            ("app_id", &self.app_id),
            ("name", &self.name),
            ("status", &self.status),
            ("stream_id", &self.stream_id),
            ("room", &self.room),
            ("file_key", &self.file_key),
            ("s3_url", &self.s3_url),
            ("public_url", &self.public_url),
            ("size_bytes", &self.size_bytes),
            ("duration_s", &self.duration_s),
            ("width", &self.width),
            ("height", &self.height),
            ("format", &self.format),
            ("local_path", &self.local_path),
            ("started_at", &self.started_at),
            ("ended_at", &self.ended_at),
            ("metatags_json", &self.metatags_json),
            ("snapshot_key", &self.snapshot_key),
        ]
    }
}

impl VodPatch {
    fn assignments(&self) -> Vec<Assignment<'_>> {
        let required = [
            self.name.as_ref().map(|name| ("name", name as &dyn ToSql)),
            self.status.as_ref().map(|status| ("status", status as &dyn ToSql)),
        ];
        let optional = [
            assign("stream_id", &self.stream_id),
            assign("room", &self.room),
            assign("file_key", &self.file_key),
            assign("s3_url", &self.s3_url),
            assign("public_url", &self.public_url),
            assign("size_bytes", &self.size_bytes),
            assign("duration_s", &self.duration_s),
            assign("width", &self.width),
            assign("height", &self.height),
            assign("format", &self.format),
            assign("local_path", &self.local_path),
            assign("started_at", &self.started_at),
            assign("ended_at", &self.ended_at),
            assign("metatags_json", &self.metatags_json),
            assign("snapshot_key", &self.snapshot_key),
        ];
        required.into_iter().chain(optional).flatten().collect()
    }
}

fn recording() -> Status {
    Status::Recording
}

fn read(row: &Row<'_>) -> rusqlite::Result<Vod> {
    Ok(Vod {
        id: row.get(0)?,
        app_id: column::integer(row, 1)?.unwrap_or_default(),
        stream_id: column::text(row, 2)?,
        room: column::text(row, 3)?,
        name: column::required_text(row, 4)?,
        file_key: column::text(row, 5)?,
        s3_url: column::text(row, 6)?,
        public_url: column::text(row, 7)?,
        size_bytes: column::integer(row, 8)?,
        duration_s: column::real(row, 9)?,
        width: column::integer(row, 10)?,
        height: column::integer(row, 11)?,
        format: column::text(row, 12)?,
        status: row.get(13)?,
        local_path: column::text(row, 14)?,
        started_at: column::text(row, 15)?,
        ended_at: column::text(row, 16)?,
        metatags_json: column::text(row, 17)?,
        snapshot_key: column::text(row, 18)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database;

    fn demo() -> NewVod {
        NewVod {
            room: Some("lobby".to_owned()),
            local_path: Some("recordings/a.mp4".to_owned()),
            app_id: 7,
            started_at: Some("2026-01-01 10:00:00".parse().unwrap()),
            ..NewVod::named("a.mp4")
        }
    }

    #[test]
    fn a_recording_is_created_changed_and_deleted_with_its_file() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        let vod = create(tx, &demo()).unwrap();
        assert_eq!((vod.id, vod.app_id, vod.status), (1, 7, Status::Recording));
        assert_eq!(vod.started_at.as_deref(), Some("2026-01-01T10:00:00.000Z"));
        assert_eq!(by_id(tx, 1).unwrap(), Some(vod.clone()));
        let patch = VodPatch {
            status: Some(Status::Ready),
            size_bytes: Change::Set(5),
            duration_s: Change::Set(1.5),
            room: Change::Clear,
            ..VodPatch::default()
        };
        let changed = update(tx, 1, &patch).unwrap();
        let expected =
            Vod { status: Status::Ready, size_bytes: Some(5), duration_s: Some(1.5), room: None, ..vod };
        assert_eq!(changed, expected);
        assert_eq!(update(tx, 1, &VodPatch::default()).unwrap(), expected);
        assert_eq!(delete(tx, 1).unwrap(), expected);
        assert_eq!(by_id(tx, 1).unwrap(), None);
        let left: Vec<_> = outbox::peek(tx, 0, 10).unwrap().into_iter().map(|row| row.entry).collect();
        assert_eq!(left, [Entry::DeleteFile { path: "recordings/a.mp4".to_owned() }]);
    }

    #[test]
    fn without_a_file_nothing_is_left_to_do() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        create(tx, &NewVod { app_id: 7, ..NewVod::named("remote") }).unwrap();
        delete(tx, 1).unwrap();
        assert!(outbox::is_empty(tx).unwrap());
        let next = create(tx, &NewVod { app_id: 7, ..NewVod::named("next") }).unwrap();
        assert_eq!(next.id, 2, "ids are not given out twice");
        assert!(next.started_at.is_some(), "it begins at this moment");
    }

    #[test]
    fn a_file_of_two_rows_is_in_use_until_the_second_goes() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        create(tx, &demo()).unwrap();
        create(tx, &demo()).unwrap();
        delete(tx, 1).unwrap();
        assert!(uses_file(tx, "recordings/a.mp4").unwrap());
        delete(tx, 2).unwrap();
        assert!(!uses_file(tx, "recordings/a.mp4").unwrap());
    }

    #[test]
    fn what_is_not_there_or_not_acceptable_is_refused() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        let refused = |error: StoreError| match error {
            StoreError::Invalid { field, .. } => field,
            StoreError::NotFound { noun, .. } => noun,
            other => panic!("{other}"),
        };
        assert_eq!(refused(create(tx, &NewVod { app_id: 7, ..NewVod::named("") }).unwrap_err()), "name");
        assert_eq!(refused(create(tx, &NewVod::named("nobody's")).unwrap_err()), "app_id");
        let outside = NewVod { local_path: Some("../x".to_owned()), ..demo() };
        assert_eq!(refused(create(tx, &outside).unwrap_err()), "local_path");
        create(tx, &demo()).unwrap();
        let negative = VodPatch { size_bytes: Change::Set(-1), ..VodPatch::default() };
        assert_eq!(refused(update(tx, 1, &negative).unwrap_err()), "size_bytes");
        let json = VodPatch { metatags_json: Change::Set("{".to_owned()), ..VodPatch::default() };
        assert_eq!(refused(update(tx, 1, &json).unwrap_err()), "metatags_json");
        for patch in [VodPatch::default(), VodPatch { room: Change::Clear, ..VodPatch::default() }] {
            assert_eq!(refused(update(tx, 9, &patch).unwrap_err()), "vod");
        }
        assert_eq!(refused(delete(tx, 9).unwrap_err()), "vod");
        assert!(outbox::is_empty(tx).unwrap());
    }

    #[test]
    fn rows_that_an_older_program_wrote_oddly_are_read_all_the_same() {
        let db = database();
        db.execute(
            "INSERT INTO vods (app_id, name, room, size_bytes, width, duration_s, started_at) \
             VALUES (1, CAST(x'ff41' AS TEXT), 5, 1.5, 'wide', 7, x'41')",
            [],
        )
        .unwrap();
        let vod = by_id(&WriteTx::within(&db), 1).unwrap().unwrap();
        assert_eq!((vod.name.as_str(), vod.room.as_deref()), ("\u{fffd}A", Some("5")));
        assert_eq!((vod.size_bytes, vod.width, vod.duration_s), (Some(1), None, Some(7.0)));
        assert_eq!(vod.started_at.as_deref(), Some("A"));
    }

    #[test]
    fn in_json_absent_keeps_and_null_clears() {
        let patch: VodPatch =
            serde_json::from_str("{\"room\":null,\"startedAt\":\"2026-01-01\",\"status\":\"ready\"}")
                .unwrap();
        let expected = VodPatch {
            room: Change::Clear,
            started_at: Change::Set("2026-01-01T00:00:00.000Z".parse().unwrap()),
            status: Some(Status::Ready),
            ..VodPatch::default()
        };
        assert_eq!(patch, expected);
        for bad in ["{\"name\":null}", "{\"status\":\"lost\"}", "{\"startedAt\":\"soon\"}", "{\"room\":5}"] {
            assert!(serde_json::from_str::<VodPatch>(bad).is_err(), "{bad}");
        }
        let body = "{\"name\":\"a.mp4\",\"room\":\"lobby\",\"localPath\":\"recordings/a.mp4\",\
                    \"startedAt\":\"2026-01-01T10:00:00Z\"}";
        assert_eq!(NewVod { app_id: 7, ..serde_json::from_str(body).unwrap() }, demo());
        let chosen = body.replace('}', ",\"appId\":9}");
        assert!(serde_json::from_str::<NewVod>(&chosen).is_err(), "whose it is is not the client's to say");
    }

    #[test]
    fn a_recording_is_json_as_the_contract_says() {
        let db = database();
        let vod = create(&mut WriteTx::within(&db), &demo()).unwrap();
        assert_eq!(
            serde_json::to_string(&vod).unwrap(),
            "{\"id\":1,\"appId\":7,\"streamId\":null,\"room\":\"lobby\",\"name\":\"a.mp4\",\"fileKey\":null,\
             \"s3Url\":null,\"publicUrl\":null,\"sizeBytes\":null,\"durationS\":null,\"width\":null,\
             \"height\":null,\"format\":null,\"status\":\"recording\",\"localPath\":\"recordings/a.mp4\",\
             \"startedAt\":\"2026-01-01T10:00:00.000Z\",\"endedAt\":null,\"metatagsJson\":null,\
             \"snapshotKey\":null}"
        );
    }
}
