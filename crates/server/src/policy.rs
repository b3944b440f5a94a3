//! Who may ask for what: the policy of each route, and how it is enforced.
//!
//! A route is made with a policy and with a handler that takes what this policy grants ([`OnApp`],
//! [`OnTenant`], …). Only the policy makes such a grant, so a handler cannot be reached without it, and a
//! route without a policy does not compile.
//!
//! Without an acceptable credential the answer is 401, whatever was asked for. What somebody may not read is
//! answered as what is not there, 404; what may be read and not done, 403.

use std::sync::Arc;

use axum::http::header::ACCEPT;
use schemars::{Schema, SchemaGenerator};
use streamhub::access::{Permission, Principal, Who, Within};
use streamhub::audit::Entry;
use streamhub::sessions::Client;
use streamhub::tokens::TokenScope;
use streamhub::users::User;
use streamhub::{Actor, AppId, Hub, HubError, Owner, TenantId};

use crate::address::{ClientAddress, is_forwarded};
use crate::entrance::Entrance;
use crate::error::ApiError;
use crate::metrics::Format;
use crate::request;
use crate::service::Service;

/// Who may ask, as the documentation and the tests see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everybody.
    Public,
    /// Whoever shows credentials in the body: a password, or the one-time set-up token.
    Credentials,
    /// Whoever has an acceptable credential; what is shown depends on it.
    Authenticated,
    /// Those who may do this in any tenant; what they reach is theirs only.
    Somewhere(Permission),
    /// A person with a session.
    Session,
    /// Those who may do this in the tenant of the path.
    Tenant(Permission),
    /// Those who may do this with the app of the path.
    App(Permission),
    /// Superadmins and global tokens of the platform's.
    Platform,
    /// A node of the cluster, by its token.
    Node,
    /// As [`Platform`](Self::Platform), and a loopback client where that is configured.
    Metrics,
}

impl Policy {
    /// Whether this still permits to hear of what the audit tells: something of a tenant whose principal may there
    /// what the policy asks for. An app's token is for one app for good, and has done nothing elsewhere.
    pub(crate) fn permits_to_hear(self, principal: &Principal, of: &Entry) -> bool {
        let (Self::Somewhere(permission) | Self::Tenant(permission) | Self::App(permission)) = self else {
            return true;
        };
        match (principal.within(permission), &of.tenant_id) {
            (Within::Everything | Within::App(_), _) | (_, None) => true,
            (Within::Tenants(tenants), Some(tenant)) => tenants.iter().any(|known| known.as_str() == tenant),
        }
    }
}

/// What a policy grants to a handler.
pub(crate) trait Access: Sized + Send + 'static {
    /// What is declared beside the route.
    type Policy: Copy + Send + Sync + 'static;

    /// The parameter of the path that is read here.
    const PARAMETER: Option<Parameter> = None;

    /// The policy, for the documentation and the tests.
    fn policy(policy: Self::Policy) -> Policy;

    /// The app that the route is about.
    fn app(&self) -> Option<&AppId> {
        None
    }

    /// Lets a request in, or says why not.
    fn enter(
        entrance: &Entrance,
        policy: Self::Policy,
    ) -> impl Future<Output = Result<Self, ApiError>> + Send;
}

/// A parameter of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// Somebody of whom nothing needs to be known.
#[derive(Clone, Debug)]
pub(crate) struct Anyone {
    pub(crate) service: Service,
}

/// Somebody who is about to say who it is.
#[derive(Clone, Debug)]
pub(crate) struct Stranger {
    /// Acts for nobody who is known.
    pub(crate) hub: Hub,
    pub(crate) client: Client,
}

/// Somebody with an acceptable credential.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) service: Service,
    /// Acts for the caller.
    pub(crate) hub: Hub,
    pub(crate) principal: Arc<Principal>,
}

/// A person with a session.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) hub: Hub,
    pub(crate) principal: Arc<Principal>,
    pub(crate) user: User,
    pub(crate) session: String,
    pub(crate) client: Client,
}

