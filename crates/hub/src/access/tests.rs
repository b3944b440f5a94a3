//! Logging in, and what must neither be learnt nor gained by trying.

use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use streamhub_control::{totp, users};

use super::*;
use crate::audit::{self, Entry};
use crate::email::Email;
use crate::login_failures::{Allowance, Policy};
use crate::password::Password;
use crate::progress::Silent;
use crate::sessions::Client;
use crate::tokens::TokenHash;
use crate::users::{NewUser, User, UserChange, UserStatus};
use crate::{Actor, Hub, HubConfig, HubError, Kind, Volatile};

const RIGHT: &str = "correct horse battery";

/// Of [`RIGHT`], as an older system wrote it, with fewer rounds so that tests are quick.
const OLDER: &str = "scrypt$1024$8$1$00112233445566778899aabbccddeeff$\
    36ec655176e7beb08939d0e13bb8cdb6499df0adff48497d5807d3508f7ebbb1\
    c5805e7269c1bd46e1b9cfe538f101e5594bb44aae4b8b539c12ffb1e1579d5c";

/// `GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ`, sealed by Node's `crypto` under an older server's secret `a jwt secret`.
const SEALED: &str =
    "aesgcm$nbIDegao6SAbPB2M$1uYJiornRhvkxXzV7qiYWg$qOgHJo7jltPMjpsqzhWRBBEIfF5J57PD-GlscZ1XrWI";

struct Site {
    _dir: tempfile::TempDir,
    config: HubConfig,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data"));
        config.volatile = Volatile::Permit;
        config.upkeep = false;
        Self { _dir: dir, config }
    }

    fn open(&self) -> Hub {
        Hub::open(&self.config, &Silent).unwrap()
    }
}

fn password(text: &str) -> Password {
    Password::offered(text.to_owned())
}

fn user(hub: &Hub, email: &str) -> User {
    let email: Email = email.parse().unwrap();
    let password = Some(hub.hash_password(&password(RIGHT)).unwrap());
    hub.create_user(&NewUser { email, name: None, password, is_superadmin: false }).unwrap()
}

fn sql(hub: &Hub, statement: &'static str) {
    hub.write(move |db| db.execute(statement, [])).unwrap();
}

fn login_from(email: &str, password: &str, address: &str) -> Login {
    let address: IpAddr = address.parse().unwrap();
    let client = Client { address: Some(address), user_agent: None };
    Login { client, ..Login::new(email, Password::offered(password.to_owned())) }
}

fn login(hub: &Hub, email: &str, password: &str) -> Result<LoggedIn, LoginError> {
    hub.login(&login_from(email, password, "192.0.2.1"))
}

fn is_open(hub: &Hub, logged_in: &LoggedIn) -> bool {
    hub.authenticate(logged_in.token.reveal(), None).unwrap().is_some()
}

/// What the audit says, the newest entry first.
fn audited(hub: &Hub) -> Vec<Entry> {
    let filter = audit::Filter { tenant: None, since: None, until: None, cursor: None, limit: 100 };
    let listed = hub.registry().audit(&filter).unwrap();
    listed.entries.into_iter().map(|recorded| recorded.entry).collect()
}

#[test]
fn who_knows_the_password_gets_a_session_until_it_ends() {
    let site = Site::new();
    let hub = site.open();
    let anna = user(&hub, "anna@b.c");
    let logged_in = login(&hub, "ANNA@b.c", RIGHT).unwrap();
    assert_eq!(logged_in.user, anna);
    assert_eq!(logged_in.session.ip.as_deref(), Some("192.0.2.1"));
    assert!(is_open(&hub, &logged_in));
    assert_eq!(hub.sessions(&anna.id).unwrap(), std::slice::from_ref(&logged_in.session));
    hub.log_out(&anna.id, &logged_in.session.id).unwrap();
    assert!(!is_open(&hub, &logged_in));

    let entry = audited(&hub).remove(0);
    assert_eq!((&*entry.action, &*entry.outcome), ("session.login", "ok"));
    assert_eq!((entry.principal, entry.target), (format!("user:{}", anna.id), Some(anna.id)));
    assert_eq!(entry.address.as_deref(), Some("192.0.2.1"));
}

