//! How large the databases are, by what the directories say: none is opened.

use schemars::JsonSchema;
use serde::Serialize;
use streamhub_control::apps::App;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{AppId, DataDir};

use crate::error::Result;
use crate::hub::Hub;
use crate::status::bytes;

/// How large an app's database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppSize {
    /// The app's name.
    pub app: String,
    /// Whose it is.
    pub tenant_id: String,
    /// Bytes of the database.
    pub size_bytes: u64,
    /// Bytes of its `-wal`.
    pub wal_size_bytes: u64,
}

impl Hub {
    /// How large each registered app's database is, the largest first.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// let sizes = hub.sizes()?;
    /// assert_eq!((sizes.len(), &*sizes[0].app), (1, "news-24"));
    /// assert!(sizes[0].size_bytes > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sizes(&self) -> Result<Vec<AppSize>> {
        let mut sizes: Vec<_> = self.apps()?.iter().map(|app| size_of(self.data(), app)).collect();
        sizes.sort_by_key(|size| std::cmp::Reverse(size.size_bytes));
        Ok(sizes)
    }
}

/// How large an app's database is.
pub(crate) fn size_of(data: &DataDir, app: &App) -> AppSize {
    // A name of an older registry that is no app's name has no directory.
    let db = app.name.parse::<AppId>().ok().map(|id| data.app(&id).db());
    AppSize {
        size_bytes: db.as_deref().map_or(0, bytes),
        wal_size_bytes: db.map_or(0, |db| bytes(&sidecar(&db, "-wal"))),
        app: app.name.clone(),
        tenant_id: app.tenant_id.clone(),
    }
}
