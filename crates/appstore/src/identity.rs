//! Whose an app database is.
//!
//! Written when the file is made or adopted and checked at every opening, so that a file of another
//! app, another tenant or another time is told from the right one.

use std::collections::HashMap;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::{Database, Error, Result, Unfit, Uuid, meta};

use crate::outbox;

/// What an app.db says of itself in `_streamhub_meta`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Unique to this database and its copies; the registry's pointer carries the same.
    pub uuid: Uuid,
    /// The app's name.
    pub name: String,
    /// Whose app it is.
    pub tenant: String,
    /// The installation that made it.
    pub installation: String,
    /// Raised by every move.
    pub generation: i64,
    /// A random nonce for every adoption, restore and clone, oldest first: which copy is newer.
    pub lineage: Vec<Uuid>,
}

const UUID: &str = "uuid";
const NAME: &str = "name";
const TENANT: &str = "tenant";
const INSTALLATION: &str = "installation";
const GENERATION: &str = "generation";
const LINEAGE: &str = "lineage";

const KEYS: [&str; 6] = [UUID, NAME, TENANT, INSTALLATION, GENERATION, LINEAGE];

// One statement, since it runs at every cold open.
const VALUES: &str = "SELECT key, value FROM _streamhub_meta WHERE key IN (?1, ?2, ?3, ?4, ?5, ?6)";

impl Identity {
    /// The identity of an app database that is being made.
    pub fn new(name: &str, tenant: &str, installation: &str) -> Self {
        Self {
            uuid: Uuid::random(),
            name: name.to_owned(),
            tenant: tenant.to_owned(),
            installation: installation.to_owned(),
            generation: 0,
            lineage: vec![Uuid::random()],
        }
    }

    /// Writes the identity, in the caller's transaction.
    pub fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        meta::set(db, UUID, self.uuid.as_str())?;
        meta::set(db, NAME, &self.name)?;
        meta::set(db, TENANT, &self.tenant)?;
        meta::set(db, INSTALLATION, &self.installation)?;
        meta::set(db, GENERATION, &self.generation.to_string())?;
        let lineage: Vec<&str> = self.lineage.iter().map(Uuid::as_str).collect();
        meta::set(db, LINEAGE, &lineage.join(","))
    }

    /// Reads the identity of a database of ours; one that lacks a part is damaged, and one whose uuid or
    /// lineage is none is nobody's.
    pub fn read(db: &Database) -> Result<Self> {
        let values = db
            .prepare_cached(VALUES)
            .and_then(|mut statement| {
                statement.query_map(KEYS, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .of(db.path())?;
        Self::of_values(values).map_err(|detail| Error::Unfit {
            path: db.path().to_owned(),
            unfit: Unfit::BadIdentity { detail },
        })
    }

    fn of_values(mut values: HashMap<String, Option<String>>) -> Result<Self, String> {
        let mut part = |key: &str| {
            values
                .remove(key)
                .flatten()
                .ok_or_else(|| format!("it carries no {key}, although it is marked as an app database"))
        };
        let uuid = |what: &str, text: &str| {
            text.parse::<Uuid>().map_err(|error| format!("its {what} does not fit: {error}"))
        };
        let generation = part(GENERATION)?;
        Ok(Self {
            uuid: uuid(UUID, &part(UUID)?)?,
            name: part(NAME)?,
            tenant: part(TENANT)?,
            installation: part(INSTALLATION)?,
            generation: generation
                .parse()
                .map_err(|_| format!("its generation {generation:?} is no number"))?,
            lineage: part(LINEAGE)?.split(',').map(|nonce| uuid(LINEAGE, nonce)).collect::<Result<_, _>>()?,
        })
    }
}

/// Gives the app another name, in the caller's transaction.
pub fn set_name(db: &Connection, name: &str) -> rusqlite::Result<()> {
    meta::set(db, NAME, name)
}

/// Sets the generation, in the caller's transaction.
pub fn set_generation(db: &Connection, generation: i64) -> rusqlite::Result<()> {
    meta::set(db, GENERATION, &generation.to_string())
}

/// Adds a random nonce to the lineage, in the caller's transaction, and returns it: from here on this copy
/// is told from every other, and so is what its outbox asks for.
pub fn append_lineage(db: &Connection) -> rusqlite::Result<Uuid> {
    let nonce = Uuid::random();
    let lineage = match meta::get(db, LINEAGE)? {
        Some(lineage) => format!("{lineage},{nonce}"),
        None => nonce.to_string(),
    };
    meta::set(db, LINEAGE, &lineage)?;
    outbox::count_on(db, &nonce)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use streamhub_engine::WriteTx;
    use streamhub_engine::migrate::From;

    use super::*;
    use crate::outbox::Entry;
    use crate::schema::SCHEMA;

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("app.db");
        let mut db = Database::build(&path).unwrap();
        let identity = Identity::new("demo", "platform", "here");
        SCHEMA.migrate(&mut db, From::Nothing, |tx| identity.write(tx).of(&path)).unwrap();
        assert_eq!(Identity::read(&db).unwrap(), identity);
        set_name(&db, "other").unwrap();
        set_generation(&db, 4).unwrap();
        let nonce = append_lineage(&db).unwrap();
        // What another copy hands out from here on has other places than what this one hands out.
        let place = || {
            let path = Entry::DeleteFile { path: "recordings/a.mp4".to_owned() };
            outbox::push(&mut WriteTx::within(&db), &path).unwrap()
        };
        let first = place();
        assert!(first > 1 && place() == first + 1, "{first}");
        let lineage = vec![identity.lineage[0].clone(), nonce];
        let changed = Identity { name: "other".to_owned(), generation: 4, lineage, ..identity };
        assert_eq!(Identity::read(&db).unwrap(), changed);
        db.execute("UPDATE _streamhub_meta SET value = 'x' WHERE key = 'generation'", []).unwrap();
        assert!(Identity::read(&db).unwrap_err().to_string().contains("\"x\" is no number"));
        set_generation(&db, 4).unwrap();
        let own = changed.uuid.as_str();
        for (key, other) in [
            (UUID, "../other-one".to_owned()),
            (UUID, String::new()),
            (LINEAGE, String::new()),
            (LINEAGE, format!("{own},")),
            (LINEAGE, format!("{own}, {own}")),
            (LINEAGE, format!("{own},../other-one,{own}")),
        ] {
            meta::set(&db, key, &other).unwrap();
            let error = Identity::read(&db).unwrap_err();
            assert!(matches!(error, Error::Unfit { unfit: Unfit::BadIdentity { .. }, .. }), "{other:?}");
            assert!(error.to_string().contains(&format!("its {key} does not fit")), "{error}");
            changed.write(&db).unwrap();
        }
        assert_eq!(Identity::read(&db).unwrap(), changed);
        db.execute("UPDATE _streamhub_meta SET value = NULL WHERE key = 'name'", []).unwrap();
        assert!(Identity::read(&db).unwrap_err().to_string().contains("carries no name"));
        db.execute("DELETE FROM _streamhub_meta WHERE key = 'uuid'", []).unwrap();
        set_name(&db, "demo").unwrap();
        assert!(Identity::read(&db).unwrap_err().to_string().contains("carries no uuid"));
    }
}
