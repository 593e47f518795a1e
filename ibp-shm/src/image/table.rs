//! Hash tables of names: built once, probed by everyone.

use super::hash::hash;
use super::layout::Cell;
use crate::error::ShmError;

/// No lookup looks at more cells than this, whether it finds the name or not.
pub(crate) const PROBES: u32 = 8;

/// Seeds that are tried for a table of one size before it is doubled.
const SEEDS_A_SIZE: u64 = 4;

/// A table may become this many times as large as the number of names, before it is given up.
const LARGEST: usize = 256;

/// A table as it goes into the segment.
pub(crate) struct Built {
    pub cells: Vec<Cell>,
    pub seed: u64,
}

/// Where the name with this hash has its first cell in a table of `count` cells (a power of two), and its
/// tag.
#[inline]
pub(crate) fn home(hash: u64, count: u32) -> (u32, u32) {
    (hash as u32 & (count - 1), (hash >> 32) as u32)
}

/// Finds a seed with which every name lies within [`PROBES`] cells of its home; tables are at most half full.
///
/// Names are unique; of `names`, the n-th is record n.
pub(crate) fn build(names: &[&str]) -> Result<Built, ShmError> {
    let smallest = (names.len() * 2).next_power_of_two();
    let mut count = smallest;
    while count <= smallest * LARGEST {
        for attempt in 0..SEEDS_A_SIZE {
            let seed = hash(attempt, &count.to_le_bytes());
            if let Some(cells) = fill(names, seed, count) {
                return Ok(Built { cells, seed });
            }
        }
        count *= 2;
    }
    Err(ShmError::invalid("the names", "no hash table can hold them: too many of them have the same hash"))
}

fn fill(names: &[&str], seed: u64, count: usize) -> Option<Vec<Cell>> {
    let mut cells = vec![Cell::default(); count];
    for (record, name) in (1..).zip(names) {
        let (home, tag) = home(hash(seed, name.as_bytes()), count as u32);
        let free = (0..PROBES)
            .map(|probe| (home + probe) as usize & (count - 1))
            .find(|&at| cells[at].record == 0)?;
        cells[free] = Cell { tag, record };
    }
    Some(cells)
}