/// S6 of the older system: there, the time that a login took told which accounts exist.
#[test]
fn nobody_learns_which_accounts_exist() {
    let site = Site::new();
    let hub = site.open();
    let (anna, bert) = (user(&hub, "anna@b.c"), user(&hub, "bert@b.c"));
    hub.set_user_status(&bert.id, UserStatus::Disabled).unwrap();
    user(&hub, "twin@b.c");
    let other = user(&hub, "other@b.c");
    hub.write(move |db| db.execute("UPDATE users SET email = 'TWIN@b.c' WHERE id = ?1", [&other.id]))
        .unwrap();
    let locked = user(&hub, "locked@b.c");
    sql(&hub, "UPDATE users SET password_hash = NULL WHERE email = 'locked@b.c'");

    let cases = [
        ("nobody@b.c", RIGHT, None),
        ("anna@b.c", "a wrong password", Some(&anna)),
        ("anna@b.c", "", Some(&anna)),
        ("bert@b.c", RIGHT, Some(&bert)),
        ("twin@b.c", RIGHT, None),
        ("locked@b.c", RIGHT, Some(&locked)),
        ("", "", None),
    ];
    for (email, text, account) in &cases {
        let before = hub.password_hashes();
        let refused = login(&hub, email, text).unwrap_err();
        assert_eq!(hub.password_hashes() - before, 1, "{email}");
        assert!(matches!(refused, LoginError::Refused), "{email}: {refused}");
        let entry = audited(&hub).remove(0);
        assert_eq!((&*entry.principal, &*entry.outcome), ("anonymous", "refused"));
        assert_eq!(entry.target.as_ref(), account.map(|account| &account.id));
        let all = serde_json::to_string(&entry).unwrap();
        assert!(!all.contains("@b.c") && !all.contains(RIGHT) && !all.contains("wrong password"), "{all}");
    }
    assert_eq!(audited(&hub).len(), cases.len());
}

#[test]
fn attempts_are_counted_over_a_restart() {
    let mut site = Site::new();
    let within = Duration::from_hours(1);
    let account = Allowance { attempts: 2, within };
    site.config.logins = Policy { account, address: Allowance { attempts: 3, within } };
    let hub = site.open();
    user(&hub, "anna@b.c");
    user(&hub, "bert@b.c");
    for _ in 0..2 {
        assert!(matches!(login(&hub, "anna@b.c", "a guess").unwrap_err(), LoginError::Refused));
    }
    hub.close().unwrap();

    let hub = site.open();
    let (hashes, entries) = (hub.password_hashes(), audited(&hub).len());
    let LoginError::Throttled(throttled) =
        hub.login(&login_from("Anna@b.c", RIGHT, "192.0.2.9")).unwrap_err()
    else {
        panic!("the account has more attempts than it may")
    };
    assert!(throttled.retry_after <= within && throttled.retry_after + Duration::from_mins(5) > within);
    assert_eq!((hub.password_hashes(), audited(&hub).len()), (hashes, entries));
    // Who succeeds leaves the address as it was.
    for _ in 0..3 {
        login(&hub, "bert@b.c", RIGHT).unwrap();
    }
    assert!(matches!(login(&hub, "nobody@b.c", "a guess").unwrap_err(), LoginError::Refused));
    assert!(matches!(login(&hub, "bert@b.c", RIGHT).unwrap_err(), LoginError::Throttled(_)));
    hub.login(&login_from("bert@b.c", RIGHT, "192.0.2.2")).unwrap();
}

#[test]
fn guesses_at_the_same_time_do_not_outrun_the_count() {
    let site = Site::new();
    let hub = site.open();
    user(&hub, "anna@b.c");
    let (before, begin) = (hub.password_hashes(), Barrier::new(100));
    let refused = thread::scope(|scope| {
        let guesses: Vec<_> = (0..100)
            .map(|number| {
                let (hub, begin) = (&hub, &begin);
                scope.spawn(move || {
                    let guess = login_from("anna@b.c", "a guess", &format!("192.0.2.{number}"));
                    begin.wait();
                    hub.login(&guess).unwrap_err()
                })
            })
            .collect();
        let ended = guesses.into_iter().map(|guess| guess.join().unwrap());
        ended.filter(|error| matches!(error, LoginError::Refused)).count()
    });
    assert_eq!((refused, hub.password_hashes() - before), (10, 10));
}

