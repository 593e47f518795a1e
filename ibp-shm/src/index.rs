//! The index: one page, refreshed in place, that says which generation is the newest one.

use std::ops::Deref;

use crate::sync::{AtomicU64, Ordering, fence};

/// "IBPINDEX", read as bytes.
pub(crate) const INDEX_MAGIC: u64 = u64::from_ne_bytes(*b"IBPINDEX");

/// The layout of all three files. It changes with any of them.
pub(crate) const LAYOUT: u32 = 1;

/// The size of the index file in bytes. Only the first words are used.
pub(crate) const INDEX_LEN: u64 = 4096;

/// The words of the index, as a reader has them.
///
/// Magic, layout and the generation word keep their places in every layout to come, so that a publisher can
/// close the index of another version.
#[repr(C)]
#[derive(Debug)]
pub struct Index {
    magic: AtomicU64,
    layout: AtomicU64,
    /// The newest generation; 0 before the first. Bit 63 says that this index is closed. Both in one word, so
    /// that a reader needs one load to know that nothing changed.
    generation: AtomicU64,
    pid: AtomicU64,
    started_ms: AtomicU64,
    heartbeat_ms: AtomicU64,
    started_unix: AtomicU64,
    /// No generation up to this one may be used (again).
    floor: AtomicU64,
}

const CLOSED: u64 = 1 << 63;

/// The generation word, as it was read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed(u64);

impl Observed {
    /// The word of an index that names nothing.
    #[cfg(not(loom))]
    pub(crate) const NOTHING: Observed = Observed(0);

    /// The newest generation, 0 if there is none.
    pub fn generation(self) -> u64 {
        self.0 & !CLOSED
    }

    /// Whether a successor has to be looked up by path.
    pub fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }
}

/// What readers do. The index is mapped read-only for them, so that `Relaxed` loads are the only atomic
/// accesses there are.
impl Index {
    /// Reads the generation word.
    pub fn observe(&self) -> Observed {
        // +-------------------------------------------------------------------------------------------+
        // | Acquire, as a fence: pairs with the Release store in `announce`. What the publisher wrote |
        // | before that store, the segment and the slots that it names, is visible after this.        |
        // +-------------------------------------------------------------------------------------------+
        let word = self.generation.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Observed(word)
    }

    pub(crate) fn magic(&self) -> u64 {
        self.magic.load(Ordering::Relaxed)
    }

    pub(crate) fn layout(&self) -> u32 {
        self.layout.load(Ordering::Relaxed) as u32
    }

    /// The highest generation that may have been used before this index was made; 0 if it is of another
    /// layout.
    pub(crate) fn floor(&self) -> u64 {
        if self.layout() == LAYOUT { self.floor.load(Ordering::Relaxed) } else { 0 }
    }

    pub(crate) fn status(&self) -> PublisherStatus {
        PublisherStatus {
            pid: self.pid.load(Ordering::Relaxed) as u32,
            started_ms: self.started_ms.load(Ordering::Relaxed),
            started_unix: self.started_unix.load(Ordering::Relaxed),
            heartbeat_ms: self.heartbeat_ms.load(Ordering::Relaxed),
            closed: self.observe().is_closed(),
        }
    }
}

/// The words of the index, as the publisher has them.
#[repr(transparent)]
#[derive(Debug)]
pub struct WritableIndex(Index);

impl Deref for WritableIndex {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.0
    }
}

impl WritableIndex {
    /// An index in plain memory.
    #[cfg(loom)]
    #[must_use]
    pub fn unpublished() -> Self {
        let zero = || AtomicU64::new(0);
        WritableIndex(Index {
            magic: zero(),
            layout: zero(),
            generation: zero(),
            pid: zero(),
            started_ms: zero(),
            heartbeat_ms: zero(),
            started_unix: zero(),
            floor: zero(),
        })
    }

    /// Makes a zeroed page an index whose generations are higher than `floor`. Done before the file gets its
    /// name.
    pub(crate) fn format(&self, floor: u64) {
        self.0.floor.store(floor, Ordering::Relaxed);
        self.0.magic.store(INDEX_MAGIC, Ordering::Relaxed);
        self.0.layout.store(u64::from(LAYOUT), Ordering::Relaxed);
    }

    /// Writes who publishes, and since when.
    pub(crate) fn sign(&self, pid: u32, now_ms: u64, now_unix: u64) {
        self.0.pid.store(u64::from(pid), Ordering::Relaxed);
        self.0.started_ms.store(now_ms, Ordering::Relaxed);
        self.0.started_unix.store(now_unix, Ordering::Relaxed);
        self.beat(now_ms);
    }

    /// Writes that the publisher lives.
    pub(crate) fn beat(&self, now_ms: u64) {
        self.0.heartbeat_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Makes `generation` the newest one.
    pub fn announce(&self, generation: u64) {
        // +-----------------------------------------------------------------------------------------------+
        // | Release: pairs with the fence in `observe`. The segment is complete and has its name, and its |
        // | slots are assigned, before a reader can see this generation.                                  |
        // +-----------------------------------------------------------------------------------------------+
        self.0.generation.store(generation & !CLOSED, Ordering::Release);
    }

    /// Says that this index has no future. Done before anything that it names is removed.
    pub fn close(&self) {
        let word = self.0.generation.load(Ordering::Relaxed);
        self.0.generation.store(word | CLOSED, Ordering::Release);
    }
}

/// What the index says about the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherStatus {
    /// Its process id. It may have ended since: see `heartbeat_ms`.
    pub pid: u32,
    /// When it was started, [`boottime_ms`](crate::boottime_ms).
    pub started_ms: u64,
    /// When it was started, seconds since the Unix epoch.
    pub started_unix: u64,
    /// When it last said that it lives, [`boottime_ms`](crate::boottime_ms).
    pub heartbeat_ms: u64,
    /// Whether it was stopped cleanly, and no successor has been found yet.
    pub closed: bool,
}
