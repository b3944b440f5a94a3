//! What commands change, asked of a server over HTTP.
//!
//! An answer is read as what the library would have given, and a refusal as what it would have said.

use std::path::{self, Path};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamhub::apps::Refused;
use streamhub::jobs::{Job, JobState};
use streamhub::members::{Member, Role};
use streamhub::nodes::{NewNode, Node, NodeStatus};
use streamhub::progress::Progress;
use streamhub::purge::Scope;
use streamhub::quotas::{QuotaChange, Quotas};
use streamhub::tenants::{Tenant, UnknownTenant};
use streamhub::time::Moment;
use streamhub::tokens::TokenScope;
use streamhub::users::{User, UserStatus};
use streamhub::{
    Adoption, AppId, Checked, Checkpointed, Health, Hub, HubError, NewApp, Optimized, Proof, Pruned, Purged,
    Seal, TenantChange, TenantId, Uuid,
};

use crate::admin::{Admin, Adopted, App, Bearer, InTrash, Journal, NewPerson, Ticket};
use crate::exit::{Code, Refusal};
use crate::http::{Ask, Client, segment};
use crate::password::NewPassword;
use crate::progress::Steps;

/// How often it is looked how far a job is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How many entries of a list are asked for at once.
const PART: usize = 1000;

/// What databases and jobs are answered with.
#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Made {
    id: i64,
    token: String,
}

#[derive(Deserialize)]
struct Listed {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WasReset {
    user: User,
    sessions_ended: usize,
}

#[derive(Deserialize)]
struct Limited {
    quotas: Quotas,
}

fn unknown_app(name: &AppId) -> HubError {
    HubError::UnknownApp { name: name.to_string() }
}

fn name_taken(name: &AppId) -> HubError {
    HubError::Refused(Refused::NameTaken { name: name.to_string() })
}

fn unknown_tenant(tenant: &TenantId) -> HubError {
    HubError::Refused(Refused::UnknownTenant(UnknownTenant { tenant: tenant.clone() }))
}

fn nothing(noun: &'static str, name: &impl ToString) -> HubError {
    HubError::NotFound { noun, name: name.to_string() }
}

fn exists(noun: &'static str, name: &impl ToString) -> HubError {
    HubError::Exists { noun, name: name.to_string() }
}

fn of_app(name: &AppId, what: &str) -> String {
    format!("/apps/{name}{what}")
}

fn of_tenant(tenant: &TenantId, what: &str) -> String {
    format!("/tenants/{}{what}", segment(tenant.as_str()))
}

fn of_user(who: &str, what: &str) -> String {
    format!("/users/{}{what}", segment(who))
}

fn of_journal(what: Journal) -> &'static str {
    match what {
        Journal::Audit => "/audit/prune",
        Journal::Logs => "/logs/prune",
    }
}

impl Client {
    fn user(&self, who: &str) -> anyhow::Result<User> {
        self.ask(Ask::get(of_user(who, "")).or_missing(HubError::UnknownUser { email: who.to_owned() }))
    }

    fn tenant(&self, tenant: &TenantId) -> anyhow::Result<Tenant> {
        self.ask(Ask::get(of_tenant(tenant, "")).or_missing(nothing("tenant", tenant)))
    }

    /// All of a list, part by part.
    fn all<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let part = Ask::get(format!("{path}?limit={PART}&offset={}", all.len()));
            let Data { data } = self.ask::<Data<Vec<T>>>(part)?;
            let is_last = data.len() < PART;
            all.extend(data);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Has a job done, and waits for what comes of it.
    fn work<T: DeserializeOwned>(
        &self,
        name: &AppId,
        work: &str,
        body: Value,
        progress: &dyn Progress,
    ) -> anyhow::Result<T> {
        let start = Ask::post(of_app(name, &format!("/db/{work}")), body).or_missing(unknown_app(name));
        let Data { data } = self.ask::<Data<Value>>(start)?;
        // What takes little may be done already.
        let result = match data["id"].as_str() {
            Some(id) => self.awaited(id, progress)?,
            None => data,
        };
        Ok(serde_json::from_value(result)?)
    }

