//! The load board: which host has which line. The publisher's side.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use ibp_core::config::View;
use rustix::io::Errno;

use crate::directory::OpenFile;
use crate::error::ShmError;
use crate::image::hash;
use crate::index::LAYOUT;
use crate::mapping::BoardMapping;
use crate::slot::Line;
use crate::sync::{AtomicU64, Ordering};

/// "IBPLOADS", read as bytes.
const BOARD_MAGIC: u64 = u64::from_ne_bytes(*b"IBPLOADS");

/// The first cache line of the file.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct BoardHeader {
    magic: AtomicU64,
    layout: AtomicU64,
    /// A random number by which a configuration names the board that its slots lie in.
    id: AtomicU64,
    reserved: [AtomicU64; 5],
}

const _: () = assert!(size_of::<BoardHeader>() == 64 && size_of::<Line>() == 64);

impl BoardHeader {
    fn format(&self, id: u64) {
        self.magic.store(BOARD_MAGIC, Ordering::Relaxed);
        self.layout.store(u64::from(LAYOUT), Ordering::Relaxed);
        self.id.store(id, Ordering::Relaxed);
    }

    /// The board's number, if this is a board that this version understands.
    pub fn id(&self) -> Option<u64> {
        let valid = self.magic.load(Ordering::Relaxed) == BOARD_MAGIC
            && self.layout.load(Ordering::Relaxed) == u64::from(LAYOUT);
        valid.then(|| self.id.load(Ordering::Relaxed))
    }
}

/// One use of a line by a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotUse {
    pub line: u32,
    pub tag: u16,
}

/// Who a host is, whatever generation it appears in: a digest of its node's name and its address. The low
/// half is never 0.
pub(crate) type Identity = u128;

/// The board, and who has which line. What stands here counts: readers can write to the file, and what a
/// stray write did to a line is put right when it is assigned the next time.
pub(crate) struct Board {
    file: OpenFile,
    mapping: BoardMapping,
    id: u64,
    uses: HashMap<Identity, SlotUse>,
    free: BTreeSet<u32>,
}

impl Board {
    /// Makes an empty file an empty board.
    pub fn format(mut file: OpenFile) -> Result<Self, ShmError> {
        let len = rustix::param::page_size() as u64;
        file.allocate(len)?;
        let mapping = map(&file, len)?;
        let id = random_number();
        mapping.header().format(id);
        let free = all_lines(&mapping);
        Ok(Board { file, mapping, id, uses: HashMap::new(), free })
    }

