//! Filling an app.db from all its sources, in the caller's transaction.
//!
//! The app's own `vods.db` comes first, since its ids are the ones that were shown to the world; then
//! the rows that the control database still holds.

use std::cell::Cell;

use rusqlite::Connection;
use streamhub::report::Tally;
use streamhub_appstore::Identity;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::reshape::{has_table, raise_sequence, rowid_name, sequence};
use streamhub_engine::{Database, Error, Unfit, meta};

use crate::app::Work;
use crate::batch::Batch;
use crate::cursor::Layout;
use crate::failure::Failure;
use crate::import::{Importer, Policy, Source, select_list};
use crate::indices::Indices;
use crate::multiset::Multiset;
use crate::older::{self, TABLES, Table};
use crate::record::{Record, SourceDigest, digest_of};
use crate::rows::{self, Printer};

impl Work<'_, '_> {
    /// Brings the rows of every source in, and writes identity, markers and record beside them.
    pub(crate) fn fill(&mut self, tx: &Connection, identity: &Identity) -> Result<Record, Failure> {
        let path = self.place.db();
        if self.accept_foreign {
            for table in TABLES.iter().filter(|table| table.numbered) {
                let sql = format!("UPDATE {} SET app_id = ?1 WHERE app_id <> ?1", table.name);
                tx.execute(&sql, [self.app.id]).of(&path)?;
            }
        }
        let mut record = Record::default();
        for (at, table) in TABLES.iter().enumerate() {
            let policy = if older::is_marked(tx, table.marker).of(&path)? && !self.accept_foreign {
                Policy::Compare
            } else {
                Policy::Import
            };
            self.fill_table(tx, at, policy, &mut record)?;
        }
        identity.write(tx).of(&path)?;
        for marker in [older::VODS_DONE, older::INGRESS_DONE] {
            meta::set(tx, marker, "1").of(&path)?;
        }
        record.write(tx).of(&path)?;
        self.note_held_rows(tx).of(&path)?;
        Ok(record)
    }

    /// Says which rows are held and why; the first few of them, since the table has them all.
    fn note_held_rows(&mut self, tx: &Connection) -> rusqlite::Result<()> {
        const SHOWN: u64 = 3;
        let held: u64 = tx.query_row("SELECT count(*) FROM _streamhub_unimported", [], |row| row.get(0))?;
        let mut first = tx.prepare(
            "SELECT source, source_table, source_rowid, reason FROM _streamhub_unimported ORDER BY id LIMIT ?1",
        )?;
        let mut rows = first.query([SHOWN])?;
        while let Some(row) = rows.next()? {
            let (source, table): (String, String) = (row.get(0)?, row.get(1)?);
            let (rowid, reason): (i64, String) = (row.get(2)?, row.get(3)?);
            self.notes
                .push(format!("held in _streamhub_unimported: {table} row {rowid} of {source}: {reason}"));
        }
        if held > SHOWN {
            self.notes.push(format!("held in _streamhub_unimported: {} more rows", held - SHOWN));
        }
        Ok(())
    }

