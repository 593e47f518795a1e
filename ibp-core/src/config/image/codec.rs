//! The entries of an image as bytes: the one place that uses bincode.
//!
//! Entries follow one another in bincode's variable-length form. Every item is decoded on its own and
//! counts are checked against what is left, so that no input makes this allocate more than a small multiple of its
//! own length.

use std::collections::HashMap;
use std::net::IpAddr;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::de::BorrowDecode;
use bincode::enc::Encode;

use super::{Entries, Kind};
use crate::config::files::{Draft, Listed};
use crate::config::{App, Host, Kv, Name, Node, Project};

/// The largest single item: far above every text that the rules allow.
const LIMIT: usize = 1 << 20;
const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> =
    bincode::config::standard().with_limit::<LIMIT>();

type Decoded<T> = Result<T, &'static str>;

pub(super) fn encode(entries: Entries<'_>, bytes: &mut Vec<u8>) -> Encoded {
    let mut output = Output { bytes };
    match entries {
        Entries::Nodes(nodes) => {
            output.put(nodes.len() as u32)?;
            nodes.iter().try_for_each(|node| output.node(node))
        }
        Entries::Apps(apps) => {
            output.put(apps.len() as u32)?;
            apps.iter().try_for_each(|app| output.app(app))
        }
        Entries::Projects(projects) => output.projects(projects),
    }
}

pub(super) fn decode(kind: Kind, bytes: &[u8], draft: &mut Draft) -> Decoded<()> {
    let mut input = Input { rest: bytes };
    match kind {
        Kind::Nodes => {
            draft.expect_nodes(input.count()?);
            input.all(|input| input.node().map(|node| draft.add_node(node)))
        }
        Kind::Apps => {
            draft.expect_apps(input.count()?);
            input.all(|input| {
                let app = input.app(draft)?;
                draft.add_app(app);
                Ok(())
            })
        }
        Kind::Projects => input.projects(draft),
    }
}

type Encoded = Result<(), bincode::error::EncodeError>;

struct Output<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Output<'_> {
    fn node(&mut self, node: &Node) -> Encoded {
        self.put((node.name.as_str(), node.invalid, node.hosts.len() as u32))?;
        for host in &node.hosts {
            self.host(host)?;
        }
        self.put(node.kv.len() as u32)?;
        node.kv.iter().try_for_each(|kv| self.put((kv.key.as_str(), &*kv.value)))
    }

    fn host(&mut self, host: &Host) -> Encoded {
        match host.ip {
            IpAddr::V4(ip) => self.put((4u8, ip.octets(), host.port, host.invalid)),
            IpAddr::V6(ip) => self.put((6u8, ip.octets(), host.port, host.invalid)),
        }
    }

    fn app(&mut self, app: &App) -> Encoded {
        let server_node = app.server_node.as_ref().map(Name::as_str);
        self.put((app.name.as_str(), &*app.desc, &*app.bin))?;
        self.put((app.timeout_seconds, app.timeout2_seconds, app.invalid, server_node))
    }

    /// The names of all nodes and of all apps that projects mention, each once; then the projects with numbers for
    /// names.
    fn projects(&mut self, projects: &[Project]) -> Encoded {
        let nodes = Table::of(
            projects.iter().flat_map(|project| project.server_nodes.iter().chain(&project.client_nodes)),
        );
        let apps = Table::of(projects.iter().flat_map(|project| &project.apps));
        self.table(&nodes)?;
        self.table(&apps)?;
        for project in projects {
            self.put(project.name.as_str())?;
            self.numbers(&project.server_nodes, &nodes)?;
            self.numbers(&project.client_nodes, &nodes)?;
            self.numbers(&project.apps, &apps)?;
        }
        Ok(())
    }

    fn table(&mut self, table: &Table<'_>) -> Encoded {
        self.put(table.names.len() as u32)?;
        table.names.iter().try_for_each(|name| self.put(name.as_str()))
    }

    fn numbers(&mut self, names: &[Name], table: &Table<'_>) -> Encoded {
        self.put(names.len() as u32)?;
        names.iter().try_for_each(|name| self.put(table.numbers.get(name).copied().unwrap_or(u32::MAX)))
    }

    fn put(&mut self, item: impl Encode) -> Encoded {
        self.bytes.extend_from_slice(&bincode::encode_to_vec(item, CONFIG)?);
        Ok(())
    }
}

