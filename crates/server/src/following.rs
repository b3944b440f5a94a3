//! Answers that go on: they are given for as long as the credential that asked is accepted and permits it.

use std::sync::Arc;

use streamhub::access::Principal;
use streamhub::{AppId, Hub};

use crate::address::ClientAddress;
use crate::entrance::{Entrance, is_blocked};
use crate::error::ApiError;
use crate::policy::{Access, Parameter, Policy};
use crate::service::Service;
use crate::shares::Share;

/// Somebody who was let in, and who is looked at again while the answer goes on.
pub(crate) struct Following<A> {
    pub(crate) on: A,
    service: Service,
    hub: Hub,
    /// Who was let in.
    who: Arc<Principal>,
    credential: String,
    address: Option<ClientAddress>,
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
        let who = Arc::clone(entrance.principal().ok_or(ApiError::Unauthorized)?);
        let credential = entrance.bearer().ok_or(ApiError::Unauthorized)?.to_owned();
        let address = entrance.client_address();
        Ok(Self { on, service: entrance.service.clone(), hub, who, credential, address })
    }
}

impl<A> Following<A> {
    /// A place for an answer that goes on, of which everybody has a few.
    pub(crate) fn place(&self) -> Result<Share<String>, ApiError> {
        self.service.follower(self.who.name()).ok_or(ApiError::TooManyFollowers)
    }

    /// Whose the credential is; none where it is accepted no more, or its address is blocked meanwhile.
    pub(crate) async fn principal(&self) -> Result<Option<Arc<Principal>>, ApiError> {
        if is_blocked(&self.hub, self.address).await? {
            return Ok(None);
        }
        let client = self.address.and_then(|address| address.client);
        Ok(self.hub.authenticate_async(&self.credential, client).await?)
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }
}
