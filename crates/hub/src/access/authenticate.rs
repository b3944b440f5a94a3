//! Whose credential it is, for every request.
//!
//! What a credential stands for is read from the control database once and then remembered, until anything is
//! changed there that rights may depend on, and for [`REMEMBERED`] at most. So a request costs no read, and a
//! revocation counts for the next one. When a token or session was last used is written down by upkeep,
//! many at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use streamhub_control::tokens::{self, TokenHash};
use streamhub_control::{Connection, SqlResult, members, sessions};
use streamhub_engine::time::Moment;

use crate::access::principal::{Principal, Who};
use crate::error::Result;
use crate::hub::Hub;

/// For how long a credential is remembered at most: what changes the control database from elsewhere, or ends
/// by the clock, counts after that.
pub(super) const REMEMBERED: Duration = Duration::from_millis(500);

/// How many credentials are remembered.
const AT_MOST: usize = 10_000;

/// The credentials that were accepted, and when they were last used.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    /// By the print of the credential, so that none is kept as it is.
    known: RwLock<HashMap<blake3::Hash, Known>>,
    /// What commands on this machine show.
    local: RwLock<Option<TokenHash>>,
    used: Mutex<Used>,
}

#[derive(Clone, Debug)]
struct Known {
    principal: Arc<Principal>,
    /// The count of changes before it was read.
    rights: u64,
    read_at: Instant,
}

#[derive(Debug, Default)]
struct Used {
    tokens: HashMap<i64, Moment>,
    sessions: HashMap<String, Moment>,
}

impl Hub {
    /// Whose credential this is: an API token, a session's, or that of [commands on this machine](crate::local).
    /// None where it is nobody's, is revoked or has ended, may not be used from that address, or is a token
    /// without a tenant.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::access::Permission;
    /// use streamhub::allow_list::AllowList;
    /// use streamhub::tokens::{NewToken, Reach};
    /// use streamhub::TenantId;
    ///
    /// let new = NewToken {
    ///     name: "dashboard".to_owned(),
    ///     reach: Reach::Global,
    ///     tenant: TenantId::platform(),
    ///     allowed_ips: AllowList::only(&["10.0.0.0/8"])?,
    /// };
    /// let (_, token) = hub.create_token(&new)?;
    ///
    /// let found = hub.authenticate(token.reveal(), Some("10.1.2.3".parse()?))?.ok_or("it is good there")?;
    /// assert!(found.may_in(&TenantId::platform(), Permission::AppRead));
    /// assert!(hub.authenticate(token.reveal(), Some("192.0.2.1".parse()?))?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn authenticate(&self, credential: &str, address: Option<IpAddr>) -> Result<Option<Arc<Principal>>> {
        match self.known_principal(credential) {
            Some(known) => Ok(Some(known).filter(|principal| may_come_from(principal, address))),
            None => self.read_principal(credential, address),
        }
    }

    /// As [`authenticate`](Self::authenticate), for async callers: a credential that was seen a moment ago costs
    /// no thread.
    pub async fn authenticate_async(
        &self,
        credential: &str,
        address: Option<IpAddr>,
    ) -> Result<Option<Arc<Principal>>> {
        if let Some(known) = self.known_principal(credential) {
            return Ok(Some(known).filter(|principal| may_come_from(principal, address)));
        }
        let credential = credential.to_owned();
        self.on_control(move |hub| hub.authenticate(&credential, address)).await
    }

    /// Writes down when credentials were last used.
    pub(crate) fn note_used_credentials(&self) -> Result<()> {
        let Used { tokens, sessions } =
            std::mem::take(&mut *self.credentials().used.lock().unwrap_or_else(PoisonError::into_inner));
        if tokens.is_empty() && sessions.is_empty() {
            return Ok(());
        }
        self.note_down(move |db| {
            tokens::touch(db, tokens.iter().map(|(id, at)| (*id, at)))?;
            sessions::touch(db, sessions.iter().map(|(id, at)| (id.as_str(), at)))
        })
    }

    fn known_principal(&self, credential: &str) -> Option<Arc<Principal>> {
        if let Some(offered) = TokenHash::of_local(credential) {
            let local = self.credentials().local.read().unwrap_or_else(PoisonError::into_inner);
            return (*local == Some(offered)).then(|| Arc::new(Principal::new(Who::Local)));
        }
        let known = self.credentials().known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&blake3::hash(credential.as_bytes()))?;
        let holds = known.rights == self.shared.rights.load(Ordering::Acquire)
            && known.read_at.elapsed() < REMEMBERED;
        holds.then(|| Arc::clone(&known.principal))
    }

    fn read_principal(&self, credential: &str, address: Option<IpAddr>) -> Result<Option<Arc<Principal>>> {
        // Before the read, so that what is changed meanwhile is read again.
        let (rights, read_at) = (self.shared.rights.load(Ordering::Acquire), Instant::now());
        let read = self.read(|db| read(db, credential))?;
        // What is refused is no use of it.
        let Some(principal) = read.filter(|principal| may_come_from(principal, address)) else {
            return Ok(None);
        };
        let (principal, credentials) = (Arc::new(principal), self.credentials());
        credentials.note_use(&principal);
        let known = Known { principal: Arc::clone(&principal), rights, read_at };
        let mut all = credentials.known.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= AT_MOST {
            all.retain(|_, known| known.read_at.elapsed() < REMEMBERED);
        }
        if all.len() < AT_MOST {
            all.insert(blake3::hash(credential.as_bytes()), known);
        }
        Ok(Some(principal))
    }

    fn credentials(&self) -> &Credentials {
        &self.shared.credentials
    }
}

impl Credentials {
    /// Accepts this of commands on this machine, and what was accepted of them before no more.
    pub(crate) fn admit_local(&self, token: TokenHash) {
        *self.local.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    fn note_use(&self, principal: &Principal) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match principal.who() {
            Who::User { session, .. } => used.sessions.insert(session.clone(), Moment::now()),
            Who::Token(token) => used.tokens.insert(token.id, Moment::now()),
            Who::Local => None,
        };
    }
}

fn may_come_from(principal: &Principal, address: Option<IpAddr>) -> bool {
    match principal.who() {
        Who::Token(token) => token.allowed_ips.permits(address),
        Who::User { .. } => true,
        Who::Local => address.is_some_and(|address| address.is_loopback()),
    }
}

fn read(db: &Connection, credential: &str) -> SqlResult<Option<Principal>> {
    let hash = TokenHash::of(credential);
    if let Some((session, user)) = sessions::by_hash(db, &hash)? {
        let memberships = members::of_user(db, &user.id)?;
        let roles = memberships.into_iter().map(|member| (member.tenant_id, member.role)).collect();
        return Ok(Some(Principal::new(Who::User { user, session: session.id, roles })));
    }
    let token = tokens::by_hash(db, &hash)?;
    // An older registry may hold one that is nobody's.
    let token = token.filter(|token| token.tenant_id.is_some());
    Ok(token.map(|token| Principal::new(Who::Token(token))))
}
