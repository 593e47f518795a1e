//! An agent beside its readers: what changes in the files reaches them, and nothing that is wrong does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ibp_core::config::{ClusterFiles, Home, PairKey, Program, Secret};
use ibp_guard::agent::{
    Agent, AgentError, AgentOptions, Command, Commands, Fetched, FileSource, Sender, Source, Stopped,
    attached,
};
use ibp_shm::{Directory, Reader, ShmError};
use tempfile::TempDir;

/// An installation with a directory of segments of its own.
struct Installation {
    scratch: TempDir,
    home: Home,
}

impl Installation {
    fn new() -> Installation {
        let scratch = tempfile::tempdir().unwrap();
        let home = Home::at(scratch.path().join("home"));
        home.init(Program::Ibma).unwrap();
        let installation = Installation { scratch, home };
        let shm = installation.scratch.path().join("shm");
        installation.replace(
            "ibma.conf",
            "\"comm\" :",
            &format!("\"shm_directory\" : \"{}\" ,\n\"comm\" :", shm.display()),
        );
        installation
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.config_file(name)
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.file(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        fs::write(self.file(name), text.replacen(from, to, 1)).unwrap();
    }

    fn open(&self) -> Result<Agent, AgentError> {
        Agent::open(&AgentOptions::new(self.home.clone()))
    }

    fn running(&self) -> Running {
        let mut agent = self.open().unwrap_or_else(|error| panic!("{error}"));
        let mut commands = Commands::new().unwrap();
        let senders = [Command::Stop, Command::ReloadLog, Command::StopAndRemove]
            .map(|command| commands.sender(command).unwrap());
        let directory = agent.directory().clone();
        let thread = std::thread::spawn(move || {
            let mut reloads = 0;
            let stopped = agent.run(&mut commands, || reloads += 1).unwrap();
            if stopped == Stopped::Remove {
                agent.close().unwrap();
            }
            (stopped, reloads)
        });
        Running { directory, senders, thread }
    }
}

struct Running {
    directory: Directory,
    senders: [Sender; 3],
    thread: JoinHandle<(Stopped, u32)>,
}

impl Running {
    fn reader(&self) -> Reader {
        Reader::attach(&self.directory).unwrap()
    }

    fn stop(self) -> (Stopped, u32) {
        self.senders[0].send();
        self.thread.join().unwrap()
    }
}

/// Waits until something holds of what readers see.
fn eventually(reader: &Reader, what: &str, holds: impl Fn(&ibp_shm::Config) -> bool) {
    let begin = Instant::now();
    while !holds(&reader.current()) {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{what}: not seen in generation {}",
            reader.current().generation()
        );
        std::thread::yield_now();
        reader.refresh().unwrap();
    }
}

#[test]
fn every_way_of_changing_a_file_is_noticed() {
    let installation = Installation::new();
    let agent = installation.running();
    let reader = agent.reader();
    let hosts =
        |count: usize| move |config: &ibp_shm::Config| config.node("ECIF").unwrap().host_count() == count;
    eventually(&reader, "the first configuration", hosts(1));

    installation.replace(
        "ibp_nodes.conf",
        "{ \"ip\"",
        "{ \"ip\" : \"127.0.0.2\" , \"port\" : 2 } ,\n{ \"ip\"",
    );
    eventually(&reader, "a file written in place", hosts(2));

    let nodes = installation.file("ibp_nodes.conf");
    let text = fs::read_to_string(&nodes).unwrap();
    let third = text.replacen("{ \"ip\"", "{ \"ip\" : \"127.0.0.3\" , \"port\" : 3 } ,\n{ \"ip\"", 1);
    fs::write(nodes.with_extension("new"), &third).unwrap();
    fs::rename(nodes.with_extension("new"), &nodes).unwrap();
    eventually(&reader, "a file replaced", hosts(3));

    let elsewhere = installation.scratch.path().join("elsewhere.conf");
    fs::write(&elsewhere, &text).unwrap();
    fs::remove_file(&nodes).unwrap();
    symlink(&elsewhere, &nodes).unwrap();
    eventually(&reader, "a link in the place of a file", hosts(2));

    fs::write(&elsewhere, &third).unwrap();
    eventually(&reader, "the file behind a link", hosts(3));

    let etc = installation.home.etc();
    fs::rename(&etc, installation.scratch.path().join("old")).unwrap();
    let copy = installation.scratch.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(installation.scratch.path().join("old")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    fs::write(copy.join("ibp_nodes.conf"), &text).unwrap();
    fs::rename(&copy, &etc).unwrap();
    eventually(&reader, "another directory", hosts(2));
    assert_eq!(agent.stop().0, Stopped::Kept);
}

#[test]
fn what_is_wrong_is_not_published() {
    let installation = Installation::new();
    let agent = installation.running();
    let reader = agent.reader();
    let generation = reader.current().generation();
    installation.replace("ibp_nodes.conf", "\"port\" : 18001", "\"port\" : 99999");
    // The next right one shows that the wrong one was passed over.
    installation.replace("ibp_apps.conf", "\"50\"", "\"51\"");
    installation.replace("ibp_nodes.conf", "\"port\" : 99999", "\"port\" : 18002");
    eventually(&reader, "the right file", |config| {
        let port = config.node("ECIF").unwrap().host(0).unwrap().addr().port();
        assert!(port == 18001 || port == 18002);
        port == 18002
    });
    assert!(reader.current().generation() > generation);
    agent.stop();
}

/// Counts how often it is asked, and says that something changed as often as its inner source does.
#[derive(Debug)]
struct Counting {
    inner: FileSource,
    fetched: Arc<AtomicU32>,
}

impl Source for Counting {
    fn fetch(&mut self) -> Result<Fetched, AgentError> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.inner.fetch()
    }

    fn changes(&self) -> BorrowedFd<'_> {
        self.inner.changes()
    }

    fn take_changes(&mut self) -> bool {
        self.inner.take_changes()
    }

    fn has_changed_unnoticed(&mut self) -> bool {
        self.inner.has_changed_unnoticed()
    }
}

