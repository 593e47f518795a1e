//! A publisher and its readers in one process: what is published is what is read, across changes, stops and
//! restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Scratch, number_of, view};
use ibp_core::Load;
use ibp_core::config::ViewHost;
use ibp_shm::{Directory, Publisher, PublisherOptions, Reader, Refresh, Retry, ShmError, boottime_ms};

fn open(scratch: &Scratch) -> Publisher {
    Publisher::open(&scratch.directory(), PublisherOptions::default()).unwrap()
}

#[test]
fn readers_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Reader>();
    shared::<ibp_shm::Config>();
    shared::<ibp_shm::SharedArray<std::sync::atomic::AtomicU64>>();
    shared::<ibp_shm::ForkWatch>();
}

#[test]
fn a_reader_follows_every_generation() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    let first = publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    assert_eq!((number_of(&reader.current()), reader.current().generation()), (1, first));
    assert_eq!(reader.refresh().unwrap(), Refresh::Same);
    for number in 2..50 {
        let generation = publisher.publish(&view(number)).unwrap();
        assert_eq!(generation, first + number - 1);
        assert_eq!(reader.refresh().unwrap(), Refresh::Switched(generation));
        assert_eq!(number_of(&reader.current()), number);
        reader.current().verify().unwrap();
    }
    assert_eq!(publisher.generation(), Some(reader.current().generation()));
}

/// After publishing generation N the agent unlinks N-1; whoever has it mapped keeps it.
#[test]
fn invariant_4_a_mapping_keeps_its_generation_and_its_file_is_gone() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    let held = reader.snapshot();
    let guarded = reader.current();
    let generation = publisher.publish(&view(2)).unwrap();
    assert_eq!(scratch.files(), [format!("config.{generation}"), "index".to_owned(), "load".to_owned()]);
    assert_eq!(reader.refresh().unwrap(), Refresh::Switched(generation));
    held.verify().unwrap();
    assert_eq!((number_of(&held), number_of(&guarded), number_of(&reader.current())), (1, 1, 2));
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = scratch.path();
        maps.lines().filter(|line| line.contains(path.to_str().unwrap()) && line.contains("config.")).count()
    };
    assert_eq!(mapped(), 2);
    drop((held, guarded));
    assert_eq!(mapped(), 1, "nobody holds generation 1 any more, so it is not mapped any more");

    // Nor does the publisher gather what it has published.
    let path = scratch.path();
    let open_segments = || {
        let files = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        files.filter(|file| file.starts_with(&path) && file.to_string_lossy().contains("config.")).count()
    };
    for number in 3..20 {
        publisher.publish(&view(number)).unwrap();
        assert!(open_segments() <= 2, "the one in force, and the one before it");
    }
}

/// Loads and retry times survive a change of configuration; a new host in an old slot begins anew.
#[test]
fn invariant_8_a_host_keeps_its_slot_and_a_new_one_changes_its_tag() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    let now = boottime_ms();
    let mut changing = view(4);
    publisher.publish(&changing).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();

    let before = reader.snapshot();
    let old_node = before.node("NODE-4").unwrap();
    let steady = before.node("STEADY").unwrap().host(0).unwrap().slot();
    assert!(steady.report(Load { busy: 3, workers: 4 }, now));
    steady.failed(now, 60_000);
    let old = old_node.host(2).unwrap().slot();
    assert!(old.report(Load { busy: 1, workers: 2 }, now));

    // The host of `old` goes, another comes. The line is not given away while generation 1 may still be
    // attached to.
    let other: ViewHost = ViewHost { addr: "10.9.9.9:9".parse().unwrap(), invalid: false };
    changing.nodes[0].hosts[2] = other;
    publisher.publish(&changing).unwrap();
    reader.refresh().unwrap();
    let between = reader.snapshot();
    let first_new = between.node("NODE-4").unwrap().host_by_addr(other.addr).unwrap().slot();
    assert_ne!(first_new.index(), old.index());

    // Now it is free, and the next new host gets it.
    let next = ViewHost { addr: "10.9.9.9:10".parse().unwrap(), invalid: false };
    changing.nodes[0].hosts.push(next);
    publisher.publish(&changing).unwrap();
    reader.refresh().unwrap();
    let after = reader.snapshot();
    let new = after.node("NODE-4").unwrap().host_by_addr(next.addr).unwrap().slot();
    assert_eq!(new.index(), old.index());
    assert_ne!(new.tag(), old.tag());
    assert_eq!((new.load(now), new.retry(now)), (None, Retry::Ready));
    assert!(!old.report(Load { busy: 9, workers: 9 }, now), "a late writer fails");
    assert_eq!((new.load(now), old.load(now)), (None, None));

    let same = after.node("STEADY").unwrap().host(0).unwrap().slot();
    assert_eq!((same.index(), same.tag()), (steady.index(), steady.tag()));
    assert_eq!(same.load(now).map(|load| (load.permille, load.workers)), Some((750, 4)));
    assert_eq!(same.retry(now), Retry::Resting { until_ms: now + 60_000, failures: 1 });
    drop((after, between, before));
}

