//! Attempts to show a password: how often there may be one, and when it is answered that it was refused.
//!
//! An attempt is counted before anything is looked up, and the audit tells once in a while of those that are
//! refused for there being too many, so that a flood of them does not fill it.
//!
//! What kind of hash a password is compared with, and whether with any, shows in the time that this takes. So a
//! refused login is answered at multiples of a time that is several times what any of these comparisons takes. Nothing
//! is held meanwhile, no permit to hash and no thread of the hub's. A login that succeeds is answered at once, and
//! has a weak hash replaced before: whoever gets that answer knew the password.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use streamhub_control::audit::{self, Entry};
use streamhub_control::login_failures::{self, Attempt, Throttled};
use streamhub_control::{Connection, SqlResult};
use tokio::time;

use crate::access::login::LoginError;
use crate::acting::Deed;
use crate::error::Result;
use crate::hub::Hub;

/// What the audit calls attempts of which there were too many.
const TOO_MANY: &str = "too_many_attempts";

impl Hub {
    /// Counts an attempt, before a password is verified. `refusal` is what the audit says of it where there were
    /// too many.
    pub(super) fn charge(
        &self,
        attempt: &Attempt,
        refusal: impl Fn(&Connection) -> SqlResult<Option<Entry>> + Send + 'static,
    ) -> Result<(), LoginError> {
        Ok(self.note_down(self.charging(attempt, refusal))??)
    }

    /// The same, within a transaction.
    pub(super) fn charging<F>(
        &self,
        attempt: &Attempt,
        refusal: F,
    ) -> impl Fn(&Connection) -> SqlResult<Result<(), Throttled>> + Send + use<F>
    where
        F: Fn(&Connection) -> SqlResult<Option<Entry>> + Send + 'static,
    {
        let (policy, attempt) = (self.shared.config.logins, attempt.clone());
        move |db| {
            let charged = login_failures::charge(db, &policy, &attempt)?;
            if charged.is_err_and(|throttled| throttled.is_first)
                && let Some(entry) = refusal(db)?
            {
                audit::append(db, &entry)?;
            }
            Ok(charged)
        }
    }

    /// Does what a caller waits for on its own thread, and keeps a refusal back until its time.
    pub(super) fn paced<T>(&self, work: impl FnOnce() -> Result<T, LoginError>) -> Result<T, LoginError> {
        let began = Instant::now();
        let answer = work();
        if let Some(wait) = self.keep_back(&answer, began.elapsed()) {
            thread::sleep(wait);
        }
        answer
    }

    /// The same, for async callers.
    pub(super) async fn paced_async<T>(
        &self,
        work: impl Future<Output = Result<T, LoginError>>,
    ) -> Result<T, LoginError> {
        let began = time::Instant::now();
        let answer = work.await;
        if let Some(wait) = self.keep_back(&answer, began.elapsed()) {
            time::sleep(wait).await;
        }
        answer
    }

    /// For how long an answer is kept back. What was refused before anything was looked up need not be, nor what
    /// could not be tried.
    fn keep_back<T>(&self, answer: &Result<T, LoginError>, took: Duration) -> Option<Duration> {
        let is_telling = matches!(answer, Err(LoginError::Refused | LoginError::SecondFactorRequired));
        is_telling.then(|| until_next(self.shared.config.refusal_step, took))
    }
}

/// What an attempt is called of which there were too many.
pub(super) fn too_many(deed: Deed) -> Deed {
    deed.detail(json!({ "code": TOO_MANY }))
}

/// From a moment on until the next multiple of a step; no time at all where the step is none.
fn until_next(step: Duration, moment: Duration) -> Duration {
    let Some(passed) = moment.as_nanos().checked_div(step.as_nanos()) else { return Duration::ZERO };
    let next = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
    step.saturating_mul(next).saturating_sub(moment)
}

#[cfg(test)]
mod tests {
    use streamhub_control::password::Password;
    use streamhub_control::users::NewUser;

    use super::*;
    use crate::access::Login;
    use crate::progress::Silent;
    use crate::{HubConfig, Volatile};

    const EMAIL: &str = "anna@b.c";
    const RIGHT: &str = "correct horse battery";

    #[test]
    fn answers_come_at_multiples_of_the_step() {
        let millis = Duration::from_millis;
        for (took, wait) in [(0, 500), (1, 499), (80, 420), (499, 1), (500, 500), (501, 499), (1700, 300)] {
            assert_eq!(until_next(millis(500), millis(took)), millis(wait), "{took}");
        }
        assert_eq!(until_next(Duration::ZERO, millis(80)), Duration::ZERO);
        assert_eq!(until_next(Duration::from_nanos(1), Duration::MAX), Duration::ZERO);
    }

    fn guess(password: &str) -> Login {
        Login::new(EMAIL, Password::offered(password.to_owned()))
    }

    /// The clock stands still while passwords are hashed, and goes on when everybody waits for it.
    #[tokio::test(start_paused = true)]
    async fn a_refused_login_waits_and_keeps_nobody_else_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data"));
        config.volatile = Volatile::Permit;
        let step = config.refusal_step;
        let opening = move || {
            let hub = Hub::open(&config, &Silent).unwrap();
            let password = Some(hub.hash_password(&Password::offered(RIGHT.to_owned())).unwrap());
            let email = EMAIL.parse().unwrap();
            hub.create_user(&NewUser { email, name: None, password, is_superadmin: false }).unwrap();
            hub
        };
        let hub = tokio::task::spawn_blocking(opening).await.unwrap();
        let _others = hub.shared.hashing.all_but_one();

        for email in [EMAIL, "nobody@b.c"] {
            let began = time::Instant::now();
            let login = Login { email: email.to_owned(), ..guess("a guess") };
            assert!(matches!(hub.login_async(login).await, Err(LoginError::Refused)));
            assert_eq!(began.elapsed(), step, "{email}");
        }

        // Nothing is held while it waits, and who goes away leaves nothing behind.
        let began = time::Instant::now();
        let refused = time::timeout(step / 2, hub.login_async(guess("a guess")));
        let (refused, ()) = tokio::join!(refused, async {
            hub.login_async(guess(RIGHT)).await.unwrap();
            assert_eq!(began.elapsed(), Duration::ZERO, "a success is answered at once");
        });
        refused.unwrap_err();
        hub.login_async(guess(RIGHT)).await.unwrap();
        assert_eq!(began.elapsed(), step / 2);
    }
}
