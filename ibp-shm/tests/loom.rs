//! The publication protocol, the slots and the retry words under the model checker: the code that runs, over
//! plain memory.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ibp-shm --test loom --release`
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;

use ibp_core::Load;
use ibp_shm::Retry;
use ibp_shm::model::{Followed, Line, Store, WritableIndex, follow, publish};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// A directory with room for two generations.
///
/// The contents are plain cells: a reader that could see a name, or the announcement, before the contents are
/// written would be a data race, which loom reports. Names are taken away with `Release` and looked up with
/// `Acquire`, which is what a file system's own locks do; they are given without order, so that it is the
/// index's order that counts.
struct Segments {
    index: WritableIndex,
    line: Line,
    contents: [UnsafeCell<u64>; 2],
    names: [AtomicBool; 2],
}

impl Segments {
    fn new() -> Self {
        Segments {
            index: WritableIndex::unpublished(),
            line: Line::free(),
            contents: [UnsafeCell::new(0), UnsafeCell::new(0)],
            names: [AtomicBool::new(false), AtomicBool::new(false)],
        }
    }

    /// Publishes `generation`, 1 or 2, whose contents are its number and the tag of the slot that it names.
    fn publish(&self, generation: u64, tag: u16) {
        let contents = generation << 16 | u64::from(tag);
        // SAFETY: nobody has the generation's name yet; loom fails the test if somebody reads it at the same time.
        self.contents[generation as usize - 1].with_mut(|cell| unsafe { *cell = contents });
        publish(&self.index, &mut Names(self), generation - 1, generation, &mut |_| {}).unwrap();
    }

    /// Opens a generation as a reader does.
    fn open(&self, generation: u64) -> Result<Option<(u64, u16)>, Infallible> {
        let number = generation as usize - 1;
        if !self.names[number].load(Ordering::Acquire) {
            return Ok(None);
        }
        // SAFETY: it was written before it got its name; loom fails the test if somebody writes it at the same time.
        let contents = self.contents[number].with(|cell| unsafe { *cell });
        Ok(Some((contents >> 16, contents as u16)))
    }
}

struct Names<'a>(&'a Segments);

impl Store for Names<'_> {
    type Error = Infallible;

    fn place(&mut self, generation: u64) -> Result<(), Infallible> {
        self.0.names[generation as usize - 1].store(true, Ordering::Relaxed);
        Ok(())
    }

    fn remove(&mut self, generation: u64) {
        self.0.names[generation as usize - 1].store(false, Ordering::Release);
    }
}

/// Invariants 2, 3 and 4: one generation or the other, complete, and always one of them.
#[test]
fn a_reader_sees_one_complete_generation() {
    loom::model(|| {
        let segments = Arc::new(Segments::new());
        segments.publish(1, 1);
        let publisher = {
            let segments = Arc::clone(&segments);
            thread::spawn(move || segments.publish(2, 2))
        };
        let mut last = 0;
        for _ in 0..2 {
            match follow(&segments.index, |generation| segments.open(generation)).unwrap() {
                Followed::At(seen, (contents, _)) => {
                    assert_eq!(contents, seen.generation());
                    assert!(contents >= last, "never back to an older one");
                    last = contents;
                }
                other => panic!("{other:?}"),
            }
        }
        publisher.join().unwrap();
    });
}

/// A clean stop: what is gone is never taken for something that somebody else removed.
#[test]
fn a_reader_learns_that_the_index_is_closed_before_anything_is_gone() {
    loom::model(|| {
        let segments = Arc::new(Segments::new());
        segments.publish(1, 1);
        let publisher = {
            let segments = Arc::clone(&segments);
            thread::spawn(move || {
                segments.index.close();
                Names(&segments).remove(1);
            })
        };
        match follow(&segments.index, |generation| segments.open(generation)).unwrap() {
            Followed::At(seen, (contents, _)) => assert_eq!((seen.generation(), contents), (1, 1)),
            Followed::Closed => {}
            other => panic!("{other:?}"),
        }
        publisher.join().unwrap();
        assert!(matches!(follow(&segments.index, |g| segments.open(g)), Ok(Followed::Closed)));
    });
}

