//! A view as the bytes of a segment.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use ibp_core::config::{Access, PairKey, View};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::layout::{
    ACCESS_OPEN, ACCESS_PROJECTS, AppRecord, CHECKSUM_AT, CONFIG_MAGIC, Header, HostRecord, KeyRecord,
    KvRecord, NodeRecord, Roles, Span, Table, Text, Zone,
};
use super::{table, verify};
use crate::board::SlotUse;
use crate::error::ShmError;
use crate::index::LAYOUT;

/// What a segment says that is not in the view.
pub(crate) struct Placement<'a> {
    pub generation: u64,
    pub board_id: u64,
    pub board_len: u64,
    /// The line of each host, in the order of the view.
    pub slots: &'a [SlotUse],
}

/// Lays out a view that [`check`] found to be possible. The result depends on its arguments alone.
pub(crate) fn build(view: &View, placement: &Placement<'_>) -> Result<Vec<u8>, ShmError> {
    let names = Names::of(view);
    let members = Members::of(view, &names);
    let node_table = table::build(&names.nodes)?;
    let app_table = table::build(&names.apps)?;
    let kv_table = table::build(&names.kvs)?;
    let keys: Vec<KeyRecord> =
        view.nodes.iter().filter_map(|node| node.key.as_ref()).map(key_record).collect();
    let host_count: usize = view.nodes.iter().map(|node| node.hosts.len()).sum();

    let mut zones = Zones { end: size_of::<Header>() as u64 };
    let mut header = Header {
        magic: CONFIG_MAGIC,
        layout: LAYOUT,
        header_len: size_of::<Header>() as u32,
        generation: placement.generation,
        board_id: placement.board_id,
        board_len: placement.board_len,
        connecting_timeout_ms: view.connecting_timeout_ms,
        retry_connect_ms: view.retry_connect_ms,
        min_compress_size: view.min_compress_size,
        access: match view.access {
            Access::Open => ACCESS_OPEN,
            Access::Projects => ACCESS_PROJECTS,
        },
        node_table: Table { cells: zones.next_of(&node_table.cells)?, seed: node_table.seed },
        nodes: zones.next::<NodeRecord>(view.nodes.len())?,
        hosts: zones.next::<HostRecord>(host_count)?,
        app_table: Table { cells: zones.next_of(&app_table.cells)?, seed: app_table.seed },
        apps: zones.next::<AppRecord>(view.apps.len())?,
        kv_table: Table { cells: zones.next_of(&kv_table.cells)?, seed: kv_table.seed },
        kvs: zones.next::<KvRecord>(view.kv.len())?,
        keys: zones.next_of(&keys)?,
        roles: zones.next_of(&members.lists)?,
        strings: zones.next::<u8>(0)?,
        ..Header::new_zeroed()
    };
    let mut strings = Strings { start: header.strings.offset, bytes: Vec::new() };

    header.this_node = strings.add(&view.this_node)?;
    header.this_roles = members.this_node;
    if let Some(registry) = view.registry {
        header.registry = SocketAddr::new(registry.ip, registry.port).into();
        header.registry_ip = strings.add(&registry.ip.to_string())?;
    } else {
        header.registry_ip = strings.add("")?;
    }
    let (nodes, hosts) = node_records(view, &header, &members, placement.slots, &mut strings)?;
    let apps = app_records(view, &header, &members, &mut strings)?;
    let kvs = kv_records(view, &header, &mut strings)?;
    strings.bytes.resize(strings.bytes.len().next_multiple_of(8), 0);
    header.strings.count = strings.bytes.len() as u32;
    header.file_len = u64::from(header.strings.offset) + strings.bytes.len() as u64;

    let mut out = Vec::with_capacity(header.file_len as usize);
    out.extend_from_slice(header.as_bytes());
    put(&mut out, header.node_table.cells, &node_table.cells);
    put(&mut out, header.nodes, &nodes);
    put(&mut out, header.hosts, &hosts);
    put(&mut out, header.app_table.cells, &app_table.cells);
    put(&mut out, header.apps, &apps);
    put(&mut out, header.kv_table.cells, &kv_table.cells);
    put(&mut out, header.kvs, &kvs);
    put(&mut out, header.keys, &keys);
    put(&mut out, header.roles, &members.lists);
    put(&mut out, header.strings, &strings.bytes);
    let checksum = verify::checksum(&out);
    if let Some(place) = out.get_mut(CHECKSUM_AT..CHECKSUM_AT + 8) {
        place.copy_from_slice(checksum.as_bytes());
    }
    Ok(out)
}

