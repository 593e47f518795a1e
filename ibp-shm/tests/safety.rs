//! Invariant 5: what must not be attached to, and what damage leads to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};

use common::{Scratch, child, is_child, parameter, view};
use ibp_core::Load;
use ibp_core::config::{PairKey, Secret};
use ibp_shm::{Directory, Publisher, PublisherOptions, Reader, ShmError};

fn published(scratch: &Scratch, number: u64) -> (Publisher, String) {
    let mut publisher = Publisher::open(&scratch.directory(), PublisherOptions::default()).unwrap();
    let generation = publisher.publish(&view(number)).unwrap();
    (publisher, format!("config.{generation}"))
}

fn insecure(result: Result<Reader, ShmError>, word: &str) {
    match result {
        Err(ShmError::Insecure { path, problem }) => {
            assert!(problem.contains(word), "{}: {problem}", path.display())
        }
        other => panic!("{word}: {other:?}"),
    }
}

#[test]
fn invariant_5_only_the_owners_own_files_are_attached_to() {
    let scratch = Scratch::new();
    let (_publisher, config) = published(&scratch, 3);
    let attach = || Reader::attach(&scratch.directory());
    for name in ["index", "load", &config] {
        let path = scratch.path().join(name);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
        for wrong in [0o644, 0o604, 0o620, 0o601, 0o4600] {
            fs::set_permissions(&path, Permissions::from_mode(wrong)).unwrap();
            insecure(attach(), "its mode");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        attach().unwrap();
        // A link, even to the right file.
        let aside = scratch.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        insecure(attach(), "link");
        fs::remove_file(&path).unwrap();
        // A directory, a pipe.
        fs::create_dir(&path).unwrap();
        insecure(attach(), "no ordinary file");
        fs::remove_dir(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        insecure(attach(), "no ordinary file");
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        attach().unwrap();
    }
    assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o7777, 0o700);
    for wrong in [0o755, 0o770, 0o701, 0o1700] {
        fs::set_permissions(scratch.path(), Permissions::from_mode(wrong)).unwrap();
        insecure(attach(), "its mode");
        assert!(matches!(scratch.directory().check(), Err(ShmError::Insecure { .. })));
        let opened = Publisher::open(&scratch.directory(), PublisherOptions::default());
        assert!(matches!(opened.map(drop), Err(ShmError::Insecure { .. })), "nor does a publisher use it");
    }
}

#[test]
fn invariant_5_a_directory_of_somebody_else_is_refused() {
    let scratch = Scratch::new();
    let (_publisher, config) = published(&scratch, 3);
    let moved = scratch.path().with_file_name("link");
    symlink(scratch.path(), &moved).unwrap();
    insecure(Reader::attach(&Directory::at(&moved)), "links are not followed");
    let me = rustix::process::geteuid().as_raw();
    insecure(Reader::attach(&scratch.directory().owned_by(me + 1)), "belongs to user");
    let opened = Publisher::open(&scratch.directory().owned_by(me + 1), PublisherOptions::default());
    assert!(matches!(opened.map(drop), Err(ShmError::Insecure { .. })));
    if me != 0 {
        println!("files of another user: not tried, since only root can make some");
        return;
    }
    for name in ["index", "load", &config] {
        let path = scratch.path().join(name);
        chown(&path, Some(12_345), None).unwrap();
        insecure(Reader::attach(&scratch.directory()), "belongs to user 12345");
        chown(&path, Some(0), None).unwrap();
    }
    chown(scratch.path(), Some(12_345), None).unwrap();
    insecure(Reader::attach(&scratch.directory()), "belongs to user 12345");
}

#[test]
#[ignore = "run by the test below as a process of its own"]
fn child_of_the_group() {
    if !is_child("child_of_the_group") {
        return;
    }
    let number = |key: &str| parameter(key).parse::<u32>().unwrap();
    // SAFETY: the calls change this process only, which has one thread that matters.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setgid(number("GROUP")), 0);
        assert_eq!(libc::setuid(54_321), 0);
    }
    let directory = Directory::at(parameter("DIRECTORY"));
    let reader = Reader::attach(&directory.owned_by(0));
    match parameter("EXPECTED").as_str() {
        "attached" => {
            let reader = reader.unwrap();
            let config = reader.current();
            config.verify().unwrap();
            assert!(
                config
                    .node("STEADY")
                    .unwrap()
                    .host(0)
                    .unwrap()
                    .slot()
                    .report(Load { busy: 1, workers: 4 }, 1_000)
            );
            let directory = Directory::at(parameter("DIRECTORY")).owned_by(0);
            assert!(
                Publisher::open(&directory, PublisherOptions::default()).is_err(),
                "it can read, not publish"
            );
        }
        _ => assert!(matches!(reader, Err(ShmError::Io { .. })), "{reader:?}"),
    }
}

