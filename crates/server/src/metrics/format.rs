//! The two text formats in which Prometheus reads figures: the classic one, and `OpenMetrics`, which has to be
//! asked for.

use std::collections::HashSet;

use axum::http::header::{CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use schemars::{Schema, SchemaGenerator};

use crate::answer::Answer;

const CLASSIC: &str = "text/plain; version=0.0.4";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// One of the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Classic,
    OpenMetrics,
}

/// All figures, as they are sent.
#[derive(Debug)]
pub(crate) struct Exposition {
    format: Format,
    pub(crate) text: String,
}

impl Format {
    /// What a client prefers, by its `Accept`.
    pub(crate) fn preferred(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or_default();
        let open = quality(accept, "application/openmetrics-text");
        if open > 0.0 && open >= quality(accept, "text/plain") { Self::OpenMetrics } else { Self::Classic }
    }
}

/// How much a client wants a media type that it names; 0 where it does not.
fn quality(accept: &str, media: &str) -> f32 {
    let quality = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let is_meant = parts.next().is_some_and(|named| named.eq_ignore_ascii_case(media));
        let q = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
        q.filter(|_| is_meant).unwrap_or(0.0)
    };
    accept.split(',').map(quality).fold(0.0, f32::max)
}

impl Exposition {
    /// Of families that are written as `OpenMetrics` has them.
    pub(crate) fn new(format: Format, families: String) -> Self {
        let text = match format {
            Format::Classic => classic(&families),
            Format::OpenMetrics => families + "# EOF\n",
        };
        Self { format, text }
    }
}

/// The same families in the classic format, which calls a counter by the name of its samples.
fn classic(families: &str) -> String {
    let counter = |line: &str| Some(line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?.to_owned());
    let counters: HashSet<String> = families.lines().filter_map(counter).collect();
    let mut text = String::with_capacity(families.len() + 8 * counters.len());
    for line in families.lines() {
        let described = line.strip_prefix("# ").and_then(|line| {
            let (keyword, rest) = line.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            counters.contains(name).then(|| format!("# {keyword} {name}_total {rest}"))
        });
        text.push_str(described.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

impl Answer for Exposition {
    const MEDIA: &'static [&'static str] = &[CLASSIC, OPEN_METRICS];

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemars::json_schema!({ "type": "string" }))
    }
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        let media = match self.format {
            Format::Classic => CLASSIC,
            Format::OpenMetrics => OPEN_METRICS,
        };
        ([(CONTENT_TYPE, format!("{media}; charset=utf-8")), (VARY, "accept".to_owned())], self.text)
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_prefer_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
        for (accept, expected) in [
            (None, Format::Classic),
            (Some(""), Format::Classic),
            (Some("*/*"), Format::Classic),
            (Some("text/plain"), Format::Classic),
            (Some(prometheus), Format::OpenMetrics),
            (Some("Application/OpenMetrics-Text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0"), Format::Classic),
            (Some("application/openmetrics-text; q=0.5, text/plain"), Format::Classic),
            (Some("application/openmetrics-text;q=x"), Format::Classic),
        ] {
            assert_eq!(Format::preferred(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_classic_format_calls_counters_by_their_samples() {
        let families = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total 1\n\
                        # HELP a Other things.\n# TYPE a gauge\na 2\n";
        let classic = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total 1\n\
                       # HELP a Other things.\n# TYPE a gauge\na 2\n";
        assert_eq!(Exposition::new(Format::Classic, families.to_owned()).text, classic);
        let open = Exposition::new(Format::OpenMetrics, families.to_owned()).text;
        assert_eq!(open, format!("{families}# EOF\n"));
    }
}
