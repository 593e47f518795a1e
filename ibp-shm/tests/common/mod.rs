//! What the tests share: directories, views whose every part tells their number, and child processes.
#![allow(dead_code)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ibp_core::config::{Access, View, ViewApp, ViewHost, ViewKv, ViewNode, ViewProject};
use ibp_shm::{Config, Directory};

/// A directory for segments, removed at the end.
pub struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        // In memory, as the real thing; elsewhere if there is no such place.
        let root = tempfile::Builder::new().prefix("ibp-shm-test-").tempdir_in("/dev/shm");
        Scratch { root: root.or_else(|_| tempfile::tempdir()).unwrap() }
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.root.path().join("segments")
    }

    pub fn directory(&self) -> Directory {
        Directory::at(self.path())
    }

    /// The names of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A view all of whose contents follow from `number`, so that a mixture of two shows.
///
/// The node `STEADY` and its host are in every view; the others come and go.
pub fn view(number: u64) -> View {
    let port = (number % 60_000) as u16 + 1;
    let host = |last: u64, port: u16| ViewHost {
        addr: format!("10.1.{}.{}:{port}", number % 200, last).parse().unwrap(),
        invalid: number % 2 == 1,
    };
    let own = ViewNode {
        name: format!("NODE-{number}"),
        invalid: false,
        hosts: (0..number % 7).map(|last| host(last, port)).collect(),
        key: None,
    };
    let steady = ViewNode {
        name: "STEADY".to_owned(),
        invalid: false,
        hosts: vec![ViewHost { addr: "10.0.0.1:5281".parse().unwrap(), invalid: number % 2 == 1 }],
        key: None,
    };
    View {
        this_node: format!("THIS-{number}"),
        connecting_timeout_ms: number as u32,
        retry_connect_ms: number as u32,
        min_compress_size: number as u32,
        registry: None,
        access: Access::Projects,
        nodes: if number.is_multiple_of(2) { vec![own, steady] } else { vec![steady, own] },
        apps: vec![ViewApp {
            name: "APP".to_owned(),
            desc: format!("app of {number}"),
            bin: String::new(),
            timeout_ms: number as u32,
            timeout2_ms: number as u32,
            invalid: false,
            server_node: format!("NODE-{number}"),
        }],
        projects: vec![ViewProject {
            name: "P".to_owned(),
            server_nodes: vec![format!("NODE-{number}")],
            client_nodes: vec![format!("THIS-{number}")],
            apps: vec!["APP".to_owned()],
        }],
        kv: (0..number % 5 + 1)
            .map(|key| ViewKv { key: format!("KEY-{key}"), value: format!("{number}") })
            .collect(),
    }
}

/// The number of a view, of which every part has to agree.
pub fn number_of(config: &Config) -> u64 {
    let number: u64 = config.this_node().strip_prefix("THIS-").unwrap().parse().unwrap();
    let short = number as u32;
    assert_eq!(
        [config.connecting_timeout_ms(), config.retry_connect_ms(), config.min_compress_size()],
        [short, short, short]
    );
    let own = config.node(&format!("NODE-{number}")).expect("the number's own node");
    assert_eq!((config.node_count(), own.host_count() as u64), (2, number % 7));
    for (last, host) in own.hosts().enumerate() {
        let expected = format!("10.1.{}.{last}:{}", number % 200, number % 60_000 + 1);
        assert_eq!((host.addr().to_string(), host.invalid()), (expected, number % 2 == 1));
    }
    assert_eq!(config.node("STEADY").unwrap().host(0).unwrap().invalid(), number % 2 == 1);
    assert_eq!(config.node_at(0).unwrap().name() == "STEADY", number % 2 == 1);
    let app = config.app("APP").unwrap();
    assert_eq!((app.timeout_ms(), app.timeout2_ms()), (short, short));
    assert_eq!((app.desc(), app.server_node()), (&*format!("app of {number}"), own.name()));
    assert_eq!(config.kv_count() as u64, number % 5 + 1);
    for (number_of_key, (key, value)) in config.kvs().enumerate() {
        assert_eq!((key, value), (&*format!("KEY-{number_of_key}"), &*number.to_string()));
        assert_eq!(config.kv(key), Some(value));
    }
    assert!(config.permits(config.this_node(), own.name(), "APP"));
    assert!(!config.permits(own.name(), config.this_node(), "APP"));
    assert!(config.node(&format!("NODE-{}", number + 1)).is_none());
    number
}

/// Runs the ignored test `name` of this test program as a process of its own.
pub fn child(name: &str, parameters: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, name).stdin(Stdio::null()).stdout(Stdio::null());
    for (key, value) in parameters {
        command.env(format!("{CHILD}_{key}"), value);
    }
    command
}

const CHILD: &str = "IBP_SHM_TEST_CHILD";

/// Whether this process was started by [`child`] to run `name`; else somebody ran the ignored tests by hand.
pub fn is_child(name: &str) -> bool {
    let is_child = std::env::var(CHILD).is_ok_and(|child| child == name);
    if is_child {
        // A child that hangs ends, and its parent notices.
        // SAFETY: the call has no preconditions; nobody handles the signal.
        unsafe { libc::alarm(300) };
    }
    is_child
}

/// A parameter of this child.
pub fn parameter(key: &str) -> String {
    std::env::var(format!("{CHILD}_{key}")).unwrap()
}

/// Kills its process when the test ends, however it ends.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `event` has happened; far longer than it ever takes.
pub fn wait_for<T>(what: &str, mut event: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(result) = event() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
