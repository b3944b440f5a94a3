//! Which recordings are listed, and in which order.

use std::borrow::Cow;

use rusqlite::types::Value;
use streamhub_engine::time::Moment;
use streamhub_engine::{normalised, words};

use crate::page::{Page, Query};
use crate::vods::Status;

/// Which recordings are listed; the default is the latest 200.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VodFilter {
    /// Only those of this room.
    pub room: Option<String>,
    /// Only those that are this far.
    pub status: Option<Status>,
    /// Only those that began then or later.
    pub since: Option<Moment>,
    /// Only those that began then or earlier.
    pub until: Option<Moment>,
    /// What they are ordered by; the number decides between equals, in the same direction.
    pub order: Order,
    /// In which direction.
    pub dir: Dir,
    /// Which part of them.
    pub page: Page,
}

words! {
    /// What recordings are ordered by. Those without a value come where the smallest would.
    #[derive(Default)]
    pub enum Order {
        /// When they began.
        #[default]
        StartedAt = "started_at",
        /// Their size.
        SizeBytes = "size_bytes",
        /// Their number.
        Id = "id",
    }
}

words! {
    /// A direction.
    #[derive(Default)]
    pub enum Dir {
        /// The smallest first.
        Asc = "asc",
        /// The largest first.
        #[default]
        Desc = "desc",
    }
}

/// A place between two recordings of a list, from which it goes on whatever became of the rows before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// What the row before it was ordered by.
    pub(super) value: Value,
    /// The row's number.
    pub(super) id: i64,
}

impl VodFilter {
    pub(crate) fn query(&self, columns: &'static str) -> Query<'_> {
        let dir = self.dir;
        let order = match self.order {
            Order::Id => format!("id {dir}"),
            Order::StartedAt | Order::SizeBytes => format!("{} {dir}, id {dir}", self.value()),
        };
        self.ordered(columns, order, self.page)
    }

    /// The ranges of an index that are behind a place, in order, with what they are ordered by as a column more.
    pub(super) fn behind<'a>(&'a self, columns: &str, place: Option<&'a Place>) -> Vec<Query<'a>> {
        let (value, dir, all) = (self.value(), self.dir, Page::ALL);
        let columns = format!("{columns}, {value}");
        let by_value = || self.ordered(columns.clone(), format!("{value} {dir}, id {dir}"), all);
        let by_id = || self.ordered(columns.clone(), format!("id {dir}"), all);
        let beyond = if dir == Dir::Asc { '>' } else { '<' };
        let Some(Place { value: last, id }) = place else {
            return vec![if self.order == Order::Id { by_id() } else { by_value() }];
        };
        let next_ids = by_id().filter(format!("id {beyond} ?"), Some(id));
        if self.order == Order::Id {
            return vec![next_ids];
        }
        // Nothing is less than no value, so that these come first or last.
        let mut ranges = Vec::new();
        if *last == Value::Null {
            ranges.push(next_ids.only(format!("{value} IS NULL"), []));
            if dir == Dir::Asc {
                ranges.push(by_value().only(format!("{value} IS NOT NULL"), []));
            }
        } else {
            ranges.push(next_ids.filter(format!("{value} = ?"), Some(last)));
            ranges.push(by_value().filter(format!("{value} {beyond} ?"), Some(last)));
            if dir == Dir::Desc {
                ranges.push(by_id().only(format!("{value} IS NULL"), []));
            }
        }
        ranges
    }

    /// What recordings are ordered by; the index has it.
    fn value(&self) -> &'static str {
        match self.order {
            Order::StartedAt => normalised!("started_at"),
            Order::SizeBytes => "size_bytes",
            Order::Id => "NULL",
        }
    }

