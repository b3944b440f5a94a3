//! Bringing the rows of one source's table into an app.db.
//!
//! Ids are kept where they are free; a different row under a taken id gets a new one above every id
//! that any source ever gave out. What a constraint refuses, and a second version of a key, is held
//! whole. The caller's transaction covers all of it.

use std::cell::Cell;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, Result, Statement, ffi, params};
use streamhub::report::Tally;
use streamhub_engine::error::Fault;
use streamhub_engine::names::{quoted, quoted_list};
use streamhub_engine::reshape::{add_missing_columns, columns};
use streamhub_engine::time;

use crate::batch::Batch;
use crate::convert::Converter;
use crate::cursor::Layout;
use crate::multiset::Multiset;
use crate::older::Table;
use crate::rows::{self, Digest, Print, Printer};

/// What may be done with a row that app.db lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Bring it in.
    Import,
    /// The app has lived on since an import, so the row may have been deleted there: only count it.
    Compare,
}

/// Where a row comes from, as reports and held rows name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The control database.
    Control,
    /// The app's own `vods.db`.
    VodsDb,
    /// The older app.db itself, where a row of it does not fit the newer schema.
    AppDb,
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::VodsDb => "vods.db",
            Self::AppDb => "app.db",
        }
    }
}

/// How many rows one statement inserts: what it does once, such as laying out the values that a `CHECK` allows,
/// costs as much as inserting a row.
const TOGETHER: usize = 32;

/// How a source's rows are laid out: `rowid, id, app_id`, then these columns.
pub(crate) const FIRST_CONTENT: usize = 3;

/// The start of a query in that layout, without its FROM. A table without rowids has 0 for all of them.
pub(crate) fn select_list(table: &Table, content: &[String], rowid: Option<&str>, alias: &str) -> String {
    let rowid = rowid.map_or_else(|| "0".to_owned(), |rowid| format!("{alias}.{rowid}"));
    let numbers =
        if table.numbered { format!("{alias}.id, {alias}.app_id") } else { "NULL, NULL".to_owned() };
    let content: Vec<_> = content.iter().map(|name| format!("{alias}.{}", quoted(name))).collect();
    format!("{rowid}, {numbers}, {}", content.join(", "))
}

/// One source's table on its way into an app.db.
pub(crate) struct Importer<'c> {
    db: &'c Connection,
    table: &'static Table,
    source: Source,
    policy: Policy,
    app_id: i64,
    content: Vec<String>,
    printer: Printer,
    next_id: &'c Cell<i64>,
    insert: Statement<'c>,
    insert_together: String,
    find: Option<Statement<'c>>,
    /// Only where types have to be brought to the table's own first.
    converter: Option<Converter<'c>>,
    pub(crate) tally: Tally,
    /// What the source held.
    pub(crate) seen: Digest,
    /// What was brought in.
    pub(crate) gained: Digest,
}

impl<'c> Importer<'c> {
    /// Columns of the source that the table lacks are added to it.
    pub(crate) fn new(
        db: &'c Connection,
        table: &'static Table,
        source: Source,
        from: &Layout,
        policy: Policy,
        app_id: i64,
        next_id: &'c Cell<i64>,
    ) -> Result<Self> {
        let Layout { content, columns: theirs } = from;
        add_missing_columns(db, table.name, theirs)?;
        let ours = columns(db, table.name)?;
        let (numbers, slots) = if table.numbered { ("id, app_id, ", 2) } else { ("", 0) };
        let into = format!("INTO {} ({numbers}{}) VALUES", table.name, quoted_list(content));
        let row = format!("({})", vec!["?"; slots + content.len()].join(", "));
        let find = table
            .key
            .map(|key| format!("SELECT {} FROM {} WHERE {key} = ?1", quoted_list(content), table.name));
        Ok(Self {
            db,
            table,
            source,
            policy,
            app_id,
            next_id,
            insert: db.prepare(&format!("INSERT {into} {row}"))?,
            insert_together: format!("INSERT OR FAIL {into} {}", vec![row; TOGETHER].join(", ")),
            find: find.map(|sql| db.prepare(&sql)).transpose()?,
            converter: Converter::where_needed(db, table, content, theirs, &ours)?,
            printer: Printer::new(table.columns, content),
            content: content.clone(),
            tally: Tally::default(),
            seen: Digest::default(),
            gained: Digest::default(),
        })
    }

