//! A stored hash, parsed, with bounds on what it may ask of the machine.

use argon2::password_hash::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::HEXLOWER_PERMISSIVE;
use subtle::ConstantTimeEq;

/// The most memory that verifying a password may take.
const MAX_MEMORY: u64 = 64 << 20;

/// The most passes over that memory: iterations of argon2id, or `p` of scrypt, which run one by one.
const MAX_PASSES: u32 = 8;

/// The most lanes of argon2id, which share the memory.
const MAX_LANES: u32 = 16;

/// The least and the most bytes that are compared, so that no short key matches by luck.
const OUTPUT: std::ops::RangeInclusive<usize> = 16..=64;

/// The most bytes of salt.
const MAX_SALT: usize = 64;

/// What a password is compared with.
pub(super) struct Stored {
    recipe: Recipe,
    salt: Vec<u8>,
    output: Vec<u8>,
}

enum Recipe {
    Argon2id(Params),
    Scrypt(scrypt::Params),
}

impl Stored {
    /// Parses a hash of either kind; none where it is neither, or asks for too much.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let stored = match text.strip_prefix("scrypt$") {
            Some(fields) => Self::scrypt(fields)?,
            None => Self::argon2id(text)?,
        };
        let fits = OUTPUT.contains(&stored.output.len()) && stored.salt.len() <= MAX_SALT;
        fits.then_some(stored)
    }

    /// What stands in where there is nothing to compare with: as much work as a hash of today's kind.
    pub(super) fn dummy() -> Self {
        Self { recipe: Recipe::Argon2id(Params::DEFAULT), salt: vec![0; 16], output: vec![0; 32] }
    }

    /// Whether the password is the one; takes as long whether or not.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let mut output = vec![0; self.output.len()];
        #[cfg(test)]
        COMPUTED.set(COMPUTED.get() + 1);
        let computed = match &self.recipe {
            Recipe::Argon2id(params) => Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
                .hash_password_into(password, &self.salt, &mut output)
                .is_ok(),
            Recipe::Scrypt(params) => scrypt::scrypt(password, &self.salt, params, &mut output).is_ok(),
        };
        computed && bool::from(output.ct_eq(&self.output))
    }

    /// Whether it is of another kind than hashes that are made today, or took less work.
    pub(super) fn is_weak(&self) -> bool {
        match &self.recipe {
            Recipe::Argon2id(params) => {
                params.m_cost() < Params::DEFAULT_M_COST || params.t_cost() < Params::DEFAULT_T_COST
            }
            Recipe::Scrypt(_) => true,
        }
    }

    fn argon2id(text: &str) -> Option<Self> {
        let hash = PasswordHash::new(text).ok()?;
        let is_known =
            hash.algorithm == Algorithm::Argon2id.ident() && hash.version == Some(Version::V0x13.into());
        let params = Params::try_from(&hash).ok()?;
        let is_bounded = u64::from(params.m_cost()) * 1024 <= MAX_MEMORY
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES;
        if !is_known || !is_bounded {
            return None;
        }
        let mut salt = [0; MAX_SALT];
        let salt = hash.salt?.decode_b64(&mut salt).ok()?.to_vec();
        Some(Self { recipe: Recipe::Argon2id(params), salt, output: hash.hash?.as_bytes().to_vec() })
    }

    /// `N$r$p$salt$hash`, the last two in hexadecimal.
    fn scrypt(fields: &str) -> Option<Self> {
        let fields: Vec<&str> = fields.split('$').collect();
        let [n, r, p, salt, output] = fields[..] else { return None };
        let (n, r, p): (u64, u32, u32) = (n.parse().ok()?, r.parse().ok()?, p.parse().ok()?);
        let memory = n.checked_mul(128)?.checked_mul(u64::from(r))?;
        if !n.is_power_of_two() || memory > MAX_MEMORY || p > MAX_PASSES {
            return None;
        }
        let from_hex = |text: &str| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let (salt, output) = (from_hex(salt)?, from_hex(output)?);
        let log_n = u8::try_from(n.trailing_zeros()).ok()?;
        let params = scrypt::Params::new(log_n, r, p, scrypt::Params::RECOMMENDED_LEN).ok()?;
        Some(Self { recipe: Recipe::Scrypt(params), salt, output })
    }
}

#[cfg(test)]
thread_local! {
    static COMPUTED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many hashes this thread has computed.
#[cfg(test)]
pub(super) fn computed() -> u64 {
    COMPUTED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_asks_for_too_much_or_holds_too_little_is_none() {
        let (salt, key) = ("00".repeat(16), "11".repeat(64));
        let scrypt = |n: &str, r: &str, p: &str, salt: &str, key: &str| {
            Stored::parse(&format!("scrypt${n}${r}${p}${salt}${key}")).is_some()
        };
        assert!(scrypt("32768", "8", "1", &salt, &key));
        assert!(scrypt("65536", "8", "8", "", &"11".repeat(16)));
        for (n, r, p) in [
            ("131072", "8", "1"),
            ("32768", "1000000", "1"),
            ("32768", "8", "9"),
            ("32768", "8", "0"),
            ("32768", "0", "1"),
            ("32767", "8", "1"),
            ("0", "8", "1"),
            ("18446744073709551615", "8", "1"),
            ("9223372036854775808", "4294967295", "1"),
            ("-1", "8", "1"),
            ("", "", ""),
        ] {
            assert!(!scrypt(n, r, p, &salt, &key), "{n} {r} {p}");
        }
        assert!(!scrypt("32768", "8", "1", &"00".repeat(65), &key));
        assert!(!scrypt("32768", "8", "1", &salt, ""));
        assert!(!scrypt("32768", "8", "1", &salt, &"11".repeat(15)));
        assert!(!scrypt("32768", "8", "1", &salt, &"11".repeat(65)));
        assert!(!scrypt("32768", "8", "1", "zz", &key));
        assert!(!scrypt("32768", "8", "1", &salt, &format!("{key}$x")));

        let argon2 = |head: &str| {
            let tail = "c29tZXNhbHRzb21lc2FsdA$EUjKTmNoXwGdpFBPnYaufqS6LOkmtyeHtEG0COkvXDo";
            Stored::parse(&format!("{head}${tail}")).is_some()
        };
        assert!(argon2("$argon2id$v=19$m=65536,t=8,p=16"));
        for head in [
            "$argon2id$v=19$m=65537,t=2,p=1",
            "$argon2id$v=19$m=4294967295,t=2,p=1",
            "$argon2id$v=19$m=19456,t=9,p=1",
            "$argon2id$v=19$m=19456,t=2,p=17",
            "$argon2id$v=16$m=19456,t=2,p=1",
            "$argon2id$m=19456,t=2,p=1",
            "$argon2i$v=19$m=19456,t=2,p=1",
            "$argon2d$v=19$m=19456,t=2,p=1",
            "$2b$12",
        ] {
            assert!(!argon2(head), "{head}");
        }
        assert!(Stored::parse("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA").is_none());
    }

    #[test]
    fn the_dummy_asks_for_as_much_as_a_real_one() {
        let Recipe::Argon2id(params) = Stored::dummy().recipe else { unreachable!("it is argon2id") };
        let default = Argon2::default();
        assert_eq!(params.m_cost(), default.params().m_cost());
        assert_eq!(params.t_cost(), default.params().t_cost());
        assert_eq!(params.p_cost(), default.params().p_cost());
        assert!(!Stored::dummy().is_weak());
    }
}
