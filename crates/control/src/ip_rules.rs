//! Rules and bans that an older system left for addresses, and that stay in force.
//!
//! They are read and never written here.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use rusqlite::{Connection, Result};
use streamhub_engine::normalised;
use streamhub_engine::time::Moment;

use crate::allow_list::network;

/// All rules and bans, as they were when they were read.
#[derive(Clone, Debug, Default)]
pub struct IpPolicy {
    allowed: Vec<IpNet>,
    blocked: Vec<IpNet>,
    /// Until when; none where that cannot be read.
    banned: HashMap<IpAddr, Option<Moment>>,
    unreadable: Vec<Unreadable>,
}

/// What becomes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is served.
    Open,
    /// It is not.
    Blocked,
}

/// A rule or ban that cannot be read as one, so that it has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table} holds {text:?}, which is no {noun}")]
pub struct Unreadable {
    /// The table.
    pub table: &'static str,
    /// The text, shortened where it is long.
    pub text: String,
    /// What it should be.
    pub noun: &'static str,
}

impl IpPolicy {
    /// Reads all rules and bans.
    pub fn read(db: &Connection) -> Result<Self> {
        let mut policy = Self::default();
        let mut rules = db.prepare_cached("SELECT cidr, action FROM ip_rules ORDER BY id")?;
        let mut rules = rules.query([])?;
        while let Some(row) = rules.next()? {
            policy.add_rule(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
        }
        let mut bans =
            db.prepare_cached(concat!("SELECT ip, ", normalised!("banned_until"), " FROM ip_bans"))?;
        let mut bans = bans.query([])?;
        while let Some(row) = bans.next()? {
            policy.add_ban(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
        }
        Ok(policy)
    }

    /// Whether an address is served at this moment. An allow rule goes before block rules and bans.
    pub fn verdict(&self, address: IpAddr) -> Verdict {
        let address = address.to_canonical();
        let among = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        let banned = || match self.banned.get(&address) {
            Some(Some(until)) => *until > Moment::now(),
            // A damaged ban is still a ban.
            Some(None) => true,
            None => false,
        };
        if !among(&self.allowed) && (among(&self.blocked) || banned()) {
            Verdict::Blocked
        } else {
            Verdict::Open
        }
    }

    /// What cannot be read and therefore has no effect, to be reported.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    fn add_rule(&mut self, cidr: &str, action: &str) {
        let nets = match action {
            "allow" => &mut self.allowed,
            "block" => &mut self.blocked,
            _ => return self.report("ip_rules", action, "action"),
        };
        match network(cidr.trim()) {
            Ok(net) => nets.push(net),
            Err(_) => self.report("ip_rules", cidr, "network"),
        }
    }

    fn add_ban(&mut self, ip: &str, until: &str) {
        match ip.trim().parse::<IpAddr>() {
            Ok(address) => drop(self.banned.insert(address.to_canonical(), until.parse().ok())),
            Err(_) => self.report("ip_bans", ip, "address"),
        }
    }

    fn report(&mut self, table: &'static str, text: &str, noun: &'static str) {
        self.unreadable.push(Unreadable { table, text: text.chars().take(64).collect(), noun });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::database;

    fn rule(db: &Connection, cidr: &str, action: &str) {
        db.execute("INSERT INTO ip_rules (cidr, action) VALUES (?1, ?2)", [cidr, action]).unwrap();
    }

    fn ban(db: &Connection, ip: &str, until: &str) {
        db.execute(
            "INSERT INTO ip_bans (ip, reason, first_seen, banned_until) VALUES (?1, 'guessing', '2026-01-01', ?2)",
            [ip, until],
        )
        .unwrap();
    }

    fn blocked(policy: &IpPolicy, address: &str) -> bool {
        policy.verdict(address.parse().unwrap()) == Verdict::Blocked
    }

    #[test]
    fn an_allow_rule_goes_before_block_rules_and_bans() {
        let db = database();
        assert!(!blocked(&IpPolicy::read(&db).unwrap(), "192.0.2.1"));
        rule(&db, "192.0.2.0/24", "block");
        rule(&db, "2001:db8::/32", "block");
        rule(&db, "::ffff:198.51.100.0/120", "block");
        rule(&db, " 192.0.2.7 ", "allow");
        ban(&db, "192.0.2.7", "9999-01-01 00:00:00");
        ban(&db, "::ffff:203.0.113.5", "9999-01-01T00:00:00.000Z");
        let policy = IpPolicy::read(&db).unwrap();
        assert_eq!(policy.unreadable(), []);
        for address in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "2001:db8:1::2",
            "198.51.100.9",
            "203.0.113.5",
            "::ffff:203.0.113.5",
        ] {
            assert!(blocked(&policy, address), "{address}");
        }
        for address in ["192.0.2.7", "::ffff:192.0.2.7", "192.0.3.1", "2001:db9::1", "203.0.113.6", "::1"] {
            assert!(!blocked(&policy, address), "{address}");
        }
    }

    #[test]
    fn a_ban_that_is_over_does_not_count_in_either_spelling() {
        let db = database();
        let (now, hour) = (Moment::now(), std::time::Duration::from_hours(1));
        let later = now.after(hour);
        let older_spelling = |moment: &Moment| moment.as_str()[..19].replace('T', " ");
        ban(&db, "192.0.2.1", later.as_str());
        ban(&db, "192.0.2.2", &older_spelling(&later));
        ban(&db, "192.0.2.3", now.as_str());
        ban(&db, "192.0.2.4", &older_spelling(&now));
        ban(&db, "192.0.2.5", "for ever");
        let policy = IpPolicy::read(&db).unwrap();
        let verdicts = [1, 2, 3, 4, 5].map(|last| blocked(&policy, &format!("192.0.2.{last}")));
        assert_eq!(verdicts, [true, true, false, false, true]);
    }

    #[test]
    fn what_cannot_be_read_is_reported_and_allows_and_blocks_nobody() {
        let db = database();
        rule(&db, "192.0.2.0/33", "block");
        rule(&db, "192.0.2.*", "allow");
        rule(&db, "192.0.2.0/24", "block");
        ban(&db, "somebody", "9999-01-01");
        let policy = IpPolicy::read(&db).unwrap();
        assert!(blocked(&policy, "192.0.2.1") && !blocked(&policy, "192.0.3.1"));
        let texts: Vec<&str> = policy.unreadable().iter().map(|found| &*found.text).collect();
        assert_eq!(texts, ["192.0.2.0/33", "192.0.2.*", "somebody"]);
        assert_eq!(policy.unreadable()[2].to_string(), "ip_bans holds \"somebody\", which is no address");
    }
}