#[test]
fn an_older_hash_is_replaced_at_the_next_login() {
    let site = Site::new();
    let hub = site.open();
    let anna = user(&hub, "anna@b.c");
    hub.write(|db| db.execute("UPDATE users SET password_hash = ?1", [OLDER])).unwrap();
    let stored = || hub.read(|db| users::password(db, &anna.id)).unwrap().unwrap();
    assert!(login(&hub, "anna@b.c", "a guess").is_err());
    assert_eq!(stored().as_str(), OLDER);
    login(&hub, "anna@b.c", RIGHT).unwrap();
    assert!(stored().as_str().starts_with("$argon2id$"));
    let before = hub.password_hashes();
    login(&hub, "anna@b.c", RIGHT).unwrap();
    assert_eq!(hub.password_hashes() - before, 1);
}

/// The code that an authenticator app shows for [`SEALED`].
fn code() -> String {
    totp::code_of(b"12345678901234567890", totp::step(SystemTime::now()))
}

#[test]
fn a_second_factor_is_asked_for_after_the_password_and_its_code_works_once() {
    let site = Site::new();
    let hub = site.open();
    let anna = user(&hub, "anna@b.c");
    hub.write(|db| db.execute("UPDATE users SET totp_enabled = 1, totp_secret = ?1", [SEALED])).unwrap();
    let with = |password: &str, totp: Option<String>| {
        hub.login(&Login { totp, ..login_from("anna@b.c", password, "192.0.2.1") })
    };
    // Without the older server's secret no code is right.
    assert!(matches!(with(RIGHT, Some(code())).unwrap_err(), LoginError::SecondFactorRequired));
    hub.set_secret("STREAMHUB_JWT_SECRET", "a jwt secret").unwrap();

    assert!(matches!(with("a guess", Some(code())).unwrap_err(), LoginError::Refused));
    for totp in [None, Some(String::new()), Some("000000".to_owned())] {
        assert!(matches!(with(RIGHT, totp).unwrap_err(), LoginError::SecondFactorRequired));
        let entry = audited(&hub).remove(0);
        assert_eq!((&*entry.outcome, entry.target.as_deref()), ("refused", Some(&*anna.id)));
        assert!(entry.detail_json.unwrap().contains("totp_required"));
    }
    assert!(hub.sessions(&anna.id).unwrap().is_empty());
    let code = code();
    assert!(is_open(&hub, &with(RIGHT, Some(code.clone())).unwrap()));
    assert!(matches!(with(RIGHT, Some(code)).unwrap_err(), LoginError::SecondFactorRequired));
    hub.remove_second_factor("anna@b.c").unwrap();
    with(RIGHT, None).unwrap();
}

#[test]
fn wrong_codes_are_failed_attempts() {
    let site = Site::new();
    let hub = site.open();
    user(&hub, "anna@b.c");
    sql(&hub, "UPDATE users SET totp_enabled = 1");
    for _ in 0..10 {
        assert!(matches!(login(&hub, "anna@b.c", RIGHT).unwrap_err(), LoginError::SecondFactorRequired));
    }
    assert!(matches!(login(&hub, "anna@b.c", RIGHT).unwrap_err(), LoginError::Throttled(_)));
}

#[test]
fn the_first_superadmin_is_made_once() {
    let site = Site::new();
    let hub = site.open();
    let token = hub.renew_setup_token().unwrap().unwrap();
    let wanted = |token: TokenHash, email: &str| SetUp {
        token,
        email: email.parse().unwrap(),
        name: None,
        password: password(RIGHT),
    };
    let refused = |wanted: &SetUp| matches!(hub.set_up(wanted), Err(LoginError::Refused));
    assert!(refused(&wanted(TokenHash::of("a guess"), "anna@b.c")));
    assert_eq!(hub.password_hashes(), 0);
    let acting = hub.acting(Actor::new("setup"));
    let anna = acting.set_up(&wanted(token.hash(), "anna@b.c")).unwrap();
    assert!(login(&hub, "anna@b.c", RIGHT).unwrap().user.is_superadmin);
    assert!(refused(&wanted(token.hash(), "bert@b.c")));
    let entry = audited(&hub).remove(1);
    assert_eq!((&*entry.action, entry.target), ("setup.redeem", Some(anna.id)));
}

