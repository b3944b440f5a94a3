//! API tokens: what programs show instead of a password.
//!
//! A token is shown once, when it is made; the database keeps its hash, and no list shows even that.

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use schemars::JsonSchema;
use serde::Serialize;
use streamhub_engine::normalised;
use streamhub_engine::time::{self, Moment};

use crate::allow_list::AllowList;
use crate::page::{Page, Part, Query};
pub use crate::secret_token::{Token, TokenHash};
use crate::{TenantId, Within, apps, tenants};
use streamhub_engine::words;

/// What an API token begins with.
pub const PREFIX: &str = "sk_";

words! {
    /// How far a token reaches.
    pub enum TokenScope {
        /// All of its tenant's apps; the platform's reaches everything.
        Global = "global",
        /// One app.
        App = "app",
        /// A node of the cluster, for joining and heartbeats.
        Node = "node",
    }
}

/// What a token is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of its tenant's apps; the platform's reaches everything.
    Global,
    /// The app of this number.
    App(i64),
    /// A node of the cluster.
    Node,
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// A name for people.
    pub name: String,
    /// How far it reaches.
    pub reach: Reach,
    /// Whose it is.
    pub tenant: TenantId,
    /// From where it may be used.
    pub allowed_ips: AllowList,
}

/// One token, without its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiToken {
    /// Its number.
    pub id: i64,
    /// A name for people.
    pub name: String,
    /// How far it reaches.
    pub scope: TokenScope,
    /// Its app, where it reaches one only.
    pub app_id: Option<i64>,
    /// Whose it is. An older registry may not say, and then the token is good for nothing.
    pub tenant_id: Option<TenantId>,
    /// From where it may be used.
    pub allowed_ips: AllowList,
    /// When it was last used, give or take the time between two batches.
    pub last_used_at: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// Whether it has been revoked.
    pub revoked: bool,
}

/// Why no token was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCreated {
    /// There is no such tenant.
    #[error(transparent)]
    UnknownTenant(#[from] tenants::UnknownTenant),
    /// The tenant has no such app.
    #[error("the tenant has no app {app_id}")]
    UnknownApp {
        /// The app.
        app_id: i64,
    },
}

impl Reach {
    fn scope(self) -> TokenScope {
        match self {
            Self::Global => TokenScope::Global,
            Self::App(_) => TokenScope::App,
            Self::Node => TokenScope::Node,
        }
    }

    fn app_id(self) -> Option<i64> {
        match self {
            Self::App(id) => Some(id),
            Self::Global | Self::Node => None,
        }
    }
}

/// A token for one app is its owner's, whatever an older registry says.
const OWNER: &str = "CASE WHEN scope = 'app' AND apps.id IS NOT NULL THEN coalesce(apps.tenant_id, 'platform') \
    ELSE api_tokens.tenant_id END";

const FROM: &str = "api_tokens LEFT JOIN apps ON apps.id = app_id";

fn columns() -> String {
    format!(
        "api_tokens.id, api_tokens.name, scope, app_id, {OWNER}, allowed_ips_json, last_used_at, \
         api_tokens.created_at, revoked"
    )
}

fn select(which: &str) -> String {
    format!("SELECT {} FROM {FROM} {which}", columns())
}

/// Makes a token and returns its number and, for the only time, the token itself.
pub fn create(db: &Connection, new: &NewToken) -> Result<Result<(i64, Token), NotCreated>> {
    if !tenants::exists(db, &new.tenant)? {
        return Ok(Err(tenants::UnknownTenant { tenant: new.tenant.clone() }.into()));
    }
    if let Some(app_id) = new.reach.app_id() {
        let is_there =
            |app: apps::App| app.state != apps::AppState::Deleted && app.tenant_id == new.tenant.as_str();
        if !apps::by_id(db, app_id)?.is_some_and(is_there) {
            return Ok(Err(NotCreated::UnknownApp { app_id }));
        }
    }
    let token = Token::generate(PREFIX);
    let id = db.query_row(
        "INSERT INTO api_tokens (name, token_hash, scope, app_id, tenant_id, allowed_ips_json, created_at) \
         VALUES (:name, :hash, :scope, :app, :tenant, :allowed, :now) RETURNING id",
        named_params! {
            ":name": new.name,
            ":hash": token.hash(),
            ":scope": new.reach.scope(),
            ":app": new.reach.app_id(),
            ":tenant": new.tenant,
            ":allowed": new.allowed_ips.to_registry(),
            ":now": time::now(),
        },
        |row| row.get(0),
    )?;
    Ok(Ok((id, token)))
}