#[test]
fn an_agent_rests_while_nothing_changes() {
    let installation = Installation::new();
    let inner = FileSource::open(installation.home.clone(), installation.file("ibma.conf")).unwrap();
    let fetched = Arc::new(AtomicU32::new(0));
    let source = Counting { inner, fetched: Arc::clone(&fetched) };
    let mut agent = Agent::with_source(Box::new(source), &installation.home, false).unwrap();
    let reader = Reader::attach(agent.directory()).unwrap();
    let mut commands = Commands::new().unwrap();
    let stop = commands.sender(Command::Stop).unwrap();
    let thread = std::thread::spawn(move || agent.run(&mut commands, || {}).unwrap());
    // Right, wrong, and right again: nothing of it may make the agent busy with itself.
    installation.replace("ibp_apps.conf", "\"50\"", "\"51\"");
    eventually(&reader, "a change", |config| config.app("ibp_test_echo").unwrap().timeout_ms() == 51_000);
    installation.replace("ibma.conf", "\"retry_connect_timeval\" : 60", "\"retry_connect_timeval\" : -1");
    let heartbeat = || reader.publisher().unwrap().heartbeat_ms;
    let begin = heartbeat();
    eventually(&reader, "three heartbeats", |_| heartbeat() > begin + 3_000);
    installation.replace("ibma.conf", "\"retry_connect_timeval\" : -1", "\"retry_connect_timeval\" : 7");
    eventually(&reader, "a setting", |config| config.retry_connect_ms() == 7_000);
    stop.send();
    thread.join().unwrap();
    let fetched = fetched.load(Ordering::Relaxed);
    // Once at start, and for each of three changes at most twice: a file is seen cut, then whole.
    assert!(fetched <= 7, "fetched {fetched} times");
}

#[test]
fn settings_are_followed_too() {
    let installation = Installation::new();
    let agent = installation.running();
    let reader = agent.reader();
    assert_eq!(reader.current().retry_connect_ms(), 60_000);
    assert!(reader.current().registry().is_none());
    installation.replace("ibma.conf", "\"retry_connect_timeval\" : 60", "\"retry_connect_timeval\" : 5");
    eventually(&reader, "a new setting", |config| config.retry_connect_ms() == 5_000);
    installation.replace("ibma.conf", "\"this_node\" : \"ECIF\"", "\"this_node\" : \"CORE\"");
    eventually(&reader, "another node", |config| config.this_node() == "CORE");
    agent.stop();
}

#[test]
fn a_change_that_the_node_does_not_see_is_not_published() {
    let installation = Installation::new();
    let agent = installation.running();
    let reader = agent.reader();
    let generation = reader.current().generation();
    installation.replace(
        "ibp_nodes.conf",
        "\"nodes\" :\n\t[",
        "\"nodes\" :\n\t[\n{ \"node\" : \"OTHER\" } ,",
    );
    installation.replace("ibp_nodes.conf", "// The nodes", "// the nodes");
    installation.replace("ibp_apps.conf", "\"50\"", "\"51\"");
    eventually(&reader, "a visible change", |config| {
        config.app("ibp_test_echo").unwrap().timeout_ms() == 51_000
    });
    assert_eq!(reader.current().generation(), generation + 1);
    agent.stop();
}

