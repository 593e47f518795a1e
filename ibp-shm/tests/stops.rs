//! Invariant 7: a publisher that is killed after any system call and any store that others see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::os::unix::process::ExitStatusExt;

use common::{Scratch, child, is_child, number_of, parameter, view};
use ibp_core::Load;
use ibp_core::config::{View, ViewHost};
use ibp_shm::{Directory, Publisher, PublisherOptions, Reader, Refresh, ShmError, boottime_ms};

/// What the child does, from the start of a publisher on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// A first start, three generations of which the last lets the load board grow, and a clean stop.
    First,
    /// The start after a publisher that was killed, and one generation.
    Next,
    /// A clean start after a publisher that was killed, and one generation.
    Clean,
}

const LIVES: [Life; 3] = [Life::First, Life::Next, Life::Clean];

/// A view with so many hosts that the load board has to grow.
fn large(number: u64) -> View {
    let mut view = view(number);
    let more = (1..200).map(|port| ViewHost { addr: ([10, 2, 0, 1], port).into(), invalid: false });
    let steady = view.nodes.iter_mut().find(|node| node.name == "STEADY").unwrap();
    steady.hosts.extend(more);
    view
}

#[test]
#[ignore = "run by invariant_7_... as a process of its own"]
fn child_publisher() {
    if !is_child("child_publisher") {
        return;
    }
    let directory = Directory::at(parameter("DIRECTORY"));
    let stop_after: u64 = parameter("STOP_AFTER").parse().unwrap();
    let life = LIVES[parameter("LIFE").parse::<usize>().unwrap()];
    let mut done = 0;
    let steps = Box::new(move |step: &'static str| {
        done += 1;
        if done == stop_after {
            eprintln!("{step}");
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            unreachable!("nobody survives SIGKILL");
        }
    });
    let options = PublisherOptions::default();
    let mut publisher = Publisher::open_with_steps(&directory, options, life == Life::Clean, steps).unwrap();
    publisher.publish(&view(2)).unwrap();
    if life == Life::First {
        publisher.publish(&view(3)).unwrap();
        publisher.publish(&large(4)).unwrap();
        publisher.close().unwrap();
    }
}

/// What a publisher that was killed in the middle of writing leaves, and a reader that saw all of it.
fn prepare(scratch: &Scratch) -> Reader {
    let mut publisher = Publisher::open(&scratch.directory(), PublisherOptions::default()).unwrap();
    publisher.publish(&view(1)).unwrap();
    drop(publisher);
    let reader = Reader::attach(&scratch.directory()).unwrap();
    for left_over in ["config.1.tmp", "load.tmp", "index.77.tmp", "config.3"] {
        std::fs::write(scratch.path().join(left_over), "half").unwrap();
    }
    let now = boottime_ms();
    assert!(
        reader
            .current()
            .node("STEADY")
            .unwrap()
            .host(0)
            .unwrap()
            .slot()
            .report(Load { busy: 1, workers: 8 }, now)
    );
    reader
}

#[test]
fn invariant_7_after_a_stop_at_any_point_the_next_start_finds_a_consistent_state() {
    for (number, life) in LIVES.into_iter().enumerate() {
        let mut stop_after = 1;
        loop {
            let scratch = Scratch::new();
            let before = (life != Life::First).then(|| prepare(&scratch));
            let path = scratch.path();
            let parameters = [
                ("DIRECTORY", path.to_str().unwrap()),
                ("STOP_AFTER", &stop_after.to_string()),
                ("LIFE", &number.to_string()),
            ];
            let output = child("child_publisher", &parameters).output().unwrap();
            let step = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.signal(), Some(9), "{life:?}, stop {stop_after}: {step}");
            check(&scratch, life, before, &format!("{life:?}, stopped after {stop_after}: {step}"));
            stop_after += 1;
        }
        println!("{life:?}: stopped at {} points", stop_after - 1);
        assert!(stop_after > 15, "there are more points than that");
    }
}

fn check(scratch: &Scratch, life: Life, before: Option<Reader>, stop: &str) {
    // What readers find while there is no publisher.
    let mut highest = 0;
    match Reader::attach(&scratch.directory()) {
        Ok(reader) => {
            let config = reader.current();
            config.verify().unwrap_or_else(|error| panic!("{stop}: {error}"));
            highest = config.generation();
            if config.node("STEADY").unwrap().host_count() == 1 {
                let number = number_of(&config);
                assert!(number <= 3 && (life != Life::First || number >= 2), "{stop}: {number}");
            }
        }
        Err(ShmError::NotThere { .. } | ShmError::NotPublished { .. }) => {
            assert_ne!(life, Life::Next, "{stop}")
        }
        Err(error) => panic!("{stop}: {error}"),
    }
    if let Some(reader) = &before {
        reader.refresh().unwrap_or_else(|error| panic!("{stop}: {error}"));
        highest = highest.max(reader.current().generation());
        assert!([1, 2].contains(&number_of(&reader.current())), "{stop}");
    }

    // The next start.
    let mut publisher = Publisher::open(&scratch.directory(), PublisherOptions::default())
        .unwrap_or_else(|error| panic!("{stop}: {error}"));
    let generation = publisher.publish(&view(5)).unwrap_or_else(|error| panic!("{stop}: {error}"));
    assert!(generation > highest, "{stop}");
    let files = [format!("config.{generation}"), "index".to_owned(), "load".to_owned()];
    assert_eq!(scratch.files(), files, "{stop}");
    let reader = Reader::attach(&scratch.directory()).unwrap();
    assert_eq!(number_of(&reader.current()), 5, "{stop}");
    let load = |reader: &Reader| {
        let slot = |config: &ibp_shm::Config| {
            config.node("STEADY").unwrap().host(0).unwrap().slot().load(boottime_ms())
        };
        slot(&reader.current()).map(|load| load.permille)
    };
    match life {
        Life::First => assert_eq!(load(&reader), None, "{stop}"),
        Life::Next => assert_eq!(load(&reader), Some(125), "{stop}: loads survive"),
        // It depends on whether the old board was gone already.
        Life::Clean => assert!([None, Some(125)].contains(&load(&reader)), "{stop}"),
    }
    if let Some(before) = before {
        assert_eq!(before.refresh().unwrap(), Refresh::Switched(generation), "{stop}");
        assert_eq!((number_of(&before.current()), load(&before)), (5, load(&reader)), "{stop}");
    }
}