#[test]
fn a_new_password_needs_the_old_one_and_ends_other_sessions() {
    let mut site = Site::new();
    site.config.logins.account.attempts = 2;
    let hub = site.open();
    let anna = user(&hub, "anna@b.c");
    let [here, elsewhere] = [(); 2].map(|()| login(&hub, "anna@b.c", RIGHT).unwrap());
    let change = |old: &str, new: &str| {
        hub.change_password(&PasswordChange {
            user_id: anna.id.clone(),
            old: password(old),
            new: password(new),
            session: Some(here.session.id.clone()),
            address: None,
        })
    };
    assert!(matches!(change("a guess", "another battery").unwrap_err(), LoginError::Refused));
    assert_eq!(change(RIGHT, "another battery").unwrap(), 1);
    assert!(is_open(&hub, &here) && !is_open(&hub, &elsewhere));
    for _ in 0..2 {
        assert!(matches!(change(RIGHT, "a third battery").unwrap_err(), LoginError::Refused));
    }
    assert!(matches!(change("another battery", RIGHT).unwrap_err(), LoginError::Throttled(_)));
    assert!(matches!(login(&hub, "anna@b.c", "another battery").unwrap_err(), LoginError::Throttled(_)));
}

#[test]
fn people_change_their_name_and_address() {
    let site = Site::new();
    let hub = site.open();
    let (anna, bert) = (user(&hub, "anna@b.c"), user(&hub, "bert@b.c"));
    let to = |name: Option<&str>, email: Option<&str>| UserChange {
        name: name.map(str::to_owned),
        email: email.map(|email| email.parse().unwrap()),
    };
    let changed = hub.change_account(&anna.id, &to(Some("Anna"), Some("a@b.c"))).unwrap();
    assert_eq!((changed.name.as_deref(), changed.email.as_deref()), (Some("Anna"), Some("a@b.c")));
    let kind = |result: Result<User, HubError>| result.unwrap_err().kind();
    assert_eq!(kind(hub.change_account(&bert.id, &to(None, Some("A@b.c")))), Kind::Exists);
    assert_eq!(kind(hub.change_account(&bert.id, &to(Some(" "), None))), Kind::Invalid);
    assert_eq!(kind(hub.change_account("nobody", &to(Some("Nobody"), None))), Kind::NotFound);
}

#[test]
fn only_ones_own_sessions_are_seen_and_ended() {
    let site = Site::new();
    let hub = site.open();
    let (anna, bert) = (user(&hub, "anna@b.c"), user(&hub, "bert@b.c"));
    let [one, two, three] = [(); 3].map(|()| login(&hub, "anna@b.c", RIGHT).unwrap());
    let refused = hub.revoke_session(&bert.id, &one.session.id).unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
    assert_eq!(hub.revoke_session(&anna.id, "nobody's").unwrap_err().kind(), Kind::NotFound);
    assert!(is_open(&hub, &one) && hub.sessions(&bert.id).unwrap().is_empty());
    for _ in 0..2 {
        hub.revoke_session(&anna.id, &one.session.id).unwrap();
    }
    assert_eq!(hub.revoke_sessions(&anna.id, Some(&two.session.id)).unwrap(), 1);
    assert!(!is_open(&hub, &one) && is_open(&hub, &two) && !is_open(&hub, &three));

    sql(&hub, "UPDATE sessions SET revoked_at = '2026-01-01 00:00:00' WHERE revoked_at IS NOT NULL");
    sql(&hub, "UPDATE _streamhub_login_failures SET first_at = '2026-01-01T00:00:00.000Z'");
    hub.prune_sessions().unwrap();
    assert_eq!(hub.sessions(&anna.id).unwrap(), [two.session]);
    let left: i64 = hub
        .read(|db| db.query_row("SELECT count(*) FROM _streamhub_login_failures", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn async_callers_wait_in_the_same_line() {
    let site = Site::new();
    let hub = tokio::task::spawn_blocking(move || {
        let hub = site.open();
        user(&hub, "anna@b.c");
        (site, hub)
    });
    let (_site, hub) = hub.await.unwrap();
    let logged_in = hub.login_async(Login::new("anna@b.c", password(RIGHT))).await.unwrap();
    let change = PasswordChange {
        user_id: logged_in.user.id,
        old: password(RIGHT),
        new: password("another battery"),
        session: None,
        address: None,
    };
    assert_eq!(hub.change_password_async(change).await.unwrap(), 1);
    let refused = hub.login_async(Login::new("anna@b.c", password(RIGHT))).await.unwrap_err();
    assert!(matches!(refused, LoginError::Refused), "{refused}");
    assert_eq!(hub.password_hashes(), 5);
}