/// Names that are mentioned, each once, by number.
struct Table<'a> {
    names: Vec<&'a Name>,
    numbers: HashMap<&'a Name, u32>,
}

impl<'a> Table<'a> {
    fn of(mentioned: impl Iterator<Item = &'a Name>) -> Table<'a> {
        let mut table = Table { names: Vec::new(), numbers: HashMap::new() };
        for name in mentioned {
            table.numbers.entry(name).or_insert_with(|| {
                table.names.push(name);
                table.names.len() as u32 - 1
            });
        }
        table
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Takes items to the end.
    fn all(&mut self, mut item: impl FnMut(&mut Self) -> Decoded<()>) -> Decoded<()> {
        while !self.rest.is_empty() {
            item(self)?;
        }
        Ok(())
    }

    fn node(&mut self) -> Decoded<Node> {
        let name = Name::from(self.text()?);
        let invalid = self.take()?;
        let hosts = self.list(Input::host)?;
        let kv = self.list(|input| Ok(Kv { key: Name::from(input.text()?), value: input.text()?.into() }))?;
        Ok(Node { name, invalid, hosts, kv })
    }

    fn host(&mut self) -> Decoded<Host> {
        let ip = match self.take::<u8>()? {
            4 => IpAddr::from(self.take::<[u8; 4]>()?),
            6 => IpAddr::from(self.take::<[u8; 16]>()?),
            _ => return Err("an address is neither IPv4 nor IPv6"),
        };
        let (port, invalid) = self.take()?;
        Ok(Host { ip, port, invalid })
    }

    fn app(&mut self, draft: &Draft) -> Decoded<App> {
        let name = Name::from(self.text()?);
        let (desc, bin) = (self.text()?, self.text()?);
        let (timeout_seconds, timeout2_seconds, invalid, server_node) =
            self.take::<(u32, u32, bool, Option<&str>)>()?;
        let server_node = server_node.map(|node| draft.node_name(node));
        Ok(App {
            name,
            desc: desc.into(),
            bin: bin.into(),
            timeout_seconds,
            timeout2_seconds,
            invalid,
            server_node,
        })
    }

    fn projects(&mut self, draft: &mut Draft) -> Decoded<()> {
        let nodes = self.list(|input| Ok(draft.listed_node(input.text()?)))?;
        let apps = self.list(|input| Ok(draft.listed_app(input.text()?)))?;
        self.all(|input| {
            let name = Name::from(input.text()?);
            let server_nodes = input.listed(&nodes)?;
            let client_nodes = input.listed(&nodes)?;
            draft.add_project(name, server_nodes, client_nodes, input.listed(&apps)?);
            Ok(())
        })
    }

    /// A list of numbers of names.
    fn listed(&mut self, table: &[(Name, u32)]) -> Decoded<Listed> {
        let count = self.count()?;
        let mut listed = Listed::with_capacity(count);
        for _ in 0..count {
            let number = self.take::<u32>()? as usize;
            listed.push(table.get(number).ok_or("a number stands for no name")?.clone());
        }
        Ok(listed)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Decoded<T>) -> Decoded<Vec<T>> {
        let count = self.count()?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// How many items follow; each has at least one byte.
    fn count(&mut self) -> Decoded<usize> {
        let count = self.take::<u32>()? as usize;
        if count > self.rest.len() { Err("a list is longer than the file") } else { Ok(count) }
    }

    fn text(&mut self) -> Decoded<&'a str> {
        self.take()
    }

    fn take<T: BorrowDecode<'a, ()>>(&mut self) -> Decoded<T> {
        let (item, length) =
            bincode::borrow_decode_from_slice(self.rest, CONFIG).map_err(|error| reason(&error))?;
        self.rest = self.rest.get(length..).ok_or("an item is longer than the file")?;
        Ok(item)
    }
}

fn reason(error: &bincode::error::DecodeError) -> &'static str {
    use bincode::error::DecodeError;
    match error {
        DecodeError::UnexpectedEnd { .. } => "it ends within an entry",
        DecodeError::Utf8 { .. } => "a text is not UTF-8",
        DecodeError::LimitExceeded => "a text is too long",
        _ => "an entry cannot be read",
    }
}
