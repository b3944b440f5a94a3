//! What makes two rows equal, and how a row is kept whole.

use std::fmt::Write as _;

use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

/// A row's content as 32 bytes: equal exactly where all its values are (as SQL's `IS` has it).
pub(crate) type Print = [u8; 32];

/// Makes the prints of rows that have the same columns.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    /// What stands for each column: its place among the known ones, or its name.
    tags: Vec<Vec<u8>>,
    row: Vec<u8>,
}

impl Printer {
    /// For rows of these columns; `known` are those of the table, which is only ever added to at its end.
    pub(crate) fn new(known: &[&str], columns: &[String]) -> Self {
        let tag = |name: &String| match known.iter().position(|known| known == name) {
            Some(at) => vec![u8::try_from(at).expect("a table has few known columns")],
            None => [&[u8::MAX], name.as_bytes(), &[0]].concat(),
        };
        Self { tags: columns.iter().map(tag).collect(), row: Vec::new() }
    }

    /// Hashes one value for each column. NULLs are left out, so that a column which one side lacks counts
    /// as NULL.
    pub(crate) fn print<'v>(&mut self, values: impl Iterator<Item = ValueRef<'v>>) -> Print {
        // One call for the whole row: the hash is several times slower when it is fed value by value.
        self.row.clear();
        for (tag, value) in self.tags.iter().zip(values) {
            if value != ValueRef::Null {
                self.row.extend_from_slice(tag);
                append(&mut self.row, value);
            }
        }
        *blake3::hash(&self.row).as_bytes()
    }
}

/// A value in a form that tells where it ends.
fn append(row: &mut Vec<u8>, value: ValueRef<'_>) {
    let mut number = |kind: u8, bits: u64| {
        row.push(kind);
        row.extend_from_slice(&bits.to_le_bytes());
    };
    match value {
        ValueRef::Null => number(0, 0),
        ValueRef::Integer(integer) => number(1, integer.cast_unsigned()),
        // SQL finds 1 and 1.0 equal, so they are one here too.
        ValueRef::Real(real) => match whole(real) {
            Some(whole) => number(1, whole.cast_unsigned()),
            None => number(2, real.to_bits()),
        },
        ValueRef::Text(bytes) => append_bytes(row, 3, bytes),
        ValueRef::Blob(bytes) => append_bytes(row, 4, bytes),
    }
}

/// Short ones, which nearly all are, tell their length in one byte: the less to hash, the faster.
fn append_bytes(row: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    row.push(kind);
    match u8::try_from(bytes.len()) {
        Ok(len) if len < u8::MAX => row.push(len),
        _ => {
            row.push(u8::MAX);
            row.extend_from_slice(&bytes.len().to_le_bytes());
        }
    }
    row.extend_from_slice(bytes);
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

    fn of<const N: usize>(columns: [&str; N], values: [ValueRef<'_>; N]) -> Print {
        Printer::new(&["known", "also"], &columns.map(str::to_owned)).print(values.into_iter())
    }

    fn one(value: ValueRef<'_>) -> Print {
        of(["known"], [value])
    }

    #[test]
    fn equal_as_sql_has_it() {
        assert_eq!(one(ValueRef::Integer(1)), one(ValueRef::Real(1.0)));
        assert_ne!(one(ValueRef::Integer(1)), one(ValueRef::Text(b"1")));
        assert_ne!(one(ValueRef::Text(b"1")), one(ValueRef::Blob(b"1")));
        assert_ne!(one(ValueRef::Real(1.5)), one(ValueRef::Real(2.5)));
        assert_ne!(one(ValueRef::Text(b"")), one(ValueRef::Null));
        let [x, xy, yz, z] = [&b"x"[..], b"xy", b"yz", b"z"].map(ValueRef::Text);
        assert_ne!(of(["a", "b"], [xy, z]), of(["a", "b"], [x, yz]));
        assert_ne!(of(["a"], [x]), of(["b"], [x]));
        assert_ne!(of(["known"], [x]), of(["also"], [x]));
    }

    #[test]
    fn a_column_that_is_not_there_is_null() {
        let (x, null) = (ValueRef::Text(b"x"), ValueRef::Null);
        for (more, fewer) in [(["known", "also"], "also"), (["a", "also"], "also"), (["also", "z"], "z")] {
            assert_eq!(of(more, [null, x]), of([fewer], [x]));
        }
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
