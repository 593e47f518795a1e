//! One generation of the configuration, and the lookups in it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ibp_core::config::{PairKey, Registry, Secret};

use crate::error::ShmError;
use crate::image::Image;
use crate::image::layout::{AppRecord, HostRecord, KeyRecord, KvRecord, NodeRecord};
use crate::mapping::ConfigMapping;
use crate::slot::Slot;

/// One generation of the configuration, mapped into this process. It never changes, and stays readable for as
/// long as it is held, whatever becomes of its file.
///
/// No lookup takes a lock, makes a system call or allocates; each ends after a bounded number of steps. A
/// string that cannot be read, because the segment was damaged, is empty; a record that cannot be read is
/// missing. Every string is followed by a NUL in memory, so that its pointer can be given to C.
pub struct Config {
    mapping: ConfigMapping,
    generation: u64,
    path: PathBuf,
}

impl Config {
    pub(crate) fn new(mapping: ConfigMapping, generation: u64, path: PathBuf) -> Self {
        Config { mapping, generation, path }
    }

    #[inline]
    pub(crate) fn image(&self) -> Image<'_> {
        Image { bytes: self.mapping.config(), lines: self.mapping.lines() }
    }

    /// The number of this generation. A later one has a higher number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The name of the node that this configuration belongs to.
    #[must_use]
    pub fn this_node(&self) -> &str {
        let image = self.image();
        image.header().map_or("", |header| image.text(header.this_node))
    }

    /// How long one attempt to connect may take, in milliseconds.
    #[must_use]
    pub fn connecting_timeout_ms(&self) -> u32 {
        self.image().header().map_or(0, |header| header.connecting_timeout_ms)
    }

    /// How long a host that could not be reached rests, in milliseconds.
    #[must_use]
    pub fn retry_connect_ms(&self) -> u32 {
        self.image().header().map_or(0, |header| header.retry_connect_ms)
    }

    /// Bodies larger than this many bytes may be compressed.
    #[must_use]
    pub fn min_compress_size(&self) -> u32 {
        self.image().header().map_or(0, |header| header.min_compress_size)
    }

    /// Where the registry listens, if there is one.
    #[must_use]
    pub fn registry(&self) -> Option<Registry> {
        let addr = self.image().header()?.registry.socket_addr()?;
        Some(Registry { ip: addr.ip(), port: addr.port() })
    }

    /// The registry's IP address as text; empty if there is no registry.
    #[must_use]
    pub fn registry_ip(&self) -> &str {
        let image = self.image();
        image.header().map_or("", |header| image.text(header.registry_ip))
    }

    /// A node by its name.
    #[must_use]
    #[inline]
    pub fn node(&self, name: &str) -> Option<Node<'_>> {
        let image = self.image();
        let (_, record) = image.find::<NodeRecord>(name)?;
        Some(Node { image, record })
    }

    /// All nodes, in the order of the view.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.node_count()).map_while(|number| self.node_at(number))
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.image().count::<NodeRecord>() as usize
    }

    /// The n-th node.
    #[must_use]
    pub fn node_at(&self, number: usize) -> Option<Node<'_>> {
        let image = self.image();
        Some(Node { image, record: image.record(u32::try_from(number).ok()?)? })
    }

    /// An app by its name.
    #[must_use]
    #[inline]
    pub fn app(&self, name: &str) -> Option<App<'_>> {
        let image = self.image();
        let (_, record) = image.find::<AppRecord>(name)?;
        Some(App { image, record })
    }

    /// All apps, in the order of the view.
    pub fn apps(&self) -> impl Iterator<Item = App<'_>> {
        (0..self.app_count()).map_while(|number| self.app_at(number))
    }

    /// How many apps there are.
    #[must_use]
    pub fn app_count(&self) -> usize {
        self.image().count::<AppRecord>() as usize
    }

    /// The n-th app.
    #[must_use]
    pub fn app_at(&self, number: usize) -> Option<App<'_>> {
        let image = self.image();
        Some(App { image, record: image.record(u32::try_from(number).ok()?)? })
    }

    /// The value of an application-defined setting of this node.
    #[must_use]
    #[inline]
    pub fn kv(&self, key: &str) -> Option<&str> {
        let image = self.image();
        let (_, record) = image.find::<KvRecord>(key)?;
        Some(image.text(record.value))
    }

    /// All settings as pairs of key and value, in the order of the view.
    pub fn kvs(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.kv_count()).map_while(|number| self.kv_at(number)).map(|kv| (kv.key(), kv.value()))
    }

    /// How many settings there are.
    #[must_use]
    pub fn kv_count(&self) -> usize {
        self.image().count::<KvRecord>() as usize
    }

    /// The n-th setting.
    #[must_use]
    pub fn kv_at(&self, number: usize) -> Option<Kv<'_>> {
        let image = self.image();
        Some(Kv { image, record: image.record(u32::try_from(number).ok()?)? })
    }

    /// A setting by its key, as a record.
    #[must_use]
    pub fn kv_record(&self, key: &str) -> Option<Kv<'_>> {
        let image = self.image();
        let (_, record) = image.find::<KvRecord>(key)?;
        Some(Kv { image, record })
    }

    /// Whether `client_node` may ask `server_node` for `app`: with open access always, else if some project
    /// has all three in these roles.
    #[must_use]
    pub fn permits(&self, client_node: &str, server_node: &str, app: &str) -> bool {
        self.image().permits(client_node, server_node, app)
    }

    /// Checks the whole segment: checksum, every offset, every string, and that every name is found. This one
    /// allocates, and takes time in proportion to the segment.
    ///
    /// # Errors
    /// [`ShmError::Damaged`] with the first thing that is wrong.
    pub fn verify(&self) -> Result<(), ShmError> {
        self.image().verify(self.generation, &self.path)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("generation", &self.generation)
            .field("this_node", &self.this_node())
            .field("nodes", &self.node_count())
            .field("apps", &self.app_count())
            .field("kvs", &self.kv_count())
            .finish_non_exhaustive()
    }
}

