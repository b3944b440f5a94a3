//! Attempts to log in, counted per account and per address, so that nobody guesses for long.
//!
//! An attempt is charged before its password is verified, so that attempts at the same time cannot outrun
//! the count, and given back when it succeeds. The counts are rows, so that a restart forgets none.
//!
//! An attempt counts for its client's address. Where that is not known it counts for the connection's other end,
//! which nobody chooses: all who pretend to come from elsewhere would otherwise use up one count, which is
//! everybody's whose address is not known.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, named_params};
use streamhub_engine::time::Moment;

use crate::sessions::Client;
use crate::users::{User, without_case};

/// How many attempts there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Of one account, whether or not it exists; default 10 within 15 minutes.
    pub account: Allowance,
    /// Of one IPv4 address or one IPv6 network of 64 bits; default 50 within 15 minutes. All callers of whom not
    /// even the connection is known have one count.
    pub address: Allowance,
}

/// So many attempts within a time that begins with the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Attempts.
    pub attempts: u32,
    /// The time.
    pub within: Duration,
}

/// There were too many attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts to log in; the next one may be in {} s", retry_after.as_secs())]
pub struct Throttled {
    /// How long to wait, in whole seconds.
    pub retry_after: Duration,
    /// Whether nobody was told so before in this time, so that the audit is to tell of it: it does not grow by what
    /// is refused after that.
    pub is_first: bool,
}

/// Who attempts to log in, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    account: String,
    address: String,
}

/// The characters that are kept of an address that somebody typed.
const LONGEST_EMAIL: usize = 254;

impl Default for Policy {
    fn default() -> Self {
        let within = Duration::from_mins(15);
        Self { account: Allowance { attempts: 10, within }, address: Allowance { attempts: 50, within } }
    }
}

impl Attempt {
    /// An attempt on the account that is called so, whether or not it exists.
    pub fn new(email: &str, client: &Client) -> Self {
        let email: String = without_case(email).chars().take(LONGEST_EMAIL).collect();
        Self { account: format!("account:{email}"), address: of_address(client) }
    }

    /// An attempt of this user's own, whatever it is called at the time: apart from those to log in as it.
    pub fn of_user(id: &str, client: &Client) -> Self {
        Self { account: format!("user:{id}"), address: of_address(client) }
    }
}

/// Counts an attempt, in the caller's transaction, which is to be committed also where it is refused. What is
/// refused is not counted, so that waiting helps.
pub fn charge(db: &Connection, policy: &Policy, attempt: &Attempt) -> Result<Result<(), Throttled>> {
    let now = Moment::now();
    let counted = [(&attempt.account, policy.account), (&attempt.address, policy.address)];
    let mut open = Vec::new();
    for (subject, allowance) in counted {
        let window = Window::open(db, subject, allowance, &now)?;
        if let Some(retry_after) = window.as_ref().and_then(|window| window.wait(allowance, &now)) {
            let is_first = refuse(db, subject, &now)?;
            return Ok(Err(Throttled { retry_after, is_first }));
        }
        open.push((subject, window.map_or(0, |window| window.failures)));
    }
    for (subject, failures) in open {
        let sql = if failures == 0 {
            "INSERT OR REPLACE INTO _streamhub_login_failures (subject, failures, first_at, last_at) \
             VALUES (:subject, 1, :now, :now)"
        } else {
            "UPDATE _streamhub_login_failures SET failures = failures + 1, last_at = :now WHERE subject = :subject"
        };
        db.prepare_cached(sql)?.execute(named_params! { ":subject": subject, ":now": now })?;
    }
    Ok(Ok(()))
}

/// Takes an attempt back that succeeded: the account begins anew, and the address has it to spare. The
/// address's other attempts stay, since they may have been guesses at other accounts.
pub fn succeeded(db: &Connection, attempt: &Attempt) -> Result<()> {
    db.prepare_cached("DELETE FROM _streamhub_login_failures WHERE subject = :account")?
        .execute(named_params! { ":account": attempt.account })?;
    db.prepare_cached(
        "UPDATE _streamhub_login_failures SET failures = failures - 1 WHERE subject = :address AND failures > 0",
    )?
    .execute(named_params! { ":address": attempt.address })
    .map(drop)
}

