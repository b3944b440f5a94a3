//! The hub's use cases as a library is asked for them: broken off, copied, crowded, and given bad input.

mod access;
mod copies;
mod crowd;
mod life;
mod logs;
mod refusals;
mod trouble;

use std::path::PathBuf;
use std::time::Duration;

use streamhub::apps::App;
use streamhub::progress::Silent;
use streamhub::streams::{self, Kind, NewStream};
use streamhub::{AppId, Hub, HubConfig, HubError, NewApp, TenantId, Volatile};
use streamhub_tests::files::scratch;
use tempfile::TempDir;

/// A place for data directories.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(scratch())
    }

    fn config(&self, name: &str) -> HubConfig {
        let mut config = HubConfig::new(self.path(name));
        config.volatile = Volatile::Permit;
        config.wait = Duration::from_millis(300);
        config
    }

    fn hub(&self, name: &str) -> Hub {
        Hub::open(&self.config(name), &Silent).expect("a hub")
    }

    fn path(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.0.path()).expect("a path without links").join(name)
    }

    /// A hub with these apps, each with a stream of its name.
    fn hub_with(&self, name: &str, apps: &[&str]) -> Hub {
        let hub = self.hub(name);
        for app in apps {
            created(&hub, app);
            start(&hub, app, app).expect("a stream");
        }
        hub
    }
}

fn id(name: &str) -> AppId {
    name.parse().expect("an app's name")
}

fn created(hub: &Hub, name: &str) -> App {
    hub.create(&NewApp::new(id(name), TenantId::platform())).expect("an app")
}

fn start(hub: &Hub, app: &str, stream: &str) -> Result<(), HubError> {
    let stream_id = stream.to_owned();
    let new = NewStream { app_id: 0, stream_id, kind: Kind::Rtmp, room: None, participant: None };
    hub.app(&id(app))?.start_stream(new).map(drop)
}

/// How many streams the app has.
fn streams_of(hub: &Hub, app: &str) -> Result<u64, HubError> {
    hub.app(&id(app))?.read(|tx| Ok(streams::list(tx, &streams::StreamFilter::default())?.total))
}
