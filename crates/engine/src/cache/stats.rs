//! What a cache has done and is doing, for metrics and for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app_id::AppId;
use crate::cache::budget::Cost;
use crate::cache::slot::State;
use crate::cache::{Cache, Handle, Opener};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::lock;

/// Figures of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Apps that are open.
    pub open: usize,
    /// Of those, how many are leased.
    pub leased: usize,
    /// Apps that are set aside.
    pub quarantined: usize,
    /// Writes that wait for a transaction of their app.
    pub queued: usize,
    /// What is open.
    pub used: Cost,
    /// What may be open.
    pub budget: Cost,
    /// Leases of apps that were open.
    pub hits: u64,
    /// Openings.
    pub opens: u64,
    /// Idle apps that were closed for others.
    pub evictions: u64,
}

/// What an app's place in the cache is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppState {
    /// Not in the cache.
    Closed,
    /// Being opened.
    Opening,
    /// Serving.
    Open,
    /// An operation on it, or its opening, does not come back.
    Stuck,
    /// In maintenance, or about to be.
    Draining,
    /// Set aside.
    Quarantined {
        /// What was found.
        reason: String,
        /// For how long already.
        since: Duration,
        /// When it is tried again.
        retry_in: Duration,
    },
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    hits: AtomicU64,
    opens: AtomicU64,
    evictions: AtomicU64,
    notes: AtomicU64,
}

impl Totals {
    pub(super) fn next(&self) -> u64 {
        self.notes.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn opened(&self) {
        self.opens.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// A slot counts its own hits while it is open.
    pub(super) fn closed(&self, hits: u64) {
        self.hits.fetch_add(hits, Ordering::Relaxed);
    }
}

impl<O: Opener> Cache<O> {
    /// The figures; looks at every slot.
    pub fn stats(&self) -> Stats {
        let totals = &self.shared.totals;
        let mut stats = Stats {
            used: self.shared.meter.budget.used(),
            budget: self.shared.meter.budget.limit(),
            hits: totals.hits.load(Ordering::Relaxed),
            opens: totals.opens.load(Ordering::Relaxed),
            evictions: totals.evictions.load(Ordering::Relaxed),
            ..Stats::default()
        };
        for slot in self.shared.all() {
            let standing = lock(&slot.state);
            stats.quarantined += usize::from(slot.is_set_aside(&standing));
            match &*standing {
                State::Open(usage) | State::Draining(usage) => {
                    stats.open += 1;
                    stats.leased += usize::from(usage.pins > 0);
                    stats.hits += usage.hits;
                    stats.queued += slot.open().queued();
                }
                State::Quarantined(_) | State::Opening { .. } | State::Taken | State::Gone => {}
            }
        }
        stats
    }

    /// The apps that are set aside, which [`stats`](Self::stats) counts.
    pub fn set_aside(&self) -> Vec<AppId> {
        let all = self.shared.all().into_iter();
        all.filter(|slot| slot.is_set_aside(&lock(&slot.state))).map(|slot| slot.id.clone()).collect()
    }

    /// What an app's place is doing.
    pub fn state(&self, id: &AppId) -> AppState {
        let Some(slot) = self.shared.slots.get(id).map(|slot| Arc::clone(&slot)) else {
            return AppState::Closed;
        };
        let now = Instant::now();
        match &*lock(&slot.state) {
            State::Opening { since } if now.duration_since(*since) > self.shared.config.stuck_after => {
                AppState::Stuck
            }
            State::Opening { .. } => AppState::Opening,
            State::Open(_) => match slot.open().why_out_of_service() {
                // It is closed and set aside when its leases are gone and somebody asks for it.
                Some(reason) => AppState::Quarantined {
                    reason: reason.to_string(),
                    since: Duration::ZERO,
                    retry_in: self.shared.config.retry_after,
                },
                None if slot.open().is_stuck() => AppState::Stuck,
                None => AppState::Open,
            },
            State::Draining(_) | State::Taken => AppState::Draining,
            State::Quarantined(set_aside) => AppState::Quarantined {
                reason: set_aside.reason.to_string(),
                since: now.duration_since(set_aside.since),
                retry_in: set_aside.retry_at.saturating_duration_since(now),
            },
            State::Gone => AppState::Closed,
        }
    }
}
