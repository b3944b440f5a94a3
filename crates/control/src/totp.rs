//! Second factors: codes of six digits that an authenticator app computes from a shared secret and the time
//! (RFC 6238, with 30 seconds, SHA-1 and one step of drift either way).
//!
//! Older accounts bring theirs, sealed under a secret of the older server's; none is set up here. Where one
//! cannot be unsealed its account stays locked, since a password alone never was enough for it.

use std::fmt;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::{AeadInPlace, Aes256Gcm, KeyInit};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD, Encoding};
use hmac::{Hmac, Mac};
use rusqlite::{Connection, OptionalExtension, Result, named_params};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Seconds for which one code stands.
const STEP: u64 = 30;

/// The least bytes of a shared secret; with fewer its codes could be guessed.
const LEAST_SECRET: usize = 10;

/// Whether a user needs a code to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondFactor {
    /// The password is enough.
    Off,
    /// It is not.
    On {
        /// What the codes are computed from; without it none is right.
        secret: Option<SealedSecret>,
        /// The step of the last code that was taken.
        last_step: Option<i64>,
    },
}

/// A shared secret as a registry holds it: `aesgcm$iv$tag$ciphertext`, the last three in base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(String);

/// The key that shared secrets are sealed under.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// What a code is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None is needed.
    Off,
    /// It is right, and is not taken again.
    Accepted,
    /// It is missing or wrong, was used before, or the secret cannot be unsealed.
    Refused,
}

/// A shared secret, plain.
struct SharedSecret(Vec<u8>);

/// Base32 as people type and authenticator apps show it: in any case, in groups, with or without padding.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut lenient = BASE32_NOPAD.specification();
    lenient.check_trailing_bits = false;
    lenient.ignore.push_str(" \t\r\n-=");
    lenient.translate.from.push_str("abcdefghijklmnopqrstuvwxyz");
    lenient.translate.to.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    lenient.encoding().expect("no character has two meanings")
});

impl Key {
    /// The key of an older server, from the secret that it signed its sessions with.
    pub fn of_older(jwt_secret: &str) -> Self {
        Self(Sha256::digest(format!("streamhub-totp:{jwt_secret}")).into())
    }
}

/// Whether a user needs a code. Who does not exist needs none.
pub fn of(db: &Connection, user_id: &str) -> Result<SecondFactor> {
    db.prepare_cached(
        "SELECT totp_secret, totp_last_step FROM users WHERE id = :id AND totp_enabled IS NOT 0",
    )?
    .query_row(named_params! { ":id": user_id }, |row| {
        let secret = row.get::<_, Option<String>>(0)?.map(SealedSecret);
        Ok(SecondFactor::On { secret, last_step: row.get(1)? })
    })
    .optional()
    .map(|found| found.unwrap_or(SecondFactor::Off))
}

/// Verifies a user's code, and has it used up, in the caller's transaction.
pub fn verify(
    db: &Connection,
    user_id: &str,
    code: Option<&str>,
    key: Option<&Key>,
    now: SystemTime,
) -> Result<Verdict> {
    let SecondFactor::On { secret, last_step } = of(db, user_id)? else { return Ok(Verdict::Off) };
    let shared = secret.zip(key).and_then(|(secret, key)| secret.unseal(key));
    let step = code.zip(shared).and_then(|(code, shared)| shared.step_of(code, last_step, now));
    let Some(step) = step else { return Ok(Verdict::Refused) };
    db.prepare_cached("UPDATE users SET totp_last_step = :step WHERE id = :id")?
        .execute(named_params! { ":id": user_id, ":step": step })?;
    Ok(Verdict::Accepted)
}

