//! The sessions that somebody has: shown, ended, and removed long after.

use std::time::Duration;

use streamhub_control::sessions::{self, Session};
use streamhub_control::{Connection, SqlResult, login_failures};
use streamhub_engine::time::Moment;

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;

/// For how long a session is still shown that has ended.
const SHOWN: Duration = Duration::from_hours(30 * 24);

impl Hub {
    /// A user's sessions, those that ended lately among them; those that began last before others.
    pub fn sessions(&self, user_id: &str) -> Result<Vec<Session>> {
        self.read(|db| sessions::list(db, user_id))
    }

    /// Ends the session in which this is asked for.
    pub fn log_out(&self, user_id: &str, session: &str) -> Result<()> {
        self.end_session("session.logout", user_id, session)
    }

    /// Ends one of a user's sessions. One that has ended stays so; another user's is not found.
    pub fn revoke_session(&self, user_id: &str, session: &str) -> Result<()> {
        self.end_session("session.revoke", user_id, session)
    }

    /// Ends a user's sessions, but for one that is to stay, and returns how many.
    pub fn revoke_sessions(&self, user_id: &str, except: Option<&str>) -> Result<usize> {
        let (user, except) = (user_id.to_owned(), except.map(str::to_owned));
        self.change(Deed::of("session.revoke-all").target(user_id), move |db, _| {
            sessions::revoke_all_of(db, &user, except.as_deref()).map(Ok::<_, HubError>)
        })
    }

    fn end_session(&self, action: &'static str, user_id: &str, session: &str) -> Result<()> {
        let (user, id) = (user_id.to_owned(), session.to_owned());
        self.change(Deed::of(action).target(session), move |db, _| {
            if sessions::get(db, &id)?.is_some_and(|session| session.user_id == user) {
                sessions::revoke(db, &id).map(|_| Ok(()))
            } else {
                Ok(Err(HubError::NotFound { noun: "session", name: id.clone() }))
            }
        })
    }

    /// Removes sessions that ended long ago, and attempts to log in that count no more.
    pub(crate) fn prune_sessions(&self) -> Result<()> {
        let (before, policy) = (Moment::now().before(SHOWN), self.shared.config.logins);
        self.in_chunks(sessions::PRUNE_CHUNK, move |db| sessions::prune(db, &before))?;
        self.in_chunks(login_failures::PRUNE_CHUNK, move |db| login_failures::prune(db, &policy))
    }

    pub(crate) fn in_chunks(
        &self,
        chunk: usize,
        prune: impl Fn(&Connection) -> SqlResult<usize> + Clone + Send + 'static,
    ) -> Result<()> {
        while self.note_down(prune.clone())? == chunk {}
        Ok(())
    }
}
