//! The first hundred bytes of an SQLite database.
//!
//! Read while the file is unopened, they say what a file is without running any of its content.

/// Bytes that [`Header::parse`] needs.
pub const HEADER_LEN: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What the first page says of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Page size in bytes, a power of two between 512 and 65,536.
    pub page_size: u32,
    /// Whether the file is in WAL mode.
    pub wal: bool,
    /// Size in pages, where the header vouches for it.
    pub pages: Option<u32>,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA application_id`.
    pub application_id: i32,
}

impl Header {
    /// Parses the first bytes of a file; `None` where they are not an SQLite database's.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_LEN || &bytes[..16] != MAGIC {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let page_size = match u32::from(u16::from_be_bytes([bytes[16], bytes[17]])) {
            1 => 65_536,
            size => size,
        };
        if !page_size.is_power_of_two() || page_size < 512 {
            return None;
        }
        // SQLite itself trusts the size field only where these two counters agree.
        let pages = (word(28) != 0 && word(24) == word(92)).then_some(word(28));
        Some(Self {
            page_size,
            wal: bytes[18] == 2 && bytes[19] == 2,
            pages,
            user_version: word(60).cast_signed(),
            application_id: word(68).cast_signed(),
        })
    }

    /// Bytes that the file must have at least, where the header vouches for its size.
    pub fn expected_len(&self) -> Option<u64> {
        self.pages.map(|pages| u64::from(pages) * u64::from(self.page_size))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use super::*;

    #[test]
    fn a_real_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA user_version = 7; PRAGMA application_id = -5; CREATE TABLE t (a)").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.user_version, header.application_id), (7, -5));
        assert_eq!(header.expected_len(), Some(bytes.len() as u64));
    }

    #[test]
    fn what_is_no_database() {
        assert_eq!(Header::parse(b""), None);
        assert_eq!(Header::parse(&[0; 100]), None);
        let mut odd = [0; 100];
        odd[..16].copy_from_slice(MAGIC);
        odd[16] = 3;
        assert_eq!(Header::parse(&odd), None, "a page size that is no power of two");
    }
}
