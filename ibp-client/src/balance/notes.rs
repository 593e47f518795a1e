use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What this process alone remembers of hosts, by their number in the load board. No lock, and no order between the notes:
/// each stands for itself, so that all accesses are `Relaxed`.
#[derive(Debug)]
pub(crate) struct Notes {
    /// Made when the first host in them is noted.
    pages: Box<[OnceLock<Box<[Note; PAGE]>>; PAGES]>,
}

const PAGE: usize = 256;
/// Beyond 65,536 hosts some share a note: notes are advice, not truth.
const PAGES: usize = 256;

#[derive(Debug, Default)]
struct Note {
    in_flight: AtomicU32,
    refused_until_ms: AtomicU64,
    no_unix_until_ms: AtomicU64,
}

impl Notes {
    pub(crate) fn new() -> Self {
        Self { pages: Box::new(std::array::from_fn(|_| OnceLock::new())) }
    }

    /// How many requests of this process the host is serving.
    pub(crate) fn in_flight(&self, slot: u32) -> u32 {
        self.known(slot).map_or(0, |note| note.in_flight.load(Ordering::Relaxed))
    }

    /// Counts a request to the host for as long as the result lives.
    pub(crate) fn count(&self, slot: u32) -> InFlight<'_> {
        let counter = &self.note(slot).in_flight;
        counter.fetch_add(1, Ordering::Relaxed);
        InFlight { counter }
    }

    /// The host refused, or did not answer: others come first for a time.
    pub(crate) fn refused(&self, slot: u32, until_ms: u64) {
        self.note(slot).refused_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Whether others come first.
    pub(crate) fn has_refused(&self, slot: u32, now_ms: u64) -> bool {
        self.known(slot).is_some_and(|note| now_ms < note.refused_until_ms.load(Ordering::Relaxed))
    }

    /// The host has no Unix socket on this machine; it is looked for again then.
    pub(crate) fn no_unix(&self, slot: u32, until_ms: u64) {
        self.note(slot).no_unix_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Whether the host may have a Unix socket on this machine.
    pub(crate) fn may_have_unix(&self, slot: u32, now_ms: u64) -> bool {
        self.known(slot).is_none_or(|note| now_ms >= note.no_unix_until_ms.load(Ordering::Relaxed))
    }

    /// In a forked child: the requests in flight are the parent's.
    pub(crate) fn forget_in_flight(&self) {
        for page in self.pages.iter().filter_map(OnceLock::get) {
            for note in page.iter() {
                note.in_flight.store(0, Ordering::Relaxed);
            }
        }
    }

    fn known(&self, slot: u32) -> Option<&Note> {
        let slot = slot as usize;
        self.pages[slot / PAGE % PAGES].get().map(|page| &page[slot % PAGE])
    }

    fn note(&self, slot: u32) -> &Note {
        let slot = slot as usize;
        let page = self.pages[slot / PAGE % PAGES]
            .get_or_init(|| Box::new(std::array::from_fn(|_| Note::default())));
        &page[slot % PAGE]
    }
}

/// One request that a host is serving.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    counter: &'a AtomicU32,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        // A fork in between has set the counter to 0 in the child: it must not wrap there.
        let _ = self.counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::Notes;

    #[test]
    fn counts_what_is_in_flight() {
        let notes = Notes::new();
        let first = notes.count(7);
        let second = notes.count(7);
        let other = notes.count(60_000);
        assert_eq!((notes.in_flight(7), notes.in_flight(8), notes.in_flight(60_000)), (2, 0, 1));
        drop((first, other));
        assert_eq!((notes.in_flight(7), notes.in_flight(60_000)), (1, 0));
        notes.forget_in_flight();
        drop(second);
        assert_eq!(notes.in_flight(7), 0);
    }

    #[test]
    fn refusals_and_absent_sockets_expire() {
        let notes = Notes::new();
        assert!(!notes.has_refused(1, 0));
        assert!(notes.may_have_unix(1, 0));
        notes.refused(1, 100);
        notes.no_unix(1, 100);
        assert!(notes.has_refused(1, 99));
        assert!(!notes.may_have_unix(1, 99));
        assert!(!notes.has_refused(1, 100));
        assert!(notes.may_have_unix(1, 100));
    }
}