/// Somebody who may do what the route does in some tenant, or everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Somewhere {
    pub(crate) hub: Hub,
    pub(crate) principal: Arc<Principal>,
    /// Where.
    pub(crate) within: Within,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct OnNode {
    pub(crate) hub: Hub,
}

/// Somebody who may see figures of everything.
#[derive(Clone, Debug)]
pub(crate) struct OnMetrics {
    pub(crate) service: Service,
    /// The format that is preferred.
    pub(crate) format: Format,
}

/// Somebody to whom everything is permitted.
#[derive(Clone, Debug)]
pub(crate) struct Platform {
    pub(crate) service: Service,
    pub(crate) hub: Hub,
}

/// Somebody who may do what the route does in this tenant.
#[derive(Clone, Debug)]
pub(crate) struct OnTenant {
    pub(crate) hub: Hub,
    pub(crate) principal: Arc<Principal>,
    pub(crate) tenant: TenantId,
}

/// Somebody who may do what the route does with this app.
#[derive(Clone, Debug)]
pub(crate) struct OnApp {
    pub(crate) service: Service,
    pub(crate) hub: Hub,
    pub(crate) principal: Arc<Principal>,
    pub(crate) id: AppId,
    /// The registry's number of the app.
    pub(crate) app: i64,
    /// Its tenant.
    pub(crate) tenant: TenantId,
}

impl Access for Anyone {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Public
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        Ok(Self { service: entrance.service.clone() })
    }
}

impl Access for Stranger {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Credentials
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        let (hub, client) = (entrance.hub().await?, entrance.client());
        let request = Some(request::id().to_string());
        let actor = Actor { address: client.address, request, ..Actor::new("anonymous") };
        Ok(Self { hub: hub.acting(actor), client })
    }
}

impl Access for Caller {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Authenticated
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        let hub = entrance.hub().await?;
        let credential = entrance.bearer().ok_or(ApiError::Unauthorized)?;
        let principal = hub.authenticate_async(credential, entrance.address()).await?;
        let principal = principal.ok_or(ApiError::Unauthorized)?;
        // A command on this machine asks without anybody in between, whomever a proxy here asks for.
        if matches!(principal.who(), Who::Local) && is_forwarded(&entrance.parts.headers) {
            return Err(ApiError::Unauthorized);
        }
        let hub = entrance.act(&hub, &principal);
        Ok(Self { service: entrance.service.clone(), hub, principal })
    }
}

impl Access for Somewhere {
    type Policy = Permission;

    fn policy(permission: Permission) -> Policy {
        Policy::Somewhere(permission)
    }

    async fn enter(entrance: &Entrance, permission: Permission) -> Result<Self, ApiError> {
        let Caller { hub, principal, .. } = Caller::enter(entrance, ()).await?;
        let within = principal.within(permission);
        let is_nowhere = match &within {
            Within::Tenants(tenants) => tenants.is_empty(),
            Within::Everything | Within::App(_) => false,
        };
        if is_nowhere { Err(ApiError::Forbidden) } else { Ok(Self { hub, principal, within }) }
    }
}

impl Somewhere {
    /// The tenant that is meant: the named one, if the caller may there what the route does, else the only one
    /// in which the caller may; `platform` for those who may everything.
    pub(crate) fn tenant(&self, named: Option<TenantId>) -> Result<TenantId, ApiError> {
        match (&self.within, named) {
            (Within::Everything, named) => Ok(named.unwrap_or_else(TenantId::platform)),
            (Within::Tenants(tenants), Some(named)) if tenants.contains(&named) => Ok(named),
            (Within::Tenants(_), Some(named)) if self.principal.may_in(&named, Permission::UsageRead) => {
                Err(ApiError::Forbidden)
            }
            (Within::Tenants(tenants), None) => match tenants.as_slice() {
                [only] => Ok(only.clone()),
                _ => Err(ApiError::invalid("invalid_body", "tenantId: you work for several, so name one")),
            },
            _ => Err(ApiError::NotFound),
        }
    }
}