    pub(crate) fn table_name(&self) -> &'static str {
        self.table.name
    }

    /// Takes rows in the layout of [`select_list`]. Without `contents` the table began empty and this source is the
    /// only one, so that its rows are distinct as they are.
    pub(crate) fn feed(&mut self, batch: &Batch, mut contents: Option<&mut Multiset<'_>>) -> Result<()> {
        batch.each(TOGETHER, |rows, prints| {
            let mut inserted = 0;
            if prints.len() == TOGETHER && contents.is_none() && self.converter.is_none() {
                inserted = self.insert_together(rows)?;
            }
            for print in &prints[..inserted] {
                self.found(print);
                self.imported(print);
            }
            let singly = rows.chunks_exact(rows.len() / prints.len()).zip(prints).skip(inserted);
            for (row, print) in singly {
                self.feed_one(row, print, contents.as_deref_mut())?;
            }
            Ok(())
        })
    }

    /// Inserts rows in one statement, up to the first that a constraint refuses; says how many. None of them
    /// where one has no id of its own.
    fn insert_together(&self, rows: &[ValueRef<'_>]) -> Result<usize> {
        let mut insert = self.db.prepare_cached(&self.insert_together)?;
        let mut places = 1..;
        let mut bind = |value: ValueRef<'_>| {
            let place = places.next().expect("there is no last number");
            insert.raw_bind_parameter(place, ToSqlOutput::Borrowed(value))
        };
        for row in rows.chunks_exact(rows.len() / TOGETHER) {
            if self.table.numbered {
                if !matches!(row[1], ValueRef::Integer(_)) {
                    return Ok(0);
                }
                bind(row[1])?;
                bind(ValueRef::Integer(self.app_id))?;
            }
            self.values(row).iter().try_for_each(|value| bind(*value))?;
        }
        match insert.raw_execute() {
            Ok(inserted) => Ok(inserted),
            Err(error) if Fault::of_sqlite(&error) == Fault::Constraint => {
                Ok(usize::try_from(self.db.changes()).expect("no more than there were"))
            }
            Err(error) => Err(error),
        }
    }

    fn feed_one(
        &mut self,
        row: &[ValueRef<'_>],
        print: &Print,
        contents: Option<&mut Multiset<'_>>,
    ) -> Result<()> {
        let values = self.values(row);
        self.found(print);
        let Some(converted) = self.converted(values)? else {
            return self.feed_values(row, values, print, contents);
        };
        let values: Vec<_> = converted.iter().map(ValueRef::from).collect();
        let print = self.printer.print(values.iter().copied());
        self.feed_values(row, &values, &print, contents)
    }

    fn values<'r, 'v>(&self, row: &'r [ValueRef<'v>]) -> &'r [ValueRef<'v>] {
        &row[FIRST_CONTENT..FIRST_CONTENT + self.content.len()]
    }

    fn converted(&mut self, values: &[ValueRef<'_>]) -> Result<Option<Vec<Value>>> {
        self.converter.as_mut().map_or(Ok(None), |converter| converter.convert(values))
    }

    fn feed_values(
        &mut self,
        row: &[ValueRef<'_>],
        values: &[ValueRef<'_>],
        print: &Print,
        contents: Option<&mut Multiset<'_>>,
    ) -> Result<()> {
        // A NULL is no key: such rows are told apart by content, as those of a table without a key.
        match self.key_of(values) {
            Some(key) => self.feed_keyed(key, row, values, print),
            None => self.feed_counted(row, values, print, contents),
        }
    }

    fn key_of<'v>(&self, values: &[ValueRef<'v>]) -> Option<ValueRef<'v>> {
        let key = self.table.key?;
        let at = self.content.iter().position(|name| name == key).expect("a key is a content column");
        (values[at] != ValueRef::Null).then_some(values[at])
    }

    fn feed_keyed(
        &mut self,
        key: ValueRef<'_>,
        row: &[ValueRef<'_>],
        values: &[ValueRef<'_>],
        print: &Print,
    ) -> Result<()> {
        if self.policy == Policy::Compare {
            match self.find(key, print)? {
                Some(true) => self.tally.already_there += 1,
                Some(false) | None => self.count_absent(row)?,
            }
            return Ok(());
        }
        match self.try_insert(row, values)? {
            Ok(()) => self.imported(print),
            Err(refusal) if refusal.is_unique() => match self.find(key, print)? {
                Some(true) => self.tally.already_there += 1,
                _ => self.hold(row, "another version of this key is there", Held::Conflict)?,
            },
            Err(refusal) => self.hold(row, &refusal.0.to_string(), Held::Failure)?,
        }
        Ok(())
    }

    fn feed_counted(
        &mut self,
        row: &[ValueRef<'_>],
        values: &[ValueRef<'_>],
        print: &Print,
        contents: Option<&mut Multiset<'_>>,
    ) -> Result<()> {
        let Some(contents) = contents else {
            return self.insert(row, values, print);
        };
        if contents.see(print)? {
            self.tally.already_there += 1;
            return Ok(());
        }
        if self.policy == Policy::Compare {
            return self.count_absent(row);
        }
        let before = self.tally.imported;
        self.insert(row, values, print)?;
        if self.tally.imported > before { contents.gain(print) } else { Ok(()) }
    }

    fn insert(&mut self, row: &[ValueRef<'_>], values: &[ValueRef<'_>], print: &Print) -> Result<()> {
        match self.try_insert(row, values)? {
            Ok(()) => self.imported(print),
            Err(refusal) => self.hold(row, &refusal.0.to_string(), Held::Failure)?,
        }
        Ok(())
    }

    fn found(&mut self, print: &Print) {
        self.tally.found += 1;
        self.seen.add(print);
    }

    fn imported(&mut self, print: &Print) {
        self.tally.imported += 1;
        self.gained.add(print);
    }

    /// Inserts under the row's own id, or where that is taken under a new one.
    fn try_insert(
        &mut self,
        row: &[ValueRef<'_>],
        values: &[ValueRef<'_>],
    ) -> Result<std::result::Result<(), Refusal>> {
        if !self.table.numbered {
            return self.bind_and_run(None, values);
        }
        let own: Option<i64> = match row[1] {
            ValueRef::Integer(id) => Some(id),
            _ => None,
        };
        if let Some(id) = own {
            match self.bind_and_run(Some(id), values)? {
                Err(refusal) if refusal.is_taken_id() => {}
                done => return Ok(done),
            }
        }
        let id = self.next_id.get();
        let Some(next) = id.checked_add(1) else {
            let full = ffi::Error::new(ffi::SQLITE_FULL);
            return Ok(Err(Refusal(Error::SqliteFailure(full, Some("no id is left".to_owned())))));
        };
        let done = self.bind_and_run(Some(id), values)?;
        if done.is_ok() {
            self.next_id.set(next);
        }
        Ok(done)
    }

    fn bind_and_run(
        &mut self,
        id: Option<i64>,
        values: &[ValueRef<'_>],
    ) -> Result<std::result::Result<(), Refusal>> {
        let mut at = 1;
        if self.table.numbered {
            self.insert.raw_bind_parameter(1, id)?;
            self.insert.raw_bind_parameter(2, self.app_id)?;
            at = 3;
        }
        for value in values {
            self.insert.raw_bind_parameter(at, ToSqlOutput::Borrowed(*value))?;
            at += 1;
        }
        match self.insert.raw_execute() {
            Ok(_) => Ok(Ok(())),
            Err(error) if Fault::of_sqlite(&error) == Fault::Constraint => Ok(Err(Refusal(error))),
            Err(error) => Err(error),
        }
    }

    /// Whether the key is there, and if so with the same content.
    fn find(&mut self, key: ValueRef<'_>, print: &Print) -> Result<Option<bool>> {
        let find = self.find.as_mut().expect("only keyed tables are searched by key");
        let mut found = find.query([ToSqlOutput::Borrowed(key)])?;
        let Some(row) = found.next()? else { return Ok(None) };
        let values = (0..self.content.len()).map(|at| row.get_ref_unwrap(at));
        Ok(Some(self.printer.print(values) == *print))
    }

    /// A row that app.db lacks and that is not brought in: held by an earlier import, or left over.
    fn count_absent(&mut self, row: &[ValueRef<'_>]) -> Result<()> {
        let mut held = self.db.prepare_cached(
            "SELECT reason FROM _streamhub_unimported \
             WHERE source = ?1 AND source_table = ?2 AND source_rowid = ?3 AND row_json = ?4",
        )?;
        let mut found =
            held.query(params![self.source.name(), self.table.name, rowid(row), self.whole_row(row)])?;
        match found.next()? {
            None => self.tally.left_over += 1,
            Some(held) => match Held::of(&held.get::<_, String>(0)?) {
                Held::Conflict => self.tally.conflicts += 1,
                Held::Failure => self.tally.failures += 1,
            },
        }
        Ok(())
    }

    fn hold(&mut self, row: &[ValueRef<'_>], reason: &str, held: Held) -> Result<()> {
        match held {
            Held::Conflict => self.tally.conflicts += 1,
            Held::Failure => self.tally.failures += 1,
        }
        hold(self.db, self.source, self.table.name, rowid(row), &held.reason(reason), &self.whole_row(row))
    }

    fn whole_row(&self, row: &[ValueRef<'_>]) -> String {
        let numbers = ["id", "app_id"].into_iter().zip(row[1..].iter().copied());
        let content = self.content.iter().map(String::as_str).zip(self.values(row).iter().copied());
        rows::json(numbers.filter(|_| self.table.numbered).chain(content))
    }
}

fn rowid(row: &[ValueRef<'_>]) -> i64 {
    row[0].as_i64().expect("a rowid is a number")
}

/// Keeps a row whole in `_streamhub_unimported`; a row that is held already is held once.
pub(crate) fn hold(
    db: &Connection,
    source: Source,
    table: &str,
    rowid: i64,
    reason: &str,
    row_json: &str,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO _streamhub_unimported (source, source_table, source_rowid, reason, row_json, held_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?
    .execute(params![source.name(), table, rowid, reason, row_json, time::now()])
    .map(drop)
}

/// Why a row is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Conflict,
    Failure,
}

impl Held {
    const CONFLICT: &'static str = "conflict: ";

    fn reason(self, words: &str) -> String {
        match self {
            Self::Conflict => format!("{}{words}", Self::CONFLICT),
            Self::Failure => format!("refused: {words}"),
        }
    }

    fn of(reason: &str) -> Self {
        if reason.starts_with(Self::CONFLICT) { Self::Conflict } else { Self::Failure }
    }
}

/// A constraint's refusal of one row.
struct Refusal(Error);

impl Refusal {
    fn code(&self) -> i32 {
        self.0.sqlite_error().map_or(0, |error| error.extended_code)
    }

    fn is_unique(&self) -> bool {
        matches!(self.code(), ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
    }

    fn is_taken_id(&self) -> bool {
        matches!(self.code(), ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID)
    }
}