impl SealedSecret {
    fn unseal(&self, key: &Key) -> Option<SharedSecret> {
        let fields: Vec<&str> = self.0.strip_prefix("aesgcm$")?.split('$').collect();
        let [iv, tag, text] = fields[..] else { return None };
        let bytes = |field: &str| BASE64URL_NOPAD.decode(field.as_bytes()).ok();
        let (iv, tag, mut text) = (bytes(iv)?, bytes(tag)?, bytes(text)?);
        if iv.len() != 12 || tag.len() != 16 {
            return None;
        }
        let (iv, tag) = (GenericArray::from_slice(&iv), GenericArray::from_slice(&tag));
        Aes256Gcm::new((&key.0).into()).decrypt_in_place_detached(iv, b"", &mut text, tag).ok()?;
        // What is no base32 is the secret itself.
        let secret = BASE32.decode(&text).unwrap_or(text);
        (secret.len() >= LEAST_SECRET).then_some(SharedSecret(secret))
    }
}

impl SharedSecret {
    /// The step, of those that count now and come after the last one, whose code this is.
    fn step_of(&self, offered: &str, last_step: Option<i64>, now: SystemTime) -> Option<i64> {
        let offered: String = offered.chars().filter(|c| !c.is_whitespace()).collect();
        let is_right = |step: &i64| bool::from(code_of(&self.0, *step).as_bytes().ct_eq(offered.as_bytes()));
        let present = step(now);
        let right: Vec<i64> = (present - 1..=present + 1).filter(is_right).collect();
        right.into_iter().find(|step| last_step.is_none_or(|last| *step > last))
    }
}

/// The step that a moment is in.
pub fn step(now: SystemTime) -> i64 {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds / STEP).expect("a 30th of any number of seconds fits")
}

