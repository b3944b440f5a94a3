//! Points in time as text.
//!
//! Everything this program writes is RFC 3339 in UTC with milliseconds. Older data mixes that with
//! `YYYY-MM-DD HH:MM:SS`, and stays as it is; every comparison, order and cursor goes through one
//! SQL expression that makes the two spellings one, [`normalised!`](crate::normalised).

use std::time::SystemTime;

use jiff::Timestamp;

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
    fn the_present_is_already_normal() {
        let now = super::now();
        assert_eq!(now.len(), 24, "{now}");
        assert!(now.ends_with('Z') && now.as_bytes()[10] == b'T' && now.as_bytes()[19] == b'.');
        assert!(!super::file_stamp().contains([':', '.']));
    }
}
