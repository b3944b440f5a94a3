//! Passwords are hashed by few at a time.
//!
//! A hash takes tens of milliseconds of a core and many megabytes, on purpose. So as many are computed at once
//! as there are cores, less one for everything else; a bounded number of callers wait in line, and the others
//! are told to come back. An async caller waits without a thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use streamhub_control::password::{Password, PasswordHash, Verdict};
use streamhub_engine::live::Busy;
use tokio::sync::Semaphore;
use tokio::task::coop;

use crate::error::{HubError, Result};
use crate::hub::Hub;

/// How many may wait in line.
const LONGEST_LINE: usize = 128;

/// Who hashes, who waits for it, and how much was hashed.
#[derive(Debug)]
pub(crate) struct Hashing {
    permits: Arc<Semaphore>,
    line: Arc<AtomicUsize>,
    computed: AtomicU64,
}

/// The right to hash, for as long as the work lasts that it was given to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher<'a>(&'a Hashing);

/// A place in the line.
struct Place(Arc<AtomicUsize>);

impl Default for Hashing {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let permits = Arc::new(Semaphore::new((cores - 1).max(1)));
        Self { permits, line: Arc::default(), computed: AtomicU64::new(0) }
    }
}

impl Hashing {
    /// Leaves one permit to others for as long as this is held.
    #[cfg(test)]
    pub(super) fn all_but_one(&self) -> impl Drop + '_ {
        let all = u32::try_from(self.permits.available_permits()).unwrap();
        self.permits.try_acquire_many(all - 1).unwrap()
    }

    fn stand_in_line(&self) -> Result<Place> {
        let place = Place(Arc::clone(&self.line));
        if self.line.fetch_add(1, Ordering::Relaxed) < LONGEST_LINE {
            Ok(place)
        } else {
            Err(HubError::Busy { what: "hashing passwords".to_owned(), reason: Busy::Crowded })
        }
    }
}

impl Hasher<'_> {
    /// As [`Password::verify`].
    pub(crate) fn verify(self, password: &Password, stored: Option<&PasswordHash>) -> Verdict {
        self.count();
        password.verify(stored)
    }

    /// As [`Password::hash`].
    pub(crate) fn hash(self, password: &Password) -> PasswordHash {
        self.count();
        password.hash().expect("argon2id takes a password of any length that fits into a request")
    }

    fn count(self) {
        self.0.computed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Hub {
    /// Hashes a new password, when its turn comes. Blocks for tens of milliseconds and more.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::password::Password;
    /// use streamhub::users::NewUser;
    ///
    /// let password = hub.hash_password(&Password::chosen("correct horse battery".to_owned())?)?;
    /// let email = "anna@example.org".parse()?;
    /// hub.create_user(&NewUser { email, name: None, password: Some(password), is_superadmin: false })?;
    /// assert_eq!(hub.password_hashes(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash_password(&self, password: &Password) -> Result<PasswordHash> {
        self.hashing(|hasher| Ok(hasher.hash(password)))
    }

    /// As [`hash_password`](Self::hash_password), for async callers.
    pub async fn hash_password_async(&self, password: Password) -> Result<PasswordHash> {
        self.hashing_async(move |_, hasher| Ok(hasher.hash(&password))).await
    }

    /// How many passwords were hashed since the hub was opened, new ones and those that were verified.
    pub fn password_hashes(&self) -> u64 {
        self.shared.hashing.computed.load(Ordering::Relaxed)
    }

    /// Does what needs a password hashed, when its turn comes.
    pub(crate) fn hashing<T, E: From<HubError>>(
        &self,
        work: impl FnOnce(Hasher<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let hashing = &self.shared.hashing;
        let place = hashing.stand_in_line()?;
        let _permit = block_on(hashing.permits.acquire()).map_err(|_| HubError::Closed)?;
        drop(place);
        work(Hasher(hashing))
    }

    /// As [`hashing`](Self::hashing), for async callers. Work that was begun goes on when the caller gives up.
    pub(crate) async fn hashing_async<T: Send + 'static, E: From<HubError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Self, Hasher<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let hub = self.clone();
        let place = hub.shared.hashing.stand_in_line()?;
        let work = move || {
            drop(place);
            work(&hub, Hasher(&hub.shared.hashing))
        };
        self.shared.services.blocking.run(&self.shared.hashing.permits, work).await?
    }
}

/// Waits on this thread, which need not be of any runtime. One of a runtime is not asked to let other tasks at it
/// first, since it would wait here for its own answer.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut work = pin!(coop::unconstrained(work));
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::progress::Silent;
    use crate::{HubConfig, Kind, Volatile};

    #[tokio::test]
    async fn a_bounded_number_waits_and_the_others_are_told_to_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data"));
        config.volatile = Volatile::Permit;
        // Nothing else is at work, and no thread is waited for when the hub goes on the runtime's own.
        config.upkeep = false;
        let hub = tokio::task::spawn_blocking(move || Hub::open(&config, &Silent).unwrap()).await.unwrap();
        let hash = || hub.hash_password_async(Password::generate().0);
        let permits = &hub.shared.hashing.permits;
        let all = u32::try_from(permits.available_permits()).unwrap();
        let at_work = permits.acquire_many(all).await.unwrap();

        let mut line: Vec<_> = (0..=LONGEST_LINE).map(|_| Box::pin(hash())).collect();
        let mut answers = Vec::new();
        for waiting in &mut line {
            answers.push(poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await);
        }
        let Some(Poll::Ready(Err(refused))) = answers.pop() else { panic!("the line is too long") };
        assert_eq!(refused.kind(), Kind::Unavailable);
        assert!(answers.iter().all(Poll::is_pending));
        assert_eq!(hub.hash_password(&Password::generate().0).unwrap_err().kind(), Kind::Unavailable);

        // One who gives up makes room for another.
        line.truncate(1);
        drop(at_work);
        line.remove(0).await.unwrap();
        hash().await.unwrap();
        assert_eq!(hub.password_hashes(), 2);
        assert_eq!(hub.shared.hashing.line.load(Ordering::Relaxed), 0);
    }

    /// A task that used up its share of the runtime's thread is told to let others at it, which it cannot while it
    /// keeps the thread.
    #[tokio::test]
    async fn a_thread_of_a_runtime_waits_for_nothing_but_its_turn() {
        let hashing = Hashing::default();
        let turn = poll_fn(|context| {
            while let Poll::Ready(step) = coop::poll_proceed(context) {
                step.made_progress();
            }
            Poll::Ready(block_on(hashing.permits.acquire()).is_ok())
        });
        assert!(turn.await);
    }

    #[test]
    fn a_thread_of_no_runtime_waits_for_its_turn() {
        let hashing = Hashing::default();
        let all = u32::try_from(hashing.permits.available_permits()).unwrap();
        let at_work = block_on(hashing.permits.acquire_many(all)).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| block_on(hashing.permits.acquire()).is_ok());
            drop(at_work);
            assert!(waiting.join().unwrap());
        });
    }
}
