//! Points in time on the command line: a time, a day, or an age.

use std::time::Duration;

use streamhub::time::{Moment, NotAMoment};

/// Reads `2026-11-21T03:54:52Z`, `2026-11-21` or `30d`, which is so long before the present.
pub(crate) fn parse(text: &str) -> Result<Moment, String> {
    match age(text) {
        Some(age) => Ok(Moment::now().before(age)),
        None => text.parse().map_err(|_: NotAMoment| {
            format!(
                "{text:?} is no time; write it like 2026-11-21T03:54:52Z, 2026-11-21 or 30d (s, m, h, d, w)"
            )
        }),
    }
}

fn age(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    // A sign is no part of an age.
    let number: u64 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_a_day_or_an_age() {
        for (text, time) in [
            ("2026-11-21T03:54:52+02:00", "2026-11-21T01:54:52.000Z"),
            ("2026-11-21", "2026-11-21T00:00:00.000Z"),
        ] {
            assert_eq!(parse(text).unwrap().as_str(), time);
        }
        for (text, seconds) in
            [("90s", 90), ("5m", 300), ("36h", 129_600), ("30d", 2_592_000), ("2w", 1_209_600)]
        {
            assert_eq!(age(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        let long_ago = parse("99999999d").unwrap();
        assert_eq!(long_ago.as_str(), "0001-01-01T00:00:00.000Z");
        for bad in ["", "d", "30", "30 d", "-30d", "+30d", "30x", "ä", "99999999999999999999d", "yesterday"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
