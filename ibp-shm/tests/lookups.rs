//! Invariants 1 and 3: what a lookup must not do, shown by an allocator that counts and by a kernel that
//! kills.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use common::{Scratch, view};
use ibp_core::Load;
use ibp_shm::{Config, Publisher, PublisherOptions, Reader, Refresh, Retry};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Every lookup there is, hits and misses, and every word of the load board.
fn look_everything_up(reader: &Reader) {
    let config: &Config = &reader.current();
    for node in config.nodes() {
        black_box((node.name(), node.invalid(), node.key(), node.host_count()));
        for host in node.hosts() {
            black_box((host.addr(), host.ip_str(), host.invalid()));
            black_box(node.host_by_addr(host.addr()).is_some());
            let slot = host.slot();
            black_box(slot.report(Load { busy: 1, workers: 2 }, 1_000));
            black_box(slot.load(1_000));
            slot.failed(1_000, 10);
            assert_ne!(slot.retry(1_005), Retry::Ready);
            black_box(slot.try_probe(1_010, 10));
            slot.succeeded();
        }
        black_box(config.permits(config.this_node(), node.name(), "APP"));
    }
    for app in config.apps() {
        black_box((
            app.name(),
            app.desc(),
            app.bin(),
            app.timeout_ms(),
            app.timeout2_ms(),
            app.server_node(),
        ));
    }
    for (key, value) in config.kvs() {
        black_box((key, value));
    }
    for name in ["STEADY", "APP", "KEY-0", "", "NOT THERE"] {
        black_box((config.node(name).is_some(), config.app(name).is_some(), config.kv(name)));
        black_box(config.permits("A", name, name));
    }
    black_box((config.generation(), config.this_node(), config.registry(), config.registry_ip()));
    assert_eq!(reader.refresh().unwrap(), Refresh::Same);
}

#[test]
fn invariant_1_a_lookup_allocates_nothing() {
    let (_scratch, _publisher, reader) = published();
    // The first call of a thread takes its place in the book-keeping.
    drop(reader.current());
    let before = ALLOCATIONS.with(Cell::get);
    look_everything_up(&reader);
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    drop(black_box(Box::new(0_u8)));
    assert_eq!(ALLOCATIONS.with(Cell::get), before + 1, "the counter counts");
}

/// The child may write, end, and nothing else: a lock that has to wait, a page to be mapped, a clock read by
/// a system call would all kill it.
#[test]
fn invariant_1_a_lookup_makes_no_system_call() {
    let (_scratch, _publisher, reader) = published();
    let ended = in_a_child_without_system_calls(|| {
        look_everything_up(&reader);
        look_everything_up(&reader);
    });
    assert_eq!(ended, Ended::Exited(0));
}

/// Invariant 3: no system call, so nothing is mapped, while nothing changed; and exactly then.
#[test]
fn invariant_3_a_refresh_asks_the_kernel_only_if_something_changed() {
    let (_scratch, mut publisher, reader) = published();
    let unchanged = || {
        for _ in 0..1_000 {
            let _ = reader.refresh();
        }
    };
    assert_eq!(in_a_child_without_system_calls(unchanged), Ended::Exited(0));
    publisher.publish(&view(5)).unwrap();
    let killed = in_a_child_without_system_calls(unchanged);
    assert_eq!(killed, Ended::Killed(libc::SIGSYS), "to map the new configuration it has to ask");
    assert!(matches!(reader.refresh(), Ok(Refresh::Switched(_))));
    assert_eq!(in_a_child_without_system_calls(unchanged), Ended::Exited(0));
}

fn published() -> (Scratch, Publisher, Reader) {
    let scratch = Scratch::new();
    let mut publisher = Publisher::open(&scratch.directory(), PublisherOptions::default()).unwrap();
    publisher.publish(&view(4)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    (scratch, publisher, reader)
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Runs `work` in a forked child under a filter that lets `write` and `exit_group` through and kills on
/// everything else.
fn in_a_child_without_system_calls(work: impl Fn()) -> Ended {
    // Whatever is done once a thread is done before.
    let filter = filter();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the child calls nothing that could wait for another thread of this process: it allocates
    // nothing (see the test above), and ends by `_exit`.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
            {
                libc::_exit(99);
            }
            work();
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        if libc::WIFEXITED(status) {
            Ended::Exited(libc::WEXITSTATUS(status))
        } else {
            Ended::Killed(libc::WTERMSIG(status))
        }
    }
}

fn filter() -> Vec<libc::sock_filter> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let allow = |number: libc::c_long| {
        [
            libc::sock_filter {
                code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
                jt: 0,
                jf: 1,
                k: number as u32,
            },
            statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        ]
    };
    // The number of the call is the first word of what a filter is shown.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    program.extend(allow(libc::SYS_write));
    program.extend(allow(libc::SYS_exit_group));
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS));
    program
}

#[test]
fn the_filter_kills_on_a_system_call() {
    // SAFETY: the call has no preconditions.
    let ended = in_a_child_without_system_calls(|| unsafe { assert!(libc::syscall(libc::SYS_getppid) >= 0) });
    assert_eq!(ended, Ended::Killed(libc::SIGSYS));
}