/// The code that an authenticator app shows in a step, which is what RFC 4226 computes of a counter.
pub fn code_of(secret: &[u8], step: i64) -> String {
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(secret).expect("a key may have any length");
    mac.update(&step.to_be_bytes());
    let mac = mac.finalize().into_bytes();
    let offset = usize::from(mac[19] & 15);
    let word = mac[offset..offset + 4].iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret(***)")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::{database, user};
    use crate::users;

    /// The RFC's secret, and the same in base32.
    const RAW: &[u8] = b"12345678901234567890";
    const BASE32_OF_RAW: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    /// `GEZD…` under the older server's secret `a jwt secret`, sealed by Node's `crypto`.
    const BY_NODE: &str =
        "aesgcm$nbIDegao6SAbPB2M$1uYJiornRhvkxXzV7qiYWg$qOgHJo7jltPMjpsqzhWRBBEIfF5J57PD-GlscZ1XrWI";

    fn key() -> Key {
        Key::of_older("a jwt secret")
    }

    fn sealed(text: &[u8]) -> SealedSecret {
        let (iv, mut text) = ([7; 12], text.to_vec());
        let tag = Aes256Gcm::new((&key().0).into())
            .encrypt_in_place_detached(GenericArray::from_slice(&iv), b"", &mut text)
            .unwrap();
        let [iv, tag, text] = [&iv[..], &tag, &text].map(|bytes| BASE64URL_NOPAD.encode(bytes));
        SealedSecret(format!("aesgcm${iv}${tag}${text}"))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn with_second_factor(db: &Connection, email: &str, secret: Option<&str>) -> String {
        let id = user(db, email).id;
        let sql = "UPDATE users SET totp_enabled = 1, totp_secret = ?2 WHERE id = ?1";
        db.execute(sql, rusqlite::params![id, secret]).unwrap();
        id
    }

    /// The last six digits of RFC 6238's eight, appendix B.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = SharedSecret(RAW.to_vec());
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_of(RAW, seconds / 30), code);
            let now = at(u64::try_from(seconds).unwrap());
            assert_eq!(secret.step_of(code, None, now), Some(seconds / 30));
        }
        // RFC 4226, appendix D.
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        assert_eq!(std::array::from_fn(|step| code_of(RAW, i64::try_from(step).unwrap())), codes);
    }

    #[test]
    fn one_step_of_drift_and_no_more() {
        let secret = SharedSecret(RAW.to_vec());
        for (step, counts) in [(99, false), (100, true), (101, true), (102, true), (103, false)] {
            for seconds in [101 * 30, 101 * 30 + 29] {
                let found = secret.step_of(&code_of(RAW, step), None, at(seconds));
                assert_eq!(found, counts.then_some(step));
            }
        }
        let (code, now) = (code_of(RAW, 101), at(101 * 30));
        assert_eq!(secret.step_of(&format!(" {} {}", &code[..3], &code[3..]), None, now), Some(101));
        for wrong in ["", "0", &code[..5], &format!("{code}0"), "１２３４５６", &format!("+{}", &code[1..])]
        {
            assert_eq!(secret.step_of(wrong, None, now), None, "{wrong}");
        }
        assert_eq!(secret.step_of(&code, None, UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    #[test]
    fn a_code_works_once() {
        let db = database();
        let anna = with_second_factor(&db, "a@b.c", Some(BY_NODE));
        let verify = |code: &str, seconds| verify(&db, &anna, Some(code), Some(&key()), at(seconds)).unwrap();
        let (earlier, code, later) = (code_of(RAW, 99), code_of(RAW, 100), code_of(RAW, 101));
        assert_eq!(verify("000000", 3000), Verdict::Refused);
        assert_eq!(verify(&code, 3000), Verdict::Accepted);
        assert_eq!(verify(&code, 3000), Verdict::Refused);
        assert_eq!(verify(&earlier, 3000), Verdict::Refused);
        assert_eq!(verify(&later, 3030), Verdict::Accepted);
        assert_eq!(verify(&code, 3030), Verdict::Refused);
    }

    #[test]
    fn who_has_none_needs_none_and_who_has_one_needs_it() {
        let db = database();
        let plain = user(&db, "plain@b.c").id;
        let anna = with_second_factor(&db, "a@b.c", Some(BY_NODE));
        let now = at(3000);
        let code = code_of(RAW, 100);
        let other = Key::of_older("another secret");
        assert_eq!(verify(&db, &plain, None, None, now).unwrap(), Verdict::Off);
        for (code, key) in [
            (None, Some(&key())),
            (Some(&*code), None),
            (Some(&*code), Some(&other)),
            (Some(""), Some(&key())),
        ] {
            assert_eq!(verify(&db, &anna, code, key, now).unwrap(), Verdict::Refused);
        }
        let unreadable =
            [None, Some(""), Some("plain text"), Some("aesgcm$$$"), Some("aesgcm$AAAA$AAAA$AAAA")];
        for (number, secret) in unreadable.into_iter().enumerate() {
            let user = with_second_factor(&db, &format!("{number}@b.c"), secret);
            assert_eq!(verify(&db, &user, Some(&code), Some(&key()), now).unwrap(), Verdict::Refused);
        }
        assert!(users::remove_second_factor(&db, &anna).unwrap());
        assert!(!users::remove_second_factor(&db, &anna).unwrap());
        assert_eq!(of(&db, &anna).unwrap(), SecondFactor::Off);
    }

    #[test]
    fn a_sealed_secret_is_base32_in_any_spelling_or_bytes() {
        let unsealed = |text: &[u8]| sealed(text).unseal(&key()).map(|secret| secret.0);
        let grouped = "gezd gnbv-gy3t qojq\ngezd gnbv gy3t qojq====";
        for text in [BASE32_OF_RAW.as_bytes(), grouped.as_bytes(), RAW] {
            assert_eq!(unsealed(text).as_deref(), Some(RAW));
        }
        // 16 bytes are 26 characters, the last of which has bits to spare.
        assert_eq!(unsealed(b"GEZDGNBVGY3TQOJQGEZDGNBVGZ").map(|secret| secret.len()), Some(16));
        assert_eq!(unsealed(&[0xfe; 20]), Some(vec![0xfe; 20]));
        for short in [&b""[..], b"=", b"GEZDGNBVGY3TQ===", &[0xfe; 9]] {
            assert_eq!(unsealed(short), None, "{short:?}");
        }
        let mut damaged = sealed(RAW);
        damaged.0.replace_range(30..31, if &damaged.0[30..31] == "A" { "B" } else { "A" });
        assert!(damaged.unseal(&key()).is_none());
        assert_eq!(format!("{:?} {:?}", sealed(RAW), key()), "SealedSecret(***) Key(***)");
    }
}
