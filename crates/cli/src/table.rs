//! Lists and single things: for programs as the HTTP API answers them, for people in columns.

use std::fmt;

use serde::Serialize;

use crate::output::visible;

/// All things of a kind.
#[derive(Serialize)]
pub(crate) struct List<T> {
    data: Vec<T>,
    total: usize,
    /// Always null, as in the HTTP API's answers.
    error: (),
}

/// What a list shows of one thing.
pub(crate) trait Row {
    /// The things, as an empty list names them.
    const THINGS: &'static str;
    /// The columns' headings.
    const COLUMNS: &'static [&'static str];
    /// What stands in each column.
    fn cells(&self) -> Vec<String>;
}

/// One thing as the HTTP API wraps the answers about databases.
#[derive(Serialize)]
pub(crate) struct Wrapped<'a, T> {
    data: &'a T,
    error: (),
}

/// Names and values, one pair a line.
pub(crate) struct Sheet(Vec<(&'static str, String)>);

impl<T> List<T> {
    pub(crate) fn of(data: Vec<T>) -> Self {
        Self { total: data.len(), data, error: () }
    }
}

impl<'a, T> Wrapped<'a, T> {
    pub(crate) fn of(data: &'a T) -> Self {
        Self { data, error: () }
    }
}

impl Sheet {
    pub(crate) fn of(lines: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(lines.into_iter().collect())
    }
}

/// A value that may be absent.
pub(crate) fn or_dash(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

/// Things, one a line, below their headings.
pub(crate) fn columns<T: Row>(f: &mut fmt::Formatter<'_>, things: &[T]) -> fmt::Result {
    if things.is_empty() {
        return writeln!(f, "no {}", T::THINGS);
    }
    let head = T::COLUMNS.iter().map(|&heading| heading.to_owned()).collect();
    // A line's end in a cell would look like another thing.
    let cells = |thing: &T| thing.cells().iter().map(|cell| visible(cell).into_owned()).collect();
    let lines: Vec<Vec<String>> = [head].into_iter().chain(things.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..T::COLUMNS.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

impl<T: Row> fmt::Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        columns(f, &self.data)
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        self.0.iter().try_for_each(|(name, value)| writeln!(f, "{name:<width$}  {}", visible(value)))
    }
}
