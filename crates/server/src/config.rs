//! What a server takes from its clients, and how much of it.

use std::num::NonZeroU32;
use std::time::Duration;

use streamhub::allow_list::AllowList;
use streamhub::settings::{Entry, Origin, Settings};

/// The most bytes that a request's body may have.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// The most bytes that path and query may have together.
pub(crate) const MAX_URI: usize = 8 << 10;

/// The most bytes that names and values of a request's headers may have together.
pub(crate) const MAX_HEADERS: usize = 32 << 10;

/// The most bytes of a request's head. Beyond it nothing is read any more, so that the answer is one without
/// a body. That there are no more than 100 headers is seen to there too.
pub(crate) const MAX_HEAD: usize = 64 << 10;

/// What a server takes from its clients. The defaults are those of the [`Settings`].
///
/// ```
/// use streamhub_server::ServerConfig;
///
/// let config = ServerConfig { metrics_loopback: true, ..ServerConfig::default() };
/// assert_eq!((config.max_connections, config.max_requests), (1024, 256));
/// ```
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The proxies whose `X-Forwarded-For` is believed; default none.
    pub trusted_proxies: AllowList,
    /// How many connections are served at once; default 1024, and fewer where the process may open few files. A few
    /// more are told that they are too many.
    pub max_connections: usize,
    /// How many of them one address may have, an IPv6 network of 64 bits counting as one; default 256. Trusted proxies
    /// may have all.
    pub max_connections_per_peer: usize,
    /// How many requests are worked on at once; default 256. What is above that gets 503 `overloaded`.
    pub max_requests: usize,
    /// How long a request may take until its answer begins; default 60 s.
    pub request_timeout: Duration,
    /// How long a client may take to send a request's head; default 10 s.
    pub header_timeout: Duration,
    /// How long a connection may be open without a request, and a client may read nothing of its answer; default
    /// 75 s.
    pub idle_timeout: Duration,
    /// The origins whose web pages may ask from a browser; default none.
    pub cors_origins: Vec<Origin>,
    /// Whether clients on this machine get the metrics without a token; default no. A proxy on this machine that
    /// adds no header of its own makes everybody such a client.
    pub metrics_loopback: bool,
    /// The settings in effect, as `/system/settings` shows them; default none but defaults.
    pub settings: Vec<Entry>,
}

impl From<&Settings> for ServerConfig {
    fn from(settings: &Settings) -> Self {
        let count = |value: NonZeroU32| value.get() as usize;
        let seconds = |value: NonZeroU32| Duration::from_secs(value.get().into());
        Self {
            trusted_proxies: settings.trusted_proxies.value.clone(),
            max_connections: count(settings.max_connections.value),
            max_connections_per_peer: count(settings.max_connections_per_peer.value),
            max_requests: count(settings.max_requests.value),
            request_timeout: seconds(settings.request_timeout_seconds.value),
            header_timeout: seconds(settings.header_timeout_seconds.value),
            idle_timeout: seconds(settings.idle_timeout_seconds.value),
            cors_origins: settings.cors_origins.value.clone(),
            metrics_loopback: settings.metrics_loopback.value,
            settings: settings.entries(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::from(&Settings::defaults())
    }
}