#[test]
fn loads_survive_a_publisher_that_was_killed_even_if_its_configuration_is_lost() {
    let scratch = Scratch::new();
    let now = boottime_ms();
    let mut publisher = open(&scratch);
    let generation = publisher.publish(&view(4)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    let config = reader.snapshot();
    let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
    assert!(slot.report(Load { busy: 1, workers: 4 }, now));
    drop(publisher);
    std::fs::remove_file(scratch.path().join(format!("config.{generation}"))).unwrap();

    let mut publisher = open(&scratch);
    assert!(matches!(Reader::attach(&scratch.directory()), Err(ShmError::Gone { .. })));
    let next = publisher.publish(&view(5)).unwrap();
    assert_eq!(next, generation + 1);
    assert_eq!(reader.refresh().unwrap(), Refresh::Switched(next));
    let config = reader.current();
    let same = config.node("STEADY").unwrap().host(0).unwrap().slot();
    assert_eq!((same.index(), same.tag()), (slot.index(), slot.tag()));
    assert_eq!(same.load(now).map(|load| load.permille), Some(250));
}

/// One agent a directory.
#[test]
fn invariant_10_a_second_publisher_is_refused_with_the_first_ones_pid() {
    let scratch = Scratch::new();
    let mut first = open(&scratch);
    first.publish(&view(1)).unwrap();
    for clean in [false, true] {
        let second = if clean { Publisher::open_clean } else { Publisher::open };
        match second(&scratch.directory(), PublisherOptions::default()) {
            Err(ShmError::Busy { pid, .. }) => assert_eq!(pid, std::process::id()),
            other => panic!("{:?}", other.map(|publisher| publisher.generation())),
        }
    }
    first.publish(&view(2)).unwrap();
    assert_eq!(number_of(&Reader::attach(&scratch.directory()).unwrap().current()), 2);
    drop(first);
    assert_eq!(
        number_of(&Reader::attach(&scratch.directory()).unwrap().current()),
        2,
        "a kill takes nothing away"
    );
    open(&scratch);
}

#[test]
fn a_lock_on_an_index_that_is_gone_makes_nobody_the_publisher() {
    let scratch = Scratch::new();
    let mut first = Some(open(&scratch));
    let third = std::sync::Arc::new(std::sync::Mutex::new(None));
    let slot = std::sync::Arc::clone(&third);
    let directory = scratch.directory();
    // The second has opened the index of the first and not locked it yet, when the first stops and a third starts.
    let steps = Box::new(move |step: &'static str| {
        if step == "index: opened"
            && let Some(first) = first.take()
        {
            first.close().unwrap();
            let opened = Publisher::open(&directory, PublisherOptions::default()).unwrap();
            *slot.lock().unwrap() = Some(opened);
        }
    });
    let second = Publisher::open_with_steps(&scratch.directory(), PublisherOptions::default(), false, steps);
    assert!(matches!(second.map(drop), Err(ShmError::Busy { .. })));
    third.lock().unwrap().as_mut().unwrap().publish(&view(1)).unwrap();
}

