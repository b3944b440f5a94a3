//! What the control database says of tenants, users, tokens and nodes.
//!
//! One way to read it for who has the data directory in possession and for who only looks at it from
//! outside. Nothing is changed here.

use schemars::JsonSchema;
use serde::Serialize;
use streamhub_control::apps::{self, App};
use streamhub_control::members::{self, Member};
use streamhub_control::nodes::{self, Node};
use streamhub_control::page::{Page, Part};
use streamhub_control::quotas::{self, Metric, Quotas};
use streamhub_control::tenants::{self, Tenant, UnknownTenant};
use streamhub_control::tokens::{self, ApiToken};
use streamhub_control::usage::{self, Exceeded, Month, Reading, Usage};
use streamhub_control::users::{self, User};
use streamhub_control::{Connection, Control, Plane, SqlResult, TenantId, Within, audit, jobs, logs};
use streamhub_engine::Uuid;
use streamhub_engine::time::Moment;

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::{found_node, found_user};

/// The control database, to be read.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let mut config = streamhub::HubConfig::new(dir.path().join("data"));
/// # config.volatile = streamhub::Volatile::Permit;
/// use streamhub::{Hub, TenantId, progress::Silent};
///
/// let hub = Hub::open(&config, &Silent)?;
/// assert_eq!(hub.registry().tenants()?.len(), 1);
/// let usage = hub.registry().usage(&TenantId::platform())?;
/// assert_eq!(usage.usage.apps, 0);
/// # hub.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Registry<'a>(Source<'a>);

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    /// In service.
    Plane(&'a Plane),
    /// Open for looking.
    Control(&'a Control),
}

/// What a tenant may have and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantUsage {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The plan's name.
    pub plan: String,
    /// What it may have.
    pub quotas: Quotas,
    /// What it has, in this calendar month.
    pub usage: Usage,
    /// Of what it has more than it may have.
    pub exceeded: Exceeded,
}

impl Hub {
    /// The control database, to be read.
    pub fn registry(&self) -> Registry<'_> {
        Registry(Source::Plane(&self.shared.services.plane))
    }
}

impl<'a> Registry<'a> {
    pub(crate) fn of(control: &'a Control) -> Self {
        Self(Source::Control(control))
    }

    /// All tenants, by key.
    pub fn tenants(&self) -> Result<Vec<Tenant>> {
        self.read(tenants::list)
    }

    /// A page of the apps that somebody sees, by name.
    pub fn page_of_apps(&self, within: &Within, page: Page) -> Result<Part<App>> {
        self.read(|db| apps::page(db, within, page))
    }

    /// How many apps somebody sees.
    pub fn count_apps(&self, within: &Within) -> Result<u64> {
        self.read(|db| apps::count_within(db, within))
    }

    /// A page of the tenants that somebody sees, by key.
    pub fn page_of_tenants(&self, within: &Within, page: Page) -> Result<Part<Tenant>> {
        self.read(|db| tenants::page(db, within, page))
    }

    /// The tenant of this key.
    pub fn tenant(&self, id: &TenantId) -> Result<Tenant> {
        self.read(|db| tenants::get(db, id))?.ok_or_else(|| unknown(id))
    }

    /// What a tenant may have.
    pub fn quotas(&self, tenant: &TenantId) -> Result<Quotas> {
        self.of_tenant(tenant, |db, _| quotas::of(db, tenant))
    }

    /// What a tenant may have and what it has.
    pub fn usage(&self, tenant: &TenantId) -> Result<TenantUsage> {
        self.of_tenant(tenant, |db, found| {
            let (quotas, usage) = (quotas::of(db, tenant)?, usage::of(db, tenant, &Month::current())?);
            let exceeded = usage.exceeded(&quotas);
            Ok(TenantUsage { tenant_id: found.id, plan: found.plan, quotas, usage, exceeded })
        })
    }

    /// How many tenants have more of something than they may have, for each thing that is limited.
    pub fn tenants_above_quotas(&self) -> Result<Vec<(Metric, u64)>> {
        self.read(|db| usage::tenants_above(db, &Month::current()))
    }

    /// All that was metered of a tenant, the newest month first.
    pub fn usage_history(&self, tenant: &TenantId) -> Result<Vec<Reading>> {
        self.of_tenant(tenant, |db, _| usage::history(db, tenant))
    }

    /// A tenant's members, by key.
    pub fn members(&self, tenant: &TenantId) -> Result<Vec<Member>> {
        self.of_tenant(tenant, |db, _| members::of_tenant(db, tenant))
    }

    /// All users, by key.
    pub fn users(&self) -> Result<Vec<User>> {
        self.read(users::list)
    }

    /// A page of the users, by key.
    pub fn page_of_users(&self, page: Page) -> Result<Part<User>> {
        self.read(|db| users::page(db, page))
    }

