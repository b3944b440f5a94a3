//! Which connections are served: so many in all, fewer from one address, and a few that are kept for friends.

use std::net::IpAddr;
use std::sync::Arc;

use streamhub::Cost;
use streamhub::allow_list::AllowList;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::address::household;
use crate::config::ServerConfig;
use crate::shares::{Share, Shares};

/// How many places are kept for trusted proxies and clients on this machine, such as a supervisor that asks whether
/// the server lives, whatever a crowd of others does; fewer where there are few in all.
const KEPT: usize = 16;

/// The places of connections.
#[derive(Debug)]
pub(crate) struct Places {
    open: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    shares: Arc<Shares<IpAddr>>,
    trusted: AllowList,
}

/// A connection's place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share<IpAddr>>,
}

impl Places {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        Self::of(most(config.max_connections), config)
    }

    fn of(most: usize, config: &ServerConfig) -> Self {
        let kept = KEPT.min(most / 4);
        Self {
            open: Arc::new(Semaphore::new(most - kept)),
            kept: Arc::new(Semaphore::new(kept)),
            shares: Shares::new(config.max_connections_per_peer),
            trusted: config.trusted_proxies.clone(),
        }
    }

    /// A place for a connection from this address; none where as many as may be are taken.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let is_trusted = self.trusted.permits(Some(peer));
        let share = if is_trusted { None } else { Some(self.shares.take(household(peer))?) };
        let mut permit = Arc::clone(&self.open).try_acquire_owned();
        if permit.is_err() && (is_trusted || peer.is_loopback()) {
            permit = Arc::clone(&self.kept).try_acquire_owned();
        }
        Some(Place { _permit: permit.ok()?, _share: share })
    }
}

/// How many connections there may be of those that are wanted. Clients are not to take the descriptors that the
/// databases need, which may have half of the process's; a quarter of the other half is for everything else.
fn most(wanted: usize) -> usize {
    let affordable = Cost::of_process().descriptors / 4 * 3;
    if wanted > affordable {
        tracing::warn!(wanted, affordable, "too few descriptors for as many connections");
    }
    wanted.min(affordable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: usize, per_peer: usize) -> Places {
        let trusted_proxies = AllowList::only(&["10.0.0.0/8"]).unwrap();
        let config =
            ServerConfig { max_connections_per_peer: per_peer, trusted_proxies, ..ServerConfig::default() };
        Places::of(most, &config)
    }

    fn take(places: &Places, peer: &str) -> Option<Place> {
        places.take(peer.parse().unwrap())
    }

    #[test]
    fn one_address_does_not_take_all_places() {
        let places = places(100, 3);
        let taken: Vec<_> = (0..3).map(|_| take(&places, "192.0.2.1").unwrap()).collect();
        assert!(take(&places, "192.0.2.1").is_none() && take(&places, "::ffff:192.0.2.1").is_none());
        let other = take(&places, "192.0.2.2");
        assert!(other.is_some());
        drop(taken);
        assert!(take(&places, "192.0.2.1").is_some());

        let network: Vec<_> =
            (0..3).map(|n| take(&places, &format!("2001:db8:0:1:{n}::1")).unwrap()).collect();
        assert!(take(&places, "2001:db8:0:1::9").is_none() && take(&places, "2001:db8:0:2::9").is_some());
        drop(network);

        let proxied: Vec<_> = (0..20).map_while(|_| take(&places, "10.1.1.1")).collect();
        assert_eq!(proxied.len(), 20, "a proxy asks for many");
    }

    #[test]
    fn a_crowd_leaves_places_to_friends() {
        let places = places(64, 1);
        let crowd: Vec<_> = (1..=64).map_while(|n| take(&places, &format!("192.0.2.{n}"))).collect();
        assert_eq!(crowd.len(), 64 - KEPT);
        let local = take(&places, "::1");
        let proxied: Vec<_> = (0..KEPT).map_while(|_| take(&places, "10.1.1.1")).collect();
        assert!(local.is_some() && proxied.len() == KEPT - 1);
        assert!(take(&places, "10.1.1.1").is_none() && take(&places, "127.0.0.1").is_none());
        drop(crowd);
        assert!(take(&places, "192.0.2.200").is_some());
    }

    #[test]
    fn the_smallest_server_serves_somebody() {
        let places = places(1, 1);
        assert!(take(&places, "192.0.2.1").is_some());
    }
}
