//! Places of which everybody has a few at the most, so that nobody takes those of others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many places each one has taken.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    each: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// One place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    of: K,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// So many places for each one.
    pub(crate) fn new(each: usize) -> Arc<Self> {
        Arc::new(Self { each, taken: Mutex::default() })
    }

    /// A place of somebody; none where all of them are taken.
    pub(crate) fn take(self: &Arc<Self>, of: K) -> Option<Share<K>> {
        let mut all = self.all();
        let taken = all.get(&of).copied().unwrap_or_default();
        if taken >= self.each {
            return None;
        }
        all.insert(of.clone(), taken + 1);
        drop(all);
        Some(Share { shares: Arc::clone(self), of })
    }
}

impl<K> Shares<K> {
    fn all(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut all = self.shares.all();
        match all.get_mut(&self.of) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(all.remove(&self.of)),
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
}