    fn ordered(&self, columns: impl Into<Cow<'static, str>>, order: String, page: Page) -> Query<'_> {
        Query::new("vods", columns, order, page)
            .filter("room = ?", self.room.as_ref())
            .filter("status = ?", self.status.as_ref())
            .filter(concat!(normalised!("started_at"), " >= ?"), self.since.as_ref())
            .filter(concat!(normalised!("started_at"), " <= ?"), self.until.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;
    use streamhub_engine::WriteTx;

    use super::*;
    use crate::testing::{database, plan};
    use crate::vods::{self, Vod};

    /// A row as an older program may have written it: its times in either spelling, or none.
    #[derive(Clone, Debug)]
    struct Written {
        room: Option<String>,
        status: Status,
        minute: Option<u8>,
        is_older_spelling: bool,
        size: Option<i64>,
    }

    fn moment(minute: u8) -> Moment {
        format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap()
    }

    fn word<T: Copy + std::fmt::Debug>(all: &'static [T]) -> impl Strategy<Value = T> {
        prop::sample::select(all)
    }

    fn room() -> impl Strategy<Value = String> {
        prop::sample::select(["lobby", "Lobby", ""].as_slice()).prop_map(str::to_owned)
    }

    fn written() -> impl Strategy<Value = Written> {
        let room = prop::option::of(room());
        let minute = prop::option::weighted(0.8, 0..6_u8);
        (room, word(Status::ALL), minute, any::<bool>(), prop::option::of(0..3_i64)).prop_map(
            |(room, status, minute, is_older_spelling, size)| Written {
                room,
                status,
                minute,
                is_older_spelling,
                size,
            },
        )
    }

    fn filter() -> impl Strategy<Value = VodFilter> {
        let bound = || prop::option::of((0..6_u8).prop_map(moment));
        let page =
            prop_oneof![Just(Page::ALL), (1..8_u32, 0..8_u32).prop_map(|(l, o)| Page::new(l, o).unwrap())];
        (
            prop::option::of(room()),
            prop::option::of(word(Status::ALL)),
            bound(),
            bound(),
            word(Order::ALL),
            word(Dir::ALL),
            page,
        )
            .prop_map(|(room, status, since, until, order, dir, page)| VodFilter {
                room,
                status,
                since,
                until,
                order,
                dir,
                page,
            })
    }

    /// What a filter finds, without SQL.
    fn model(rows: &[Written], filter: &VodFilter) -> (Vec<i64>, usize) {
        let mut found: Vec<(i64, &Written)> = (1..)
            .zip(rows)
            .filter(|(_, row)| filter.room.is_none() || filter.room == row.room)
            .filter(|(_, row)| filter.status.is_none_or(|status| status == row.status))
            .filter(|(_, row)| {
                filter.since.as_ref().is_none_or(|since| row.minute.is_some_and(|m| moment(m) >= *since))
            })
            .filter(|(_, row)| {
                filter.until.as_ref().is_none_or(|until| row.minute.is_some_and(|m| moment(m) <= *until))
            })
            .collect();
        found.sort_by(|(id, row), (other_id, other)| {
            let by_value = match filter.order {
                Order::StartedAt => row.minute.cmp(&other.minute),
                Order::SizeBytes => row.size.cmp(&other.size),
                Order::Id => Ordering::Equal,
            };
            let ascending = by_value.then(id.cmp(other_id));
            if filter.dir == Dir::Asc { ascending } else { ascending.reverse() }
        });
        let total = found.len();
        let ids = found.into_iter().map(|(id, _)| id).skip(filter.page.offset() as usize);
        (ids.take(filter.page.limit().map_or(usize::MAX, |limit| limit as usize)).collect(), total)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn a_filter_finds_what_the_model_finds(
            rows in prop::collection::vec(written(), 0..24),
            filters in prop::collection::vec(filter(), 1..8),
            limit in 1..6_u32,
        ) {
            let db = database();
            for row in &rows {
                let started_at = row.minute.map(|minute| if row.is_older_spelling {
                    format!("2026-01-01 00:{minute:02}:00")
                } else {
                    moment(minute).as_str().to_owned()
                });
                db.prepare_cached(
                    "INSERT INTO vods (app_id, name, room, status, started_at, size_bytes) \
                     VALUES (1, 'x', ?1, ?2, ?3, ?4)",
                ).unwrap().execute((&row.room, row.status, started_at, row.size)).unwrap();
            }
            let tx = WriteTx::within(&db);
            for filter in &filters {
                let (ids, total) = model(&rows, filter);
                let listed = vods::list(&tx, filter).unwrap();
                prop_assert_eq!(listed.data.iter().map(|vod| vod.id).collect::<Vec<_>>(), ids);
                prop_assert_eq!(listed.total, total as u64);
                prop_assert_eq!(vods::count(&tx, filter).unwrap(), total as u64);
                prop_assert_eq!(&vods::page(&tx, filter).unwrap(), &listed.data);
                let all = VodFilter { page: Page::ALL, ..filter.clone() };
                let (mut parts, mut place) = (Vec::new(), None);
                loop {
                    let (part, next) = vods::behind(&tx, filter, place.as_ref(), limit).unwrap();
                    prop_assert!(part.len() <= limit as usize);
                    parts.extend(part);
                    place = next;
                    if place.is_none() {
                        break;
                    }
                }
                prop_assert_eq!(parts, vods::page(&tx, &all).unwrap());
            }
        }

        #[test]
        fn pages_in_a_row_are_the_whole(sizes in prop::collection::vec(0..3_i64, 0..30), limit in 1..9_u32) {
            let db = database();
            for size in sizes {
                db.execute("INSERT INTO vods (app_id, name, size_bytes) VALUES (1, 'x', ?1)", [size]).unwrap();
            }
            let tx = WriteTx::within(&db);
            let part = |page| {
                let filter = VodFilter { order: Order::SizeBytes, page, ..VodFilter::default() };
                vods::page(&tx, &filter).unwrap()
            };
            let mut pages: Vec<Vod> = Vec::new();
            for number in 0..30 {
                pages.extend(part(Page::new(limit, number * limit).unwrap()));
            }
            prop_assert_eq!(pages, part(Page::ALL));
        }
    }

    #[test]
    fn filters_and_orders_are_served_by_the_indices() {
        let db = database();
        let status = Some(Status::Ready);
        let since = Some(moment(1));
        let until = Some(moment(2));
        let by_start = "_streamhub_vods_by_start";
        let by_status = "_streamhub_vods_by_status_and_start";
        for dir in Dir::ALL.iter().copied() {
            let all = VodFilter { dir, ..VodFilter::default() };
            for (filter, step) in [
                (all.clone(), format!("SCAN vods USING INDEX {by_start}")),
                (
                    VodFilter { status, ..all.clone() },
                    format!("SEARCH vods USING INDEX {by_status} (status=?)"),
                ),
                (
                    VodFilter { since: since.clone(), ..all.clone() },
                    format!("SEARCH vods USING INDEX {by_start} (<expr>>?)"),
                ),
                (
                    VodFilter { status, since: since.clone(), until: until.clone(), ..all.clone() },
                    format!("SEARCH vods USING INDEX {by_status} (status=? AND <expr>>? AND <expr><?)"),
                ),
                (VodFilter { order: Order::Id, ..all.clone() }, "SCAN vods".to_owned()),
            ] {
                // One step: no sorting.
                assert_eq!(plan(&db, &filter.query("*").sql()), step);
            }
            let room = VodFilter { room: Some("lobby".to_owned()), ..all };
            assert!(plan(&db, &room.query("*").sql()).contains("_streamhub_vods_by_room (room=?)"));
        }
    }

    #[test]
    fn long_recordings_come_in_short_parts() {
        let db = database();
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) \
                   INSERT INTO vods (app_id, name, size_bytes, metatags_json) \
                   SELECT 1, 'x', nullif(i % 5, 0), '\"' || hex(zeroblob(30000)) || '\"' FROM n";
        db.execute_batch(sql).unwrap();
        let tx = WriteTx::within(&db);
        for order in [Order::Id, Order::SizeBytes] {
            let filter = VodFilter { order, page: Page::ALL, ..VodFilter::default() };
            let (mut parts, mut place) = (Vec::new(), None);
            loop {
                let (part, next) = vods::behind(&tx, &filter, place.as_ref(), 1000).unwrap();
                parts.push(part);
                place = next;
                if place.is_none() {
                    break;
                }
            }
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [18, 18, 14], "a mebibyte each");
            assert_eq!(parts.concat(), vods::page(&tx, &filter).unwrap());
        }
    }

    #[test]
    fn what_is_behind_a_place_is_found_by_an_index() {
        let db = database();
        for dir in Dir::ALL.iter().copied() {
            for value in [Value::Null, Value::Text(moment(1).as_str().to_owned())] {
                let (place, filter) = (Place { value, id: 7 }, VodFilter { dir, ..VodFilter::default() });
                for query in filter.behind("*", Some(&place)) {
                    let plan = plan(&db, &query.sql());
                    // Those without a value are passed over once, on the way from them to the others.
                    let is_scan = dir == Dir::Asc && query.sql().contains("IS NOT NULL");
                    let step = if is_scan { "SCAN" } else { "SEARCH" };
                    assert!(
                        plan.starts_with(&format!("{step} vods USING INDEX _streamhub_vods_by_start")),
                        "{plan}"
                    );
                    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_allowed_is_named_with_what_is() {
        let text = "size".parse::<Order>().unwrap_err().to_string();
        assert_eq!(text, "\"size\" is none of: started_at, size_bytes, id");
        assert_eq!("up".parse::<Dir>().unwrap_err().to_string(), "\"up\" is none of: asc, desc");
    }
}