    fn awaited(&self, id: &str, progress: &dyn Progress) -> anyhow::Result<Value> {
        let mut steps = Steps::of(progress);
        steps.show(&format!("job {id} goes on in the server; `streamhub job cancel {id}` ends it"), None);
        let job = loop {
            let Data { data: job } = self.ask::<Data<Job>>(Ask::get(format!("/jobs/{id}")))?;
            if job.state.is_over() {
                break job;
            }
            // It goes on where this command is interrupted, and is found by its id.
            let step = if job.progress.step.is_empty() { "waiting" } else { &job.progress.step };
            steps.show(&format!("job {id}: {step}"), job.progress.percent);
            thread::sleep(LOOK_EVERY);
        };
        drop(steps);
        let Job { state, result, error, .. } = job;
        match (state, result, error) {
            // A check that found something has failed, and says what it found.
            (_, Some(result), _) => Ok(result),
            (JobState::Cancelled, None, None) => Err(HubError::Cancelled.into()),
            (_, None, error) => {
                let message = error.map_or_else(|| format!("the job {id} failed"), |error| error.message);
                Err(Refusal::failed(&message, "the server's log says more: `streamhub logs list`"))
            }
        }
    }

    fn pruned(&self, what: Journal, before: &Moment, is_dry: bool) -> anyhow::Result<Pruned> {
        self.ask(Ask::post(of_journal(what), json!({ "before": before, "dryRun": is_dry })))
    }
}

impl Admin for Client {
    fn create_app(&self, new: &NewApp) -> anyhow::Result<App> {
        let NewApp { name, tenant, display_name, room_prefix } = new;
        let body = json!({
            "name": name,
            "displayName": display_name,
            "roomPrefix": room_prefix,
            "tenantId": tenant,
        });
        let create = Ask::post("/apps", body).or_missing(unknown_tenant(tenant));
        self.ask(create.or_taken(name_taken(name)))
    }

    fn rename_app(&self, from: &AppId, to: &AppId) -> anyhow::Result<App> {
        let rename = Ask::post(of_app(from, "/rename"), json!({ "name": to }));
        self.ask(rename.or_missing(unknown_app(from)).or_taken(name_taken(to)))
    }

    fn delete_app(&self, name: &AppId) -> anyhow::Result<InTrash> {
        let delete = Ask::delete(of_app(name, "")).or_missing(unknown_app(name));
        self.ask(delete)
    }

    fn forget_app(&self, name: &AppId) -> anyhow::Result<()> {
        self.done(Ask::delete(of_app(name, "?lost=1")).or_missing(unknown_app(name)))
    }

    fn undelete_app(&self, name: &AppId) -> anyhow::Result<App> {
        let restore = Ask::post(format!("/trash/{name}/restore"), json!({}));
        self.ask(restore.or_missing(nothing("deleted app", name)).or_taken(name_taken(name)))
    }

    fn seal_app(&self, name: &AppId) -> anyhow::Result<Seal> {
        self.ask(Ask::post(of_app(name, "/seal"), json!({})).or_missing(unknown_app(name)))
    }

    fn adopt_app(&self, dir: &Path, adoption: &Adoption) -> anyhow::Result<Adopted> {
        // The server does not know where this command was given.
        let dir = path::absolute(dir)?;
        let body = json!({
            "dir": dir,
            "tenantId": adoption.tenant,
            "unsealed": matches!(adoption.proof, Proof::Word),
        });
        let missing = match &adoption.tenant {
            Some(tenant) => unknown_tenant(tenant),
            None => HubError::NoSource { path: dir.clone() },
        };
        // A large directory takes its time to be copied.
        let adopt = Ask::post("/system/adopt", body).or_missing(missing).until_over();
        self.ask(adopt).map_err(|error| {
            if Refusal::is(&error, Code::DestinationExists) || !self.is_on_this_machine() {
                return error;
            }
            // What is wrong with the directory shows from here too, and is said in full.
            Hub::survey_adoption(&dir, adoption.proof).map_or_else(Into::into, |()| error)
        })
    }

    fn health(&self, name: &AppId) -> anyhow::Result<Health> {
        let health = Ask::get(of_app(name, "/db/health")).or_missing(unknown_app(name));
        Ok(self.ask::<Data<Health>>(health)?.data)
    }

