//! A small server for tests, on real sockets: an honest one, and pieces for dishonest ones.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

pub mod process;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ibp_client::{Client, ClientBuilder};
use ibp_core::Load;
use ibp_core::wire::ib2::{
    OutcomeAnswer, Response, ResponseHead, ServerEvent, ServerHello, ServerSession, ServerStep, put_preamble,
};
use ibp_core::wire::{Execution, Limits, Outcome, TransactionId};

/// Either kind of connection.
pub trait Stream: Read + Write + Send {
    fn end_sending(&self);
    fn reset(&self);
}

impl Stream for TcpStream {
    fn end_sending(&self) {
        let _ = self.shutdown(std::net::Shutdown::Write);
    }

    /// Closing sends RST from now on.
    fn reset(&self) {
        let zero = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the descriptor is open, and the option's value is of the type and size that it says.
        let result = unsafe {
            libc::setsockopt(
                std::os::fd::AsRawFd::as_raw_fd(self),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const zero).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        assert_eq!(result, 0);
    }
}

impl Stream for UnixStream {
    fn end_sending(&self) {
        let _ = self.shutdown(std::net::Shutdown::Write);
    }

    fn reset(&self) {}
}

/// A server that treats each connection, in a thread of its own, as a function says.
pub struct Server {
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    accepted: AtomicUsize,
    accepted_unix: AtomicUsize,
    requests: AtomicUsize,
}

type Treat = dyn Fn(&mut dyn Stream) + Send + Sync;

impl Server {
    pub fn treating(treat: impl Fn(&mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").unwrap(), treat)
    }

    pub fn listening(listener: TcpListener, treat: impl Fn(&mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::with_state(listener, Arc::default(), Arc::new(treat))
    }

    fn with_state(listener: TcpListener, state: Arc<State>, treat: Arc<Treat>) -> Self {
        let addr = listener.local_addr().unwrap();
        let server = Self { addr, state };
        let state = Arc::clone(&server.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                state.accepted.fetch_add(1, Ordering::SeqCst);
                let treat = Arc::clone(&treat);
                std::thread::spawn(move || treat(&mut stream));
            }
        });
        server
    }

    /// An honest server: answers each request as `answer` says.
    pub fn answering(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering_at(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    pub fn answering_at(
        listener: TcpListener,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(State::default());
        let counted = Arc::clone(&state);
        let treat = move |stream: &mut dyn Stream| {
            let count = |asked: &Asked| {
                counted.requests.fetch_add(1, Ordering::SeqCst);
                answer(asked)
            };
            let _ = serve(stream, &Limits::default(), count);
        };
        Self::with_state(listener, state, Arc::new(treat))
    }

    /// An honest server that answers with the request's body.
    pub fn echo() -> Self {
        Self::answering(|asked| Reply::ok(&asked.body))
    }

    /// The same treatment on a Unix socket: where a client on this machine looks for it.
    pub fn also_at(&self, directory: &Path, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        let path = directory.join(format!("ibas.{}.sock", self.addr));
        let listener = UnixListener::bind(path).unwrap();
        let state = Arc::clone(&self.state);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                state.accepted_unix.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(&mut stream, &Limits::default(), |asked| answer(asked)));
            }
        });
    }

    /// How many TCP connections came.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// How many Unix connections came.
    pub fn accepted_unix(&self) -> usize {
        self.state.accepted_unix.load(Ordering::SeqCst)
    }

    /// How many requests came over TCP (honest servers).
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

/// A request as an honest server got it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub client_node: String,
    pub node: String,
    pub app: String,
    pub body: Vec<u8>,
    pub transaction: TransactionId,
    pub remaining_ms: u32,
    pub number: u32,
    pub last: bool,
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub execution: Execution,
    pub load: Load,
    pub body: Vec<u8>,
    /// How long the app works.
    pub after: Duration,
}

impl Reply {
    pub fn ok(body: &[u8]) -> Self {
        Self::of(Execution::Executed(0), body)
    }

    pub fn of(execution: Execution, body: &[u8]) -> Self {
        Self { execution, load: Load { busy: 1, workers: 4 }, body: body.to_vec(), after: Duration::ZERO }
    }

    pub fn load(self, busy: u16, workers: u16) -> Self {
        Self { load: Load { busy, workers }, ..self }
    }

    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// Serves a connection honestly until the client or a `last` request ends it; the server closes first then.
pub fn serve(stream: &mut dyn Stream, limits: &Limits, answer: impl Fn(&Asked) -> Reply) -> io::Result<()> {
    let mut session = ServerSession::new();
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut client_node = String::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let step = match session.step(&input, limits) {
            Ok(step) => step,
            Err(error) => {
                eprintln!("test server: {error}");
                return Ok(());
            }
        };
        let ServerStep::Event { event, used } = step else {
            let count = stream.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            input.extend_from_slice(&chunk[..count]);
            continue;
        };
        let mut last = false;
        match event {
            ServerEvent::Hello(hello) => {
                client_node = hello.node.to_owned();
                put_preamble(&mut output);
                ServerHello::plain(*limits, Load { busy: 1, workers: 4 }).put(&mut output);
            }
            ServerEvent::Request(request) => {
                let asked = Asked {
                    client_node: client_node.clone(),
                    node: request.node.to_owned(),
                    app: request.app.to_owned(),
                    body: request.body.to_vec(),
                    transaction: request.transaction,
                    remaining_ms: request.remaining_ms,
                    number: request.number,
                    last: request.last,
                };
                last = request.last;
                let reply = answer(&asked);
                std::thread::sleep(reply.after);
                put_response(&asked, &reply, &mut output);
            }
            ServerEvent::OutcomeQuery(query) => {
                last = query.last;
                OutcomeAnswer {
                    number: query.number,
                    transaction: query.transaction,
                    outcome: Outcome::Ended(Execution::Executed(7)),
                    age_ms: 40,
                    horizon_ms: 60_000,
                }
                .put(&mut output);
            }
            other => panic!("not expected by the test server: {other:?}"),
        }
        input.drain(..used);
        // Hello and answer in one piece, if the request came together with the hello.
        if !output.is_empty() && (client_node.is_empty() || !input.is_empty()) && !last {
            continue;
        }
        stream.write_all(&output)?;
        output.clear();
        if last {
            return Ok(());
        }
    }
}

