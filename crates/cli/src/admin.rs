//! What commands change, whoever carries it out: this process with the library, or a server that has the data
//! directory in use.
//!
//! Both give the same things and refuse with the same errors, so that a command prints alike what came of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use streamhub::allow_list::AllowList;
use streamhub::apps;
use streamhub::email::Email;
use streamhub::jobs::Job;
use streamhub::members::{Member, Role};
use streamhub::nodes::{NewNode, Node, NodeStatus};
use streamhub::progress::Progress;
use streamhub::purge::Scope;
use streamhub::quotas::{QuotaChange, Quotas};
use streamhub::tenants::Tenant;
use streamhub::time::Moment;
use streamhub::tokens::{NewToken, Reach};
use streamhub::users::{NewUser, User, UserStatus};
use streamhub::{
    Adoption, AppId, Checked, Checkpointed, Deletion, Health, Hub, NewApp, Optimized, Pruned, Purged, Seal,
    TenantChange, TenantId, Uuid,
};

use crate::password::NewPassword;

/// An app as the HTTP API shows it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct App {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) display_name: Option<String>,
    pub(crate) livekit_room_prefix: Option<String>,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
    pub(crate) settings_json: Option<String>,
    pub(crate) tenant_id: String,
    pub(crate) state: apps::AppState,
}

/// An app that was adopted.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Adopted {
    pub(crate) app: App,
    pub(crate) tenant_created: bool,
    pub(crate) sealed: bool,
}

/// An app that went to the trash.
#[derive(Debug, Deserialize)]
pub(crate) struct InTrash {
    /// What is wrong with its database, where something is.
    pub(crate) flaw: Option<String>,
    /// Where it lies; a server does not say.
    #[serde(skip)]
    pub(crate) dir: Option<PathBuf>,
}

/// A user that is to be made.
#[derive(Debug)]
pub(crate) struct NewPerson {
    pub(crate) email: Email,
    pub(crate) name: Option<String>,
    pub(crate) password: NewPassword,
    pub(crate) is_superadmin: bool,
}

/// A token that is to be made.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) name: String,
    pub(crate) bearer: Bearer,
    pub(crate) allowed_ips: AllowList,
}

/// Who has a token.
#[derive(Debug)]
pub(crate) enum Bearer {
    /// Whoever works with this app.
    App(String),
    /// Whoever works with all of a tenant's apps.
    Tenant(TenantId),
    /// A tenant's node of the cluster.
    Node(TenantId),
}

/// What is pruned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Journal {
    Audit,
    Logs,
}

/// Who changes what.
pub(crate) trait Admin {
    fn create_app(&self, new: &NewApp) -> anyhow::Result<App>;
    fn rename_app(&self, from: &AppId, to: &AppId) -> anyhow::Result<App>;
    fn delete_app(&self, name: &AppId) -> anyhow::Result<InTrash>;
    fn forget_app(&self, name: &AppId) -> anyhow::Result<()>;
    fn undelete_app(&self, name: &AppId) -> anyhow::Result<App>;
    fn seal_app(&self, name: &AppId) -> anyhow::Result<Seal>;
    fn adopt_app(&self, dir: &Path, adoption: &Adoption) -> anyhow::Result<Adopted>;

    fn health(&self, name: &AppId) -> anyhow::Result<Health>;
    /// `force` has a server do it although the app has live streams.
    fn optimize(&self, name: &AppId, force: bool, progress: &dyn Progress) -> anyhow::Result<Optimized>;
    fn check(&self, name: &AppId, force: bool, progress: &dyn Progress) -> anyhow::Result<Checked>;
    fn checkpoint(&self, name: &AppId, progress: &dyn Progress) -> anyhow::Result<Checkpointed>;
    fn purge(&self, name: &AppId, scope: Scope, progress: &dyn Progress) -> anyhow::Result<Purged>;

    fn cancel_job(&self, id: &Uuid) -> anyhow::Result<Job>;

