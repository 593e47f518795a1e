//! The platform's own state, in one cache line for all.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ibp_shm::SharedArray;
use zerocopy::FromBytes;

/// Where the platform stands. It only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Stage {
    /// Workers are being made.
    Starting = 0,
    /// It serves.
    Ready = 1,
    /// It takes nothing new, and finishes what runs.
    Draining = 2,
    /// It ends now.
    Stopping = 3,
}

#[derive(FromBytes)]
#[repr(C, align(64))]
struct Words {
    stage: AtomicU32,
    _reserved: AtomicU32,
    next_sweep_ms: AtomicU64,
    spilled: AtomicU64,
    refused_connections: AtomicU64,
    protocol_errors: AtomicU64,
    timeouts: AtomicU64,
    deaths: AtomicU64,
    refusals_told: AtomicU64,
}

/// Handle to the shared words.
pub(crate) struct Control(SharedArray<Words>);

/// What went wrong with connections and workers since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Count {
    /// A connection was refused for lack of room.
    #[default]
    Refused,
    /// A peer broke the protocol.
    ProtocolError,
    /// A peer was too slow.
    Timeout,
    /// A worker died.
    Death,
}

impl Control {
    pub(crate) fn new() -> io::Result<Self> {
        SharedArray::allocated("ibp-control", 1).map(Self)
    }

    fn words(&self) -> &Words {
        &self.0[0]
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.words().stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            2 => Stage::Draining,
            _ => Stage::Stopping,
        }
    }

    /// Moves on to `stage`, never back.
    pub(crate) fn advance(&self, stage: Stage) {
        self.words().stage.fetch_max(stage as u32, Ordering::AcqRel);
    }

    /// True for one caller each `interval_ms`: it sweeps for all.
    pub(crate) fn may_sweep(&self, now_ms: u64, interval_ms: u64) -> bool {
        let next = &self.words().next_sweep_ms;
        let due = next.load(Ordering::Relaxed);
        due <= now_ms
            && next.compare_exchange(due, now_ms + interval_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Reserves room in the spill for `bytes` more; false when `quota` would be exceeded.
    pub(crate) fn reserve_spill(&self, bytes: u64, quota: u64) -> bool {
        let spilled = &self.words().spilled;
        if spilled.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= quota {
            return true;
        }
        self.release_spill(bytes);
        false
    }

    pub(crate) fn release_spill(&self, bytes: u64) {
        // A connection whose worker died within this may be released twice: never below zero.
        let _ = self.words().spilled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spilled| {
            Some(spilled.saturating_sub(bytes))
        });
    }

    fn counter(&self, count: Count) -> &AtomicU64 {
        let words = self.words();
        match count {
            Count::Refused => &words.refused_connections,
            Count::ProtocolError => &words.protocol_errors,
            Count::Timeout => &words.timeouts,
            Count::Death => &words.deaths,
        }
    }

    pub(crate) fn count(&self, count: Count) {
        self.counter(count).fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused since this was last asked.
    pub(crate) fn newly_refused(&self) -> u64 {
        let refused = self.counted(Count::Refused);
        refused.saturating_sub(self.words().refusals_told.swap(refused, Ordering::Relaxed))
    }

    pub(crate) fn counted(&self, count: Count) -> u64 {
        self.counter(count).load(Ordering::Relaxed)
    }
}
