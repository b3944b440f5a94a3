//! Who asks, and what that permits.

use streamhub_control::TenantId;
use streamhub_control::members::Role;
use streamhub_control::tokens::{ApiToken, TokenScope};
use streamhub_control::users::User;

pub use streamhub_control::Within;

/// What somebody may do in a tenant, or with one app of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// See an app and what is in it.
    AppRead,
    /// Change what is in an app, and look after its database.
    AppWrite,
    /// Make apps.
    AppCreate,
    /// Delete apps, and purge what is in them.
    AppDelete,
    /// See what is used, and how large databases are.
    UsageRead,
    /// See and change who works for the tenant, and the tenant itself.
    Members,
    /// See, make and revoke API tokens.
    Tokens,
    /// Read the audit.
    AuditRead,
}

/// Somebody whose credential was accepted.
#[derive(Clone, Debug)]
pub struct Principal {
    who: Who,
}

/// What kind of credential it was.
#[derive(Clone, Debug)]
pub enum Who {
    /// A person with a session.
    User {
        /// The person.
        user: User,
        /// The session's key.
        session: String,
        /// What the person is, and where.
        roles: Vec<(TenantId, Role)>,
    },
    /// A program with a token.
    Token(ApiToken),
    /// A command on the server's own machine, which could read the databases as well.
    Local,
}

/// What a role permits.
fn of_role(role: Role) -> &'static [Permission] {
    use Permission::{AppCreate, AppDelete, AppRead, AppWrite, AuditRead, Members, Tokens, UsageRead};
    match role {
        Role::Viewer => &[AppRead, UsageRead],
        Role::Editor => &[AppRead, UsageRead, AppWrite],
        Role::Owner => &[AppRead, UsageRead, AppWrite, AppCreate, AppDelete, Members, Tokens, AuditRead],
    }
}

/// What a program may do with the apps that its token reaches.
const OF_TOKEN: &[Permission] = &[Permission::AppRead, Permission::AppWrite, Permission::UsageRead];

impl Permission {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AppRead,
        Self::AppWrite,
        Self::AppCreate,
        Self::AppDelete,
        Self::UsageRead,
        Self::Members,
        Self::Tokens,
        Self::AuditRead,
    ];

    /// As people write it, such as `app:read`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppRead => "app:read",
            Self::AppWrite => "app:write",
            Self::AppCreate => "app:create",
            Self::AppDelete => "app:delete",
            Self::UsageRead => "usage:read",
            Self::Members => "members",
            Self::Tokens => "tokens",
            Self::AuditRead => "audit:read",
        }
    }
}

impl Principal {
    pub(crate) fn new(who: Who) -> Self {
        Self { who }
    }

    /// What kind of credential it was.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// As the audit names it.
    pub fn name(&self) -> String {
        match &self.who {
            Who::User { user, .. } => format!("user:{}", user.id),
            Who::Token(token) => format!("token:{}", token.id),
            Who::Local => "local".to_owned(),
        }
    }

    /// Whether everything is permitted: a superadmin, a global token of the platform's, or a command on the
    /// server's own machine.
    pub fn is_platform(&self) -> bool {
        match &self.who {
            Who::User { user, .. } => user.is_superadmin,
            Who::Token(token) => {
                token.scope == TokenScope::Global && token.tenant_id == Some(TenantId::platform())
            }
            Who::Local => true,
        }
    }

    /// Where something is permitted.
    pub fn within(&self, permission: Permission) -> Within {
        if self.is_platform() {
            return Within::Everything;
        }
        match &self.who {
            Who::Local => Within::Everything,
            Who::User { roles, .. } => {
                let permitted = roles.iter().filter(|(_, role)| of_role(*role).contains(&permission));
                Within::Tenants(permitted.map(|(tenant, _)| tenant.clone()).collect())
            }
            Who::Token(token) => match (token.scope, token.app_id) {
                _ if !OF_TOKEN.contains(&permission) => Within::Tenants(Vec::new()),
                (TokenScope::App, Some(app)) => Within::App(app),
                (TokenScope::Global, _) => Within::Tenants(token.tenant_id.iter().cloned().collect()),
                (TokenScope::App | TokenScope::Node, _) => Within::Tenants(Vec::new()),
            },
        }
    }