    fn create_tenant(&self, id: &TenantId, details: &TenantChange) -> anyhow::Result<Tenant>;
    fn update_tenant(&self, id: &TenantId, change: &TenantChange) -> anyhow::Result<Tenant>;
    fn set_quotas(&self, tenant: &TenantId, change: &QuotaChange) -> anyhow::Result<Quotas>;
    fn add_member(&self, tenant: &TenantId, user: &str, role: Role) -> anyhow::Result<Member>;
    fn change_member(&self, tenant: &TenantId, user: &str, role: Role) -> anyhow::Result<Member>;
    fn remove_member(&self, tenant: &TenantId, user: &str) -> anyhow::Result<Member>;

    fn create_user(&self, new: &NewPerson) -> anyhow::Result<User>;
    fn set_user_status(&self, who: &str, status: UserStatus) -> anyhow::Result<User>;
    fn delete_user(&self, who: &str) -> anyhow::Result<User>;
    /// Also says how many sessions were ended.
    fn reset_password(&self, email: &str, password: &NewPassword) -> anyhow::Result<(User, usize)>;
    fn remove_second_factor(&self, who: &str) -> anyhow::Result<User>;

    /// Gives the token's number and the token itself.
    fn create_token(&self, new: &Ticket) -> anyhow::Result<(i64, String)>;
    /// Gives the token's name.
    fn revoke_token(&self, id: i64) -> anyhow::Result<String>;

    fn create_node(&self, new: &NewNode) -> anyhow::Result<Node>;
    fn set_node_status(&self, which: &str, status: NodeStatus) -> anyhow::Result<Node>;
    fn delete_node(&self, which: &str) -> anyhow::Result<Node>;

    /// How much is from before a time.
    fn count_before(&self, what: Journal, before: &Moment) -> anyhow::Result<u64>;
    fn prune(&self, what: Journal, before: &Moment, progress: &dyn Progress) -> anyhow::Result<Pruned>;
}

impl From<apps::App> for App {
    fn from(app: apps::App) -> Self {
        Self {
            id: app.id,
            name: app.name,
            display_name: app.display_name,
            livekit_room_prefix: app.livekit_room_prefix,
            created_at: app.created_at,
            updated_at: app.updated_at,
            settings_json: app.settings_json,
            tenant_id: app.tenant_id,
            state: app.state,
        }
    }
}

impl Admin for Hub {
    fn create_app(&self, new: &NewApp) -> anyhow::Result<App> {
        Ok(self.create(new)?.into())
    }

    fn rename_app(&self, from: &AppId, to: &AppId) -> anyhow::Result<App> {
        Ok(self.rename(from, to)?.into())
    }

    fn delete_app(&self, name: &AppId) -> anyhow::Result<InTrash> {
        let Deletion { dir, flaw } = self.delete(name)?;
        Ok(InTrash { flaw, dir: Some(dir) })
    }

    fn forget_app(&self, name: &AppId) -> anyhow::Result<()> {
        Ok(self.forget_lost(name).map(drop)?)
    }

    fn undelete_app(&self, name: &AppId) -> anyhow::Result<App> {
        Ok(self.undelete(name)?.into())
    }

    fn seal_app(&self, name: &AppId) -> anyhow::Result<Seal> {
        Ok(self.seal(name)?)
    }

    fn adopt_app(&self, dir: &Path, adoption: &Adoption) -> anyhow::Result<Adopted> {
        let streamhub::Adopted { app, tenant_created, sealed } = self.adopt(dir, adoption)?;
        Ok(Adopted { app: app.into(), tenant_created, sealed })
    }

    fn health(&self, name: &AppId) -> anyhow::Result<Health> {
        Ok(self.health(name)?)
    }

    fn optimize(&self, name: &AppId, _: bool, progress: &dyn Progress) -> anyhow::Result<Optimized> {
        Ok(self.optimize(name, progress)?)
    }

    fn check(&self, name: &AppId, _: bool, progress: &dyn Progress) -> anyhow::Result<Checked> {
        Ok(self.check(name, progress)?)
    }

    fn checkpoint(&self, name: &AppId, progress: &dyn Progress) -> anyhow::Result<Checkpointed> {
        Ok(self.checkpoint(name, progress)?)
    }

