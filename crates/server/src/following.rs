//! Answers that go on: they are given for as long as the credential that asked is accepted and permits it.

use std::net::IpAddr;
use std::sync::Arc;

use streamhub::access::Principal;
use streamhub::{AppId, Hub};

use crate::entrance::Entrance;
use crate::error::ApiError;
use crate::policy::{Access, Parameter, Policy};
use crate::service::Service;
use crate::shares::Share;

/// Somebody who was let in, and who is looked at again while the answer goes on.
pub(crate) struct Following<A> {
    pub(crate) on: A,
    service: Service,
    hub: Hub,
    credential: String,
    address: Option<IpAddr>,
}

impl<A: Access> Access for Following<A> {
    type Policy = A::Policy;

    const PARAMETER: Option<Parameter> = A::PARAMETER;

    fn policy(policy: Self::Policy) -> Policy {
        A::policy(policy)
    }

    fn app(&self) -> Option<&AppId> {
        self.on.app()
    }

    async fn enter(entrance: &Entrance, policy: Self::Policy) -> Result<Self, ApiError> {
        let on = A::enter(entrance, policy).await?;
        let hub = entrance.acting().ok_or(ApiError::Unauthorized)?.clone();
        let credential = entrance.bearer().ok_or(ApiError::Unauthorized)?.to_owned();
        Ok(Self { on, service: entrance.service.clone(), hub, credential, address: entrance.address() })
    }
}

impl<A> Following<A> {
    /// A place for an answer that goes on, of which everybody has a few.
    pub(crate) async fn place(&self) -> Result<Share<String>, ApiError> {
        let principal = self.principal().await?.ok_or(ApiError::Unauthorized)?;
        self.service.follower(principal.name()).ok_or(ApiError::TooManyFollowers)
    }

    /// Whose the credential is; none where it is accepted no more, or its address is blocked meanwhile.
    pub(crate) async fn principal(&self) -> Result<Option<Arc<Principal>>, ApiError> {
        if let Some(address) = self.address
            && self.hub.is_blocked_async(address).await?
        {
            return Ok(None);
        }
        Ok(self.hub.authenticate_async(&self.credential, self.address).await?)
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }
}
