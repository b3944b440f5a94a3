//! Lists by time, the newest first, in parts.
//!
//! A part begins behind a place that the part before it named. What happens meanwhile comes before the first
//! part, so that each row that was there is shown once.

use std::fmt;
use std::str::FromStr;

use streamhub_engine::time::Moment;

/// A place between two rows of a list, as `2026-11-21T03:54:52.423Z.17`: behind the row of this time and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor<I = i64> {
    /// In the one spelling that times are compared in; what an older system wrote need not be a time.
    time: String,
    id: I,
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no cursor of this list")]
pub struct BadCursor;

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Listed<T, I = i64> {
    /// The rows.
    pub entries: Vec<T>,
    /// Where the next part begins; none where this is the last.
    pub next: Option<Cursor<I>>,
}

impl<I> Cursor<I> {
    /// Behind the row of this time and id.
    pub(crate) fn after(time: impl Into<String>, id: I) -> Self {
        Self { time: time.into(), id }
    }

    /// The time of the row.
    pub(crate) fn time(&self) -> &str {
        &self.time
    }

    /// The id of the row.
    pub(crate) fn id(&self) -> &I {
        &self.id
    }
}

/// The time and the number that all rows of a part are less than.
pub(crate) fn start<'a>(cursor: Option<&'a Cursor>, until: Option<&'a Moment>) -> (&'a str, i64) {
    match (cursor, until) {
        (Some(cursor), _) => (&cursor.time, cursor.id),
        // No number is less than the least.
        (None, Some(until)) => (until.as_str(), i64::MIN),
        (None, None) => ("\u{10FFFF}", i64::MIN),
    }
}

/// How many rows to ask for: one more than wanted shows whether there are more.
pub(crate) fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}

impl<T, I: Clone> Listed<T, I> {
    /// Of the rows that [`one_more`] asked for, each with the place behind it.
    pub(crate) fn of(mut rows: Vec<(T, Cursor<I>)>, limit: u32) -> Self {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_more = rows.len() > wanted;
        rows.truncate(wanted);
        let next = rows.last().filter(|_| is_more).map(|(_, place)| place.clone());
        Self { entries: rows.into_iter().map(|(row, _)| row).collect(), next }
    }
}

impl<I: fmt::Display> fmt::Display for Cursor<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time, self.id)
    }
}

impl<I: FromStr> FromStr for Cursor<I> {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (time, id) = text.rsplit_once('.').ok_or(BadCursor)?;
        Ok(Self { time: time.to_owned(), id: id.parse().map_err(|_| BadCursor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cursor_is_refused() {
        for bad in ["", "x", ".", "2026-11-21T00:00:00.000Z", "2026-11-21T00:00:00.000Z.x"] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
        for good in ["2026-11-21T00:00:00.000Z.17", "what an older system wrote.3"] {
            assert_eq!(good.parse::<Cursor>().unwrap().to_string(), good);
        }
    }
}
