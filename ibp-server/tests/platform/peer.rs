//! A client that speaks IB2 by hand, so that it can also misbehave.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ibp_core::Load;
use ibp_core::wire::ib2::{
    ClientEvent, ClientHello, ClientSession, ClientStep, GoodbyeReason, OutcomeQuery, Request, put_preamble,
};
use ibp_core::wire::{ErrorCode, Execution, Limits, Outcome, TransactionId};

use crate::served::until;

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub(crate) struct Peer {
    pub(crate) stream: Box<dyn Stream>,
    session: ClientSession,
    greeted: bool,
    input: Vec<u8>,
}

/// What a platform said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Answer { execution: Execution, load: Load, body: Vec<u8> },
    Outcome { outcome: Outcome, horizon_ms: u64 },
    Goodbye { last_taken: u32, reason: GoodbyeReason },
    Error { last_taken: u32, code: ErrorCode, text: String },
    End,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) fn new_id() -> TransactionId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&std::process::id().to_be_bytes());
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    TransactionId(id)
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self::over(stream)
    }

    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self::over(stream)
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        let input = Vec::new();
        Self { stream: Box::new(stream), session: ClientSession::new(), greeted: false, input }
    }

    /// The bytes of a request, with the hello before it when it is the first.
    pub(crate) fn request(&mut self, app: &str, body: &[u8], id: TransactionId, last: bool) -> Vec<u8> {
        let mut bytes = self.hello();
        Request {
            number: self.session.next_number(),
            last,
            transaction: id,
            remaining_ms: 60_000,
            files: 0,
            app,
            node: "TEST",
            body,
        }
        .put(&mut bytes);
        bytes
    }

    fn hello(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.greeted {
            put_preamble(&mut bytes);
            ClientHello::plain("CLIENT").put(&mut bytes);
            self.greeted = true;
        }
        bytes
    }

    pub(crate) fn send(&mut self, app: &str, body: &[u8], last: bool) {
        let bytes = self.request(app, body, new_id(), last);
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn call(&mut self, app: &str, body: &[u8]) -> Said {
        self.send(app, body, false);
        self.hear()
    }

    /// Calls and expects the app to have run with success.
    pub(crate) fn ask(&mut self, app: &str, body: &[u8]) -> Vec<u8> {
        match self.call(app, body) {
            Said::Answer { execution: Execution::Executed(_), body, .. } => body,
            other => panic!("{app}: {other:?}"),
        }
    }

    pub(crate) fn outcome(&mut self, id: TransactionId) -> Said {
        let mut bytes = self.hello();
        OutcomeQuery { number: self.session.next_number(), last: false, transaction: id }.put(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
        self.hear()
    }

    /// What the platform says next.
    pub(crate) fn hear(&mut self) -> Said {
        self.try_hear().unwrap()
    }

    pub(crate) fn try_hear(&mut self) -> io::Result<Said> {
        loop {
            let limits = Limits::default();
            match self.session.step(&self.input, &limits).map_err(io::Error::other)? {
                ClientStep::Event { event, used } => {
                    let said = match event {
                        ClientEvent::Response(response) => Some(Said::Answer {
                            execution: response.head.execution,
                            load: response.head.load,
                            body: response.body.to_vec(),
                        }),
                        ClientEvent::OutcomeAnswer(answer) => {
                            Some(Said::Outcome { outcome: answer.outcome, horizon_ms: answer.horizon_ms })
                        }
                        ClientEvent::Goodbye(goodbye) => {
                            Some(Said::Goodbye { last_taken: goodbye.last_taken, reason: goodbye.reason })
                        }
                        ClientEvent::Error(error) => Some(Said::Error {
                            last_taken: error.last_taken,
                            code: error.code,
                            text: error.text.to_owned(),
                        }),
                        _ => None,
                    };
                    self.input.drain(..used);
                    if let Some(said) = said {
                        return Ok(said);
                    }
                }
                ClientStep::More(_) => {
                    let mut bytes = [0; 16 << 10];
                    match self.stream.read(&mut bytes) {
                        Ok(0) => return Ok(Said::End),
                        Ok(length) => self.input.extend_from_slice(&bytes[..length]),
                        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Said::End),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// One short call: what was said, and whether the platform closed after it.
pub(crate) fn short(address: SocketAddr, app: &str, body: &[u8]) -> Said {
    let mut peer = Peer::connect(address);
    peer.send(app, body, true);
    let said = peer.hear();
    if matches!(said, Said::Answer { .. }) {
        assert_eq!(peer.hear(), Said::End);
    }
    said
}

/// A peer whose call runs by now, for this long.
pub(crate) fn sleeping(address: SocketAddr, milliseconds: u32) -> Peer {
    let id = new_id();
    let mut busy = Peer::connect(address);
    let bytes = busy.request("sleep", milliseconds.to_string().as_bytes(), id, false);
    busy.stream.write_all(&bytes).unwrap();
    let mut asking = Peer::connect(address);
    until(Duration::from_secs(10), "the app to run", || {
        matches!(asking.outcome(id), Said::Outcome { outcome: Outcome::Running, .. }).then_some(())
    });
    busy
}
