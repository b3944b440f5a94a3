//! Points in time as text.
//!
//! Everything this program writes is RFC 3339 in UTC with milliseconds. Older data mixes that with
//! `YYYY-MM-DD HH:MM:SS`, and stays as it is; every comparison, order and cursor goes through one
//! SQL expression that makes the two spellings one, [`normalised!`](crate::normalised).

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::types::{ToSql, ToSqlOutput};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first moment of the calendar, in seconds from 1970: years before it would not sort as text.
const FIRST: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// The time as `2026-11-21T03:54:52.423Z`.
pub fn now() -> String {
    written(Timestamp::now())
}

/// A time of the file system's in the same form; none where it is beyond the calendar.
pub fn of_file(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(written)
}

fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A point in time that a caller gave, in the form that this program writes.
///
/// It is read from RFC 3339 with any offset, from the older spelling `2026-11-21 03:54:52`, and from a
/// day alone; without an offset it is UTC. What is finer than a millisecond is cut off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(inline, extend("format" = "date-time"))]
pub struct Moment(String);

/// A text that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time; write it like 2026-11-21T03:54:52Z")]
pub struct NotAMoment {
    /// The text.
    pub text: String,
}

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Self(now())
    }

    /// As `2026-11-21T03:54:52.423Z`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// So much later; where that is beyond the calendar, its last moment.
    #[must_use]
    pub fn after(&self, span: Duration) -> Self {
        let later = self.timestamp().saturating_add(span);
        Self(written(later.unwrap_or(Timestamp::MAX)))
    }

    /// So much earlier; where that is beyond the calendar, its first moment.
    #[must_use]
    pub fn before(&self, span: Duration) -> Self {
        let earlier = self.timestamp().saturating_sub(span).ok().filter(|time| *time > FIRST);
        Self(written(earlier.unwrap_or(FIRST)))
    }

    /// How long it is until a later point in time; nothing until an earlier one.
    pub fn until(&self, later: &Self) -> Duration {
        later.timestamp().duration_since(self.timestamp()).try_into().unwrap_or_default()
    }

    fn timestamp(&self) -> Timestamp {
        self.0.parse().expect("it was written by `written`")
    }
}

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let parsed = text
            .parse::<Timestamp>()
            .or_else(|_| text.parse::<DateTime>()?.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()));
        // Years of more than four digits would not sort as text.
        parsed
            .map(|time| Self(written(time)))
            .ok()
            .filter(|moment| moment.0.len() == now().len() && !moment.0.starts_with('-'))
            .ok_or_else(|| NotAMoment { text: text.to_owned() })
    }
}

crate::parsed_text!(Moment);

impl ToSql for Moment {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_str().into())
    }
}

/// The time as part of a file name, `2026-11-21T03-54-52-423Z`: sortable and without a colon.
pub fn file_stamp() -> String {
    now().replace([':', '.'], "-")
}

/// The SQL expression that brings both spellings of a timestamp column to RFC 3339 with milliseconds.
///
/// Text that does not begin like a date is left as it is. The guard also keeps words such as `now`
/// from SQLite's date functions, which would make the expression unfit for an index.
#[macro_export]
macro_rules! normalised {
    ($column:literal) => {
        concat!(
            "coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN ",
            $column,
            " GLOB '[0-9][0-9][0-9][0-9]-*' THEN ",
            $column,
            " END), ",
            $column,
            ")"
        )
    };
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use std::time::Duration;

    use rusqlite::Connection;

    #[test]
    fn both_spellings_become_one() {
        let db = Connection::open_in_memory().unwrap();
        let one = |text: &str| {
            db.query_row(concat!("SELECT ", normalised!("t"), " FROM (SELECT ?1 AS t)"), [text], |row| {
                row.get::<_, String>(0)
            })
            .unwrap()
        };
        assert_eq!(one("2026-11-21 03:54:52"), "2026-11-21T03:54:52.000Z");
        assert_eq!(one("2026-01-01T00:01:01.250Z"), "2026-01-01T00:01:01.250Z");
        assert_eq!(one("2026-01-01T02:00:00+02:00"), "2026-01-01T00:00:00.000Z");
        assert_eq!(one("now"), "now");
        assert_eq!(one("2026-nonsense"), "2026-nonsense");
    }

    #[test]
    fn a_moment_is_what_sql_makes_of_the_same_text() {
        let db = Connection::open_in_memory().unwrap();
        let sql = concat!("SELECT ", normalised!("t"), " FROM (SELECT ?1 AS t)");
        for text in [
            "2026-11-21 03:54:52",
            "2026-11-21T03:54:52",
            "2026-11-21T03:54:52Z",
            "2026-11-21T03:54:52.250Z",
            "2026-11-21T05:54:52.250+02:00",
            "2026-11-21",
            "0001-01-01T00:00:00Z",
            "9999-12-30T12:00:00.999Z",
        ] {
            let normal: String = db.query_row(sql, [text], |row| row.get(0)).unwrap();
            assert_eq!(text.parse::<super::Moment>().unwrap().as_str(), normal, "{text}");
        }
        for text in ["", "now", "2026", "2026-02-30", "2026-13-01", "03:54", "+012026-01-01", "-000001-01-01"]
        {
            assert!(text.parse::<super::Moment>().is_err(), "{text}");
        }
        assert_eq!(super::Moment::now().as_str().len(), 24);
    }

    #[test]
    fn moments_are_as_far_apart_as_one_is_put_after_the_other() {
        let moment = |text: &str| text.parse::<super::Moment>().unwrap();
        let eve = moment("2026-12-31T23:59:59.999Z");
        let span = Duration::from_millis(1_001);
        assert_eq!(eve.after(span), moment("2027-01-01T00:00:01Z"));
        assert_eq!(eve.until(&eve.after(span)), span);
        assert_eq!(eve.after(span).until(&eve), Duration::ZERO);
        assert_eq!(eve.after(span).before(span), eve);
        assert_eq!(eve.before(Duration::MAX).as_str(), "0001-01-01T00:00:00.000Z");
        assert!(eve.after(Duration::MAX) > eve && eve.after(Duration::MAX).as_str().len() == 24);
    }

    #[test]
    fn the_present_is_already_normal() {
        let now = super::now();
        assert_eq!(now.len(), 24, "{now}");
        assert!(now.ends_with('Z') && now.as_bytes()[10] == b'T' && now.as_bytes()[19] == b'.');
        assert!(!super::file_stamp().contains([':', '.']));
    }
}