/// Refuses what a segment cannot hold. Everything else about a view is its maker's business.
pub(crate) fn check(view: &View) -> Result<(), ShmError> {
    let no_nul = |kind: &str, name: &str| match name.contains('\0') {
        true => Err(ShmError::invalid(format!("{kind} {name:?}"), "the name contains a NUL")),
        false => Ok(()),
    };
    no_nul("this node", &view.this_node)?;
    unique("node", view.nodes.iter().map(|node| node.name.as_str()))?;
    unique("app", view.apps.iter().map(|app| app.name.as_str()))?;
    unique("kv", view.kv.iter().map(|kv| kv.key.as_str()))?;
    view.nodes.iter().try_for_each(|node| no_nul("node", &node.name))?;
    view.apps.iter().try_for_each(|app| no_nul("app", &app.name))?;
    view.kv.iter().try_for_each(|kv| no_nul("kv", &kv.key))?;
    let mut seen = HashSet::new();
    for node in &view.nodes {
        seen.clear();
        if let Some(twice) = node.hosts.iter().find(|host| !seen.insert(host.addr)) {
            let entry = format!("node {:?}, host {}", node.name, twice.addr);
            return Err(ShmError::invalid(entry, "the node has this host twice"));
        }
    }
    Ok(())
}

fn unique<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ShmError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ShmError::invalid(format!("{kind} {name:?}"), "it is there twice"));
        }
    }
    Ok(())
}

/// The names of each zone, in the order of its records.
struct Names<'a> {
    nodes: Vec<&'a str>,
    apps: Vec<&'a str>,
    kvs: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn of(view: &'a View) -> Self {
        Names {
            nodes: view.nodes.iter().map(|node| node.name.as_str()).collect(),
            apps: view.apps.iter().map(|app| app.name.as_str()).collect(),
            kvs: view.kv.iter().map(|kv| kv.key.as_str()).collect(),
        }
    }
}

/// The projects of every node and app, as ascending lists of numbers in one zone.
struct Members {
    lists: Vec<u32>,
    nodes: Vec<Roles>,
    apps: Vec<Span>,
    this_node: Roles,
}

