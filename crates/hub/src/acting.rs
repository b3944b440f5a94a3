//! Who does something, and what the audit says of it.
//!
//! A hub that [acts](Hub::acting) for somebody leaves an audit entry with each change that it makes, in the
//! same transaction: a change of the control database beside its entry, a change of an app beside a piece of
//! its outbox. What a hub does for nobody in particular leaves none.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;
use streamhub_appstore::{WriteTx, outbox};
use streamhub_control::audit::Entry;
use streamhub_control::deeds::{self, Outcome};
use streamhub_control::idempotency::Asked;
use streamhub_control::{Connection, SqlResult, TenantId};
use streamhub_engine::AppId;
use streamhub_engine::time::Moment;

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::idempotency::{self, Repeatable};
use crate::lease::Lease;

/// Who does something.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::{Actor, TenantChange, audit};
///
/// let acting = hub.acting(Actor::new("console:ana"));
/// acting.create_tenant(&"acme".parse()?, &TenantChange::default())?;
/// let filter = audit::Filter { tenant: None, since: None, until: None, cursor: None, limit: 1 };
/// let audit = hub.registry().audit(&filter)?;
/// let entry = &audit.entries[0].entry;
/// assert_eq!((&*entry.principal, &*entry.action, &*entry.outcome), ("console:ana", "tenant.create", "ok"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who, as the audit names it: `user:usr_…`, `token:3`.
    pub principal: String,
    /// From which address, where that is known.
    pub address: Option<IpAddr>,
    /// By which request, where there is one.
    pub request: Option<String>,
    /// Where the request may be sent twice, what tells it from others.
    pub repeatable: Option<Repeatable>,
}

/// Somebody who does something, and the number of the audit's entry that tells of it.
#[derive(Debug)]
pub(crate) struct Acting {
    actor: Actor,
    entry: AtomicI64,
}

/// Whom and what a request concerns.
#[derive(Clone, Debug, Default)]
pub struct Concerned {
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The app.
    pub app: Option<AppId>,
}

/// What somebody does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deed {
    action: &'static str,
    tenant: Option<String>,
    app: Option<String>,
    target: Option<String>,
    detail: Option<Value>,
}

impl Actor {
    /// Somebody of whom nothing else is known.
    pub fn new(principal: impl Into<String>) -> Self {
        Self { principal: principal.into(), address: None, request: None, repeatable: None }
    }

    fn asked(&self) -> Option<&Asked> {
        self.repeatable.as_ref().map(Repeatable::asked)
    }
}

impl Acting {
    /// The entry of this number tells of it, once the transaction that holds it is committed.
    fn is_told_of(&self, entry: i64) {
        self.entry.store(entry, Ordering::Release);
    }
}

impl Deref for Acting {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.actor
    }
}

impl Deed {
    /// An action, as `tenant.create`.
    pub(crate) fn of(action: &'static str) -> Self {
        Self { action, ..Self::default() }
    }

    /// Whom it concerns.
    pub(crate) fn tenant(mut self, tenant: &TenantId) -> Self {
        self.tenant = Some(tenant.to_string());
        self
    }

    /// The app that it concerns.
    pub(crate) fn app(mut self, app: &(impl ToString + ?Sized)) -> Self {
        self.app = Some(app.to_string());
        self
    }

    /// What it is done to.
    pub(crate) fn target(mut self, target: &(impl ToString + ?Sized)) -> Self {
        self.aim(target);
        self
    }

    /// What else is worth knowing.
    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// What it is done to, once that is known.
    pub(crate) fn aim(&mut self, target: &(impl ToString + ?Sized)) {
        self.target = Some(target.to_string());
    }

    /// Whom it concerns, once that is known.
    pub(crate) fn concern(&mut self, tenant: &TenantId) {
        self.tenant = Some(tenant.to_string());
    }

    pub(crate) fn entry(&self, actor: &Actor, outcome: Outcome) -> Entry {
        Entry {
            tenant_id: self.tenant.clone(),
            app: self.app.clone(),
            address: actor.address.map(|address| address.to_string()),
            target: self.target.clone(),
            detail_json: with_request(self.detail.clone(), actor).map(|detail| detail.to_string()),
            ..Entry::now(&actor.principal, self.action, outcome.as_str())
        }
    }
}

impl Hub {
    /// The same hub, acting for somebody.
    #[must_use]
    pub fn acting(&self, actor: Actor) -> Self {
        Self { actor: Some(Arc::new(Acting { actor, entry: AtomicI64::default() })), ..self.clone() }
    }