    /// Takes over what the publisher before left; `None` if it is no board that this version understands.
    pub fn recover(file: OpenFile) -> Result<Option<Self>, ShmError> {
        let page = rustix::param::page_size() as u64;
        if file.len == 0 || !file.len.is_multiple_of(page) {
            return Ok(None);
        }
        let mapping = map(&file, file.len)?;
        let Some(id) = mapping.header().id() else { return Ok(None) };
        let mut board = Board { file, mapping, id, uses: HashMap::new(), free: BTreeSet::new() };
        for (number, line) in (0..).zip(board.mapping.lines()) {
            match line.owner() {
                Some((owner, tag)) if !board.uses.contains_key(&owner) => {
                    board.uses.insert(owner, SlotUse { line: number, tag });
                }
                _ => {
                    board.free.insert(number);
                }
            }
        }
        Ok(Some(board))
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn file(&self) -> &OpenFile {
        &self.file
    }

    /// Gives every host a line: the one that it has, or a free one under a new tag.
    ///
    /// Lines of hosts that are not named stay theirs until [`keep`](Board::keep), so that readers of the
    /// generation in force lose nothing.
    pub fn assign(
        &mut self,
        hosts: &[Identity],
        steps: &mut dyn FnMut(&'static str),
    ) -> Result<Vec<SlotUse>, ShmError> {
        if self.mapping.header().id() != Some(self.id) {
            self.mapping.header().format(self.id);
        }
        let missing = hosts.iter().filter(|host| !self.uses.contains_key(host)).count();
        self.make_room(missing, steps)?;
        let lines = self.mapping.lines();
        let mut assigned = Vec::with_capacity(hosts.len());
        for &host in hosts {
            let known = self.uses.get(&host).copied();
            let number = match known {
                Some(known) => known.line,
                None => self.free.pop_first().ok_or_else(|| self.too_small())?,
            };
            let line = lines.get(number as usize).ok_or_else(|| self.too_small())?;
            let tag = match known {
                Some(known) if line.is_in_use_by(host, known.tag) => known.tag,
                known => line.give(host, known.map_or(0, |known| known.tag), steps),
            };
            let slot = SlotUse { line: number, tag };
            self.uses.insert(host, slot);
            assigned.push(slot);
        }
        Ok(assigned)
    }

    /// Frees the lines of all hosts that are not named.
    pub fn keep(&mut self, hosts: &HashSet<Identity>, steps: &mut dyn FnMut(&'static str)) {
        let lines = self.mapping.lines();
        let free = &mut self.free;
        self.uses.retain(|host, slot| {
            let keep = hosts.contains(host);
            if !keep {
                if let Some(line) = lines.get(slot.line as usize) {
                    line.take_back(steps);
                }
                free.insert(slot.line);
            }
            keep
        });
    }

    /// Forgets loads that are older than a day.
    pub fn forget_old_loads(&self, now_ms: u64) {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        for line in self.mapping.lines() {
            line.forget_load(now_ms, DAY_MS);
        }
    }

    /// Lets the board grow until it has `wanted` free lines. Older mappings stay valid: the file only ever
    /// gets longer.
    fn make_room(&mut self, wanted: usize, steps: &mut dyn FnMut(&'static str)) -> Result<(), ShmError> {
        let lacking = wanted.saturating_sub(self.free.len());
        if lacking == 0 {
            return Ok(());
        }
        let count = self.mapping.lines().len();
        let bytes = (1 + count + lacking) as u64 * size_of::<Line>() as u64;
        let len = bytes.next_multiple_of(rustix::param::page_size() as u64);
        self.file.allocate(len)?;
        steps("load: grown");
        self.mapping = map(&self.file, len)?;
        self.free.extend(all_lines(&self.mapping).range(count as u32..));
        Ok(())
    }

    fn too_small(&self) -> ShmError {
        ShmError::damaged(&self.file.path, "it has fewer lines than it had before")
    }
}

/// The identities of all hosts of a view, in the order of the segment.
pub(crate) fn identities(view: &View) -> Vec<Identity> {
    let hosts = view.nodes.iter().flat_map(|node| node.hosts.iter().map(move |host| (node, host)));
    hosts.map(|(node, host)| identity(&node.name, host.addr)).collect()
}

fn identity(node: &str, addr: SocketAddr) -> Identity {
    let mut bytes = [0_u8; 16 + 2 + 4];
    match addr {
        SocketAddr::V4(addr) => bytes[..16].copy_from_slice(&addr.ip().to_ipv6_mapped().octets()),
        SocketAddr::V6(addr) => {
            bytes[..16].copy_from_slice(&addr.ip().octets());
            bytes[18..].copy_from_slice(&addr.scope_id().to_ne_bytes());
        }
    }
    bytes[16..18].copy_from_slice(&addr.port().to_ne_bytes());
    let digest = |seed| hash::hash(hash::hash(seed, node.as_bytes()), &bytes);
    u128::from(digest(hash::IDENTITY_SEEDS[0])) << 64 | u128::from(digest(hash::IDENTITY_SEEDS[1]).max(1))
}

fn map(file: &OpenFile, len: u64) -> Result<BoardMapping, ShmError> {
    BoardMapping::new(&file.fd, len).map_err(|error| ShmError::io("map", &file.path, error))
}

fn all_lines(mapping: &BoardMapping) -> BTreeSet<u32> {
    (0..mapping.lines().len() as u32).collect()
}

/// Different each time, in all processes.
pub(crate) fn random_number() -> u64 {
    let mut bytes = [0_u8; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        // Only a restricted process: distinct in time is enough.
        Ok(_) | Err(Errno { .. }) => crate::boottime_ms() ^ u64::from(std::process::id()) << 32,
    }
}
