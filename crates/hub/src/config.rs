//! How a hub is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use streamhub_control::login_failures::Policy;
use streamhub_control::quotas::Enforcement;
use streamhub_engine::cache::Cost;
use streamhub_engine::database_url::ControlPlace;
use streamhub_engine::filesystem::Volatile;
use streamhub_engine::live::Limits;
use streamhub_engine::observe::{Observer, Unobserved};

use crate::legacy::LegacySource;
use crate::logs::LogSink;
use crate::retention::Retention;

/// How a hub is opened. Every field has a default that serves.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use std::time::Duration;
/// use streamhub::{Hub, HubConfig, Limits, LiveStreams, progress::Silent};
///
/// let mut config = HubConfig::new(dir.path().join("data"));
/// # config.volatile = streamhub::Volatile::Permit;
/// config.idle = Duration::from_secs(30);
/// config.limits = Limits { connections: 2, ..Limits::default() };
/// config.live_streams = LiveStreams::Keep;
/// Hub::open(&config, &Silent)?.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HubConfig {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Where the control database lies, if not in the data directory.
    pub control: Option<ControlPlace>,
    /// Whether a missing data directory is created; default yes.
    pub may_create: bool,
    /// Whether the data may lie on a memory filesystem; default no.
    pub volatile: Volatile,
    /// Who takes older data over; default nobody.
    pub legacy: Option<Arc<dyn LegacySource>>,
    /// Connections and file descriptors that the apps' databases may have open at the same time;
    /// default half of the process's file descriptors.
    pub budget: Cost,
    /// How long a caller waits for an app before it is told `Busy`; default 5 s.
    pub wait: Duration,
    /// How much one app's database may take.
    pub limits: Limits,
    /// An app that nobody has used for this long, or up to twice as long, is closed; default 60 s.
    pub idle: Duration,
    /// Whether a thread of the hub looks after its apps: settles what the process before left behind, closes
    /// what is idle, ships outboxes, prunes; default yes. Without it all that waits for another opening.
    pub upkeep: bool,
    /// What becomes of streams that were live when the process ended; default: they are ended.
    pub live_streams: LiveStreams,
    /// What becomes of tenants whose quotas are used up; default: they get no more.
    pub quotas: Enforcement,
    /// What becomes of directories that appear among the apps; default: they are reported.
    pub appearing: Appearing,
    /// A graceful stop seals the apps that were used, if their databases are no larger than this; default 64 MiB.
    pub seal_up_to: u64,
    /// How long the trash and copies from before a migration are kept; default 30 and 7 days.
    pub keep: Keep,
    /// How long the audit and the logs are kept; default 400 and 30 days.
    pub retention: Retention,
    /// What is logged goes into the control database through this; default it does not.
    pub logs: Option<LogSink>,
    /// How many attempts to log in there may be; default 10 per account and 50 per address in 15 minutes.
    pub logins: Policy,
    /// A refused login is answered so long after it began, or at the next multiple of that, so that the time does not
    /// tell what its password was compared with; default 500 ms, several times what a comparison takes, and little
    /// to somebody who mistyped. Zero answers at once.
    pub refusal_step: Duration,
    /// How long a session lasts; default 7 days.
    pub session_lifetime: Duration,
    /// Who is told what the live core does; default nobody.
    pub observer: Arc<dyn Observer>,
    /// Who is told what the control database's writer does; default nobody.
    pub control_observer: Arc<dyn Observer>,
}

/// How long what is kept for a way back is kept.
///
/// ```
/// use std::time::Duration;
/// use streamhub::{HubConfig, Keep};
///
/// let mut config = HubConfig::new("data");
/// config.keep = Keep { trash: Duration::from_hours(24), ..config.keep };
/// assert_eq!(config.keep.pre_migrate, Duration::from_hours(7 * 24));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Deleted apps.
    pub trash: Duration,
    /// Copies of databases from before their schema changed; those of apps that did not serve since are kept
    /// longer.
    pub pre_migrate: Duration,
}

/// What becomes of streams that were live when the process ended.
///
/// ```
/// # let (dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::streams::{self, NewStream};
/// use streamhub::{Hub, HubConfig, HubError, LiveStreams, progress::Silent};
///
/// let app = hub.app(&"news-24".parse()?)?;
/// app.start_stream(NewStream::named("live/cam", streams::Kind::Rtmp))?;
/// drop(app);
/// hub.close()?;
///
/// let mut config = HubConfig::new(dir.path().join("data"));
/// # config.volatile = streamhub::Volatile::Permit;
/// config.live_streams = LiveStreams::Keep;
/// let hub = Hub::open(&config, &Silent)?;
/// let app = hub.app(&"news-24".parse()?)?;
/// assert_eq!(app.read(|tx| Ok::<_, HubError>(streams::count_active(tx)?))?, 1);
///
/// // The media server says what it still serves; the others are ended.
/// assert_eq!(app.reconcile_streams(vec![])?, ["live/cam"]);
/// # drop(app);
/// # hub.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStreams {
    /// The media server is in this process, so they ended with it.
    End,
    /// The media server is elsewhere and goes on; whoever embeds the hub reconciles.
    Keep,
}

/// What becomes of directories that appear among the apps and that the registry does not know.
/// They are looked for once, soon after the hub was opened.
///
/// ```
/// use streamhub::{Appearing, HubConfig};
///
/// let mut config = HubConfig::new("data");
/// assert_eq!(config.appearing, Appearing::Report);
/// config.appearing = Appearing::AdoptSealed;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appearing {
    /// They are reported, and a person decides.
    Report,
    /// Sealed ones whose tenant is registered are adopted.
    AdoptSealed,
}

impl HubConfig {
    /// The defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            data_dir: data_dir.into(),
            control: None,
            may_create: true,
            volatile: Volatile::Refuse,
            legacy: None,
            budget: Cost::of_process(),
            wait: Duration::from_secs(5),
            limits: Limits::default(),
            idle: Duration::from_mins(1),
            upkeep: true,
            live_streams: LiveStreams::End,
            quotas: Enforcement::On,
            appearing: Appearing::Report,
            seal_up_to: 64 << 20,
            keep: Keep { trash: 30 * DAY, pre_migrate: 7 * DAY },
            retention: Retention::default(),
            logs: None,
            logins: Policy::default(),
            refusal_step: Duration::from_millis(500),
            session_lifetime: 7 * DAY,
            observer: Arc::new(Unobserved),
            control_observer: Arc::new(Unobserved),
        }
    }
}

impl std::fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig")
            .field("data_dir", &self.data_dir)
            .field("control", &self.control)
            .field("may_create", &self.may_create)
            .field("volatile", &self.volatile)
            .field("legacy", &self.legacy.is_some())
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
