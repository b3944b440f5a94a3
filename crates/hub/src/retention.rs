//! How long the audit and the logs are kept, and how what is old goes.
//!
//! There is one way for it, whether a person asks or upkeep does: what goes is fixed first, then it goes in small
//! transactions that others get in between of, then the pages that are free are given back to the file system.

mod clock;

use std::iter;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use streamhub_control::journal::{self, CHUNK, CutOff, Journal};
use streamhub_control::{Connection, Plane, SqlResult, audit, logs};
use streamhub_engine::meta;
use streamhub_engine::time::Moment;

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::progress::{Progress, Silent};
use crate::retention::clock::{Clock, Jump};

/// Pages that one transaction gives back.
const PAGES: u32 = 256;

/// Transactions of one kind in one run of upkeep, which has other things to do as well.
const CHUNKS_OF_UPKEEP: usize = 1000;

/// Meta key: what retention knows of the clock.
const CLOCK: &str = "retention_clock";

/// How long the audit and the logs are kept. Upkeep sees to it once an hour.
///
/// While the clock shows what cannot be, nothing goes because of its age: a pause of ten days is doubted for one
/// day, and so on. How much is kept is always seen to.
///
/// ```
/// use std::time::Duration;
/// use streamhub::{Bounds, HubConfig, Retention};
///
/// let mut config = HubConfig::new("data");
/// assert_eq!(config.retention.logs, Bounds { age: Duration::from_hours(30 * 24), rows: 1_000_000 });
/// assert_eq!(config.retention.audit, Bounds { age: Duration::from_hours(400 * 24), rows: 10_000_000 });
/// config.retention.logs.rows = 100_000;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The logs; default 30 days and 1,000,000 rows.
    pub logs: Bounds,
    /// The audit; default 400 days and 10,000,000 rows.
    pub audit: Bounds,
}

/// How long something is kept, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What is older goes.
    pub age: Duration,
    /// Of what was written, the last so many stay.
    pub rows: u64,
}

/// What a pruning did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// What is from before this time is gone.
    pub before: Moment,
    /// How many entries that were.
    pub entries: u64,
    /// How many more are from before it: some, where [`Progress::stop`] asked for an end. Asked again, these go too.
    pub left: u64,
    /// Bytes of the control database that the disk gets back.
    pub bytes_given_back: u64,
    /// Bytes of it that hold nothing and wait to be used again: an older system's database cannot be made shorter
    /// in small steps.
    pub free_bytes: u64,
}

/// What the retention of an open hub goes by.
#[derive(Debug)]
pub(crate) struct Retaining {
    /// When the newest entry is of that was there when the hub was opened.
    newest: Option<Moment>,
    /// When it was looked at last what is old.
    ran: Mutex<Option<Instant>>,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            logs: Bounds { age: 30 * DAY, rows: 1_000_000 },
            audit: Bounds { age: 400 * DAY, rows: 10_000_000 },
        }
    }
}

impl Retaining {
    /// Before this process writes anything.
    pub(crate) fn begin(plane: &Plane) -> Self {
        let newest = |db: &Connection| Ok(audit::JOURNAL.newest(db)?.max(logs::JOURNAL.newest(db)?));
        // Where it cannot be read, other things will say so.
        Self { newest: plane.read(newest).unwrap_or_default(), ran: Mutex::default() }
    }

    /// How long ago the last run was; nothing at the first one.
    fn passed(&self) -> Duration {
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        ran.replace(Instant::now()).map_or(Duration::ZERO, |ran| ran.elapsed())
    }
}

