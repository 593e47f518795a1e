//! What a fork does to the watch, to shared arrays and to readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};

use common::view;
use ibp_shm::{ForkWatch, Reader, SharedArray};

/// Runs `work` in a forked child, which allocates nothing; its result must be true.
fn in_a_child(work: impl FnOnce() -> bool) {
    // SAFETY: the child calls nothing that could wait for another thread of this process, and ends by
    // `_exit`.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::_exit(i32::from(!work()));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child saw something else");
    }
}

#[test]
fn a_watch_reads_zero_in_a_child_until_it_is_renewed() {
    let watch = ForkWatch::new().unwrap();
    let here = watch.current();
    assert_ne!(here, 0);
    in_a_child(|| {
        if watch.current() != 0 {
            return false;
        }
        let child = watch.renew();
        child != 0 && child != here && watch.current() == child
    });
    assert_eq!(watch.current(), here, "the parent's own stays");
    let other = ForkWatch::new().unwrap();
    assert_ne!(other.current(), here);
}

#[test]
fn parent_and_child_share_an_array() {
    for make in [SharedArray::<AtomicU64>::new, SharedArray::<AtomicU64>::allocated] {
        let array = make("test", 3_000).unwrap();
        assert_eq!(array.len(), 3_000);
        assert!(array.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        array[7].store(7, Ordering::Release);
        in_a_child(|| {
            array[2_999].store(9, Ordering::Release);
            array[7].load(Ordering::Acquire) == 7
        });
        assert_eq!(array[2_999].load(Ordering::Acquire), 9);
    }
}

#[test]
fn an_array_of_impossible_size_is_an_error() {
    for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8 + 1] {
        assert!(SharedArray::<AtomicU64>::new("test", len).is_err());
    }
    assert_eq!(SharedArray::<AtomicU64>::new("test", 0).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_reader_works_on_both_sides_of_a_fork() {
    let reader = Reader::from_view(&view(4)).unwrap();
    drop(reader.current());
    in_a_child(|| reader.current().node("STEADY").is_some() && reader.refresh().is_ok());
    assert!(reader.current().node("STEADY").is_some());
}
