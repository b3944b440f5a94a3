//! What makes two rows equal, and how a row is kept whole.

use std::fmt::Write as _;

use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

/// A row's content as 32 bytes: equal exactly where all its values are (as SQL's `IS` has it).
pub(crate) type Print = [u8; 32];

/// Hashes named values. NULLs are left out, so that a column which one side lacks counts as NULL.
pub(crate) fn print<'a>(values: impl Iterator<Item = (&'a str, ValueRef<'a>)>) -> Print {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in values {
        let (tag, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => continue,
            ValueRef::Integer(number) => (1, &number.to_le_bytes()),
            // SQL finds 1 and 1.0 equal, so they are one here too.
            ValueRef::Real(number) => match whole(number) {
                Some(whole) => (1, &whole.to_le_bytes()),
                None => (2, &number.to_bits().to_le_bytes()),
            },
            ValueRef::Text(text) => (3, text),
            ValueRef::Blob(blob) => (4, blob),
        };
        hasher.update(name.as_bytes()).update(&[0, tag]).update(&bytes.len().to_le_bytes()).update(bytes);
    }
    *hasher.finalize().as_bytes()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the round trip is what is tested"
)]
fn whole(number: f64) -> Option<i64> {
    let whole = number as i64;
    let same = (whole as f64).to_bits() == number.to_bits() || (whole == 0 && number == 0.0);
    (same && whole != i64::MAX).then_some(whole)
}

/// The content of a set of rows whatever their order: how many, and the sum of their prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub(crate) rows: u64,
    pub(crate) sum: Sum,
}

/// Four words that are added up without carrying between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum([u64; 4]);

impl Digest {
    pub(crate) fn add(&mut self, print: &Print) {
        self.rows += 1;
        for (word, bytes) in self.sum.0.iter_mut().zip(print.chunks_exact(8)) {
            let added = u64::from_le_bytes(bytes.try_into().expect("a chunk of eight bytes"));
            *word = word.wrapping_add(added);
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        self.rows += other.rows;
        for (word, added) in self.sum.0.iter_mut().zip(other.sum.0) {
            *word = word.wrapping_add(added);
        }
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for word in self.0 {
            let _ = write!(text, "{word:016x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut words = [0; 4];
        if text.len() != 64 || !text.is_ascii() {
            return Err(de::Error::custom("a sum has 64 hexadecimal digits"));
        }
        for (at, word) in words.iter_mut().enumerate() {
            *word = u64::from_str_radix(&text[at * 16..][..16], 16).map_err(de::Error::custom)?;
        }
        Ok(Self(words))
    }
}

/// A row as JSON from which it can be made again, types included.
pub(crate) fn json<'a>(values: impl Iterator<Item = (&'a str, ValueRef<'a>)>) -> String {
    let object: Map<String, Value> = values.map(|(name, value)| (name.to_owned(), typed(value))).collect();
    Value::Object(object).to_string()
}

fn typed(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!({ "integer": number }),
        ValueRef::Real(number) if number.is_finite() => json!({ "real": number }),
        ValueRef::Real(number) => json!({ "realBits": format!("{:016x}", number.to_bits()) }),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!({ "text": text }),
            Err(_) => json!({ "textHex": hex(bytes) }),
        },
        ValueRef::Blob(bytes) => json!({ "blob": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: ValueRef<'_>) -> Print {
        print([("a", value)].into_iter())
    }

    #[test]
    fn equal_as_sql_has_it() {
        assert_eq!(one(ValueRef::Integer(1)), one(ValueRef::Real(1.0)));
        assert_ne!(one(ValueRef::Integer(1)), one(ValueRef::Text(b"1")));
        assert_ne!(one(ValueRef::Text(b"1")), one(ValueRef::Blob(b"1")));
        assert_ne!(one(ValueRef::Real(1.5)), one(ValueRef::Real(2.5)));
        assert_ne!(one(ValueRef::Text(b"")), one(ValueRef::Null));
        assert_eq!(one(ValueRef::Null), print(std::iter::empty()));
        assert_ne!(
            print([("a", ValueRef::Text(b"xy")), ("b", ValueRef::Text(b"z"))].into_iter()),
            print([("a", ValueRef::Text(b"x")), ("b", ValueRef::Text(b"yz"))].into_iter())
        );
    }

    #[test]
    fn a_digest_forgets_order_but_not_number() {
        let (a, b) = (one(ValueRef::Integer(1)), one(ValueRef::Integer(2)));
        let of = |prints: &[Print]| {
            let mut digest = Digest::default();
            for print in prints {
                digest.add(print);
            }
            digest
        };
        assert_eq!(of(&[a, b]), of(&[b, a]));
        assert_ne!(of(&[a, b]), of(&[a, b, b]));
        let text = serde_json::to_string(&of(&[a, b])).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), of(&[a, b]));
    }

    #[test]
    fn a_held_row_keeps_every_type() {
        let text = json(
            [
                ("n", ValueRef::Null),
                ("i", ValueRef::Integer(i64::MIN)),
                ("r", ValueRef::Real(f64::INFINITY)),
                ("t", ValueRef::Text("ü".as_bytes())),
                ("x", ValueRef::Text(&[0xff])),
                ("b", ValueRef::Blob(&[1, 2])),
            ]
            .into_iter(),
        );
        let expected = json!({
            "n": null, "i": {"integer": i64::MIN}, "r": {"realBits": "7ff0000000000000"},
            "t": {"text": "ü"}, "x": {"textHex": "ff"}, "b": {"blob": "0102"},
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
