//! Lists: conditions, order, and one page of the rows.

use std::borrow::Cow;

use rusqlite::types::ToSql;
use rusqlite::{Row, params_from_iter};
use serde::Serialize;
use streamhub_engine::ReadTx;

use crate::error::{Result, StoreError};

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    limit: Option<u32>,
    offset: u32,
}

/// A part of a list, and how long the whole is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed<T> {
    /// The rows of the page.
    pub data: Vec<T>,
    /// How many rows the filter finds on all pages.
    pub total: u64,
}

impl Page {
    /// Rows of a page at most.
    pub const MAX_LIMIT: u32 = 1000;

    /// Every row. The caller answers for the memory.
    pub const ALL: Self = Self { limit: None, offset: 0 };

    /// `limit` rows (1 to 1000) after the first `offset`.
    pub fn new(limit: u32, offset: u32) -> Result<Self> {
        if (1..=Self::MAX_LIMIT).contains(&limit) {
            Ok(Self { limit: Some(limit), offset })
        } else {
            Err(StoreError::invalid("limit", format!("{limit} is not between 1 and {}", Self::MAX_LIMIT)))
        }
    }

    /// Rows of the page at most; none for all.
    pub fn limit(self) -> Option<u32> {
        self.limit
    }

    /// Rows before the page.
    pub fn offset(self) -> u32 {
        self.offset
    }
}

impl Default for Page {
    /// The first 200.
    fn default() -> Self {
        Self { limit: Some(200), offset: 0 }
    }
}

/// A list to be read.
pub(crate) struct Query<'a> {
    pub(crate) table: &'static str,
    pub(crate) columns: Cow<'static, str>,
    pub(crate) order: String,
    pub(crate) page: Page,
    conditions: Vec<Cow<'static, str>>,
    values: Vec<&'a dyn ToSql>,
}

impl<'a> Query<'a> {
    pub(crate) fn new(
        table: &'static str,
        columns: impl Into<Cow<'static, str>>,
        order: impl Into<String>,
        page: Page,
    ) -> Self {
        let (columns, order) = (columns.into(), order.into());
        Self { table, columns, order, page, conditions: Vec::new(), values: Vec::new() }
    }

    /// Adds a condition with one `?`, where there is a value for it.
    pub(crate) fn filter<T: ToSql>(
        self,
        condition: impl Into<Cow<'static, str>>,
        value: Option<&'a T>,
    ) -> Self {
        match value {
            Some(value) => self.only(condition, [value as &dyn ToSql]),
            None => self,
        }
    }

    /// Adds a condition with as many `?` as there are values.
    pub(crate) fn only(
        mut self,
        condition: impl Into<Cow<'static, str>>,
        values: impl IntoIterator<Item = &'a dyn ToSql>,
    ) -> Self {
        self.conditions.push(condition.into());
        self.values.extend(values);
        self
    }

    pub(crate) fn count(&self, tx: &ReadTx<'_>) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}{}", self.table, self.condition());
        Ok(tx.query_row(&sql, params_from_iter(&self.values), |row| row.get(0))?)
    }

    pub(crate) fn rows<T>(
        &self,
        tx: &ReadTx<'_>,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        // To SQLite a negative limit is none.
        let limit = self.page.limit.map_or(-1, i64::from);
        let values = self.values.iter().copied().chain([&limit as &dyn ToSql, &self.page.offset]);
        Ok(tx.query_all(&self.sql(), params_from_iter(values), read)?)
    }

    /// The first rows, whatever the page.
    pub(crate) fn first<T>(
        mut self,
        tx: &ReadTx<'_>,
        many: usize,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.page = Page { limit: Some(u32::try_from(many).unwrap_or(u32::MAX)), offset: 0 };
        self.rows(tx, read)
    }

    pub(crate) fn list<T>(
        &self,
        tx: &ReadTx<'_>,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Listed<T>> {
        Ok(Listed { data: self.rows(tx, read)?, total: self.count(tx)? })
    }

    pub(crate) fn sql(&self) -> String {
        let condition = self.condition();
        format!(
            "SELECT {} FROM {}{condition} ORDER BY {} LIMIT ? OFFSET ?",
            self.columns, self.table, self.order
        )
    }

    fn condition(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_between_one_and_a_thousand_rows() {
        assert!(Page::new(0, 0).is_err());
        assert_eq!(Page::new(1001, 0).unwrap_err().to_string(), "limit: 1001 is not between 1 and 1000");
        assert_eq!(Page::new(1000, 7).unwrap(), Page { limit: Some(1000), offset: 7 });
        assert_eq!(Page::default().limit(), Some(200));
    }
}