pub fn put_response(asked: &Asked, reply: &Reply, out: &mut Vec<u8>) {
    let head = ResponseHead {
        number: asked.number,
        transaction: asked.transaction,
        execution: reply.execution,
        load: reply.load,
        files: 0,
    };
    Response { head, file_names: &[], body: &reply.body }.put(out);
}

/// Reads a hello and one request; what a dishonest server begins with.
pub fn read_request(stream: &mut dyn Stream) -> io::Result<Asked> {
    let mut session = ServerSession::new();
    let mut input = Vec::new();
    let mut node = String::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match session.step(&input, &Limits::default()).map_err(io::Error::other)? {
            ServerStep::More(_) => match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => input.extend_from_slice(&chunk[..count]),
            },
            ServerStep::Event { event: ServerEvent::Hello(hello), used } => {
                node = hello.node.to_owned();
                input.drain(..used);
            }
            ServerStep::Event { event: ServerEvent::Request(request), .. } => {
                return Ok(Asked {
                    client_node: node,
                    node: request.node.to_owned(),
                    app: request.app.to_owned(),
                    body: request.body.to_vec(),
                    transaction: request.transaction,
                    remaining_ms: request.remaining_ms,
                    number: request.number,
                    last: request.last,
                });
            }
            ServerStep::Event { event, .. } => panic!("not expected by the test server: {event:?}"),
        }
    }
}

/// The bytes of a server's preamble and hello.
pub fn hello_bytes() -> Vec<u8> {
    let mut out = Vec::new();
    put_preamble(&mut out);
    ServerHello::plain(Limits::default(), Load { busy: 1, workers: 4 }).put(&mut out);
    out
}

/// All bytes that an honest server sends for one request.
pub fn answer_bytes(asked: &Asked, reply: &Reply) -> Vec<u8> {
    let mut out = hello_bytes();
    put_response(asked, reply, &mut out);
    out
}

/// Waits until the client has ended its side.
pub fn await_end(stream: &mut dyn Stream) {
    let mut chunk = [0; 4096];
    while matches!(stream.read(&mut chunk), Ok(count) if count > 0) {}
}

/// A client of one node `NODE` with these hosts, over TCP, apps `echo` with 5 s.
pub fn builder(hosts: &[SocketAddr]) -> ClientBuilder {
    Client::builder()
        .this_node("TESTER")
        .node("NODE", hosts.iter().copied())
        .app("echo", Duration::from_secs(5))
        .connecting_timeout(Duration::from_secs(2))
}

pub fn client(hosts: &[SocketAddr]) -> Client {
    builder(hosts).build().unwrap()
}

/// An address where nobody listens, and nobody will: the port is held, not listened on.
pub struct Deaf {
    pub addr: SocketAddr,
    _held: std::os::fd::OwnedFd,
}

pub fn nobody() -> Deaf {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    // A bound socket that does not listen refuses connections and keeps its port.
    // SAFETY: plain system calls with values of the right types; the descriptor is fresh and owned from here on.
    let held = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        let held = OwnedFd::from_raw_fd(fd);
        let mut addr: libc::sockaddr_in = std::mem::zeroed();
        addr.sin_family = libc::AF_INET as libc::sa_family_t;
        addr.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        assert_eq!(libc::bind(held.as_raw_fd(), (&raw const addr).cast(), length), 0);
        assert_eq!(libc::getsockname(held.as_raw_fd(), (&raw mut addr).cast(), &raw mut length), 0);
        (u16::from_be(addr.sin_port), held)
    };
    Deaf { addr: ([127, 0, 0, 1], held.0).into(), _held: held.1 }
}

/// A listener whose queue is full: what a host looks like that drops packets.
pub struct Full {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Full {
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

pub fn full_listener() -> Full {
    use std::os::fd::{AsRawFd, FromRawFd};
    // SAFETY: plain system calls with values of the right types; the descriptor is fresh and owned from here on.
    let listener = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        let listener = TcpListener::from_raw_fd(fd);
        let mut addr: libc::sockaddr_in = std::mem::zeroed();
        addr.sin_family = libc::AF_INET as libc::sa_family_t;
        addr.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        assert_eq!(libc::bind(listener.as_raw_fd(), (&raw const addr).cast(), length), 0);
        assert_eq!(libc::listen(listener.as_raw_fd(), 0), 0);
        listener
    };
    let addr = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    // Until a connection is not taken any more.
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue does not fill");
    }
    Full { listener, _queued: queued }
}

/// The first host that can be asked, in the order of the configuration: tests know then who is asked.
#[derive(Debug)]
pub struct InOrder;

impl ibp_client::Balancer for InOrder {
    fn choose(&self, hosts: &ibp_client::Hosts<'_>) -> Option<usize> {
        (0..hosts.len()).find(|&number| hosts.candidate(number).is_some())
    }
}

/// Waits for something that another thread or process does, for at most 20 s.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A list that server threads write to.
pub type Log<T> = Arc<Mutex<Vec<T>>>;
