//! Invariant 6: a full file system is an error for the publisher, and nothing at all for readers.
//!
//! Each case runs in a process of its own, so that a SIGBUS would show as what it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Scratch, child, is_child, number_of, parameter, view};
use ibp_core::config::{View, ViewHost, ViewKv};
use ibp_shm::{Directory, Publisher, PublisherOptions, Reader, Refresh, SharedArray, ShmError};

/// A view that needs some `pages` pages in the configuration, and `hosts` lines in the load board.
fn large(number: u64, pages: usize, hosts: u16) -> View {
    let mut view = view(number);
    view.kv.push(ViewKv { key: "LARGE".to_owned(), value: "x".repeat(pages * 4_096) });
    let more = (1..=hosts).map(|port| ViewHost { addr: ([10, 2, 0, 1], port).into(), invalid: false });
    view.nodes[0].hosts.extend(more);
    view
}

/// Publishes into a file system with too little room, and reads. Says how far it got.
fn publish_until_full(directory: &Directory) -> &'static str {
    let mut publisher = match Publisher::open(directory, PublisherOptions::default()) {
        Ok(publisher) => publisher,
        Err(ShmError::Full { .. }) => return "no room for index and load board",
        Err(error) => panic!("{error}"),
    };
    match publisher.publish(&view(1)) {
        Ok(_) => {}
        Err(ShmError::Full { .. }) => return "no room for a configuration",
        Err(error) => panic!("{error}"),
    }
    let reader = Reader::attach(directory).unwrap();
    for (pages, hosts) in [(1_000, 0), (0, 20_000), (1_000, 20_000)] {
        match publisher.publish(&large(2, pages, hosts)) {
            Err(ShmError::Full { path, .. }) => assert!(path.starts_with(directory.path())),
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.refresh().unwrap(), Refresh::Same);
        reader.current().verify().unwrap();
        assert_eq!(number_of(&reader.current()), 1, "what was published before stays in force");
        assert_eq!(number_of(&Reader::attach(directory).unwrap().current()), 1);
    }
    // What fits still works, and nothing was left behind that would take up the room.
    let generation = match publisher.publish(&view(3)) {
        Ok(generation) => generation,
        Err(ShmError::Full { .. }) => return "no room for two configurations at a time",
        Err(error) => panic!("{error}"),
    };
    assert_eq!(reader.refresh().unwrap(), Refresh::Switched(generation));
    assert_eq!(number_of(&reader.current()), 3);
    let mut names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [format!("config.{generation}").as_str(), "index", "load"]);
    "full, and all is well"
}

#[test]
#[ignore = "run by the tests below as a process of its own"]
fn child_in_a_small_file_system() {
    if !is_child("child_in_a_small_file_system") {
        return;
    }
    let path = parameter("DIRECTORY");
    let c = |text: &str| std::ffi::CString::new(text).unwrap();
    let (tmpfs, root, at) = (c("tmpfs"), c("/"), c(&path));
    let options = c(&format!("mode=0700,size={}", parameter("BYTES")));
    // SAFETY: all strings live to the end of the calls. The mounts are this thread's alone, and end with it.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            eprintln!("not permitted");
            return;
        }
        let private = libc::MS_REC | libc::MS_PRIVATE;
        assert_eq!(
            libc::mount(tmpfs.as_ptr(), root.as_ptr(), std::ptr::null(), private, std::ptr::null()),
            0
        );
        if libc::mount(tmpfs.as_ptr(), at.as_ptr(), tmpfs.as_ptr(), 0, options.as_ptr().cast()) != 0 {
            eprintln!("not permitted");
            return;
        }
    }
    eprintln!("{}", publish_until_full(&Directory::at(path)));
}

#[test]
#[ignore = "run by the tests below as a process of its own"]
fn child_with_a_limit() {
    if !is_child("child_with_a_limit") {
        return;
    }
    let bytes = parameter("BYTES").parse().unwrap();
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the calls change this process only.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
    // Arrays are under the limit, too.
    assert!(SharedArray::<std::sync::atomic::AtomicU8>::allocated("test", 65_537).is_err());
    eprintln!("{}", publish_until_full(&Directory::at(parameter("DIRECTORY"))));
}

fn run(name: &str, scratch: &Scratch, bytes: u64) -> String {
    let path = scratch.path();
    let parameters = [("DIRECTORY", path.to_str().unwrap()), ("BYTES", &bytes.to_string())];
    let output = child(name, &parameters).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(output.status.success(), "with {bytes} bytes: {}: {said}", output.status);
    said
}

#[test]
fn invariant_6_a_full_file_system_is_an_error_for_the_publisher_alone() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path()).unwrap();
    let mut outcomes = std::collections::BTreeSet::new();
    // From one page, which the index takes, to enough.
    for pages in 1..=8 {
        let outcome = run("child_in_a_small_file_system", &scratch, pages * 4_096);
        println!("{pages} pages: {outcome}");
        outcomes.insert(outcome);
    }
    if outcomes.contains("not permitted") {
        println!("not tried: mounting is not permitted here");
        return;
    }
    assert_eq!(outcomes.len(), 4, "each kind of failure was met: {outcomes:?}");
}

#[test]
fn invariant_6_a_limit_on_the_size_of_files_is_an_error_for_the_publisher_alone() {
    let mut outcomes = std::collections::BTreeSet::new();
    for bytes in [0, 4_095, 4_096, 16_384, 65_536] {
        let outcome = run("child_with_a_limit", &Scratch::new(), bytes);
        println!("{bytes} bytes: {outcome}");
        outcomes.insert(outcome);
    }
    assert!(outcomes.contains("full, and all is well") && outcomes.len() >= 2, "{outcomes:?}");
}
