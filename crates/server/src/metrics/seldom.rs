//! Figures that cost many looks at the disk or the registry: they are taken at most once a minute, whoever asks.
//!
//! A disk that does not answer costs these figures and one thread, and none of the others.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use streamhub::Hub;
use tokio::sync::Semaphore;

use super::momentary::Figures;
use crate::service::Service;

/// How old they get.
const AGE: Duration = Duration::from_mins(1);

/// How long somebody who asks waits for them to be taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many apps have figures of their own.
const LARGEST: usize = 20;

/// What was found when it was last looked, and when that was.
#[derive(Debug)]
pub(super) struct Seldom {
    latest: RwLock<Option<(Instant, Arc<str>)>>,
    /// Whoever looks has it.
    one: Arc<Semaphore>,
}

impl Default for Seldom {
    fn default() -> Self {
        Self { latest: RwLock::default(), one: Arc::new(Semaphore::new(1)) }
    }
}

impl Seldom {
    /// The latest figures, taken anew where they are old and nobody does that yet; nothing before there are any.
    pub(super) async fn text(&self, service: &Service) -> Arc<str> {
        let latest = self.latest();
        let is_old = latest.as_ref().is_none_or(|(taken, _)| taken.elapsed() >= AGE);
        if is_old && let (Ok(hub), Ok(one)) = (service.hub(), Arc::clone(&self.one).try_acquire_owned()) {
            let service = service.clone();
            let looking = tokio::task::spawn_blocking(move || {
                let _one = one;
                let found = Some((Instant::now(), look(&hub).into()));
                let latest = &service.metrics().seldom.latest;
                *latest.write().unwrap_or_else(PoisonError::into_inner) = found;
            });
            // The look goes on by itself, for whoever asks next.
            let _ = tokio::time::timeout(PATIENCE, looking).await;
        }
        self.latest().map(|(_, text)| text).unwrap_or_default()
    }

    fn latest(&self) -> Option<(Instant, Arc<str>)> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where the registry cannot be read its figures are missing, which an alert can be about.
fn look(hub: &Hub) -> String {
    let mut figures = Figures::new();
    if let Ok(sizes) = hub.sizes() {
        let sum = |of: fn(&streamhub::AppSize) -> u64| sizes.iter().map(of).sum();
        figures.gauge("apps_database_bytes", "Databases of all apps", sum(|app| app.size_bytes));
        figures.gauge("apps_wal_bytes", "What is not yet copied into them", sum(|app| app.wal_size_bytes));
        let largest = &sizes[..sizes.len().min(LARGEST)];
        let each =
            |of: fn(&streamhub::AppSize) -> u64| largest.iter().map(move |app| (app.app.clone(), of(app)));
        figures.labelled("app_database_bytes", "The largest databases", "app", each(|app| app.size_bytes));
        figures.labelled(
            "app_wal_bytes",
            "What is not yet copied into them",
            "app",
            each(|app| app.wal_size_bytes),
        );
    }
    if let Ok(above) = hub.registry().tenants_above_quotas() {
        let above = above.into_iter().map(|(metric, tenants)| (metric.to_string(), tenants));
        figures.labelled("tenants_above_quota", "Tenants that have more than they may have", "metric", above);
    }
    figures.text()
}