#[test]
fn applications_of_the_group_read_and_report_and_others_cannot() {
    if rustix::process::geteuid().as_raw() != 0 {
        println!("not tried: only root can run processes as other users");
        return;
    }
    // In a place that every user can reach.
    let root = tempfile::Builder::new().prefix("ibp-shm-test-").tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let path = root.path().join("segments");
    let options = PublisherOptions { group: Some(7_777) };
    let mut publisher = Publisher::open(&Directory::at(&path), options).unwrap();
    let generation = publisher.publish(&view(3)).unwrap();
    let config = format!("config.{generation}");
    for (name, mode) in [("", 0o750), ("index", 0o640), ("load", 0o660), (&config, 0o640)] {
        let metadata = fs::metadata(path.join(name)).unwrap();
        let group = std::os::unix::fs::MetadataExt::gid(&metadata);
        assert_eq!((metadata.permissions().mode() & 0o7777, group), (mode, 7_777), "{name}");
    }
    // The test program has to be reachable for the other user, too.
    let program = root.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for (group, expected) in [("7777", "attached"), ("7778", "refused")] {
        let directory = path.to_str().unwrap();
        let parameters = [("DIRECTORY", directory), ("GROUP", group), ("EXPECTED", expected)];
        let command = child("child_of_the_group", &parameters);
        let mut command = in_program(&command, &program);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{expected}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let reader = Reader::attach(&Directory::at(&path)).unwrap();
    let config = reader.current();
    assert_eq!(config.node("STEADY").unwrap().host(0).unwrap().slot().load(1_000).unwrap().permille, 250);
    // The agent is started without the group again: it is the owner's alone.
    drop(publisher);
    let mut publisher = Publisher::open(&Directory::at(&path), PublisherOptions::default()).unwrap();
    publisher.publish(&view(4)).unwrap();
    for name in ["index", "load"] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    Reader::attach(&Directory::at(&path)).unwrap();
}

/// The same command with another program.
fn in_program(command: &std::process::Command, program: &std::path::Path) -> std::process::Command {
    let mut copy = std::process::Command::new(program);
    copy.args(command.get_args());
    copy.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    copy.current_dir("/");
    copy
}

#[test]
fn keys_are_never_printed() {
    let mut secret = view(4);
    secret.nodes[1].key =
        Some(PairKey { current: Secret([0xab; 32]), previous: None, new_enable_at: 0, old_disable_at: 0 });
    secret.kv[0].value = "hunter2".to_owned();
    let reader = Reader::from_view(&secret).unwrap();
    let config = reader.current();
    let node = config.node("STEADY").unwrap();
    assert_eq!(node.key(), secret.nodes[1].key);
    let printed =
        format!("{reader:?} {:?} {node:?} {:?} {:?}", *config, node.key(), config.kv_at(0).unwrap());
    for secret in ["171", "ab, ab", "abab", "hunter2"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn keys_are_not_in_core_dumps() {
    let scratch = Scratch::new();
    let (_publisher, config) = published(&scratch, 3);
    let _in_a_directory = Reader::attach(&scratch.directory()).unwrap();
    let _in_memory = Reader::from_view(&view(3)).unwrap();
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let segment = scratch.path().join(config);
    for name in [segment.to_str().unwrap(), "memfd:ibp-config"] {
        let after = &maps[maps.find(name).unwrap()..];
        let flags = after.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split(' ').any(|flag| flag == "dd"), "{name}: {flags}");
    }
}

/// Flips bytes and cuts files short: each time there is an error, or answers; and never anything else.
#[test]
fn invariant_5_damage_gives_an_error_or_a_miss() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let scratch = Scratch::new();
    let (publisher, config) = published(&scratch, 5);
    drop(publisher);
    let files = ["index", "load", &config].map(|name| {
        let path = scratch.path().join(name);
        let contents = fs::read(&path).unwrap();
        (path, contents)
    });
    let (mut attached, mut verified) = (0, 0);
    for _ in 0..5_000 {
        let (path, contents) = &files[random.usize(..3)];
        let mut damaged = contents.clone();
        for _ in 0..random.usize(1..4) {
            let at = if random.bool() {
                random.usize(..damaged.len().min(400))
            } else {
                random.usize(..damaged.len())
            };
            damaged[at] ^= random.u8(1..);
        }
        if random.u8(..4) == 0 {
            damaged.truncate(random.usize(..damaged.len()));
        }
        fs::write(path, &damaged).unwrap();
        match Reader::attach(&scratch.directory()) {
            Ok(reader) => {
                attached += 1;
                verified += u32::from(reader.current().verify().is_ok());
                look_everywhere(&reader);
            }
            Err(
                ShmError::Damaged { .. }
                | ShmError::Layout { .. }
                | ShmError::Gone { .. }
                | ShmError::NotThere { .. }
                | ShmError::NotPublished { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
        fs::write(path, contents).unwrap();
    }
    println!("5000 times damaged: attached {attached} times, of which {verified} could be verified");
    assert!(attached > 1_000, "an attachment reads little, so that most damage is met by lookups");
    let reader = Reader::attach(&scratch.directory()).unwrap();
    reader.current().verify().unwrap();
}

fn look_everywhere(reader: &Reader) {
    let config = reader.current();
    let _ = format!("{config:?} {:?} {}", config.registry(), config.registry_ip());
    for node in config.nodes().take(100) {
        let _ = format!("{node:?} {}", node.key().is_some());
        for host in node.hosts().take(100) {
            let slot = host.slot();
            let _ = (slot.report(Load::default(), 1), slot.load(1), slot.try_probe(1, 1), slot.retry(1));
            slot.failed(1, 1);
            slot.succeeded();
            let _ = format!("{host:?} {} {slot:?}", host.ip_str());
            let _ = node.host_by_addr(host.addr());
        }
        let _ = (node.as_ptr(), config.permits(config.this_node(), node.name(), "APP"));
    }
    for app in config.apps().take(100) {
        let _ = format!("{app:?} {} {}", app.desc(), app.server_node());
    }
    for (key, value) in config.kvs().take(100) {
        let _ = (key.len(), value.len());
    }
    for name in ["NODE-5", "STEADY", "APP", "KEY-0", "KEY-1", ""] {
        let _ = (config.node(name).is_some(), config.app(name).is_some(), config.kv(name));
    }
}

#[test]
fn a_publisher_replaces_what_is_damaged() {
    for name in ["index", "load", "config"] {
        for contents in [vec![], vec![0; 100], vec![0xff; 4_096], vec![0; 8_192]] {
            let scratch = Scratch::new();
            let (publisher, config) = published(&scratch, 5);
            drop(publisher);
            let path = scratch.path().join(if name == "config" { &config } else { name });
            let file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
            file.write_all_at(&contents, 0).unwrap();
            let (_publisher, config) = published(&scratch, 6);
            let reader = Reader::attach(&scratch.directory()).unwrap();
            reader.current().verify().unwrap();
            assert_eq!(common::number_of(&reader.current()), 6);
            assert_eq!(scratch.files(), [config, "index".to_owned(), "load".to_owned()]);
        }
    }
}

#[test]
fn an_index_of_another_layout_is_named_so_and_is_closed_by_a_publisher() {
    let scratch = Scratch::new();
    let (publisher, _) = published(&scratch, 5);
    let reader = Reader::attach(&scratch.directory()).unwrap();
    drop(publisher);
    let index = OpenOptions::new().write(true).open(scratch.path().join("index")).unwrap();
    index.write_all_at(&7_u64.to_ne_bytes(), 8).unwrap();
    let error = Reader::attach(&scratch.directory()).unwrap_err();
    assert!(matches!(error, ShmError::Layout { found: 7, supported: 1, .. }), "{error}");
    let (_publisher, _) = published(&scratch, 6);
    assert!(
        matches!(reader.refresh(), Ok(ibp_shm::Refresh::Switched(_))),
        "readers follow the closed index by path"
    );
    assert_eq!(common::number_of(&reader.current()), 6);
}
