//! The records of a configuration segment, byte for byte. All numbers are in the machine's own order.
//!
//! ```text
//! +--------+-------+-------+-------+------+-------+-----+-----+------+-------+---------+
//! | header | node  | nodes | hosts | app  | apps  | kv  | kvs | keys | roles | strings |
//! |        | table |       |       | table|       |table|     |      |       |         |
//! +--------+-------+-------+-------+------+-------+-----+-----+------+-------+---------+
//!  zone 1    zone 2          zone 3  zone 4         zone 5
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first bytes of a configuration segment.
pub(crate) const CONFIG_MAGIC: [u8; 8] = *b"IBPCONF\0";

/// Where the checksum stands in the header. It covers all other bytes of the segment.
pub(crate) const CHECKSUM_AT: usize = 32;

/// Zone 1: what the segment is, and where its zones lie.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Header {
    pub magic: [u8; 8],
    pub layout: u32,
    pub header_len: u32,
    pub generation: u64,
    /// The length of the whole segment.
    pub file_len: u64,
    pub checksum: u64,
    /// Which load board the slots lie in.
    pub board_id: u64,
    /// How much of it a reader maps in front of the segment.
    pub board_len: u64,
    pub connecting_timeout_ms: u32,
    pub retry_connect_ms: u32,
    pub min_compress_size: u32,
    pub access: u32,
    pub this_node: Text,
    /// The roles of this node, if it is not among the nodes.
    pub this_roles: Roles,
    pub registry: Address,
    pub registry_ip: Text,
    pub nodes: Zone,
    pub hosts: Zone,
    pub apps: Zone,
    pub kvs: Zone,
    pub keys: Zone,
    /// Numbers of projects, ascending in each list.
    pub roles: Zone,
    pub strings: Zone,
    pub node_table: Table,
    pub app_table: Table,
    pub kv_table: Table,
}

/// `access`: everyone may ask everyone.
pub(crate) const ACCESS_OPEN: u32 = 0;
/// `access`: only what a project connects.
pub(crate) const ACCESS_PROJECTS: u32 = 1;

/// An array of records. The offset counts from the start of the segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Zone {
    pub offset: u32,
    pub count: u32,
}

/// A hash table: a zone of [`Cell`]s whose count is a power of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Table {
    pub cells: Zone,
    pub seed: u64,
}

/// One cell of a hash table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Cell {
    /// The high half of the name's hash.
    pub tag: u32,
    /// The number of the record plus 1; 0 says that the cell is empty.
    pub record: u32,
}

/// A string in the string area: UTF-8, followed by a NUL that the length does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Text {
    /// From the start of the segment.
    pub offset: u32,
    pub len: u32,
}

/// A range of the records of another zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Span {
    pub first: u32,
    pub count: u32,
}

/// The projects in which a node asks and in which it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Roles {
    pub client: Span,
    pub server: Span,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct NodeRecord {
    /// The record's own offset: by it, a pointer to a record leads to the segment.
    pub at: u32,
    pub invalid: u32,
    pub name: Text,
    pub hosts: Span,
    pub roles: Roles,
    /// The number of the keys plus 1; 0 for none.
    pub key: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct HostRecord {
    pub at: u32,
    pub invalid: u32,
    pub ip: Text,
    pub addr: Address,
    /// The number of the host's line in the load board.
    pub line: u32,
    /// The tag under which the line is this host's.
    pub tag: u32,
    /// The number of the host's node.
    pub node: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct AppRecord {
    pub at: u32,
    pub invalid: u32,
    pub name: Text,
    pub desc: Text,
    pub bin: Text,
    pub server_node: Text,
    pub timeout_ms: u32,
    pub timeout2_ms: u32,
    pub projects: Span,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct KvRecord {
    pub at: u32,
    pub reserved: u32,
    pub key: Text,
    pub value: Text,
}

/// No `Debug`: it holds secrets.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct KeyRecord {
    pub current: [u8; 32],
    pub previous: [u8; 32],
    pub new_enable_at: i64,
    pub old_disable_at: i64,
    pub has_previous: u64,
}

/// An IP address and a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Address {
    /// Of an IPv4 address the first four.
    pub ip: [u8; 16],
    pub flow: u32,
    pub scope: u32,
    pub port: u16,
    /// 4 or 6; 0 says that there is no address.
    pub family: u16,
    pub reserved: u32,
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        let mut record = Address { port: addr.port(), ..Address::default() };
        match addr {
            SocketAddr::V4(addr) => {
                record.family = 4;
                record.ip[..4].copy_from_slice(&addr.ip().octets());
            }
            SocketAddr::V6(addr) => {
                record.family = 6;
                record.ip = addr.ip().octets();
                record.flow = addr.flowinfo();
                record.scope = addr.scope_id();
            }
        }
        record
    }
}

impl Address {
    /// The address, if there is one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.family {
            4 => {
                let [a, b, c, d, ..] = self.ip;
                Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), self.port).into())
            }
            6 => Some(SocketAddrV6::new(Ipv6Addr::from(self.ip), self.port, self.flow, self.scope).into()),
            _ => None,
        }
    }

    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|addr| addr.ip())
    }
}