/// Invariant 8: who sees the generation that names a slot finds the slot ready; who had it before cannot
/// write to it.
#[test]
fn a_slot_is_given_before_its_generation_is_announced() {
    loom::model(|| {
        let segments = Arc::new(Segments::new());
        let old = segments.line.give(7, 0, &mut |_| {});
        segments.publish(1, old);
        let publisher = {
            let segments = Arc::clone(&segments);
            thread::spawn(move || {
                let tag = segments.line.give(9, 0, &mut |_| {});
                segments.publish(2, tag);
            })
        };
        let late = {
            let segments = Arc::clone(&segments);
            thread::spawn(move || {
                let slot = segments.line.slot(old);
                slot.report(Load { busy: 1, workers: 1 }, 0);
                slot.failed(0, 1_000);
            })
        };
        if let Followed::At(seen, (_, tag)) = follow(&segments.index, |g| segments.open(g)).unwrap()
            && seen.generation() == 2
        {
            let slot = segments.line.slot(tag);
            assert_eq!((slot.load(0), slot.retry(0)), (None, Retry::Ready), "nothing of the old host");
            assert!(slot.report(Load { busy: 1, workers: 2 }, 0), "nobody else may write");
        }
        publisher.join().unwrap();
        late.join().unwrap();
        let (owner, tag) = segments.line.owner().unwrap();
        assert_eq!((owner, segments.line.is_in_use_by(9, tag)), (9, true));
        let load = segments.line.slot(tag).load(0);
        assert!(load.is_none_or(|load| load.permille == 500), "{load:?}");
        assert_eq!(segments.line.slot(old).load(0), None);
    });
}

/// Invariant 9: a load is whole, and one of those that were reported; when the exchange fails it is dropped.
#[test]
fn invariant_9_of_loads_reported_at_once_one_may_be_dropped() {
    // Of the standard library, so that it outlives the models: whether one was dropped in any order of
    // events.
    static DROPPED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    loom::model(|| {
        let line = Arc::new(Line::free());
        let tag = line.give(7, 0, &mut |_| {});
        let report = |busy: u16, workers: u16| {
            let line = Arc::clone(&line);
            thread::spawn(move || line.slot(tag).report(Load { busy, workers }, 0))
        };
        let (one, other) = (report(1, 4), report(7, 7));
        let seen = line.slot(tag).load(0).map(|load| (load.permille, load.workers));
        assert!([None, Some((250, 4)), Some((1000, 7))].contains(&seen), "{seen:?}");
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        assert!(one || other, "one of two exchanges succeeds");
        DROPPED.fetch_or(!(one && other), Ordering::Relaxed);
        let last = line.slot(tag).load(0).map(|load| (load.permille, load.workers)).unwrap();
        match (one, other) {
            (true, false) => assert_eq!(last, (250, 4)),
            (false, true) => assert_eq!(last, (1000, 7)),
            _ => assert!([(250, 4), (1000, 7)].contains(&last)),
        }
    });
    assert!(DROPPED.load(Ordering::Relaxed), "a loop would never drop one");
}

#[test]
fn of_callers_that_find_a_host_due_one_probes() {
    loom::model(|| {
        let line = Arc::new(Line::free());
        let tag = line.give(7, 0, &mut |_| {});
        line.slot(tag).failed(0, 1_000);
        let probe = || {
            let line = Arc::clone(&line);
            thread::spawn(move || line.slot(tag).try_probe(1_000, 100))
        };
        let (one, other) = (probe(), probe());
        let third = line.slot(tag).try_probe(1_000, 100);
        let won = [one.join().unwrap(), other.join().unwrap(), third];
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        assert_eq!(line.slot(tag).retry(1_000), Retry::Probing { until_ms: 1_100 });
    });
}

/// The prober says that the host is back while a late caller says that it failed, and the publisher clears
/// old loads: the word is always one of the two.
#[test]
fn a_retry_word_is_always_one_that_somebody_wrote() {
    loom::model(|| {
        let line = Arc::new(Line::free());
        let tag = line.give(7, 0, &mut |_| {});
        line.slot(tag).failed(0, 1_000);
        assert!(line.slot(tag).try_probe(1_000, 100));
        let prober = {
            let line = Arc::clone(&line);
            thread::spawn(move || line.slot(tag).succeeded())
        };
        let late = {
            let line = Arc::clone(&line);
            thread::spawn(move || line.slot(tag).failed(1_050, 1_000))
        };
        line.forget_load(0, 0);
        prober.join().unwrap();
        late.join().unwrap();
        let retry = line.slot(tag).retry(1_050);
        let resting = |failures| Retry::Resting { until_ms: 2_050, failures };
        assert!([Retry::Ready, resting(1), resting(2)].contains(&retry), "{retry:?}");
    });
}