impl Hub {
    /// Removes what the audit tells of before this time, or a part of it where [`Progress::stop`] asks for an end.
    /// [`Registry::audit_before`](crate::Registry::audit_before)
    /// says how much that is.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// let before = "2026-01-01".parse()?;
    /// assert_eq!(hub.registry().audit_before(&before)?, 0);
    /// let pruned = hub.prune_audit(&before, &streamhub::progress::Silent)?;
    /// assert_eq!((pruned.entries, pruned.bytes_given_back), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prune_audit(&self, before: &Moment, progress: &dyn Progress) -> Result<Pruned> {
        self.prune_before(Deed::of("audit.prune"), &audit::JOURNAL, before, progress)
    }

    /// Removes what the log tells of before this time, or a part of it where [`Progress::stop`] asks for an end.
    /// [`Registry::logs_before`](crate::Registry::logs_before)
    /// says how much that is.
    pub fn prune_logs(&self, before: &Moment, progress: &dyn Progress) -> Result<Pruned> {
        self.prune_before(Deed::of("log.prune"), &logs::JOURNAL, before, progress)
    }

    /// Sees to it that nothing is kept longer than [`Retention`] says.
    pub(crate) fn retain(&self) -> Result<()> {
        let jump = self.retain_at(&Moment::now(), self.shared.retaining.passed())?;
        if let Some(Jump { by, rest }) = jump {
            tracing::warn!(
                off_by_hours = by.as_secs() / 3600,
                rest_hours = rest.as_secs() / 3600,
                "nothing is removed for its age, since the clock shows a time that cannot be explained"
            );
        }
        Ok(())
    }

    /// The same, with the clock at `now` and so much time since the last run.
    fn retain_at(&self, now: &Moment, passed: Duration) -> Result<Option<Jump>> {
        let jump = self.look_at_clock(now, passed)?;
        let Retention { logs, audit } = self.shared.config.retention;
        for (journal, bounds) in [(&logs::JOURNAL, logs), (&audit::JOURNAL, audit)] {
            let by_rows = self.read(|db| journal.cut_off_for(db, bounds.rows))?;
            let by_age = self.read(|db| journal.cut_off_before(db, &now.before(bounds.age)))?;
            for cut_off in iter::once(by_rows).chain(jump.is_none().then_some(by_age)) {
                self.remove(journal, &cut_off, CHUNKS_OF_UPKEEP, &Silent)?;
            }
        }
        // Also those that somebody's pruning left, which had no time for more.
        if self.read(journal::free_pages)? > PAGES.into() {
            self.give_pages_back(&Silent)?;
        }
        Ok(jump)
    }

    fn look_at_clock(&self, now: &Moment, passed: Duration) -> Result<Option<Jump>> {
        let (now, newest) = (now.clone(), self.shared.retaining.newest.clone());
        self.note_down(move |db| {
            let known = meta::get(db, CLOCK)?.and_then(|json| serde_json::from_str(&json).ok());
            let known = known.unwrap_or_else(|| Clock::first(&now, newest.as_ref()));
            let (clock, jump) = known.look(&now, passed);
            meta::set(db, CLOCK, &serde_json::to_string(&clock).expect("a clock is JSON"))?;
            Ok(jump)
        })
    }

    fn prune_before(
        &self,
        deed: Deed,
        journal: &'static Journal,
        before: &Moment,
        progress: &dyn Progress,
    ) -> Result<Pruned> {
        let (cut_off, going) = self.read(|db| {
            let cut_off = journal.cut_off_before(db, before)?;
            let going = journal.count(db, &cut_off)?;
            Ok((cut_off, going))
        })?;
        let deed = deed.detail(json!({ "before": before, "entries": going }));
        // Said first, since a part of it may be done when the process ends.
        self.change(deed, |_, _| Ok(Ok::<_, HubError>(())))?;
        progress.begin(&format!("pruning the {}", journal.name), Some(going));
        let (entries, is_all) = self.remove(journal, &cut_off, usize::MAX, progress)?;
        progress.end();
        let pages = self.give_pages_back(progress)?;
        let (page, free) = self.read(|db| Ok((journal::page_size(db)?, journal::free_pages(db)?)))?;
        let left = if is_all { 0 } else { self.read(|db| journal.count(db, &cut_off))? };
        Ok(Pruned {
            before: before.clone(),
            entries,
            left,
            bytes_given_back: pages * page,
            free_bytes: free * page,
        })
    }

    /// Removes what goes, in so many transactions at the most, and says how much it was and whether it was all.
    fn remove(
        &self,
        journal: &'static Journal,
        cut_off: &CutOff,
        chunks: usize,
        progress: &dyn Progress,
    ) -> Result<(u64, bool)> {
        let mut removed = 0;
        for _ in 0..chunks {
            let cut_off = cut_off.clone();
            let chunk = self.step(move |db| journal.prune(db, &cut_off))?;
            progress.advance(chunk as u64);
            removed += chunk as u64;
            if chunk < CHUNK {
                return Ok((removed, true));
            }
            if progress.stop().is_asked() {
                break;
            }
        }
        Ok((removed, false))
    }

    /// Gives the file system back what pages hold nothing, and says how many that were.
    fn give_pages_back(&self, progress: &dyn Progress) -> Result<u64> {
        let mut given = 0;
        loop {
            let pages = self.step(|db| journal::give_back_pages(db, PAGES))?;
            given += pages;
            if pages < PAGES.into() || progress.stop().is_asked() {
                return Ok(given);
            }
        }
    }

    /// One transaction of many, unless the hub is being closed.
    fn step<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> SqlResult<T> + Send + 'static,
    ) -> Result<T> {
        if self.shared.services.upkeep.is_stopping() {
            return Err(HubError::Closed);
        }
        self.note_down(work)
    }
}

#[cfg(test)]
mod tests;
