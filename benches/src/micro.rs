//! The shared-memory configuration, operation by operation.
//!
//! Where the standard library has the like of an operation, the two alternate; all operations are measured in
//! turn, round after round, so that what drifts on the machine hits all.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use fastrand::Rng;
use ibp_core::Load;
use ibp_core::config::{Access, View, ViewApp, ViewHost, ViewKv, ViewNode};
use ibp_shm::{Config, Directory, Publisher, PublisherOptions, Reader, Refresh, boottime_ms};
use tempfile::TempDir;

use crate::Result;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A node by its name, in random order. Reference: a `HashMap` with the same keys.
    Lookup,
    /// A name that no node has, in random order. Reference: as above.
    Miss,
    /// What a transaction begins with: is there a new configuration, take the current one, find the node. Reference:
    /// as above.
    Consult,
    /// The load of a host is stored, the clock read for it included.
    LoadUpdate,
    /// A process begins to read.
    Attach,
    /// The view is published with another address for one of its hosts.
    Publish,
    /// A reader goes over to what was published.
    Switch,
}

/// All operations, in the order of the table.
pub const OPERATIONS: [Operation; 7] = [
    Operation::Lookup,
    Operation::Miss,
    Operation::Consult,
    Operation::LoadUpdate,
    Operation::Attach,
    Operation::Publish,
    Operation::Switch,
];

impl Operation {
    /// Its name in the table and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Miss => "miss",
            Self::Consult => "consult",
            Self::LoadUpdate => "load-update",
            Self::Attach => "attach",
            Self::Publish => "publish",
            Self::Switch => "switch",
        }
    }

    /// The most that it may take as a ratio to its reference.
    #[must_use]
    pub fn largest_ratio(self) -> Option<f64> {
        (self == Self::Lookup).then_some(1.2)
    }

    /// The most that it may take, in nanoseconds.
    #[must_use]
    pub fn longest(self) -> Option<f64> {
        match self {
            Self::Publish => Some(20e6),
            Self::Switch => Some(100e3),
            _ => None,
        }
    }
}

/// What an operation took in one round, on average.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Which operation.
    pub operation: Operation,
    /// Nanoseconds for one.
    pub nanoseconds: f64,
    /// Nanoseconds for one of its reference.
    pub reference: Option<f64>,
}

/// A published view of `nodes` nodes with one host each, and all that the operations need around it.
pub struct Bench {
    view: View,
    publisher: Publisher,
    reader: Reader,
    directory: Directory,
    map: HashMap<String, usize>,
    present: Vec<String>,
    absent: Vec<String>,
    // The last field goes last: the segments lie in it.
    _scratch: TempDir,
}

