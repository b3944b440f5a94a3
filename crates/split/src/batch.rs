//! Rows on their way from the thread that reads them to the one that takes them.

use rusqlite::types::ValueRef;
use rusqlite::{Result, Row};

use crate::import::FIRST_CONTENT;
use crate::rows::{Print, Printer};

/// How many rows travel together.
const ROWS: usize = 256;

/// Some rows of one table and their prints, the values behind one another: few allocations, however many
/// values. The thread that reads makes the prints, since it has the time: inserting takes longer.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    width: usize,
    prints: Vec<Print>,
    cells: Vec<Cell>,
    /// The text and blobs of the cells, in their order.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(usize),
    Blob(usize),
}

impl Batch {
    /// For rows of so many values.
    pub(crate) fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.prints.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= ROWS
    }

    /// Appends a row's first values and the print of those that are its content.
    pub(crate) fn push(&mut self, row: &Row<'_>, printer: &mut Printer) -> Result<()> {
        let first = self.cells.len();
        let mut content = self.bytes.len();
        for at in 0..self.width {
            if at == FIRST_CONTENT {
                content = self.bytes.len();
            }
            let cell = match row.get_ref(at)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Integer(number),
                ValueRef::Real(number) => Cell::Real(number),
                ValueRef::Text(text) => Cell::Text(self.keep(text)),
                ValueRef::Blob(blob) => Cell::Blob(self.keep(blob)),
            };
            self.cells.push(cell);
        }
        let content = Values { cells: &self.cells[first + FIRST_CONTENT..], bytes: &self.bytes[content..] };
        self.prints.push(printer.print(content));
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> usize {
        self.bytes.extend_from_slice(bytes);
        bytes.len()
    }

    /// Gives all rows and their prints to `visit`, in order and so many at a time: their values behind one another.
    pub(crate) fn each<E>(
        &self,
        rows: usize,
        mut visit: impl FnMut(&[ValueRef<'_>], &[Print]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut all = Values { cells: &self.cells, bytes: &self.bytes };
        let mut values = Vec::with_capacity(rows * self.width);
        for prints in self.prints.chunks(rows) {
            values.clear();
            values.extend(all.by_ref().take(prints.len() * self.width));
            visit(&values, prints)?;
        }
        Ok(())
    }
}

/// The values of some cells, one after the other.
struct Values<'b> {
    cells: &'b [Cell],
    bytes: &'b [u8],
}

impl<'b> Iterator for Values<'b> {
    type Item = ValueRef<'b>;

    fn next(&mut self) -> Option<ValueRef<'b>> {
        let (cell, others) = self.cells.split_first()?;
        self.cells = others;
        Some(match *cell {
            Cell::Null => ValueRef::Null,
            Cell::Integer(number) => ValueRef::Integer(number),
            Cell::Real(number) => ValueRef::Real(number),
            Cell::Text(len) => ValueRef::Text(self.split(len)),
            Cell::Blob(len) => ValueRef::Blob(self.split(len)),
        })
    }
}

impl<'b> Values<'b> {
    fn split(&mut self, len: usize) -> &'b [u8] {
        let (bytes, others) = self.bytes.split_at(len);
        self.bytes = others;
        bytes
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a database in memory is enough to make rows")]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn rows_come_out_as_they_went_in_with_the_prints_of_their_content() {
        let db = Connection::open_in_memory().unwrap();
        let columns = ["first", "second", "third"].map(str::to_owned);
        let mut printer = Printer::new(&[], &columns);
        let mut batch = Batch::new(FIRST_CONTENT + 3);
        let mut query = db
            .prepare(
                "VALUES (1, 'one', NULL, 1, 'a', x'00ff', 'owner'), (2, 2, 7, NULL, '', 2.5, 'owner'), \
                 (3, x'03', 7, 'ü', -7, x'', 'owner')",
            )
            .unwrap();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            batch.push(row, &mut printer).unwrap();
        }
        let row = |numbers: [ValueRef<'_>; FIRST_CONTENT], content: [ValueRef<'_>; 3]| {
            (format!("{:?}", [numbers, content].concat()), printer.clone().print(content.into_iter()))
        };
        let [one, two, three, seven] = [1, 2, 3, 7].map(ValueRef::Integer);
        let expected = [
            row(
                [one, ValueRef::Text(b"one"), ValueRef::Null],
                [one, ValueRef::Text(b"a"), ValueRef::Blob(&[0, 255])],
            ),
            row([two, two, seven], [ValueRef::Null, ValueRef::Text(b""), ValueRef::Real(2.5)]),
            row(
                [three, ValueRef::Blob(&[3]), seven],
                [ValueRef::Text("ü".as_bytes()), ValueRef::Integer(-7), ValueRef::Blob(b"")],
            ),
        ];
        for together in 1..5 {
            let mut given = Vec::new();
            let all: std::result::Result<(), ()> = batch.each(together, |rows, prints| {
                assert!(prints.len() <= together);
                let rows = rows.chunks_exact(FIRST_CONTENT + 3).map(|row| format!("{row:?}"));
                given.extend(rows.zip(prints.iter().copied()));
                Ok(())
            });
            all.unwrap();
            assert_eq!(given, expected, "{together} at a time");
        }
    }
}
