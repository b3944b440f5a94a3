//! What a value must be before it is written.

use std::path::{Component, Path};

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use serde::de::IgnoredAny;
use streamhub_engine::{media, text as texts};

use crate::change::Assignment;
use crate::error::{Result, StoreError};
use crate::vods::LONGEST;

/// Bytes that a JSON text has at most.
const JSON_MAX: usize = 64 << 10;

/// A name or address: not too long and without control characters.
pub(crate) fn text(field: &'static str, text: &str) -> Result<()> {
    texts::within(text, texts::ADDRESS_MAX).map_err(|bad| StoreError::invalid(field, bad.to_string()))
}

/// A text by which something is found again: not empty either.
pub(crate) fn name(field: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(StoreError::invalid(field, "it is empty"));
    }
    text(field, name)
}

/// A JSON text.
pub(crate) fn json(field: &'static str, json: &str) -> Result<()> {
    if json.len() > JSON_MAX {
        return Err(StoreError::invalid(
            field,
            format!("it has {} bytes, at most {JSON_MAX} are kept", json.len()),
        ));
    }
    serde_json::from_str::<IgnoredAny>(json)
        .map(drop)
        .map_err(|error| StoreError::invalid(field, format!("it is no JSON: {error}")))
}

/// A file in one of the app's media folders, named from the app's directory.
pub(crate) fn media_path(field: &'static str, path: &str) -> Result<()> {
    text(field, path)?;
    let mut components = Path::new(path).components();
    let in_folder = matches!(components.next(), Some(Component::Normal(folder))
        if media::FOLDERS.iter().any(|known| folder == *known));
    let names_a_file =
        path.split('/').count() > 1 && path.split('/').all(|part| !["", ".", ".."].contains(&part));
    if in_folder && names_a_file {
        Ok(())
    } else {
        let reason = format!("{path:?} is no file in {} of the app's directory", media::FOLDERS.join(", "));
        Err(StoreError::invalid(field, reason))
    }
}

/// The values of columns.
pub(crate) fn columns(assignments: &[Assignment<'_>]) -> Result<()> {
    assignments.iter().try_for_each(|(field, value)| column(field, *value))
}

/// A column's value, by what the column holds.
fn column(field: &'static str, value: &dyn ToSql) -> Result<()> {
    let value = value.to_sql()?;
    let value = match &value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => value.into(),
        _ => ValueRef::Null,
    };
    match value {
        ValueRef::Integer(..0) => Err(StoreError::invalid(field, "it is negative")),
        ValueRef::Real(number) if !number.is_finite() || number < 0.0 => {
            Err(StoreError::invalid(field, "it is negative or no number"))
        }
        ValueRef::Real(seconds) if field == "duration_s" && seconds > LONGEST.as_secs_f64() => Err(
            StoreError::invalid(field, format!("it is longer than {} seconds, 31 days", LONGEST.as_secs())),
        ),
        ValueRef::Text(_) => {
            let value = value.as_str().map_err(rusqlite::Error::from)?;
            match field {
                "metatags_json" | "last_stats_json" => json(field, value),
                "local_path" => media_path(field, value),
                "name" | "stream_id" => name(field, value),
                _ => text(field, value),
            }
        }
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_path_stays_in_the_media_folders() {
        for good in ["recordings/a.mp4", "hls/room/seg 1.ts", "snapshots/ü.jpg", "samples/..a/x"] {
            media_path("local_path", good).unwrap();
        }
        for bad in [
            "",
            "a.mp4",
            "recordings",
            "recordings/",
            "/recordings/a",
            "recordings/../app.db",
            "recordings/./a",
            "recordings//a",
            "./recordings/a",
            "app.db",
            "config.yaml",
            "recordings/a\0",
        ] {
            assert!(media_path("local_path", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_is_judged_by_its_column() {
        let refused = |field, value: &dyn ToSql| column(field, value).unwrap_err().to_string();
        assert_eq!(refused("size_bytes", &-1), "sizeBytes: it is negative");
        for bad in [-0.5, f64::NAN, f64::INFINITY] {
            assert!(refused("duration_s", &bad).contains("no number"), "{bad}");
        }
        for long in [2_678_400.1, 1e300] {
            assert_eq!(refused("duration_s", &long), "durationS: it is longer than 2678400 seconds, 31 days");
        }
        column("duration_s", &2_678_400.0).unwrap();
        assert!(refused("metatags_json", &"{\"a\":}").contains("no JSON"));
        assert!(refused("metatags_json", &format!("\"{}\"", "x".repeat(JSON_MAX))).contains("at most"));
        assert_eq!(refused("name", &""), "name: it is empty");
        assert!(refused("room", &"a\nb").contains("control"));
        assert!(refused("room", &"x".repeat(texts::ADDRESS_MAX + 1)).contains("at most"));
        let fine: [(&'static str, &dyn ToSql); 4] =
            [("size_bytes", &0), ("room", &""), ("metatags_json", &"[1]"), ("local_path", &None::<String>)];
        for (field, value) in fine {
            column(field, value).unwrap();
        }
    }
}
