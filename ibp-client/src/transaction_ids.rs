use std::sync::atomic::{AtomicU64, Ordering};

use ibp_core::wire::TransactionId;
use rustix::rand::{GetRandomFlags, getrandom};

/// Makes transaction ids: 80 random bits of this process, then a counter of 48 bits.
///
/// Two processes draw the same 80 bits with a probability that does not matter; within a process the counter tells ids
/// apart. A forked child has to [`TransactionIds::redraw`].
pub(crate) struct TransactionIds {
    random_high: AtomicU64,
    /// The low 16 of the random bits.
    random_low: AtomicU64,
    counter: AtomicU64,
}

impl TransactionIds {
    pub(crate) fn new() -> Self {
        let ids = Self {
            random_high: AtomicU64::new(0),
            random_low: AtomicU64::new(0),
            counter: AtomicU64::new(0),
        };
        ids.redraw();
        ids
    }

    /// Takes new random bits. Threads that do so at once leave a mixture of their draws, which is as random.
    pub(crate) fn redraw(&self) {
        let [high, low] = random_words();
        self.random_high.store(high, Ordering::Relaxed);
        self.random_low.store(low & 0xffff, Ordering::Relaxed);
    }

    pub(crate) fn next(&self) -> TransactionId {
        const COUNTER: u64 = (1 << 48) - 1;
        let count = self.counter.fetch_add(1, Ordering::Relaxed) & COUNTER;
        let high = self.random_high.load(Ordering::Relaxed);
        let low = self.random_low.load(Ordering::Relaxed) << 48 | count;
        TransactionId((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }
}

fn random_words() -> [u64; 2] {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // No kernel that this crate runs on lacks it; a sandbox may. Time and process id tell processes apart then.
            Err(_) => return fallback_words(),
        }
    }
    let words = u128::from_ne_bytes(bytes);
    [(words >> 64) as u64, words as u64]
}

fn fallback_words() -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    let pid = std::process::id();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let draw = || RandomState::new().hash_one((pid, now.tv_sec, now.tv_nsec));
    [draw(), draw()]
}

#[cfg(test)]
mod tests {
    use super::TransactionIds;

    #[test]
    fn ids_differ_within_a_process_and_after_a_redraw() {
        let ids = TransactionIds::new();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert_eq!(first.0[..10], second.0[..10], "80 random bits stay");
        ids.redraw();
        assert_ne!(ids.next().0[..10], second.0[..10]);
    }
}
