//! Rows on their way from the thread that reads them to the one that takes them.

use rusqlite::types::ValueRef;
use rusqlite::{Result, Row};

use crate::rows::Print;

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

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.cells.len() >= ROWS * self.width
    }

    /// Appends a row's first values.
    pub(crate) fn push(&mut self, row: &Row<'_>, print: Print) -> Result<()> {
        self.prints.push(print);
        for at in 0..self.width {
            let cell = match row.get_ref(at)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Integer(number),
                ValueRef::Real(number) => Cell::Real(number),
                ValueRef::Text(text) => Cell::Text(self.keep(text)),
                ValueRef::Blob(blob) => Cell::Blob(self.keep(blob)),
            };
            self.cells.push(cell);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> usize {
        self.bytes.extend_from_slice(bytes);
        bytes.len()
    }

    /// Gives every row and its print to `visit`, in order.
    pub(crate) fn each<E>(
        &self,
        mut visit: impl FnMut(&[ValueRef<'_>], &Print) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut rest = self.bytes.as_slice();
        let mut row = Vec::with_capacity(self.width);
        for (cells, print) in self.cells.chunks_exact(self.width).zip(&self.prints) {
            row.clear();
            row.extend(cells.iter().map(|cell| match *cell {
                Cell::Null => ValueRef::Null,
                Cell::Integer(number) => ValueRef::Integer(number),
                Cell::Real(number) => ValueRef::Real(number),
                Cell::Text(len) => ValueRef::Text(split(&mut rest, len)),
                Cell::Blob(len) => ValueRef::Blob(split(&mut rest, len)),
            }));
            visit(&row, print)?;
        }
        Ok(())
    }
}

fn split<'b>(rest: &mut &'b [u8], len: usize) -> &'b [u8] {
    let (bytes, others) = rest.split_at(len);
    *rest = others;
    bytes
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a database in memory is enough to make rows")]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn rows_come_out_as_they_went_in() {
        let db = Connection::open_in_memory().unwrap();
        let mut batch = Batch::new(3);
        let mut query = db
            .prepare("VALUES (1, 'a', x'00ff', 'owner'), (NULL, '', 2.5, 'owner'), ('ü', -7, x'', 'owner')")
            .unwrap();
        let mut rows = query.query([]).unwrap();
        let mut n = 0;
        while let Some(row) = rows.next().unwrap() {
            batch.push(row, [n; 32]).unwrap();
            n += 1;
        }
        let mut seen = Vec::new();
        let all: std::result::Result<(), ()> = batch.each(|row, print| {
            seen.push((format!("{row:?}"), print[0]));
            Ok(())
        });
        all.unwrap();
        let row = |values: [ValueRef<'_>; 3], print| (format!("{values:?}"), print);
        let expected = [
            row([ValueRef::Integer(1), ValueRef::Text(b"a"), ValueRef::Blob(&[0, 255])], 0),
            row([ValueRef::Null, ValueRef::Text(b""), ValueRef::Real(2.5)], 1),
            row([ValueRef::Text("ü".as_bytes()), ValueRef::Integer(-7), ValueRef::Blob(b"")], 2),
        ];
        assert_eq!(seen, expected);
        assert!(!batch.is_full() && !batch.is_empty());
    }
}