    fn optimize(&self, name: &AppId, force: bool, progress: &dyn Progress) -> anyhow::Result<Optimized> {
        self.work(name, "optimize", json!({ "force": force }), progress)
    }

    fn check(&self, name: &AppId, force: bool, progress: &dyn Progress) -> anyhow::Result<Checked> {
        self.work(name, "check", json!({ "force": force }), progress)
    }

    fn checkpoint(&self, name: &AppId, progress: &dyn Progress) -> anyhow::Result<Checkpointed> {
        self.work(name, "checkpoint", json!({}), progress)
    }

    fn purge(&self, name: &AppId, scope: Scope, progress: &dyn Progress) -> anyhow::Result<Purged> {
        self.work(name, "purge", json!({ "scope": scope, "confirm": true }), progress)
    }

    fn cancel_job(&self, id: &Uuid) -> anyhow::Result<Job> {
        let cancel = Ask::delete(format!("/jobs/{id}")).or_missing(nothing("job", id));
        Ok(self.ask::<Data<Job>>(cancel)?.data)
    }

    fn create_tenant(&self, id: &TenantId, details: &TenantChange) -> anyhow::Result<Tenant> {
        let TenantChange { name, plan } = details;
        let create = Ask::post("/tenants", json!({ "id": id, "name": name, "plan": plan }));
        self.ask(create.or_taken(exists("tenant", id)))
    }

    fn update_tenant(&self, id: &TenantId, change: &TenantChange) -> anyhow::Result<Tenant> {
        let update = Ask::patch(of_tenant(id, ""), json!(change));
        self.ask(update.or_missing(nothing("tenant", id)))
    }

    fn set_quotas(&self, tenant: &TenantId, change: &QuotaChange) -> anyhow::Result<Quotas> {
        let update = Ask::patch(of_tenant(tenant, ""), json!({ "quotas": change }));
        Ok(self.ask::<Limited>(update.or_missing(nothing("tenant", tenant)))?.quotas)
    }

    fn add_member(&self, tenant: &TenantId, user: &str, role: Role) -> anyhow::Result<Member> {
        self.tenant(tenant)?;
        let add = Ask::post(of_tenant(tenant, "/members"), json!({ "user": user, "role": role }));
        let unknown = HubError::UnknownUser { email: user.to_owned() };
        self.ask(add.or_missing(unknown).or_taken(exists("tenant member", &user)))
    }

    fn change_member(&self, tenant: &TenantId, user: &str, role: Role) -> anyhow::Result<Member> {
        self.tenant(tenant)?;
        let id = self.user(user)?.id;
        let path = of_tenant(tenant, &format!("/members/{}", segment(&id)));
        let change = Ask::patch(path, json!({ "role": role }));
        self.ask(change.or_missing(nothing("tenant member", &id)))
    }

    fn remove_member(&self, tenant: &TenantId, user: &str) -> anyhow::Result<Member> {
        self.tenant(tenant)?;
        let id = self.user(user)?.id;
        let members: Vec<Member> = self.all(&of_tenant(tenant, "/members"))?;
        let unknown = || nothing("tenant member", &id);
        let member = members.into_iter().find(|member| member.user_id == id).ok_or_else(unknown)?;
        let path = of_tenant(tenant, &format!("/members/{}", segment(&id)));
        self.done(Ask::delete(path).or_missing(unknown()))?;
        Ok(member)
    }

    fn create_user(&self, new: &NewPerson) -> anyhow::Result<User> {
        let NewPerson { email, name, password, is_superadmin } = new;
        let body = json!({
            "email": email.to_string(),
            "name": name,
            "password": password.reveal(),
            "isSuperadmin": is_superadmin,
        });
        self.ask(Ask::post("/users", body).or_taken(exists("user", email)))
    }

    fn set_user_status(&self, who: &str, status: UserStatus) -> anyhow::Result<User> {
        let User { id, email, .. } = self.user(who)?;
        let change = Ask::patch(of_user(&id, ""), json!({ "status": status }));
        self.ask(change.or_taken(HubError::LastSuperadmin { user: email.unwrap_or(id) }))
    }