    fn purge(&self, name: &AppId, scope: Scope, progress: &dyn Progress) -> anyhow::Result<Purged> {
        Ok(self.purge_app(name, scope, progress)?)
    }

    fn cancel_job(&self, id: &Uuid) -> anyhow::Result<Job> {
        Ok(self.cancel_job(id)?)
    }

    fn create_tenant(&self, id: &TenantId, details: &TenantChange) -> anyhow::Result<Tenant> {
        Ok(self.create_tenant(id, details)?)
    }

    fn update_tenant(&self, id: &TenantId, change: &TenantChange) -> anyhow::Result<Tenant> {
        Ok(self.update_tenant(id, change)?)
    }

    fn set_quotas(&self, tenant: &TenantId, change: &QuotaChange) -> anyhow::Result<Quotas> {
        Ok(self.set_quotas(tenant, change)?)
    }

    fn add_member(&self, tenant: &TenantId, user: &str, role: Role) -> anyhow::Result<Member> {
        Ok(self.add_member(tenant, user, role)?)
    }

    fn change_member(&self, tenant: &TenantId, user: &str, role: Role) -> anyhow::Result<Member> {
        Ok(self.change_member(tenant, user, role)?)
    }

    fn remove_member(&self, tenant: &TenantId, user: &str) -> anyhow::Result<Member> {
        Ok(self.remove_member(tenant, user)?)
    }

    fn create_user(&self, new: &NewPerson) -> anyhow::Result<User> {
        let NewPerson { email, name, password, is_superadmin } = new;
        let password = Some(password.hash()?);
        let new =
            NewUser { email: email.clone(), name: name.clone(), password, is_superadmin: *is_superadmin };
        Ok(self.create_user(&new)?)
    }

    fn set_user_status(&self, who: &str, status: UserStatus) -> anyhow::Result<User> {
        Ok(self.set_user_status(who, status)?)
    }

    fn delete_user(&self, who: &str) -> anyhow::Result<User> {
        Ok(self.delete_user(who)?)
    }

    fn reset_password(&self, email: &str, password: &NewPassword) -> anyhow::Result<(User, usize)> {
        Ok(self.reset_password(email, &password.hash()?)?)
    }

    fn remove_second_factor(&self, who: &str) -> anyhow::Result<User> {
        Ok(self.remove_second_factor(who)?)
    }

    fn create_token(&self, new: &Ticket) -> anyhow::Result<(i64, String)> {
        let (reach, tenant) = match &new.bearer {
            Bearer::App(app) => {
                let app = self.registered(app)?;
                (Reach::App(app.id), TenantId::from_registry(app.tenant_id))
            }
            Bearer::Tenant(tenant) => (Reach::Global, tenant.clone()),
            Bearer::Node(tenant) => (Reach::Node, tenant.clone()),
        };
        let new = NewToken { name: new.name.clone(), reach, tenant, allowed_ips: new.allowed_ips.clone() };
        let (id, token) = self.create_token(&new)?;
        Ok((id, token.reveal().to_owned()))
    }

    fn revoke_token(&self, id: i64) -> anyhow::Result<String> {
        Ok(self.revoke_token(id)?.name)
    }

    fn create_node(&self, new: &NewNode) -> anyhow::Result<Node> {
        Ok(self.create_node(new)?)
    }

    fn set_node_status(&self, which: &str, status: NodeStatus) -> anyhow::Result<Node> {
        Ok(self.set_node_status(which, status)?)
    }

    fn delete_node(&self, which: &str) -> anyhow::Result<Node> {
        Ok(self.delete_node(which)?)
    }

    fn count_before(&self, what: Journal, before: &Moment) -> anyhow::Result<u64> {
        Ok(match what {
            Journal::Audit => self.registry().audit_before(before)?,
            Journal::Logs => self.registry().logs_before(before)?,
        })
    }

    fn prune(&self, what: Journal, before: &Moment, progress: &dyn Progress) -> anyhow::Result<Pruned> {
        Ok(match what {
            Journal::Audit => self.prune_audit(before, progress)?,
            Journal::Logs => self.prune_logs(before, progress)?,
        })
    }
}