    /// Whether something is permitted in a tenant as a whole.
    pub fn may_in(&self, tenant: &TenantId, permission: Permission) -> bool {
        match self.within(permission) {
            Within::Everything => true,
            Within::Tenants(tenants) => tenants.contains(tenant),
            Within::App(_) => false,
        }
    }

    /// Whether something is permitted with the app of this number, which is this tenant's.
    pub fn may_with(&self, app: i64, tenant: &TenantId, permission: Permission) -> bool {
        match self.within(permission) {
            Within::App(only) => only == app,
            _ => self.may_in(tenant, permission),
        }
    }
}

#[cfg(test)]
mod tests {
    use streamhub_control::allow_list::AllowList;

    use super::*;

    fn user(is_superadmin: bool, roles: &[(&str, Role)]) -> Principal {
        let user = User {
            id: "usr_1".to_owned(),
            email: None,
            name: None,
            is_superadmin,
            status: "active".to_owned(),
            created_at: String::new(),
        };
        let roles = roles.iter().map(|(tenant, role)| (tenant.parse().unwrap(), *role)).collect();
        Principal::new(Who::User { user, session: "s".to_owned(), roles })
    }

    fn token(scope: TokenScope, app_id: Option<i64>, tenant: &str) -> Principal {
        Principal::new(Who::Token(ApiToken {
            id: 1,
            name: "t".to_owned(),
            scope,
            app_id,
            tenant_id: Some(tenant.parse().unwrap()),
            allowed_ips: AllowList::EVERYBODY,
            last_used_at: None,
            created_at: String::new(),
            revoked: false,
        }))
    }

    /// As CONTRACT says it, in the order of `Permission::ALL`.
    fn row(principal: &Principal, app: i64, tenant: &str) -> String {
        let tenant = tenant.parse().unwrap();
        let may = Permission::ALL.iter().map(|permission| principal.may_with(app, &tenant, *permission));
        may.map(|may| if may { 'x' } else { '.' }).collect()
    }

    #[test]
    fn each_role_may_what_it_may_in_its_own_tenant_only() {
        let cases = [
            (user(true, &[]), "xxxxxxxx", "xxxxxxxx"),
            (user(false, &[("acme", Role::Owner)]), "xxxxxxxx", "........"),
            (user(false, &[("acme", Role::Editor)]), "xx..x...", "........"),
            (user(false, &[("acme", Role::Viewer)]), "x...x...", "........"),
            (user(false, &[]), "........", "........"),
            (token(TokenScope::Global, None, "platform"), "xxxxxxxx", "xxxxxxxx"),
            (token(TokenScope::Global, None, "acme"), "xx..x...", "........"),
            (token(TokenScope::App, Some(7), "acme"), "xx..x...", "xx..x..."),
            (token(TokenScope::App, Some(8), "acme"), "........", "........"),
            (token(TokenScope::App, None, "acme"), "........", "........"),
            (token(TokenScope::App, Some(8), "platform"), "........", "........"),
            (token(TokenScope::Node, None, "platform"), "........", "........"),
            (Principal::new(Who::Local), "xxxxxxxx", "xxxxxxxx"),
        ];
        for (principal, in_acme, in_another) in cases {
            assert_eq!(row(&principal, 7, "acme"), in_acme, "{principal:?}");
            assert_eq!(row(&principal, 7, "globex"), in_another, "{principal:?}");
        }
    }

    #[test]
    fn an_app_token_may_nothing_in_its_tenant_as_a_whole() {
        let token = token(TokenScope::App, Some(7), "acme");
        assert!(!token.may_in(&"acme".parse().unwrap(), Permission::AppRead));
        assert_eq!(token.within(Permission::AppRead), Within::App(7));
        assert_eq!(token.within(Permission::AppDelete), Within::Tenants(vec![]));
    }
}
