//! Rows of the three tables that belong to an app, and values that need not be what their column is meant for.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::fingerprint::CONTENT;

/// A table whose rows belong to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Live and ended streams.
    Streams,
    /// Recordings.
    Vods,
    /// Who may publish.
    Ingress,
}

impl Table {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Streams, Self::Vods, Self::Ingress];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        CONTENT[self as usize].0
    }

    /// Its columns but for the row id and `app_id`.
    pub fn columns(self) -> &'static [&'static str] {
        CONTENT[self as usize].1
    }

    /// The columns that are declared NOT NULL.
    pub(crate) fn required(self) -> &'static [&'static str] {
        match self {
            Self::Streams => &["stream_id", "type", "status", "started_at"],
            Self::Vods => &["name", "status"],
            Self::Ingress => &["app", "requires_password", "created_at"],
        }
    }

    /// The column that no two rows share. A NULL is no value to share: SQLite lets even a text primary key be NULL.
    pub(crate) fn unique(self) -> Option<&'static str> {
        match self {
            Self::Streams => Some("stream_id"),
            Self::Vods => None,
            Self::Ingress => Some("ingress_id"),
        }
    }
}

/// One value, of any storage class; a text may be no UTF-8 and may hold a NUL.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// A text's bytes.
    Text(Vec<u8>),
    /// A blob.
    Blob(Vec<u8>),
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text.into_bytes())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row to be written; what is not set has a value that depends on nothing but the row's key, so that two rows made
/// with the same key are equal wherever they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub(crate) table: Table,
    pub(crate) id: Option<i64>,
    /// `None`: the id of the app that the row is given to.
    pub(crate) app_id: Option<Cell>,
    /// In the order of [`Table::columns`]; `None` only for an ingress row's app: the name of the one it is given to.
    pub(crate) cells: Vec<Option<Cell>>,
}

/// A row of `streams`.
pub fn stream(stream_id: &str) -> Row {
    Row::new(
        Table::Streams,
        vec![
            stream_id.into(),
            "webrtc".into(),
            "lobby".into(),
            "p1".into(),
            "ended".into(),
            "2026-01-01T00:01:01.000Z".into(),
            "2026-01-01 00:03:03".into(),
            Cell::Null,
        ],
    )
}

/// A row of `vods`.
pub fn vod(name: &str) -> Row {
    Row::new(
        Table::Vods,
        vec![
            Cell::Null,
            "lobby".into(),
            name.into(),
            format!("prefix/{name}").into(),
            Cell::Null,
            Cell::Null,
            2_312_765_122_i64.into(),
            667.04.into(),
            1920.into(),
            1080.into(),
            "mp4".into(),
            "ready".into(),
            format!("recordings/{name}").into(),
            "2026-01-01 00:00:00".into(),
            "2026-01-01T00:11:07.040Z".into(),
            r#"{"title":"Stream №1","q":"it's"}"#.into(),
            Cell::Null,
        ],
    )
}

/// A row of `ingress_auth`.
pub fn ingress(ingress_id: &str) -> Row {
    let mut row = Row::new(
        Table::Ingress,
        vec![
            ingress_id.into(),
            Cell::Null,
            "lobby".into(),
            format!("key-{ingress_id}").into(),
            Cell::Null,
            Cell::Null,
            0.into(),
            Cell::Null,
            "2026-01-01 00:00:00".into(),
        ],
    );
    row.cells[1] = None;
    row
}

impl Row {
    fn new(table: Table, cells: Vec<Cell>) -> Self {
        assert_eq!(cells.len(), table.columns().len(), "one value for each column of {}", table.name());
        Self { table, id: None, app_id: None, cells: cells.into_iter().map(Some).collect() }
    }

    /// Gives a column another value.
    ///
    /// # Panics
    /// Where the table has no such column.
    #[must_use]
    pub fn set(mut self, column: &str, value: impl Into<Cell>) -> Self {
        let place = self.place(column);
        self.cells[place] = Some(value.into());
        self
    }

    /// Makes a column NULL.
    #[must_use]
    pub fn null(self, column: &str) -> Self {
        self.set(column, Cell::Null)
    }

    /// Fixes the row id; without it the next free one is taken. `ingress_auth` has none.
    #[must_use]
    pub fn id(mut self, id: i64) -> Self {
        self.id = Some(id);
        self
    }

    /// Says that the row belongs to the app with this id, whoever it is given to.
    #[must_use]
    pub fn of_app(mut self, app_id: impl Into<Cell>) -> Self {
        self.app_id = Some(app_id.into());
        self
    }

    /// The value of a column, unless it follows from the app.
    pub(crate) fn cell(&self, column: &str) -> Option<&Cell> {
        self.cells[self.place(column)].as_ref()
    }

    fn place(&self, column: &str) -> usize {
        let columns = self.table.columns();
        let place = columns.iter().position(|have| *have == column);
        place.unwrap_or_else(|| panic!("{} has no column {column}", self.table.name()))
    }

    /// The row as it is for the app that it was given to.
    pub(crate) fn given_to(&self, id: i64, name: &str) -> Self {
        let mut row = self.clone();
        row.app_id.get_or_insert(Cell::Integer(id));
        for cell in &mut row.cells {
            cell.get_or_insert_with(|| name.into());
        }
        row
    }

    /// Column names and values to insert. The owner must be settled.
    pub(crate) fn insertion(&self) -> (Vec<&'static str>, Vec<&Cell>) {
        let mut columns = Vec::with_capacity(self.cells.len() + 1);
        let mut values = Vec::with_capacity(columns.capacity());
        if self.table != Table::Ingress {
            columns.push("app_id");
            values.push(self.app_id.as_ref().expect("a row that belongs to nobody names an app_id"));
        }
        columns.extend(self.table.columns());
        values.extend(
            self.cells
                .iter()
                .map(|c| c.as_ref().expect("an ingress row that belongs to nobody sets its app")),
        );
        (columns, values)
    }
}