#[test]
fn keys_reach_the_view_from_a_file_of_their_own() {
    let installation = Installation::new();
    let agent = installation.running();
    let reader = agent.reader();
    assert!(reader.current().node("CORE").unwrap().key().is_none());

    let files = ClusterFiles::in_directories(&installation.home.etc(), &installation.home.keys());
    let mut edit = files.load().unwrap().value.edit();
    let key = PairKey::first(Secret(std::array::from_fn(|at| at as u8)));
    edit.keys("CORE", "ECIF", key.clone());
    files.save(&edit.build().unwrap()).unwrap();
    eventually(&reader, "a key", |config| config.node("CORE").unwrap().key() == Some(key.clone()));

    // A file of keys that others can read is not taken.
    fs::set_permissions(&files.keys, fs::Permissions::from_mode(0o644)).unwrap();
    agent.stop();
    let error = installation.open().unwrap_err().to_string();
    assert!(error.contains("others have access to it (mode 644)"), "{error}");
}

#[test]
fn one_agent_an_installation() {
    let installation = Installation::new();
    let agent = installation.running();
    match installation.open() {
        Err(AgentError::Segments(ShmError::Busy { pid, .. })) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(agent.stop(), (Stopped::Kept, 0));
    // What it published stays, and the next one goes on from there.
    let reader = Reader::attach(&Directory::at(installation.scratch.path().join("shm"))).unwrap();
    let next = installation.running();
    let generation = next.reader().current().generation();
    assert!(generation > reader.current().generation());
    eventually(&reader, "the next agent", |config| config.generation() == generation);
    next.stop();
}

#[test]
fn commands() {
    let installation = Installation::new();
    let agent = installation.running();
    let reader = agent.reader();
    agent.senders[1].send();
    // Commands do not overtake a change, and the change shows that the first command was taken.
    installation.replace("ibp_apps.conf", "\"50\"", "\"51\"");
    eventually(&reader, "a change", |config| config.app("ibp_test_echo").unwrap().timeout_ms() == 51_000);
    agent.senders[2].send();
    let directory = agent.directory.clone();
    assert_eq!(agent.thread.join().unwrap(), (Stopped::Remove, 1));
    assert!(matches!(Reader::attach(&directory), Err(ShmError::NotThere { .. })));
    // Who is attached keeps what it has.
    assert_eq!(reader.current().this_node(), "ECIF");
}

#[test]
fn an_index_that_somebody_removed_is_made_anew() {
    let installation = Installation::new();
    let agent = installation.running();
    let old = agent.reader();
    fs::remove_file(agent.directory.path().join("index")).unwrap();
    let begin = Instant::now();
    let reader = loop {
        match Reader::attach(&agent.directory) {
            Ok(reader) => break reader,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(30), "{error}"),
        }
    };
    installation.replace("ibp_apps.conf", "\"50\"", "\"51\"");
    let changed = |config: &ibp_shm::Config| config.app("ibp_test_echo").unwrap().timeout_ms() == 51_000;
    eventually(&reader, "the change", changed);
    eventually(&old, "the change, for a reader of the old index", changed);
    agent.stop();
}

#[test]
fn who_is_attached() {
    let installation = Installation::new();
    let agent = installation.running();
    let reader = agent.reader();
    let old = reader.current().generation();
    let mine = || {
        let mut all = attached(&agent.directory);
        all.retain(|process| process.pid == std::process::id());
        all.iter().map(|process| (process.generation, process.outdated)).collect::<Vec<_>>()
    };
    assert!(mine().contains(&(old, false)), "{:?}", mine());
    installation.replace("ibp_apps.conf", "\"50\"", "\"51\"");
    let other = agent.reader();
    eventually(&other, "a change", |config| config.generation() == old + 1);
    assert!(mine().contains(&(old, true)) && mine().contains(&(old + 1, false)), "{:?}", mine());
    agent.stop();
}

#[test]
fn settings_without_a_source() {
    let installation = Installation::new();
    fs::write(installation.file("ibma.conf"), "{ \"ibma\" : { \"this_node\" : \"ECIF\" } }").unwrap();
    let error = installation.open().unwrap_err().to_string();
    assert!(error.contains("there is no section \"config\""), "{error}");

    let unknown = "{ \"ibma\" : { \"this_node\" : \"ECFI\" , \"config\" : {} } }";
    fs::write(installation.file("ibma.conf"), unknown).unwrap();
    let error = installation.open().unwrap_err().to_string();
    assert!(error.contains("there is no node \"ECFI\""), "{error}");

    let group =
        "{ \"ibma\" : { \"this_node\" : \"ECIF\" , \"config\" : {} , \"shm_group\" : \"no-such-group\" } }";
    fs::write(installation.file("ibma.conf"), group).unwrap();
    let error = installation.open().unwrap_err().to_string();
    assert!(error.contains("no group \"no-such-group\""), "{error}");
}
