//! Who carries out what is to be changed: this process with the library, or a server.
//!
//! The lock on the data directory decides. A server that is not ready yet is waited for.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use streamhub::progress::Silent;
use streamhub::{Actor, DataDir, Hub, HubConfig, HubError};

use crate::admin::Admin;
use crate::context::Context;
use crate::exit::Code;
use crate::http::{Client, Standing};
use crate::server::Server;

/// How long a server that opens its databases is waited for.
const NOT_READY: Duration = Duration::from_secs(30);

/// How long a server is waited for that has the data directory and does not answer, since it may be about to end
/// or begin.
const UNREACHABLE: Duration = Duration::from_secs(2);

/// How long until that is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// What becomes of a data directory that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is a missing source.
    Refused,
    /// It is made.
    Created,
}

enum Reached {
    Library(Hub),
    Server(Box<Client>),
    NotYet { patience: Duration, error: anyhow::Error },
}

impl Context {
    /// Has something changed: by the server that was named, else here with the library, which takes nothing over,
    /// and where a server has the data directory in use, by that one. The errand prints what was done, so that
    /// what is shown once is shown even where the closing fails.
    pub(crate) fn administrate(
        &self,
        missing: Missing,
        errand: impl FnOnce(&dyn Admin) -> anyhow::Result<()>,
    ) -> anyhow::Result<Code> {
        let since = Instant::now();
        let mut is_first = true;
        loop {
            match self.reach(missing, is_first)? {
                Reached::Library(hub) => {
                    let done = errand(&hub);
                    let closed = hub.close();
                    done?;
                    closed?;
                }
                Reached::Server(client) => errand(&*client)?,
                Reached::NotYet { patience, .. } if since.elapsed() < patience => {
                    is_first = false;
                    thread::sleep(AGAIN);
                    continue;
                }
                Reached::NotYet { error, .. } => return Err(error),
            }
            return Ok(Code::Done);
        }
    }

    fn reach(&self, missing: Missing, is_first: bool) -> anyhow::Result<Reached> {
        if let Some(server) = self.server()? {
            return match reached(server)? {
                Reached::NotYet { patience: UNREACHABLE, error } => Err(error),
                reached => Ok(reached),
            };
        }
        let config = HubConfig { may_create: missing == Missing::Created, ..self.config() };
        let in_use = match Hub::open(&config, &Silent) {
            Ok(hub) => return Ok(Reached::Library(hub.acting(Actor::new(this_user())))),
            Err(in_use @ HubError::InUse { .. }) => in_use.into(),
            Err(error) => return Err(error.into()),
        };
        let file = DataDir::open(&config.data_dir).map_err(HubError::Engine)?.server_file();
        match Server::announced(&file)? {
            // Nobody who could be asked, as a media server that embeds the library.
            None if is_first => Err(in_use),
            None => Ok(Reached::NotYet { patience: NOT_READY, error: in_use }),
            Some(server) => match reached(server)? {
                // A server that became ready meanwhile has written down another token.
                Reached::Server(_) => match Server::announced(&file)? {
                    Some(server) => Ok(Reached::Server(Box::new(Client::new(server)))),
                    None => Ok(Reached::NotYet { patience: NOT_READY, error: in_use }),
                },
                not_yet => Ok(not_yet),
            },
        }
    }
}

fn reached(server: Server) -> anyhow::Result<Reached> {
    let client = Client::new(server);
    Ok(match client.standing()? {
        Standing::Ready => Reached::Server(Box::new(client)),
        Standing::NotReady(error) => Reached::NotYet { patience: NOT_READY, error },
        Standing::Unreachable(error) => Reached::NotYet { patience: UNREACHABLE, error },
    })
}

/// Who gives this command, as the audit names it.
fn this_user() -> String {
    Path::new("/proc/self")
        .metadata()
        .map_or_else(|_| "cli".to_owned(), |process| format!("cli:{}", process.uid()))
}