    fn fill_table(
        &mut self,
        tx: &Connection,
        at: usize,
        policy: Policy,
        record: &mut Record,
    ) -> Result<(), Failure> {
        let table = &TABLES[at];
        let path = self.place.db();
        let before = digest_of(tx, table).of(&path)?;
        let vods_db = match self.vods_db {
            Some(vods_db) if vods_db.has(table)? => Some(&vods_db.db),
            _ => None,
        };
        let global = self.incoming.layout(at).of(&self.run.site.control)?;
        let next_id = Cell::new(self.first_free_id(tx, table, vods_db)?);
        // A single source into an empty table needs no comparing.
        let compares =
            before.rows > 0 || policy == Policy::Compare || (vods_db.is_some() && global.is_some());
        let mut contents = if compares { Some(Multiset::of(tx, table).of(&path)?) } else { None };
        let indices = if before.rows == 0 && (vods_db.is_some() || global.is_some()) {
            Indices::drop(tx, table.name).of(&path)?
        } else {
            Indices::default()
        };
        let mut expected = before;
        let mut tally = Tally::default();
        if let Some(source) = vods_db {
            let layout = Layout::of(source, table).of(source.path())?;
            let mut importer =
                Importer::new(tx, table, Source::VodsDb, &layout, policy, self.app.id, &next_id).of(&path)?;
            let rowid = rowid_name(source, table.name).of(source.path())?;
            let order = rowid.map(|rowid| format!("ORDER BY t.{rowid}")).unwrap_or_default();
            let sql = format!(
                "SELECT {} FROM {} AS t NOT INDEXED {order}",
                select_list(table, &layout.content, rowid, "t"),
                table.name
            );
            let mut select = source.prepare(&sql).of(source.path())?;
            let width = select.column_count();
            let mut printer = Printer::new(table.columns, &layout.content);
            let mut found = select.query([]).of(source.path())?;
            loop {
                let mut batch = Batch::new(width);
                while !batch.is_full()
                    && let Some(row) = found.next().of(source.path())?
                {
                    batch.push(row, &mut printer).of(source.path())?;
                }
                if batch.len() == 0 {
                    break;
                }
                importer.feed(&batch, contents.as_mut()).of(&path)?;
                self.incoming.count(batch.len() as u64);
            }
            finish(&importer, Source::VodsDb, record, &mut expected, &mut tally);
            if let Some(counter) = sequence(source, table.name).of(source.path())? {
                raise_sequence(tx, table.name, counter).of(&path)?;
            }
        }
        if let Some(layout) = global {
            if compares {
                Multiset::begin_source(tx).of(&path)?;
            }
            let mut importer =
                Importer::new(tx, table, Source::Control, layout, policy, self.app.id, &next_id).of(&path)?;
            while let Some(batch) = self.incoming.next(at).of(&self.run.site.control)? {
                importer.feed(&batch, contents.as_mut()).of(&path)?;
                self.incoming.count(batch.len() as u64);
            }
            finish(&importer, Source::Control, record, &mut expected, &mut tally);
        }
        indices.create(tx).of(&path)?;
        if !tally.adds_up() {
            let detail = format!("the counts of table {} do not add up: {tally:?}", table.name);
            return Err(Error::Unfit { path, unfit: Unfit::Mismatch { detail } }.into());
        }
        record.result.insert(table.name.to_owned(), expected);
        record.tables.insert(table.name.to_owned(), tally);
        Ok(())
    }

    /// An id above every one that a source or the table itself ever gave out.
    fn first_free_id(
        &self,
        tx: &Connection,
        table: &Table,
        vods_db: Option<&Database>,
    ) -> Result<i64, Failure> {
        if !table.numbered {
            return Ok(0);
        }
        let app_db = self.place.db();
        let mut highest = self.run.highest_ids.of(table).max(highest_id(tx, table).of(&app_db)?);
        if let Some(vods_db) = vods_db {
            highest = highest.max(highest_id(vods_db, table).of(vods_db.path())?);
        }
        Ok(highest.saturating_add(1))
    }
}

/// The highest id that a table of the control database has or ever gave out. Looked for once in a run:
/// where the ids have no index it takes a scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HighestIds([i64; TABLES.len()]);

impl HighestIds {
    pub(crate) fn find(control: &Connection) -> rusqlite::Result<Self> {
        let mut highest = [0; TABLES.len()];
        for (highest, table) in highest.iter_mut().zip(&TABLES) {
            *highest = highest_id(control, table)?;
        }
        Ok(Self(highest))
    }

    fn of(&self, table: &Table) -> i64 {
        let at = TABLES.iter().position(|known| known.name == table.name);
        self.0[at.expect("there are no other tables")]
    }
}

fn highest_id(db: &Connection, table: &Table) -> rusqlite::Result<i64> {
    if !table.numbered || !has_table(db, table.name)? {
        return Ok(0);
    }
    // Text that stands in an id column is above every number to max().
    let sql = format!("SELECT coalesce(max(id), 0) FROM {} WHERE typeof(id) = 'integer'", table.name);
    let id: i64 = db.query_row(&sql, [], |row| row.get(0))?;
    Ok(id.max(sequence(db, table.name)?.unwrap_or(0)).max(0))
}

fn finish(
    importer: &Importer<'_>,
    source: Source,
    record: &mut Record,
    expected: &mut rows::Digest,
    tally: &mut Tally,
) {
    expected.add_all(&importer.gained);
    *tally += importer.tally;
    record.sources.push(SourceDigest {
        source: source.name().to_owned(),
        table: importer.table_name().to_owned(),
        digest: importer.seen,
    });
}
