//! Finding one's way in the bytes of a segment.

use std::path::Path;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::hash::hash;
use super::layout::{
    AppRecord, CONFIG_MAGIC, Cell, Header, HostRecord, KeyRecord, KvRecord, NodeRecord, Span, Table, Text,
    Zone,
};
use super::table::{PROBES, home};
use crate::error::ShmError;
use crate::index::LAYOUT;
use crate::slot::Line;

/// The bytes of one generation, and the lines of the board that lie in front of it.
#[derive(Clone, Copy)]
pub(crate) struct Image<'a> {
    pub bytes: &'a [u8],
    pub lines: &'a [Line],
}

/// What a string is that cannot be read. It is followed by a NUL, as every other.
const NO_TEXT: &str = match "\0".split_at_checked(0) {
    Some((empty, _)) => empty,
    None => "",
};

impl<'a> Image<'a> {
    /// Checks a header in constant time: whether this is a complete segment of a generation that this version
    /// reads.
    pub fn check_header(
        start: &[u8],
        generation: u64,
        file_len: u64,
        path: &Path,
    ) -> Result<Header, ShmError> {
        let damaged = |problem: String| ShmError::damaged(path, problem);
        let Ok((header, _)) = Header::read_from_prefix(start) else {
            return Err(damaged(format!("{file_len} bytes are too few for a header")));
        };
        if header.magic != CONFIG_MAGIC {
            return Err(damaged("it does not begin like a configuration".to_owned()));
        }
        if header.layout != LAYOUT {
            return Err(ShmError::Layout { path: path.to_owned(), found: header.layout, supported: LAYOUT });
        }
        if header.header_len as usize != size_of::<Header>() {
            return Err(damaged(format!(
                "its header has {} bytes, not {}",
                header.header_len,
                size_of::<Header>()
            )));
        }
        if header.file_len != file_len {
            return Err(damaged(format!("it has {file_len} bytes, and says {}", header.file_len)));
        }
        if header.generation != generation {
            return Err(damaged(format!("it says it is generation {}, not {generation}", header.generation)));
        }
        header.check_zones().map_err(damaged)?;
        Ok(header)
    }

    #[inline]
    pub fn header(&self) -> Option<&'a Header> {
        Header::ref_from_prefix(self.bytes).ok().map(|(header, _)| header)
    }

    /// A record of a zone.
    #[inline]
    pub fn record<T: Record>(&self, number: u32) -> Option<&'a T> {
        self.element(T::zone(self.header()?), number)
    }

    /// The record of a zone that lies at this offset.
    pub fn record_at<T: Record>(&self, at: u32) -> Option<&'a T> {
        let start = at.checked_sub(T::zone(self.header()?).offset)?;
        self.record(start / size_of::<T>() as u32)
    }

    /// How many records there are of a kind.
    pub fn count<T: Record>(&self) -> u32 {
        self.header().map_or(0, |header| T::zone(header).count)
    }

    /// Looks a name up.
    #[inline]
    pub fn find<T: Named>(&self, name: &str) -> Option<(u32, &'a T)> {
        let header = self.header()?;
        let Table { cells, seed } = T::table(header);
        if cells.count == 0 {
            return None;
        }
        let hash = hash(seed, name.as_bytes());
        let (home, tag) = home(hash, cells.count);
        for probe in 0..PROBES {
            let at = home.wrapping_add(probe) & (cells.count - 1);
            let cell: &Cell = self.element(cells, at)?;
            let number = cell.record.checked_sub(1)?;
            if cell.tag == tag {
                let record: &T = self.element(T::zone(header), number)?;
                if self.bytes_of(header.strings, record.name())? == name.as_bytes() {
                    return Some((number, record));
                }
            }
        }
        None
    }

    /// A string; empty if it cannot be read.
    pub fn text(&self, text: Text) -> &'a str {
        self.checked_text(text).unwrap_or(NO_TEXT)
    }

    /// A string; `None` if it lies outside the string area, does not end with a NUL, or is no UTF-8.
    pub fn checked_text(&self, text: Text) -> Option<&'a str> {
        let bytes = self.bytes_of(self.header()?.strings, text)?;
        std::str::from_utf8(bytes).ok()
    }

    /// A list of project numbers; empty if it cannot be read.
    pub fn projects(&self, span: Span) -> &'a [u32] {
        self.checked_projects(span).unwrap_or_default()
    }

    pub fn checked_projects(&self, span: Span) -> Option<&'a [u32]> {
        let roles = self.header()?.roles;
        let end = span.first.checked_add(span.count)?;
        if end > roles.count {
            return None;
        }
        let start = (roles.offset as usize).checked_add(span.first as usize * size_of::<u32>())?;
        let bytes = self.bytes.get(start..)?;
        <[u32]>::ref_from_prefix_with_elems(bytes, span.count as usize).ok().map(|(list, _)| list)
    }

    #[inline]
    fn element<T: FromBytes + KnownLayout + Immutable>(&self, zone: Zone, number: u32) -> Option<&'a T> {
        if number >= zone.count {
            return None;
        }
        // No overflow: two u32 and a record's size fit into 64 bits.
        let start = zone.offset as usize + number as usize * size_of::<T>();
        let bytes = self.bytes.get(start..)?;
        T::ref_from_prefix(bytes).ok().map(|(record, _)| record)
    }

    /// The bytes of a string that lies within the string area and ends with a NUL.
    #[inline]
    fn bytes_of(&self, strings: Zone, text: Text) -> Option<&'a [u8]> {
        let (start, len) = (text.offset as usize, text.len as usize);
        let end = start + len;
        if start < strings.offset as usize || end >= strings.offset as usize + strings.count as usize {
            return None;
        }
        let (&nul, bytes) = self.bytes.get(start..=end)?.split_last()?;
        (nul == 0).then_some(bytes)
    }
}

