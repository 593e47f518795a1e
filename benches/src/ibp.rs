//! IBP itself: a platform with an echo, and clients of it over TCP or over its Unix socket.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ibp_client::{Client, Connection};
use ibp_core::config::{Access, View, ViewApp, ViewNode};
use ibp_server::Platform;
use ibp_shm::{Directory, Publisher, PublisherOptions};

use crate::Result;
use crate::system::{Caller, ServerPlan, System};

const NODE: &str = "BENCH";
const ECHO: &str = "echo";
const STALL: &str = "stall";

/// How long a call may take before a benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// IBP as a [`System`].
#[derive(Clone, Copy, Debug)]
pub struct Ibp {
    name: &'static str,
    over_unix: bool,
}

impl Ibp {
    /// Clients use TCP.
    pub const OVER_TCP: Self = Self { name: "ibp-tcp", over_unix: false };
    /// Clients use the platform's Unix socket.
    pub const OVER_UNIX: Self = Self { name: "ibp-unix", over_unix: true };

    /// A client of the server that said `address` when it was ready.
    ///
    /// # Errors
    /// The address is not one.
    pub fn client(self, address: &str) -> Result<Client> {
        let (address, directory) = address.split_once(' ').ok_or("an address without its directory")?;
        let address: SocketAddr = address.parse()?;
        let builder = Client::builder().node(NODE, [address]).app(ECHO, PATIENCE).app(STALL, PATIENCE);
        let builder = if self.over_unix { builder.unix_sockets_in(directory) } else { builder.tcp_only() };
        Ok(builder.build()?)
    }
}

impl System for Ibp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn serve(&self, plan: &ServerPlan<'_>, ready: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let directory = Directory::at(plan.scratch.join("segments"));
        let mut publisher = Publisher::open(&directory, PublisherOptions::default())?;
        publisher.publish(&view())?;
        let platform = Platform::builder()
            .directory(directory.clone())
            .node(NODE)
            .workers(plan.workers)
            .service(ECHO, |request: &ibp_server::Request<'_>, response: &mut ibp_server::Response<'_>| {
                response.extend_from_slice(request.body());
                0
            })
            .service(STALL, |request: &ibp_server::Request<'_>, _: &mut ibp_server::Response<'_>| {
                let milliseconds = request.body().first_chunk().copied().map_or(0, u64::from_le_bytes);
                thread::sleep(Duration::from_millis(milliseconds));
                0
            })
            .build()?;
        // It listens already: clients that come before the first worker wait in the queue.
        ready(&address_line(platform.address(), directory.path()))?;
        let summary = platform.run()?;
        Err(format!("the platform ended: {summary:?}").into())
    }

    fn long(&self, address: &str) -> Result<Box<dyn Caller>> {
        Ok(Box::new(Long { connection: self.client(address)?.connect(NODE)? }))
    }

    fn short(&self, address: &str) -> Result<Box<dyn Caller>> {
        Ok(Box::new(Short { client: self.client(address)? }))
    }

    fn stalling(&self, address: &str, stall: Duration) -> Result<Option<Box<dyn Caller>>> {
        let milliseconds = u64::try_from(stall.as_millis())?;
        Ok(Some(Box::new(Stalling { connection: self.client(address)?.connect(NODE)?, milliseconds })))
    }
}

fn address_line(address: SocketAddr, directory: &Path) -> String {
    format!("{address} {}", directory.display())
}

fn view() -> View {
    let app = |name: &str| ViewApp {
        name: name.to_owned(),
        desc: String::new(),
        bin: String::new(),
        timeout_ms: 60_000,
        timeout2_ms: 90_000,
        invalid: false,
        server_node: NODE.to_owned(),
    };
    View {
        this_node: NODE.to_owned(),
        connecting_timeout_ms: 10_000,
        retry_connect_ms: 10_000,
        min_compress_size: 1 << 20,
        registry: None,
        access: Access::Open,
        nodes: vec![ViewNode { name: NODE.to_owned(), invalid: false, hosts: Vec::new(), key: None }],
        apps: vec![app(ECHO), app(STALL)],
        projects: Vec::new(),
        kv: Vec::new(),
    }
}

struct Long {
    connection: Connection,
}

impl Caller for Long {
    fn call(&mut self, body: &[u8]) -> Result<()> {
        compare(self.connection.call(ECHO, body)?.body(), body)
    }
}

struct Short {
    client: Client,
}

impl Caller for Short {
    fn call(&mut self, body: &[u8]) -> Result<()> {
        compare(self.client.request(NODE, ECHO).body(body).send()?.body(), body)
    }
}

struct Stalling {
    connection: Connection,
    milliseconds: u64,
}

impl Caller for Stalling {
    fn call(&mut self, _: &[u8]) -> Result<()> {
        let milliseconds = self.milliseconds.to_le_bytes();
        let code = self.connection.call(STALL, &milliseconds)?.code();
        if code == 0 { Ok(()) } else { Err(format!("the stalling app answered {code}").into()) }
    }
}

fn compare(answer: &[u8], body: &[u8]) -> Result<()> {
    if answer == body { Ok(()) } else { Err("the echo answered something else".into()) }
}