impl Bench {
    /// Publishes the view in a directory of its own.
    ///
    /// # Errors
    /// There is no room in shared memory.
    pub fn new(nodes: usize) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("ibp-benches-").tempdir_in("/dev/shm")?;
        let directory = Directory::at(scratch.path().join("segments"));
        let view = view_of(nodes);
        let mut publisher = Publisher::open(&directory, PublisherOptions::default())?;
        publisher.publish(&view)?;
        let reader = Reader::attach(&directory)?;
        let map = view.nodes.iter().map(|node| (node.name.clone(), node.hosts.len())).collect();
        // The same names each time: a round is comparable with the rounds of another day.
        let mut random = Rng::with_seed(7);
        let mut present: Vec<String> = view.nodes.iter().map(|node| node.name.clone()).collect();
        random.shuffle(&mut present);
        let absent = present.iter().map(|name| format!("{name}X")).collect();
        Ok(Self { view, publisher, reader, directory, map, present, absent, _scratch: scratch })
    }

    /// Measures one operation; those that take nanoseconds, over `passes` passes over all nodes.
    ///
    /// # Errors
    /// The operation failed, or gave a wrong result.
    pub fn sample(&mut self, operation: Operation, passes: usize) -> Result<Sample> {
        let (nanoseconds, reference) = match operation {
            Operation::Lookup => self.lookup(passes, &self.present, self.present.len())?,
            Operation::Miss => self.lookup(passes, &self.absent, 0)?,
            Operation::Consult => self.consult(passes)?,
            Operation::LoadUpdate => (self.load_update(passes)?, None),
            Operation::Attach => (self.attach()?, None),
            Operation::Publish => (self.publish()?, None),
            Operation::Switch => (self.switch()?, None),
        };
        Ok(Sample { operation, nanoseconds, reference })
    }

    fn lookup(&self, passes: usize, names: &[String], expected: usize) -> Result<(f64, Option<f64>)> {
        let config = self.reader.current();
        let hosts_of = |name: &String| config.node(name).map(|node| node.host_count());
        alternately(passes, names, expected, hosts_of, |name| self.map.get(name).copied())
    }

    fn consult(&self, passes: usize) -> Result<(f64, Option<f64>)> {
        let hosts_of = |name: &String| match self.reader.refresh() {
            Ok(Refresh::Same) => self.reader.current().node(name).map(|node| node.host_count()),
            _ => None,
        };
        alternately(passes, &self.present, self.present.len(), hosts_of, |name| self.map.get(name).copied())
    }

    fn load_update(&self, passes: usize) -> Result<f64> {
        let config = self.reader.current();
        let slots = slots_of(&config, &self.present)?;
        let began = Instant::now();
        let mut stored = 0;
        for pass in 0..passes {
            let load = Load { busy: u16::try_from(pass % 4)? + 1, workers: 4 };
            stored += slots.iter().filter(|slot| slot.report(load, boottime_ms())).count();
        }
        let nanoseconds = nanoseconds_since(began) / (passes * slots.len()) as f64;
        if stored != passes * slots.len() {
            return Err(format!(
                "{stored} of {} loads were stored with nobody else there",
                passes * slots.len()
            )
            .into());
        }
        Ok(nanoseconds)
    }

    fn attach(&self) -> Result<f64> {
        let began = Instant::now();
        let reader = Reader::attach(&self.directory)?;
        let nanoseconds = nanoseconds_since(began);
        if reader.current().node_count() != self.view.nodes.len() {
            return Err("attached to something else".into());
        }
        Ok(nanoseconds)
    }

    fn publish(&mut self) -> Result<f64> {
        let host =
            self.view.nodes.first_mut().and_then(|node| node.hosts.first_mut()).ok_or("an empty view")?;
        host.addr.set_port(host.addr.port() ^ 1);
        let began = Instant::now();
        self.publisher.publish(&self.view)?;
        Ok(nanoseconds_since(began))
    }

    fn switch(&mut self) -> Result<f64> {
        self.reader.refresh()?;
        self.publish()?;
        let began = Instant::now();
        let found = self.reader.refresh()?;
        let nanoseconds = nanoseconds_since(began);
        match found {
            Refresh::Switched(_) => Ok(nanoseconds),
            Refresh::Same => Err("a reader did not see what was published".into()),
        }
    }
}

/// Looks all names up on both sides, pass after pass in turn, and checks that both find what they should.
fn alternately(
    passes: usize,
    names: &[String],
    expected: usize,
    ours: impl Fn(&String) -> Option<usize>,
    reference: impl Fn(&String) -> Option<usize>,
) -> Result<(f64, Option<f64>)> {
    let mut took = [0.0; 2];
    for _ in 0..passes {
        let found = [timed_pass(names, &ours, &mut took[0]), timed_pass(names, &reference, &mut took[1])];
        if found != [expected; 2] {
            return Err(format!("{found:?} instead of {expected} of {} names were found", names.len()).into());
        }
    }
    let [ours, reference] = took.map(|nanoseconds| nanoseconds / (passes * names.len()) as f64);
    Ok((ours, Some(reference)))
}

fn timed_pass(names: &[String], find: impl Fn(&String) -> Option<usize>, took: &mut f64) -> usize {
    let began = Instant::now();
    let found = names.iter().filter(|&name| black_box(find(black_box(name))).is_some()).count();
    *took += nanoseconds_since(began);
    found
}

fn nanoseconds_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e9
}

fn slots_of<'a>(config: &'a Config, names: &[String]) -> Result<Vec<ibp_shm::Slot<'a>>> {
    let slot_of = |name: &String| Some(config.node(name)?.host(0)?.slot());
    names
        .iter()
        .map(|name| slot_of(name).ok_or_else(|| format!("node {name} without a host").into()))
        .collect()
}

fn view_of(nodes: usize) -> View {
    let node = |number: usize| ViewNode {
        name: format!("NODE-{number:05}"),
        invalid: false,
        hosts: vec![ViewHost { addr: address(number), invalid: false }],
        key: None,
    };
    let app = |number: usize| ViewApp {
        name: format!("app{number:04}"),
        desc: "A transaction".to_owned(),
        bin: "app.so".to_owned(),
        timeout_ms: 30_000,
        timeout2_ms: 45_000,
        invalid: false,
        server_node: String::new(),
    };
    let kv = |number: usize| ViewKv { key: format!("KEY-{number}"), value: "value".to_owned() };
    View {
        this_node: "NODE-00000".to_owned(),
        connecting_timeout_ms: 1_000,
        retry_connect_ms: 30_000,
        min_compress_size: 2_048,
        registry: None,
        access: Access::Open,
        nodes: (0..nodes).map(node).collect(),
        apps: (0..100).map(app).collect(),
        projects: Vec::new(),
        kv: (0..10).map(kv).collect(),
    }
}

fn address(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 5_280))
}