impl Members {
    /// Members that the view does not hold are left out: nobody can look them up.
    fn of(view: &View, names: &Names<'_>) -> Self {
        // This node comes last, if it is not among the nodes.
        let mut nodes: HashMap<&str, u32> =
            (0..).zip(&names.nodes).map(|(number, name)| (*name, number)).collect();
        nodes.entry(view.this_node.as_str()).or_insert(names.nodes.len() as u32);
        let apps: HashMap<&str, u32> = (0..).zip(&names.apps).map(|(number, name)| (*name, number)).collect();

        let (mut clients, mut servers, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for (project, members) in (0_u32..).zip(&view.projects) {
            let pair = move |number: &u32| (*number, project);
            clients.extend(members.client_nodes.iter().filter_map(|name| nodes.get(name.as_str()).map(pair)));
            servers.extend(members.server_nodes.iter().filter_map(|name| nodes.get(name.as_str()).map(pair)));
            used.extend(members.apps.iter().filter_map(|name| apps.get(name.as_str()).map(pair)));
        }
        let mut lists = Vec::new();
        let clients = spans(clients, names.nodes.len() + 1, &mut lists);
        let servers = spans(servers, names.nodes.len() + 1, &mut lists);
        let apps = spans(used, names.apps.len(), &mut lists);
        let mut nodes: Vec<Roles> =
            clients.into_iter().zip(servers).map(|(client, server)| Roles { client, server }).collect();
        let this_node = nodes.pop().unwrap_or_default();
        Members { lists, nodes, apps, this_node }
    }
}

/// Appends the lists of all members to `lists`, and says for each of `count` members where its list lies.
fn spans(mut pairs: Vec<(u32, u32)>, count: usize, lists: &mut Vec<u32>) -> Vec<Span> {
    pairs.sort_unstable();
    pairs.dedup();
    let mut spans = vec![Span::default(); count];
    for (member, project) in pairs {
        let span = &mut spans[member as usize];
        if span.count == 0 {
            span.first = lists.len() as u32;
        }
        span.count += 1;
        lists.push(project);
    }
    spans
}

fn node_records(
    view: &View,
    header: &Header,
    members: &Members,
    slots: &[SlotUse],
    strings: &mut Strings,
) -> Result<(Vec<NodeRecord>, Vec<HostRecord>), ShmError> {
    let mut nodes = Vec::with_capacity(view.nodes.len());
    let mut hosts: Vec<HostRecord> = Vec::with_capacity(slots.len());
    let mut keys = 0;
    for (number, node) in (0_u32..).zip(&view.nodes) {
        let span = Span { first: hosts.len() as u32, count: node.hosts.len() as u32 };
        for host in &node.hosts {
            let slot = slots.get(hosts.len()).ok_or_else(|| {
                ShmError::invalid(
                    format!("node {:?}, host {}", node.name, host.addr),
                    "it has no place in the load board",
                )
            })?;
            hosts.push(HostRecord {
                at: header.hosts.at::<HostRecord>(hosts.len()),
                invalid: host.invalid.into(),
                ip: strings.add(&host.addr.ip().to_string())?,
                addr: host.addr.into(),
                line: slot.line,
                tag: slot.tag.into(),
                node: number,
                reserved: 0,
            });
        }
        keys += u32::from(node.key.is_some());
        nodes.push(NodeRecord {
            at: header.nodes.at::<NodeRecord>(nodes.len()),
            invalid: node.invalid.into(),
            name: strings.add(&node.name)?,
            hosts: span,
            roles: members.nodes.get(number as usize).copied().unwrap_or_default(),
            key: if node.key.is_some() { keys } else { 0 },
            reserved: 0,
        });
    }
    Ok((nodes, hosts))
}

fn app_records(
    view: &View,
    header: &Header,
    members: &Members,
    strings: &mut Strings,
) -> Result<Vec<AppRecord>, ShmError> {
    let record = |(number, app): (usize, &ibp_core::config::ViewApp)| {
        Ok(AppRecord {
            at: header.apps.at::<AppRecord>(number),
            invalid: app.invalid.into(),
            name: strings.add(&app.name)?,
            desc: strings.add(&app.desc)?,
            bin: strings.add(&app.bin)?,
            server_node: strings.add(&app.server_node)?,
            timeout_ms: app.timeout_ms,
            timeout2_ms: app.timeout2_ms,
            projects: members.apps.get(number).copied().unwrap_or_default(),
        })
    };
    view.apps.iter().enumerate().map(record).collect()
}

fn kv_records(view: &View, header: &Header, strings: &mut Strings) -> Result<Vec<KvRecord>, ShmError> {
    let record = |(number, kv): (usize, &ibp_core::config::ViewKv)| {
        Ok(KvRecord {
            at: header.kvs.at::<KvRecord>(number),
            reserved: 0,
            key: strings.add(&kv.key)?,
            value: strings.add(&kv.value)?,
        })
    };
    view.kv.iter().enumerate().map(record).collect()
}

fn key_record(key: &PairKey) -> KeyRecord {
    KeyRecord {
        current: key.current.0,
        previous: key.previous.as_ref().map_or([0; 32], |previous| previous.0),
        new_enable_at: key.new_enable_at,
        old_disable_at: key.old_disable_at,
        has_previous: key.previous.is_some().into(),
    }
}

/// Where the next zone goes.
struct Zones {
    end: u64,
}

impl Zones {
    fn next_of<T>(&mut self, records: &[T]) -> Result<Zone, ShmError> {
        self.next::<T>(records.len())
    }

    fn next<T>(&mut self, count: usize) -> Result<Zone, ShmError> {
        let start = self.end.next_multiple_of(8);
        self.end = start + count as u64 * size_of::<T>() as u64;
        if self.end > LARGEST {
            return Err(too_large());
        }
        Ok(Zone { offset: start as u32, count: count as u32 })
    }
}

impl Zone {
    fn at<T>(self, number: usize) -> u32 {
        self.offset + number as u32 * size_of::<T>() as u32
    }
}

/// The string area.
struct Strings {
    start: u32,
    bytes: Vec<u8>,
}

impl Strings {
    fn add(&mut self, text: &str) -> Result<Text, ShmError> {
        let offset = u64::from(self.start) + self.bytes.len() as u64;
        if offset + text.len() as u64 >= LARGEST {
            return Err(too_large());
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Ok(Text { offset: offset as u32, len: text.len() as u32 })
    }
}

/// Offsets have 32 bits; some room is left for padding.
const LARGEST: u64 = u32::MAX as u64 - 4096;

fn too_large() -> ShmError {
    ShmError::invalid("the view", "it needs more than 4 GiB")
}

/// Appends a zone's records, padded to where the zone begins.
fn put<T: IntoBytes + Immutable>(out: &mut Vec<u8>, zone: Zone, records: &[T]) {
    out.resize(zone.offset as usize, 0);
    out.extend_from_slice(records.as_bytes());
}
