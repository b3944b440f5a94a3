//! Places of which everybody has some at the most, so that nobody takes those of others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many places each one has taken.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    each: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// Somebody's places, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    of: K,
    has: usize,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// So many places for each one.
    pub(crate) fn new(each: usize) -> Arc<Self> {
        Arc::new(Self { each, taken: Mutex::default() })
    }

    /// A place of somebody; none where all of them are taken.
    pub(crate) fn take(self: &Arc<Self>, of: K) -> Option<Share<K>> {
        let mut share = self.begin(of);
        share.grow(1).then_some(share)
    }

    /// Somebody's share, without a place yet.
    pub(crate) fn begin(self: &Arc<Self>, of: K) -> Share<K> {
        Share { shares: Arc::clone(self), of, has: 0 }
    }
}

impl<K> Shares<K> {
    fn all(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Share<K> {
    /// Takes so many places more; where there are fewer, none, and then it says so.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let mut all = self.shares.all();
        let taken = all.get(&self.of).copied().unwrap_or_default();
        let fits = more <= self.shares.each.saturating_sub(taken);
        if fits && more > 0 {
            all.insert(self.of.clone(), taken + more);
            self.has += more;
        }
        fits
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut all = self.shares.all();
        match all.get_mut(&self.of) {
            Some(taken) if *taken > self.has => *taken -= self.has,
            // Whoever has no place is not remembered.
            Some(_) if self.has > 0 => drop(all.remove(&self.of)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_places_of_its_own_and_leaves_nothing_behind() {
        let shares = Shares::new(2);
        let (one, two) = (shares.take("ana").unwrap(), shares.take("ana").unwrap());
        assert!(shares.take("ana").is_none());
        let other = shares.take("ben").unwrap();
        drop(one);
        let again = shares.take("ana").unwrap();
        assert!(shares.take("ana").is_none());
        drop((two, other, again));
        assert!(shares.all().is_empty());
        assert!(Shares::new(0).take("ana").is_none());
    }

    #[test]
    fn a_share_grows_as_far_as_all_of_somebodys_shares_together_may() {
        let shares = Shares::new(5);
        let (mut one, mut two) = (shares.begin("ana"), shares.begin("ana"));
        assert!(one.grow(3) && two.grow(2) && two.grow(0));
        assert!(!one.grow(1) && shares.take("ana").is_none() && shares.begin("ben").grow(5));
        drop(shares.begin("ana"));
        assert!(!two.grow(1), "a share without a place gives none back");
        drop(one);
        assert!(!two.grow(4) && two.grow(3));
        drop(two);
        assert!(shares.all().is_empty());
    }
}
