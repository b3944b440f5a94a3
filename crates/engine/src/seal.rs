//! The seal of an app's database: what its file held when it was whole.
//!
//! No check can see that a copy was taken while the database was in use: it can lack half a
//! transaction and call itself sound. So a copy is believed only where `app.seal` lies beside it and
//! says the same size and BLAKE3. Whether the seal's uuid and generation are those of the database
//! and of the registry is for the caller to compare; draining and checkpointing come before.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::durable;
use crate::error::{Error, Result, Unfit};
use crate::unopened::Unopened;
use crate::uuid::Uuid;

/// The seal's name, beside the database.
pub const FILE: &str = "app.seal";

/// The most bytes that a seal may hold.
const SIZE_CAP: u64 = 64 * 1024;

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// What a closed, checkpointed database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seal {
    /// Whose database it is.
    pub uuid: Uuid,
    /// The database's generation.
    pub generation: i64,
    /// Bytes of the file.
    pub size: u64,
    /// BLAKE3 of all the file's bytes, in lower-case hexadecimal.
    pub blake3: String,
}

#[derive(Serialize)]
struct Stored<'a> {
    format: u32,
    #[serde(flatten)]
    seal: &'a Seal,
}

impl Seal {
    /// The seal of the database in `file`, which is synced first: a seal speaks for no byte that a
    /// power cut could take. Refuses a file beside a `-wal` or journal with content.
    pub fn of(file: &Unopened, uuid: &Uuid, generation: i64) -> Result<Self> {
        file.sync()?;
        let (size, blake3) = print(file)?;
        Ok(Self { uuid: uuid.clone(), generation, size, blake3 })
    }

