//! The load board between threads and between processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Scratch, view, wait_for};
use ibp_core::Load;
use ibp_shm::{Publisher, PublisherOptions, Reader, Retry};

/// Two threads report as fast as they can: nothing waits, some loads are dropped, and what is there is always
/// one that was reported.
#[test]
fn invariant_9_a_load_whose_exchange_fails_is_dropped() {
    let reader = Reader::from_view(&view(1)).unwrap();
    let (stop, stored, dropped) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let stop_at_the_end = StopAtTheEnd(&stop);
        for workers in [100_u16, 200] {
            let (reader, stop, stored, dropped) = (&reader, &stop, &stored, &dropped);
            scope.spawn(move || {
                let config = reader.snapshot();
                let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
                while !stop.load(Ordering::Relaxed) {
                    let done = slot.report(Load { busy: workers / 10, workers }, 1_000);
                    if done { stored } else { dropped }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let config = reader.current();
        let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
        wait_for("a load that is dropped", || {
            if let Some(load) = slot.load(1_000) {
                assert!(load.permille == 100 && [100, 200].contains(&load.workers), "{load:?}");
            }
            (dropped.load(Ordering::Relaxed) > 0 && stored.load(Ordering::Relaxed) > 0).then_some(())
        });
        drop(stop_at_the_end);
    });
}

/// Lets the threads end even if the test fails.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Of all processes of the machine one probes; when it is killed, the next does.
#[test]
fn one_process_probes_a_host_that_is_due() {
    let scratch = Scratch::new();
    let mut publisher = Publisher::open(&scratch.directory(), PublisherOptions::default()).unwrap();
    publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    let config = reader.current();
    let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
    slot.failed(1_000, 500);
    let probe_in_8_processes = |now| {
        let children: Vec<libc::pid_t> = (0..8)
            .map(|_| {
                // SAFETY: the child does one exchange in shared memory and ends by `_exit`.
                let child = unsafe { libc::fork() };
                assert!(child >= 0);
                if child == 0 {
                    let code = i32::from(slot.try_probe(now, 100));
                    // SAFETY: ends the process at once. The prober says nothing of how it went, as if it was
                    // killed.
                    unsafe { libc::_exit(code) };
                }
                child
            })
            .collect();
        children.into_iter().map(wait).sum::<i32>()
    };
    assert_eq!(probe_in_8_processes(1_499), 0);
    assert_eq!(probe_in_8_processes(1_500), 1);
    assert_eq!(slot.retry(1_500), Retry::Probing { until_ms: 1_600 });
    assert_eq!(probe_in_8_processes(1_599), 0);
    assert_eq!(probe_in_8_processes(1_600), 1, "the lease of the prober is over");
    slot.succeeded();
    assert_eq!((slot.retry(1_600), probe_in_8_processes(9_999)), (Retry::Ready, 0));
}

fn wait(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is where the system may write.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status));
    libc::WEXITSTATUS(status)
}