    /// The user of this key.
    pub fn user_of_key(&self, key: &str) -> Result<User> {
        let found = self.read(|db| users::get(db, key))?;
        found.ok_or_else(|| HubError::NotFound { noun: "user", name: key.to_owned() })
    }

    /// The user of this key or address.
    pub fn user(&self, who: &str) -> Result<User> {
        self.read(|db| found_user(db, who))?
    }

    /// All tokens, by number, without their hashes.
    pub fn tokens(&self) -> Result<Vec<ApiToken>> {
        self.read(tokens::list)
    }

    /// A page of the tokens of the tenants that somebody looks after, by number, without their hashes.
    pub fn page_of_tokens(&self, within: &Within, page: Page) -> Result<Part<ApiToken>> {
        self.read(|db| tokens::page(db, within, page))
    }

    /// The token of this number, without its hash, where there is one.
    pub fn token(&self, id: i64) -> Result<Option<ApiToken>> {
        self.read(|db| tokens::get(db, id))
    }

    /// A tenant's tokens, by number, without their hashes.
    pub fn tokens_of(&self, tenant: &TenantId) -> Result<Vec<ApiToken>> {
        self.of_tenant(tenant, |db, _| tokens::of_tenant(db, tenant))
    }

    /// What the audit tells, the newest entry first.
    pub fn audit(&self, filter: &audit::Filter<'_>) -> Result<audit::Listed> {
        self.read(|db| audit::list(db, filter))
    }

    /// How much the audit tells of before this time.
    pub fn audit_before(&self, before: &Moment) -> Result<u64> {
        self.read(|db| audit::JOURNAL.count(db, &audit::JOURNAL.cut_off_before(db, before)?))
    }

    /// What the log tells, the newest entry first. It looks at about [`logs::LOOKED_AT`] entries and no more: where
    /// that is not all, it says where to go on, although it found fewer than are wanted, or none.
    pub fn logs(&self, filter: &logs::Filter<'_>) -> Result<logs::Listed> {
        self.read(|db| logs::list(db, filter, logs::LOOKED_AT))
    }

    /// As [`logs`](Self::logs), each time from where the one before it ended, until as much is found as is wanted.
    pub fn logs_found(&self, filter: &logs::Filter<'_>) -> Result<logs::Listed> {
        let mut found = self.logs(filter)?;
        while let Some(cursor) = found.next.take_if(|_| found.entries.len() < filter.limit as usize) {
            let limit = filter.limit - u32::try_from(found.entries.len()).unwrap_or(filter.limit);
            let more = self.logs(&logs::Filter { cursor: Some(&cursor), limit, ..*filter })?;
            found.entries.extend(more.entries);
            found.next = more.next;
        }
        Ok(found)
    }

    /// How much the log tells of before this time.
    pub fn logs_before(&self, before: &Moment) -> Result<u64> {
        self.read(|db| logs::JOURNAL.count(db, &logs::JOURNAL.cut_off_before(db, before)?))
    }

    /// What the audit tells of these tenants, the newest entry first.
    pub fn audit_of(&self, tenants: &[TenantId], filter: &audit::Filter<'_>) -> Result<audit::Listed> {
        self.read(|db| audit::list_of(db, tenants, filter))
    }

    /// Jobs, the newest first, as they were last written down.
    pub fn jobs(&self, filter: &jobs::Filter) -> Result<jobs::Listed> {
        self.read(|db| jobs::list(db, filter))
    }

    /// A job, as it was last written down.
    pub fn job(&self, id: &Uuid) -> Result<jobs::Job> {
        self.read(|db| jobs::get(db, id))?
            .ok_or_else(|| HubError::NotFound { noun: "job", name: id.to_string() })
    }

    /// Whether any node of a cluster could show a token that is good.
    pub fn has_node_token(&self) -> Result<bool> {
        self.read(tokens::any_of_node)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        self.read(nodes::list)
    }

    /// The node of this key or name.
    pub fn node(&self, which: &str) -> Result<Node> {
        self.read(|db| found_node(db, which))?
    }

    /// Reads of a tenant, which has to be there, in one snapshot.
    fn of_tenant<T>(
        &self,
        id: &TenantId,
        work: impl FnOnce(&Connection, Tenant) -> SqlResult<T>,
    ) -> Result<T> {
        self.read(|db| tenants::get(db, id)?.map(|tenant| work(db, tenant)).transpose())?
            .ok_or_else(|| unknown(id))
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> SqlResult<T>) -> Result<T> {
        match self.0 {
            Source::Plane(plane) => Ok(plane.read(work)?),
            Source::Control(control) => control.query(work).map_err(HubError::control),
        }
    }
}

fn unknown(id: &TenantId) -> HubError {
    UnknownTenant { tenant: id.clone() }.into()
}
