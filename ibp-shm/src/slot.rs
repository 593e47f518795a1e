//! One host's cache line in the load board: the two words that readers write, and the three by which the
//! publisher knows whose line it is.

use ibp_core::Load;

use crate::sync::{AtomicU64, Ordering};

/// One cache line of the load board, one host.
///
/// Every word stands for itself: nobody concludes from one word that another one has been written. That is
/// why all accesses may be `Relaxed`.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Line {
    /// See [`LoadWord`].
    load: AtomicU64,
    /// See [`RetryWord`].
    retry: AtomicU64,
    /// The tag of the line's present use, in the low 16 bits. Never 0 in a line that was used.
    tag: AtomicU64,
    /// The low half of the digest that names the owner; 0 says that the line is free.
    owner_low: AtomicU64,
    /// The high half.
    owner_high: AtomicU64,
    reserved: [AtomicU64; 3],
}

/// A host's place in the load board, as one generation of the configuration knows it.
///
/// The index stays the same for as long as the host is known. When the line has been given to another host in
/// the meantime, its tag is another one: then writes are dropped, and reads say that nothing is known.
///
/// All times are [`boottime_ms`](crate::boottime_ms).
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    line: Option<&'a Line>,
    index: u32,
    tag: u16,
}

/// What was last reported about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Busy workers per thousand, 0 to 1000.
    pub permille: u16,
    /// All workers, at most 4095 (more count as 4095).
    pub workers: u16,
    /// How long ago it was reported, in milliseconds; exact to 64 ms.
    pub age_ms: u64,
}

/// Whether a host may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing speaks against it.
    Ready,
    /// It could not be reached and rests.
    Resting {
        /// Until when.
        until_ms: u64,
        /// Failures in a row, at most 255.
        failures: u8,
    },
    /// Its rest is over: one caller should try it, see [`Slot::try_probe`].
    Due {
        /// Failures in a row, at most 255.
        failures: u8,
    },
    /// Another caller tries it.
    Probing {
        /// When that caller's lease ends.
        until_ms: u64,
    },
}

impl<'a> Slot<'a> {
    /// `line` is `None` for a record that points outside the board: such a slot drops writes and knows
    /// nothing.
    pub(crate) fn new(line: Option<&'a Line>, index: u32, tag: u16) -> Self {
        Slot { line, index, tag }
    }