#[test]
fn of_publishers_that_start_at_the_same_time_one_wins() {
    for _ in 0..20 {
        let scratch = Scratch::new();
        let ready = std::sync::Barrier::new(4);
        let won: Vec<bool> = std::thread::scope(|scope| {
            let start = || {
                ready.wait();
                match Publisher::open(&scratch.directory(), PublisherOptions::default()) {
                    Ok(publisher) => {
                        // Nobody gives up before all have tried.
                        ready.wait();
                        drop(publisher);
                        true
                    }
                    Err(ShmError::Busy { .. }) => {
                        ready.wait();
                        false
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        assert_eq!(scratch.files(), ["index", "load"]);
    }
}

#[test]
fn after_a_clean_stop_readers_stay_and_find_the_successor() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    std::fs::write(scratch.path().join("ibas.sock"), "not ours").unwrap();
    publisher.close().unwrap();
    assert_eq!(scratch.files(), ["ibas.sock"], "what is not ours stays");
    assert_eq!(reader.refresh().unwrap(), Refresh::Same);
    assert_eq!(number_of(&reader.current()), 1);
    assert!(reader.publisher().unwrap().closed);
    assert!(matches!(Reader::attach(&scratch.directory()), Err(ShmError::NotThere { .. })));

    let mut successor = open(&scratch);
    assert_eq!(reader.refresh().unwrap(), Refresh::Same, "nothing is published yet");
    assert!(matches!(Reader::attach(&scratch.directory()), Err(ShmError::NotPublished { .. })));
    let generation = successor.publish(&view(2)).unwrap();
    assert_eq!(reader.refresh().unwrap(), Refresh::Switched(generation));
    assert_eq!(number_of(&reader.current()), 2);
    assert_eq!(reader.refresh().unwrap(), Refresh::Same);
}

#[test]
fn a_publisher_whose_index_was_removed_gives_way_and_readers_follow() {
    let scratch = Scratch::new();
    let mut first = open(&scratch);
    let before = first.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    std::fs::remove_file(scratch.path().join("index")).unwrap();
    let mut second = open(&scratch);
    assert!(matches!(first.publish(&view(2)), Err(ShmError::Displaced { .. })));
    assert_eq!(reader.refresh().unwrap(), Refresh::Same);
    let after = second.publish(&view(3)).unwrap();
    assert!(after > before);
    assert!(matches!(first.close(), Err(ShmError::Displaced { .. })), "it removes nothing of the second's");
    assert_eq!(reader.refresh().unwrap(), Refresh::Switched(after));
    assert_eq!(number_of(&reader.current()), 3);
    assert_eq!(number_of(&Reader::attach(&scratch.directory()).unwrap().current()), 3);
}

#[test]
fn a_clean_start_drops_all_and_readers_follow() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    let before = publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    let now = boottime_ms();
    assert!(
        reader
            .current()
            .node("STEADY")
            .unwrap()
            .host(0)
            .unwrap()
            .slot()
            .report(Load { busy: 1, workers: 1 }, now)
    );
    drop(publisher);
    let mut publisher = Publisher::open_clean(&scratch.directory(), PublisherOptions::default()).unwrap();
    assert_eq!(scratch.files(), ["index", "load"]);
    assert_eq!(publisher.generation(), None);
    let after = publisher.publish(&view(2)).unwrap();
    assert!(after > before, "generations only rise");
    assert_eq!(reader.refresh().unwrap(), Refresh::Switched(after));
    assert_eq!(reader.current().node("STEADY").unwrap().host(0).unwrap().slot().load(now), None);
}

#[test]
fn a_view_that_cannot_be_published_leaves_the_one_before_in_force() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    let mut twice = view(2);
    twice.nodes[1] = twice.nodes[0].clone();
    assert!(matches!(publisher.publish(&twice), Err(ShmError::InvalidView { .. })));
    assert_eq!(reader.refresh().unwrap(), Refresh::Same);
    assert_eq!(number_of(&Reader::attach(&scratch.directory()).unwrap().current()), 1);
    publisher.publish(&view(3)).unwrap();
    reader.refresh().unwrap();
    assert_eq!(number_of(&reader.current()), 3);
}

#[test]
fn the_board_grows_and_old_mappings_stay_valid() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    let mut large = view(3);
    publisher.publish(&large).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    let before = reader.snapshot();
    let now = boottime_ms();
    for count in [100_u16, 1_000, 5_000] {
        large.nodes[1].hosts =
            (1..=count).map(|port| ViewHost { addr: ([10, 0, 0, 2], port).into(), invalid: false }).collect();
        publisher.publish(&large).unwrap();
        reader.refresh().unwrap();
        let config = reader.current();
        config.verify().unwrap();
        let node = config.node("NODE-3").unwrap();
        assert_eq!(node.host_count(), usize::from(count));
        let mut lines: Vec<u32> = node.hosts().map(|host| host.slot().index()).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), usize::from(count), "no two hosts have one line");
        let last = node.host(usize::from(count) - 1).unwrap().slot();
        assert!(last.report(Load { busy: 1, workers: 1 }, now));
    }
    let old = before.node("STEADY").unwrap().host(0).unwrap().slot();
    assert!(old.report(Load { busy: 1, workers: 2 }, now));
    let same = reader.current().node("STEADY").unwrap().host(0).unwrap().slot().load(now).unwrap();
    assert_eq!(same.permille, 500, "old and new mappings are the same board");
}

