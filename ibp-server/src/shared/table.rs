//! The connection table: all connections that wait for their peer, in shared memory, because any worker may serve
//! the next request of any of them.
//!
//! A row is owned by the process that moved its state word there with a compare-and-swap; only the owner changes the
//! other fields. A row that is parked (idle, writing, parting) has no owner and one armed place in the ready set.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ibp_core::wire::ib2::ServerSession;
use ibp_shm::SharedArray;
use zerocopy::FromBytes;

use super::name::{Name, SharedName};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// The row belongs to nobody.
    Free = 0,
    /// A worker prepares it.
    Reserved = 1,
    /// It waits for input.
    Idle = 2,
    /// A worker serves it.
    Busy = 3,
    /// It waits for the peer to take output.
    Writing = 4,
    /// GOODBYE or an error was sent; it waits for the peer to close.
    Parting = 5,
    /// Whole frames of it wait in the spill for their turn.
    Queued = 6,
}

impl State {
    fn from_bits(bits: u64) -> Self {
        match bits & 0xf {
            1 => Self::Reserved,
            2 => Self::Idle,
            3 => Self::Busy,
            4 => Self::Writing,
            5 => Self::Parting,
            6 => Self::Queued,
            _ => Self::Free,
        }
    }

    pub(crate) fn is_parked(self) -> bool {
        matches!(self, Self::Idle | Self::Writing | Self::Parting | Self::Queued)
    }
}

/// A row's state word: state, state before it was claimed, owner, generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) state: State,
    /// For `Busy`: what it was claimed from.
    pub(crate) claimed: State,
    /// For `Reserved` and `Busy`: the slot of the worker that has it.
    pub(crate) owner: u16,
    /// Counts the connections that the row held.
    pub(crate) generation: u32,
}

impl Word {
    fn bits(self) -> u64 {
        self.state as u64
            | (self.claimed as u64) << 4
            | u64::from(self.owner) << 16
            | u64::from(self.generation) << 32
    }

    fn from_bits(bits: u64) -> Self {
        Self {
            state: State::from_bits(bits),
            claimed: State::from_bits(bits >> 4),
            owner: (bits >> 16) as u16,
            generation: (bits >> 32) as u32,
        }
    }
}

#[derive(FromBytes)]
#[repr(C, align(64))]
pub(crate) struct Row {
    word: AtomicU64,
    /// The slot whose table has the connection for certain: that of the worker that took it.
    holder: AtomicU32,
    /// Bytes that the connection has reserved of the spill, whatever became of whoever reserved them.
    spilled: AtomicU32,
    session: [AtomicU64; 2],
    since_ms: AtomicU64,
    /// Bytes of input in the spill, and bytes that make it whole.
    input: [AtomicU32; 2],
    /// Bytes of output in the spill, and how many of them were sent.
    output: [AtomicU32; 2],
    client_node: SharedName,
}

/// What a row says of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) session: ServerSession,
    /// Since when it waits for what it waits for.
    pub(crate) since_ms: u64,
    pub(crate) input: Waiting,
    pub(crate) output: Sending,
    /// The node that the client says it belongs to.
    pub(crate) client_node: Name,
}

/// Input that waits for its rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Bytes in the spill.
    pub(crate) have: u32,
    /// Bytes that make it whole.
    pub(crate) need: u32,
}

/// Output that waits for room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sending {
    /// Bytes in the spill.
    pub(crate) total: u32,
    /// Bytes of them that were sent.
    pub(crate) sent: u32,
}

/// The table of one platform.
pub(crate) struct Table {
    rows: SharedArray<Row>,
    /// For each slot and row: the generation of the connection that the slot's descriptor table has open under the
    /// row's number; 0 for none.
    held: SharedArray<AtomicU32>,
    /// Where each slot looks next for a free row.
    cursors: SharedArray<AtomicU32>,
    base: i32,
}

impl Table {
    /// A table of `rows` connections for `slots` workers; row N has the descriptor number `base` + N.
    pub(crate) fn new(rows: usize, slots: usize, base: i32) -> io::Result<Self> {
        Ok(Self {
            rows: SharedArray::allocated("ibp-connections", rows)?,
            held: SharedArray::new("ibp-held", rows * slots)?,
            cursors: SharedArray::allocated("ibp-cursors", slots)?,
            base,
        })
    }

    pub(crate) fn len(&self) -> u32 {
        self.rows.len() as u32
    }

    /// The descriptor number of a row, in every process.
    pub(crate) fn number(&self, id: u32) -> i32 {
        self.base + id as i32
    }

    pub(crate) fn id_of_number(&self, number: i32) -> Option<u32> {
        u32::try_from(number.checked_sub(self.base)?).ok().filter(|id| *id < self.len())
    }

    fn row(&self, id: u32) -> &Row {
        &self.rows[id as usize]
    }

    pub(crate) fn word(&self, id: u32) -> Word {
        Word::from_bits(self.row(id).word.load(Ordering::Acquire))
    }

    /// Takes a free row for `owner`, if there is one.
    pub(crate) fn reserve(&self, owner: u16) -> Option<u32> {
        let cursor = &self.cursors[usize::from(owner)];
        let start = match cursor.load(Ordering::Relaxed) {
            // Workers begin far apart, so that they do not contend for the same rows.
            0 => (self.rows.len() / self.cursors.len() * usize::from(owner)) as u32,
            next => next - 1,
        };
        for step in 0..self.len() {
            let id = (start + step) % self.len();
            let word = self.word(id);
            if word.state == State::Free {
                // Generation 0 means "none" in `held`.
                let generation = word.generation.wrapping_add(1).max(1);
                let reserved = Word { state: State::Reserved, claimed: State::Free, owner, generation };
                if self.swap(id, word, reserved) {
                    cursor.store((id + 1) % self.len() + 1, Ordering::Relaxed);
                    return Some(id);
                }
            }
        }
        None
    }

