//! Checking a segment in full: what the agent does before it publishes, and an operator on demand.

use std::path::Path;

use zerocopy::IntoBytes;

use super::hash::{CHECKSUM_SEED, hash};
use super::layout::{
    ACCESS_PROJECTS, AppRecord, CHECKSUM_AT, HostRecord, KeyRecord, KvRecord, NodeRecord, Span, Text,
};
use super::read::{Image, Named, Record};
use crate::error::ShmError;

/// The checksum over all bytes of a segment but the checksum itself.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let before = bytes.get(..CHECKSUM_AT).unwrap_or_default();
    let after = bytes.get(CHECKSUM_AT + size_of::<u64>()..).unwrap_or_default();
    hash(hash(CHECKSUM_SEED, before), after)
}

impl Image<'_> {
    /// Checks the checksum, every offset, every string, and that every name is found.
    pub fn verify(&self, generation: u64, path: &Path) -> Result<(), ShmError> {
        Image::check_header(self.bytes, generation, self.bytes.len() as u64, path)?;
        self.verify_contents().map_err(|problem| ShmError::damaged(path, problem))
    }

    fn verify_contents(&self) -> Result<(), String> {
        let header = self.header().ok_or("it has no header")?;
        if checksum(self.bytes) != header.checksum {
            return Err("its checksum is wrong".to_owned());
        }
        if header.access > ACCESS_PROJECTS {
            return Err(format!("{} is no kind of access", header.access));
        }
        self.verify_text("this node", 0, header.this_node)?;
        self.verify_text("registry", 0, header.registry_ip)?;
        if !matches!(header.registry.family, 0 | 4 | 6) {
            return Err("the registry's address is of no known family".to_owned());
        }
        for span in [header.this_roles.client, header.this_roles.server] {
            self.verify_projects("this node", 0, span)?;
        }
        self.verify_nodes()?;
        self.verify_hosts()?;
        self.verify_apps()?;
        self.verify_kvs()
    }

    fn verify_nodes(&self) -> Result<(), String> {
        let mut hosts = 0;
        for number in 0..self.count::<NodeRecord>() {
            let node = self.named::<NodeRecord>("node", number, |node| node.at)?;
            if node.hosts.first != hosts {
                return Err(format!("node {number} does not have the hosts after those of the node before"));
            }
            hosts = hosts
                .checked_add(node.hosts.count)
                .ok_or_else(|| format!("node {number} has too many hosts"))?;
            if node.key > self.count::<KeyRecord>() {
                return Err(format!("node {number} has keys that do not exist"));
            }
            self.verify_projects("node", number, node.roles.client)?;
            self.verify_projects("node", number, node.roles.server)?;
        }
        match hosts == self.count::<HostRecord>() {
            true => Ok(()),
            false => Err("there are hosts of no node".to_owned()),
        }
    }

    fn verify_hosts(&self) -> Result<(), String> {
        let mut taken = vec![false; self.lines.len()];
        for number in 0..self.count::<HostRecord>() {
            let host: &HostRecord = self.at("host", number, |host: &HostRecord| host.at)?;
            let ip = self.verify_text("host", number, host.ip)?;
            if host.addr.ip().is_none_or(|addr| addr.to_string() != ip) {
                return Err(format!("host {number} has no address, or prints as another one"));
            }
            let node: Option<&NodeRecord> = self.record(host.node);
            if node.is_none_or(|node| number.wrapping_sub(node.hosts.first) >= node.hosts.count) {
                return Err(format!("host {number} names a node that it does not belong to"));
            }
            match taken.get_mut(host.line as usize) {
                Some(taken) if !*taken => *taken = true,
                Some(_) => return Err(format!("host {number} has the line of another host")),
                None => return Err(format!("host {number} has a line outside the load board")),
            }
            if host.tag == 0 || host.tag > u32::from(u16::MAX) {
                return Err(format!("host {number} has no tag"));
            }
        }
        Ok(())
    }

    fn verify_apps(&self) -> Result<(), String> {
        for number in 0..self.count::<AppRecord>() {
            let app = self.named::<AppRecord>("app", number, |app| app.at)?;
            for text in [app.desc, app.bin, app.server_node] {
                self.verify_text("app", number, text)?;
            }
            self.verify_projects("app", number, app.projects)?;
        }
        Ok(())
    }

    fn verify_kvs(&self) -> Result<(), String> {
        for number in 0..self.count::<KvRecord>() {
            let kv = self.named::<KvRecord>("kv", number, |kv| kv.at)?;
            self.verify_text("kv", number, kv.value)?;
        }
        Ok(())
    }

    /// A record that is found by its name.
    fn named<T: Named>(&self, kind: &str, number: u32, at: impl Fn(&T) -> u32) -> Result<&T, String> {
        let record = self.at(kind, number, at)?;
        let name = self.verify_text(kind, number, record.name())?;
        match self.find::<T>(name) {
            Some((found, _)) if found == number => Ok(record),
            _ => Err(format!("{kind} {number} is not found by its name")),
        }
    }

    /// A record that knows its own place.
    fn at<T: Record>(&self, kind: &str, number: u32, at: impl Fn(&T) -> u32) -> Result<&T, String> {
        let record: &T = self.record(number).ok_or_else(|| format!("{kind} {number} lies outside"))?;
        let place = std::ptr::from_ref(record).addr() - self.bytes.as_bytes().as_ptr().addr();
        match place == at(record) as usize {
            true => Ok(record),
            false => Err(format!("{kind} {number} does not know its place")),
        }
    }

    fn verify_text(&self, kind: &str, number: u32, text: Text) -> Result<&str, String> {
        self.checked_text(text).ok_or_else(|| format!("{kind} {number} has a string that cannot be read"))
    }

    fn verify_projects(&self, kind: &str, number: u32, span: Span) -> Result<(), String> {
        let projects =
            self.checked_projects(span).ok_or_else(|| format!("{kind} {number} has no list of projects"))?;
        match projects.is_sorted_by(|a, b| a < b) {
            true => Ok(()),
            false => Err(format!("{kind} {number} has projects out of order")),
        }
    }
}