    fn delete_user(&self, who: &str) -> anyhow::Result<User> {
        let user = self.user(who)?;
        let last = HubError::LastSuperadmin { user: user.email.as_ref().unwrap_or(&user.id).clone() };
        self.done(Ask::delete(of_user(&user.id, "")).or_taken(last))?;
        Ok(user)
    }

    fn reset_password(&self, email: &str, password: &NewPassword) -> anyhow::Result<(User, usize)> {
        let reset = Ask::post(of_user(email, "/password"), json!({ "password": password.reveal() }));
        let unknown = HubError::UnknownUser { email: email.to_owned() };
        let WasReset { user, sessions_ended } = self.ask(reset.or_missing(unknown))?;
        Ok((user, sessions_ended))
    }

    fn remove_second_factor(&self, who: &str) -> anyhow::Result<User> {
        let user = self.user(who)?;
        self.done(Ask::delete(of_user(&user.id, "/second-factor")))?;
        Ok(user)
    }

    fn create_token(&self, new: &Ticket) -> anyhow::Result<(i64, String)> {
        let Ticket { name, bearer, allowed_ips } = new;
        let (scope, app, tenant) = match bearer {
            Bearer::App(app) => (TokenScope::App, Some(app), None),
            Bearer::Tenant(tenant) => (TokenScope::Global, None, Some(tenant)),
            Bearer::Node(tenant) => (TokenScope::Node, None, Some(tenant)),
        };
        let body = json!({
            "name": name,
            "scope": scope,
            "app": app,
            "tenantId": tenant,
            "allowedIps": allowed_ips,
        });
        let missing = match bearer {
            Bearer::App(app) => HubError::UnknownApp { name: app.clone() },
            Bearer::Tenant(tenant) | Bearer::Node(tenant) => nothing("tenant", tenant),
        };
        let Made { id, token } = self.ask(Ask::post("/tokens", body).or_missing(missing))?;
        Ok((id, token))
    }

    fn revoke_token(&self, id: i64) -> anyhow::Result<String> {
        let all: Vec<Listed> = self.all("/tokens")?;
        let unknown = || nothing("token", &id);
        let token = all.into_iter().find(|token| token.id == id).ok_or_else(unknown)?;
        self.done(Ask::delete(format!("/tokens/{id}")).or_missing(unknown()))?;
        Ok(token.name)
    }

    fn create_node(&self, new: &NewNode) -> anyhow::Result<Node> {
        let NewNode { name, url, region } = new;
        let create = Ask::post("/cluster/nodes", json!({ "name": name, "url": url, "region": region }));
        self.ask(create.or_taken(exists("node", name)))
    }

    fn set_node_status(&self, which: &str, status: NodeStatus) -> anyhow::Result<Node> {
        let path = format!("/cluster/nodes/{}", segment(which));
        self.ask(Ask::patch(path, json!({ "status": status })).or_missing(nothing("node", &which)))
    }

    fn delete_node(&self, which: &str) -> anyhow::Result<Node> {
        let all: Vec<Node> = self.all("/cluster/nodes")?;
        let unknown = || nothing("node", &which);
        // The key counts before a name; whether a name is one node's only is the server's to say.
        let by_key = all.iter().find(|node| node.id == which);
        let node = by_key.or_else(|| all.iter().find(|node| node.name.as_deref() == Some(which)));
        let node = node.ok_or_else(unknown)?.clone();
        self.done(Ask::delete(format!("/cluster/nodes/{}", segment(which))).or_missing(unknown()))?;
        Ok(node)
    }

    fn count_before(&self, what: Journal, before: &Moment) -> anyhow::Result<u64> {
        Ok(self.pruned(what, before, true)?.entries)
    }

    fn prune(&self, what: Journal, before: &Moment, _: &dyn Progress) -> anyhow::Result<Pruned> {
        let mut all = self.pruned(what, before, false)?;
        // A server answers after a while, and goes on when it is asked again.
        while all.left > 0 {
            let Pruned { entries, bytes_given_back, .. } = all;
            all = self.pruned(what, before, false)?;
            all.entries += entries;
            all.bytes_given_back += bytes_given_back;
        }
        Ok(all)
    }
}