    /// Makes a parked row the owner's; `None` if somebody else was quicker, or it is not the `wanted` connection (any
    /// more).
    pub(crate) fn claim(&self, id: u32, owner: u16, wanted: impl FnOnce(Word) -> bool) -> Option<Word> {
        let word = self.word(id);
        if !word.state.is_parked() || !wanted(word) {
            return None;
        }
        let busy = Word { state: State::Busy, claimed: word.state, owner, ..word };
        self.swap(id, word, busy).then_some(busy)
    }

    fn swap(&self, id: u32, from: Word, to: Word) -> bool {
        self.row(id)
            .word
            .compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// What the row says. Only its owner may rely on it; to others it is a hint.
    pub(crate) fn load(&self, id: u32) -> Saved {
        let row = self.row(id);
        let session = [row.session[0].load(Ordering::Relaxed), row.session[1].load(Ordering::Relaxed)];
        Saved {
            session: ServerSession::from_words(session).unwrap_or_default(),
            since_ms: row.since_ms.load(Ordering::Relaxed),
            input: Waiting {
                have: row.input[0].load(Ordering::Relaxed),
                need: row.input[1].load(Ordering::Relaxed),
            },
            output: Sending {
                total: row.output[0].load(Ordering::Relaxed),
                sent: row.output[1].load(Ordering::Relaxed),
            },
            client_node: row.client_node.load(),
        }
    }

    /// Writes the row. Only its owner may.
    pub(crate) fn save(&self, id: u32, saved: &Saved) {
        let row = self.row(id);
        let [first, second] = saved.session.to_words();
        row.session[0].store(first, Ordering::Relaxed);
        row.session[1].store(second, Ordering::Relaxed);
        row.since_ms.store(saved.since_ms, Ordering::Relaxed);
        row.input[0].store(saved.input.have, Ordering::Relaxed);
        row.input[1].store(saved.input.need, Ordering::Relaxed);
        row.output[0].store(saved.output.total, Ordering::Relaxed);
        row.output[1].store(saved.output.sent, Ordering::Relaxed);
        row.client_node.store(&saved.client_node);
    }

    /// Notes that the row's connection takes `bytes` more of the spill. Only its owner may; before it takes them, so
    /// that who buries the owner knows of them.
    pub(crate) fn add_spilled(&self, id: u32, bytes: u64) {
        self.row(id).spilled.fetch_add(u32::try_from(bytes).unwrap_or(u32::MAX), Ordering::AcqRel);
    }

    /// Notes that it gave `bytes` back. Only its owner may.
    pub(crate) fn sub_spilled(&self, id: u32, bytes: u64) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let _ = self
            .row(id)
            .spilled
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |spilled| Some(spilled.saturating_sub(bytes)));
    }

    /// All that it has taken of the spill, which is to be given back by the caller.
    pub(crate) fn take_spilled(&self, id: u32) -> u64 {
        u64::from(self.row(id).spilled.swap(0, Ordering::AcqRel))
    }

    /// Gives the row to whoever claims it next. Only its owner may; before it arms the ready set.
    pub(crate) fn park(&self, id: u32, state: State) {
        let word = self.word(id);
        let parked = Word { state, claimed: State::Free, owner: 0, ..word };
        // Pairs with the compare-and-swap of `claim`: who claims it sees what `save` wrote.
        self.row(id).word.store(parked.bits(), Ordering::Release);
    }

    /// Gives the row up. Only its owner may, after the connection was removed from the ready set.
    pub(crate) fn free(&self, id: u32) {
        self.park(id, State::Free);
    }

    /// The slot whose descriptor table has the connection for certain.
    pub(crate) fn holder(&self, id: u32) -> usize {
        self.row(id).holder.load(Ordering::Acquire) as usize
    }

    pub(crate) fn set_holder(&self, id: u32, slot: usize) {
        self.row(id).holder.store(slot as u32, Ordering::Release);
    }

    /// The generation of the connection that `slot` has open under the row's number; 0 for none.
    pub(crate) fn held(&self, slot: usize, id: u32) -> u32 {
        self.held[slot * self.rows.len() + id as usize].load(Ordering::Acquire)
    }

    pub(crate) fn set_held(&self, slot: usize, id: u32, generation: u32) {
        self.held[slot * self.rows.len() + id as usize].store(generation, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{State, Table};

    #[test]
    fn a_row_has_one_owner() {
        let table = Table::new(2, 2, 100).unwrap();
        let first = table.reserve(0).unwrap();
        let second = table.reserve(1).unwrap();
        assert_ne!(first, second);
        assert_eq!(table.reserve(0), None);
        table.park(first, State::Idle);
        let generation = table.word(first).generation;
        assert!(table.claim(first, 1, |word| word.generation == generation + 1).is_none());
        let word = table.claim(first, 1, |word| word.generation == generation).unwrap();
        assert_eq!((word.state, word.claimed, word.owner), (State::Busy, State::Idle, 1));
        assert!(table.claim(first, 0, |_| true).is_none());
        table.free(first);
        assert_eq!(table.reserve(0), Some(first));
        assert_eq!(table.word(first).generation, generation + 1);
    }
}