    /// Writes the seal into the app's directory, durably.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let stored = Stored { format: FORMAT, seal: self };
        let mut text = serde_json::to_vec_pretty(&stored).expect("texts and numbers can be written as JSON");
        text.push(b'\n');
        durable::write(&path_in(dir), &text)
    }

    /// Reads the seal in the app's directory, where there is one.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = path_in(dir);
        let content = match durable::read_capped(&path, SIZE_CAP) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        Self::parsed(&content).map(Some).map_err(|unfit| Error::unfit(&path, unfit))
    }

    fn parsed(content: &[u8]) -> Result<Self, Unfit> {
        let garbage = |detail: &dyn std::fmt::Display| Unfit::BadSeal { detail: detail.to_string() };
        let stored: Value = serde_json::from_slice(content).map_err(|error| garbage(&error))?;
        // The format comes first: the fields of a newer one may be others.
        match stored["format"].as_i64() {
            Some(found) if found > i64::from(FORMAT) => return Err(Unfit::TooNew { found, known: FORMAT }),
            Some(1..) => {}
            _ => return Err(garbage(&"it has no format number")),
        }
        let seal = Self::deserialize(stored).map_err(|error| garbage(&error))?;
        let blake3 = blake3::Hash::from_hex(&seal.blake3).map_err(|error| garbage(&error))?;
        Ok(Self { blake3: blake3.to_hex().to_string(), ..seal })
    }

    /// Refuses a database that is not, byte for byte, what was sealed.
    pub fn verify(&self, file: &Unopened) -> Result<()> {
        let changed = |detail: String| Err(Error::unfit(file.path(), Unfit::NotAsSealed { detail }));
        // The length is known without reading the file; a `-wal` beside it says more than a length.
        file.require_whole()?;
        if file.file_len() != self.size {
            return changed(format!("it has {} bytes, its seal says {}", file.file_len(), self.size));
        }
        let (_, found) = print(file)?;
        if found != self.blake3 {
            return changed(format!("its BLAKE3 is {found}, its seal says {}", self.blake3));
        }
        Ok(())
    }

    /// Removes the seal from the app's directory, durably; none there is fine.
    ///
    /// This comes before the first write after opening, so that no seal speaks for an older content.
    pub fn remove(dir: &Path) -> Result<()> {
        // A seal that was being written when the process ended is none.
        durable::sweep_parts(&path_in(dir))?;
        durable::remove_file(&path_in(dir))
    }
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// How many bytes the file has, and their BLAKE3.
fn print(file: &Unopened) -> Result<(u64, String)> {
    let hasher = file.with_content(|content| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(content)?;
        Ok(hasher)
    })?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use super::*;
    use crate::connect::Database;
    use crate::unopened::sidecar;
    use std::fs;

    const UUID: &str = "6f1c0a3e-0000-4000-8000-000000000001";

    /// A directory with an app.db and its seal.
    fn sealed() -> (tempfile::TempDir, PathBuf, Seal) {
        let dir = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(dir.path()).unwrap().join("app.db");
        let db = Database::build(&path).unwrap();
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(300000))").unwrap();
        let seal = Seal::of(&db.finish().unwrap(), &UUID.parse().unwrap(), 7).unwrap();
        seal.write(dir.path()).unwrap();
        (dir, path, seal)
    }

    fn verified(seal: &Seal, path: &Path) -> Result<(), Unfit> {
        seal.verify(&Unopened::claim(path).unwrap()).map_err(unfit)
    }

    fn unfit(error: Error) -> Unfit {
        match error {
            Error::Unfit { unfit, .. } => unfit,
            other => panic!("not a refusal: {other}"),
        }
    }

    #[test]
    fn what_was_sealed_reads_back_and_is_believed() {
        let (dir, path, seal) = sealed();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(Seal::read(dir.path()).unwrap().as_ref(), Some(&seal));
        assert_eq!((seal.uuid.as_str(), seal.generation, seal.size), (UUID, 7, bytes.len() as u64));
        assert_eq!(seal.blake3, blake3::hash(&bytes).to_hex().as_str());
        assert_eq!(verified(&seal, &path), Ok(()));
        assert_eq!(fs::read(&path).unwrap(), bytes);

        Seal::remove(dir.path()).unwrap();
        assert_eq!(Seal::read(dir.path()).unwrap(), None);
        Seal::remove(dir.path()).unwrap();
    }

    #[test]
    fn a_tampered_byte_is_found_wherever_it_is() {
        let (_dir, path, seal) = sealed();
        let bytes = fs::read(&path).unwrap();
        for at in [0, 24, 100, bytes.len() / 2, bytes.len() - 1] {
            let mut tampered = bytes.clone();
            tampered[at] ^= 1;
            fs::write(&path, tampered).unwrap();
            let refusal = verified(&seal, &path).unwrap_err();
            assert!(refusal.to_string().contains("its BLAKE3 is"), "byte {at}: {refusal}");
        }
    }

    #[test]
    fn another_length_is_named() {
        let (_dir, path, seal) = sealed();
        let bytes = fs::read(&path).unwrap();
        for other in [&bytes[..bytes.len() - 4096], &[&bytes[..], &[0; 4096]].concat(), &[]] {
            fs::write(&path, other).unwrap();
            let refusal = verified(&seal, &path).unwrap_err().to_string();
            let lengths = format!("it has {} bytes, its seal says {}", other.len(), bytes.len());
            assert!(refusal.contains(&lengths), "{refusal}");
        }
    }

    #[test]
    fn a_sidecar_with_content_is_refused_by_sealing_and_by_verifying() {
        let (_dir, path, seal) = sealed();
        for (ending, expected) in [("-wal", Unfit::WalBeside), ("-journal", Unfit::HotJournal)] {
            let beside = sidecar(&path, ending);
            fs::write(&beside, b"x").unwrap();
            for size in [seal.size, seal.size + 4096] {
                let seal = Seal { size, ..seal.clone() };
                assert_eq!(verified(&seal, &path), Err(expected.clone()), "whatever the length");
            }
            let again = Seal::of(&Unopened::claim(&path).unwrap(), &seal.uuid, 7).map_err(unfit);
            assert_eq!(again, Err(expected));
            fs::write(&beside, b"").unwrap();
            assert_eq!(verified(&seal, &path), Ok(()), "an empty {ending} holds nothing");
        }
    }

    #[test]
    fn a_database_in_use_is_not_sealed() {
        let (_dir, path, _) = sealed();
        let db = Database::write(&path).unwrap();
        assert!(matches!(Unopened::claim(&path), Err(Error::Unfit { unfit: Unfit::OpenHere, .. })));
        drop(db);
    }

    #[test]
    fn a_garbage_seal_is_an_error_and_never_a_missing_one() {
        let (dir, _, seal) = sealed();
        let path = dir.path().join(FILE);
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            String::new(),
            "\0\0\0".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            "{\"format\": 1}".to_owned(),
            good[..good.len() / 2].to_owned(),
            good.replace("\"format\": 1", "\"format\": 0"),
            good.replace("\"format\": 1", "\"format\": \"1\""),
            good.replace(&seal.blake3, &seal.blake3[1..]),
            good.replace(&seal.blake3, "no hexadecimal"),
            good.replace(&seal.size.to_string(), "-1"),
            good.replace("generation", "degeneration"),
            good.replace(UUID, "../other-one"),
            good.replace(UUID, &UUID.to_uppercase()),
        ] {
            fs::write(&path, &bad).unwrap();
            let error = Seal::read(dir.path()).unwrap_err();
            assert_eq!(error.path(), path);
            assert!(matches!(unfit(error), Unfit::BadSeal { .. }), "{bad}");
        }
        fs::write(&path, good.replace("\"format\": 1", "\"format\": 2, \"x\": []")).unwrap();
        let newer = unfit(Seal::read(dir.path()).unwrap_err());
        assert_eq!(newer, Unfit::TooNew { found: 2, known: 1 });
        fs::write(&path, vec![b' '; 100_000]).unwrap();
        assert!(Seal::read(dir.path()).unwrap_err().to_string().contains("larger than"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(unfit(Seal::read(dir.path()).unwrap_err()), Unfit::NotAFile { kind: "directory" });
    }

    #[test]
    fn fields_of_a_later_program_are_tolerated() {
        let (dir, _, seal) = sealed();
        let path = dir.path().join(FILE);
        let good = fs::read_to_string(&path).unwrap();
        let upper = good.replace(&seal.blake3, &seal.blake3.to_uppercase());
        fs::write(&path, upper.replace("\"format\": 1", "\"format\": 1, \"sealedBy\": {\"a\": 1}")).unwrap();
        assert_eq!(Seal::read(dir.path()).unwrap(), Some(seal));
    }
}
