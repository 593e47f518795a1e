//! The outcomes of recent transactions: a ring in shared memory, so that they survive the worker that ran them.
//!
//! An entry has one writer, the worker that claimed its place; whoever buries a dead worker ends its running entry.
//! The state word carries the entry's sequence number, so that a writer which was overtaken by a whole turn of the
//! ring cannot touch the entry that took its place.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use ibp_core::wire::{AbortReason, Execution, Outcome, RejectReason, TransactionId};
use ibp_shm::SharedArray;
use zerocopy::FromBytes;

use super::board::words_of;

#[derive(FromBytes)]
#[repr(C, align(64))]
struct Entry {
    /// Value 32 bits (code or reason), sequence 28 bits, state 4 bits.
    word: AtomicU64,
    transaction: [AtomicU64; 2],
    began_ms: AtomicU64,
}

const EMPTY: u64 = 0;
const WRITING: u64 = 1;
const RUNNING: u64 = 2;
const EXECUTED: u64 = 3;
const ABORTED: u64 = 4;
const REJECTED: u64 = 5;

const SEQUENCE_BITS: u64 = (1 << 28) - 1;

fn word(sequence: u64, state: u64, value: u32) -> u64 {
    u64::from(value) << 32 | (sequence & SEQUENCE_BITS) << 4 | state
}

/// The ring of one platform.
pub(crate) struct Outcomes {
    next: SharedArray<AtomicU64>,
    entries: SharedArray<Entry>,
    age_ms: u64,
    started_ms: u64,
}

/// What the ring knows of a transaction.
pub(crate) struct Remembered {
    pub(crate) outcome: Outcome,
    pub(crate) age_ms: u64,
    /// How far the memory reaches back.
    pub(crate) horizon_ms: u64,
}

impl Outcomes {
    /// A ring of `count` entries, each worth `age_ms`.
    pub(crate) fn new(count: usize, age_ms: u64, now_ms: u64) -> io::Result<Self> {
        let next = SharedArray::<AtomicU64>::allocated("ibp-outcomes-next", 1)?;
        // 0 stands for "no entry".
        next[0].store(1, Ordering::Relaxed);
        let entries = SharedArray::new("ibp-outcomes", count.max(1))?;
        Ok(Self { next, entries, age_ms, started_ms: now_ms })
    }

    fn entry(&self, sequence: u64) -> &Entry {
        &self.entries[(sequence % self.entries.len() as u64) as usize]
    }

    /// Records that an app begins; what it returns goes to [`Outcomes::end`].
    pub(crate) fn begin(&self, transaction: TransactionId, now_ms: u64) -> u64 {
        let sequence = self.next[0].fetch_add(1, Ordering::Relaxed);
        let entry = self.entry(sequence);
        // Pairs with the load in `read`: a reader that sees fields of this turn sees WRITING or what follows it.
        entry.word.swap(word(sequence, WRITING, 0), Ordering::AcqRel);
        let [high, low] = words_of(transaction);
        entry.transaction[0].store(high, Ordering::Release);
        entry.transaction[1].store(low, Ordering::Release);
        entry.began_ms.store(now_ms, Ordering::Release);
        entry.word.store(word(sequence, RUNNING, 0), Ordering::Release);
        sequence
    }