/// A kind of record that has a zone of its own.
pub(crate) trait Record: FromBytes + KnownLayout + Immutable {
    /// Where the records of this kind lie.
    fn zone(header: &Header) -> Zone;
}

/// A kind of record that is found by name.
pub(crate) trait Named: Record {
    /// The table that leads to it.
    fn table(header: &Header) -> Table;
    /// Its name.
    fn name(&self) -> Text;
}

macro_rules! record {
    ($record:ty, $zone:ident) => {
        impl Record for $record {
            fn zone(header: &Header) -> Zone {
                header.$zone
            }
        }
    };
    ($record:ty, $zone:ident, $table:ident, $name:ident) => {
        record!($record, $zone);

        impl Named for $record {
            fn table(header: &Header) -> Table {
                header.$table
            }

            fn name(&self) -> Text {
                self.$name
            }
        }
    };
}

record!(NodeRecord, nodes, node_table, name);
record!(AppRecord, apps, app_table, name);
record!(KvRecord, kvs, kv_table, key);
record!(HostRecord, hosts);
record!(KeyRecord, keys);

impl Header {
    /// All zones with their names and the sizes of their records, in the order in which they lie.
    fn zones(&self) -> [(&'static str, Zone, usize); 10] {
        [
            ("node table", self.node_table.cells, size_of::<Cell>()),
            ("nodes", self.nodes, size_of::<NodeRecord>()),
            ("hosts", self.hosts, size_of::<HostRecord>()),
            ("app table", self.app_table.cells, size_of::<Cell>()),
            ("apps", self.apps, size_of::<AppRecord>()),
            ("kv table", self.kv_table.cells, size_of::<Cell>()),
            ("kvs", self.kvs, size_of::<KvRecord>()),
            ("keys", self.keys, size_of::<KeyRecord>()),
            ("roles", self.roles, size_of::<u32>()),
            ("strings", self.strings, 1),
        ]
    }

    /// Checks that the zones lie one after the other, aligned, within the segment, and that tables have a
    /// usable size.
    fn check_zones(&self) -> Result<(), String> {
        let mut from = size_of::<Header>() as u64;
        for (name, zone, record) in self.zones() {
            let (start, end) =
                (u64::from(zone.offset), u64::from(zone.offset) + u64::from(zone.count) * record as u64);
            let aligned = record == 1 || start.is_multiple_of(if record == 4 { 4 } else { 8 });
            if start < from || end > self.file_len || !aligned {
                return Err(format!("its zone \"{name}\" at {start}..{end} does not lie where it can"));
            }
            from = end;
        }
        for (name, table) in [("node", self.node_table), ("app", self.app_table), ("kv", self.kv_table)] {
            if table.cells.count != 0 && !table.cells.count.is_power_of_two() {
                return Err(format!(
                    "its {name} table has {} cells, which is no power of two",
                    table.cells.count
                ));
            }
        }
        Ok(())
    }
}
