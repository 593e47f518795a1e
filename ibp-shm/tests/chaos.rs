//! Many processes: readers in loops, a publisher that publishes as fast as it can, and all of them killed at
//! random.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Killed, Scratch, child, is_child, number_of, parameter, view};
use ibp_core::Load;
use ibp_shm::{Directory, Publisher, PublisherOptions, Reader, Refresh, ShmError, boottime_ms};

/// How many publishers live and die.
const PUBLISHERS: usize = 40;
/// How many readers there are at any time.
const READERS: usize = 3;

#[test]
#[ignore = "run by the test below as a process of its own"]
fn child_publisher() {
    if !is_child("child_publisher") {
        return;
    }
    let directory = Directory::at(parameter("DIRECTORY"));
    // Numbers of publishers do not overlap and only rise.
    let life: u64 = parameter("LIFE").parse().unwrap();
    let open = if life % 4 == 3 { Publisher::open_clean } else { Publisher::open };
    let mut publisher = open(&directory, PublisherOptions::default()).unwrap();
    for count in 1.. {
        publisher.publish(&view(life * 1_000_000 + count)).unwrap();
        tell(count);
        if life % 5 == 4 && count == 100 {
            publisher.close().unwrap();
            return;
        }
    }
}

#[test]
#[ignore = "run by the test below as a process of its own"]
fn child_reader() {
    if !is_child("child_reader") {
        return;
    }
    let directory = Directory::at(parameter("DIRECTORY"));
    let reader = loop {
        match Reader::attach(&directory) {
            Ok(reader) => break reader,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    };
    let mut last = 0;
    let mut switches = 0_u64;
    loop {
        match reader.refresh() {
            Ok(Refresh::Switched(_)) => switches += 1,
            Ok(Refresh::Same) => {}
            Err(error) => panic!("{error}"),
        }
        let config = reader.current();
        let number = number_of(&config);
        assert!(number >= last, "from {last} back to {number}");
        last = number;
        let now = boottime_ms();
        let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
        slot.report(Load { busy: 1, workers: 4 }, now);
        let load = slot.load(now).expect("the steady host keeps its load");
        assert_eq!((load.permille, load.workers), (250, 4));
        // Somebody who attaches anew finds the same or more.
        if switches.is_multiple_of(64) {
            match Reader::attach(&directory) {
                Ok(other) => assert!(number_of(&other.current()) >= number),
                // Between a clean stop and the next publisher's first generation.
                Err(
                    ShmError::NotThere { .. } | ShmError::NotPublished { .. } | ShmError::Restless { .. },
                ) => {}
                Err(error) => panic!("{error}"),
            }
        }
        tell(switches);
    }
}

/// Says how far this process is. A parent that does not listen any more ends it.
fn tell(progress: u64) {
    if writeln!(std::io::stderr(), "at {progress}").is_err() {
        std::process::exit(0);
    }
}

/// A child, and what it says of its progress.
struct Worker {
    process: Killed,
    said: BufReader<std::process::ChildStderr>,
}

impl Worker {
    fn start(name: &str, scratch: &Scratch, life: usize) -> Self {
        let path = scratch.path();
        let mut command = child(name, &[("DIRECTORY", path.to_str().unwrap()), ("LIFE", &life.to_string())]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::with_capacity(1 << 12, process.stderr.take().unwrap());
        Worker { process: Killed(process), said }
    }

    /// Lets it work until it has said something `times` times; it must not have failed.
    fn work(&mut self, times: u64) -> u64 {
        let mut progress = 0;
        for _ in 0..times {
            let mut line = String::new();
            self.said.read_line(&mut line).unwrap();
            progress = match line.trim().strip_prefix("at ").and_then(|number| number.parse().ok()) {
                Some(number) => number,
                None => {
                    let mut rest = String::new();
                    let _ = std::io::Read::read_to_string(&mut self.said, &mut rest);
                    panic!("a child failed: {line}{rest}");
                }
            };
        }
        progress
    }

    fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}

#[test]
fn invariant_2_no_reader_ever_sees_a_mixture_whoever_is_killed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let scratch = Scratch::new();
    let deadline = Instant::now() + Duration::from_secs(300);

    let mut readers: Vec<Worker> = (0..READERS).map(|_| Worker::start("child_reader", &scratch, 0)).collect();
    let mut published = 0;
    for life in 0..PUBLISHERS {
        let mut publisher = Worker::start("child_publisher", &scratch, life);
        // Some stop by themselves after 100 generations.
        published += publisher.work(random.u64(1..400).min(if life % 5 == 4 { 100 } else { 400 }));
        publisher.kill();
        let victim = random.usize(..READERS);
        for (number, reader) in readers.iter_mut().enumerate() {
            // A reader that is not killed has to get on; what it has said so far is read.
            reader.work(if number == victim { 1 } else { random.u64(1..200) });
        }
        readers.swap_remove(victim).kill();
        readers.push(Worker::start("child_reader", &scratch, 0));
        assert!(Instant::now() < deadline, "this takes far too long");
    }
    println!("{published} generations at least; {PUBLISHERS} publishers and as many readers killed");
    assert!(published > 1_000);
    readers.into_iter().for_each(Worker::kill);

    // Nothing but the newest segment is left once somebody has published again.
    let mut publisher = Publisher::open(&scratch.directory(), PublisherOptions::default()).unwrap();
    let generation = publisher.publish(&view(PUBLISHERS as u64 * 1_000_000)).unwrap();
    assert_eq!(scratch.files(), [format!("config.{generation}"), "index".to_owned(), "load".to_owned()]);
    let segment = scratch.path().join(format!("config.{generation}"));
    let used = std::fs::metadata(segment).unwrap().len();
    let board = std::fs::metadata(scratch.path().join("load")).unwrap().len();
    assert!(used < 16_384 && board <= 8_192, "segments of {used} and {board} bytes do not grow with time");
}