/// A node in a [`Config`].
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) record: &'a NodeRecord,
}

impl<'a> Node<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.image.text(self.record.name)
    }

    /// Never to be chosen.
    #[must_use]
    pub fn invalid(&self) -> bool {
        self.record.invalid != 0
    }

    /// Its hosts, in the order of the configuration.
    pub fn hosts(&self) -> impl Iterator<Item = Host<'a>> + use<'a> {
        let node = *self;
        (0..self.host_count()).map_while(move |number| node.host(number))
    }

    /// How many hosts it has.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.record.hosts.count as usize
    }

    /// The n-th host.
    #[must_use]
    #[inline]
    pub fn host(&self, number: usize) -> Option<Host<'a>> {
        let hosts = self.record.hosts;
        let number = u32::try_from(number).ok().filter(|number| *number < hosts.count)?;
        let record = self.image.record(hosts.first.checked_add(number)?)?;
        Some(Host { image: self.image, record })
    }

    /// A host by its address. Looks at the node's hosts one after the other.
    #[must_use]
    pub fn host_by_addr(&self, addr: SocketAddr) -> Option<Host<'a>> {
        self.hosts().find(|host| host.addr() == addr)
    }

    /// The keys that this node shares with the node of the configuration, if they have any.
    #[must_use]
    pub fn key(&self) -> Option<PairKey> {
        let record: &KeyRecord = self.image.record(self.record.key.checked_sub(1)?)?;
        Some(PairKey {
            current: Secret(record.current),
            previous: (record.has_previous != 0).then_some(Secret(record.previous)),
            new_enable_at: record.new_enable_at,
            old_disable_at: record.old_disable_at,
        })
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name())
            .field("invalid", &self.invalid())
            .field("hosts", &self.host_count())
            .finish_non_exhaustive()
    }
}

/// A host of a [`Node`].
#[derive(Clone, Copy)]
pub struct Host<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) record: &'a HostRecord,
}

impl<'a> Host<'a> {
    /// Its address. Port 0 marks a client-only host, which is never chosen.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.record.addr.socket_addr().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Its IP address as text.
    #[must_use]
    pub fn ip_str(&self) -> &'a str {
        self.image.text(self.record.ip)
    }

    /// Never to be chosen.
    #[must_use]
    pub fn invalid(&self) -> bool {
        self.record.invalid != 0
    }

    /// Its place in the load board.
    #[must_use]
    #[inline]
    pub fn slot(&self) -> Slot<'a> {
        let line = self.image.lines.get(self.record.line as usize);
        Slot::new(line, self.record.line, self.record.tag as u16)
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("addr", &self.addr())
            .field("invalid", &self.invalid())
            .finish_non_exhaustive()
    }
}

/// An app in a [`Config`].
#[derive(Clone, Copy)]
pub struct App<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) record: &'a AppRecord,
}

impl<'a> App<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.image.text(self.record.name)
    }

    /// A description for people.
    #[must_use]
    pub fn desc(&self) -> &'a str {
        self.image.text(self.record.desc)
    }

    /// The file name of its package; empty for an app that is built into the platform.
    #[must_use]
    pub fn bin(&self) -> &'a str {
        self.image.text(self.record.bin)
    }

    /// How long a client waits for the answer, in milliseconds.
    #[must_use]
    pub fn timeout_ms(&self) -> u32 {
        self.record.timeout_ms
    }

    /// How long it may run on the server, in milliseconds.
    #[must_use]
    pub fn timeout2_ms(&self) -> u32 {
        self.record.timeout2_ms
    }

    /// Never to be chosen.
    #[must_use]
    pub fn invalid(&self) -> bool {
        self.record.invalid != 0
    }

    /// The node that serves requests which name no node; empty if none.
    #[must_use]
    pub fn server_node(&self) -> &'a str {
        self.image.text(self.record.server_node)
    }
}

impl fmt::Debug for App<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name())
            .field("bin", &self.bin())
            .field("timeout_ms", &self.timeout_ms())
            .field("invalid", &self.invalid())
            .finish_non_exhaustive()
    }
}

/// A setting in a [`Config`].
#[derive(Clone, Copy)]
pub struct Kv<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) record: &'a KvRecord,
}

impl<'a> Kv<'a> {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> &'a str {
        self.image.text(self.record.key)
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> &'a str {
        self.image.text(self.record.value)
    }
}

impl fmt::Debug for Kv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a secret of the application.
        f.debug_struct("Kv").field("key", &self.key()).finish_non_exhaustive()
    }
}
