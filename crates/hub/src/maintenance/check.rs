//! Whether an app's database is whole, and the app's own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::judge::{self, Check};
use streamhub_engine::{AppId, Database, Error, Fault, Unfit};

use super::in_step;
use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::opener;
use crate::progress::Progress;

/// What a check found. What is damaged is a finding, and no failure of the check.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// let checked = hub.check(&"news-24".parse()?, &streamhub::progress::Silent)?;
/// assert!(checked.ok && checked.problems.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// The file, from the data directory.
    pub path: String,
    /// Whether nothing was found.
    pub ok: bool,
    /// What was found; of each step no more than the first hundred.
    pub problems: Vec<String>,
}

const STEPS: [&str; 3] = ["PRAGMA integrity_check", "PRAGMA foreign_key_check", "identity"];

/// Findings of one step.
const AT_MOST: usize = 100;

impl Hub {
    /// Looks through all of an app's database: whether it is whole, whether its rows refer to rows that are there,
    /// and whether it is the app's own. Changes nothing. Nobody else uses the app meanwhile, so that one which is
    /// out of service can be looked at too, and none has a `-wal` that grows until the check is over.
    pub fn check(&self, id: &AppId, progress: &dyn Progress) -> Result<Checked> {
        let _alone = self.alone(id)?;
        let registered = self.in_service(id)?;
        self.tell_first(id, Deed::of("db.check"))?;
        let path = self.data().app(id).db();
        let look = |looks: &dyn Fn(&Database) -> streamhub_engine::Result<Vec<String>>| {
            let db = Database::inspect(&path)?;
            let stop = progress.stop();
            db.stop_when(move || stop.is_asked())?;
            Ok(looks(&db)?)
        };
        let shown = self.data().shown(&path).display().to_string();
        let in_short =
            |error: &dyn std::fmt::Display| error.to_string().replace(&format!("{}: ", path.display()), "");
        let mut problems = Vec::new();
        for step in STEPS {
            let found = in_step(progress, step, None, || {
                let found = match step {
                    "identity" => opener::judge_own(&path, &registered).map(|_| Vec::new()),
                    "PRAGMA foreign_key_check" => look(&|db| judge::dangling(db, AT_MOST)),
                    _ => look(&|db| judge::damage(db, Check::Full, AT_MOST)),
                };
                found
                    .or_else(|error| if is_finding(&error) { Ok(vec![in_short(&error)]) } else { Err(error) })
            })?;
            problems.extend(found);
        }
        // A file that cannot be read at all has each step say so.
        problems.dedup();
        Ok(Checked { path: shown, ok: problems.is_empty(), problems })
    }

    /// As [`check`](Self::check), for async callers.
    pub async fn check_async(&self, id: &AppId, progress: impl Progress + Send + 'static) -> Result<Checked> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.check(&app, &progress)).await
    }
}

/// Whether what failed says something about the file, and not about the moment or the disk.
fn is_finding(error: &HubError) -> bool {
    match error {
        HubError::NotItsOwn { .. } => true,
        HubError::Engine(Error::Unfit { unfit, .. }) => {
            !matches!(unfit, Unfit::Held { .. } | Unfit::OpenHere)
        }
        HubError::Engine(error) => matches!(error.fault(), Fault::Corrupt | Fault::NotADatabase),
        _ => false,
    }
}
