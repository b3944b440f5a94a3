//! What somebody sees of what belongs to apps and tenants, as a condition of a statement.

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Error, Result, ToSql};

use crate::TenantId;
use crate::apps::App;

/// Whose apps, and what belongs to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    /// Everybody's.
    Everything,
    /// Those of these tenants.
    Tenants(Vec<TenantId>),
    /// The app of this number alone.
    App(i64),
}

impl Within {
    /// Whether that reaches an app.
    pub fn has(&self, app: &App) -> bool {
        match self {
            Self::Everything => true,
            Self::Tenants(tenants) => tenants.iter().any(|tenant| tenant.as_str() == app.tenant_id),
            Self::App(only) => *only == app.id,
        }
    }

    /// The condition that a row of `apps` is among that; it has the parameter `:within`, which is this.
    pub(crate) fn apps(&self) -> String {
        match self {
            // Two ranges of an index.
            Self::Tenants(_) => format!(
                "({} OR (apps.tenant_id IS NULL AND 'platform' IN (SELECT value FROM json_each(:within))))",
                self.condition("apps.tenant_id", "apps.id")
            ),
            Self::Everything | Self::App(_) => self.condition("apps.tenant_id", "apps.id"),
        }
    }

    /// The condition that a row is among that, by what says whose it is and which app's. It has one parameter,
    /// `:within`, which is this.
    pub(crate) fn condition(&self, tenant: &str, app: &str) -> String {
        match self {
            Self::Everything => ":within IS NULL".to_owned(),
            Self::Tenants(_) => format!("{tenant} IN (SELECT value FROM json_each(:within))"),
            Self::App(_) => format!("{app} = :within"),
        }
    }
}

impl ToSql for Within {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Everything => Value::Null,
            Self::Tenants(tenants) => serde_json::to_string(tenants)
                .map(Value::Text)
                .map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))?,
            Self::App(only) => Value::Integer(*only),
        };
        Ok(ToSqlOutput::Owned(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{app, app_without_tenant, database, plan, tenant};

    #[test]
    fn a_condition_says_the_same_as_the_program() {
        let db = database();
        let (acme, zeta) = (tenant(&db, "acme"), tenant(&db, "zeta"));
        let one = app(&db, "one", &acme);
        app(&db, "two", &zeta);
        app_without_tenant(&db, "old");
        let all = crate::apps::list(&db).unwrap();
        for (within, expected) in [
            (Within::Everything, 3),
            (Within::Tenants(vec![acme.clone()]), 1),
            (Within::Tenants(vec![acme, zeta]), 2),
            (Within::Tenants(vec![TenantId::platform()]), 1),
            (Within::Tenants(vec![]), 0),
            (Within::App(one), 1),
        ] {
            let sql = format!("SELECT id FROM apps WHERE {} ORDER BY name", within.apps());
            let mut statement = db.prepare(&sql).unwrap();
            let ids = statement.query_map([&within], |row| row.get(0)).unwrap();
            let ids: Vec<i64> = ids.collect::<Result<_>>().unwrap();
            let model: Vec<i64> = all.iter().filter(|app| within.has(app)).map(|app| app.id).collect();
            assert_eq!((ids.len(), &ids), (expected, &model), "{within:?}");
        }
    }

    #[test]
    fn the_apps_of_tenants_are_found_by_an_index() {
        let db = database();
        let plan = plan(&db, &format!("SELECT id FROM apps WHERE {}", Within::Tenants(vec![]).apps()));
        assert_eq!(plan.matches("_streamhub_apps_by_tenant (tenant_id=?)").count(), 2, "{plan}");
        assert!(!plan.contains("SCAN apps"), "{plan}");
    }
}
