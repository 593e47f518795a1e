//! The limit: a hand-written echo over blocking TCP with pre-forked workers and nothing else.
//!
//! A message is a length (4 bytes, little-endian) and as many bytes. Each worker sits in a blocking `accept` on the
//! shared listener and owns the connection that it got: one `recv` and one `send` a call on either side. On short
//! connections the server closes right after its answer and the client waits for that, so that the server's side,
//! which has one port, keeps the TIME_WAIT states and clients never run out of ports.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal, wait};

use crate::Result;
use crate::system::{Caller, Connections, ServerPlan, System};

const HEADER: usize = 4;
const LARGEST_BODY: usize = 1 << 20;

/// The raw echo as a [`System`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RawEcho;

impl System for RawEcho {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn serve(&self, plan: &ServerPlan<'_>, ready: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // Accepted sockets inherit it, which saves a system call on each.
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
        for _ in 0..plan.workers {
            fork_worker(&listener, plan.connections)?;
        }
        ready(&listener.local_addr()?.to_string())?;
        let ended = wait(rustix::process::WaitOptions::empty())?;
        Err(format!("a worker of the raw echo ended: {ended:?}").into())
    }

    fn long(&self, address: &str) -> Result<Box<dyn Caller>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Box::new(Long { stream, buffers: Buffers::default() }))
    }

    fn short(&self, address: &str) -> Result<Box<dyn Caller>> {
        Ok(Box::new(Short { address: address.parse()?, buffers: Buffers::default() }))
    }

    fn stalling(&self, _: &str, _: Duration) -> Result<Option<Box<dyn Caller>>> {
        Ok(None)
    }
}

fn fork_worker(listener: &TcpListener, connections: Connections) -> io::Result<()> {
    // SAFETY: `System::serve` runs in a process with one thread, so no lock or allocator state can be held by
    // another thread at the moment of the copy.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let failure = work(listener, connections);
            eprintln!("raw echo, worker {}: {failure}", process::id());
            process::exit(1);
        }
        _ => Ok(()),
    }
}

/// Serves one connection after the other; returns why it cannot go on.
fn work(listener: &TcpListener, connections: Connections) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    let mut input = vec![0; HEADER + LARGEST_BODY];
    loop {
        match listener.accept() {
            // A connection that breaks concerns its client, which will report it.
            Ok((stream, _)) => drop(serve_connection(stream, connections, &mut input)),
            Err(error) => return error,
        }
    }
}

fn serve_connection(mut stream: TcpStream, connections: Connections, input: &mut [u8]) -> io::Result<()> {
    while let Some(message) = receive(&mut stream, input)? {
        stream.write_all(message)?;
        if connections == Connections::Short {
            break;
        }
    }
    Ok(())
}

/// Reads one message, header included; `None` when the peer closed before it began.
fn receive<'a>(stream: &mut TcpStream, input: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
    let mut filled = 0;
    let mut whole = HEADER;
    while filled < whole {
        let more = stream.read(&mut input[filled..])?;
        if more == 0 && filled == 0 {
            return Ok(None);
        }
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += more;
        if let Some(&header) = input[..filled].first_chunk::<HEADER>() {
            whole = HEADER + u32::from_le_bytes(header) as usize;
        }
        // One message at a time goes each way, so more than one can only be garbage.
        if whole > input.len() || filled > whole {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not one message of the raw echo"));
        }
    }
    Ok(Some(&input[..whole]))
}

#[derive(Default)]
struct Buffers {
    output: Vec<u8>,
    input: Vec<u8>,
}

impl Buffers {
    fn exchange(&mut self, stream: &mut TcpStream, body: &[u8]) -> Result<()> {
        self.output.clear();
        self.output.extend_from_slice(&u32::try_from(body.len())?.to_le_bytes());
        self.output.extend_from_slice(body);
        stream.write_all(&self.output)?;
        self.input.resize(self.output.len(), 0);
        match receive(stream, &mut self.input)? {
            Some(answer) if answer == self.output => Ok(()),
            Some(_) => Err("the raw echo answered something else".into()),
            None => Err("the raw echo closed instead of answering".into()),
        }
    }
}

struct Long {
    stream: TcpStream,
    buffers: Buffers,
}

impl Caller for Long {
    fn call(&mut self, body: &[u8]) -> Result<()> {
        self.buffers.exchange(&mut self.stream, body)
    }
}

struct Short {
    address: std::net::SocketAddr,
    buffers: Buffers,
}

impl Caller for Short {
    fn call(&mut self, body: &[u8]) -> Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        self.buffers.exchange(&mut stream, body)?;
        match stream.read(&mut [0])? {
            0 => Ok(()),
            _ => Err("the raw echo went on after its answer".into()),
        }
    }
}