#[test]
fn a_line_that_was_overwritten_is_put_right_with_the_next_generation() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    publisher.publish(&view(4)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    // A reader process with a wild pointer.
    let load = scratch.path().join("load");
    let len = std::fs::metadata(&load).unwrap().len() as usize;
    let file = std::fs::OpenOptions::new().write(true).open(&load).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; len], 0).unwrap();
    let now = boottime_ms();
    {
        let config = reader.current();
        let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
        assert_eq!((slot.load(now), slot.retry(now)), (None, Retry::Ready));
        assert!(!slot.report(Load::default(), now));
    }
    assert!(Reader::attach(&scratch.directory()).is_err(), "the board cannot be recognised");
    publisher.publish(&view(6)).unwrap();
    Reader::attach(&scratch.directory()).unwrap();
    reader.refresh().unwrap();
    let config = reader.current();
    assert_eq!(number_of(&config), 6);
    let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
    assert!(slot.report(Load { busy: 1, workers: 1 }, now));
}

#[test]
fn a_reader_in_memory_keeps_slots_across_views() {
    let reader = Reader::from_view(&view(4)).unwrap();
    let now = boottime_ms();
    assert!(reader.publisher().is_none());
    {
        let config = reader.current();
        assert_eq!(number_of(&config), 4);
        config.verify().unwrap();
        assert!(
            config.node("STEADY").unwrap().host(0).unwrap().slot().report(Load { busy: 1, workers: 2 }, now)
        );
    }
    let generation = reader.replace(&view(5)).unwrap();
    assert_eq!(reader.refresh().unwrap(), Refresh::Same, "a replaced view is in force at once");
    let config = reader.current();
    assert_eq!((number_of(&config), config.generation()), (5, generation));
    let slot = config.node("STEADY").unwrap().host(0).unwrap().slot();
    assert_eq!(slot.load(now).map(|load| load.permille), Some(500));
    let mut twice = view(6);
    twice.nodes[1] = twice.nodes[0].clone();
    assert!(reader.replace(&twice).is_err());
    assert_eq!(number_of(&reader.current()), 5);
}

#[test]
fn only_a_reader_in_memory_can_be_given_a_view() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    assert!(reader.replace(&view(2)).is_err());
    assert_eq!(number_of(&reader.current()), 1);
}

#[test]
fn threads_that_refresh_at_once_switch_once_a_generation() {
    let scratch = Scratch::new();
    let mut publisher = open(&scratch);
    publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    for number in 2..40 {
        publisher.publish(&view(number)).unwrap();
        let switched: usize = std::thread::scope(|scope| {
            let refresh = || match reader.refresh().unwrap() {
                Refresh::Switched(_) => 1,
                Refresh::Same => 0,
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(refresh)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(switched, 1);
        assert_eq!(number_of(&reader.current()), number);
    }
}

#[test]
fn the_index_tells_who_publishes_and_that_it_lives() {
    let scratch = Scratch::new();
    let before = boottime_ms();
    let mut publisher = open(&scratch);
    publisher.publish(&view(1)).unwrap();
    let reader = Reader::attach(&scratch.directory()).unwrap();
    let status = reader.publisher().unwrap();
    assert_eq!((status.pid, status.closed), (std::process::id(), false));
    assert!(status.started_ms >= before && status.heartbeat_ms >= status.started_ms);
    common::wait_for("the clock", || (boottime_ms() > status.heartbeat_ms).then_some(()));
    publisher.heartbeat();
    assert!(reader.publisher().unwrap().heartbeat_ms > status.heartbeat_ms);
}

#[test]
fn an_installation_has_one_directory_whatever_path_leads_to_it() {
    let home = tempfile::tempdir().unwrap();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(home.path(), &link).unwrap();
    let directory = Directory::of_installation(home.path());
    assert_eq!(directory, Directory::of_installation(&link));
    assert_ne!(directory, Directory::of_installation(&home.path().join("elsewhere")));
    let name = directory.path().to_str().unwrap().strip_prefix("/dev/shm/ibp-").unwrap();
    let (user, digest) = name.split_once('-').unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(home.path()).unwrap());
    assert_eq!(user, owner.to_string());
    assert!(digest.len() == 16 && digest.bytes().all(|digit| digit.is_ascii_hexdigit()));
}
