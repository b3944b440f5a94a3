//! Whether the clock can be believed, before anything goes because it is old.
//!
//! A clock that somebody set years ahead by mistake would make everything old. So the time that was seen last is
//! kept, and a clock that shows another one than that and the time that has passed explain is not believed until
//! a tenth of the difference has passed while the process ran: after a pause of ten days retention rests for one
//! day, and a clock that is wrong by ten years leaves a year to notice. A clock that stands right again is
//! believed at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamhub_engine::time::Moment;

/// What the clock may be off without being doubted: time zones, a night without power.
const TOLERATED: Duration = Duration::from_hours(24);

/// A difference is believed after this part of it.
const PATIENCE: u32 = 10;

/// What is known of the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Clock {
    /// The last time that was believed.
    seen: Moment,
    /// How long the process has run since, as another clock tells, which nobody sets.
    waited_seconds: u64,
}

/// The clock shows what nothing explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    /// How far it is off.
    pub(crate) by: Duration,
    /// For how long it is not believed, if it stays like that.
    pub(crate) rest: Duration,
}

impl Clock {
    /// Of a clock of which nothing is known: entries that are there already were not written in the future.
    pub(crate) fn first(now: &Moment, newest: Option<&Moment>) -> Self {
        let seen = newest.map_or(now, |newest| newest.min(now)).clone();
        Self { seen, waited_seconds: 0 }
    }

    /// Looks at the clock, after this much time without a look.
    pub(crate) fn look(self, now: &Moment, passed: Duration) -> (Self, Option<Jump>) {
        let waited = Duration::from_secs(self.waited_seconds).saturating_add(passed);
        let by = if *now < self.seen {
            now.until(&self.seen)
        } else {
            self.seen.until(now).saturating_sub(waited.saturating_add(TOLERATED))
        };
        let rest = (by / PATIENCE).saturating_sub(waited);
        if rest.is_zero() {
            (Self { seen: now.clone(), waited_seconds: 0 }, None)
        } else {
            (Self { waited_seconds: waited.as_secs(), ..self }, Some(Jump { by, rest }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    fn start() -> Clock {
        Clock::first(&moment("2026-03-01"), None)
    }

    /// Looks each hour at a clock that goes right from `from` on, until it is believed; how many hours that took.
    fn hours_of_doubt(mut clock: Clock, from: &Moment) -> u32 {
        for hours in 0_u32.. {
            let passed = if hours == 0 { Duration::ZERO } else { HOUR };
            let (next, jump) = clock.look(&from.after(HOUR * hours), passed);
            if jump.is_none() {
                return hours;
            }
            clock = next;
        }
        unreachable!("it is believed some day")
    }

    #[test]
    fn a_clock_that_goes_is_believed() {
        let now = moment("2026-03-01");
        for pause in [Duration::ZERO, HOUR, DAY] {
            let (clock, jump) = start().look(&now.after(pause), Duration::ZERO);
            assert_eq!((clock.seen, jump), (now.after(pause), None));
        }
        assert_eq!(start().look(&now.after(40 * DAY), 39 * DAY).1, None, "it ran meanwhile");
        // Somebody set it right by some minutes.
        assert_eq!(start().look(&now.before(HOUR), HOUR).1, None);
    }

    #[test]
    fn a_clock_far_ahead_is_not_believed_for_a_tenth_of_that() {
        let now = moment("2026-03-01");
        let (clock, jump) = start().look(&now.after(3651 * DAY), Duration::ZERO);
        assert_eq!(jump, Some(Jump { by: 3650 * DAY, rest: 365 * DAY }));
        assert_eq!(clock, start(), "nothing of it is believed");
        assert_eq!(hours_of_doubt(start(), &now.after(11 * DAY)), 24);
        assert_eq!(hours_of_doubt(start(), &now.after(3651 * DAY)), 365 * 24);
    }

    #[test]
    fn a_clock_that_was_set_back_is_not_believed_for_a_tenth_of_that() {
        let now = moment("2026-03-01");
        // It comes nearer meanwhile.
        assert_eq!(hours_of_doubt(start(), &now.before(10 * DAY)), 22);
        let (clock, jump) = start().look(&moment("1970-01-01"), Duration::ZERO);
        assert!(jump.is_some());
        // The battery was empty; the time came from the network an hour later.
        assert_eq!(clock.look(&now.after(2 * HOUR), HOUR).1, None);
    }

    #[test]
    fn a_clock_that_stands_right_again_is_believed_at_once() {
        let now = moment("2026-03-01");
        let mut clock = start();
        for hours in 1..=72 {
            let (next, jump) = clock.look(&now.after(400 * DAY + HOUR * hours), HOUR);
            assert!(jump.is_some());
            clock = next;
        }
        let right = now.after(73 * HOUR);
        let (clock, jump) = clock.look(&right, HOUR);
        assert_eq!((clock, jump), (Clock { seen: right, waited_seconds: 0 }, None));
    }

    #[test]
    fn restarts_are_no_patience() {
        let mut clock = start();
        for seconds in 0..1000 {
            let now = moment("2036-03-01").after(Duration::from_secs(seconds));
            let (next, jump) = clock.look(&now, Duration::ZERO);
            assert!(jump.is_some());
            clock = next;
        }
    }

    #[test]
    fn at_first_the_newest_entry_speaks_for_the_time() {
        let (now, newest) = (moment("2036-03-01"), moment("2026-03-01"));
        assert!(Clock::first(&now, Some(&newest)).look(&now, Duration::ZERO).1.is_some());
        // One from the future says nothing.
        assert_eq!(Clock::first(&newest, Some(&now)).look(&newest, Duration::ZERO).1, None);
        assert_eq!(Clock::first(&now, None).look(&now, Duration::ZERO).1, None);
    }
}