/// All tokens, by number.
pub fn list(db: &Connection) -> Result<Vec<ApiToken>> {
    db.prepare(&select("ORDER BY api_tokens.id"))?.query_map([], read)?.collect()
}

/// A page of the tokens of the tenants that somebody looks after, by number.
pub fn page(db: &Connection, within: &Within, page: Page) -> Result<Part<ApiToken>> {
    // Nobody's tokens are one app's.
    let from = format!("{FROM} WHERE {}", within.condition(OWNER, "NULL"));
    let query = Query { columns: &columns(), from: &from, order: "api_tokens.id" };
    query.page(db, page, &[(":within", within)], read)
}

/// A tenant's tokens, by number.
pub fn of_tenant(db: &Connection, tenant: &TenantId) -> Result<Vec<ApiToken>> {
    db.prepare(&select(&format!("WHERE {OWNER} = :tenant ORDER BY api_tokens.id")))?
        .query_map(named_params! { ":tenant": tenant }, read)?
        .collect()
}

/// The token of this number.
pub fn get(db: &Connection, id: i64) -> Result<Option<ApiToken>> {
    db.query_row(&select("WHERE api_tokens.id = :id"), named_params! { ":id": id }, read).optional()
}

/// The token that somebody offers; none where it is revoked, or where its app is deleted or gone.
pub fn by_hash(db: &Connection, hash: &TokenHash) -> Result<Option<ApiToken>> {
    db.prepare_cached(&by_hash_sql())?.query_row(named_params! { ":hash": hash }, read).optional()
}

/// Whether there is a node's token that is not revoked.
pub fn any_of_node(db: &Connection) -> Result<bool> {
    db.query_row("SELECT EXISTS (SELECT 1 FROM api_tokens WHERE scope = 'node' AND revoked = 0)", [], |row| {
        row.get(0)
    })
}

/// Revokes a token. Says whether that changed anything.
pub fn revoke(db: &Connection, id: i64) -> Result<bool> {
    db.execute(
        "UPDATE api_tokens SET revoked = 1 WHERE id = :id AND revoked = 0",
        named_params! { ":id": id },
    )
    .map(|revoked| revoked == 1)
}

/// Records when tokens were last used, many in one transaction; no record goes back in time.
pub fn touch<'a>(db: &Connection, used: impl IntoIterator<Item = (i64, &'a Moment)>) -> Result<()> {
    let mut touch = db.prepare_cached(concat!(
        "UPDATE api_tokens SET last_used_at = :at WHERE id = :id AND (last_used_at IS NULL OR ",
        normalised!("last_used_at"),
        " < :at)"
    ))?;
    for (id, at) in used {
        touch.execute(named_params! { ":id": id, ":at": at })?;
    }
    Ok(())
}

fn by_hash_sql() -> String {
    select(
        "WHERE token_hash = :hash AND revoked = 0 AND (scope <> 'app' OR apps.state <> 'deleted') \
         ORDER BY api_tokens.id LIMIT 1",
    )
}