/// Forgets the attempts on a user's account, as for who has a new password of an administrator's. Those of
/// addresses stay.
pub fn forgive(db: &Connection, user: &User) -> Result<()> {
    let client = Client::default();
    let by_email = user.email.iter().map(|email| Attempt::new(email, &client));
    for Attempt { account, .. } in by_email.chain([Attempt::of_user(&user.id, &client)]) {
        db.prepare_cached("DELETE FROM _streamhub_login_failures WHERE subject = ?1")?.execute([account])?;
    }
    Ok(())
}

/// Removes what has no effect any more, [`PRUNE_CHUNK`] at the most, and returns how much. To be called
/// again, each time in a transaction of its own, until less is removed.
pub fn prune(db: &Connection, policy: &Policy) -> Result<usize> {
    let now = Moment::now();
    let longest = policy.account.within.max(policy.address.within);
    db.prepare_cached(
        "DELETE FROM _streamhub_login_failures WHERE rowid IN (SELECT rowid FROM _streamhub_login_failures \
         WHERE strftime('%Y-%m-%dT%H:%M:%fZ', first_at, :longest) <= :now OR first_at >= :end LIMIT :chunk)",
    )?
    .execute(named_params! {
        ":longest": format!("+{:.3} seconds", longest.as_secs_f64()),
        ":now": now,
        ":end": now.after(longest),
        ":chunk": PRUNE_CHUNK,
    })
}

/// The most rows that one call of [`prune`] removes.
pub const PRUNE_CHUNK: usize = 1000;

fn of_address(client: &Client) -> String {
    let network = match client.address.or(client.peer).map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => address.to_string(),
        // Whoever has one address has the others of its network.
        Some(IpAddr::V6(address)) => {
            format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        None => "unknown".to_owned(),
    };
    format!("address:{network}")
}

/// Notes that an attempt was refused. Says whether it is the first since the subject's attempts count.
fn refuse(db: &Connection, subject: &str, now: &Moment) -> Result<bool> {
    db.prepare_cached(
        "UPDATE _streamhub_login_failures SET refused_at = :now WHERE subject = :subject AND refused_at IS NULL",
    )?
    .execute(named_params! { ":subject": subject, ":now": now })
    .map(|changed| changed == 1)
}

/// The attempts of one subject that still count.
struct Window {
    failures: u32,
    ends: Moment,
}