impl Access for OnNode {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Node
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        let hub = entrance.hub().await?;
        if !hub.on_control(|hub| hub.registry().has_node_token()).await? {
            return Err(ApiError::NotConfigured);
        }
        let credential = entrance.header("x-cluster-token").ok_or(ApiError::Unauthorized)?;
        let principal = hub.authenticate_async(credential, entrance.address()).await?;
        let principal = principal.ok_or(ApiError::Unauthorized)?;
        match principal.who() {
            Who::Token(token) if token.scope == TokenScope::Node => {
                Ok(Self { hub: entrance.act(&hub, &principal) })
            }
            _ => Err(ApiError::Unauthorized),
        }
    }
}

impl Access for Person {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Session
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        let Caller { hub, principal, .. } = Caller::enter(entrance, ()).await?;
        match principal.who() {
            Who::User { user, session, .. } => {
                let (user, session) = (user.clone(), session.clone());
                Ok(Self { hub, principal, user, session, client: entrance.client() })
            }
            Who::Token(_) | Who::Local => Err(ApiError::Forbidden),
        }
    }
}

impl Access for Platform {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Platform
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        let Caller { hub, principal, .. } = Caller::enter(entrance, ()).await?;
        let service = entrance.service.clone();
        if principal.is_platform() { Ok(Self { service, hub }) } else { Err(ApiError::Forbidden) }
    }
}

impl Access for OnMetrics {
    type Policy = ();

    fn policy((): ()) -> Policy {
        Policy::Metrics
    }

    async fn enter(entrance: &Entrance, (): ()) -> Result<Self, ApiError> {
        let service = entrance.service.clone();
        let is_local =
            entrance.parts.extensions.get::<ClientAddress>().is_some_and(ClientAddress::is_loopback);
        if !(service.config().metrics_loopback && is_local) {
            Platform::enter(entrance, ()).await?;
        }
        Ok(Self { service, format: Format::preferred(entrance.header(ACCEPT)) })
    }
}

impl Access for OnTenant {
    type Policy = Permission;

    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "tenant",
        about: "The tenant's key.",
        schema: |generator| generator.subschema_for::<TenantId>(),
    });

    fn policy(permission: Permission) -> Policy {
        Policy::Tenant(permission)
    }

    async fn enter(entrance: &Entrance, permission: Permission) -> Result<Self, ApiError> {
        let Caller { hub, principal, .. } = Caller::enter(entrance, ()).await?;
        // An older registry may hold keys of any form.
        let tenant = TenantId::from_registry(entrance.parameter("tenant").to_owned());
        if !principal.may_in(&tenant, Permission::UsageRead) {
            return Err(ApiError::NotFound);
        }
        let found = tenant.clone();
        hub.on_control(move |hub| hub.registry().tenant(&found)).await?;
        entrance.concern(&tenant, None);
        if !principal.may_in(&tenant, permission) {
            return Err(ApiError::Forbidden);
        }
        Ok(Self { hub, principal, tenant })
    }
}

impl Access for OnApp {
    type Policy = Permission;

    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "app",
        about: "The app's name.",
        schema: |generator| generator.subschema_for::<AppId>(),
    });

    fn policy(permission: Permission) -> Policy {
        Policy::App(permission)
    }

    async fn enter(entrance: &Entrance, permission: Permission) -> Result<Self, ApiError> {
        let Caller { service, hub, principal } = Caller::enter(entrance, ()).await?;
        let id: AppId = entrance
            .parameter("app")
            .parse()
            .map_err(|error: streamhub::BadAppId| ApiError::invalid("invalid_path", error.to_string()))?;
        let Owner { app, tenant } = hub.owner_async(&id).await?;
        if !principal.may_with(app, &tenant, Permission::AppRead) {
            return Err(ApiError::NotFound);
        }
        entrance.concern(&tenant, Some(&id));
        if !principal.may_with(app, &tenant, permission) {
            return Err(ApiError::Forbidden);
        }
        let hub = hub.meaning(&id, app);
        Ok(Self { service, hub, principal, id, app, tenant })
    }

    fn app(&self) -> Option<&AppId> {
        Some(&self.id)
    }
}

impl OnApp {
    /// An app in use.
    pub(crate) async fn lease(&self) -> Result<streamhub::Lease, HubError> {
        self.hub.app_async(&self.id).await
    }
}
