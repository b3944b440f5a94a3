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
use crate::users::{NewUser, User, UserStatus};
use crate::{Actor, Change, Hub, HubConfig, HubError, Kind, Volatile};

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
        config.refusal_step = Duration::ZERO;
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
    let client = Client { address: Some(address), ..Client::default() };
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
    let anna = user(&hub, "anna@b.c");
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
    // The audit tells of the first one, and then of no more.
    for _ in 0..3 {
        assert!(matches!(login(&hub, "anna@b.c", RIGHT).unwrap_err(), LoginError::Throttled(_)));
    }
    assert_eq!((hub.password_hashes(), audited(&hub).len()), (hashes, entries + 1));
    let entry = audited(&hub).remove(0);
    assert_eq!(
        (&*entry.principal, &*entry.action, &*entry.outcome),
        ("anonymous", "session.login", "refused")
    );
    assert_eq!((entry.address.as_deref(), entry.target), (Some("192.0.2.9"), Some(anna.id)));
    assert!(entry.detail_json.unwrap().contains("too_many_attempts"));
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
            client: Client::default(),
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
fn people_change_their_name() {
    let site = Site::new();
    let hub = site.open();
    let anna = user(&hub, "anna@b.c");
    let to = |name: &str| Change::Set(name.to_owned());
    let changed = hub.change_name(&anna.id, &to("Anna")).unwrap();
    assert_eq!((changed.name.as_deref(), changed.email.as_deref()), (Some("Anna"), Some("anna@b.c")));
    assert_eq!(hub.change_name(&anna.id, &Change::Keep).unwrap(), changed);
    let kind = |result: Result<User, HubError>| result.unwrap_err().kind();
    assert_eq!(kind(hub.change_name(&anna.id, &to(" "))), Kind::Invalid);
    assert_eq!(hub.change_name(&anna.id, &Change::Clear).unwrap().name, None);
    assert_eq!(kind(hub.change_name("nobody", &to("Nobody"))), Kind::NotFound);
}

fn another_address(user: &User, password: &str, email: &str) -> AddressChange {
    AddressChange {
        user_id: user.id.clone(),
        password: Password::offered(password.to_owned()),
        email: email.parse().unwrap(),
        name: Change::Keep,
        session: None,
        client: Client::default(),
    }
}

#[test]
fn another_address_needs_the_password_and_ends_other_sessions() {
    let mut site = Site::new();
    site.config.logins.account.attempts = 2;
    let hub = site.open();
    let anna = user(&hub, "anna@b.c");
    let [here, elsewhere] = [(); 2].map(|()| login(&hub, "anna@b.c", RIGHT).unwrap());
    let change = |password: &str, email: &str| {
        let session = Some(here.session.id.clone());
        hub.change_address(&AddressChange { session, ..another_address(&anna, password, email) })
    };
    assert!(matches!(change("a guess", "a@b.c").unwrap_err(), LoginError::Refused));
    assert!(is_open(&hub, &elsewhere));
    assert_eq!(change(RIGHT, "a@b.c").unwrap().email.as_deref(), Some("a@b.c"));
    assert!(is_open(&hub, &here) && !is_open(&hub, &elsewhere));
    assert!(matches!(login(&hub, "anna@b.c", RIGHT).unwrap_err(), LoginError::Refused));
    login(&hub, "a@b.c", RIGHT).unwrap();
    // Guesses count as those at the door do.
    for _ in 0..2 {
        assert!(matches!(change("a guess", "anna@b.c").unwrap_err(), LoginError::Refused));
    }
    assert!(matches!(change(RIGHT, "anna@b.c").unwrap_err(), LoginError::Throttled(_)));
    assert!(matches!(login(&hub, "a@b.c", RIGHT).unwrap_err(), LoginError::Throttled(_)));
}

/// Whoever has an account could otherwise find out everybody else's address by it.
#[test]
fn few_are_told_that_an_address_is_taken_and_few_that_it_is_not() {
    let mut site = Site::new();
    site.config.logins.account.attempts = 4;
    let hub = site.open();
    let (anna, bert) = (user(&hub, "anna@b.c"), user(&hub, "bert@b.c"));
    let acting = hub.acting(Actor::new("user:bert"));
    let change = |email: &str| acting.change_address(&another_address(&bert, RIGHT, email));
    for email in ["ANNA@b.c", "Anna@b.c"] {
        let LoginError::Hub(taken) = change(email).unwrap_err() else { panic!("it was tried") };
        assert_eq!(taken.kind(), Kind::Exists);
    }
    change("b1@b.c").unwrap();
    login(&hub, "b1@b.c", RIGHT).unwrap();
    change("b2@b.c").unwrap();
    let entries = audited(&hub).len();
    for email in ["anna@b.c", "b3@b.c"] {
        assert!(matches!(change(email).unwrap_err(), LoginError::Throttled(_)), "{email}");
    }
    assert_eq!(hub.registry().user(&bert.id).unwrap().email.as_deref(), Some("b2@b.c"));
    // The audit tells of the first, and logging in is another matter.
    assert_eq!(audited(&hub).len(), entries + 1);
    let entry = audited(&hub).remove(0);
    assert_eq!(
        (&*entry.principal, &*entry.action, &*entry.outcome),
        ("user:bert", "account.change", "refused")
    );
    assert_eq!(entry.target, Some(bert.id.clone()));
    login(&hub, "b2@b.c", RIGHT).unwrap();
    hub.change_address(&another_address(&anna, RIGHT, "a@b.c")).unwrap();
}

/// Whoever writes a forwarding header of its own hides its address, and locks out nobody by it.
#[test]
fn who_hides_its_address_is_in_nobody_elses_way() {
    let mut site = Site::new();
    site.config.logins.address.attempts = 2;
    let hub = site.open();
    user(&hub, "anna@b.c");
    let from = |peer: &str, email: &str, password: &str| {
        let client = Client { peer: Some(peer.parse().unwrap()), ..Client::default() };
        hub.login(&Login { client, ..Login::new(email, Password::offered(password.to_owned())) })
    };
    for email in ["1@b.c", "2@b.c"] {
        assert!(matches!(from("192.0.2.1", email, "a guess").unwrap_err(), LoginError::Refused));
    }
    assert!(matches!(from("192.0.2.1", "3@b.c", "a guess").unwrap_err(), LoginError::Throttled(_)));
    let logged_in = from("192.0.2.2", "anna@b.c", RIGHT).unwrap();
    assert_eq!(logged_in.session.ip, None, "of the client nothing is known");
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
        client: Client::default(),
    };
    assert_eq!(hub.change_password_async(change).await.unwrap(), 1);
    let refused = hub.login_async(Login::new("anna@b.c", password(RIGHT))).await.unwrap_err();
    assert!(matches!(refused, LoginError::Refused), "{refused}");
    assert_eq!(hub.password_hashes(), 5);
}