impl Window {
    /// Attempts count for as long as the allowance says, after them and before: a clock that was put back
    /// neither lets anybody guess nor locks anybody out for ever.
    fn open(db: &Connection, subject: &str, allowance: Allowance, now: &Moment) -> Result<Option<Self>> {
        let row = db
            .prepare_cached(
                "SELECT failures, first_at FROM _streamhub_login_failures WHERE subject = :subject",
            )?
            .query_row(named_params! { ":subject": subject }, |row| {
                Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?))
            })
            .optional()?;
        let Some((failures, first)) = row else { return Ok(None) };
        let Ok(first) = first.parse::<Moment>() else { return Ok(None) };
        let ends = first.after(allowance.within);
        let counts = *now < ends && first < now.after(allowance.within);
        Ok(counts.then_some(Self { failures, ends }))
    }

    /// How long until there may be another attempt, where there may be none.
    fn wait(&self, allowance: Allowance, now: &Moment) -> Option<Duration> {
        let left = now.until(&self.ends).as_millis().div_ceil(1000);
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(u64::MAX));
        (self.failures >= allowance.attempts).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::database;

    const SMALL: Policy = Policy {
        account: Allowance { attempts: 3, within: Duration::from_mins(15) },
        address: Allowance { attempts: 5, within: Duration::from_mins(30) },
    };

    fn client(address: &str) -> Client {
        Client { address: Some(address.parse().unwrap()), ..Client::default() }
    }

    fn attempt(email: &str, address: &str) -> Attempt {
        Attempt::new(email, &client(address))
    }

    fn charged(db: &Connection, attempt: &Attempt) -> bool {
        charge(db, &SMALL, attempt).unwrap().is_ok()
    }

    fn counts(db: &Connection) -> Vec<(String, u32)> {
        db.prepare("SELECT subject, failures FROM _streamhub_login_failures ORDER BY subject")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_>>()
            .unwrap()
    }

    fn begin_at(db: &Connection, moment: &Moment) {
        db.execute("UPDATE _streamhub_login_failures SET first_at = ?1", [moment]).unwrap();
    }

    fn ago(span: Duration) -> Moment {
        Moment::now().before(span)
    }

    #[test]
    fn subjects_are_accounts_without_case_and_addresses_by_network() {
        for (email, address, account, network) in [
            ("Anna@B.c", Some("192.0.2.1"), "account:anna@b.c", "address:192.0.2.1"),
            ("anna@b.c", Some("::ffff:192.0.2.1"), "account:anna@b.c", "address:192.0.2.1"),
            ("ОЛЬГА@b.c", Some("2001:db8:1:2:3:4:5:6"), "account:ольга@b.c", "address:2001:db8:1:2::/64"),
            ("", None, "account:", "address:unknown"),
        ] {
            let address = address.map(|address| address.parse().unwrap());
            let attempt = Attempt::new(email, &Client { address, ..Client::default() });
            assert_eq!((&*attempt.account, &*attempt.address), (account, network));
        }
        assert!(Attempt::new(&"ä".repeat(100_000), &Client::default()).account.len() < 1000);
    }

    #[test]
    fn who_hides_its_address_is_counted_by_its_connection() {
        let db = database();
        let hidden = |email: &str, peer: &str| {
            let client = Client { peer: Some(peer.parse().unwrap()), ..Client::default() };
            charged(&db, &Attempt::new(email, &client))
        };
        for number in 0..5 {
            assert!(hidden(&format!("{number}@b.c"), "192.0.2.1"));
        }
        assert!(!hidden("5@b.c", "192.0.2.1"));
        assert!(!charged(&db, &attempt("5@b.c", "192.0.2.1")), "nor does it get more by showing it");
        assert!(hidden("5@b.c", "192.0.2.2"), "and is in nobody else's way");
        // What a trusted proxy says of its client counts, and not the proxy.
        let client = Client { peer: Some("192.0.2.1".parse().unwrap()), ..client("192.0.2.3") };
        assert!(charged(&db, &Attempt::new("6@b.c", &client)));
    }

    #[test]
    fn the_first_that_is_refused_is_told_from_the_others() {
        let db = database();
        let is_first = |email: &str, address: &str| {
            charge(&db, &SMALL, &attempt(email, address)).unwrap().unwrap_err().is_first
        };
        while charged(&db, &attempt("a@b.c", "192.0.2.1")) {}
        assert!(!is_first("a@b.c", "192.0.2.1") && !is_first("A@b.c", "192.0.2.2"));
        while charged(&db, &attempt("b@b.c", "192.0.2.2")) {}
        while charged(&db, &attempt("c@b.c", "192.0.2.2")) {}
        assert!(!is_first("d@b.c", "192.0.2.2"), "the address's own");
        // The count begins anew, and so does what is told of it.
        begin_at(&db, &ago(SMALL.address.within));
        for _ in 0..3 {
            assert!(charged(&db, &attempt("a@b.c", "192.0.2.1")));
        }
        assert!(is_first("a@b.c", "192.0.2.1") && !is_first("a@b.c", "192.0.2.1"));
    }

    #[test]
    fn an_account_has_its_attempts_and_refused_ones_are_not_counted() {
        let db = database();
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert!(charged(&db, &attempt("a@b.c", address)));
        }
        let before = counts(&db);
        for _ in 0..3 {
            let throttled = charge(&db, &SMALL, &attempt("A@B.C", "192.0.2.4")).unwrap().unwrap_err();
            assert!(throttled.retry_after <= SMALL.account.within);
            assert!(throttled.retry_after + Duration::from_mins(1) > SMALL.account.within);
        }
        assert_eq!(counts(&db), before);
        assert!(charged(&db, &attempt("b@b.c", "192.0.2.4")));
    }

    #[test]
    fn an_address_has_its_attempts_over_all_accounts() {
        let db = database();
        for number in 0..5 {
            assert!(charged(&db, &attempt(&format!("{number}@b.c"), "2001:db8::1")));
        }
        assert!(!charged(&db, &attempt("5@b.c", "2001:db8::2")));
        assert!(charged(&db, &attempt("5@b.c", "2001:db8:0:1::2")));
        assert!(!counts(&db).contains(&("account:5@b.c".to_owned(), 2)));
    }

    #[test]
    fn success_clears_the_account_and_only_its_own_attempt_of_the_address() {
        let db = database();
        for email in ["a@b.c", "a@b.c", "b@b.c"] {
            assert!(charged(&db, &attempt(email, "192.0.2.1")));
        }
        succeeded(&db, &attempt("a@b.c", "192.0.2.1")).unwrap();
        let left = [("account:b@b.c", 1), ("address:192.0.2.1", 2)];
        assert_eq!(counts(&db), left.map(|(subject, count)| (subject.to_owned(), count)));
        // Whoever has an account of their own gets no more guesses at others by it.
        for _ in 0..10 {
            assert!(charged(&db, &attempt("own@b.c", "192.0.2.1")));
            succeeded(&db, &attempt("own@b.c", "192.0.2.1")).unwrap();
        }
        assert_eq!(counts(&db), left.map(|(subject, count)| (subject.to_owned(), count)));
        // Who only ever succeeds is never in the way of others there.
        for _ in 0..10 {
            assert!(charged(&db, &attempt("own@b.c", "192.0.2.2")));
            succeeded(&db, &attempt("own@b.c", "192.0.2.2")).unwrap();
        }
        assert_eq!(counts(&db).last(), Some(&("address:192.0.2.2".to_owned(), 0)));
    }

    #[test]
    fn attempts_count_for_a_time_whatever_the_clock_does() {
        let db = database();
        let anna = attempt("a@b.c", "192.0.2.1");
        while charged(&db, &anna) {}
        let (minute, within) = (Duration::from_mins(1), SMALL.account.within);
        begin_at(&db, &ago(within).after(minute));
        let wait = charge(&db, &SMALL, &anna).unwrap().unwrap_err().retry_after;
        assert!(wait <= minute && wait > Duration::ZERO, "{wait:?}");
        // The clock was put back a little, and then by a year.
        begin_at(&db, &Moment::now().after(minute));
        assert!(!charged(&db, &anna));
        begin_at(&db, &Moment::now().after(Duration::from_hours(365 * 24)));
        assert!(charged(&db, &anna));
        assert_eq!(counts(&db), [("account:a@b.c".to_owned(), 1), ("address:192.0.2.1".to_owned(), 1)]);

        while charged(&db, &anna) {}
        begin_at(&db, &ago(within));
        assert!(charged(&db, &anna));
        // The address's time is longer.
        assert_eq!(counts(&db), [("account:a@b.c".to_owned(), 1), ("address:192.0.2.1".to_owned(), 4)]);
    }

    #[test]
    fn what_has_no_effect_any_more_is_removed() {
        let db = database();
        assert!(charged(&db, &attempt("a@b.c", "192.0.2.1")));
        assert_eq!(prune(&db, &SMALL).unwrap(), 0);
        begin_at(&db, &ago(SMALL.address.within).after(Duration::from_mins(1)));
        assert_eq!(prune(&db, &SMALL).unwrap(), 0);
        begin_at(&db, &ago(SMALL.address.within));
        assert_eq!(prune(&db, &SMALL).unwrap(), 2);
        assert!(charged(&db, &attempt("a@b.c", "192.0.2.1")));
        begin_at(&db, &Moment::now().after(SMALL.address.within + Duration::from_mins(1)));
        assert_eq!(prune(&db, &SMALL).unwrap(), 2);
    }
}