    /// Records how it ended. Whoever comes first wins: the worker, or who buries it.
    pub(crate) fn end(&self, sequence: u64, execution: Execution) -> bool {
        if sequence == 0 {
            return false;
        }
        let (state, value) = match execution {
            Execution::Executed(code) => (EXECUTED, code as u32),
            Execution::Aborted(reason) => (ABORTED, u32::from(reason.number())),
            Execution::Rejected(reason) => (REJECTED, u32::from(reason.number())),
        };
        self.entry(sequence)
            .word
            .compare_exchange(
                word(sequence, RUNNING, 0),
                word(sequence, state, value),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Looks a transaction up, newest first. It reads the whole ring when it has to: asking is rare.
    pub(crate) fn find(&self, transaction: TransactionId, now_ms: u64) -> Remembered {
        let next = self.next[0].load(Ordering::Acquire);
        let oldest = next.saturating_sub(self.entries.len() as u64).max(1);
        let mut horizon_ms = now_ms.saturating_sub(self.started_ms).min(self.age_ms);
        if oldest > 1 {
            let began_ms = self.entry(oldest).began_ms.load(Ordering::Acquire);
            horizon_ms = horizon_ms.min(now_ms.saturating_sub(began_ms));
        }
        for sequence in (oldest..next).rev() {
            if let Some((outcome, began_ms)) = self.read(sequence, transaction) {
                let age_ms = now_ms.saturating_sub(began_ms);
                if age_ms > self.age_ms && outcome != Outcome::Running {
                    break;
                }
                return Remembered { outcome, age_ms, horizon_ms };
            }
        }
        Remembered { outcome: Outcome::Unknown, age_ms: 0, horizon_ms }
    }

    fn read(&self, sequence: u64, transaction: TransactionId) -> Option<(Outcome, u64)> {
        let entry = self.entry(sequence);
        let before = entry.word.load(Ordering::Acquire);
        let of = [entry.transaction[0].load(Ordering::Acquire), entry.transaction[1].load(Ordering::Acquire)];
        if of != words_of(transaction) {
            return None;
        }
        let began_ms = entry.began_ms.load(Ordering::Acquire);
        let after = entry.word.load(Ordering::Acquire);
        // The same turn of the ring before and after, so the fields belong together; the state may have moved on.
        if (before ^ after) >> 4 & SEQUENCE_BITS != 0
            || after >> 4 & SEQUENCE_BITS != sequence & SEQUENCE_BITS
        {
            return None;
        }
        let value = (after >> 32) as u32;
        let outcome = match after & 0xf {
            RUNNING => Outcome::Running,
            EXECUTED => Outcome::Ended(Execution::Executed(value as i32)),
            ABORTED => Outcome::Ended(Execution::Aborted(AbortReason::from_number(value as u16))),
            REJECTED => Outcome::Ended(Execution::Rejected(RejectReason::from_number(value as u16))),
            EMPTY | WRITING => return None,
            _ => return None,
        };
        if before & 0xf == WRITING {
            return None;
        }
        Some((outcome, began_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcomes, TransactionId};
    use ibp_core::wire::{AbortReason, Execution, Outcome};

    fn id(n: u8) -> TransactionId {
        TransactionId([n; 16])
    }

    #[test]
    fn remembers_the_last_count_of_them() {
        let ring = Outcomes::new(4, 60_000, 0).unwrap();
        for n in 1..=6 {
            let sequence = ring.begin(id(n), u64::from(n));
            assert!(ring.end(sequence, Execution::Executed(-i32::from(n))));
        }
        for n in 1..=2 {
            assert_eq!(ring.find(id(n), 10).outcome, Outcome::Unknown, "{n}");
        }
        for n in 3..=6 {
            let found = ring.find(id(n), 10);
            assert_eq!(found.outcome, Outcome::Ended(Execution::Executed(-i32::from(n))));
            assert_eq!((found.age_ms, found.horizon_ms), (10 - u64::from(n), 7));
        }
    }

    #[test]
    fn forgets_with_age_but_not_what_runs() {
        let ring = Outcomes::new(4, 1_000, 0).unwrap();
        let ended = ring.begin(id(1), 0);
        ring.begin(id(2), 0);
        ring.end(ended, Execution::Executed(0));
        assert_eq!(ring.find(id(1), 1_000).outcome, Outcome::Ended(Execution::Executed(0)));
        assert_eq!(ring.find(id(1), 1_001).outcome, Outcome::Unknown);
        assert_eq!(ring.find(id(2), 5_000).outcome, Outcome::Running);
    }

    #[test]
    fn the_first_end_wins_and_an_overtaken_writer_changes_nothing() {
        let ring = Outcomes::new(2, 1_000, 0).unwrap();
        let first = ring.begin(id(1), 0);
        assert!(ring.end(first, Execution::Aborted(AbortReason::WorkerDied)));
        assert!(!ring.end(first, Execution::Executed(0)));
        let slow = ring.begin(id(2), 0);
        for n in 3..=4 {
            let sequence = ring.begin(id(n), 0);
            ring.end(sequence, Execution::Executed(0));
        }
        assert!(!ring.end(slow, Execution::Executed(7)));
        assert_eq!(ring.find(id(4), 0).outcome, Outcome::Ended(Execution::Executed(0)));
        assert!(!ring.end(0, Execution::Executed(7)));
    }
}