    /// The number of the line. It stays the same for as long as the host is known.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The tag of this use of the line.
    #[must_use]
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// Stores a load with exactly one compare-and-exchange. `false` says that it was dropped: another caller
    /// stored one at the same moment, or the line belongs to another host now (seed 004, 2.4.4).
    pub fn report(&self, load: Load, now_ms: u64) -> bool {
        let Some(line) = self.line else { return false };
        let old = line.load.load(Ordering::Relaxed);
        if tag_of(old) != self.tag {
            return false;
        }
        let new = LoadWord::pack(self.tag, load.permille(), load.workers, now_ms);
        line.load.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// What was last reported; `None` if nothing was since the host is known.
    ///
    /// The time wraps after 49 days. The publisher clears what is older than a day, so that an old load never
    /// looks like a new one while an agent runs.
    #[must_use]
    pub fn load(&self, now_ms: u64) -> Option<Reported> {
        let word = self.line?.load.load(Ordering::Relaxed);
        if tag_of(word) != self.tag {
            return None;
        }
        LoadWord::unpack(word, now_ms)
    }

    /// Whether the host may be connected to.
    #[must_use]
    pub fn retry(&self, now_ms: u64) -> Retry {
        let Some(line) = self.line else { return Retry::Ready };
        let word = line.retry.load(Ordering::Relaxed);
        if tag_of(word) != self.tag { Retry::Ready } else { RetryWord::unpack(word).at(now_ms) }
    }

    /// Takes the right to try a host whose rest is over, with one compare-and-exchange: of all callers on the
    /// machine one gets `true`. It has `lease_ms` to say [`failed`](Slot::failed) or
    /// [`succeeded`](Slot::succeeded); when it says nothing, because it was killed, the host is due again.
    pub fn try_probe(&self, now_ms: u64, lease_ms: u64) -> bool {
        self.change(|word| match word.at(now_ms) {
            Retry::Due { .. } => {
                Some(RetryWord { state: PROBING, until_ms: now_ms.saturating_add(lease_ms), ..word })
            }
            _ => None,
        })
    }

    /// Says that the host could not be reached: it rests for `rest_ms`. One compare-and-exchange, dropped if
    /// it fails.
    ///
    /// A failure while the host already rests changes nothing: it comes from an attempt that began before,
    /// and a hundred callers that fail at once have seen one failure, not a hundred.
    pub fn failed(&self, now_ms: u64, rest_ms: u64) {
        self.change(|word| match word.at(now_ms) {
            Retry::Resting { .. } => None,
            _ => Some(RetryWord {
                state: RESTING,
                failures: word.failures.saturating_add(1),
                until_ms: now_ms.saturating_add(rest_ms),
            }),
        });
    }

    /// Says that the host was reached. Costs one load when it was ready anyway, else one
    /// compare-and-exchange, dropped if it fails.
    pub fn succeeded(&self) {
        self.change(|word| (word != RetryWord::default()).then(RetryWord::default));
    }

    /// Does one transition of the retry word; `false` if `next` saw no need, the line belongs to another
    /// host, or another caller came first.
    fn change(&self, next: impl FnOnce(RetryWord) -> Option<RetryWord>) -> bool {
        let Some(line) = self.line else { return false };
        let old = line.retry.load(Ordering::Relaxed);
        if tag_of(old) != self.tag {
            return false;
        }
        let Some(new) = next(RetryWord::unpack(old)) else { return false };
        line.retry.compare_exchange(old, new.pack(self.tag), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The publisher's side of a line.
impl Line {
    /// A line that belongs to nobody, in plain memory.
    #[cfg(any(loom, test))]
    #[must_use]
    pub fn free() -> Self {
        let zero = || AtomicU64::new(0);
        Line {
            load: zero(),
            retry: zero(),
            tag: zero(),
            owner_low: zero(),
            owner_high: zero(),
            reserved: [zero(), zero(), zero()],
        }
    }

    /// The slot that has this line in its use under `tag`.
    #[cfg(loom)]
    #[must_use]
    pub fn slot(&self, tag: u16) -> Slot<'_> {
        Slot::new(Some(self), 0, tag)
    }

    /// Whose line it is, and the tag of this use; `None` for a free line.
    pub fn owner(&self) -> Option<(u128, u16)> {
        let low = self.owner_low.load(Ordering::Relaxed);
        let tag = self.tag.load(Ordering::Relaxed) as u16;
        if low == 0 || tag == 0 {
            return None;
        }
        Some((u128::from(self.owner_high.load(Ordering::Relaxed)) << 64 | u128::from(low), tag))
    }

    /// Whether the line is in the use that `owner` and `tag` name, in all of its words. A stray write of a
    /// reader process may have changed any of them.
    pub fn is_in_use_by(&self, owner: u128, tag: u16) -> bool {
        self.owner() == Some((owner, tag))
            && tag_of(self.load.load(Ordering::Relaxed)) == tag
            && tag_of(self.retry.load(Ordering::Relaxed)) == tag
    }

    /// Gives the line to `owner` (whose low half is not 0) under a tag that no earlier user has, and returns
    /// that tag.
    ///
    /// The owner is written last: stopped anywhere before, the line is free, and the next use takes the next
    /// tag.
    pub fn give(&self, owner: u128, at_least: u16, steps: &mut dyn FnMut(&'static str)) -> u16 {
        self.take_back(steps);
        let tag = next_tag((self.tag.load(Ordering::Relaxed) as u16).max(at_least));
        let stores: [(&AtomicU64, u64, &'static str); 5] = [
            (&self.tag, u64::from(tag), "slot: tag"),
            (&self.load, LoadWord::unknown(tag), "slot: load"),
            (&self.retry, RetryWord::default().pack(tag), "slot: retry"),
            (&self.owner_high, (owner >> 64) as u64, "slot: owner, high half"),
            (&self.owner_low, owner as u64, "slot: owner, low half"),
        ];
        for (word, value, step) in stores {
            // An exchange, so that a late writer's own exchange comes before it and is overwritten, or after
            // it and fails. (A store is ordered so, too; the model checker takes only exchanges to be.)
            word.swap(value, Ordering::Relaxed);
            steps(step);
        }
        tag
    }

    /// Frees the line. Its tag stays, so that the next user gets another one.
    pub fn take_back(&self, steps: &mut dyn FnMut(&'static str)) {
        if self.owner_low.load(Ordering::Relaxed) != 0 {
            self.owner_low.store(0, Ordering::Relaxed);
            steps("slot: freed");
        }
    }

    /// Forgets a load that is older than `age_ms`, before its time wraps. Dropped if a reader stores one just
    /// now.
    pub fn forget_load(&self, now_ms: u64, age_ms: u64) {
        let word = self.load.load(Ordering::Relaxed);
        if LoadWord::unpack(word, now_ms).is_some_and(|reported| reported.age_ms > age_ms) {
            let unknown = LoadWord::unknown(tag_of(word));
            let _ = self.load.compare_exchange(word, unknown, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// The tag after `tag`; 0 is left out, so that a zeroed line never looks used.
fn next_tag(tag: u16) -> u16 {
    if tag == u16::MAX { 1 } else { tag + 1 }
}

/// Both words carry their tag in the highest 16 bits.
fn tag_of(word: u64) -> u16 {
    (word >> TAG_SHIFT) as u16
}

const TAG_SHIFT: u32 = 48;

/// The load word: tag 16 bits, time 26 bits, workers 12 bits, permille 10 bits, from the highest down.
///
/// The time counts units of 64 ms and wraps after 49 days.
struct LoadWord;

impl LoadWord {
    const PERMILLE_BITS: u32 = 10;
    const WORKERS_BITS: u32 = 12;
    const TIME_BITS: u32 = 26;
    const TIME_SHIFT: u32 = Self::PERMILLE_BITS + Self::WORKERS_BITS;
    const TIME_MASK: u64 = (1 << Self::TIME_BITS) - 1;
    /// 2^6 ms a unit of time.
    const UNIT_SHIFT: u32 = 6;
    /// No load of 0 to 1000.
    const UNKNOWN: u64 = (1 << Self::PERMILLE_BITS) - 1;
    /// A reader's clock reading may be this many units older than the time in the word; that is no age of 49
    /// days.
    const AHEAD: u64 = 16;

    fn pack(tag: u16, permille: u16, workers: u16, now_ms: u64) -> u64 {
        let workers = u64::from(workers).min((1 << Self::WORKERS_BITS) - 1);
        let time = (now_ms >> Self::UNIT_SHIFT) & Self::TIME_MASK;
        u64::from(tag) << TAG_SHIFT
            | time << Self::TIME_SHIFT
            | workers << Self::PERMILLE_BITS
            | u64::from(permille.min(1000))
    }

    fn unknown(tag: u16) -> u64 {
        u64::from(tag) << TAG_SHIFT | Self::UNKNOWN
    }

    fn unpack(word: u64, now_ms: u64) -> Option<Reported> {
        let permille = word & ((1 << Self::PERMILLE_BITS) - 1);
        if permille > 1000 {
            return None;
        }
        let workers = (word >> Self::PERMILLE_BITS) & ((1 << Self::WORKERS_BITS) - 1);
        let time = (word >> Self::TIME_SHIFT) & Self::TIME_MASK;
        let age = (now_ms >> Self::UNIT_SHIFT).wrapping_sub(time) & Self::TIME_MASK;
        let age = if age > Self::TIME_MASK - Self::AHEAD { 0 } else { age };
        Some(Reported { permille: permille as u16, workers: workers as u16, age_ms: age << Self::UNIT_SHIFT })
    }
}

/// The retry word: tag 16 bits, state 2 bits, failures 8 bits, until 38 bits (milliseconds, 8.7 years), from
/// the highest down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RetryWord {
    state: u8,
    failures: u8,
    until_ms: u64,
}

/// The state 0 is ready.
const RESTING: u8 = 1;
const PROBING: u8 = 2;

impl RetryWord {
    const UNTIL_BITS: u32 = 38;
    const FAILURES_SHIFT: u32 = Self::UNTIL_BITS;
    const STATE_SHIFT: u32 = Self::FAILURES_SHIFT + 8;
    const UNTIL_MASK: u64 = (1 << Self::UNTIL_BITS) - 1;

    fn pack(self, tag: u16) -> u64 {
        u64::from(tag) << TAG_SHIFT
            | u64::from(self.state) << Self::STATE_SHIFT
            | u64::from(self.failures) << Self::FAILURES_SHIFT
            | self.until_ms.min(Self::UNTIL_MASK)
    }

    fn unpack(word: u64) -> Self {
        RetryWord {
            state: (word >> Self::STATE_SHIFT) as u8 & 3,
            failures: (word >> Self::FAILURES_SHIFT) as u8,
            until_ms: word & Self::UNTIL_MASK,
        }
    }

    fn at(self, now_ms: u64) -> Retry {
        let RetryWord { state, failures, until_ms } = self;
        match state {
            RESTING if now_ms < until_ms => Retry::Resting { until_ms, failures },
            PROBING if now_ms < until_ms => Retry::Probing { until_ms },
            RESTING | PROBING => Retry::Due { failures },
            // 0, and 3, which nobody writes.
            _ => Retry::Ready,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