    /// The same hub, for what the audit tells of already.
    pub(crate) fn acting_for_nobody(&self) -> Self {
        Self { actor: None, ..self.clone() }
    }

    /// Changes the control database, and says so in the audit, in one transaction. What is refused has changed
    /// nothing and leaves no entry.
    pub(crate) fn change<T, E>(
        &self,
        deed: Deed,
        work: impl FnMut(&Connection, &mut Deed) -> SqlResult<Result<T, E>> + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        E: Into<HubError> + Send + 'static,
    {
        self.try_change(deed, work)?.map_err(Into::into)
    }

    /// As [`change`](Self::change), for refusals that are no errors of the hub's.
    pub(crate) fn try_change<T: Send + 'static, E: Send + 'static>(
        &self,
        deed: Deed,
        mut work: impl FnMut(&Connection, &mut Deed) -> SqlResult<Result<T, E>> + Send + 'static,
    ) -> Result<Result<T, E>> {
        let actor = self.actor.clone();
        self.write(move |db| {
            // It may run more than once.
            let mut deed = deed.clone();
            let changed = work(db, &mut deed)?;
            if let (Ok(_), Some(actor)) = (&changed, &actor) {
                actor.is_told_of(deeds::append(db, &deed.entry(actor, Outcome::Done), actor.asked())?);
            }
            Ok(changed)
        })
    }

    /// The first step of a deed of several, within its transaction.
    pub(crate) fn beginning(&self, deed: &Deed) -> impl Fn(&Connection, i64) -> SqlResult<()> + Send + use<> {
        let begun = self.actor.as_ref().map(|actor| (deed.entry(actor, Outcome::Begun), Arc::clone(actor)));
        move |db, app| {
            if let Some((entry, actor)) = &begun {
                actor.is_told_of(deeds::begin(db, app, entry, actor.asked())?);
            }
            Ok(())
        }
    }

    /// Appends the entry of a deed that is done outside of any database.
    pub(crate) fn begin(&self, deed: &Deed, app: i64) -> Result<()> {
        if self.actor.is_none() {
            return Ok(());
        }
        let begun = self.beginning(deed);
        self.note_down(move |db| begun(db, app))
    }

    /// Says in the audit what somebody asked for and did not get: in an entry of its own, or in the one that tells
    /// already of what was begun, whose outcome is what became of that. Nothing is said for nobody.
    pub fn note_refusal(
        &self,
        action: &str,
        target: Option<String>,
        concerned: &Concerned,
        outcome: Outcome,
        code: &str,
    ) -> Result<()> {
        let Some(actor) = &self.actor else { return Ok(()) };
        let mut entry = Deed::default().detail(serde_json::json!({ "code": code })).entry(actor, outcome);
        (entry.action, entry.target) = (action.to_owned(), target);
        entry.tenant_id = concerned.tenant.as_ref().map(TenantId::to_string);
        entry.app = concerned.app.as_ref().map(AppId::to_string);
        let told = actor.entry.load(Ordering::Acquire);
        self.note_down(move |db| deeds::explain(db, told, &entry))
    }
}

impl Lease {
    /// A closure that writes, with the audit entry of what it does.
    pub(crate) fn audited<T, F>(
        &self,
        deed: Deed,
        mut work: F,
    ) -> impl FnMut(&mut WriteTx<'_>) -> Result<T> + Send + use<T, F>
    where
        F: FnMut(&mut WriteTx<'_>, &mut Deed) -> Result<T> + Send + 'static,
    {
        let actor = self.actor.clone();
        move |tx| {
            let mut deed = deed.clone();
            let done = work(tx, &mut deed)?;
            if let Some(actor) = &actor {
                outbox::push(tx, &outbox_entry(deed, actor))?;
            }
            Ok(done)
        }
    }
}

fn outbox_entry(deed: Deed, actor: &Actor) -> outbox::Entry {
    outbox::Entry::Audit {
        at: Moment::now(),
        principal: actor.principal.clone(),
        address: actor.address.map(|address| address.to_string()),
        action: deed.action.to_owned(),
        target: deed.target,
        outcome: Outcome::Done.to_string(),
        detail: with_request(deed.detail, actor),
        asked: actor.asked().map(idempotency::to_json),
    }
}

fn with_request(detail: Option<Value>, actor: &Actor) -> Option<Value> {
    let Some(request) = &actor.request else { return detail };
    let mut detail = detail.unwrap_or_else(|| Value::Object(serde_json::Map::default()));
    if let Value::Object(fields) = &mut detail {
        fields.insert(deeds::REQUEST.to_owned(), request.clone().into());
    }
    Some(detail)
}
