//! Addresses to which nothing is served: rules and bans of an older system stay in force.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use streamhub_control::ip_rules::{IpPolicy, Verdict};

use crate::access::authenticate::REMEMBERED;
use crate::error::Result;
use crate::hub::Hub;

/// The rules and bans, as they were read a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Addresses(RwLock<Option<Known>>);

#[derive(Clone, Debug)]
struct Known {
    policy: Arc<IpPolicy>,
    rights: u64,
    read_at: Instant,
}

impl Hub {
    /// Whether a rule or a ban of the older system keeps an address from being served.
    pub fn is_blocked(&self, address: IpAddr) -> Result<bool> {
        Ok(self.address_policy()?.verdict(address) == Verdict::Blocked)
    }

    /// As [`is_blocked`](Self::is_blocked), for async callers: what was read a moment ago costs no thread.
    pub async fn is_blocked_async(&self, address: IpAddr) -> Result<bool> {
        match self.known_policy() {
            Some(policy) => Ok(policy.verdict(address) == Verdict::Blocked),
            None => self.on_control(move |hub| hub.is_blocked(address)).await,
        }
    }

    fn known_policy(&self) -> Option<Arc<IpPolicy>> {
        let known = self.shared.addresses.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        let holds = known.rights == self.shared.rights.load(Ordering::Acquire)
            && known.read_at.elapsed() < REMEMBERED;
        holds.then(|| Arc::clone(&known.policy))
    }

    fn address_policy(&self) -> Result<Arc<IpPolicy>> {
        if let Some(policy) = self.known_policy() {
            return Ok(policy);
        }
        // Before the read, so that what is changed meanwhile is read again.
        let (rights, read_at) = (self.shared.rights.load(Ordering::Acquire), Instant::now());
        let policy = Arc::new(self.read(IpPolicy::read)?);
        let mut known = self.shared.addresses.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            for unreadable in policy.unreadable() {
                tracing::warn!(%unreadable, "a rule for addresses is not in force");
            }
        }
        *known = Some(Known { policy: Arc::clone(&policy), rights, read_at });
        Ok(policy)
    }
}
