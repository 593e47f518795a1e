//! A call on a long connection allocates nothing.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::time::Duration;

use ibp_core::wire::ib2::{FrameType, Header};
use support::{Server, client, read_request};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread allocates.
struct Counting;

fn count(size: usize) {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
    LARGEST.with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: all calls go on to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises hold for the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises hold for the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promises hold for the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(act: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    act();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn a_call_on_a_long_connection_allocates_nothing() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8; 10]))) > 0, "the counter counts");
    let server = Server::echo();
    let client = client(&[server.addr]);
    let mut connection = client.connect("NODE").unwrap();
    for size in [0, 128, 4096, 8192, 100_000] {
        let body = vec![5; size];
        for _ in 0..10 {
            connection.call("echo", &body).unwrap();
        }
        let count = allocations(|| {
            for _ in 0..1000 {
                assert_eq!(connection.call("echo", &body).unwrap().len(), size);
            }
        });
        assert_eq!(count, 0, "in 1000 calls of {size} bytes");
    }
}

/// Only the response that the caller gets has memory of its own.
#[test]
fn a_short_call_allocates_its_response_only() {
    let server = Server::echo();
    let client = client(&[server.addr]);
    let call = || drop(client.request("NODE", "echo").body(&[5; 128]).send().unwrap());
    (0..10).for_each(|_| call());
    let count = allocations(|| (0..100).for_each(|_| call()));
    assert_eq!(count, 100, "in 100 calls");
}

/// A peer that declares 60 MiB and sends little gets little memory.
#[test]
fn a_declared_length_gets_no_memory() {
    const SENT: usize = 100_000;
    let server = Server::treating(|stream| {
        read_request(stream).unwrap();
        let mut bytes = support::hello_bytes();
        Header { frame: FrameType::Response, flags: 0, number: 1, length: 60 << 20 }.put(&mut bytes);
        bytes.extend_from_slice(&[0; SENT]);
        let _ = stream.write_all(&bytes);
        support::await_end(stream);
    });
    let client = client(&[server.addr]);
    let mut connection = client.connect("NODE").unwrap();
    let timeout = Duration::from_millis(500);
    LARGEST.with(|largest| largest.set(0));
    assert_eq!(connection.call_with("echo").timeout(timeout).send().unwrap_err().number(), 30);
    assert_eq!(client.request("NODE", "echo").timeout(timeout).send().unwrap_err().number(), 30);
    let largest = LARGEST.with(Cell::get);
    assert!((SENT..4 * SENT).contains(&largest), "{largest} bytes");
}
