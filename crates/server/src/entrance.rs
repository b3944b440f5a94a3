//! A request on its way in: what it says of itself, and what was found out of it so far.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::Method;
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use streamhub::access::Principal;
use streamhub::idempotency::Repeatable;
use streamhub::sessions::Client;
use streamhub::{Actor, AppId, Concerned, Hub, TenantId};

use crate::address::ClientAddress;
use crate::error::ApiError;
use crate::idempotency::Name;
use crate::request;
use crate::router::BASE;
use crate::service::Service;

/// A request before anybody was let in.
pub(crate) struct Entrance {
    pub(crate) service: Service,
    pub(crate) parts: Parts,
    /// Of the path; none where it is malformed.
    parameters: Option<RawPathParams>,
    /// What the client calls the request.
    name: Name,
    /// The hub for whoever asks, once that is known.
    acting: OnceLock<Hub>,
    /// Whoever asks, once that is known.
    principal: OnceLock<Arc<Principal>>,
    /// What it concerns, once that is known and the caller may know it.
    concerned: OnceLock<Concerned>,
}

impl Entrance {
    /// Of a request, whose body is handed back to be read later.
    pub(crate) async fn new(service: Service, request: Request) -> Result<(Self, Body), ApiError> {
        let (mut parts, body) = request.into_parts();
        let (name, body) = Name::find(&parts, body).await?;
        let parameters = RawPathParams::from_request_parts(&mut parts, &()).await.ok();
        Ok((
            Self {
                service,
                parts,
                parameters,
                name,
                acting: OnceLock::new(),
                principal: OnceLock::new(),
                concerned: OnceLock::new(),
            },
            body,
        ))
    }

    pub(crate) fn into_parts(self) -> Parts {
        self.parts
    }

    /// Refuses an `Idempotency-Key` that is none, of whoever is known: from others it is not taken.
    pub(crate) fn check_name(&self) -> Result<(), ApiError> {
        self.acting().map_or(Ok(()), |_| self.name.check())
    }

    /// The hub, acting for whoever asks, where that was found out.
    pub(crate) fn acting(&self) -> Option<&Hub> {
        self.acting.get()
    }

    /// Whoever asks, where that was found out.
    pub(crate) fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.get()
    }

    /// Whom and what the request concerns, as far as that was found out.
    pub(crate) fn concerned(&self) -> Concerned {
        self.concerned.get().cloned().unwrap_or_default()
    }

    pub(crate) fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path, from where the API is.
    pub(crate) fn path(&self) -> &str {
        let path = self.parts.uri.path();
        path.strip_prefix(BASE).unwrap_or(path)
    }

    /// The hub, for an address that is not blocked.
    pub(crate) async fn hub(&self) -> Result<Hub, ApiError> {
        let hub = self.service.hub()?;
        if is_blocked(&hub, self.client_address()).await? {
            return Err(ApiError::Blocked);
        }
        Ok(hub)
    }

    pub(crate) fn parameter(&self, name: &str) -> &str {
        let mut all = self.parameters.iter().flatten();
        all.find(|(known, _)| *known == name).map(|(_, value)| value).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: impl axum::http::header::AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Where it comes from, as far as that was found out.
    pub(crate) fn client_address(&self) -> Option<ClientAddress> {
        self.parts.extensions.get().copied()
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.client_address().and_then(|address| address.client)
    }

    /// Where it comes from, as far as that is known, and what it says of itself.
    pub(crate) fn client(&self) -> Client {
        let peer = self.client_address().and_then(|address| address.peer);
        Client { address: self.address(), peer, user_agent: self.header(USER_AGENT).map(str::to_owned) }
    }

    /// The token after `Bearer`; the scheme's case does not count.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, credential) = self.header(AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
    }

    /// Says whom and what the request concerns, for the audit, which tells of changes.
    pub(crate) fn concern(&self, tenant: &TenantId, app: Option<&AppId>) {
        if !self.method().is_safe() {
            let _ = self.concerned.set(Concerned { tenant: Some(tenant.clone()), app: app.cloned() });
        }
    }

    /// The hub, acting for whoever asks, where something may be changed.
    pub(crate) fn act(&self, hub: &Hub, who: &Arc<Principal>) -> Hub {
        let principal = who.name();
        let acting = if self.method().is_safe() {
            request::name_principal(principal);
            hub.clone()
        } else {
            self.acting_for(hub, principal)
        };
        let _ = self.acting.set(acting.clone());
        let _ = self.principal.set(Arc::clone(who));
        acting
    }

    fn acting_for(&self, hub: &Hub, principal: String) -> Hub {
        let repeatable = match &self.name {
            Name::Key { key, print } => Some(Repeatable::new(&principal, key, print)),
            Name::None | Name::Unfit => None,
        };
        let actor = Actor {
            principal,
            address: self.address(),
            request: Some(request::id().to_string()),
            repeatable,
        };
        request::name_principal(&actor.principal);
        hub.acting(actor)
    }
}

/// Whether nothing is served there. Whatever a client says of its address, the peer's counts too.
pub(crate) async fn is_blocked(hub: &Hub, address: Option<ClientAddress>) -> Result<bool, ApiError> {
    let addresses =
        address.map_or([None; 2], |ClientAddress { peer, client }| [peer, client.filter(|_| client != peer)]);
    for address in addresses.into_iter().flatten() {
        if hub.is_blocked_async(address).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