fn read(row: &Row<'_>) -> Result<ApiToken> {
    Ok(ApiToken {
        id: row.get(0)?,
        name: row.get(1)?,
        scope: row.get(2)?,
        app_id: row.get(3)?,
        tenant_id: row.get(4)?,
        allowed_ips: AllowList::from_registry(row.get::<_, Option<String>>(5)?.as_deref()),
        last_used_at: row.get(6)?,
        created_at: row.get(7)?,
        revoked: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{app, app_id, database, plan, tenant};
    use crate::quotas::Enforcement;

    fn new(name: &str, reach: Reach, tenant: &TenantId) -> NewToken {
        let allowed_ips = AllowList::only(&["10.0.0.0/8"]).unwrap();
        NewToken { name: name.to_owned(), reach, tenant: tenant.clone(), allowed_ips }
    }

    #[test]
    fn a_token_works_from_its_making_to_its_revocation() {
        let db = database();
        let acme = tenant(&db, "acme");
        let (id, token) = create(&db, &new("ci", Reach::Global, &acme)).unwrap().unwrap();
        let found = by_hash(&db, &TokenHash::of(token.reveal())).unwrap().unwrap();
        assert_eq!((found.id, found.scope, &found.tenant_id), (id, TokenScope::Global, &Some(acme.clone())));
        assert!(!found.allowed_ips.permits(None));
        assert_eq!(get(&db, id).unwrap(), Some(found.clone()));
        assert_eq!(of_tenant(&db, &acme).unwrap(), list(&db).unwrap());
        assert_eq!(list(&db).unwrap(), [found]);
        assert_eq!(of_tenant(&db, &TenantId::platform()).unwrap(), []);
        assert!(!serde_json::to_string(&list(&db).unwrap()).unwrap().contains(token.hash().as_str()));
        assert_eq!(by_hash(&db, &TokenHash::of("sk_other")).unwrap(), None);

        assert!(revoke(&db, id).unwrap());
        assert!(!revoke(&db, id).unwrap());
        assert!(!revoke(&db, 404).unwrap());
        assert_eq!(by_hash(&db, &token.hash()).unwrap(), None);
        assert!(get(&db, id).unwrap().unwrap().revoked);
    }

    #[test]
    fn an_apps_token_sleeps_while_the_app_is_deleted() {
        let db = database();
        let acme = tenant(&db, "acme");
        let one = app(&db, "one", &acme);
        let (_, token) = create(&db, &new("ci", Reach::App(one), &acme)).unwrap().unwrap();
        let works = || by_hash(&db, &token.hash()).unwrap().is_some();
        assert!(works());
        apps::mark_deleting(&db, one).unwrap().unwrap();
        apps::mark_deleted(&db, one, &"one-1".parse().unwrap()).unwrap().unwrap();
        assert!(!works());
        assert!(create(&db, &new("ci", Reach::App(one), &acme)).unwrap().is_err());
        apps::begin_undelete(&db, &app_id("one"), &Within::Everything, Enforcement::On).unwrap().unwrap();
        apps::finish_undelete(&db, one).unwrap().unwrap();
        assert!(works());
        // Another system's token without an app reaches none.
        db.execute("UPDATE api_tokens SET app_id = NULL", []).unwrap();
        assert!(!works());
    }

    #[test]
    fn a_token_needs_its_tenant_and_the_tenants_own_app() {
        let db = database();
        let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
        let one = app(&db, "one", &acme);
        let refused = |reach, tenant: &TenantId| create(&db, &new("ci", reach, tenant)).unwrap().unwrap_err();
        assert_eq!(refused(Reach::App(one), &zeta), NotCreated::UnknownApp { app_id: one });
        assert_eq!(refused(Reach::App(404), &acme), NotCreated::UnknownApp { app_id: 404 });
        let nobody = "nobody".parse().unwrap();
        assert!(matches!(refused(Reach::Node, &nobody), NotCreated::UnknownTenant(_)));
        assert_eq!(list(&db).unwrap(), []);
    }

    #[test]
    fn the_last_use_never_goes_back() {
        let db = database();
        let (id, _) = create(&db, &new("ci", Reach::Node, &TenantId::platform())).unwrap().unwrap();
        let last = || get(&db, id).unwrap().unwrap().last_used_at.unwrap();
        let [earlier, exactly, later] = ["52.999", "53.000", "53.001"]
            .map(|second| format!("2026-11-21T03:54:{second}Z").parse::<Moment>().unwrap());
        touch(&db, [(id, &exactly), (404, &exactly)]).unwrap();
        assert_eq!(last(), exactly.as_str());
        // As an older system wrote it.
        db.execute("UPDATE api_tokens SET last_used_at = '2026-11-21 03:54:53'", []).unwrap();
        touch(&db, [(id, &earlier)]).unwrap();
        assert_eq!(last(), "2026-11-21 03:54:53");
        touch(&db, [(id, &later), (id, &earlier)]).unwrap();
        assert_eq!(last(), later.as_str());
    }

    #[test]
    fn a_token_is_found_by_two_indices() {
        let plan = plan(&database(), &by_hash_sql());
        assert!(plan.contains("_streamhub_api_tokens_by_hash") && !plan.contains("SCAN"), "{plan}");
    }

    #[test]
    fn a_token_for_one_app_is_its_owners_whatever_an_older_registry_says() {
        let db = database();
        let acme = tenant(&db, "acme");
        let app = app(&db, "one", &acme);
        let older = "INSERT INTO api_tokens (name, token_hash, scope, app_id) VALUES ('old', 'x', 'app', ?1)";
        db.execute(older, [app]).unwrap();
        let of = |tenant: &TenantId| of_tenant(&db, tenant).unwrap().len();
        assert_eq!((of(&acme), of(&TenantId::platform())), (1, 0));
        assert_eq!(list(&db).unwrap()[0].tenant_id, Some(acme));
    }
}
