//! Requests that may be sent twice: what became of the first is found out before the second does anything.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use streamhub_control::audit::Recorded;
use streamhub_control::deeds::Outcome;
use streamhub_control::idempotency::{self, Asked, Key, Remembered};
use streamhub_engine::AppId;
use streamhub_engine::time::Moment;

use crate::error::{Kind, Result};
use crate::hub::Hub;

pub use streamhub_control::idempotency::Answer;

/// For how long it is known what became of a request.
const REMEMBERED: Duration = Duration::from_hours(24);

/// A request that may be sent twice.
#[derive(Clone, Debug)]
pub struct Repeatable {
    key: Key,
    asked: Asked,
}

/// What became of a request, when it is sent again.
#[derive(Debug)]
pub enum Recall {
    /// Nothing was done: it is carried out while the guard lives.
    Fresh(UnderWay),
    /// It was carried out, and this was the answer, for whoever may still see what it tells of.
    Answered(Recorded, Answer),
    /// It was carried out, and its answer did not get far enough to be kept.
    Done(Recorded),
    /// It was carried out, and what the audit told of it was removed.
    Forgotten,
    /// It is being carried out.
    UnderWay,
    /// The key was used for another request.
    Another,
}

/// The keys of requests that are being carried out.
#[derive(Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<HashSet<String>>>);

/// A request that is being carried out.
#[derive(Debug)]
pub struct UnderWay {
    key: String,
    all: Arc<Mutex<HashSet<String>>>,
}

impl Repeatable {
    /// A principal's request, by the key that it chose and a print of what it asks for.
    pub fn new(principal: &str, key: &str, print: &str) -> Self {
        let key = Key::new(principal, key);
        Self { asked: key.ask(print), key }
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }
}

/// A print of what is asked for: of these parts, in this order.
pub fn print(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&part.len().to_le_bytes()).update(part);
    }
    hasher.finalize().to_hex().to_string()
}

impl Hub {
    /// Whether the request for which this hub acts may be sent again.
    pub fn is_repeatable(&self) -> bool {
        self.actor.as_ref().is_some_and(|actor| actor.repeatable.is_some())
    }

    /// What became of the request for which this hub acts, if it was sent before; none where it cannot be
    /// repeated. The app is the one that it changes, where it does.
    pub fn recall(&self, app: Option<&AppId>) -> Result<Option<Recall>> {
        let Some(repeatable) = self.actor.as_ref().and_then(|actor| actor.repeatable.as_ref()) else {
            return Ok(None);
        };
        let Some(under_way) = self.shared.requests.enter(repeatable.key.print()) else {
            return Ok(Some(Recall::UnderWay));
        };
        let remembered = || self.read(|db| idempotency::recall(db, &repeatable.key));
        let mut found = remembered()?;
        // The app may be had alone for long, and need not be asked for what is known.
        if let Some(app) = app
            && !found.as_ref().is_some_and(is_settled)
        {
            self.tell(app)?;
            found = remembered()?;
        }
        let Some(found) = found else { return Ok(Some(Recall::Fresh(under_way))) };
        if found.asked != repeatable.asked {
            return Ok(Some(Recall::Another));
        }
        let Some(done) = found.done else { return Ok(Some(Recall::Forgotten)) };
        Ok(Some(match (done.entry.outcome.parse(), found.answer) {
            (Ok(Outcome::Done), Some(answer)) => Recall::Answered(done, answer),
            (Ok(Outcome::Done), None) => Recall::Done(done),
            // Upkeep finishes it, or takes it back.
            (Ok(Outcome::Begun), _) => Recall::UnderWay,
            _ => Recall::Fresh(under_way),
        }))
    }

    /// Keeps the answer to the request for which this hub acts, for whoever sends it again. The app is the one that
    /// the request changed, where it did: what was done to it has to be told first.
    pub fn keep_answer(&self, app: Option<&AppId>, answer: Answer) -> Result<()> {
        let Some(repeatable) = self.actor.as_ref().and_then(|actor| actor.repeatable.clone()) else {
            return Ok(());
        };
        let keep = move |hub: &Self| {
            let (key, answer) = (repeatable.key.clone(), answer.clone());
            hub.note_down(move |db| idempotency::keep_answer(db, &key, &answer))
        };
        if keep(self)? {
            return Ok(());
        }
        if let Some(app) = app {
            self.tell(app)?;
            if keep(self)? {
                return Ok(());
            }
        }
        tracing::debug!("an answer is not kept, since the audit tells nothing that it answers");
        Ok(())
    }

    /// Forgets what became of requests of long ago.
    pub(crate) fn prune_requests(&self) -> Result<()> {
        let before = Moment::now().before(REMEMBERED);
        self.in_chunks(idempotency::PRUNE_CHUNK, move |db| idempotency::prune(db, &before))
    }

    /// Has the control database told what an app's commits have to tell it.
    fn tell(&self, app: &AppId) -> Result<()> {
        match self.app(app) {
            Ok(lease) => self.tell_from(&lease),
            // What is not there has nothing left to ship.
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether nothing that an outbox may still hold says more of a request.
fn is_settled(found: &Remembered) -> bool {
    let outcome = found.done.as_ref().map(|done| done.entry.outcome.parse());
    matches!(outcome, None | Some(Ok(Outcome::Done | Outcome::Begun)))
}

impl Requests {
    /// None where the request is being carried out already.
    fn enter(&self, key: &str) -> Option<UnderWay> {
        let is_first = lock(&self.0).insert(key.to_owned());
        is_first.then(|| UnderWay { key: key.to_owned(), all: Arc::clone(&self.0) })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.key);
    }
}

fn lock(keys: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As an app's outbox carries it.
pub(crate) fn to_json(asked: &Asked) -> serde_json::Value {
    serde_json::to_value(asked).expect("three texts")
}

/// As it came out of an app's outbox; one that cannot be read counts as none.
pub(crate) fn from_json(json: serde_json::Value) -> Option<Asked> {
    serde_json::from_value(json).ok()
}
